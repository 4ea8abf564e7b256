//! Kinesis: a stream is a stream of the broker, whoever declared it; partition keys are routing keys.

mod iterators;
mod records;
mod streams;
mod tags;

use super::context::{Answer, Context, refused};
use aws_protocol::error::{ApiError, common, kinesis};
use aws_protocol::service::Service;
use engine::topology::{Queue, settings::QueueKind};
use model::error::BrokerError;
use std::sync::Arc;

/// Carries out an operation.
pub(super) async fn handle(context: &Context<'_>, operation: &'static str, input: &[u8]) -> Answer {
    match operation {
        "PutRecord" => records::put(context, input).await,
        "PutRecords" => records::put_many(context, input).await,
        "GetRecords" => iterators::records(context, input).await,
        "GetShardIterator" => iterators::iterator(context, input).await,
        "CreateStream" => streams::create(context, input).await,
        "DeleteStream" => streams::delete(context, input).await,
        "DescribeStream" => streams::describe(context, input),
        "DescribeStreamSummary" => streams::summary(context, input),
        "ListStreams" => streams::list(context, input),
        "ListShards" => streams::list_shards(context, input),
        "DescribeLimits" => streams::limits(context),
        "IncreaseStreamRetentionPeriod" => streams::set_retention(context, input, true).await,
        "DecreaseStreamRetentionPeriod" => streams::set_retention(context, input, false).await,
        "AddTagsToStream" => tags::add(context, input).await,
        "RemoveTagsFromStream" => tags::remove(context, input).await,
        "ListTagsForStream" => tags::list(context, input),
        other => Err(Service::Kinesis.unsupported(other)),
    }
}

/// The stream that a request names, by name or ARN.
fn stream(context: &Context<'_>, name: Option<&str>, arn: Option<&str>) -> Result<Arc<Queue>, ApiError> {
    let of_arn = || context.place.local(arn?, "kinesis")?.strip_prefix("stream/");
    let Some(name) = name.filter(|name| !name.is_empty()).or_else(of_arn) else {
        let text = arn.map_or("Either StreamName or StreamARN must be given.".to_owned(), |arn| {
            format!("{arn} is not the ARN of a stream of this account and region.")
        });
        return Err(kinesis::INVALID_ARGUMENT.error(text));
    };
    let queue = context.queue(name).filter(|queue| is_stream(queue));
    queue.ok_or_else(|| no_stream(context, name))
}

fn is_stream(queue: &Queue) -> bool {
    queue.settings.kind == QueueKind::Stream
}

fn no_stream(context: &Context<'_>, name: &str) -> ApiError {
    kinesis::NOT_FOUND.error(format!("Stream {name} under account {} not found.", context.place.account))
}

fn invalid(text: impl Into<String>) -> ApiError {
    common::VALIDATION.error(text.into())
}

/// A violated range, in the words that AWS generates.
fn out_of_range(value: i64, member: &str, from: i64, to: i64) -> ApiError {
    let (bound, limit) = if value < from { ("greater", from) } else { ("less", to) };
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must have value {bound} than or equal to {limit}"
    ))
}

/// A broker error in Kinesis's words.
fn fail(error: &BrokerError) -> ApiError {
    refused(error, &kinesis::NOT_FOUND, &kinesis::INVALID_ARGUMENT)
}
