//! Crossing: the neutral envelope to and from message attributes.
//!
//! | envelope | attribute | type |
//! |---|---|---|
//! | content_type, content_encoding, reply_to, message_id, kind, user_id, app_id | `content-type`, `content-encoding`, `reply-to`, `message-id`, `type`, `user-id`, `app-id` | String |
//! | correlation_id | `correlation-id` | String, or Binary when it is not text |
//! | ttl_ms, priority, timestamp_ms | `expiration`, `priority`, `timestamp` (milliseconds) | Number |
//! | group, subject | `message-group`, `subject` where the service has no field of its own | String |
//! | headers | their own names, characters that AWS refuses made `_` | by value, below |
//!
//! Header values: text is `String`, numbers are `Number`, bytes are `Binary`, truth values `String.bool`, times
//! `Number.timestamp` (seconds), arrays and tables `String.json`. AWS allows ten attributes: envelope fields come
//! first, then headers in order; what is left over is dropped, and the tenth attribute `waystation-dropped` (Number)
//! says how many were.

use crate::attributes::{ATTRIBUTES_MAX, Attribute, Content, NAME_BYTES_MAX, is_name};
use crate::native::{self, View};
use crate::payload::{self, ENCODING_ATTRIBUTE};
use bytes::Bytes;
use model::envelope::Envelope;
use model::message::Message;
use model::value::{Table, Value};
use model::{Name, limits};
use std::borrow::Cow;

/// Attribute that counts what did not fit.
pub const DROPPED_ATTRIBUTE: &str = "waystation-dropped";

/// The attributes of any message, as an SQS or SNS receiver sees them: its own verbatim when it came through an AWS
/// door, else converted. `base64` says that the receiver gets the body encoded.
pub fn attributes(message: &Message, base64: bool) -> Vec<Attribute<'_>> {
    if native::is_aws(&message.native) {
        let view = View::of(&message.native.properties);
        let mut own: Vec<_> = view.attributes().collect();
        if base64 && !own.iter().any(|attribute| attribute.name == ENCODING_ATTRIBUTE) {
            own.push(text(ENCODING_ATTRIBUTE, "String", payload::BASE64));
        }
        return own;
    }
    let mut list = Limited { taken: Vec::new(), dropped: 0 };
    if base64 {
        list.push(text(ENCODING_ATTRIBUTE, "String", payload::BASE64));
    }
    fields(message.envelope(), &mut list);
    list.finish()
}

/// The table that filter policies of the scope `MessageAttributes` look at: every message attribute by its own name;
/// of a message that came through another door the headers, and the fields that a receiver sees as attributes.
pub fn filter_table(message: &Message) -> Cow<'_, Table> {
    if !native::is_aws(&message.native) {
        let envelope = message.envelope();
        let mut list = Limited { taken: Vec::new(), dropped: 0 };
        own_fields(envelope, &mut list);
        if list.taken.is_empty() {
            return Cow::Borrowed(&envelope.headers);
        }
        let mut table = Table::new();
        list.taken.iter().for_each(|attribute| table.push(attribute.name.as_ref(), value_of(attribute)));
        envelope.headers.iter().for_each(|(name, value)| table.push(name.clone(), value.clone()));
        return Cow::Owned(table);
    }
    let mut table = Table::new();
    for attribute in View::of(&message.native.properties).attributes() {
        table.push(attribute.name.as_ref(), value_of(&attribute));
    }
    Cow::Owned(table)
}

/// The attributes that `envelope` becomes.
pub fn from_envelope(envelope: &Envelope) -> Vec<Attribute<'_>> {
    let mut list = Limited { taken: Vec::new(), dropped: 0 };
    fields(envelope, &mut list);
    list.finish()
}

struct Limited<'a> {
    taken: Vec<Attribute<'a>>,
    dropped: usize,
}

impl<'a> Limited<'a> {
    fn push(&mut self, attribute: Attribute<'a>) {
        if self.taken.iter().any(|other| other.name == attribute.name) {
            self.dropped += 1;
        } else {
            self.taken.push(attribute);
        }
    }

    fn finish(mut self) -> Vec<Attribute<'a>> {
        if self.taken.len() > ATTRIBUTES_MAX || self.dropped > 0 {
            let kept = ATTRIBUTES_MAX - 1;
            let dropped = self.dropped + self.taken.len().saturating_sub(kept);
            self.taken.truncate(kept);
            self.taken.push(text(DROPPED_ATTRIBUTE, "Number", dropped.to_string()));
        }
        self.taken
    }
}

