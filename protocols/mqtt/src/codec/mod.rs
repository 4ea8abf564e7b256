//! The wire format. One file per group of packets; every error carries the MQTT 5 reason code that answers it.
//!
//! Decoding is one pass over borrowed bytes. Nothing here knows of sessions.

pub(crate) mod acks;
pub(crate) mod connect;
pub(crate) mod fixed;
pub(crate) mod properties;
pub(crate) mod publish;
pub(crate) mod subscribe;

use crate::errors::Refusal;
use bytes::{BufMut, BytesMut};

/// Largest value of a variable byte integer (MQTT 5.0, 1.5.5).
pub(crate) const VARINT_MAX: usize = 268_435_455;

/// The protocol version that CONNECT named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// MQTT 3.1 (`MQIsdp`).
    V31,
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// A cursor over the bytes of one packet. Running out of them is a malformed packet.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (head, rest) =
            self.rest.split_at_checked(count).ok_or(Refusal::malformed("packet is too short"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(Refusal::malformed("packet is too short"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Refusal> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Refusal> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Refusal> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Refusal> {
        self.array().map(u64::from_be_bytes)
    }

    /// A variable byte integer of at most four bytes; longer forms of small values are accepted.
    pub(crate) fn varint(&mut self) -> Result<usize, Refusal> {
        let mut value = 0usize;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Refusal::malformed("variable byte integer of more than four bytes"))
    }

    /// Binary data: two bytes of length, then the data.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 encoded string without NUL (MQTT 5.0, 1.5.4).
    pub(crate) fn text(&mut self) -> Result<&'a str, Refusal> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::malformed("string is not UTF-8"))?;
        if bytes.contains(&0) {
            return Err(Refusal::malformed("string contains NUL"));
        }
        Ok(text)
    }

    /// The property section: its length, then a slice of just that length.
    pub(crate) fn property_bytes(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.varint()?;
        self.take(length)
    }

    /// What 5.0 properties are there: none in older versions.
    pub(crate) fn properties_of(&mut self, version: Version) -> Result<&'a [u8], Refusal> {
        if version == Version::V5 { self.property_bytes() } else { Ok(&[]) }
    }
}

/// Bytes that `value` takes as a variable byte integer.
pub(crate) fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Appends `value`, which the caller keeps within [`VARINT_MAX`], as a variable byte integer.
pub(crate) fn put_varint(out: &mut BytesMut, mut value: usize) {
    debug_assert!(value <= VARINT_MAX);
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Appends text or binary data with its length; the caller knows that it is at most 65,535 bytes.
pub(crate) fn put_binary(out: &mut BytesMut, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back(value in 0..=VARINT_MAX) {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
        }
    }
}
