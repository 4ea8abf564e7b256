//! Crossing: STOMP headers <-> the neutral envelope, and the native properties that the log keeps.
//!
//! Native properties are the headers of a SEND as lines escaped for 1.2, in the order in which a MESSAGE shows them:
//!
//! ```text
//! content-type:.. LF content-encoding:.. LF persistent:true LF ... app-id:.. LF user headers as sent, first ones only
//! ```
//!
//! so that handing a message to a STOMP client again is a copy. What addresses or frames a message (`destination`,
//! `content-length`, `transaction`) is not in it, nor what MESSAGE says in its own right.

use crate::{
    destination::{REPLY_QUEUE, is_destination},
    escape::{escape, lines_of, unescape},
    frame::Frame,
    version::Version,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes};
use model::{Name, envelope::Envelope, message::PropertyCodec, value::Value};

/// Header of a message group.
pub(crate) const GROUP: &str = "x-message-group";
/// Header of a subject.
pub(crate) const SUBJECT: &str = "x-subject";

/// Headers that are properties, in the order of a MESSAGE.
const PROPERTIES: [&str; 12] = [
    "content-type",
    "content-encoding",
    "persistent",
    "priority",
    "correlation-id",
    "reply-to",
    "expiration",
    "amqp-message-id",
    "timestamp",
    "type",
    "user-id",
    "app-id",
];

/// Headers that frames of either direction define for themselves; they are never application headers.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "destination"
            | "content-length"
            | "transaction"
            | "message-id"
            | "subscription"
            | "redelivered"
            | "ack"
    )
}

/// The codec of native properties; its tag is `stomp`.
#[derive(Debug)]
pub struct StompProperties;

/// The one value of [`StompProperties`].
pub static STOMP: StompProperties = StompProperties;

impl PropertyCodec for StompProperties {
    fn tag(&self) -> &'static str {
        "stomp"
    }

    fn envelope(&self, properties: &Bytes) -> Envelope {
        let mut envelope = Envelope::default();
        for (name, value) in lines_of(properties) {
            let (mut plain_name, mut plain) = (String::new(), String::new());
            if unescape(name, Version::V12, &mut plain_name).is_ok()
                && unescape(value, Version::V12, &mut plain).is_ok()
            {
                read_header(&mut envelope, plain_name, plain);
            }
        }
        envelope
    }
}

fn read_header(envelope: &mut Envelope, name: String, value: String) {
    let text = |value: String| Some(Name::from(value));
    match name.as_str() {
        "content-type" => {
            // "If the content-type header is set to text/..., UTF-8 is implied" unless a charset says otherwise.
            envelope.utf8_body = value.starts_with("text/") && !value.contains("charset=");
            envelope.utf8_body |= value.to_ascii_lowercase().contains("charset=utf-8");
            envelope.content_type = text(value);
        }
        "content-encoding" => envelope.content_encoding = text(value),
        "persistent" => envelope.durable = value == "true",
        "priority" => envelope.priority = value.trim().parse().ok(),
        "correlation-id" => envelope.correlation_id = Some(Bytes::from(value)),
        "reply-to" => {
            // To others a reply queue is a queue.
            let queue = value.strip_prefix(REPLY_QUEUE).and_then(|rest| rest.strip_prefix('/'));
            envelope.reply_to = Some(queue.map_or_else(|| Name::from(value.as_str()), Name::from));
        }
        "expiration" => envelope.ttl_ms = value.trim().parse().ok(),
        "amqp-message-id" => envelope.message_id = text(value),
        "timestamp" => {
            envelope.timestamp_ms =
                value.trim().parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1000));
        }
        "type" => envelope.kind = text(value),
        "user-id" => envelope.user_id = text(value),
        "app-id" => envelope.app_id = text(value),
        GROUP => envelope.group = text(value),
        SUBJECT => envelope.subject = text(value),
        _ => envelope.headers.push(name, Value::Str(value.into())),
    }
}

