//! Files that are written once, whole, and never changed: snapshots and pages.
//!
//! ```text
//! +--------------------+-------+--------------+-----+-------+--------------+
//! | header, 4096 bytes | batch | record frame | ... | batch | record frame |
//! +--------------------+-------+--------------+-----+-------+--------------+
//!
//! header
//!  0 magic "WAYSTSNP" of a snapshot, "WAYSTPAG" of a page
//!  8 format u16          10 reserved u16       12 salt u32, random, of this file
//! 16 log id u64, as in the segments of the log that this belongs to
//! 24 number u64: of a snapshot its Lsn, of a page its number
//! 32 length of the file u64
//! 40 records u32
//! 44 messages u32, in a page
//! 48 written u64, ms since the Unix epoch
//! 56 queue u64           64 first number or offset u64           72 shard u32, all three in a page
//! 76 crc32c u32 of bytes 0..76; these 80 bytes stay as they are in later formats
//! ```
//! Batches and frames are those of a segment (see `format`) whose Lsn is the place in the file; the epoch is 1. The file
//! counts only when the header is right, the frames fill it exactly and are as many as the header says.

use crate::codec;
use crate::disk::{Disk, DiskFile, read_full_at, write_all_at};
use crate::error::StoreError;
use crate::format::{BatchMark, HEADER_BYTES, RECORD_BYTES_MAX, SegmentHeader, u16_at, u32_at, u64_at};
use crate::group::Group;
use crate::options::CodecLookup;
use crate::recovery::undecodable;
use crate::scan::{EachFrame, Scan, Step};
use model::record::Record;
use std::io::{self, IoSlice};
use std::path::Path;

/// The format that this release writes and reads.
pub(crate) const FORMAT: u16 = 1;
const HEADER_USED: usize = 80;
/// Frames are gathered up to here before they are handed to the operating system.
const GROUP_BYTES: usize = 1024 * 1024;
/// Epoch of every frame.
const EPOCH: u32 = 1;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Snapshot,
    Page,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Snapshot => b"WAYSTSNP",
            Kind::Page => b"WAYSTPAG",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Snapshot => "not a snapshot",
            Kind::Page => "not a page",
        }
    }
}

/// What the first block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SealedHeader {
    pub(crate) salt: u32,
    pub(crate) log_id: u64,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) records: u32,
    pub(crate) written_ms: u64,
    pub(crate) extent: Extent,
}

/// Which messages a page holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) queue: u64,
    pub(crate) shard: u32,
    pub(crate) first: u64,
    pub(crate) messages: u32,
}

impl Extent {
    /// Of the records of a page.
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut extent = Self::default();
        for (no, record) in records.iter().enumerate() {
            let (queue, shard, first, messages) = match record {
                Record::Enqueue { targets, .. } => {
                    let target = targets.first();
                    (target.map_or(0, |target| target.queue.0), 0, target.map_or(0, |target| target.seq), 1)
                }
                Record::Append { stream, shard, first_offset, messages, .. } => {
                    (stream.0, *shard, *first_offset, messages.len() as u32)
                }
                _ => continue,
            };
            if no == 0 {
                (extent.queue, extent.shard, extent.first) = (queue, shard, first);
            }
            extent.messages = extent.messages.saturating_add(messages);
        }
        extent
    }
}

impl SealedHeader {
    fn encode(&self, kind: Kind) -> Vec<u8> {
        let mut block = Vec::with_capacity(HEADER_BYTES as usize);
        block.extend_from_slice(kind.magic());
        block.extend_from_slice(&FORMAT.to_le_bytes());
        block.extend_from_slice(&[0; 2]);
        block.extend_from_slice(&self.salt.to_le_bytes());
        for number in [self.log_id, self.number, self.bytes] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&self.records.to_le_bytes());
        block.extend_from_slice(&self.extent.messages.to_le_bytes());
        for number in [self.written_ms, self.extent.queue, self.extent.first] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&self.extent.shard.to_le_bytes());
        block.extend_from_slice(&crc_fast::crc32_iscsi(&block).to_le_bytes());
        block.resize(HEADER_BYTES as usize, 0);
        block
    }

    pub(crate) fn decode(kind: Kind, path: &Path, block: &[u8]) -> Result<Self, StoreError> {
        let used = block.get(..HEADER_USED).filter(|used| used.starts_with(kind.magic()));
        let used = used.ok_or_else(|| StoreError::damaged(path, 0, kind.name()))?;
        let (covered, crc) = used.split_at(HEADER_USED - 4);
        let format = u16_at(used, 8);
        let valid = crc_fast::crc32_iscsi(covered) == u32_at(crc, 0);
        if valid && format > FORMAT {
            let what = format!("format {format}, this release knows {FORMAT}");
            return Err(StoreError::Newer { path: path.to_owned(), what });
        }
        if !valid {
            return Err(StoreError::damaged(path, 0, "the header is not valid"));
        }
        Ok(Self {
            salt: u32_at(used, 12),
            log_id: u64_at(used, 16),
            number: u64_at(used, 24),
            bytes: u64_at(used, 32),
            records: u32_at(used, 40),
            written_ms: u64_at(used, 48),
            extent: Extent {
                messages: u32_at(used, 44),
                queue: u64_at(used, 56),
                first: u64_at(used, 64),
                shard: u32_at(used, 72),
            },
        })
    }

    /// The frames as those of a segment.
    pub(crate) fn as_segment(&self) -> SegmentHeader {
        SegmentHeader {
            salt: self.salt,
            log_id: self.log_id,
            no: self.number,
            base: HEADER_BYTES,
            epoch: EPOCH,
            created_ms: self.written_ms,
            bytes: self.bytes,
        }
    }
}

