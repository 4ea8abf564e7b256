//! Making, describing, listing and removing streams.

use super::{fail, is_stream, out_of_range, stream};
use crate::aws::context::{Answer, Context};
use crate::aws::input::{integer, page, parse};
use aws_protocol::error::kinesis;
use aws_protocol::json::{Object, push_list, push_string};
use aws_protocol::kinesis::{hash_range, parse_shard_id, sequence_number, shard_id};
use engine::topology::Queue;
use model::command::Op;
use model::definition::QueueDeclare;
use model::value::{Table, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

const HOUR_MS: u64 = 3_600_000;
const RETENTION_HOURS_DEFAULT: u64 = 24;
const RETENTION_HOURS_MAX: i64 = 8760;
/// Shards of a new on-demand stream.
const ON_DEMAND_SHARDS: i64 = 4;
const SHARDS_MAX: i64 = 10_000;
const CREATED: &str = "x-kinesis-created";
const MODE: &str = "x-kinesis-mode";
/// Streams or shards of one page where the client does not say.
const PAGE: i64 = 100;
const SHARDS_PAGE: i64 = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    stream_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamInput {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(default, deserialize_with = "integer")]
    shard_count: Option<i64>,
    stream_mode_details: Option<Mode>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "integer")]
    limit: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    max_results: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    retention_period_hours: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    exclusive_start_shard_id: Option<String>,
    next_token: Option<String>,
}

