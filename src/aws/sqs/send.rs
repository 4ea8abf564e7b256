//! `SendMessage` and `SendMessageBatch`.

use super::attributes::{MESSAGE_BYTES_MAX, argument};
use super::batch::{self, Batch};
use super::{Target, fail, invalid, missing, no_queue, within};
use crate::aws::context::{Answer, Context};
use crate::aws::fifo::{Identity, Key, QueueOrder, Sent, set_order};
use crate::aws::input::{integer, parse};
use aws_protocol::attributes::{self, Attribute, AttributesInput, Content};
use aws_protocol::error::{ApiError, sqs};
use aws_protocol::json::Object;
use aws_protocol::native::{self, AWS};
use aws_protocol::payload::{self, BASE64, ENCODING_ATTRIBUTE};
use bytes::BytesMut;
use model::Name;
use model::command::Routed;
use model::error::BrokerError;
use model::message::{Message, Native};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    queue_url: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_body: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "integer")]
    delay_seconds: Option<i64>,
    #[serde(borrow, default)]
    message_attributes: Option<AttributesInput<'a>>,
    #[serde(borrow, default)]
    message_system_attributes: Option<AttributesInput<'a>>,
    #[serde(borrow, default)]
    message_deduplication_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_group_id: Option<Cow<'a, str>>,
}

/// What a send is answered with.
struct Receipt {
    identity: Identity,
    body_md5: String,
    attributes_md5: String,
    system_md5: String,
    /// Deduplication group and id, for the memory of recent sends.
    dedup: Option<(Option<Name>, Name)>,
}

impl Receipt {
    fn write(&self, object: &mut Object<'_>) {
        self.identity.write_id(object);
        object.text("MD5OfMessageBody", &self.body_md5);
        let digests = [
            ("MD5OfMessageAttributes", &self.attributes_md5),
            ("MD5OfMessageSystemAttributes", &self.system_md5),
        ];
        for (name, digest) in digests {
            object.optional(name, Some(digest.as_str()).filter(|digest| !digest.is_empty()));
        }
        self.identity.write_sequence(object);
    }
}

/// `SendMessage`.
pub(super) async fn send(context: &Context<'_>, input: &[u8]) -> Answer {
    let entry: Entry<'_> = parse(input)?;
    let target = Target::of(context, entry.queue_url.as_deref())?;
    let (message, receipt) = build(context, &target, &entry).await?;
    let mut results = context.caller().publish(&target.place.vhost, vec![message]).await;
    settle(context, &target, &receipt, results.pop())?;
    let mut out = String::with_capacity(256);
    let mut object = Object::begin(&mut out);
    receipt.write(&mut object);
    object.end();
    Ok(Some(out))
}

/// `SendMessageBatch`.
pub(super) async fn send_batch(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: Batch<'_, Entry<'_>> = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    batch::check_ids(input.entries.iter().map(Entry::id))?;
    let bytes: usize = input.entries.iter().map(Entry::size).sum();
    if bytes as u64 > MESSAGE_BYTES_MAX {
        return Err(sqs::BATCH_TOO_LONG.error(format!(
            "Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent {bytes} bytes."
        )));
    }
    let mut messages = Vec::with_capacity(input.entries.len());
    let mut results: Vec<(&str, Result<Receipt, ApiError>)> = Vec::with_capacity(input.entries.len());
    for entry in &input.entries {
        let built = build(context, &target, entry).await.map(|(message, receipt)| {
            messages.push(message);
            receipt
        });
        results.push((entry.id(), built));
    }
    let mut published = context.caller().publish(&target.place.vhost, messages).await.into_iter();
    for (_, result) in &mut results {
        if let Ok(receipt) = result
            && let Err(error) = settle(context, &target, receipt, published.next())
        {
            *result = Err(error);
        }
    }
    Ok(Some(batch::answer(&results, |object, receipt| receipt.write(object))))
}

