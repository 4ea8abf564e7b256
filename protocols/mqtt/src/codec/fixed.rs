//! The fixed header: packet type, flags, remaining length (MQTT 5.0, 2.1).

use crate::errors::Refusal;

/// Control packet types.
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const DISCONNECT: u8 = 14;
    pub(crate) const AUTH: u8 = 15;
}

/// A fixed header whose packet may not have arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// Packet type, high four bits of the first byte.
    pub(crate) kind: u8,
    /// Low four bits of the first byte.
    pub(crate) flags: u8,
    /// Bytes of this header.
    pub(crate) header_len: usize,
    /// Bytes of the whole packet.
    pub(crate) packet_len: usize,
}

/// Reads the fixed header at the start of `input`; `None` when more bytes are needed.
/// Errors: a remaining length of more than four bytes; a packet of more than `packet_bytes_max` bytes in all.
pub(crate) fn peek(input: &[u8], packet_bytes_max: usize) -> Result<Option<Fixed>, Refusal> {
    let Some((first, lengths)) = input.split_first() else { return Ok(None) };
    let mut remaining = 0usize;
    for (index, byte) in lengths.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let header_len = index + 2;
            let packet_len = header_len + remaining;
            if packet_len > packet_bytes_max {
                return Err(Refusal::new(crate::errors::reason::PACKET_TOO_LARGE, "packet too large"));
            }
            return Ok(Some(Fixed { kind: first >> 4, flags: first & 0x0f, header_len, packet_len }));
        }
    }
    if lengths.len() >= 4 {
        return Err(Refusal::silent("remaining length of more than four bytes"));
    }
    Ok(None)
}

/// Checks the flags that the packet type prescribes (MQTT 5.0, 2.1.3); those of PUBLISH are read with it.
pub(crate) fn check_flags(fixed: Fixed) -> Result<(), Refusal> {
    let expected = match fixed.kind {
        kind::PUBLISH => return Ok(()),
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => 2,
        _ => 0,
    };
    match (fixed.flags == expected, fixed.kind) {
        (true, _) => Ok(()),
        (false, kind::AUTH) => Err(Refusal::protocol("wrong flags in AUTH")),
        (false, _) => Err(Refusal::malformed("wrong fixed header flags")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn reads_what_is_there() {
        assert_eq!(peek(&[], 10), Ok(None));
        assert_eq!(peek(&[0xc0], 10), Ok(None));
        assert_eq!(peek(&[0x30, 0xff, 0xff, 0xff], 10), Ok(None));
        let ping = Fixed { kind: 12, flags: 0, header_len: 2, packet_len: 2 };
        assert_eq!(peek(&[0xc0, 0], 10), Ok(Some(ping)));
        let publish = Fixed { kind: 3, flags: 1, header_len: 3, packet_len: 131 };
        assert_eq!(peek(&[0x31, 0x80, 0x01], 131), Ok(Some(publish)));
        assert_eq!(peek(&[0x31, 0x80, 0x01], 130).unwrap_err().reason, Some(0x95));
        assert_eq!(peek(&[0x30, 0xff, 0xff, 0xff, 0xff], 10).unwrap_err().reason, None);
    }
}
