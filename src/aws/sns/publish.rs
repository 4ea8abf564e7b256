//! `Publish` and `PublishBatch`.

use super::{Topic, fail, invalid};
use crate::aws::context::{Answer, Context};
use crate::aws::fifo::{Identity, Key, set_order};
use crate::aws::input::parse;
use crate::aws::sqs;
use aws_protocol::attributes::{self, Attribute, AttributesInput};
use aws_protocol::error::{ApiError, sns};
use aws_protocol::json::{Object, push_list};
use aws_protocol::{native, payload};
use bytes::Bytes;
use model::Name;
use model::command::Routed;
use model::error::{BrokerError, ErrorKind};
use model::message::Message;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Largest message unless the topic's `MaximumMessageSize` says otherwise, and largest batch.
const MESSAGE_BYTES_MAX: usize = 262_144;
const ENTRIES_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    topic_arn: Option<String>,
    #[serde(default)]
    target_arn: Option<String>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_structure: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_attributes: Option<AttributesInput<'a>>,
    #[serde(borrow, default)]
    message_deduplication_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_group_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'a> {
    #[serde(default)]
    topic_arn: Option<String>,
    #[serde(borrow, default)]
    publish_batch_request_entries: Vec<Entry<'a>>,
}

struct Receipt {
    identity: Identity,
    dedup: Option<Name>,
}

impl Receipt {
    fn write(&self, object: &mut Object<'_>) {
        self.identity.write_id(object);
        self.identity.write_sequence(object);
    }
}

/// `Publish`.
pub(super) async fn publish(context: &Context<'_>, input: &[u8]) -> Answer {
    let entry: Entry<'_> = parse(input)?;
    let topic = Topic::of(context, entry.topic_arn.as_deref().or(entry.target_arn.as_deref()))?;
    let (message, receipt) = build(context, &topic, &entry)?;
    let mut results = context.caller().publish(&topic.place.vhost, vec![message]).await;
    settle(context, &topic, &receipt, results.pop())?;
    let mut out = String::with_capacity(96);
    let mut object = Object::begin(&mut out);
    receipt.write(&mut object);
    object.end();
    Ok(Some(out))
}

/// `PublishBatch`.
pub(super) async fn publish_batch(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: Batch<'_> = parse(input)?;
    let topic = Topic::of(context, input.topic_arn.as_deref())?;
    let entries = &input.publish_batch_request_entries;
    check_batch(entries)?;
    let mut messages = Vec::with_capacity(entries.len());
    let mut results: Vec<Result<Receipt, ApiError>> = Vec::with_capacity(entries.len());
    for entry in entries {
        results.push(build(context, &topic, entry).map(|(message, receipt)| {
            messages.push(message);
            receipt
        }));
    }
    let mut published = context.caller().publish(&topic.place.vhost, messages).await.into_iter();
    for result in &mut results {
        if let Ok(receipt) = result
            && let Err(error) = settle(context, &topic, receipt, published.next())
        {
            *result = Err(error);
        }
    }
    Ok(Some(answer(entries, &results)))
}

fn answer(entries: &[Entry<'_>], results: &[Result<Receipt, ApiError>]) -> String {
    let mut out = String::with_capacity(32 + entries.len() * 96);
    let mut object = Object::begin(&mut out);
    for (name, successful) in [("Successful", true), ("Failed", false)] {
        let chosen = entries.iter().zip(results).filter(|(_, result)| result.is_ok() == successful);
        push_list(object.member(name), chosen, |out, (entry, result)| {
            let mut row = Object::begin(out);
            row.optional("Id", entry.id.as_deref());
            match result {
                Ok(receipt) => receipt.write(&mut row),
                Err(error) => {
                    row.text("Code", error.code.query).text("Message", &error.message);
                    row.member("SenderFault").push_str(if error.sender_fault() { "true" } else { "false" });
                }
            }
            row.end();
        });
    }
    object.end();
    out
}

fn check_batch(entries: &[Entry<'_>]) -> Result<(), ApiError> {
    if entries.is_empty() {
        return Err(sns::EMPTY_BATCH.error("The batch request doesn't contain any entries."));
    }
    if entries.len() > ENTRIES_MAX {
        return Err(sns::TOO_MANY_ENTRIES.error("The batch request contains more entries than permissible."));
    }
    for (index, entry) in entries.iter().enumerate() {
        let id = entry.id.as_deref().unwrap_or_default();
        let fit = (1..=80).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !fit {
            return Err(sns::INVALID_ENTRY_ID
                .error("The Id of a batch entry in a batch request doesn't abide by the specification."));
        }
        if entries.iter().take(index).any(|other| other.id == entry.id) {
            return Err(
                sns::IDS_NOT_DISTINCT.error("Two or more batch entries in the request have the same Id.")
            );
        }
    }
    let bytes: usize =
        entries.iter().map(|entry| entry.message.as_ref().map_or(0, |message| message.len())).sum();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(sns::BATCH_TOO_LONG
            .error("The length of all the batch messages put together is more than the limit."));
    }
    Ok(())
}

/// A topic without subscriptions takes messages too; only a destination that refused one is a failure.
fn settle(
    context: &Context<'_>,
    topic: &Topic,
    receipt: &Receipt,
    published: Option<Result<Routed, BrokerError>>,
) -> Result<(), ApiError> {
    let gone = || BrokerError::new(ErrorKind::Unavailable, "the message was not taken in");
    published.unwrap_or_else(|| Err(gone())).map_err(|error| fail(&error))?;
    if let Some(dedup) = &receipt.dedup {
        let key: Key<'_> = (&topic.place.vhost, topic.name(), None, dedup);
        receipt.identity.note(context, &key);
    }
    Ok(())
}

/// The default body and, with `MessageStructure=json`, the one for SQS subscribers.
fn bodies<'a>(entry: &'a Entry<'a>) -> Result<(Cow<'a, str>, Option<String>), ApiError> {
    let message = entry.message.as_deref().filter(|message| !message.is_empty());
    let message = message.ok_or_else(|| sns::INVALID_PARAMETER.error("Invalid parameter: Empty message"))?;
    match entry.message_structure.as_deref() {
        None => Ok((Cow::Borrowed(message), None)),
        Some("json") => {
            let mut variants: BTreeMap<String, serde_json::Value> = serde_json::from_str(message)
                .map_err(|_| invalid("Message Structure", "JSON message body failed to parse"))?;
            let mut take = |name: &str| match variants.remove(name) {
                Some(serde_json::Value::String(text)) => Some(text),
                _ => None,
            };
            let default = take("default")
                .ok_or_else(|| invalid("Message Structure", "No default entry in JSON message body"))?;
            Ok((Cow::Owned(default), take("sqs")))
        }
        Some(_) => Err(invalid("MessageStructure", "the only structure is json")),
    }
}

