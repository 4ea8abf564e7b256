//! Reading many frames at a time: a buffer that is walked in place and only moved when a frame is cut by its end.

use std::io::{self, Read};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A read buffer over one connection.
pub struct Feed {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Feed {
    /// A buffer of `capacity` bytes, which bounds the largest frame.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], start: 0, end: 0 }
    }

    /// What was read and not consumed.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Drops the first `count` pending bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once more; an end of the stream is an error.
    pub async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        let count = from.read(self.room()?).await?;
        self.filled(count)
    }

    /// As [`Feed::fill`], on the calling thread.
    pub fn fill_blocking(&mut self, from: &mut impl Read) -> io::Result<()> {
        let count = from.read(self.room()?)?;
        self.filled(count)
    }

    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            return Err(io::Error::other("a frame does not fit into the read buffer"));
        }
        Ok(&mut self.bytes[self.end..])
    }

    fn filled(&mut self, count: usize) -> io::Result<()> {
        self.end += count;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
