//! Crossing: AMQP content properties to the neutral envelope and back, and what a delivery adds to the headers.
//!
//! | envelope | property | when it does not fit |
//! |---|---|---|
//! | correlation_id | correlation-id | header `x-correlation-id` (not UTF-8, or over 255 bytes) |
//! | reply_to | reply-to | header `x-reply-to` |
//! | other texts | their property | header `x-<property>` |
//! | ttl_ms | expiration, milliseconds | |
//! | timestamp_ms | timestamp, seconds | |
//! | group, subject | headers `x-message-group`, `x-subject` | |
//! | headers | headers, typed | names clipped to 255 bytes |

use crate::codec::{
    properties::{Properties, filter_headers},
    table::{self, RawEntries},
};
use bytes::Bytes;
use model::{
    Name,
    delivery::Delivery,
    envelope::Envelope,
    limits::TABLE_ENTRIES_MAX,
    message::{Death, Extra, Message, PropertyCodec},
    value::{Table, Value},
};

/// Reads properties that an AMQP 0-9-1 session stored: property flags and properties as received.
#[derive(Clone, Copy, Debug)]
pub struct AmqpProperties;

/// The one value of the codec.
pub static AMQP: AmqpProperties = AmqpProperties;

const TAG: &str = "amqp";
/// Header that carries [`Envelope::group`].
pub(crate) const GROUP_HEADER: &str = "x-message-group";
const SUBJECT_HEADER: &str = "x-subject";
const CORRELATION_HEADER: &str = "x-correlation-id";
const REPLY_TO_HEADER: &str = "x-reply-to";

impl PropertyCodec for AmqpProperties {
    fn tag(&self) -> &'static str {
        TAG
    }

    fn envelope(&self, properties: &Bytes) -> Envelope {
        Properties::parse(properties).map(|properties| envelope(&properties)).unwrap_or_default()
    }

    fn with_header(&self, properties: &Bytes, name: &str, value: &Value) -> Bytes {
        let Ok(mut parsed) = Properties::parse(properties) else { return properties.clone() };
        let mut set = Table::new();
        set.push(name, value.clone());
        let headers = replaced(&parsed, &set);
        parsed.headers = Some(&headers);
        let mut out = Vec::with_capacity(properties.len() + name.len() + 16);
        parsed.put(&mut out);
        out.into()
    }
}

/// The headers with some set anew.
fn replaced(properties: &Properties<'_>, set: &Table) -> Vec<u8> {
    let mut headers = filter_headers(properties.headers.unwrap_or_default(), |name| {
        set.iter().any(|(set, _)| set.as_bytes() == name)
    });
    table::put_entries(&mut headers, set);
    headers
}

fn text(field: Option<&[u8]>) -> Option<Name> {
    field.and_then(|bytes| Name::try_from(bytes).ok())
}

fn envelope(properties: &Properties<'_>) -> Envelope {
    let mut envelope = Envelope {
        content_type: text(properties.content_type),
        content_encoding: text(properties.content_encoding),
        correlation_id: properties.correlation_id.map(Bytes::copy_from_slice),
        reply_to: text(properties.reply_to),
        ttl_ms: text(properties.expiration).and_then(|digits| digits.parse().ok()),
        priority: properties.priority,
        message_id: text(properties.message_id),
        timestamp_ms: properties.timestamp.map(|seconds| seconds.saturating_mul(1000)),
        kind: text(properties.kind),
        user_id: text(properties.user_id),
        app_id: text(properties.app_id),
        durable: properties.delivery_mode == Some(2),
        ..Envelope::default()
    };
    let entries = RawEntries::new(properties.headers.unwrap_or_default());
    for entry in entries.flatten().take(TABLE_ENTRIES_MAX) {
        if let (Ok(name), Ok(value)) = (Name::try_from(entry.name), table::parse_entry_value(&entry)) {
            adopt_header(&mut envelope, name, value);
        }
    }
    envelope
}