fn text<'a>(
    name: impl Into<Cow<'a, str>>,
    data_type: &'static str,
    value: impl Into<Cow<'a, str>>,
) -> Attribute<'a> {
    Attribute { name: name.into(), data_type: data_type.into(), content: Content::Text(value.into()) }
}

fn fields<'a>(envelope: &'a Envelope, list: &mut Limited<'a>) {
    own_fields(envelope, list);
    for (name, value) in envelope.headers.iter() {
        list.push(header(attribute_name(name), value));
    }
}

/// The fields beside the headers.
fn own_fields<'a>(envelope: &'a Envelope, list: &mut Limited<'a>) {
    let strings = [
        ("content-type", &envelope.content_type),
        ("content-encoding", &envelope.content_encoding),
        ("reply-to", &envelope.reply_to),
        ("message-id", &envelope.message_id),
        ("type", &envelope.kind),
        ("user-id", &envelope.user_id),
        ("app-id", &envelope.app_id),
        ("message-group", &envelope.group),
        ("subject", &envelope.subject),
    ];
    if let Some(id) = &envelope.correlation_id {
        list.push(bytes("correlation-id".into(), id));
    }
    for (name, value) in strings {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            list.push(text(name, "String", &**value));
        }
    }
    let numbers = [
        ("expiration", envelope.ttl_ms),
        ("priority", envelope.priority.map(u64::from)),
        ("timestamp", envelope.timestamp_ms),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            list.push(text(name, "Number", value.to_string()));
        }
    }
}

fn bytes<'a>(name: Cow<'a, str>, value: &'a Bytes) -> Attribute<'a> {
    match payload::as_text(value) {
        Some(value) => text(name, "String", value),
        None => {
            Attribute { name, data_type: "Binary".into(), content: Content::Binary(Cow::Borrowed(value)) }
        }
    }
}

fn attribute_name(name: &str) -> Cow<'_, str> {
    if is_name(name) {
        return Cow::Borrowed(name);
    }
    let mut clean: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' })
        .take(NAME_BYTES_MAX - 1)
        .collect();
    if !is_name(&clean) {
        clean = format!("_{}", clean.replace('.', "_"));
    }
    Cow::Owned(clean)
}

fn header<'a>(name: Cow<'a, str>, value: &'a Value) -> Attribute<'a> {
    match value {
        Value::Str(value) if payload::is_text(value) => text(name, "String", &**value),
        Value::Str(value) => bytes(name, value.as_bytes()),
        Value::Bytes(value) => {
            Attribute { name, data_type: "Binary".into(), content: Content::Binary(Cow::Borrowed(value)) }
        }
        Value::Bool(value) => text(name, "String.bool", value.to_string()),
        Value::Timestamp(value) => text(name, "Number.timestamp", value.to_string()),
        Value::Null | Value::Array(_) | Value::Table(_) => {
            text(name, "String.json", to_json(value, 0).to_string())
        }
        number => text(name, "Number", number.to_text().unwrap_or_default().to_string()),
    }
}

/// A value as JSON; bytes as base64, what is nested too deeply as null.
pub fn to_json(value: &Value, depth: usize) -> serde_json::Value {
    use serde_json::Value as Json;
    if depth > limits::TABLE_DEPTH_MAX {
        return Json::Null;
    }
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::U64(value) | Value::Timestamp(value) => Json::from(*value),
        Value::F32(value) => Json::from(f64::from(*value)),
        Value::F64(value) => Json::from(*value),
        Value::Decimal { scale, value } => Json::from(f64::from(*value) / 10f64.powi(i32::from(*scale))),
        Value::Str(value) => Json::from(value.as_ref() as &str),
        Value::Bytes(value) => Json::from(payload::text_or_base64(value).0.into_owned()),
        Value::Array(items) => items.iter().map(|item| to_json(item, depth + 1)).collect(),
        Value::Table(table) => table_to_json(table, depth + 1),
        integer => Json::from(integer.as_i64()),
    }
}

/// A table as a JSON object; the last of several values of one name wins.
pub fn table_to_json(table: &Table, depth: usize) -> serde_json::Value {
    let members = table.iter().map(|(name, value)| (name.to_string(), to_json(value, depth)));
    serde_json::Value::Object(members.collect())
}

