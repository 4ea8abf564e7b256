//! `PutRecord` and `PutRecords`.

use super::{fail, invalid, stream};
use crate::aws::context::{Answer, Context, unexpected};
use crate::aws::input::parse;
use aws_protocol::error::{ApiError, kinesis};
use aws_protocol::json::{Object, push_list};
use aws_protocol::kinesis::{sequence_number, shard_id};
use aws_protocol::{native, payload};
use bytes::Bytes;
use engine::topology::Queue;
use model::command::{Op, Reply};
use model::message::{Message, Native};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

const RECORDS_MAX: usize = 500;
/// Largest record, partition key included.
const RECORD_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Largest request, partition keys included.
const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record<'a> {
    #[serde(borrow, default)]
    stream_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "StreamARN")]
    stream_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    partition_key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    explicit_hash_key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Records<'a> {
    #[serde(borrow, default)]
    stream_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "StreamARN")]
    stream_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    records: Vec<Record<'a>>,
}

/// `PutRecord`.
pub(super) async fn put(context: &Context<'_>, input: &[u8]) -> Answer {
    let record: Record<'_> = parse(input)?;
    let stream = stream(context, record.stream_name.as_deref(), record.stream_arn.as_deref())?;
    let message = build(context, &record, &properties())?;
    let places = append(context, &stream, vec![message]).await?;
    let (shard, offset) = places.first().copied().ok_or_else(unexpected)?;
    let mut out = String::with_capacity(160);
    let mut object = Object::begin(&mut out);
    object.text("ShardId", &shard_id(shard)).text("SequenceNumber", &sequence_number(shard, offset));
    object.text("EncryptionType", "NONE");
    object.end();
    Ok(Some(out))
}

/// `PutRecords`. Records go in together; where the stream refuses, all of them are answered with its error.
pub(super) async fn put_many(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: Records<'_> = parse(input)?;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    if input.records.is_empty() || input.records.len() > RECORDS_MAX {
        return Err(invalid(format!(
            "1 validation error detected: Value '[{} records]' at 'records' failed to satisfy constraint: \
             Member must have length less than or equal to {RECORDS_MAX} and at least 1",
            input.records.len()
        )));
    }
    let native = properties();
    let messages: Vec<_> =
        input.records.iter().map(|record| build(context, record, &native)).collect::<Result<_, _>>()?;
    let bytes: usize = messages.iter().map(|message| message.body.len() + message.routing_key.len()).sum();
    if bytes > REQUEST_BYTES_MAX {
        return Err(
            kinesis::INVALID_ARGUMENT.error(format!("Records size exceeds {REQUEST_BYTES_MAX} bytes."))
        );
    }
    let places = append(context, &stream, messages).await?;
    let mut out = String::with_capacity(64 + places.len() * 128);
    let mut object = Object::begin(&mut out);
    object.number("FailedRecordCount", 0);
    push_list(object.member("Records"), places, |out, (shard, offset)| {
        let mut record = Object::begin(out);
        record.text("SequenceNumber", &sequence_number(shard, offset)).text("ShardId", &shard_id(shard));
        record.end();
    });
    object.text("EncryptionType", "NONE");
    object.end();
    Ok(Some(out))
}

/// Records have no properties; one block serves all of a request.
fn properties() -> Native {
    native::encode(0, &[0; 16], |_| {})
}

async fn append(
    context: &Context<'_>,
    stream: &Queue,
    messages: Vec<Arc<Message>>,
) -> Result<Vec<(u32, u64)>, ApiError> {
    let op = Op::Append { stream: stream.name.clone(), messages };
    match context.op(op).await.map_err(|error| fail(&error))? {
        Reply::Appended(places) => Ok(places),
        _ => Err(unexpected()),
    }
}

fn build(context: &Context<'_>, record: &Record<'_>, native: &Native) -> Result<Arc<Message>, ApiError> {
    let key = record.partition_key.as_deref().unwrap_or_default();
    let characters = key.chars().count();
    if !(1..=256).contains(&characters) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{key}' at 'partitionKey' failed to satisfy constraint: \
             Member must have length between 1 and 256"
        )));
    }
    let data = record.data.as_deref().ok_or_else(|| invalid("1 validation error detected: Value at 'data' failed to satisfy constraint: Member must not be null"))?;
    let data = payload::decode(data).ok_or_else(|| invalid("The value at 'data' is not base64."))?;
    if data.len() + key.len() > RECORD_BYTES_MAX {
        return Err(
            kinesis::INVALID_ARGUMENT.error(format!("The record is longer than {RECORD_BYTES_MAX} bytes."))
        );
    }
    let hash = record.explicit_hash_key.as_deref().map(|text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let wrong = || kinesis::INVALID_ARGUMENT.error(format!("Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"));
        text.parse::<u128>().ok().filter(|_| digits).ok_or_else(wrong)
    });
    let mut message = context.message("", key, native.clone(), Bytes::from(data));
    if let Some(hash) = hash.transpose()? {
        message.extra_mut().explicit_hash = Some(hash);
    }
    Ok(Arc::new(message))
}
