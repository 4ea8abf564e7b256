//! MQTT 5 properties (MQTT 5.0, 2.2.2): a table of their types, and a reader that checks as it goes.
//!
//! The reader refuses what the packet may not carry, duplicates, and values outside their range. It never reads past
//! the property section.

use super::{Reader, put_binary};
use crate::errors::{Refusal, reason};
use bytes::{BufMut, BytesMut};

/// Property identifiers.
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0b;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTH_METHOD: u8 = 0x15;
    pub(crate) const AUTH_DATA: u8 = 0x16;
    pub(crate) const PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const REASON_STRING: u8 = 0x1f;
    pub(crate) const RECEIVE_MAX: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAX: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const PACKET_BYTES_MAX: u8 = 0x27;
}

const fn bit(id: u8) -> u64 {
    1 << id
}

/// Which properties a packet may carry from a client, one bit for each.
pub(crate) mod allowed {
    use super::{bit, id::*};

    /// What travels with a message.
    pub(crate) const MESSAGE: u64 = bit(PAYLOAD_FORMAT)
        | bit(CONTENT_TYPE)
        | bit(RESPONSE_TOPIC)
        | bit(CORRELATION_DATA)
        | bit(USER_PROPERTY);
    pub(crate) const PUBLISH: u64 = MESSAGE | bit(MESSAGE_EXPIRY) | bit(TOPIC_ALIAS);
    pub(crate) const WILL: u64 = MESSAGE | bit(MESSAGE_EXPIRY) | bit(WILL_DELAY);
    pub(crate) const CONNECT: u64 = bit(SESSION_EXPIRY)
        | bit(AUTH_METHOD)
        | bit(AUTH_DATA)
        | bit(PROBLEM_INFORMATION)
        | bit(RESPONSE_INFORMATION)
        | bit(RECEIVE_MAX)
        | bit(TOPIC_ALIAS_MAX)
        | bit(USER_PROPERTY)
        | bit(PACKET_BYTES_MAX);
    pub(crate) const ACK: u64 = bit(REASON_STRING) | bit(USER_PROPERTY);
    pub(crate) const SUBSCRIBE: u64 = bit(SUBSCRIPTION_ID) | bit(USER_PROPERTY);
    pub(crate) const UNSUBSCRIBE: u64 = bit(USER_PROPERTY);
    pub(crate) const DISCONNECT: u64 = ACK | bit(SESSION_EXPIRY);
}

/// One property, as its type prescribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Any of the integer types.
    Number(u32),
    /// Binary data.
    Binary(&'a [u8]),
    /// UTF-8 text.
    Text(&'a str),
    /// A user property.
    Pair(&'a str, &'a str),
}

impl<'a> Value<'a> {
    /// The number, 0 for other types.
    pub(crate) fn number(self) -> u32 {
        if let Value::Number(number) = self { number } else { 0 }
    }

    /// The text, empty for other types.
    pub(crate) fn text(self) -> &'a str {
        if let Value::Text(text) = self { text } else { "" }
    }
}

/// A property with the bytes that it was read from, identifier included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property<'a> {
    pub(crate) id: u8,
    pub(crate) value: Value<'a>,
    pub(crate) raw: &'a [u8],
}

/// Reads one property section.
pub(crate) struct Properties<'a> {
    reader: Reader<'a>,
    seen: u64,
    allowed: u64,
    refusal: u8,
}

impl<'a> Properties<'a> {
    /// A reader of `section` that lets through only `allowed`; others are a protocol error.
    pub(crate) fn new(section: &'a [u8], allowed: u64) -> Self {
        Self { reader: Reader::new(section), seen: 0, allowed, refusal: reason::PROTOCOL_ERROR }
    }

    /// The same, but what is not allowed is answered with `refusal`.
    pub(crate) fn refusing_with(self, refusal: u8) -> Self {
        Self { refusal, ..self }
    }

    /// The next property, `None` at the end. After an error there is nothing more to read.
    pub(crate) fn next(&mut self) -> Result<Option<Property<'a>>, Refusal> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let start = self.reader.rest();
        let id = self.reader.u8()?;
        let value = read_value(id, &mut self.reader)?;
        let raw = start.get(..start.len() - self.reader.rest().len()).unwrap_or_default();
        if self.allowed & bit(id) == 0 {
            return Err(Refusal::new(self.refusal, "property not allowed here"));
        }
        if self.seen & bit(id) != 0 && id != id::USER_PROPERTY {
            return Err(Refusal::protocol("property given twice"));
        }
        self.seen |= bit(id);
        check_range(id, value)?;
        Ok(Some(Property { id, value, raw }))
    }
}

/// Reads to the end for the sake of the checks alone.
pub(crate) fn check(section: &[u8], allowed: u64) -> Result<(), Refusal> {
    let mut properties = Properties::new(section, allowed);
    while properties.next()?.is_some() {}
    Ok(())
}

