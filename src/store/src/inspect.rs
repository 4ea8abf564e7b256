//! Looking at a log without changing anything, also while a broker uses it.

use crate::codec::{self, DecodeError};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::format::{BatchMark, SegmentHeader};
use crate::recovery::{TornTail, Visitor, walk};
use model::ids::Lsn;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is in a log.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Its segments, the oldest first, as far as they could be read.
    pub segments: Vec<SegmentReport>,
    /// The log ends in the middle of something. In a log that is in use this is the write going on.
    pub torn: Option<TornTail>,
    /// Why it can not be read to its end.
    pub damage: Option<StoreError>,
}

/// What is in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its number.
    pub no: u64,
    /// Where it begins.
    pub first_lsn: Lsn,
    /// When it was begun, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Size of the file.
    pub bytes: u64,
    /// How much of it is header and frames.
    pub used_bytes: u64,
    /// Group commits.
    pub batches: u64,
    /// When the last group was written, milliseconds since the Unix epoch; 0 when there is none.
    pub last_written_ms: u64,
    /// Records by kind.
    pub records: BTreeMap<&'static str, u64>,
}

/// Reads the log in `dir`. Records are counted, not decoded. Errors: only when the directory can not be listed; damage
/// is part of the answer.
pub fn inspect(dir: &Path, disk: &dyn Disk) -> Result<Inspection, StoreError> {
    disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut counts = Counts::default();
    let walked = walk(disk, dir, &mut counts, Lsn(0));
    let mut inspection = Inspection { segments: counts.0, ..Inspection::default() };
    match walked {
        Ok(walked) => inspection.torn = walked.and_then(|walked| walked.torn),
        Err(error) => inspection.damage = Some(error),
    }
    Ok(inspection)
}

#[derive(Default)]
struct Counts(Vec<SegmentReport>);

impl Visitor for Counts {
    fn segment(&mut self, path: &Path, header: &SegmentHeader) {
        self.0.push(SegmentReport {
            path: path.to_owned(),
            no: header.no,
            first_lsn: Lsn(header.base),
            created_ms: header.created_ms,
            bytes: header.bytes,
            ..SegmentReport::default()
        });
    }

    fn batch(&mut self, mark: &BatchMark) {
        if let Some(report) = self.0.last_mut() {
            report.batches += 1;
            report.last_written_ms = mark.wall_ms;
        }
    }

    fn record(&mut self, _lsn: u64, kind: u8, _payload: &[u8]) -> Result<(), DecodeError> {
        if let Some(report) = self.0.last_mut() {
            *report.records.entry(codec::kind_name(kind)).or_default() += 1;
        }
        Ok(())
    }

    fn segment_end(&mut self, offset: u64) {
        if let Some(report) = self.0.last_mut() {
            report.used_bytes = offset;
        }
    }
}
