//! The frame layer: where a frame begins and ends, and which of them are refused before anybody looks inside.
//!
//! ```text
//!  0      1         3             7                 7+size
//!  +------+---------+-------------+-----------------+------+
//!  | type | channel | size        | payload         | 0xCE |
//!  +------+---------+-------------+-----------------+------+
//! ```

use crate::{codec::Reader, errors::AmqpError};
use bytes::{BufMut, BytesMut};

/// A method.
pub(crate) const METHOD: u8 = 1;
/// A content header.
pub(crate) const HEADER: u8 = 2;
/// A piece of a content body.
pub(crate) const BODY: u8 = 3;
/// A sign of life.
pub(crate) const HEARTBEAT: u8 = 8;
/// Last byte of every frame.
pub(crate) const END: u8 = 0xCE;
/// Bytes before the payload.
pub(crate) const HEAD_BYTES: usize = 7;
/// Bytes of a frame besides its payload.
pub(crate) const OVERHEAD_BYTES: usize = HEAD_BYTES + 1;
/// Smallest `frame_max` accepted of a client (spec 1.2 "frame-min-size"; RabbitMQ 4.1 asks for 8192).
pub(crate) const MIN_FRAME_BYTES: u32 = 4096;
/// Largest frame before tuning; RabbitMQ 4.1 raised it from 4096 for tokens as passwords.
pub(crate) const UNTUNED_FRAME_BYTES: u32 = 8192;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// One of the four types.
    pub(crate) kind: u8,
    /// Channel number.
    pub(crate) channel: u16,
    /// Payload bytes.
    pub(crate) size: usize,
}

impl FrameHead {
    /// Bytes of the whole frame.
    pub(crate) fn total(self) -> usize {
        self.size + OVERHEAD_BYTES
    }
}

/// The head of the next frame once all of that frame is in `input`; `None` until then.
/// Errors: 501 for an unknown type, a size over `frame_max`, a bad end.
pub(crate) fn peek(input: &[u8], frame_max: u32) -> Result<Option<FrameHead>, AmqpError> {
    let mut reader = Reader::new(input);
    let (Ok(kind), Ok(channel), Ok(size)) = (reader.u8(), reader.u16(), reader.u32()) else {
        return Ok(None);
    };
    if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) {
        return Err(refused(kind, "unknown_frame"));
    }
    let most = frame_max.saturating_sub(OVERHEAD_BYTES as u32);
    // Clients that count frame_max without head and end get through, as with RabbitMQ.
    if size > most.saturating_add(OVERHEAD_BYTES as u32) {
        return Err(refused(kind, &format!("{{frame_too_large,{size},{most}}}")));
    }
    let head = FrameHead { kind, channel, size: size as usize };
    match input.get(HEAD_BYTES + head.size) {
        None => Ok(None),
        Some(&END) => Ok(Some(head)),
        Some(&end) => Err(refused(kind, &format!("{{invalid_frame_end_marker,{end}}}"))),
    }
}

fn refused(kind: u8, why: &str) -> AmqpError {
    AmqpError::connection(501, format!("type {kind}, all octets = <<>>: {why}"))
}

/// Appends one heartbeat.
pub(crate) fn put_heartbeat(out: &mut BytesMut) {
    out.put_slice(&[HEARTBEAT, 0, 0, 0, 0, 0, 0, END]);
}

/// Appends a frame whose payload `write` appends, and fills in its size afterwards.
pub(crate) fn put_frame(out: &mut BytesMut, kind: u8, channel: u16, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    out.put_u16(channel);
    let at = out.len();
    out.put_u32(0);
    write(out);
    let size = (out.len() - at - 4) as u32;
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&size.to_be_bytes());
    }
    out.put_u8(END);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn check(input: &[u8], expected: Result<Option<usize>, &str>) {
        let found = peek(input, 4096).map(|head| head.map(|head| head.size)).map_err(|error| error.text);
        assert_eq!(found, expected.map_err(|text| format!("FRAME_ERROR - {text}")));
    }

    #[test]
    fn peeks_and_refuses() {
        check(&[1, 0, 1, 0, 0, 0], Ok(None));
        check(&[1, 0, 1, 0, 0, 0, 1, 9], Ok(None));
        check(&[1, 0, 1, 0, 0, 0, 1, 9, 0xCE, 3], Ok(Some(1)));
        check(&[8, 0, 0, 0, 0, 0, 0, 0xCE], Ok(Some(0)));
        check(&[3, 0, 1, 0, 0, 0, 0, 205], Err("type 3, all octets = <<>>: {invalid_frame_end_marker,205}"));
        check(&[3, 0, 1, 0, 0, 0x13, 0x88], Err("type 3, all octets = <<>>: {frame_too_large,5000,4088}"));
        check(&[3, 0, 1, 0, 0, 0x10, 0], Ok(None));
        check(b"AMQP\0\0\x09\x01", Err("type 65, all octets = <<>>: unknown_frame"));
    }

    #[test]
    fn size_is_filled_in() {
        let mut out = BytesMut::new();
        put_frame(&mut out, METHOD, 2, |out| out.put_slice(b"abc"));
        assert_eq!(&out[..], b"\x01\0\x02\0\0\0\x03abc\xCE");
    }
}
