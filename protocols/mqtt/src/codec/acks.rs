//! PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT 5.0, 3.4 to 3.7) and DISCONNECT (3.14).

use super::{
    Reader, Version,
    fixed::kind,
    properties::{self, Properties, allowed, id},
};
use crate::errors::{Refusal, reason};
use bytes::{BufMut, BytesMut};

/// Any of the four acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) packet_id: u16,
    /// 0 when left out.
    pub(crate) reason: u8,
}

/// Reads the body of the acknowledgement of type `kind`.
/// Errors: identifier 0, a reason code that the packet can not have, more bytes than an older version allows.
pub(crate) fn decode(packet_kind: u8, body: &[u8], version: Version) -> Result<Ack, Refusal> {
    let mut reader = Reader::new(body);
    let packet_id = reader.u16()?;
    if packet_id == 0 {
        return Err(Refusal::protocol("packet identifier 0"));
    }
    if reader.is_empty() {
        return Ok(Ack { packet_id, reason: reason::SUCCESS });
    }
    if version != Version::V5 {
        return Err(Refusal::malformed("bytes left over in acknowledgement"));
    }
    let code = reader.u8()?;
    let known = match packet_kind {
        kind::PUBACK | kind::PUBREC => {
            matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        _ => matches!(code, 0x00 | 0x92),
    };
    if !known {
        return Err(Refusal::protocol("reason code not allowed here"));
    }
    read_tail(&mut reader, allowed::ACK)?;
    Ok(Ack { packet_id, reason: code })
}

fn read_tail(reader: &mut Reader<'_>, may: u64) -> Result<(), Refusal> {
    if !reader.is_empty() {
        properties::check(reader.property_bytes()?, may)?;
    }
    if reader.is_empty() { Ok(()) } else { Err(Refusal::malformed("bytes left over after properties")) }
}

/// Appends an acknowledgement. `first` is the first byte of the packet; a reason code of 0 is left out, and older
/// versions have none.
pub(crate) fn put(out: &mut BytesMut, first: u8, version: Version, packet_id: u16, code: u8) {
    let [high, low] = packet_id.to_be_bytes();
    if code == 0 || version != Version::V5 {
        out.put_slice(&[first, 2, high, low]);
    } else {
        out.put_slice(&[first, 3, high, low, code]);
    }
}

/// First bytes of the acknowledgements.
pub(crate) mod first {
    pub(crate) const PUBACK: u8 = 0x40;
    pub(crate) const PUBREC: u8 = 0x50;
    pub(crate) const PUBREL: u8 = 0x62;
    pub(crate) const PUBCOMP: u8 = 0x70;
}

/// A DISCONNECT from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disconnect {
    pub(crate) reason: u8,
    /// New session expiry, seconds.
    pub(crate) session_expiry_s: Option<u32>,
}

/// Reads a DISCONNECT body: nothing, a reason code, or a reason code and properties.
pub(crate) fn decode_disconnect(body: &[u8], version: Version) -> Result<Disconnect, Refusal> {
    let mut disconnect = Disconnect { reason: reason::SUCCESS, session_expiry_s: None };
    if body.is_empty() {
        return Ok(disconnect);
    }
    if version != Version::V5 {
        return Err(Refusal::malformed("DISCONNECT with a body"));
    }
    let mut reader = Reader::new(body);
    disconnect.reason = reader.u8()?;
    if disconnect.reason != reason::SUCCESS
        && disconnect.reason != reason::DISCONNECT_WITH_WILL
        && disconnect.reason < reason::UNSPECIFIED
    {
        return Err(Refusal::protocol("reason code not allowed here"));
    }
    if reader.is_empty() {
        return Ok(disconnect);
    }
    let mut each = Properties::new(reader.property_bytes()?, allowed::DISCONNECT);
    while let Some(property) = each.next()? {
        if property.id == id::SESSION_EXPIRY {
            disconnect.session_expiry_s = Some(property.value.number());
        }
    }
    if reader.is_empty() { Ok(disconnect) } else { Err(Refusal::malformed("bytes left over in DISCONNECT")) }
}

/// Appends a DISCONNECT, which only 5.0 servers may send.
pub(crate) fn put_disconnect(out: &mut BytesMut, version: Version, reason: u8) {
    if version == Version::V5 {
        out.put_slice(&[0xe0, 0x01, reason]);
    }
}
