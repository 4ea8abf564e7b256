//! Numbers and strings of the record format: a writer that can not fail and a reader that never panics.

use super::decode::DecodeError;
use bytes::Bytes;
use model::Name;

/// Longest LEB128 form of a `u64`.
pub(super) const VARINT_BYTES_MAX: usize = 10;

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Bytes that `put_bytes` takes at most.
pub(super) fn bytes_max(len: usize) -> usize {
    VARINT_BYTES_MAX + len
}

/// Reads forward through a payload. Where an owner is given, strings are slices of it, else copies.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    owner: Option<&'a Bytes>,
}

impl<'a> Reader<'a> {
    /// Reads a borrowed payload; strings are copied out.
    pub(super) fn borrowed(rest: &'a [u8]) -> Self {
        Self { rest, owner: None }
    }

    /// Reads a payload that lives as long as what is read from it.
    pub(super) fn owned(owner: &'a Bytes) -> Self {
        Self { rest: owner, owner: Some(owner) }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Malformed("too short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.first_chunk().copied().ok_or(DecodeError::Malformed("too short"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("number too long"))
    }

    pub(super) fn varint_u32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| DecodeError::Malformed("number too large"))
    }

    /// How many elements follow; each takes at least `each_min` bytes, so the rest of the payload bounds it.
    pub(super) fn count(&mut self, each_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Malformed("count too large"))?;
        if count > self.rest.len() / each_min.max(1) {
            return Err(DecodeError::Malformed("count too large"));
        }
        Ok(count)
    }

    pub(super) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed("neither there nor absent")),
        }
    }

    fn keep(&self, slice: &'a [u8]) -> Bytes {
        match self.owner {
            Some(owner) => owner.slice_ref(slice),
            None => Bytes::copy_from_slice(slice),
        }
    }

    pub(super) fn str(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.count(1)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::Malformed("not text"))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.count(1)?;
        let slice = self.take(len)?;
        Ok(self.keep(slice))
    }

    pub(super) fn name(&mut self) -> Result<Name, DecodeError> {
        Name::try_from(self.bytes()?).map_err(|_| DecodeError::Malformed("not text"))
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Everything that is left, kept.
    pub(super) fn rest_bytes(&mut self) -> Bytes {
        let rest = self.rest();
        self.keep(rest)
    }

    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed("too long")) }
    }
}
