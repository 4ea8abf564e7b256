//! `ReceiveMessage`: waits in the queue, not here, and writes what comes straight into the answer.

use super::{Target, fail, within};
use crate::aws::context::{Answer, Context, unexpected};
use crate::aws::input::{integer, parse};
use aws_protocol::attributes::{self, Attribute, Content, wanted};
use aws_protocol::convert;
use aws_protocol::json::{Object, push_base64, push_list, push_string};
use aws_protocol::native::{self, View};
use aws_protocol::payload;
use aws_protocol::receipt::Receipt;
use model::command::{Op, Reply};
use model::delivery::Delivery;
use model::message::Message;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveInput<'a> {
    #[serde(borrow, default)]
    queue_url: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "integer")]
    max_number_of_messages: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    visibility_timeout: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    wait_time_seconds: Option<i64>,
    #[serde(borrow, default)]
    attribute_names: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_system_attribute_names: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_attribute_names: Vec<Cow<'a, str>>,
}

/// `ReceiveMessage`.
pub(super) async fn receive(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ReceiveInput<'_> = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    let max = within(input.max_number_of_messages, "MaxNumberOfMessages", 1, 10)?.unwrap_or(1);
    let lease = within(input.visibility_timeout, "VisibilityTimeout", 0, 43_200)?;
    let wait = within(input.wait_time_seconds, "WaitTimeSeconds", 0, 20)?;
    let op = Op::Receive {
        queue: target.name().clone(),
        max: u32::try_from(max).unwrap_or(1),
        lease_ms: lease.map(|seconds| seconds * 1000),
        wait_ms: wait.map(|seconds| seconds * 1000),
    };
    let reply = context.caller().op(&target.place.vhost, op).await.map_err(|error| fail(&error))?;
    let Reply::Received(deliveries) = reply else { return Err(unexpected()) };
    let bytes: usize = deliveries.iter().map(|delivery| delivery.message.body.len() + 384).sum();
    let mut out = String::with_capacity(bytes + 16);
    let mut object = Object::begin(&mut out);
    if !deliveries.is_empty() {
        let shown = Shown { target: &target, input: &input };
        push_list(object.member("Messages"), &deliveries, |out, delivery| shown.message(out, delivery));
    }
    object.end();
    Ok(Some(out))
}

struct Shown<'a> {
    target: &'a Target,
    input: &'a ReceiveInput<'a>,
}

