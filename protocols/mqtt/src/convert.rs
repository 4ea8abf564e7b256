//! Between MQTT 5 properties and the neutral envelope, both ways.
//!
//! A message of MQTT origin carries its properties verbatim, so that MQTT subscribers get the very same bytes:
//!
//! ```text
//! | flags: 1 byte              | MQTT 5 properties as published, without length:                       |
//! | bits 0-1 QoS, bit 2 retain | payload format, content type, response topic, correlation data, user  |
//! ```
//!
//! Expiry, topic alias and subscription identifiers are not in it; they differ from delivery to delivery.

use crate::{
    codec::properties::{self, Properties, Value, allowed, id},
    topic,
};
use bytes::{Bytes, BytesMut};
use model::{
    envelope::Envelope,
    message::{Message, Native, PropertyCodec},
    value,
};

/// User property that stands for the message group of other protocols.
const GROUP: &str = "x-message-group";
/// User property that stands for the subject of other protocols.
const SUBJECT: &str = "x-subject";

const QOS_BITS: u8 = 3;
const RETAIN_BIT: u8 = 4;
static FLAGS: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// Reads the properties that MQTT sessions store.
#[derive(Clone, Copy, Debug)]
pub struct MqttProperties;

/// The one [`MqttProperties`], for the registry and for [`Native::codec`].
pub static MQTT: MqttProperties = MqttProperties;

impl PropertyCodec for MqttProperties {
    fn tag(&self) -> &'static str {
        "mqtt"
    }

    fn envelope(&self, properties: &Bytes) -> Envelope {
        let (flags, section) = properties.split_first().map_or((0, &[][..]), |(flags, rest)| (*flags, rest));
        let mut envelope = Envelope { durable: flags & QOS_BITS != 0, ..Envelope::default() };
        let mut each = Properties::new(section, allowed::MESSAGE);
        while let Ok(Some(property)) = each.next() {
            match (property.id, property.value) {
                (id::PAYLOAD_FORMAT, Value::Number(format)) => envelope.utf8_body = format == 1,
                (id::CONTENT_TYPE, Value::Text(text)) => envelope.content_type = Some(text.into()),
                (id::RESPONSE_TOPIC, Value::Text(text)) => envelope.reply_to = Some(text.into()),
                (id::CORRELATION_DATA, Value::Binary(data)) => {
                    envelope.correlation_id = Some(properties.slice_ref(data));
                }
                (_, Value::Pair(GROUP, group)) => envelope.group = Some(group.into()),
                (_, Value::Pair(SUBJECT, subject)) => envelope.subject = Some(subject.into()),
                (_, Value::Pair(name, text)) => envelope.headers.push(name, value::Value::str(text)),
                _ => {}
            }
        }
        envelope
    }
}

/// The flags byte of a message of MQTT origin.
pub(crate) fn flags(qos: u8, retain: bool) -> u8 {
    qos & QOS_BITS | if retain { RETAIN_BIT } else { 0 }
}

/// Native properties that are just the flags: nothing is allocated.
pub(crate) fn bare(flags: u8) -> Native {
    let at = usize::from(flags & 7);
    Native { codec: &MQTT, properties: Bytes::from_static(&FLAGS).slice(at..=at) }
}

/// What an MQTT delivery needs to know of a message beyond its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// QoS that it was published with; another protocol's durable message counts as QoS 1.
    pub(crate) qos: u8,
    /// It was published with the retain flag.
    pub(crate) retain: bool,
    native: bool,
}

/// Reads the [`Origin`] of a message.
pub(crate) fn origin(message: &Message) -> Origin {
    if message.native.codec.tag() != MQTT.tag() {
        return Origin { qos: u8::from(message.durable), retain: false, native: false };
    }
    let flags = message.native.properties.first().copied().unwrap_or_default();
    Origin { qos: (flags & QOS_BITS).min(2), retain: flags & RETAIN_BIT != 0, native: true }
}

/// The property bytes of a message for 5.0 subscribers: its own, or those made of its envelope in `scratch`.
pub(crate) fn forwarded<'a>(message: &'a Message, origin: Origin, scratch: &'a mut BytesMut) -> &'a [u8] {
    if origin.native {
        return message.native.properties.get(1..).unwrap_or_default();
    }
    scratch.clear();
    encode(message.envelope(), scratch);
    scratch
}

fn encode(envelope: &Envelope, out: &mut BytesMut) {
    if envelope.utf8_body {
        properties::put_u8(out, id::PAYLOAD_FORMAT, 1);
    }
    if let Some(content_type) = text_of(envelope.content_type.as_deref()) {
        properties::put_bytes(out, id::CONTENT_TYPE, content_type.as_bytes());
    }
    if let Some(reply_to) = text_of(envelope.reply_to.as_deref())
        && topic::check_name(reply_to.as_bytes()).is_ok()
    {
        properties::put_bytes(out, id::RESPONSE_TOPIC, reply_to.as_bytes());
    }
    if let Some(correlation) = &envelope.correlation_id {
        properties::put_bytes(out, id::CORRELATION_DATA, correlation);
    }
    for (name, value) in envelope.headers.iter() {
        if let (Some(name), Some(value)) = (text_of(Some(name)), text_of(value.to_text().as_deref())) {
            properties::put_pair(out, name, value);
        }
    }
    for (name, value) in [(GROUP, &envelope.group), (SUBJECT, &envelope.subject)] {
        if let Some(value) = text_of(value.as_deref()) {
            properties::put_pair(out, name, value);
        }
    }
}

/// Text that an MQTT string may hold: other protocols allow NUL in theirs.
fn text_of(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn envelope_and_back() {
        let mut section = BytesMut::new();
        section.extend_from_slice(&[flags(1, false), 0x01, 1, 0x03, 0, 1, b't', 0x08, 0, 3]);
        section.extend_from_slice(b"r/s\x09\0\x02\xff\x00");
        properties::put_pair(&mut section, "b", "2");
        properties::put_pair(&mut section, "a", "1");
        properties::put_pair(&mut section, "b", "3");
        properties::put_pair(&mut section, GROUP, "g");
        properties::put_pair(&mut section, SUBJECT, "s");
        let native = section.freeze();
        let envelope = MQTT.envelope(&native);
        assert!(envelope.durable && envelope.utf8_body);
        assert_eq!(envelope.content_type.as_deref(), Some("t"));
        assert_eq!(envelope.reply_to.as_deref(), Some("r/s"));
        assert_eq!(envelope.correlation_id.as_deref(), Some(&[0xff, 0][..]));
        let names: Vec<_> = envelope.headers.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!((envelope.group.as_deref(), envelope.subject.as_deref()), (Some("g"), Some("s")));
        let mut out = BytesMut::new();
        encode(&envelope, &mut out);
        assert_eq!(&out[..], &native[1..]);
    }

    #[test]
    fn typed_headers_become_text() {
        let mut envelope = Envelope { reply_to: Some("a/#".into()), ..Envelope::default() };
        envelope.headers.push("n", value::Value::I32(-7));
        envelope.headers.push("bytes", value::Value::Bytes(Bytes::from_static(b"x")));
        envelope.headers.push("nul", value::Value::str("a\0"));
        let mut out = BytesMut::new();
        encode(&envelope, &mut out);
        assert_eq!(&out[..], b"\x26\0\x01n\0\x02-7");
    }
}
