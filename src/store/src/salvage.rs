//! Reading what is left of a damaged log: every frame that validates, and where there are none.
//!
//! A place that is no frame ends nothing here: the next place that is one is looked for. Checksums cover position and
//! salt, so that what is found lay there and nowhere else. A flipped bit in the header of a file is put right.

use crate::disk::{Disk, DiskFile, read_full_at};
use crate::error::StoreError;
use crate::format::{BATCH_KIND, BatchMark, HEADER_BYTES, HeaderError, SegmentHeader};
use crate::recovery::segment_numbers;
use crate::scan::{EachFrame, Scan};
use crate::segment::segment_name;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Bytes of a file header that a flipped bit can be found in.
const HEADER_CHECKED: usize = 80;

/// A stretch of a file that can not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The file.
    pub path: PathBuf,
    /// First byte, and the one behind the last.
    pub bytes: (u64, u64),
    /// Records that were in it, as far as what is around it tells.
    pub records: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// One segment as it is found.
pub(crate) struct Remains {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    file: Box<dyn DiskFile>,
    /// Where it ends, as a place in the file.
    limit: u64,
    /// Nothing says where it ends: it is the last one, or the next one is lost.
    open_ended: bool,
}

/// All of a log that can be read.
#[derive(Default)]
pub(crate) struct Wreck {
    pub(crate) segments: Vec<Remains>,
    pub(crate) lost: Vec<Stretch>,
    pub(crate) log_id: Option<u64>,
}

/// What `attempt` makes of the first block of a file, after flipping a bit when it must. True with it: it had to.
pub(crate) fn decode_header<T>(block: &mut [u8], attempt: impl Fn(&[u8]) -> Option<T>) -> Option<(T, bool)> {
    if let Some(header) = attempt(block) {
        return Some((header, false));
    }
    for bit in 0..HEADER_CHECKED * 8 {
        let flip =
            |block: &mut [u8]| block.get_mut(bit / 8).iter_mut().for_each(|byte| **byte ^= 1 << (bit % 8));
        flip(block);
        if let Some(header) = attempt(block) {
            return Some((header, true));
        }
        flip(block);
    }
    None
}

impl Wreck {
    /// Looks at all segments in `dir`; reads their headers. Errors: a newer format; the disk.
    pub(crate) fn survey(disk: &dyn Disk, dir: &Path) -> Result<Self, StoreError> {
        let mut wreck = Self::default();
        for no in segment_numbers(disk, dir)? {
            wreck.look_at(disk, &dir.join(segment_name(no)), no)?;
        }
        let mut ids: HashMap<u64, usize> = HashMap::new();
        wreck.segments.iter().for_each(|segment| *ids.entry(segment.header.log_id).or_default() += 1);
        wreck.log_id = ids.into_iter().max_by_key(|(id, count)| (*count, *id)).map(|(id, _)| id);
        let log_id = wreck.log_id;
        let (own, foreign) =
            std::mem::take(&mut wreck.segments).into_iter().partition(|s| Some(s.header.log_id) == log_id);
        wreck.segments = own;
        let foreign: Vec<Remains> = foreign;
        wreck
            .lost
            .extend(foreign.into_iter().map(|segment| whole(segment.path, segment.limit, "of another log")));
        wreck.find_ends(dir);
        Ok(wreck)
    }

    fn look_at(&mut self, disk: &dyn Disk, path: &Path, no: u64) -> Result<(), StoreError> {
        let file = disk.open_read(path).map_err(StoreError::io("open", path))?;
        let size = file.size().map_err(StoreError::io("read", path))?;
        let mut block = vec![0; HEADER_BYTES as usize];
        let filled = read_full_at(file.as_ref(), &mut block, 0).map_err(StoreError::io("read", path))?;
        block.truncate(filled);
        if let Err(HeaderError::Newer(format)) = SegmentHeader::decode(&block) {
            return Err(StoreError::Newer { path: path.to_owned(), what: format!("format {format}") });
        }
        let right = |block: &[u8]| SegmentHeader::decode(block).ok().filter(|header| header.no == no);
        let Some((header, corrected)) = decode_header(&mut block, right) else {
            self.lost.push(whole(path.to_owned(), size, "the header is not valid"));
            return Ok(());
        };
        if corrected {
            self.lost.push(Stretch {
                path: path.to_owned(),
                bytes: (0, HEADER_BYTES),
                records: 0,
                what: "a flipped bit in the header, put right",
            });
        }
        let remains = Remains { path: path.to_owned(), header, file, limit: header.bytes, open_ended: true };
        self.segments.push(remains);
        Ok(())
    }