/// `CreateStream`.
pub(super) async fn create(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: StreamInput = parse(input)?;
    let name = input.stream_name.unwrap_or_default();
    let fit = (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !fit {
        return Err(super::invalid(format!(
            "1 validation error detected: Value '{name}' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        )));
    }
    if context.queue(&name).is_some() {
        let text = format!("Stream {name} under account {} already exists.", context.place.account);
        return Err(kinesis::IN_USE.error(text));
    }
    let mode = input.stream_mode_details.and_then(|details| details.stream_mode);
    let on_demand = mode.as_deref() == Some("ON_DEMAND") || (mode.is_none() && input.shard_count.is_none());
    let shards = if on_demand { ON_DEMAND_SHARDS } else { input.shard_count.unwrap_or(1) };
    if !(1..=SHARDS_MAX).contains(&shards) {
        return Err(out_of_range(shards, "shardCount", 1, SHARDS_MAX));
    }
    let mut arguments = Table::new();
    arguments.push("x-queue-type", Value::str("stream"));
    arguments.push("x-shards", Value::I64(shards));
    arguments.push("x-retention-ms", Value::I64((RETENTION_HOURS_DEFAULT * HOUR_MS) as i64));
    arguments.push(CREATED, Value::Timestamp(context.now / 1000));
    arguments.push(MODE, Value::str(if on_demand { "ON_DEMAND" } else { "PROVISIONED" }));
    if !input.tags.is_empty() {
        arguments.push(super::tags::ARGUMENT, super::tags::table(input.tags)?);
    }
    let declare = QueueDeclare { name: name.into(), durable: true, arguments, ..QueueDeclare::default() };
    context.op(Op::DeclareQueue(declare)).await.map_err(|error| fail(&error))?;
    Ok(None)
}

/// `DeleteStream`.
pub(super) async fn delete(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: StreamInput = parse(input)?;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let op = Op::DeleteQueue { name: stream.name.clone(), if_unused: false, if_empty: false };
    context.op(op).await.map_err(|error| fail(&error))?;
    Ok(None)
}

fn arn(context: &Context<'_>, name: &str) -> String {
    context.place.arn("kinesis", &format!("stream/{name}"))
}

/// The members that every description of a stream has.
fn common_members(context: &Context<'_>, object: &mut Object<'_>, stream: &Queue) {
    let table = &stream.declare.arguments;
    object
        .text("StreamName", &stream.name)
        .text("StreamARN", &arn(context, &stream.name))
        .text("StreamStatus", "ACTIVE");
    let mut mode = Object::begin(object.member("StreamModeDetails"));
    mode.text("StreamMode", table.str(MODE).unwrap_or("PROVISIONED"));
    mode.end();
    let created = if let Some(Value::Timestamp(seconds)) = table.get(CREATED) { *seconds } else { 0 };
    object.number("StreamCreationTimestamp", created);
}

fn detail_members(object: &mut Object<'_>, stream: &Queue) {
    let hours = stream.settings.max_age_ms.map_or(RETENTION_HOURS_MAX as u64, |ms| ms / HOUR_MS);
    object.number("RetentionPeriodHours", hours);
    object.member("EnhancedMonitoring").push_str("[{\"ShardLevelMetrics\":[]}]");
    object.text("EncryptionType", "NONE");
}

fn push_shard(out: &mut String, shard: u32, shards: u32) {
    let (first, last) = hash_range(shard, shards);
    let mut object = Object::begin(out);
    object.text("ShardId", &shard_id(shard));
    let mut range = Object::begin(object.member("HashKeyRange"));
    range.text("StartingHashKey", &first.to_string()).text("EndingHashKey", &last.to_string());
    range.end();
    let mut sequence = Object::begin(object.member("SequenceNumberRange"));
    sequence.text("StartingSequenceNumber", &sequence_number(shard, 0));
    sequence.end();
    object.end();
}

/// Shards after `last`, at most `max` of them, and whether there are more.
fn shards_after(stream: &Queue, last: Option<&str>, max: i64) -> (std::ops::Range<u32>, bool) {
    let shards = stream.settings.shards;
    let start = last.and_then(parse_shard_id).map_or(0, |shard| shard.saturating_add(1)).min(shards);
    let end = start.saturating_add(u32::try_from(max).unwrap_or(u32::MAX)).min(shards);
    (start..end, end < shards)
}

/// `DescribeStream`.
pub(super) fn describe(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: StreamInput = parse(input)?;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let limit = input.limit.unwrap_or(PAGE).clamp(1, SHARDS_MAX);
    let (shards, more) = shards_after(&stream, input.exclusive_start_shard_id.as_deref(), limit);
    let mut out = String::with_capacity(512 + shards.len() * 256);
    let mut answer = Object::begin(&mut out);
    let mut object = Object::begin(answer.member("StreamDescription"));
    common_members(context, &mut object, &stream);
    detail_members(&mut object, &stream);
    push_list(object.member("Shards"), shards, |out, shard| push_shard(out, shard, stream.settings.shards));
    object.member("HasMoreShards").push_str(if more { "true" } else { "false" });
    object.end();
    answer.end();
    Ok(Some(out))
}

/// `DescribeStreamSummary`.
pub(super) fn summary(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: StreamInput = parse(input)?;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let mut out = String::with_capacity(512);
    let mut answer = Object::begin(&mut out);
    let mut object = Object::begin(answer.member("StreamDescriptionSummary"));
    common_members(context, &mut object, &stream);
    detail_members(&mut object, &stream);
    object.number("OpenShardCount", u64::from(stream.settings.shards)).number("ConsumerCount", 0);
    object.end();
    answer.end();
    Ok(Some(out))
}

/// `ListStreams`.
pub(super) fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: StreamInput = parse(input)?;
    let topology = context.topology();
    let names = topology.queues(&context.place.vhost).filter(|queue| is_stream(queue));
    let token = input.next_token.as_deref().or(input.exclusive_start_stream_name.as_deref());
    let limit = usize::try_from(input.limit.unwrap_or(PAGE).clamp(1, SHARDS_MAX)).unwrap_or(1);
    let (names, next) = page(names.map(|queue| &*queue.name).collect(), token, limit);
    let mut out = String::with_capacity(64 + names.len() * 256);
    let mut object = Object::begin(&mut out);
    push_list(object.member("StreamNames"), &names, |out, name| push_string(out, name));
    object.member("HasMoreStreams").push_str(if next.is_some() { "true" } else { "false" });
    object.optional("NextToken", next.as_deref());
    let streams = names.iter().filter_map(|name| topology.queue(&context.place.vhost, name));
    push_list(object.member("StreamSummaries"), streams, |out, stream| {
        let mut summary = Object::begin(out);
        common_members(context, &mut summary, stream);
        summary.end();
    });
    object.end();
    Ok(Some(out))
}

/// `ListShards`. The token of the next page is `<stream>/<last shard>`.
pub(super) fn list_shards(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: StreamInput = parse(input)?;
    let token = input.next_token.as_deref().and_then(|token| token.rsplit_once('/'));
    let name = token.map(|(name, _)| name).or(input.stream_name.as_deref());
    let last = token.map(|(_, shard)| shard).or(input.exclusive_start_shard_id.as_deref());
    let stream = stream(context, name, input.stream_arn.as_deref())?;
    let (shards, more) =
        shards_after(&stream, last, input.max_results.unwrap_or(SHARDS_PAGE).clamp(1, SHARDS_MAX));
    let mut out = String::with_capacity(64 + shards.len() * 256);
    let mut object = Object::begin(&mut out);
    push_list(object.member("Shards"), shards.clone(), |out, shard| {
        push_shard(out, shard, stream.settings.shards)
    });
    if more && let Some(last) = shards.last() {
        object.text("NextToken", &format!("{}/{}", stream.name, shard_id(last)));
    }
    object.end();
    Ok(Some(out))
}

/// `DescribeLimits`.
pub(super) fn limits(context: &Context<'_>) -> Answer {
    let topology = context.topology();
    let streams = || topology.queues(&context.place.vhost).filter(|queue| is_stream(queue));
    let on_demand = streams().filter(|stream| stream.declare.arguments.str(MODE) == Some("ON_DEMAND"));
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object
        .number("ShardLimit", SHARDS_MAX as u64)
        .number("OpenShardCount", streams().map(|stream| u64::from(stream.settings.shards)).sum())
        .number("OnDemandStreamCount", on_demand.count() as u64)
        .number("OnDemandStreamCountLimit", SHARDS_MAX as u64);
    object.end();
    Ok(Some(out))
}

/// `IncreaseStreamRetentionPeriod` and `DecreaseStreamRetentionPeriod`.
pub(super) async fn set_retention(context: &Context<'_>, input: &[u8], up: bool) -> Answer {
    let input: StreamInput = parse(input)?;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let hours = input.retention_period_hours.unwrap_or(0);
    let from = RETENTION_HOURS_DEFAULT as i64;
    if !(from..=RETENTION_HOURS_MAX).contains(&hours) {
        return Err(out_of_range(hours, "retentionPeriodHours", from, RETENTION_HOURS_MAX));
    }
    let ms = hours.unsigned_abs() * HOUR_MS;
    let current = stream.settings.max_age_ms.unwrap_or(RETENTION_HOURS_MAX as u64 * HOUR_MS);
    if (up && ms < current) || (!up && ms > current) {
        let (wanted, word) = if up { ("increase", "shorter") } else { ("decrease", "longer") };
        return Err(kinesis::INVALID_ARGUMENT.error(format!(
            "Requested retention period ({hours} hours) for stream {} can not be {word} than existing retention \
             period ({} hours). Use the other operation than {wanted}.",
            stream.name,
            current / HOUR_MS
        )));
    }
    let mut arguments = Table::new();
    arguments.push("x-retention-ms", Value::I64(i64::try_from(ms).unwrap_or(i64::MAX)));
    let op = Op::AlterQueue { name: stream.name.clone(), arguments };
    context.op(op).await.map_err(|error| fail(&error))?;
    Ok(None)
}