impl Shown<'_> {
    fn message(&self, out: &mut String, delivery: &Delivery) {
        let message = &delivery.message;
        let view = if native::is_aws(&message.native) {
            View::of(&message.native.properties)
        } else {
            View::of(&[])
        };
        let whole = match message.body.pieces() {
            [one] => one.clone(),
            _ => message.body.joined(),
        };
        // Text that came through this door needs no second check.
        let text = if view.has(native::TEXT) { std::str::from_utf8(&whole).ok() } else { None };
        let (body, base64) = match text {
            Some(text) => (Cow::Borrowed(text), false),
            None if view.has(native::DECODED) => (Cow::Owned(payload::encode(&whole)), true),
            None => payload::text_or_base64(&whole),
        };
        let mut object = Object::begin(out);
        let id = object.member("MessageId");
        id.push('"');
        push_message_id(id, delivery, &view);
        id.push('"');
        if let Some(lease) = delivery.lease {
            let handle = object.member("ReceiptHandle");
            handle.push('"');
            Receipt { lease, generation: delivery.earlier_deliveries }.push(handle);
            handle.push('"');
        }
        let digest = object.member("MD5OfBody");
        digest.push('"');
        attributes::md5_hex(digest, body.as_bytes());
        digest.push('"');
        object.text("Body", &body);
        self.system(&mut object, delivery, &view);
        self.attributes(&mut object, message, base64);
        object.end();
    }

    /// The message attributes that were asked for, and their MD5.
    fn attributes(&self, object: &mut Object<'_>, message: &Message, base64: bool) {
        let names = &self.input.message_attribute_names;
        if names.is_empty() {
            return;
        }
        let mut chosen = convert::attributes(message, base64);
        chosen.retain(|attribute| wanted(names, &attribute.name));
        if chosen.is_empty() {
            return;
        }
        chosen.sort_by(|left, right| left.name.cmp(&right.name));
        let mut md5 = String::with_capacity(32);
        attributes::md5_of(&mut md5, &chosen);
        object.text("MD5OfMessageAttributes", &md5);
        let mut list = Object::begin(object.member("MessageAttributes"));
        chosen.iter().for_each(|attribute| push_attribute(list.member(&attribute.name), attribute));
        list.end();
    }

    /// The system attributes that were asked for.
    fn system(&self, object: &mut Object<'_>, delivery: &Delivery, view: &View<'_>) {
        let (old, new) = (&self.input.attribute_names, &self.input.message_system_attribute_names);
        if old.is_empty() && new.is_empty() {
            return;
        }
        let wants = |name: &str| wanted(old, name) || wanted(new, name);
        let message = &delivery.message;
        let extra = message.extra.as_deref();
        let mut chosen = String::with_capacity(192);
        let mut list = Object::begin(&mut chosen);
        if wants("SenderId") {
            let sender = extra.and_then(|extra| extra.sender.as_deref());
            list.text("SenderId", sender.unwrap_or(&self.target.place.account));
        }
        let numbers = [
            ("ApproximateFirstReceiveTimestamp", delivery.first_delivery_ms),
            ("ApproximateReceiveCount", u64::from(delivery.earlier_deliveries) + 1),
            ("SentTimestamp", message.published_ms),
        ];
        for (name, value) in numbers.into_iter().filter(|(name, _)| wants(name)) {
            list.number_text(name, value);
        }
        if self.target.queue.settings.fifo && wants("SequenceNumber") {
            list.text("SequenceNumber", &format!("{:020}", sequence(delivery, view)));
        }
        if let Some(extra) = extra {
            let source = extra.deaths.first().map(|death| self.target.place.arn("sqs", &death.queue));
            let texts = [
                ("MessageDeduplicationId", extra.dedup.as_deref()),
                ("MessageGroupId", extra.group.as_deref()),
                ("AWSTraceHeader", extra.trace.as_deref()),
                ("DeadLetterQueueSourceArn", source.as_deref()),
            ];
            for (name, value) in texts.into_iter().filter(|(name, _)| wants(name)) {
                list.optional(name, value);
            }
        }
        list.end();
        // Some SDKs choke on an empty map.
        if chosen != "{}" {
            object.member("Attributes").push_str(&chosen);
        }
    }
}

/// The sequence number that the sender was told; for messages of other doors the number in the queue.
fn sequence(delivery: &Delivery, view: &View<'_>) -> u64 {
    let told = view.system(native::SEQUENCE).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    told.or(delivery.lease.map(|lease| lease.seq)).unwrap_or(0)
}

/// The id that the sender was told, else the one the broker knows it by, else one of its place in the queue.
fn push_message_id(out: &mut String, delivery: &Delivery, view: &View<'_>) {
    let given = delivery.message.extra.as_ref().and_then(|extra| extra.message_id.as_deref());
    if view.id != [0; 16] {
        out.push_str(&native::uuid(&view.id));
    } else if let Some(given) =
        given.filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    {
        out.push_str(given);
    } else if let Some(lease) = delivery.lease {
        let place = u128::from(lease.queue.0) << 64 | u128::from(lease.seq);
        out.push_str(&native::uuid(&place.to_be_bytes()));
    }
}

fn push_attribute(out: &mut String, attribute: &Attribute<'_>) {
    let mut object = Object::begin(out);
    match &attribute.content {
        Content::Text(text) => push_string(object.member("StringValue"), text),
        Content::Binary(bytes) => push_base64(object.member("BinaryValue"), bytes),
    }
    object.text("DataType", &attribute.data_type);
    object.end();
}
