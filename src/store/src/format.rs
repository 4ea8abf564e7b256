//! How segments and frames lie on the disk. All numbers are little endian.
//!
//! ```text
//! file <no as 16 hex digits>.log
//! +--------------------+-------+-------+-----+-------+----------------------------------------+
//! | header, 4096 bytes | frame | frame | ... | frame | zeroes, or what a recycled file held   |
//! +--------------------+-------+-------+-----+-------+----------------------------------------+
//!
//! header
//!  0 magic "WAYSTLOG"
//!  8 format u16          10 reserved u16       12 salt u32, random, of this use of the file
//! 16 log id u64, random, the same in every segment of one log
//! 24 segment number u64
//! 32 base u64: Lsn of the byte behind the header, which is where the previous segment ends
//! 40 epoch u32           44 reserved u32
//! 48 created u64, ms since the Unix epoch
//! 56 length of the file u64
//! 64 crc32c u32 of bytes 0..64; these 68 bytes stay as they are in later formats
//!
//! frame, begins at a multiple of 8, is filled up with zeroes to the next one
//!  0 length u32 of the payload
//!  4 crc32c u32 of: salt, Lsn of the frame, bytes 8.., length
//!  8 kind u8              9 reserved 3 bytes   12 epoch u32
//! 16 payload
//!
//! batch frame, kind 1: opens a group commit; the records of the group follow
//!  0 durable u64: everything below this Lsn had been synced when the group was written
//!  8 written u64, ms since the Unix epoch
//! 16 first segment u64: lower numbered ones are not needed any more
//! 24 records u32 in the group
//! ```
//! The Lsn and the salt are in no frame, only in its checksum: what a recycled file held before, and blocks that
//! landed in the wrong place, never validate. The epoch counts how often the log was opened; the first frame of each
//! opening is a batch frame that is synced before anything else. What an earlier opening left behind a torn tail is
//! thereby told from what this one wrote over it.

use crc_fast::{CrcAlgorithm, Digest};

/// The format that this release writes and reads.
pub(crate) const FORMAT: u16 = 1;
/// First block of a segment.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// In front of every payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 16;
/// Payload of a batch frame.
pub(crate) const BATCH_PAYLOAD_BYTES: usize = 28;
/// A whole batch frame.
pub(crate) const BATCH_FRAME_BYTES: usize = 48;
/// Kind of a batch frame; every other kind is a record.
pub(crate) const BATCH_KIND: u8 = 1;
/// Longest record on disk: what a frame can say, with distance.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 30;
/// Lsn of the first frame of a log; 0 is before everything.
pub(crate) const FIRST_LSN: u64 = HEADER_BYTES;

const MAGIC: &[u8; 8] = b"WAYSTLOG";
const HEADER_USED: usize = 68;

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) salt: u32,
    pub(crate) log_id: u64,
    pub(crate) no: u64,
    pub(crate) base: u64,
    pub(crate) epoch: u32,
    pub(crate) created_ms: u64,
    /// Length of the file, so that a shortened one is noticed.
    pub(crate) bytes: u64,
}

/// Why a first block is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    NotASegment,
    Newer(u16),
    Checksum,
}

impl SegmentHeader {
    /// The block as it is written.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(HEADER_BYTES as usize);
        block.extend_from_slice(MAGIC);
        block.extend_from_slice(&FORMAT.to_le_bytes());
        block.extend_from_slice(&[0; 2]);
        block.extend_from_slice(&self.salt.to_le_bytes());
        block.extend_from_slice(&self.log_id.to_le_bytes());
        block.extend_from_slice(&self.no.to_le_bytes());
        block.extend_from_slice(&self.base.to_le_bytes());
        block.extend_from_slice(&self.epoch.to_le_bytes());
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&self.created_ms.to_le_bytes());
        block.extend_from_slice(&self.bytes.to_le_bytes());
        block.extend_from_slice(&crc_fast::crc32_iscsi(&block).to_le_bytes());
        block.resize(HEADER_BYTES as usize, 0);
        block
    }

    /// Reads the block.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        let used = block.get(..HEADER_USED).ok_or(HeaderError::NotASegment)?;
        if used.get(..8) != Some(MAGIC) {
            return Err(HeaderError::NotASegment);
        }
        let (covered, crc) = used.split_at(HEADER_USED - 4);
        if crc_fast::crc32_iscsi(covered) != u32_at(crc, 0) {
            return Err(HeaderError::Checksum);
        }
        let format = u16_at(used, 8);
        if format > FORMAT {
            return Err(HeaderError::Newer(format));
        }
        Ok(Self {
            salt: u32_at(used, 12),
            log_id: u64_at(used, 16),
            no: u64_at(used, 24),
            base: u64_at(used, 32),
            epoch: u32_at(used, 40),
            created_ms: u64_at(used, 48),
            bytes: u64_at(used, 56),
        })
    }
}

