//! Queue attributes: which there are, what they may say, and which argument of the queue keeps each.
//!
//! What the engine acts on becomes the engine's argument; the rest is kept as `x-sqs-<name>`. So the attributes of a
//! queue that another door declared are simply what its settings say.

use super::invalid;
use aws_protocol::arn::Place;
use aws_protocol::error::{ApiError, sqs};
use engine::topology::{Queue, Topology};
use model::value::{Table, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Attributes as requests and answers carry them.
pub(super) type Attributes = BTreeMap<String, String>;

/// Largest message of any queue, bytes.
pub(super) const MESSAGE_BYTES_MAX: u64 = 1_048_576;
const RETENTION_S_DEFAULT: u64 = 345_600;
const RETENTION_S_MAX: u64 = 1_209_600;
/// When the queue was made or last changed, seconds.
pub(super) const CREATED: &str = "x-sqs-CreatedTimestamp";
/// See [`CREATED`].
pub(super) const MODIFIED: &str = "x-sqs-LastModifiedTimestamp";

/// How an attribute is kept.
enum Kept {
    /// Seconds within a range; milliseconds in this argument of the engine.
    Seconds(u64, u64, &'static str),
    /// A number within a range, kept as text.
    Number(u64, u64),
    /// `true` or `false`, kept as text.
    Flag,
    /// One of these words, kept as text.
    Word(&'static [&'static str]),
    /// Anything, kept as text; empty removes it.
    Text,
}

static SETTABLE: &[(&str, Kept)] = &[
    ("DelaySeconds", Kept::Seconds(0, 900, "x-delay-ms")),
    ("MessageRetentionPeriod", Kept::Seconds(60, RETENTION_S_MAX, "x-retention-ms")),
    ("ReceiveMessageWaitTimeSeconds", Kept::Seconds(0, 20, "x-wait-ms")),
    ("VisibilityTimeout", Kept::Seconds(0, 43_200, "x-lease-ms")),
    ("MaximumMessageSize", Kept::Number(1024, MESSAGE_BYTES_MAX)),
    ("KmsDataKeyReusePeriodSeconds", Kept::Number(60, 86_400)),
    ("ContentBasedDeduplication", Kept::Flag),
    ("FifoQueue", Kept::Flag),
    ("SqsManagedSseEnabled", Kept::Flag),
    ("DeduplicationScope", Kept::Word(&["messageGroup", "queue"])),
    ("FifoThroughputLimit", Kept::Word(&["perQueue", "perMessageGroupId"])),
    ("KmsMasterKeyId", Kept::Text),
    ("Policy", Kept::Text),
    ("RedrivePolicy", Kept::Text),
    ("RedriveAllowPolicy", Kept::Text),
];

/// Attributes that can only be read.
static READ_ONLY: &[&str] = &[
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Every attribute's name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SETTABLE.iter().map(|(name, _)| *name).chain(READ_ONLY.iter().copied())
}

/// The argument that keeps attribute `name` as text.
pub(super) fn argument(name: &str) -> String {
    format!("x-sqs-{name}")
}

/// The arguments that `attributes` of a queue called `queue` mean.
/// Errors: `InvalidAttributeName`, `InvalidAttributeValue`, `InvalidParameterValue`.
pub(super) fn arguments(
    attributes: &Attributes,
    queue: &str,
    place: &Place,
    topology: &Topology,
) -> Result<Table, ApiError> {
    let mut table = Table::new();
    for (name, value) in attributes {
        let (_, kept) = SETTABLE
            .iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| sqs::INVALID_ATTRIBUTE_NAME.error(format!("Unknown Attribute {name}.")))?;
        keep(&mut table, name, value, kept)?;
    }
    if let Some(policy) = attributes.get("RedrivePolicy") {
        redrive(&mut table, policy, queue, place, topology)?;
    }
    if let Some(scope) = attributes.get("DeduplicationScope") {
        table.push("x-dedup-scope", Value::str(if scope == "messageGroup" { "group" } else { "queue" }));
    }
    let fifo_only = ["ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];
    let fifo = queue.ends_with(".fifo");
    if let Some(name) = fifo_only.iter().find(|name| !fifo && attributes.contains_key(**name)) {
        return Err(sqs::INVALID_ATTRIBUTE_NAME.error(format!("Unknown Attribute {name}.")));
    }
    Ok(table)
}

fn keep(table: &mut Table, name: &str, value: &str, kept: &Kept) -> Result<(), ApiError> {
    let wrong = || sqs::INVALID_ATTRIBUTE_VALUE.error(format!("Invalid value for the parameter {name}."));
    let number = |from: u64, to: u64| {
        value.trim().parse::<u64>().ok().filter(|number| (from..=to).contains(number)).ok_or_else(wrong)
    };
    match kept {
        Kept::Seconds(from, to, argument) => {
            let ms = number(*from, *to)?.saturating_mul(1000);
            table.push(*argument, Value::I64(i64::try_from(ms).map_err(|_| wrong())?));
            return Ok(());
        }
        Kept::Number(from, to) => drop(number(*from, *to)?),
        Kept::Flag if value != "true" && value != "false" => return Err(wrong()),
        Kept::Word(words) if !words.contains(&value) => return Err(wrong()),
        Kept::Flag | Kept::Word(_) | Kept::Text => {}
    }
    let value = if value.is_empty() { Value::Null } else { Value::str(value) };
    table.push(argument(name), value);
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    #[serde(deserialize_with = "crate::aws::input::integer")]
    max_receive_count: Option<i64>,
}

/// The dead-letter arguments of a redrive policy; an empty one removes them.
fn redrive(
    table: &mut Table,
    policy: &str,
    queue: &str,
    place: &Place,
    topology: &Topology,
) -> Result<(), ApiError> {
    const ARGUMENTS: [&str; 3] = ["x-dead-letter-exchange", "x-dead-letter-routing-key", "x-delivery-limit"];
    if policy.is_empty() {
        ARGUMENTS.iter().for_each(|argument| table.push(*argument, Value::Null));
        return Ok(());
    }
    let wrong = |reason: &str| invalid(policy, "RedrivePolicy", reason);
    let read: RedrivePolicy = serde_json::from_str(policy).map_err(|_| {
        wrong("Redrive policy is not a valid JSON map with deadLetterTargetArn and maxReceiveCount.")
    })?;
    let count = read.max_receive_count.filter(|count| (1..=1000).contains(count));
    let count = count.ok_or_else(|| {
        wrong("Invalid value for maxReceiveCount. Valid values are from 1 to 1000 both inclusive.")
    })?;
    let target = place.local(&read.dead_letter_target_arn, "sqs");
    let target = target.ok_or_else(|| wrong("Dead-letter target owner should be same as the source."))?;
    if topology.queue(&place.vhost, target).is_none() {
        return Err(wrong("Dead letter target does not exist."));
    }
    if target.ends_with(".fifo") != queue.ends_with(".fifo") {
        return Err(wrong("Dead-letter queue must be of the same type as the source."));
    }
    let [exchange, key, limit] = ARGUMENTS;
    table.push(exchange, Value::str(""));
    table.push(key, Value::str(target));
    table.push(limit, Value::I64(count));
    Ok(())
}

/// What a new queue has when the client says nothing.
pub(super) fn defaults(table: &mut Table, fifo: bool, now_s: u64) {
    if table.get("x-retention-ms").is_none() {
        table.push("x-retention-ms", Value::I64(RETENTION_S_DEFAULT as i64 * 1000));
    }
    if fifo {
        table.push("x-fifo", Value::Bool(true));
    }
    for name in [CREATED, MODIFIED] {
        table.push(name, Value::str(now_s.to_string()));
    }
}

/// The value of a settable or fixed attribute of a queue; counts are the caller's. `None` where it has none.
pub(super) fn value(queue: &Queue, place: &Place, name: &str) -> Option<String> {
    let settings = &queue.settings;
    let kept = || queue.declare.arguments.str(&argument(name)).map(str::to_owned);
    let seconds = |ms: u64| Some((ms / 1000).to_string());
    match name {
        "DelaySeconds" => seconds(settings.delay_ms),
        "MessageRetentionPeriod" => seconds(settings.message_ttl_ms.unwrap_or(RETENTION_S_MAX * 1000)),
        "ReceiveMessageWaitTimeSeconds" => seconds(settings.wait_ms),
        "VisibilityTimeout" => seconds(settings.lease_ms),
        "MaximumMessageSize" => kept().or_else(|| Some(MESSAGE_BYTES_MAX.to_string())),
        "SqsManagedSseEnabled" => kept().or_else(|| {
            let kms = queue.declare.arguments.str(&argument("KmsMasterKeyId")).is_some();
            Some((!kms).to_string())
        }),
        "FifoQueue" => settings.fifo.then(|| "true".to_owned()),
        "ContentBasedDeduplication" if settings.fifo => kept().or_else(|| Some("false".to_owned())),
        "DeduplicationScope" if settings.fifo => {
            Some(if settings.dedup_per_group { "messageGroup" } else { "queue" }.to_owned())
        }
        "FifoThroughputLimit" if settings.fifo => kept().or_else(|| Some("perQueue".to_owned())),
        "CreatedTimestamp" | "LastModifiedTimestamp" => kept().or_else(|| Some("0".to_owned())),
        "QueueArn" => Some(place.arn("sqs", &queue.name)),
        _ => kept(),
    }
}

/// The first attribute of `wanted` that `queue` has otherwise.
pub(super) fn difference<'a>(wanted: &'a Attributes, queue: &Queue, place: &Place) -> Option<&'a str> {
    let same = |name: &str, wanted: &str| {
        let current = value(queue, place, name).unwrap_or_default();
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        let flag_off = wanted == "false" && current.is_empty();
        current == wanted || flag_off || json(&current).is_some_and(|current| json(wanted) == Some(current))
    };
    wanted.iter().find(|(name, value)| !same(name, value)).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aws_protocol::arn::Home;

    fn check(name: &str, value: &str, queue: &str) -> Result<Table, &'static str> {
        let home = Home { account: "000000000000".into(), region: "us-east-1".into() };
        let attributes = Attributes::from([(name.to_owned(), value.to_owned())]);
        let topology = Topology::default();
        arguments(&attributes, queue, &home.place_of("/"), &topology).map_err(|error| error.code.shape)
    }

    #[test]
    fn attributes_become_arguments() {
        assert_eq!(
            check("VisibilityTimeout", "30", "q").unwrap().get("x-lease-ms"),
            Some(&Value::I64(30_000))
        );
        assert_eq!(check("Policy", "{}", "q").unwrap().str("x-sqs-Policy"), Some("{}"));
        assert_eq!(check("Policy", "", "q").unwrap().get("x-sqs-Policy"), Some(&Value::Null));
        let scope = check("DeduplicationScope", "messageGroup", "q.fifo").unwrap();
        assert_eq!(scope.str("x-dedup-scope"), Some("group"));
    }

    #[test]
    fn refuses_what_sqs_refuses() {
        for (name, value, queue, error) in [
            ("Nope", "1", "q", "InvalidAttributeName"),
            ("VisibilityTimeout", "43201", "q", "InvalidAttributeValue"),
            ("DelaySeconds", "x", "q", "InvalidAttributeValue"),
            ("FifoQueue", "yes", "q.fifo", "InvalidAttributeValue"),
            ("ContentBasedDeduplication", "true", "q", "InvalidAttributeName"),
            ("RedrivePolicy", "{}", "q", "InvalidParameterValueException"),
            (
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d","maxReceiveCount":"3"}"#,
                "q",
                "InvalidParameterValueException",
            ),
        ] {
            assert_eq!(check(name, value, queue), Err(error), "{name}={value}");
        }
    }
}
