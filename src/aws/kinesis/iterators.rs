//! `GetShardIterator` and `GetRecords`.

use super::{fail, out_of_range, stream};
use crate::aws::context::{Answer, Context, unexpected};
use crate::aws::input::{integer, parse};
use aws_protocol::error::{ApiError, kinesis};
use aws_protocol::json::{Object, push_base64, push_list};
use aws_protocol::kinesis::{ShardIterator, parse_sequence_number, parse_shard_id, sequence_number};
use aws_protocol::time;
use engine::topology::Queue;
use model::command::{Op, Reply, StreamPosition};
use model::message::Message;
use serde::Deserialize;
use std::fmt::Write;
use std::sync::Arc;

const RECORDS_MAX: i64 = 10_000;
/// Most data of one answer.
const BYTES_MAX: usize = 10 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IteratorInput {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(default)]
    shard_id: String,
    #[serde(default)]
    shard_iterator_type: String,
    starting_sequence_number: Option<String>,
    timestamp: Option<serde_json::Value>,
}

/// `GetShardIterator`.
pub(super) async fn iterator(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: IteratorInput = parse(input)?;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let shard = parse_shard_id(&input.shard_id).filter(|shard| *shard < stream.settings.shards);
    let shard = shard.ok_or_else(|| {
        kinesis::NOT_FOUND.error(format!(
            "Shard {} in stream {} under account {} does not exist",
            input.shard_id, stream.name, context.place.account
        ))
    })?;
    let offset = match input.shard_iterator_type.as_str() {
        "TRIM_HORIZON" => 0,
        "LATEST" => find(context, &stream, shard, StreamPosition::Next).await?,
        "AT_TIMESTAMP" => {
            let at = timestamp(input.timestamp.as_ref())?;
            find(context, &stream, shard, StreamPosition::Time(at)).await?
        }
        kind @ ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER") => {
            let offset = starting_offset(input.starting_sequence_number.as_deref(), shard)?;
            if kind == "AT_SEQUENCE_NUMBER" { offset } else { offset.saturating_add(1) }
        }
        other => {
            return Err(super::invalid(format!(
                "1 validation error detected: Value '{other}' at 'shardIteratorType' failed to satisfy constraint: \
                 Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, \
                 AT_SEQUENCE_NUMBER, TRIM_HORIZON]"
            )));
        }
    };
    let iterator = ShardIterator { stream: stream.id, shard, offset, issued_ms: context.now };
    let mut out = String::with_capacity(96);
    let mut object = Object::begin(&mut out);
    object.text("ShardIterator", &iterator.encode());
    object.end();
    Ok(Some(out))
}

fn starting_offset(number: Option<&str>, shard: u32) -> Result<u64, ApiError> {
    let number = number.unwrap_or_default();
    let place = parse_sequence_number(number).filter(|(of, _)| *of == shard);
    place.map(|(_, offset)| offset).ok_or_else(|| {
        kinesis::INVALID_ARGUMENT.error(format!("StartingSequenceNumber {number} is invalid for this shard."))
    })
}

fn timestamp(value: Option<&serde_json::Value>) -> Result<u64, ApiError> {
    let at = match value {
        Some(serde_json::Value::Number(seconds)) => {
            seconds.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| (seconds * 1000.0) as u64)
        }
        Some(serde_json::Value::String(text)) => time::parse_iso(text),
        _ => None,
    };
    at.ok_or_else(|| kinesis::INVALID_ARGUMENT.error("AT_TIMESTAMP needs a Timestamp."))
}

struct Piece {
    records: Vec<(u64, Arc<Message>)>,
    next: u64,
    behind_ms: u64,
}

async fn read(
    context: &Context<'_>,
    stream: &Queue,
    shard: u32,
    from: StreamPosition,
    max: u32,
    max_bytes: usize,
) -> Result<Piece, ApiError> {
    let op = Op::Read { stream: stream.name.clone(), shard, from, max, max_bytes };
    match context.op(op).await.map_err(|error| fail(&error))? {
        Reply::Records { records, next, behind_ms } => Ok(Piece { records, next, behind_ms }),
        _ => Err(unexpected()),
    }
}

/// The offset that a position means now.
async fn find(
    context: &Context<'_>,
    stream: &Queue,
    shard: u32,
    from: StreamPosition,
) -> Result<u64, ApiError> {
    let piece = read(context, stream, shard, from, 1, 1).await?;
    Ok(piece.records.first().map_or(piece.next, |(offset, _)| *offset))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordsInput {
    #[serde(default)]
    shard_iterator: String,
    #[serde(default, deserialize_with = "integer")]
    limit: Option<i64>,
}

/// `GetRecords`.
pub(super) async fn records(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: RecordsInput = parse(input)?;
    let limit = input.limit.unwrap_or(RECORDS_MAX);
    if !(1..=RECORDS_MAX).contains(&limit) {
        return Err(out_of_range(limit, "limit", 1, RECORDS_MAX));
    }
    let wrong = || kinesis::INVALID_ARGUMENT.error("Invalid ShardIterator.");
    let iterator = ShardIterator::parse(&input.shard_iterator).ok_or_else(wrong)?;
    if iterator.expired(context.now) {
        return Err(kinesis::EXPIRED_ITERATOR.error(format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the \
             future than the tolerated delay of {} milliseconds.",
            time::iso(iterator.issued_ms, false),
            time::iso(context.now, false),
            aws_protocol::kinesis::ITERATOR_MS
        )));
    }
    let topology = context.topology();
    let stream = topology.queue_by_id(iterator.stream).filter(|stream| stream.vhost == context.place.vhost);
    let stream = stream
        .ok_or_else(|| kinesis::NOT_FOUND.error("The stream of the iterator does not exist any more."))?;
    let from = StreamPosition::Offset(iterator.offset);
    let max = u32::try_from(limit).unwrap_or(1);
    let piece = read(context, stream, iterator.shard, from, max, BYTES_MAX).await?;
    let next = ShardIterator { offset: piece.next, issued_ms: context.now, ..iterator };
    let bytes: usize = piece.records.iter().map(|(_, message)| message.body.len() * 4 / 3 + 192).sum();
    let mut out = String::with_capacity(bytes + 192);
    let mut object = Object::begin(&mut out);
    push_list(object.member("Records"), &piece.records, |out, (offset, message)| {
        push_record(out, iterator.shard, *offset, message);
    });
    object.text("NextShardIterator", &next.encode()).number("MillisBehindLatest", piece.behind_ms);
    object.end();
    Ok(Some(out))
}

fn push_record(out: &mut String, shard: u32, offset: u64, message: &Message) {
    let mut record = Object::begin(out);
    record.text("SequenceNumber", &sequence_number(shard, offset));
    let at = message.published_ms;
    let _ = write!(record.member("ApproximateArrivalTimestamp"), "{}.{:03}", at / 1000, at % 1000);
    match message.body.pieces() {
        [one] => push_base64(record.member("Data"), one),
        _ => push_base64(record.member("Data"), &message.body.joined()),
    }
    record.text("PartitionKey", message.partition_key()).text("EncryptionType", "NONE");
    record.end();
}
