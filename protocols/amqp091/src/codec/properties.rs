//! Content properties of class 60 (basic), borrowed: parsed in one pass without allocation, written back in order.

use super::{Malformed, Reader, put_long, put_short, table::RawEntries};
use bytes::BufMut;

/// The properties of one message, as slices of their block. Absent is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties<'a> {
    /// MIME type.
    pub(crate) content_type: Option<&'a [u8]>,
    /// MIME content encoding.
    pub(crate) content_encoding: Option<&'a [u8]>,
    /// Content of the headers table, without its length.
    pub(crate) headers: Option<&'a [u8]>,
    /// 1 transient, 2 persistent.
    pub(crate) delivery_mode: Option<u8>,
    /// Priority.
    pub(crate) priority: Option<u8>,
    /// Correlation id.
    pub(crate) correlation_id: Option<&'a [u8]>,
    /// Where to answer.
    pub(crate) reply_to: Option<&'a [u8]>,
    /// Milliseconds, in decimal digits.
    pub(crate) expiration: Option<&'a [u8]>,
    /// Message id.
    pub(crate) message_id: Option<&'a [u8]>,
    /// Seconds since the epoch.
    pub(crate) timestamp: Option<u64>,
    /// Type.
    pub(crate) kind: Option<&'a [u8]>,
    /// User id.
    pub(crate) user_id: Option<&'a [u8]>,
    /// Application id.
    pub(crate) app_id: Option<&'a [u8]>,
    /// Deprecated cluster id, passed through.
    pub(crate) cluster_id: Option<&'a [u8]>,
}

const BAD: Malformed = Malformed("malformed content properties");

impl<'a> Properties<'a> {
    /// Reads flags and properties (what follows the body size of a content header).
    /// Errors: unknown flag words, cut fields, bytes left over.
    pub(crate) fn parse(block: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(block);
        let flags = reader.u16()?;
        // Spec 4.2.6.1: bit 0 says that another flags word follows; class basic has nothing to say in it.
        let mut more = flags & 1 != 0;
        while more {
            let word = reader.u16()?;
            if word > 1 {
                return Err(BAD);
            }
            more = word & 1 != 0;
        }
        let r = &mut reader;
        let has = |bit: u16| flags & (1 << bit) != 0;
        let properties = Self {
            content_type: has(15).then(|| r.short()).transpose()?,
            content_encoding: has(14).then(|| r.short()).transpose()?,
            headers: has(13).then(|| r.long()).transpose()?,
            delivery_mode: has(12).then(|| r.u8()).transpose()?,
            priority: has(11).then(|| r.u8()).transpose()?,
            correlation_id: has(10).then(|| r.short()).transpose()?,
            reply_to: has(9).then(|| r.short()).transpose()?,
            expiration: has(8).then(|| r.short()).transpose()?,
            message_id: has(7).then(|| r.short()).transpose()?,
            timestamp: has(6).then(|| r.u64()).transpose()?,
            kind: has(5).then(|| r.short()).transpose()?,
            user_id: has(4).then(|| r.short()).transpose()?,
            app_id: has(3).then(|| r.short()).transpose()?,
            cluster_id: has(2).then(|| r.short()).transpose()?,
        };
        if reader.is_empty() { Ok(properties) } else { Err(BAD) }
    }

    /// Appends flags and properties.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u16(self.flags());
        let short = |out: &mut Vec<u8>, field: Option<&[u8]>| {
            if let Some(bytes) = field {
                put_short(out, bytes);
            }
        };
        short(out, self.content_type);
        short(out, self.content_encoding);
        if let Some(headers) = self.headers {
            put_long(out, headers);
        }
        [self.delivery_mode, self.priority].into_iter().flatten().for_each(|octet| out.put_u8(octet));
        short(out, self.correlation_id);
        short(out, self.reply_to);
        short(out, self.expiration);
        short(out, self.message_id);
        if let Some(seconds) = self.timestamp {
            out.put_u64(seconds);
        }
        short(out, self.kind);
        short(out, self.user_id);
        short(out, self.app_id);
        short(out, self.cluster_id);
    }

    fn flags(&self) -> u16 {
        let present = [
            self.content_type.is_some(),
            self.content_encoding.is_some(),
            self.headers.is_some(),
            self.delivery_mode.is_some(),
            self.priority.is_some(),
            self.correlation_id.is_some(),
            self.reply_to.is_some(),
            self.expiration.is_some(),
            self.message_id.is_some(),
            self.timestamp.is_some(),
            self.kind.is_some(),
            self.user_id.is_some(),
            self.app_id.is_some(),
            self.cluster_id.is_some(),
        ];
        present.iter().zip((2..16).rev()).map(|(&set, bit)| u16::from(set) << bit).sum()
    }
}

/// Copies a headers table's content without the entries that `drop` names, byte for byte.
pub(crate) fn filter_headers(content: &[u8], drop: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(content.len());
    for entry in RawEntries::new(content).flatten().filter(|entry| !drop(entry.name)) {
        kept.put_slice(entry.bytes);
    }
    kept
}
