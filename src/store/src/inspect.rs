//! Looking at a log without changing anything, also while a broker uses it, and also when it is damaged.

use crate::codec::{self, DecodeError};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::facts::{Ledger, contents};
use crate::format::{BATCH_KIND, BatchMark};
use crate::log::find_snapshots;
use crate::options::CodecLookup;
use crate::pages::page_number;
use crate::recovery::{TornTail, Visitor, walk};
use crate::salvage::{Remains, Stretch, Wreck};
use crate::scan::Scan;
use crate::sealed::{self, Kind};
use crate::snapshots;
use crate::standing::{Standing, covers, states_of};
use model::ids::Lsn;
use model::record::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is in a log.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Its segments, the oldest first, as far as they could be read.
    pub segments: Vec<SegmentReport>,
    /// Its snapshots, the newest first.
    pub snapshots: Vec<FileReport>,
    /// Its page files.
    pub pages: Vec<FileReport>,
    /// The log ends in the middle of something. In a log that is in use this is the write going on.
    pub torn: Option<TornTail>,
    /// Why a broker would not start with it.
    pub damage: Option<StoreError>,
    /// What of the segments can not be read.
    pub lost: Vec<Stretch>,
    /// Somebody uses it, so that the figures may be moving: process id as text.
    pub in_use: Option<String>,
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
    /// How much of it is content of messages.
    pub content_bytes: u64,
    /// How much of that has not ended and is in no page, as far as the files tell.
    pub live_bytes: u64,
    /// Group commits.
    pub batches: u64,
    /// When the last group was written, milliseconds since the Unix epoch; 0 when there is none.
    pub last_written_ms: u64,
    /// Records by kind.
    pub records: BTreeMap<&'static str, u64>,
}

/// A snapshot or a page.
#[derive(Debug, Default)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was written, milliseconds since the Unix epoch.
    pub written_ms: u64,
    /// Records by kind.
    pub records: BTreeMap<&'static str, u64>,
    /// Why it does not count.
    pub damage: Option<StoreError>,
}

/// Reads the log in `dir`. Errors: only when the directory can not be listed; damage is part of the answer.
pub fn inspect(dir: &Path, disk: &dyn Disk, codecs: &CodecLookup) -> Result<Inspection, StoreError> {
    disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut inspection = Inspection { in_use: disk.lock_holder(&dir.join("lock")), ..Inspection::default() };
    match walk(disk, dir, &mut Nothing, Lsn(0)) {
        Ok(walked) => inspection.torn = walked.and_then(|walked| walked.torn),
        Err(error) => inspection.damage = Some(error),
    }
    for (at, path) in snapshots::list(disk, dir)? {
        inspection.snapshots.push(file_report(disk, path, (Kind::Snapshot, at)));
    }
    let pages = dir.join("pages");
    let mut numbers: Vec<_> = disk.list(&pages).unwrap_or_default();
    numbers.sort_unstable();
    for (name, no) in numbers.iter().filter_map(|name| Some((name, page_number(name)?))) {
        inspection.pages.push(file_report(disk, pages.join(name), (Kind::Page, no)));
    }
    let (at, states) = match find_snapshots(disk, dir, codecs, false) {
        Ok(found) => (found.at(), found.newest.map_or_else(Vec::new, |(_, records)| records)),
        Err(error) => {
            inspection.damage = inspection.damage.or(Some(error));
            (Lsn(0), Vec::new())
        }
    };
    let segments = match Wreck::survey(disk, dir) {
        Ok(wreck) => {
            inspection.lost = wreck.lost;
            wreck.segments
        }
        Err(error) => {
            inspection.damage = inspection.damage.or(Some(error));
            Vec::new()
        }
    };
    let mut standing = Standing { ledger: Ledger::default(), states: states_of(&states) };
    for segment in &segments {
        let report = segment_report(segment, at, codecs, &mut standing, &mut inspection.lost)?;
        inspection.segments.push(report);
    }
    for (segment, report) in segments.iter().zip(&mut inspection.segments) {
        weigh(segment, codecs, &standing, report)?;
    }
    Ok(inspection)
}

/// Only the way there counts.
struct Nothing;

impl Visitor for Nothing {
    fn record(&mut self, _lsn: u64, _kind: u8, _payload: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }
}

fn file_report(disk: &dyn Disk, path: PathBuf, (kind, number): (Kind, u64)) -> FileReport {
    let mut report = FileReport { path: path.clone(), ..FileReport::default() };
    let read = sealed::open(disk, &path, kind, number).and_then(|(file, header)| {
        (report.bytes, report.written_ms) = (header.bytes, header.written_ms);
        sealed::frames(&path, (file.as_ref(), &header), &mut |_, kind, _| {
            *report.records.entry(codec::kind_name(kind)).or_default() += 1;
            Ok(())
        })
    });
    report.damage = read.err();
    report
}

/// Counts what is in a segment, and what it says about other records.
fn segment_report(
    segment: &Remains,
    at: Lsn,
    codecs: &CodecLookup,
    standing: &mut Standing,
    lost: &mut Vec<Stretch>,
) -> Result<SegmentReport, StoreError> {
    let header = segment.header;
    let mut report = SegmentReport {
        path: segment.path.clone(),
        no: header.no,
        first_lsn: Lsn(header.base),
        created_ms: header.created_ms,
        bytes: header.bytes,
        used_bytes: crate::format::HEADER_BYTES,
        ..SegmentReport::default()
    };
    segment.frames(0, lost, &mut |lsn, kind, payload| {
        report.used_bytes = Scan::end_of_frame(&header, lsn, payload.len());
        if kind == BATCH_KIND {
            report.batches += 1;
            report.last_written_ms = BatchMark::decode(payload).wall_ms;
            return Ok(());
        }
        *report.records.entry(codec::kind_name(kind)).or_default() += 1;
        if let Ok(record) = codec::decode(kind, payload, codecs.as_ref()) {
            standing.ledger.note(&record, lsn < at.0);
        }
        Ok(())
    })?;
    Ok(report)
}

/// Tells living content from dead.
fn weigh(
    segment: &Remains,
    codecs: &CodecLookup,
    standing: &Standing,
    report: &mut SegmentReport,
) -> Result<(), StoreError> {
    segment.frames(0, &mut Vec::new(), &mut |_, kind, payload| {
        if !matches!(kind, codec::ENQUEUE | codec::APPEND) {
            return Ok(());
        }
        report.content_bytes += payload.len() as u64;
        if codec::decode(kind, payload, codecs.as_ref()).is_ok_and(|record| lives(standing, &record)) {
            report.live_bytes += payload.len() as u64;
        }
        Ok(())
    })
}

/// Whether the log must keep any of a record's content.
fn lives(standing: &Standing, record: &Record) -> bool {
    contents(record).iter().any(|(place, first, last)| {
        let facts = standing.ledger.0.get(place);
        let noted = |number| facts.is_some_and(|facts| facts.pages.iter().any(|page| covers(page, number)));
        let paged = |number| standing.is_paged(*place, number) || noted(number);
        (*first..=*last).any(|number| !standing.has_ended(*place, number) && !paged(number))
    })
}
