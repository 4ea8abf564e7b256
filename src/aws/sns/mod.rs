//! SNS: a topic is an exchange of kind `sns`, a subscription a binding of it that says so in its arguments.

mod publish;
mod subscribe;
mod subscriptions;
mod topics;

use super::context::{Answer, Context, refused};
use aws_protocol::arn::{Arn, Place};
use aws_protocol::behaviour::SNS_KIND;
use aws_protocol::error::{ApiError, sns};
use aws_protocol::service::Service;
use engine::exchange::Exchange;
use model::error::BrokerError;
use std::sync::Arc;

/// Carries out an operation.
pub(super) async fn handle(context: &Context<'_>, operation: &'static str, input: &[u8]) -> Answer {
    match operation {
        "Publish" => publish::publish(context, input).await,
        "PublishBatch" => publish::publish_batch(context, input).await,
        "CreateTopic" => topics::create(context, input).await,
        "DeleteTopic" => topics::delete(context, input).await,
        "ListTopics" => topics::list(context, input),
        "GetTopicAttributes" => topics::attributes(context, input),
        "SetTopicAttributes" => topics::set_attribute(context, input).await,
        "TagResource" => topics::tag(context, input).await,
        "UntagResource" => topics::untag(context, input).await,
        "ListTagsForResource" => topics::list_tags(context, input),
        "Subscribe" => subscribe::subscribe(context, input).await,
        "Unsubscribe" => subscribe::unsubscribe(context, input).await,
        "SetSubscriptionAttributes" => subscribe::set_attribute(context, input).await,
        "GetSubscriptionAttributes" => subscriptions::attributes(context, input),
        "ListSubscriptions" => subscriptions::list(context, input),
        "ListSubscriptionsByTopic" => subscriptions::list_by_topic(context, input),
        other => Err(Service::Sns.unsupported(other)),
    }
}

/// A topic that a request names.
struct Topic {
    place: Place,
    exchange: Arc<Exchange>,
}

impl Topic {
    /// The topic of an ARN (of a subscription's too). Errors: `InvalidParameter`, `NotFound`.
    fn of(context: &Context<'_>, arn: Option<&str>) -> Result<Self, ApiError> {
        let text = arn
            .filter(|arn| !arn.is_empty())
            .ok_or_else(|| invalid("TopicArn", "no value for required parameter"))?;
        let arn = Arn::parse(text).filter(|arn| arn.service == "sns");
        let arn = arn.ok_or_else(|| invalid("TopicArn", &format!("{text} is not the ARN of a topic")))?;
        let name = arn.resource.split(':').next().unwrap_or_default();
        let place = context.door.home.place(arn.account, arn.region);
        let topology = context.topology();
        let exchange = topology.exchange(&place.vhost, name).filter(|exchange| is_topic(exchange)).cloned();
        exchange.map(|exchange| Self { place, exchange }).ok_or_else(no_topic)
    }

    fn name(&self) -> &str {
        &self.exchange.name
    }

    fn arn(&self) -> String {
        self.place.arn("sns", self.name())
    }

    fn is_fifo(&self) -> bool {
        self.name().ends_with(".fifo")
    }

    /// An attribute that is kept as text.
    fn attribute(&self, name: &str) -> Option<&str> {
        self.exchange.declare.arguments.str(&topics::argument(name))
    }
}

fn is_topic(exchange: &Exchange) -> bool {
    &*exchange.declare.kind == SNS_KIND
}

fn no_topic() -> ApiError {
    sns::NOT_FOUND.error("Topic does not exist")
}

fn invalid(parameter: &str, reason: &str) -> ApiError {
    sns::INVALID_PARAMETER.error(format!("Invalid parameter: {parameter} Reason: {reason}"))
}

/// A broker error in SNS's words.
fn fail(error: &BrokerError) -> ApiError {
    refused(error, &sns::NOT_FOUND, &sns::INVALID_PARAMETER)
}
