//! Bytes on their way to a socket: small things gathered in one buffer, large bodies by reference.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Bodies from this length on are queued by reference, shorter ones are copied: below it the copy is cheaper than
/// another entry in the vectored write.
pub const BY_REFERENCE_MIN_BYTES: usize = 2048;

/// Output in order: full chunks, then a tail that is still being written.
#[derive(Debug, Default)]
pub struct Wire {
    chunks: VecDeque<Bytes>,
    chunk_bytes: usize,
    /// The tail: append headers and small things here.
    pub tail: BytesMut,
}

impl Wire {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes by copy.
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Appends a body: by reference when it is long, by copy when it is short.
    pub fn put_body(&mut self, body: &Bytes) {
        if body.len() < BY_REFERENCE_MIN_BYTES {
            self.tail.extend_from_slice(body);
            return;
        }
        self.seal();
        self.chunk_bytes += body.len();
        self.chunks.push_back(body.clone());
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.chunk_bytes += tail.len();
            self.chunks.push_back(tail);
        }
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything waiting, as slices for one vectored write; returns how many of `slices` were filled.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.chunks.iter().map(Bytes::as_ref).chain(std::iter::once(self.tail.as_ref()));
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Forgets the first `count` bytes, which were written.
    pub fn advance(&mut self, mut count: usize) {
        use bytes::Buf;
        while count > 0 {
            let Some(front) = self.chunks.front_mut() else {
                self.tail.advance(count.min(self.tail.len()));
                return;
            };
            let step = count.min(front.len());
            front.advance(step);
            self.chunk_bytes -= step;
            count -= step;
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    /// Takes everything as one buffer. For tests and message-framed transports (WebSocket).
    pub fn take(&mut self) -> Bytes {
        if self.chunks.is_empty() {
            return self.tail.split().freeze();
        }
        self.seal();
        let mut all = BytesMut::with_capacity(self.chunk_bytes);
        self.chunks.drain(..).for_each(|chunk| all.extend_from_slice(&chunk));
        self.chunk_bytes = 0;
        all.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_over_partial_writes() {
        let mut wire = Wire::new();
        let large = Bytes::from(vec![7; BY_REFERENCE_MIN_BYTES]);
        wire.put(b"head");
        wire.put_body(&large);
        wire.put(b"tail");
        assert_eq!(wire.len(), large.len() + 8);
        wire.advance(2);
        wire.advance(large.len() + 3);
        assert_eq!(&wire.take()[..], b"ail");
        assert!(wire.is_empty());
    }
}