/// Appends one header line.
pub(crate) fn put_header(name: &str, value: &str, version: Version, out: &mut impl BufMut) {
    escape(name, version, out);
    out.put_u8(b':');
    escape(value, version, out);
    out.put_u8(b'\n');
}

/// A `reply-to` as a MESSAGE shows it: a destination.
fn put_reply_to(value: &str, version: Version, out: &mut impl BufMut) {
    out.put_slice(b"reply-to:");
    if !is_destination(value) {
        out.put_slice(REPLY_QUEUE.as_bytes());
        out.put_u8(b'/');
    }
    escape(value, version, out);
    out.put_u8(b'\n');
}

/// Appends the native properties of a SEND; `reply_to` is what its `reply-to` header came to.
pub(crate) fn put_native(frame: &Frame, reply_to: Option<&str>, out: &mut Vec<u8>) {
    let mut properties = [None; PROPERTIES.len()];
    let mut others = 0;
    for (name, value) in frame.headers() {
        match PROPERTIES.iter().position(|property| *property == name).map(|at| properties.get_mut(at)) {
            Some(Some(slot)) => *slot = slot.or(Some(value)),
            _ => others += usize::from(!is_reserved(name)),
        }
    }
    for (name, value) in PROPERTIES.iter().zip(properties) {
        match (*name, value) {
            (_, None) => {}
            ("reply-to", Some(value)) => put_reply_to(reply_to.unwrap_or(value), Version::V12, out),
            ("persistent", Some(value)) if value != "true" => {}
            (name, Some(value)) => put_header(name, value, Version::V12, out),
        }
    }
    if others > 0 {
        put_user_headers(frame, out);
    }
}

fn put_user_headers(frame: &Frame, out: &mut Vec<u8>) {
    for (index, (name, value)) in frame.headers().enumerate() {
        let repeated = frame.headers().take(index).any(|(earlier, _)| earlier == name);
        if !repeated && !is_reserved(name) && !PROPERTIES.contains(&name) {
            put_header(name, value, Version::V12, out);
        }
    }
}

/// A value as header text: binary ones as base64; arrays and tables have no text form.
fn header_text(value: &Value) -> Option<Name> {
    match value {
        Value::Bytes(bytes) => Some(STANDARD.encode(bytes).into()),
        other => other.to_text(),
    }
}