/// Puts a header where the envelope has a field for it, else among the headers.
fn adopt_header(envelope: &mut Envelope, name: Name, value: Value) {
    match (&*name, &value) {
        (GROUP_HEADER, Value::Str(group)) => envelope.group = Some(group.clone()),
        (SUBJECT_HEADER, Value::Str(subject)) => envelope.subject = Some(subject.clone()),
        (CORRELATION_HEADER, Value::Str(id)) if envelope.correlation_id.is_none() => {
            envelope.correlation_id = Some(id.as_bytes().clone());
        }
        (CORRELATION_HEADER, Value::Bytes(id)) if envelope.correlation_id.is_none() => {
            envelope.correlation_id = Some(id.clone());
        }
        (REPLY_TO_HEADER, Value::Str(address)) if envelope.reply_to.is_none() => {
            envelope.reply_to = Some(address.clone());
        }
        _ => envelope.headers.push(name, value),
    }
}

/// Whether the message's properties go out as they came in: they are AMQP's own, and the delivery adds nothing.
pub(crate) fn goes_verbatim(delivery: &Delivery) -> bool {
    let message = &delivery.message;
    delivery.earlier_deliveries == 0
        && delivery.offset.is_none()
        && message.native.codec.tag() == TAG
        && message.extra.as_ref().is_none_or(|extra| extra.deaths.is_empty() && extra.first_death.is_none())
}

/// Properties for a delivery that does not go verbatim.
pub(crate) fn delivered_properties(delivery: &Delivery, out: &mut Vec<u8>) {
    let message = &delivery.message;
    let added = added_headers(delivery);
    if message.native.codec.tag() != TAG {
        put_envelope(message, &added, out);
        return;
    }
    let mut properties = Properties::parse(&message.native.properties).unwrap_or_default();
    let headers = replaced(&properties, &added);
    if properties.headers.is_some() || !headers.is_empty() {
        properties.headers = Some(&headers);
    }
    // A dead-lettered message lost its time to live; x-death has it as original-expiration.
    if message.ttl_ms.is_none() {
        properties.expiration = None;
    }
    properties.put(out);
}

/// Properties without headers, for a consumer whose frames are too small for the whole: a content header must fit one
/// frame.
pub(crate) fn bare_properties(message: &Message, out: &mut Vec<u8>) {
    if message.native.codec.tag() != TAG {
        let mut envelope = message.envelope().clone();
        envelope.headers = Table::new();
        put_properties(&envelope, message, &Table::new(), out);
        return;
    }
    let mut properties = Properties::parse(&message.native.properties).unwrap_or_default();
    properties.headers = None;
    properties.put(out);
}

/// What the broker says about a delivery in the headers.
fn added_headers(delivery: &Delivery) -> Table {
    let mut added = Table::new();
    if let Some(extra) = &delivery.message.extra {
        put_deaths(extra, &mut added);
    }
    if delivery.earlier_deliveries > 0 {
        added.push("x-delivery-count", Value::I64(i64::from(delivery.earlier_deliveries)));
    }
    if let Some(offset) = delivery.offset {
        added.push("x-stream-offset", Value::I64(offset.cast_signed()));
    }
    added
}

fn put_deaths(extra: &Extra, added: &mut Table) {
    if !extra.deaths.is_empty() {
        let deaths = extra.deaths.iter().map(|death| Value::Table(death_table(death))).collect();
        added.push("x-death", Value::Array(deaths));
    }
    if let Some((queue, reason, exchange)) = &extra.first_death {
        added.push("x-first-death-exchange", Value::Str(exchange.clone()));
        added.push("x-first-death-queue", Value::Str(queue.clone()));
        added.push("x-first-death-reason", Value::str(reason.as_str()));
    }
    if let Some(last) = extra.deaths.first() {
        added.push("x-last-death-exchange", Value::Str(last.exchange.clone()));
        added.push("x-last-death-queue", Value::Str(last.queue.clone()));
        added.push("x-last-death-reason", Value::str(last.reason.as_str()));
    }
}