/// What stands in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) crc: u32,
    pub(crate) kind: u8,
    pub(crate) epoch: u32,
}

impl FrameHeader {
    /// Bytes 0..16 of a frame.
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let [l0, l1, l2, l3] = self.payload_bytes.to_le_bytes();
        let [c0, c1, c2, c3] = self.crc.to_le_bytes();
        let [e0, e1, e2, e3] = self.epoch.to_le_bytes();
        [l0, l1, l2, l3, c0, c1, c2, c3, self.kind, 0, 0, 0, e0, e1, e2, e3]
    }

    /// Reads the header; says nothing about whether it is one.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        Self {
            payload_bytes: u32_at(bytes, 0),
            crc: u32_at(bytes, 4),
            kind: bytes.get(8).copied().unwrap_or(0),
            epoch: u32_at(bytes, 12),
        }
    }

    /// Bytes of the whole frame with its filling.
    pub(crate) fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes as usize)
    }
}

/// Bytes of a frame with so long a payload, with its filling.
pub(crate) fn frame_bytes(payload_bytes: usize) -> usize {
    payload_bytes.saturating_add(FRAME_HEADER_BYTES + 7) & !7
}

/// The checksum of one frame, fed in order.
#[derive(Clone)]
pub(crate) struct FrameCrc(Digest);

impl FrameCrc {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Begins a frame at `lsn`; then bytes 8.. are fed.
    pub(crate) fn begin(&mut self, salt: u32, lsn: u64) {
        self.0.reset();
        let mut seed = [0; 12];
        for (to, from) in seed.iter_mut().zip(salt.to_le_bytes().into_iter().chain(lsn.to_le_bytes())) {
            *to = from;
        }
        self.0.update(&seed);
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn end(&mut self, payload_bytes: u32) -> u32 {
        self.0.update(&payload_bytes.to_le_bytes());
        self.0.finalize() as u32
    }

    /// Whether a frame that was read in one piece is one.
    pub(crate) fn matches(&mut self, salt: u32, lsn: u64, header: &FrameHeader, frame: &[u8]) -> bool {
        self.begin(salt, lsn);
        self.feed(frame.get(8..).unwrap_or_default());
        self.end(header.payload_bytes) == header.crc
    }
}

/// What opens a group commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchMark {
    pub(crate) durable: u64,
    pub(crate) wall_ms: u64,
    pub(crate) first_segment: u64,
    pub(crate) records: u32,
}

impl BatchMark {
    /// The payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(BATCH_PAYLOAD_BYTES);
        payload.extend_from_slice(&self.durable.to_le_bytes());
        payload.extend_from_slice(&self.wall_ms.to_le_bytes());
        payload.extend_from_slice(&self.first_segment.to_le_bytes());
        payload.extend_from_slice(&self.records.to_le_bytes());
        payload
    }

    /// Reads a payload whose checksum was right.
    pub(crate) fn decode(payload: &[u8]) -> Self {
        Self {
            durable: u64_at(payload, 0),
            wall_ms: u64_at(payload, 8),
            first_segment: u64_at(payload, 16),
            records: u32_at(payload, 24),
        }
    }
}

/// The `N` bytes at `at`, zeroes where `bytes` is too short; callers check lengths first.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            salt: 7,
            log_id: 1 << 60,
            no: 3,
            base: 99,
            epoch: 2,
            created_ms: 1_700_000_000_000,
            bytes: 9000,
        }
    }

    #[test]
    fn header_round_trips() {
        let block = header().encode();
        assert_eq!(block.len() as u64, HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&block), Ok(header()));
    }

    #[test]
    fn header_says_what_is_wrong() {
        let check = |at: usize, to: u8, wrong: HeaderError| {
            let mut block = header().encode();
            block[at] = to;
            assert_eq!(SegmentHeader::decode(&block), Err(wrong), "byte {at}");
        };
        check(0, b'w', HeaderError::NotASegment);
        check(8, 2, HeaderError::Checksum);
        check(12, 0, HeaderError::Checksum);
        check(67, 0x55, HeaderError::Checksum);
        assert_eq!(SegmentHeader::decode(b"WAYSTLOG"), Err(HeaderError::NotASegment));
        let mut newer = header().encode();
        newer[8] = 2;
        let crc = crc_fast::crc32_iscsi(&newer[..64]);
        newer[64..68].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderError::Newer(2)));
    }

    #[test]
    fn sizes_are_as_drawn() {
        assert_eq!(BatchMark::default().encode().len(), BATCH_PAYLOAD_BYTES);
        assert_eq!(frame_bytes(BATCH_PAYLOAD_BYTES), BATCH_FRAME_BYTES);
    }
}
