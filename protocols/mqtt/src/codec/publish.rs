//! PUBLISH in both directions (MQTT 5.0, 3.3).

use super::{
    Reader, Version,
    properties::{self, Properties, allowed, id},
    put_binary, put_varint, varint_len,
};
use crate::errors::{Refusal, reason};
use bytes::{BufMut, BytesMut};
use model::{message::Body, wire::Wire};

/// A PUBLISH from a client, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) duplicate: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Not checked: the session has often seen it before.
    pub(crate) topic: &'a [u8],
    /// 0 for QoS 0.
    pub(crate) packet_id: u16,
    /// Topic alias.
    pub(crate) alias: Option<u16>,
    /// Message expiry interval, seconds.
    pub(crate) expiry_s: Option<u32>,
    /// The payload claims to be UTF-8.
    pub(crate) utf8: bool,
    /// Property section, checked.
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Reads a PUBLISH body. The topic is left to the caller to check.
pub(crate) fn decode(flags: u8, body: &[u8], version: Version) -> Result<Publish<'_>, Refusal> {
    let (duplicate, qos, retain) = (flags & 0x08 != 0, flags >> 1 & 3, flags & 0x01 != 0);
    if qos == 3 || (duplicate && qos == 0) {
        return Err(Refusal::malformed("wrong flags in PUBLISH"));
    }
    let mut reader = Reader::new(body);
    let topic = reader.binary()?;
    let packet_id = if qos == 0 { 0 } else { reader.u16()? };
    if qos != 0 && packet_id == 0 {
        return Err(Refusal::protocol("packet identifier 0"));
    }
    let properties = reader.properties_of(version)?;
    let mut publish = Publish {
        duplicate,
        qos,
        retain,
        topic,
        packet_id,
        alias: None,
        expiry_s: None,
        utf8: false,
        properties,
        payload: reader.rest(),
    };
    let mut each = Properties::new(properties, allowed::PUBLISH);
    while let Some(property) = each.next()? {
        let number = property.value.number();
        match property.id {
            id::TOPIC_ALIAS => publish.alias = u16::try_from(number).ok(),
            id::MESSAGE_EXPIRY => publish.expiry_s = Some(number),
            id::PAYLOAD_FORMAT => publish.utf8 = number == 1,
            _ => {}
        }
    }
    if topic.is_empty() && publish.alias.is_none() {
        return Err(Refusal::new(reason::MALFORMED, "PUBLISH without topic"));
    }
    Ok(publish)
}

/// Appends what of a checked property section travels with the message: not expiry, alias or will delay.
pub(crate) fn put_forwarded(out: &mut BytesMut, section: &[u8]) {
    let mut each = Properties::new(section, allowed::PUBLISH | allowed::WILL);
    while let Ok(Some(property)) = each.next() {
        if !matches!(property.id, id::MESSAGE_EXPIRY | id::TOPIC_ALIAS | id::WILL_DELAY) {
            out.put_slice(property.raw);
        }
    }
}

/// How the topic of an outgoing PUBLISH is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TopicText<'a> {
    /// A routing key in which only `.` and `/` differ from the topic.
    Key(&'a str),
    /// As it is; empty when an alias stands for it.
    Plain(&'a str),
}

impl TopicText<'_> {
    fn len(&self) -> usize {
        let (TopicText::Key(text) | TopicText::Plain(text)) = self;
        text.len()
    }

    fn put(&self, out: &mut BytesMut) {
        let (TopicText::Key(text) | TopicText::Plain(text)) = self;
        put_binary(out, text.as_bytes());
        if let TopicText::Key(_) = self {
            let start = out.len() - text.len();
            for byte in out.get_mut(start..).unwrap_or_default() {
                if *byte == b'.' {
                    *byte = b'/';
                }
            }
        }
    }
}

/// An outgoing PUBLISH without its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) version: Version,
    pub(crate) duplicate: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: TopicText<'a>,
    /// Written for QoS 1 and 2.
    pub(crate) packet_id: u16,
    /// The properties below are for 5.0 only. Those that travel with the message, encoded:
    pub(crate) forwarded: &'a [u8],
    pub(crate) expiry_s: Option<u32>,
    pub(crate) alias: Option<u16>,
    pub(crate) subscription_id: Option<u32>,
}

impl Outgoing<'_> {
    fn properties_len(&self) -> usize {
        let id_len = |id: u32| 1 + varint_len(id as usize);
        self.forwarded.len()
            + self.expiry_s.map_or(0, |_| 5)
            + self.alias.map_or(0, |_| 3)
            + self.subscription_id.map_or(0, id_len)
    }

    fn remaining(&self, body_len: usize) -> usize {
        let properties = match self.version {
            Version::V5 => varint_len(self.properties_len()) + self.properties_len(),
            _ => 0,
        };
        2 + self.topic.len() + if self.qos == 0 { 0 } else { 2 } + properties + body_len
    }

    /// Bytes of the whole packet; `None` when it can not be said in MQTT at all.
    pub(crate) fn packet_len(&self, body_len: usize) -> Option<usize> {
        let remaining = self.remaining(body_len);
        let sayable = remaining <= super::VARINT_MAX && u16::try_from(self.topic.len()).is_ok();
        sayable.then(|| 1 + varint_len(remaining) + remaining)
    }

    /// Writes the packet, which the caller found sayable. Long bodies go by reference.
    pub(crate) fn put(&self, wire: &mut Wire, body: &Body) {
        let out = &mut wire.tail;
        out.put_u8(0x30 | u8::from(self.duplicate) << 3 | self.qos << 1 | u8::from(self.retain));
        put_varint(out, self.remaining(body.len()));
        self.topic.put(out);
        if self.qos != 0 {
            out.put_u16(self.packet_id);
        }
        if self.version == Version::V5 {
            put_varint(out, self.properties_len());
            self.put_properties(out);
        }
        body.pieces().iter().for_each(|piece| wire.put_body(piece));
    }

    fn put_properties(&self, out: &mut BytesMut) {
        if let Some(alias) = self.alias {
            properties::put_u16(out, id::TOPIC_ALIAS, alias);
        }
        if let Some(seconds) = self.expiry_s {
            properties::put_u32(out, id::MESSAGE_EXPIRY, seconds);
        }
        out.put_slice(self.forwarded);
        if let Some(subscription_id) = self.subscription_id {
            out.put_u8(id::SUBSCRIPTION_ID);
            put_varint(out, subscription_id as usize);
        }
    }
}