/// What the publish of one message came to.
fn settle(
    context: &Context<'_>,
    target: &Target,
    receipt: &Receipt,
    published: Option<Result<Routed, BrokerError>>,
) -> Result<(), ApiError> {
    let routed = published.ok_or_else(no_queue)?.map_err(|error| fail(&error))?;
    if routed.destinations == 0 {
        return Err(no_queue());
    }
    if let Some((group, dedup)) = &receipt.dedup {
        let key: Key<'_> = (&target.place.vhost, target.name(), group.as_deref(), dedup);
        receipt.identity.note(context, &key);
    }
    Ok(())
}

impl Entry<'_> {
    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Bytes that count towards limits, as far as they show without decoding.
    fn size(&self) -> usize {
        let attributes = self.message_attributes.iter().flat_map(|attributes| attributes.iter());
        self.message_body.as_ref().map_or(0, |body| body.len())
            + attributes.map(|(name, value)| name.len() + value.size()).sum::<usize>()
    }
}

async fn build(
    context: &Context<'_>,
    target: &Target,
    entry: &Entry<'_>,
) -> Result<(Arc<Message>, Receipt), ApiError> {
    let body = entry.message_body.as_deref().ok_or_else(|| missing("MessageBody"))?;
    if body.is_empty() {
        return Err(missing("MessageBody"));
    }
    if !payload::is_text(body) {
        return Err(sqs::INVALID_CONTENTS.error("Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF."));
    }
    let wrong = |text: String| sqs::INVALID_PARAMETER.error(text);
    let own = entry.message_attributes.as_ref().map_or(Ok(Vec::new()), attributes::read).map_err(wrong)?;
    let system =
        entry.message_system_attributes.as_ref().map_or(Ok(Vec::new()), attributes::read).map_err(wrong)?;
    check_size(target, body, &own)?;
    let order = fifo(context, target, entry, body).await?;
    let decoded = decode(body, &own)?;
    let trace = trace_header(&system)?;
    let identity = Identity::of(context, order.sent, target.queue.settings.fifo);
    let flags = if decoded.is_some() { native::DECODED } else { native::TEXT };
    // Properties and body share one block.
    let bytes = decoded.as_deref().unwrap_or(body.as_bytes());
    let properties = own.iter().map(|attribute| attribute.cost_bytes() + 9).sum::<usize>();
    let mut block = BytesMut::with_capacity(18 + properties + bytes.len() + 128);
    let mut writer = native::Writer::begin(&mut block, flags, &identity.id);
    for attribute in &own {
        writer.attribute(attribute);
    }
    writer.optional(native::GROUP, order.group.as_deref());
    if let Some(sequence) = identity.sequence {
        writer.system(native::SEQUENCE, &sequence.to_be_bytes());
    }
    let native = Native { codec: &AWS, properties: block.split().freeze() };
    block.extend_from_slice(bytes);
    let mut message = context.message("", target.name(), native, block.freeze());
    message.delay_ms = delay(target, entry)?;
    set_order(&mut message, order.group.clone(), order.dedup.clone());
    if trace.is_some() {
        message.extra_mut().trace = trace;
    }
    let (mut body_md5, mut attributes_md5, mut system_md5) =
        (String::with_capacity(32), String::new(), String::new());
    attributes::md5_hex(&mut body_md5, body.as_bytes());
    if !own.is_empty() {
        attributes::md5_of(&mut attributes_md5, &own);
    }
    if !system.is_empty() {
        attributes::md5_of(&mut system_md5, &system);
    }
    let scope = order.group.filter(|_| target.queue.settings.dedup_per_group);
    let dedup = order.dedup.filter(|_| identity.sequence.is_some()).map(|dedup| (scope, dedup));
    Ok((Arc::new(message), Receipt { identity, body_md5, attributes_md5, system_md5, dedup }))
}

fn check_size(target: &Target, body: &str, own: &[Attribute<'_>]) -> Result<(), ApiError> {
    let configured = target.queue.declare.arguments.str(&argument("MaximumMessageSize"));
    let max = configured.and_then(|text| text.parse().ok()).unwrap_or(MESSAGE_BYTES_MAX);
    let size = body.len() + own.iter().map(Attribute::cost_bytes).sum::<usize>();
    if size as u64 > max {
        return Err(sqs::INVALID_PARAMETER.error(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {max} bytes."
        )));
    }
    Ok(())
}