/// Writes a file and syncs it, but not its directory. Gives its length. On an error it is removed again.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    kind: Kind,
    (log_id, number): (u64, u64),
    records: &[Record],
) -> Result<u64, StoreError> {
    let written = disk.create(path).and_then(|file| {
        let salt = disk.random() as u32;
        let bytes = write_frames(file.as_ref(), salt, records)?;
        let extent = if kind == Kind::Page { Extent::of(records) } else { Extent::default() };
        let count = records.len() as u32;
        let written_ms = disk.wall_ms();
        let header = SealedHeader { salt, log_id, number, bytes, records: count, written_ms, extent };
        write_all_at(file.as_ref(), &mut [IoSlice::new(&header.encode(kind))], 0)?;
        file.fdatasync()?;
        Ok(bytes)
    });
    written.map_err(|error| {
        // What is there of it is of no use; that it could not be written is what is told.
        let _ = disk.remove(path);
        StoreError::io("write", path)(error)
    })
}

fn write_frames(file: &dyn DiskFile, salt: u32, records: &[Record]) -> io::Result<u64> {
    let (mut group, mut offset) = (Group::new(), HEADER_BYTES);
    for record in records {
        if codec::frame_bytes_max(record) > RECORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record is too large"));
        }
        if group.is_empty() {
            group.begin(salt, EPOCH, offset, BatchMark::default());
        }
        codec::encode(record, &mut group);
        if group.len() >= GROUP_BYTES {
            offset += flush(file, &mut group, offset)?;
        }
    }
    Ok(offset + flush(file, &mut group, offset)?)
}

fn flush(file: &dyn DiskFile, group: &mut Group, offset: u64) -> io::Result<u64> {
    if group.is_empty() {
        return Ok(0);
    }
    group.seal();
    write_all_at(file, &mut group.io_slices(), offset)?;
    // Piece by piece: a sync of the log that comes meanwhile waits for one piece only.
    file.fdatasync()?;
    let bytes = group.len() as u64;
    group.clear();
    Ok(bytes)
}

/// Opens a file and checks its header, number and length.
pub(crate) fn open(
    disk: &dyn Disk,
    path: &Path,
    kind: Kind,
    number: u64,
) -> Result<(Box<dyn DiskFile>, SealedHeader), StoreError> {
    let file = disk.open_read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::damaged(path, 0, "the file is missing"),
        _ => StoreError::io("open", path)(error),
    })?;
    let mut block = vec![0; HEADER_BYTES as usize];
    let filled = read_full_at(file.as_ref(), &mut block, 0).map_err(StoreError::io("read", path))?;
    block.truncate(filled);
    let header = SealedHeader::decode(kind, path, &block)?;
    if header.number != number {
        return Err(StoreError::damaged(path, 0, format!("this is number {:016x}", header.number)));
    }
    let size = file.size().map_err(StoreError::io("read", path))?;
    if size != header.bytes {
        let what = format!("the file ends here, it was {} bytes long", header.bytes);
        return Err(StoreError::damaged(path, size.min(header.bytes), what));
    }
    Ok((file, header))
}

/// Goes through all frames of an opened file: kind and payload of each. Errors also when there are not as many as the
/// header says.
pub(crate) fn frames(
    path: &Path,
    (file, header): (&dyn DiskFile, &SealedHeader),
    each: &mut EachFrame<'_>,
) -> Result<(), StoreError> {
    let mut scan = Scan::new(file, header.as_segment(), header.bytes);
    let mut records = 0u32;
    loop {
        match scan.next().map_err(StoreError::io("read", path))? {
            Step::Batch(_) => {}
            Step::Record { lsn, kind, payload } => {
                each(lsn, kind, payload)?;
                records = records.saturating_add(1);
            }
            Step::End => break,
        }
    }
    if scan.offset() != header.bytes {
        return Err(StoreError::damaged(path, scan.offset(), "no valid frame here"));
    }
    if records != header.records || scan.missing_records() > 0 {
        let what = format!("{records} records instead of {}", header.records);
        return Err(StoreError::damaged(path, scan.offset(), what));
    }
    Ok(())
}

/// All records of an opened file.
pub(crate) fn records(
    path: &Path,
    opened: (&dyn DiskFile, &SealedHeader),
    codecs: &CodecLookup,
) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    frames(path, opened, &mut |offset, kind, payload| {
        let record = codec::decode(kind, payload, codecs.as_ref());
        records.push(record.map_err(|error| undecodable(path, offset, &error))?);
        Ok(())
    })?;
    Ok(records)
}