/// The type of each property. Identifiers above 0x2a do not exist, so that every identifier has a bit.
fn read_value<'a>(id: u8, reader: &mut Reader<'a>) -> Result<Value<'a>, Refusal> {
    Ok(match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Value::Number(u32::from(reader.u8()?)),
        0x13 | 0x21 | 0x22 | 0x23 => Value::Number(u32::from(reader.u16()?)),
        0x02 | 0x11 | 0x18 | 0x27 => Value::Number(reader.u32()?),
        0x0b => Value::Number(u32::try_from(reader.varint()?).unwrap_or(u32::MAX)),
        0x09 | 0x16 => Value::Binary(reader.binary()?),
        0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Value::Text(reader.text()?),
        0x26 => Value::Pair(reader.text()?, reader.text()?),
        _ => return Err(Refusal::malformed("no such property")),
    })
}

fn check_range(id: u8, value: Value<'_>) -> Result<(), Refusal> {
    let number = value.number();
    match id {
        id::PAYLOAD_FORMAT | id::PROBLEM_INFORMATION | id::RESPONSE_INFORMATION if number > 1 => {
            Err(Refusal::protocol("property must be 0 or 1"))
        }
        id::RECEIVE_MAX | id::PACKET_BYTES_MAX | id::TOPIC_ALIAS if number == 0 => {
            Err(Refusal::protocol("property must not be 0"))
        }
        id::SUBSCRIPTION_ID if number == 0 => Err(Refusal::malformed("subscription identifier 0")),
        id::RESPONSE_TOPIC if value.text().contains(['+', '#']) => {
            Err(Refusal::protocol("response topic with a wildcard"))
        }
        _ => Ok(()),
    }
}

/// Appends a one-byte property.
pub(crate) fn put_u8(out: &mut BytesMut, id: u8, value: u8) {
    out.put_u8(id);
    out.put_u8(value);
}

/// Appends a two-byte property.
pub(crate) fn put_u16(out: &mut BytesMut, id: u8, value: u16) {
    out.put_u8(id);
    out.put_u16(value);
}

/// Appends a four-byte property.
pub(crate) fn put_u32(out: &mut BytesMut, id: u8, value: u32) {
    out.put_u8(id);
    out.put_u32(value);
}

/// Appends a text or binary property; leaves it out when it is longer than the format can say.
pub(crate) fn put_bytes(out: &mut BytesMut, id: u8, value: &[u8]) {
    if u16::try_from(value.len()).is_ok() {
        out.put_u8(id);
        put_binary(out, value);
    }
}

/// Appends a user property; leaves it out when a part is longer than the format can say.
pub(crate) fn put_pair(out: &mut BytesMut, name: &str, value: &str) {
    if u16::try_from(name.len().max(value.len())).is_ok() {
        out.put_u8(id::USER_PROPERTY);
        put_binary(out, name.as_bytes());
        put_binary(out, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[track_caller]
    fn refused(section: &[u8], allowed: u64, reason: u8) {
        assert_eq!(check(section, allowed).unwrap_err().reason, Some(reason), "{section:02x?}");
    }

    #[test]
    fn refuses_what_is_wrong() {
        refused(&[0x21, 0, 0], allowed::CONNECT, 0x82);
        refused(&[0x27, 0, 0, 0, 0], allowed::CONNECT, 0x82);
        refused(&[0x17, 2], allowed::CONNECT, 0x82);
        refused(&[0x17, 1, 0x17, 1], allowed::CONNECT, 0x82);
        refused(&[0x23, 0, 1], allowed::CONNECT, 0x82);
        refused(&[0x21, 0], allowed::CONNECT, 0x81);
        refused(&[0x7f, 0], allowed::CONNECT, 0x81);
        refused(&[0x01, 2], allowed::PUBLISH, 0x82);
        refused(&[0x23, 0, 0], allowed::PUBLISH, 0x82);
        refused(&[0x0b, 1], allowed::PUBLISH, 0x82);
        refused(&[0x08, 0, 1, b'#'], allowed::PUBLISH, 0x82);
        refused(&[0x0b, 0], allowed::SUBSCRIBE, 0x81);
        refused(&[0x03, 0, 1, 0xff], allowed::PUBLISH, 0x81);
        refused(&[0x03, 0, 1, 0], allowed::PUBLISH, 0x81);
    }

    #[test]
    fn takes_what_is_right() {
        check(&[0x02, 0, 0, 0, 0], allowed::PUBLISH).unwrap();
        check(&[0x0b, 0x80, 0x01], allowed::SUBSCRIBE).unwrap();
        check(&[0x26, 0, 1, b'a', 0, 0, 0x26, 0, 1, b'a', 0, 0], allowed::ACK).unwrap();
    }
}