/// The bytes meant by a body that says it is base64.
fn decode(body: &str, own: &[Attribute<'_>]) -> Result<Option<Vec<u8>>, ApiError> {
    let encoding = own.iter().find(|attribute| attribute.name == ENCODING_ATTRIBUTE);
    if encoding.is_none_or(|attribute| attribute.content.bytes() != BASE64.as_bytes()) {
        return Ok(None);
    }
    let wrong = || {
        sqs::INVALID_PARAMETER
            .error(format!("The body is not base64, which attribute '{ENCODING_ATTRIBUTE}' says it is."))
    };
    payload::decode(body).map(Some).ok_or_else(wrong)
}

fn trace_header(system: &[Attribute<'_>]) -> Result<Option<Name>, ApiError> {
    match system {
        [] => Ok(None),
        [Attribute { name, content: Content::Text(value), .. }] if name == "AWSTraceHeader" => {
            Ok(Some(Name::from(value.as_ref())))
        }
        _ => Err(sqs::INVALID_PARAMETER.error(
            "Message system attribute name is invalid: only AWSTraceHeader of type String is supported.",
        )),
    }
}

fn delay(target: &Target, entry: &Entry<'_>) -> Result<Option<u64>, ApiError> {
    let seconds = within(entry.delay_seconds, "DelaySeconds", 0, 900)?;
    if target.queue.settings.fifo && seconds.is_some_and(|seconds| seconds > 0) {
        let reason = "The request include parameter that is not valid for this queue type.";
        return Err(invalid(seconds.unwrap_or(0), "DelaySeconds", reason));
    }
    Ok(seconds.map(|seconds| seconds * 1000))
}

/// Group, deduplication id, and the answer to an earlier send of the same.
#[derive(Default)]
struct Order {
    group: Option<Name>,
    dedup: Option<Name>,
    sent: Option<Sent>,
}

async fn fifo(
    context: &Context<'_>,
    target: &Target,
    entry: &Entry<'_>,
    body: &str,
) -> Result<Order, ApiError> {
    let settings = &target.queue.settings;
    let group = checked_id("MessageGroupId", entry.message_group_id.as_deref())?;
    let dedup = checked_id("MessageDeduplicationId", entry.message_deduplication_id.as_deref())?;
    if !settings.fifo {
        if dedup.is_some() {
            let reason = "The request includes a parameter that is not valid for this queue type.";
            return Err(invalid(dedup.unwrap_or_default(), "MessageDeduplicationId", reason));
        }
        return Ok(Order { group, ..Order::default() });
    }
    let group = group.ok_or_else(|| missing("MessageGroupId"))?;
    let by_content =
        target.queue.declare.arguments.str(&argument("ContentBasedDeduplication")) == Some("true");
    let dedup = match dedup {
        Some(dedup) => dedup,
        None if by_content => content_id(body).into(),
        None => {
            return Err(sqs::INVALID_PARAMETER.error(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
    };
    let per_group = settings.dedup_per_group;
    let order = QueueOrder { queue: target.name(), group: &group, per_group, dedup: &dedup };
    let sent = Sent::find(context, &target.place.vhost, order).await;
    Ok(Order { group: Some(group), dedup: Some(dedup), sent })
}

/// "a SHA-256 hash to generate the message deduplication ID using the body of the message".
pub(in crate::aws) fn content_id(body: &str) -> String {
    aws_protocol::sigv4::sha256_hex(body.as_bytes())
}

/// "can contain up to 128 alphanumeric characters (a-z, A-Z, 0-9) and punctuation".
pub(in crate::aws) fn checked_id(parameter: &str, value: Option<&str>) -> Result<Option<Name>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    if (1..=128).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(Name::from(value)));
    }
    let reason =
        format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
    Err(invalid(value, parameter, &reason))
}
