//! SQS: a queue is a queue of the broker, whoever declared it.

mod attributes;
mod batch;
mod queues;
mod receive;
mod send;
mod settle;
mod tags;

pub(super) use send::{checked_id, content_id};

use super::context::{Answer, Context, refused};
use aws_protocol::arn::{Place, queue_of_url};
use aws_protocol::error::{ApiError, sqs};
use aws_protocol::form;
use aws_protocol::service::Service;
use engine::topology::{Queue, settings::QueueKind};
use model::Name;
use model::error::{BrokerError, ErrorKind};
use std::borrow::Cow;
use std::sync::Arc;

/// Carries out an operation.
pub(super) async fn handle(context: &Context<'_>, operation: &'static str, input: &[u8]) -> Answer {
    match operation {
        "SendMessage" => send::send(context, input).await,
        "SendMessageBatch" => send::send_batch(context, input).await,
        "ReceiveMessage" => receive::receive(context, input).await,
        "DeleteMessage" => settle::delete(context, input).await,
        "DeleteMessageBatch" => settle::delete_batch(context, input).await,
        "ChangeMessageVisibility" => settle::change(context, input).await,
        "ChangeMessageVisibilityBatch" => settle::change_batch(context, input).await,
        "CreateQueue" => queues::create(context, input).await,
        "GetQueueUrl" => queues::url(context, input),
        "ListQueues" => queues::list(context, input),
        "ListDeadLetterSourceQueues" => queues::dead_letter_sources(context, input),
        "GetQueueAttributes" => queues::attributes(context, input).await,
        "SetQueueAttributes" => queues::set_attributes(context, input).await,
        "PurgeQueue" => queues::purge(context, input).await,
        "DeleteQueue" => queues::delete(context, input).await,
        "TagQueue" => tags::tag(context, input).await,
        "UntagQueue" => tags::untag(context, input).await,
        "ListQueueTags" => tags::list(context, input),
        other => Err(Service::Sqs.unsupported(other)),
    }
}

/// A queue that a request names.
struct Target {
    place: Place,
    queue: Arc<Queue>,
}

impl Target {
    /// The queue of a queue URL (or just its path, or its name).
    fn of(context: &Context<'_>, url: Option<&str>) -> Result<Self, ApiError> {
        let url = url.filter(|url| !url.is_empty()).ok_or_else(|| missing("QueueUrl"))?;
        let (account, encoded) = queue_of_url(url).ok_or_else(no_queue)?;
        let place = context.place_of_account(account);
        Self::named(context, place, &form::decode(encoded, false))
    }

    /// The queue called `name` in `place`.
    fn named(context: &Context<'_>, place: Place, name: &str) -> Result<Self, ApiError> {
        let queue = context.topology().queue(&place.vhost, name).filter(|queue| is_queue(queue)).cloned();
        queue.map(|queue| Self { place, queue }).ok_or_else(no_queue)
    }

    fn name(&self) -> &Name {
        &self.queue.name
    }
}

/// Streams are Kinesis's, exclusive queues their connection's.
fn is_queue(queue: &Queue) -> bool {
    queue.settings.kind != QueueKind::Stream && queue.owner.is_none()
}

/// `<base>/<account>/<name>`, the name encoded as far as it needs to be.
fn queue_url(context: &Context<'_>, place: &Place, name: &str) -> String {
    let mut url = context.base_url();
    url.push('/');
    url.push_str(&place.account);
    url.push('/');
    form::encode_into(&mut url, name.as_bytes(), false);
    url
}

fn no_queue() -> ApiError {
    sqs::QUEUE_DOES_NOT_EXIST.error("The specified queue does not exist.")
}

fn missing(parameter: &str) -> ApiError {
    sqs::MISSING_PARAMETER.error(format!("The request must contain the parameter {parameter}."))
}

fn invalid(value: impl std::fmt::Display, parameter: &str, reason: &str) -> ApiError {
    sqs::INVALID_PARAMETER
        .error(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
}

/// A number within its range, or none.
fn within(value: Option<i64>, parameter: &str, from: i64, to: i64) -> Result<Option<u64>, ApiError> {
    match value {
        None => Ok(None),
        Some(value) if (from..=to).contains(&value) => Ok(u64::try_from(value).ok()),
        Some(value) => {
            Err(invalid(value, parameter, &format!("Must be between {from} and {to}, if provided.")))
        }
    }
}

/// A broker error in SQS's words.
fn fail(error: &BrokerError) -> ApiError {
    if error.kind == ErrorKind::LimitExceeded {
        return sqs::OVER_LIMIT.error(error.text.to_string());
    }
    if error.kind == ErrorKind::NotFound {
        return no_queue();
    }
    refused(error, &sqs::QUEUE_DOES_NOT_EXIST, &sqs::INVALID_PARAMETER)
}

/// An input that names nothing but a queue.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueInput<'a> {
    #[serde(borrow, default)]
    queue_url: Option<Cow<'a, str>>,
}
