//! Finding and describing subscriptions.

use super::topics::PAGE;
use super::{Topic, invalid, is_topic};
use crate::aws::context::{Answer, Context, texts};
use crate::aws::input::{page, parse};
use aws_protocol::arn::Place;
use aws_protocol::behaviour::arguments;
use aws_protocol::error::{ApiError, sns};
use aws_protocol::json::{Object, push_list};
use engine::binding::Binding;
use engine::exchange::Exchange;
use model::value::Value;
use serde::Deserialize;
use std::sync::Arc;

/// The bindings of a topic that are subscriptions.
pub(super) fn subscriptions_of(topic: &Exchange) -> impl Iterator<Item = &Arc<Binding>> {
    topic.bindings().filter(|binding| arn_of(binding).is_some())
}

fn arn_of(binding: &Binding) -> Option<&str> {
    binding.definition.arguments.str(arguments::SUBSCRIPTION_ARN)
}

/// The subscription of an ARN, with its topic. Errors: `InvalidParameter`, `NotFound`.
pub(super) fn find(context: &Context<'_>, arn: Option<&str>) -> Result<(Topic, Arc<Binding>), ApiError> {
    let arn = arn.ok_or_else(|| invalid("SubscriptionArn", "no value for required parameter"))?;
    let missing = || sns::NOT_FOUND.error("Subscription does not exist");
    let topic = Topic::of(context, Some(arn)).map_err(|error| {
        if error.code == &sns::NOT_FOUND {
            missing()
        } else {
            invalid("SubscriptionArn", "not an ARN of a subscription")
        }
    })?;
    let binding = subscriptions_of(&topic.exchange).find(|binding| arn_of(binding) == Some(arn)).cloned();
    binding.map(|binding| (topic, binding)).ok_or_else(missing)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    topic_arn: Option<String>,
    subscription_arn: Option<String>,
    next_token: Option<String>,
}

/// `GetSubscriptionAttributes`.
pub(super) fn attributes(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ListInput = parse(input)?;
    let (topic, binding) = find(context, input.subscription_arn.as_deref())?;
    let table = &binding.definition.arguments;
    let raw = table.get(arguments::RAW).and_then(Value::as_bool) == Some(true);
    let account = &topic.place.account;
    let mut out = String::with_capacity(512);
    let mut object = Object::begin(&mut out);
    let mut list = Object::begin(object.member("Attributes"));
    list.text("SubscriptionArn", arn_of(&binding).unwrap_or_default())
        .text("TopicArn", &topic.arn())
        .text("Owner", account)
        .text("SubscriptionPrincipal", &format!("arn:aws:iam::{account}:root"))
        .text("ConfirmationWasAuthenticated", "true")
        .text("PendingConfirmation", "false")
        .optional("Protocol", table.str(arguments::PROTOCOL))
        .optional("Endpoint", table.str(arguments::ENDPOINT))
        .text("RawMessageDelivery", if raw { "true" } else { "false" })
        .optional("FilterPolicy", table.str(arguments::FILTER_POLICY));
    if table.str(arguments::FILTER_POLICY).is_some() {
        list.text("FilterPolicyScope", table.str(arguments::FILTER_SCOPE).unwrap_or("MessageAttributes"));
    }
    for (name, value) in texts(table.get(arguments::ATTRIBUTES)) {
        list.text(name, value);
    }
    list.end();
    object.end();
    Ok(Some(out))
}

/// `ListSubscriptions`.
pub(super) fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ListInput = parse(input)?;
    let topology = context.topology();
    let topics = topology.exchanges(&context.place.vhost).filter(|exchange| is_topic(exchange));
    let found = topics.flat_map(|topic| subscriptions_of(topic)).map(Arc::as_ref).collect();
    Ok(Some(answer(&context.place, found, input.next_token.as_deref())))
}

/// `ListSubscriptionsByTopic`.
pub(super) fn list_by_topic(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ListInput = parse(input)?;
    let topic = Topic::of(context, input.topic_arn.as_deref())?;
    let found = subscriptions_of(&topic.exchange).map(Arc::as_ref).collect();
    Ok(Some(answer(&topic.place, found, input.next_token.as_deref())))
}

struct Row<'a>(&'a str, &'a Binding);

impl AsRef<str> for Row<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

fn answer(place: &Place, found: Vec<&Binding>, token: Option<&str>) -> String {
    let mut rows: Vec<_> =
        found.into_iter().filter_map(|binding| Some(Row(arn_of(binding)?, binding))).collect();
    rows.sort_by_key(|row| row.0.to_owned());
    let (rows, next) = page(rows, token, PAGE);
    let mut out = String::with_capacity(32 + rows.len() * 256);
    let mut object = Object::begin(&mut out);
    push_list(object.member("Subscriptions"), rows, |out, Row(arn, binding)| {
        let table = &binding.definition.arguments;
        let mut row = Object::begin(out);
        row.text("SubscriptionArn", arn)
            .text("Owner", &place.account)
            .optional("Protocol", table.str(arguments::PROTOCOL))
            .optional("Endpoint", table.str(arguments::ENDPOINT))
            .text("TopicArn", &place.arn("sns", &binding.definition.source));
        row.end();
    });
    object.optional("NextToken", next.as_deref());
    object.end();
    out
}
