//! Reading a segment from front to back, frame by frame, believing nothing.

use crate::codec;
use crate::disk::{DiskFile, read_full_at};
use crate::error::StoreError;
use crate::format::{
    BATCH_FRAME_BYTES, BATCH_KIND, BATCH_PAYLOAD_BYTES, BatchMark, FRAME_HEADER_BYTES, FrameCrc, FrameHeader,
    HEADER_BYTES, HeaderError, SegmentHeader, frame_bytes,
};
use std::io;

/// Read at once; a longer frame gets a longer buffer for itself, never longer than the file.
const CHUNK_BYTES: usize = 1024 * 1024;

/// A window on a file that reads ahead.
struct Window<'a> {
    file: &'a dyn DiskFile,
    buffer: Vec<u8>,
    at: u64,
    limit: u64,
}

impl Window<'_> {
    /// The `count` bytes at `offset`; fewer at the limit or the end of the file.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let room = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = count.min(room);
        let inside = offset >= self.at && offset - self.at + count as u64 <= self.buffer.len() as u64;
        if !inside {
            self.buffer.resize(count.max(CHUNK_BYTES.min(room)), 0);
            let filled = read_full_at(self.file, &mut self.buffer, offset)?;
            self.buffer.truncate(filled);
            self.at = offset;
        }
        let from = (offset - self.at) as usize;
        let to = (from + count).min(self.buffer.len());
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }
}

/// What stands next in a segment.
pub(crate) enum Step<'a> {
    /// A group begins.
    Batch(BatchMark),
    /// A record of the group.
    Record {
        /// Where.
        lsn: u64,
        /// What.
        kind: u8,
        /// Its payload.
        payload: &'a [u8],
    },
    /// No frame.
    End,
}

/// Takes a frame that validates: Lsn, kind, payload.
pub(crate) type EachFrame<'a> = dyn FnMut(u64, u8, &[u8]) -> Result<(), StoreError> + 'a;

/// A pass over one segment.
pub(crate) struct Scan<'a> {
    window: Window<'a>,
    crc: FrameCrc,
    header: SegmentHeader,
    /// Where the next frame would be.
    offset: u64,
    epoch: u32,
    /// Records of the group still to come.
    remaining: u32,
}

/// Reads the first block of a segment.
pub(crate) fn read_header(file: &dyn DiskFile) -> io::Result<Result<SegmentHeader, HeaderError>> {
    let mut block = vec![0; HEADER_BYTES as usize];
    let filled = read_full_at(file, &mut block, 0)?;
    if (filled as u64) < HEADER_BYTES {
        return Ok(Err(HeaderError::NotASegment));
    }
    Ok(SegmentHeader::decode(&block))
}

impl<'a> Scan<'a> {
    /// Begins behind the header and ends at byte `limit` of the file at the latest.
    pub(crate) fn new(file: &'a dyn DiskFile, header: SegmentHeader, limit: u64) -> Self {
        Self {
            window: Window { file, buffer: Vec::new(), at: 0, limit },
            crc: FrameCrc::new(),
            header,
            offset: HEADER_BYTES,
            epoch: header.epoch,
            remaining: 0,
        }
    }

    /// Byte of the file up to which everything was a frame.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The same as an Lsn.
    pub(crate) fn lsn(&self) -> u64 {
        self.lsn_at(self.offset)
    }

    fn lsn_at(&self, offset: u64) -> u64 {
        self.header.base.saturating_add(offset - HEADER_BYTES)
    }

    /// Byte of the file behind the frame at `lsn`.
    pub(crate) fn end_of_frame(header: &SegmentHeader, lsn: u64, payload_bytes: usize) -> u64 {
        lsn.saturating_sub(header.base) + HEADER_BYTES + frame_bytes(payload_bytes) as u64
    }

    /// The latest opening of the log that was seen.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Records that the last batch frame announced and that did not come.
    pub(crate) fn missing_records(&self) -> u32 {
        self.remaining
    }