/// The envelope of native properties.
pub fn envelope(view: &View<'_>) -> Envelope {
    let mut envelope = Envelope {
        durable: true,
        utf8_body: view.has(native::TEXT),
        subject: view.system_text(native::SUBJECT).map(Name::from),
        group: view.system_text(native::GROUP).map(Name::from),
        message_id: (view.id != [0; 16]).then(|| native::uuid(&view.id).into()),
        content_type: view.has(native::EVENT).then(|| Name::from_static("application/json")),
        ..Envelope::default()
    };
    for attribute in view.attributes() {
        let used = match &attribute.content {
            Content::Text(value) => text_field(&mut envelope, &attribute.name, value),
            Content::Binary(value) if attribute.name == "correlation-id" => {
                envelope.correlation_id = Some(Bytes::copy_from_slice(value));
                true
            }
            Content::Binary(_) => false,
        };
        if !used && attribute.name != ENCODING_ATTRIBUTE {
            envelope.headers.push(attribute.name.as_ref(), value_of(&attribute));
        }
    }
    envelope
}

/// Sets the field that `name` stands for; false when it stands for none.
fn text_field(envelope: &mut Envelope, name: &str, value: &str) -> bool {
    let slot = match name {
        "content-type" => &mut envelope.content_type,
        "content-encoding" => &mut envelope.content_encoding,
        "reply-to" => &mut envelope.reply_to,
        "message-id" => &mut envelope.message_id,
        "type" => &mut envelope.kind,
        "user-id" => &mut envelope.user_id,
        "app-id" => &mut envelope.app_id,
        "message-group" => &mut envelope.group,
        "subject" => &mut envelope.subject,
        "correlation-id" => {
            envelope.correlation_id = Some(Bytes::copy_from_slice(value.as_bytes()));
            return true;
        }
        "expiration" => return number_field(&mut envelope.ttl_ms, value),
        "timestamp" => return number_field(&mut envelope.timestamp_ms, value),
        "priority" => return number_field(&mut envelope.priority, value),
        _ => return false,
    };
    *slot = Some(Name::from(value));
    true
}

fn number_field<T: std::str::FromStr>(slot: &mut Option<T>, value: &str) -> bool {
    let number = value.parse().ok();
    let read = number.is_some();
    if read {
        *slot = number;
    }
    read
}

fn value_of(attribute: &Attribute<'_>) -> Value {
    let value = match &attribute.content {
        Content::Binary(value) => return Value::Bytes(Bytes::copy_from_slice(value)),
        Content::Text(value) => value,
    };
    let number = || value.parse().map(Value::I64).or_else(|_| value.parse().map(Value::F64)).ok();
    let typed = match attribute.data_type.as_ref() {
        "String.bool" => value.parse().map(Value::Bool).ok(),
        "Number.timestamp" => value.parse().map(Value::Timestamp).ok(),
        other if other.starts_with("Number") => number(),
        _ => None,
    };
    typed.unwrap_or_else(|| Value::str(value.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(envelope: &Envelope) -> Envelope {
        let native = native::encode(0, &[0; 16], |writer| {
            for attribute in from_envelope(envelope) {
                writer.attribute(&attribute);
            }
        });
        super::envelope(&View::of(&native.properties))
    }

    #[test]
    fn envelope_crosses_and_returns() {
        let mut headers = Table::new();
        headers.push("tenant", Value::str("acme"));
        headers.push("retries", Value::I64(3));
        headers.push("flag", Value::Bool(true));
        headers.push("at", Value::Timestamp(9));
        headers.push("blob", Value::Bytes(Bytes::from_static(b"\xff")));
        let envelope = Envelope {
            content_type: Some("text/plain".into()),
            correlation_id: Some(Bytes::from_static(b"\xfe\xff")),
            reply_to: Some("answers".into()),
            priority: Some(4),
            ttl_ms: Some(1500),
            durable: true,
            headers,
            ..Envelope::default()
        };
        assert_eq!(round_trip(&envelope), envelope);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut envelope = Envelope { content_type: Some("a/b".into()), ..Envelope::default() };
        for index in 0..12 {
            envelope.headers.push(format!("h{index}"), Value::I64(index));
        }
        let attributes = from_envelope(&envelope);
        assert_eq!(attributes.len(), ATTRIBUTES_MAX);
        assert_eq!(attributes.first().map(|first| first.name.as_ref()), Some("content-type"));
        assert_eq!(attributes.last(), Some(&text(DROPPED_ATTRIBUTE, "Number", "4")));
    }

    #[test]
    fn names_are_made_fit() {
        for (name, fit) in
            [("a b", "a_b"), ("aws.x", "_aws_x"), ("", "_"), (".a", "__a"), ("ok.name", "ok.name")]
        {
            assert_eq!(attribute_name(name), fit);
            assert!(is_name(&attribute_name(name)));
        }
    }
}
