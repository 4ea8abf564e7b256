//! A cursor over borrowed bytes that never panics, and the two string forms of the wire.

use bytes::BufMut;

/// The bytes do not follow the grammar; the text says which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

const SHORT_OF: Malformed = Malformed("payload ends early");

/// Reads big-endian primitives off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over `bytes` from their beginning.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT_OF)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT_OF)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One octet.
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    /// Two octets.
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four octets.
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight octets.
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string: one length octet, at most 255 bytes.
    pub(crate) fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A long string, table or array: four length octets.
    pub(crate) fn long(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}

/// The longest beginning of `text` that a short string can hold.
pub(crate) fn clip_short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(255)).unwrap_or(text)
}

/// Appends a short string; bytes after the 255th are left out (callers clip text at a character).
pub(crate) fn put_short(out: &mut impl BufMut, bytes: &[u8]) {
    let bytes = bytes.get(..255).unwrap_or(bytes);
    out.put_u8(bytes.len() as u8);
    out.put_slice(bytes);
}

/// Appends a long string.
pub(crate) fn put_long(out: &mut impl BufMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}