    /// The next frame. After `End` it is `End` again.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        let (offset, lsn) = (self.offset, self.lsn());
        let Some(frame) = self.frame_at(offset)? else { return Ok(Step::End) };
        let opens = frame.kind == BATCH_KIND;
        let fits = if opens {
            frame.epoch > self.epoch || (frame.epoch == self.epoch && self.remaining == 0)
        } else {
            frame.epoch == self.epoch && self.remaining > 0
        };
        if !fits {
            return Ok(Step::End);
        }
        self.offset += frame.frame_bytes() as u64;
        let payload_bytes = frame.payload_bytes as usize;
        if opens {
            let payload = self.window.bytes(offset + FRAME_HEADER_BYTES as u64, payload_bytes)?;
            let mark = BatchMark::decode(payload);
            self.epoch = frame.epoch;
            self.remaining = mark.records;
            return Ok(Step::Batch(mark));
        }
        self.remaining -= 1;
        let payload = self.window.bytes(offset + FRAME_HEADER_BYTES as u64, payload_bytes)?;
        Ok(Step::Record { lsn, kind: frame.kind, payload })
    }

    /// The header of the frame at `offset` when there is one: it lies inside the file and its checksum is right.
    fn frame_at(&mut self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let head = self.window.bytes(offset, FRAME_HEADER_BYTES)?;
        if head.len() < FRAME_HEADER_BYTES {
            return Ok(None);
        }
        let header = FrameHeader::decode(head);
        let is_batch_sized = header.payload_bytes as usize == BATCH_PAYLOAD_BYTES;
        let room = self.window.limit.saturating_sub(offset);
        if header.kind == 0
            || header.frame_bytes() as u64 > room
            || (header.kind == BATCH_KIND && !is_batch_sized)
        {
            return Ok(None);
        }
        let covered = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        let (salt, lsn) = (self.header.salt, self.lsn_at(offset));
        let frame = self.window.bytes(offset, covered)?;
        let whole = frame.len() == covered && self.crc.matches(salt, lsn, &header, frame);
        Ok(whole.then_some(header))
    }

    /// Shows the frame at `offset`, whatever group it belongs to, and goes on behind it. `None` when there is none, or
    /// when it is older than what was seen.
    pub(crate) fn any_frame<T>(
        &mut self,
        offset: u64,
        show: &mut dyn FnMut(u64, u8, &[u8]) -> T,
    ) -> io::Result<Option<T>> {
        let Some(frame) = self.frame_at(offset)?.filter(|frame| frame.epoch >= self.epoch) else {
            return Ok(None);
        };
        self.epoch = frame.epoch;
        self.offset = offset + frame.frame_bytes() as u64;
        let lsn = self.lsn_at(offset);
        let payload = self.window.bytes(offset + FRAME_HEADER_BYTES as u64, frame.payload_bytes as usize)?;
        Ok(Some(show(lsn, frame.kind, payload)))
    }

    /// Goes on to the next place behind this one where a frame stands, and gives it. What looks like the header of a long
    /// frame costs a checksum of that length; there is a limit to how much of that is done.
    pub(crate) fn resynchronise(&mut self) -> io::Result<Option<u64>> {
        let mut budget = self.window.limit.saturating_mul(16).saturating_add(1 << 28);
        let mut offset = self.offset + 8;
        while offset.saturating_add(FRAME_HEADER_BYTES as u64) <= self.window.limit {
            let head = self.window.bytes(offset, FRAME_HEADER_BYTES)?;
            let header = FrameHeader::decode(head);
            let plausible = head.get(9..12) == Some(&[0; 3])
                && header.kind > 0
                && header.kind <= codec::SHARD
                && header.epoch >= self.epoch;
            let cost = header.frame_bytes() as u64;
            if plausible && cost <= budget {
                budget -= cost.min(self.window.limit - offset);
                if self.frame_at(offset)?.is_some() {
                    self.offset = offset;
                    return Ok(Some(offset));
                }
            }
            offset += 8;
        }
        Ok(None)
    }

    /// Looks at the rest of the segment for batch frames, and says what they vouch for. Call after `End`.
    pub(crate) fn look_ahead(&mut self) -> io::Result<Ahead> {
        let mut ahead = Ahead::default();
        let mut offset = self.offset;
        while offset.saturating_add(BATCH_FRAME_BYTES as u64) <= self.window.limit {
            let head = self.window.bytes(offset, FRAME_HEADER_BYTES)?;
            if head.len() < FRAME_HEADER_BYTES {
                break;
            }
            let header = FrameHeader::decode(head);
            if header.kind == BATCH_KIND
                && header.payload_bytes as usize == BATCH_PAYLOAD_BYTES
                && self.frame_at(offset)?.is_some()
            {
                let payload = self.window.bytes(offset + FRAME_HEADER_BYTES as u64, BATCH_PAYLOAD_BYTES)?;
                ahead.durable = ahead.durable.max(BatchMark::decode(payload).durable);
                ahead.same_epoch |= header.epoch == self.epoch;
            }
            offset += 8;
        }
        Ok(ahead)
    }
}

/// What lies behind the first place that is no frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// The highest Lsn that a batch frame there says was synced.
    pub(crate) durable: u64,
    /// A batch frame of the last opening of the log is there: something before it never reached the disk.
    pub(crate) same_epoch: bool,
}