    /// Each segment ends where the next one begins; notes the segments that are missing.
    fn find_ends(&mut self, dir: &Path) {
        let nexts: Vec<_> =
            self.segments.iter().skip(1).map(|next| (next.header.no, next.header.base)).collect();
        for (segment, (no, base)) in self.segments.iter_mut().zip(&nexts) {
            let header = segment.header;
            if header.no + 1 == *no {
                let end = base.saturating_sub(header.base).saturating_add(HEADER_BYTES);
                segment.limit = end.min(header.bytes);
                segment.open_ended = false;
            }
            let missing = (header.no + 1..*no).filter(|no| {
                let path = dir.join(segment_name(*no));
                !self.lost.iter().any(|stretch| stretch.path == path)
            });
            let missing: Vec<_> = missing.take(1000).collect();
            for no in missing {
                self.lost.push(whole(dir.join(segment_name(no)), 0, "the file is missing"));
            }
        }
    }
}

fn whole(path: PathBuf, bytes: u64, what: &'static str) -> Stretch {
    Stretch { path, bytes: (0, bytes), records: 0, what }
}

impl Remains {
    /// Shows every record frame that validates, and the batch frames with kind [`BATCH_KIND`]; adds to `lost` where
    /// there are none. `synced`: where nothing says where the segment ends, at least up to this Lsn there was something.
    pub(crate) fn frames(
        &self,
        synced: u64,
        lost: &mut Vec<Stretch>,
        each: &mut EachFrame<'_>,
    ) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("read", &self.path)(error);
        let size = self.file.size().map_err(failed)?;
        let mut scan = Scan::new(self.file.as_ref(), self.header, self.limit.min(size));
        let mut group = (0u32, 0u32);
        let end = loop {
            let offset = scan.offset();
            let found = scan.any_frame(offset, &mut |lsn, kind, payload| {
                if kind == BATCH_KIND {
                    let missing = group.0.saturating_sub(group.1);
                    note_missing(lost, &self.path, missing);
                    group = (BatchMark::decode(payload).records, 0);
                } else {
                    group.1 += 1;
                }
                each(lsn, kind, payload)
            });
            match found.map_err(failed)? {
                Some(shown) => {
                    shown?;
                    continue;
                }
                None if scan.offset() >= self.limit => break offset,
                None => {}
            }
            if self.open_ended
                && size >= self.header.bytes
                && !self.is_damage(&mut scan, synced).map_err(failed)?
            {
                break self.limit;
            }
            let Some(next) = scan.resynchronise().map_err(failed)? else { break offset };
            lost.push(stretch(&self.path, (offset, next)));
        };
        note_missing(lost, &self.path, group.0.saturating_sub(group.1));
        let expected = if self.open_ended { self.synced_offset(synced) } else { self.limit };
        if end < expected {
            lost.push(stretch(&self.path, (end, expected)));
        } else if size < self.header.bytes {
            let what = "the end of the file is missing, nothing was in it";
            lost.push(Stretch { what, ..stretch(&self.path, (size, self.header.bytes)) });
        }
        Ok(())
    }

    /// Whether the place where a scan stands had been synced, by what stands behind it.
    fn is_damage(&self, scan: &mut Scan<'_>, synced: u64) -> std::io::Result<bool> {
        Ok(scan.lsn() < synced.max(scan.look_ahead()?.durable))
    }

    fn synced_offset(&self, synced: u64) -> u64 {
        (synced.saturating_sub(self.header.base).saturating_add(HEADER_BYTES)).min(self.limit)
    }
}

fn stretch(path: &Path, bytes: (u64, u64)) -> Stretch {
    Stretch { path: path.to_owned(), bytes, records: 0, what: "no valid frames" }
}

/// A group was shorter than it said: its records are in the stretch found last.
fn note_missing(lost: &mut [Stretch], path: &Path, missing: u32) {
    if let Some(last) = lost.last_mut().filter(|last| last.path == path) {
        last.records += u64::from(missing);
    }
}