fn death_table(death: &Death) -> Table {
    let mut table = Table::new();
    table.push("count", Value::I64(i64::try_from(death.count).unwrap_or(i64::MAX)));
    table.push("reason", Value::str(death.reason.as_str()));
    table.push("queue", Value::Str(death.queue.clone()));
    table.push("time", Value::Timestamp(death.time_ms / 1000));
    table.push("exchange", Value::Str(death.exchange.clone()));
    table.push("routing-keys", Value::Array(death.routing_keys.iter().cloned().map(Value::Str).collect()));
    if let Some(ttl_ms) = death.original_ttl_ms {
        table.push("original-expiration", Value::str(ttl_ms.to_string()));
    }
    table
}

/// Appends properties made of a message's envelope, with `added` headers after its own.
fn put_envelope(message: &Message, added: &Table, out: &mut Vec<u8>) {
    put_properties(message.envelope(), message, added, out);
}

fn put_properties(envelope: &Envelope, message: &Message, added: &Table, out: &mut Vec<u8>) {
    let mut headers = Vec::new();
    let content_type = fit("x-content-type", &envelope.content_type, &mut headers);
    let content_encoding = fit("x-content-encoding", &envelope.content_encoding, &mut headers);
    let reply_to = fit(REPLY_TO_HEADER, &envelope.reply_to, &mut headers);
    let message_id = fit("x-message-id", &envelope.message_id, &mut headers);
    let kind = fit("x-type", &envelope.kind, &mut headers);
    let user_id = fit("x-user-id", &envelope.user_id, &mut headers);
    let app_id = fit("x-app-id", &envelope.app_id, &mut headers);
    let correlation_id = envelope.correlation_id.as_ref().filter(|id| is_short_text(id));
    put_envelope_headers(envelope, correlation_id.is_none(), added, &mut headers);
    let expiration = message.ttl_ms.map(|ttl_ms| ttl_ms.to_string());
    let properties = Properties {
        content_type,
        content_encoding,
        headers: (!headers.is_empty()).then_some(&headers),
        delivery_mode: Some(if message.durable { 2 } else { 1 }),
        priority: envelope.priority,
        correlation_id: correlation_id.map(Bytes::as_ref),
        reply_to,
        expiration: expiration.as_ref().map(|digits| digits.as_bytes()),
        message_id,
        timestamp: envelope.timestamp_ms.map(|ms| ms / 1000),
        kind,
        user_id,
        app_id,
        cluster_id: None,
    };
    properties.put(out);
}

/// The text as a property, or as a header named `name` when a short string cannot hold it.
fn fit<'a>(name: &str, text: &'a Option<Name>, headers: &mut Vec<u8>) -> Option<&'a [u8]> {
    let text = text.as_ref()?;
    if text.len() <= 255 {
        return Some(text.as_bytes());
    }
    table::put_entry(headers, name, &Value::Str(text.clone()));
    None
}

fn is_short_text(bytes: &Bytes) -> bool {
    bytes.len() <= 255 && std::str::from_utf8(bytes).is_ok()
}

fn put_envelope_headers(envelope: &Envelope, spill_correlation: bool, added: &Table, headers: &mut Vec<u8>) {
    if let (true, Some(id)) = (spill_correlation, &envelope.correlation_id) {
        let value = Name::try_from(id.clone()).map(Value::Str).unwrap_or(Value::Bytes(id.clone()));
        table::put_entry(headers, CORRELATION_HEADER, &value);
    }
    for (name, value) in [(GROUP_HEADER, &envelope.group), (SUBJECT_HEADER, &envelope.subject)] {
        if let Some(text) = value {
            table::put_entry(headers, name, &Value::Str(text.clone()));
        }
    }
    for (name, value) in envelope.headers.iter().filter(|(name, _)| added.get(name).is_none()) {
        table::put_entry(headers, name, value);
    }
    table::put_entries(headers, added);
}
