//! SNS deliveries: the JSON notification around a message, or the message as it is.

use super::{message_id, subject, with_content};
use crate::attributes::{Attribute, Content};
use crate::json::{self, Object, push_string};
use crate::native::{self, SQS_BODY, TEXT, View};
use crate::{convert, payload, time};
use model::behaviour::Transform;
use model::message::{Body, Message};
use std::borrow::Cow;
use std::sync::Arc;

/// Wraps a message into the notification that a subscriber without raw delivery gets. Notifications are not signed:
/// `Signature` and `SigningCertURL` are empty.
#[derive(Debug)]
pub struct Notification {
    /// ARN of the topic.
    pub topic_arn: String,
    /// Where to end the subscription.
    pub unsubscribe_url: String,
}

impl Transform for Notification {
    fn apply(&self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let id = message_id(message);
        let whole = body_for_queues(message);
        let (text, binary) = payload::text_or_base64(&whole);
        let mut out = String::with_capacity(text.len() + 512);
        let mut object = Object::begin(&mut out);
        object.text("Type", "Notification").text("MessageId", &native::uuid(&id));
        if let Some(sequence) = sequence(message) {
            object.text("SequenceNumber", &format!("{sequence:020}"));
        }
        object
            .text("TopicArn", &self.topic_arn)
            .optional("Subject", subject(message))
            .text("Message", &text)
            .text("Timestamp", &time::iso(message.published_ms, true))
            .text("SignatureVersion", "1")
            .text("Signature", "")
            .text("SigningCertURL", "")
            .text("UnsubscribeURL", &self.unsubscribe_url);
        let attributes = convert::attributes(message, binary);
        if !attributes.is_empty() {
            write_attributes(object.member("MessageAttributes"), &attributes);
        }
        object.end();
        let group = message.extra.as_ref().and_then(|extra| extra.group.clone());
        let native = native::encode(TEXT, &id, |writer| {
            writer.optional(native::GROUP, group.as_deref());
        });
        Some(Arc::new(with_content(message, native, out)))
    }
}

fn write_attributes(out: &mut String, attributes: &[Attribute<'_>]) {
    let mut object = Object::begin(out);
    for attribute in attributes {
        let mut value = Object::begin(object.member(&attribute.name));
        value.text("Type", &attribute.data_type);
        let out = value.member("Value");
        match &attribute.content {
            Content::Text(text) => push_string(out, text),
            Content::Binary(bytes) => json::push_base64(out, bytes),
        }
        value.end();
    }
    object.end();
}

fn sequence(message: &Message) -> Option<u64> {
    let view = native::is_aws(&message.native).then(|| View::of(&message.native.properties))?;
    view.system(native::SEQUENCE)?.try_into().ok().map(u64::from_be_bytes)
}

/// The body for SQS subscribers: the `sqs` variant of a message published with `MessageStructure=json`, if any.
fn body_for_queues(message: &Message) -> Cow<'_, [u8]> {
    if native::is_aws(&message.native)
        && let Some(variant) = View::of(&message.native.properties).system(SQS_BODY)
    {
        return Cow::Borrowed(variant);
    }
    match message.body.pieces() {
        [one] => Cow::Borrowed(one),
        _ => Cow::Owned(message.body.joined().to_vec()),
    }
}

/// Hands the message on as it is, but for the body that was published for SQS subscribers.
#[derive(Debug)]
pub struct RawDelivery;

impl Transform for RawDelivery {
    fn apply(&self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let variant = native::is_aws(&message.native)
            .then(|| View::of(&message.native.properties).system(SQS_BODY))
            .flatten()
            .map(|variant| message.native.properties.slice_ref(variant));
        match variant {
            None => Some(Arc::clone(message)),
            Some(variant) => {
                let mut derived = message.derive();
                derived.body = Body::from(variant);
                Some(Arc::new(derived))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::transform::samples;
    use bytes::Bytes;

    fn notify(message: Message) -> serde_json::Value {
        let notification = Notification { topic_arn: "arn:t".into(), unsubscribe_url: "u".into() };
        samples::json(&notification.apply(&Arc::new(message)).unwrap())
    }

    #[test]
    fn wraps_text() {
        let mut message = samples::aws(TEXT, "hi \"there\"");
        message.native = native::encode(TEXT, &[1; 16], |writer| {
            writer.system(native::SUBJECT, b"s").attribute(&Attribute {
                name: "n".into(),
                data_type: "Binary".into(),
                content: Content::Binary(Cow::Borrowed(b"\xff")),
            });
        });
        let json = notify(message);
        assert_eq!(json["Message"], "hi \"there\"");
        assert_eq!(json["Subject"], "s");
        assert_eq!(json["Timestamp"], "1970-01-01T00:00:01.000Z");
        assert_eq!(json["MessageAttributes"]["n"]["Value"], "/w==");
    }

    #[test]
    fn binary_bodies_say_so() {
        let mut message = samples::aws(0, "");
        message.body = Body::from(Bytes::from_static(b"\xff\x00"));
        let json = notify(message);
        assert_eq!(json["Message"], "/wA=");
        assert_eq!(json["MessageAttributes"]["waystation-encoding"]["Value"], "base64");
    }

    #[test]
    fn variant_for_queues() {
        let mut message = samples::aws(TEXT, "default");
        message.native = native::encode(TEXT, &[1; 16], |writer| {
            writer.system(SQS_BODY, b"for queues");
        });
        assert_eq!(RawDelivery.apply(&Arc::new(message.derive())).unwrap().body.joined(), "for queues");
        assert_eq!(notify(message)["Message"], "for queues");
    }
}