fn build(
    context: &Context<'_>,
    topic: &Topic,
    entry: &Entry<'_>,
) -> Result<(Arc<Message>, Receipt), ApiError> {
    let (body, variant) = bodies(entry)?;
    let wrong = |text: String| sns::INVALID_PARAMETER_VALUE.error(text);
    let own = entry.message_attributes.as_ref().map_or(Ok(Vec::new()), attributes::read).map_err(wrong)?;
    let max =
        topic.attribute("MaximumMessageSize").and_then(|text| text.parse().ok()).unwrap_or(MESSAGE_BYTES_MAX);
    if body.len() + own.iter().map(Attribute::cost_bytes).sum::<usize>() > max {
        return Err(sns::INVALID_PARAMETER.error("Invalid parameter: Message too long"));
    }
    if let Some(subject) = &entry.subject
        && (subject.is_empty() || subject.chars().count() > 100 || subject.contains(['\n', '\r']))
    {
        return Err(sns::INVALID_PARAMETER.error("Invalid parameter: Subject"));
    }
    let (group, dedup) = order(topic, entry, &body)?;
    let sent = dedup.as_ref().and_then(|dedup| {
        context.door.recent.find(&(&topic.place.vhost, topic.name(), None, dedup), context.now)
    });
    let identity = Identity::of(context, sent, topic.is_fifo());
    let flags = if payload::is_text(&body) { native::TEXT } else { 0 };
    let native = native::encode(flags, &identity.id, |writer| {
        for attribute in &own {
            writer.attribute(attribute);
        }
        writer
            .optional(native::SUBJECT, entry.subject.as_deref())
            .optional(native::GROUP, group.as_deref())
            .optional(native::SQS_BODY, variant.as_deref());
        if let Some(sequence) = identity.sequence {
            writer.system(native::SEQUENCE, &sequence.to_be_bytes());
        }
    });
    // Exchanges bound behind the topic route by it.
    let key = entry.subject.as_deref().unwrap_or(topic.name());
    let mut message = context.message(topic.name(), key, native, Bytes::from(body.into_owned()));
    set_order(&mut message, group, dedup.clone());
    Ok((Arc::new(message), Receipt { identity, dedup }))
}

/// Message group and deduplication id.
fn order(topic: &Topic, entry: &Entry<'_>, body: &str) -> Result<(Option<Name>, Option<Name>), ApiError> {
    let checked = |name: &str, value: Option<&str>| {
        sqs::checked_id(name, value)
            .map_err(|error| sns::INVALID_PARAMETER.error(format!("Invalid parameter: {}", error.message)))
    };
    let group = checked("MessageGroupId", entry.message_group_id.as_deref())?;
    let dedup = checked("MessageDeduplicationId", entry.message_deduplication_id.as_deref())?;
    if !topic.is_fifo() {
        if dedup.is_some() {
            return Err(invalid(
                "MessageDeduplicationId",
                "The request includes MessageDeduplicationId parameter that is not valid for this topic type",
            ));
        }
        return Ok((group, None));
    }
    if group.is_none() {
        return Err(invalid("MessageGroupId", "The MessageGroupId parameter is required for FIFO topics"));
    }
    match dedup {
        Some(dedup) => Ok((group, Some(dedup))),
        None if topic.attribute("ContentBasedDeduplication") == Some("true") => {
            Ok((group, Some(sqs::content_id(body).into())))
        }
        None => Err(sns::INVALID_PARAMETER.error("Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")),
    }
}
