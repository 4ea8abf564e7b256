//! Making, changing and ending subscriptions.

use super::subscriptions::{find, subscriptions_of};
use super::{Topic, fail, invalid};
use crate::aws::SubscriptionFilter;
use crate::aws::context::{Answer, Context};
use crate::aws::input::parse;
use aws_protocol::behaviour::arguments;
use aws_protocol::error::{ApiError, sns};
use aws_protocol::json::Object;
use aws_protocol::native;
use model::command::Op;
use model::definition::{BindingDefinition, Destination};
use model::value::{Table, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SubscribeInput {
    topic_arn: Option<String>,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// `Subscribe`.
pub(super) async fn subscribe(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: SubscribeInput = parse(input)?;
    let topic = Topic::of(context, input.topic_arn.as_deref())?;
    if input.protocol != "sqs" {
        return Err(sns::INVALID_PARAMETER.error(format!(
            "Invalid parameter: Protocol Reason: subscriptions of protocol '{}' are not supported yet; 'sqs' is",
            input.protocol
        )));
    }
    let endpoint = topic.place.local(&input.endpoint, "sqs");
    let queue = endpoint.ok_or_else(|| {
        invalid("Endpoint", "not the ARN of an SQS queue of the topic's account and region")
    })?;
    if context.topology().queue(&topic.place.vhost, queue).is_none() {
        return Err(invalid("Endpoint", &format!("there is no queue {queue}")));
    }
    let mut table = Table::new();
    table.push(arguments::PROTOCOL, Value::str(input.protocol));
    table.push(arguments::ENDPOINT, Value::str(input.endpoint.as_str()));
    table.push(arguments::BASE_URL, Value::str(context.base_url()));
    for (name, value) in &input.attributes {
        set(&mut table, name, value)?;
    }
    check_policy(&table)?;
    if let Some(binding) = subscriptions_of(&topic.exchange)
        .find(|binding| binding.definition.arguments.str(arguments::ENDPOINT) == Some(&input.endpoint))
    {
        let own = &binding.definition.arguments;
        let kept = [arguments::RAW, arguments::FILTER_POLICY, arguments::FILTER_SCOPE, arguments::ATTRIBUTES];
        if !kept.iter().all(|name| own.get(name) == table.get(name)) {
            return Err(invalid("Attributes", "Subscription already exists with different attributes"));
        }
        return Ok(Some(arn_answer(own.str(arguments::SUBSCRIPTION_ARN).unwrap_or_default())));
    }
    let arn = format!("{}:{}", topic.arn(), native::uuid(&context.door.ids.next()));
    table.push(arguments::SUBSCRIPTION_ARN, Value::str(arn.as_str()));
    let definition = BindingDefinition {
        source: topic.exchange.name.clone(),
        destination: Destination::Queue(queue.into()),
        key: "".into(),
        arguments: table,
    };
    context.caller().op(&topic.place.vhost, Op::Bind(definition)).await.map_err(|error| fail(&error))?;
    Ok(Some(arn_answer(&arn)))
}

fn arn_answer(arn: &str) -> String {
    let mut out = String::with_capacity(128);
    let mut object = Object::begin(&mut out);
    object.text("SubscriptionArn", arn);
    object.end();
    out
}

/// Sets one subscription attribute in the arguments of its binding; an empty one is removed.
fn set(table: &mut Table, name: &str, value: &str) -> Result<(), ApiError> {
    match name {
        "RawMessageDelivery" => match value {
            "true" => table.set(arguments::RAW, Value::Bool(true)),
            "false" => table.remove(arguments::RAW),
            _ => {
                return Err(invalid(
                    "Attributes",
                    "RawMessageDelivery: Invalid value. Must be true or false.",
                ));
            }
        },
        "FilterPolicy" if value.is_empty() || value.trim() == "{}" => table.remove(arguments::FILTER_POLICY),
        "FilterPolicy" => table.set(arguments::FILTER_POLICY, Value::str(value)),
        "FilterPolicyScope" => match value {
            "MessageAttributes" => table.remove(arguments::FILTER_SCOPE),
            "MessageBody" => table.set(arguments::FILTER_SCOPE, Value::str(value)),
            _ => {
                let text = format!(
                    "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
                );
                return Err(invalid("Attributes", &text));
            }
        },
        "DeliveryPolicy" | "RedrivePolicy" | "ReplayPolicy" | "SubscriptionRoleArn" => {
            let mut kept =
                table.get(arguments::ATTRIBUTES).and_then(Value::as_table).cloned().unwrap_or_default();
            kept.remove(name);
            if !value.is_empty() {
                kept.push(name, Value::str(value));
            }
            table.set(arguments::ATTRIBUTES, Value::Table(kept));
        }
        _ => return Err(invalid("AttributeName", &format!("{name} is no attribute of a subscription"))),
    }
    Ok(())
}

fn check_policy(table: &Table) -> Result<(), ApiError> {
    let Some(policy) = table.str(arguments::FILTER_POLICY) else { return Ok(()) };
    match SubscriptionFilter::compile(policy, table.str(arguments::FILTER_SCOPE)) {
        Ok(_) => Ok(()),
        Err(reason) => {
            Err(sns::INVALID_PARAMETER.error(format!("Invalid parameter: FilterPolicy: {reason}")))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeInput {
    subscription_arn: Option<String>,
    #[serde(default)]
    attribute_name: String,
    #[serde(default)]
    attribute_value: String,
}

/// `SetSubscriptionAttributes`. The new binding stands before the old one goes, so nothing is missed in between.
pub(super) async fn set_attribute(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ChangeInput = parse(input)?;
    let _alone = context.door.definitions.lock().await;
    let (topic, binding) = find(context, input.subscription_arn.as_deref())?;
    let old = binding.definition.clone();
    let mut new = old.clone();
    set(&mut new.arguments, &input.attribute_name, &input.attribute_value)?;
    check_policy(&new.arguments)?;
    if new == old {
        return Ok(None);
    }
    for op in [Op::Bind(new), Op::Unbind(old)] {
        context.caller().op(&topic.place.vhost, op).await.map_err(|error| fail(&error))?;
    }
    Ok(None)
}

/// `Unsubscribe`. An absent subscription is success.
pub(super) async fn unsubscribe(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ChangeInput = parse(input)?;
    let (topic, binding) = match find(context, input.subscription_arn.as_deref()) {
        Err(error) if error.code == &sns::NOT_FOUND => return Ok(None),
        found => found?,
    };
    let op = Op::Unbind(binding.definition.clone());
    context.caller().op(&topic.place.vhost, op).await.map_err(|error| fail(&error))?;
    Ok(None)
}
