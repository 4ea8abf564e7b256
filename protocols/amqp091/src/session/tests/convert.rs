//! Messages of other protocols at this door, and this door's messages at others.

use super::*;
use crate::{codec::properties::Properties, convert};
use model::{
    envelope::Envelope,
    message::PropertyCodec,
    value::{Table, Value},
};

/// A codec of another protocol whose every message says the same.
struct Other(Envelope);

impl PropertyCodec for Other {
    fn tag(&self) -> &'static str {
        "other"
    }

    fn envelope(&self, _: &Bytes) -> Envelope {
        self.0.clone()
    }
}

/// Out through a delivery and back through the codec.
fn crossed(envelope: Envelope) -> (Envelope, Vec<u8>) {
    let ttl_ms = envelope.ttl_ms;
    let durable = envelope.durable;
    let native = Native { codec: Box::leak(Box::new(Other(envelope))), properties: Bytes::new() };
    let mut message = Message::new("e".into(), "k".into(), native, Body::new(), 0);
    (message.ttl_ms, message.durable) = (ttl_ms, durable);
    let delivery = delivery(1, 1, message);
    assert!(!convert::goes_verbatim(&delivery));
    let mut out = Vec::new();
    convert::delivered_properties(&delivery, &mut out);
    (crate::AMQP.envelope(&Bytes::from(out.clone())), out)
}

#[test]
fn an_envelope_comes_back_the_same() {
    let mut headers = Table::new();
    headers.push("b", Value::U16(7));
    headers.push("a", Value::str("x"));
    headers.push("b", Value::Array(vec![Value::Null, Value::Bool(true)]));
    let full = Envelope {
        content_type: Some("text/plain".into()),
        content_encoding: Some("gzip".into()),
        correlation_id: Some(Bytes::from_static(b"c")),
        reply_to: Some("r".into()),
        ttl_ms: Some(1500),
        priority: Some(4),
        message_id: Some("m".into()),
        timestamp_ms: Some(3000),
        kind: Some("k".into()),
        user_id: Some("u".into()),
        app_id: Some("a".into()),
        durable: true,
        utf8_body: false,
        group: Some("g".into()),
        subject: Some("s".into()),
        headers,
    };
    assert_eq!(crossed(full.clone()).0, full);
    assert_eq!(crossed(Envelope::default()).0, Envelope::default());
}

#[test]
fn what_does_not_fit_a_short_string_goes_as_a_header() {
    let envelope = Envelope {
        correlation_id: Some(Bytes::from_static(b"\xff\x00")),
        reply_to: Some("r".repeat(300).into()),
        ..Envelope::default()
    };
    let (back, bytes) = crossed(envelope.clone());
    let properties = Properties::parse(&bytes).unwrap();
    assert_eq!((properties.correlation_id, properties.reply_to), (None, None));
    assert_eq!(back, envelope);
}

#[test]
fn unreadable_properties_make_an_empty_envelope() {
    for bytes in [&b""[..], b"\xff", b"\xff\xff\xff\xff", b"\x80\x00\xff"] {
        assert_eq!(crate::AMQP.envelope(&Bytes::copy_from_slice(bytes)), Envelope::default());
    }
}
