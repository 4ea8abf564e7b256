//! SUBSCRIBE, UNSUBSCRIBE and their acknowledgements (MQTT 5.0, 3.8 to 3.11).

use super::{
    Reader, Version,
    properties::{self, Properties, allowed},
    put_varint, varint_len,
};
use crate::errors::{Refusal, reason};
use bytes::{BufMut, BytesMut};

/// Subscription options (MQTT 5.0, 3.8.3.1); 3.x has only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// 0 always, 1 for a new subscription, 2 never.
    pub(crate) retain_handling: u8,
}

impl Options {
    /// Errors: QoS 3, retain handling 3, reserved bits.
    pub(crate) fn decode(byte: u8, version: Version) -> Result<Self, Refusal> {
        let options = Self {
            qos: byte & 3,
            no_local: byte & 4 != 0,
            retain_as_published: byte & 8 != 0,
            retain_handling: byte >> 4 & 3,
        };
        let reserved = if version == Version::V5 { 0xc0 } else { 0xfc };
        if options.qos == 3 || options.retain_handling == 3 || byte & reserved != 0 {
            return Err(Refusal::malformed("wrong subscription options"));
        }
        Ok(options)
    }

    /// The byte that [`Self::decode`] reads in 5.0.
    pub(crate) fn encode(self) -> u8 {
        self.qos
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | self.retain_handling << 4
    }
}

/// A SUBSCRIBE packet: its head, and its filters read one by one.
pub(crate) struct Subscribe<'a> {
    pub(crate) packet_id: u16,
    pub(crate) subscription_id: Option<u32>,
    filters: Reader<'a>,
    version: Version,
}

impl<'a> Subscribe<'a> {
    /// Reads the head. Errors: packet identifier 0, wrong properties, no filter at all.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body);
        let packet_id = packet_id(&mut reader)?;
        let section = reader.properties_of(version)?;
        let mut each = Properties::new(section, allowed::SUBSCRIBE).refusing_with(reason::MALFORMED);
        let mut subscription_id = None;
        while let Some(property) = each.next()? {
            if property.id == properties::id::SUBSCRIPTION_ID {
                subscription_id = Some(property.value.number());
            }
        }
        not_empty(&reader)?;
        Ok(Self { packet_id, subscription_id, filters: reader, version })
    }

    /// The next filter, unchecked, with its options.
    pub(crate) fn next(&mut self) -> Result<Option<(&'a [u8], Options)>, Refusal> {
        if self.filters.is_empty() {
            return Ok(None);
        }
        let filter = self.filters.binary()?;
        Ok(Some((filter, Options::decode(self.filters.u8()?, self.version)?)))
    }
}

/// An UNSUBSCRIBE packet: its head, and its filters read one by one.
pub(crate) struct Unsubscribe<'a> {
    pub(crate) packet_id: u16,
    filters: Reader<'a>,
}

impl<'a> Unsubscribe<'a> {
    /// Reads the head. Errors: packet identifier 0, wrong properties, no filter at all.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body);
        let packet_id = packet_id(&mut reader)?;
        let section = reader.properties_of(version)?;
        let mut each = Properties::new(section, allowed::UNSUBSCRIBE).refusing_with(reason::MALFORMED);
        while each.next()?.is_some() {}
        not_empty(&reader)?;
        Ok(Self { packet_id, filters: reader })
    }

    /// The next filter, unchecked.
    pub(crate) fn next(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        if self.filters.is_empty() { Ok(None) } else { self.filters.binary().map(Some) }
    }
}

fn packet_id(reader: &mut Reader<'_>) -> Result<u16, Refusal> {
    match reader.u16()? {
        0 => Err(Refusal::malformed("packet identifier 0")),
        id => Ok(id),
    }
}

fn not_empty(reader: &Reader<'_>) -> Result<(), Refusal> {
    if reader.is_empty() { Err(Refusal::malformed("no topic filter")) } else { Ok(()) }
}

/// Appends a SUBACK with one code for each filter.
pub(crate) fn put_suback(out: &mut BytesMut, version: Version, packet_id: u16, codes: &[u8]) {
    put_ack(out, 0x90, version, packet_id, codes);
}

/// Appends an UNSUBACK; only 5.0 has codes in it.
pub(crate) fn put_unsuback(out: &mut BytesMut, version: Version, packet_id: u16, codes: &[u8]) {
    put_ack(out, 0xb0, version, packet_id, if version == Version::V5 { codes } else { &[] });
}

fn put_ack(out: &mut BytesMut, first: u8, version: Version, packet_id: u16, codes: &[u8]) {
    let properties = usize::from(version == Version::V5);
    let remaining = 2 + properties + codes.len();
    out.reserve(1 + varint_len(remaining) + remaining);
    out.put_u8(first);
    put_varint(out, remaining);
    out.put_u16(packet_id);
    out.put_bytes(0, properties);
    out.put_slice(codes);
}