/// Appends the headers of a message of another protocol, in the order of a MESSAGE.
pub(crate) fn put_envelope(envelope: &Envelope, version: Version, out: &mut impl BufMut) {
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            put_header(name, value, version, out);
        }
    };
    let mut number = itoa::Buffer::new();
    put("content-type", envelope.content_type.as_deref());
    put("content-encoding", envelope.content_encoding.as_deref());
    put("persistent", envelope.durable.then_some("true"));
    put("priority", envelope.priority.map(|priority| number.format(priority)));
    match envelope.correlation_id.as_ref().map(|id| (std::str::from_utf8(id), id)) {
        Some((Ok(text), _)) => put("correlation-id", Some(text)),
        Some((Err(_), id)) => put("correlation-id", Some(&STANDARD.encode(id))),
        None => {}
    }
    if let Some(reply_to) = &envelope.reply_to {
        put_reply_to(reply_to, version, out);
    }
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            put_header(name, value, version, out);
        }
    };
    put("expiration", envelope.ttl_ms.map(|ttl| number.format(ttl)));
    put("amqp-message-id", envelope.message_id.as_deref());
    put("timestamp", envelope.timestamp_ms.map(|at| number.format(at / 1000)));
    put("type", envelope.kind.as_deref());
    put("user-id", envelope.user_id.as_deref());
    put("app-id", envelope.app_id.as_deref());
    put(GROUP, envelope.group.as_deref());
    put(SUBJECT, envelope.subject.as_deref());
    for (name, value) in envelope.headers.iter().filter(|(name, _)| !name.is_empty() && !is_reserved(name)) {
        put(name, header_text(value).as_deref());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{config::FrameLimits, parser::Parser};
    use bytes::BytesMut;
    use model::value::Table;

    fn native(headers: &str) -> Bytes {
        let mut input = BytesMut::from(format!("SEND\n{headers}\n\0").as_bytes());
        let limits = FrameLimits::default();
        let frame = Parser::default().next(&mut input, Version::V12, &limits, 10_000).unwrap().unwrap();
        let mut out = Vec::new();
        put_native(&frame, None, &mut out);
        Bytes::from(out)
    }

    #[test]
    fn native_properties() {
        let check = |headers, expected: &str| assert_eq!(native(headers), expected, "{headers}");
        check("", "");
        check("destination:/queue/a\ncontent-length:0\ntransaction:t\n", "");
        check("x:1\npersistent:true\nx:2\ncontent-type:a\n", "content-type:a\npersistent:true\nx:1\n");
        check("persistent:false\nreceipt:r\n", "receipt:r\n");
        check("reply-to:/queue/b\n", "reply-to:/queue/b\n");
        check("reply-to:b\n", "reply-to:/reply-queue/b\n");
        check("a\\cb:c\\nd:e\n", "a\\cb:c\\nd\\ce\n");
        check("subscription:1\nack:2\nredelivered:true\n", "");
    }

    fn full() -> Envelope {
        let mut headers = Table::new();
        headers.push("k:1", Value::str("v\n"));
        Envelope {
            content_type: Some("text/plain".into()),
            content_encoding: Some("gzip".into()),
            correlation_id: Some(Bytes::from_static(b"c")),
            reply_to: Some("answers".into()),
            ttl_ms: Some(5000),
            priority: Some(7),
            message_id: Some("m".into()),
            timestamp_ms: Some(9000),
            kind: Some("t".into()),
            user_id: Some("u".into()),
            app_id: Some("a".into()),
            durable: true,
            utf8_body: true,
            group: Some("g".into()),
            subject: Some("s".into()),
            headers,
        }
    }

    #[test]
    fn envelope_there_and_back() {
        let mut lines = Vec::new();
        put_envelope(&full(), Version::V12, &mut lines);
        let expected = "content-type:text/plain\ncontent-encoding:gzip\npersistent:true\npriority:7\ncorrelation-id:c\n\
             reply-to:/reply-queue/answers\nexpiration:5000\namqp-message-id:m\ntimestamp:9\ntype:t\nuser-id:u\n\
             app-id:a\nx-message-group:g\nx-subject:s\nk\\c1:v\\n\n";
        assert_eq!(String::from_utf8(lines.clone()).unwrap(), expected);
        assert_eq!(STOMP.envelope(&Bytes::from(lines)), full());
    }

    #[test]
    fn values_as_text() {
        let check = |value, expected: Option<&str>| assert_eq!(header_text(&value).as_deref(), expected);
        check(Value::I32(-5), Some("-5"));
        check(Value::Bool(true), Some("true"));
        check(Value::Bytes(Bytes::from_static(&[0xff, 0])), Some("/wA="));
        check(Value::Null, Some(""));
        check(Value::Table(Table::new()), None);
        let mut lines = Vec::new();
        let correlation_id = Some(Bytes::from_static(&[0xff, 0]));
        put_envelope(&Envelope { correlation_id, ..Envelope::default() }, Version::V11, &mut lines);
        assert_eq!(lines, b"correlation-id:/wA=\n");
    }

    #[test]
    fn foreign_headers_can_not_pose_as_ours() {
        let mut headers = Table::new();
        for name in ["content-length", "message-id", "ack", "", "fine"] {
            headers.push(name, Value::str("9"));
        }
        let mut lines = Vec::new();
        put_envelope(&Envelope { headers, ..Envelope::default() }, Version::V12, &mut lines);
        assert_eq!(lines, b"fine:9\n");
    }

    #[test]
    fn damaged_properties_are_left_out() {
        assert_eq!(STOMP.envelope(&Bytes::from_static(b"\xff\xfe")), Envelope::default());
        assert_eq!(STOMP.envelope(&Bytes::from_static(b"a:\\x\npriority:999\nno end")), Envelope::default());
    }
}
