//! Going through a log from its oldest segment to its end, and deciding what its end is.
//!
//! Frames are taken in order up to the first place that is none. In a segment that is followed by another one, and
//! in the last one when a batch frame further on says that this place had been synced, that is damage: refused.
//! Else it is the end; what a crash left behind it was never confirmed, and is written over.

use crate::codec::{self, DecodeError};
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::format::{BatchMark, FORMAT, HEADER_BYTES, HeaderError, SegmentHeader};
use crate::options::CodecLookup;
use crate::scan::{Scan, Step, read_header};
use crate::segment::{FileRole, SegmentInfo, role, segment_name};
use model::ids::Lsn;
use model::record::Record;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Where a record comes from that is shown while a log is opened, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the newest snapshot: how things stood at its Lsn.
    Snapshot,
    /// From the log below that Lsn: an `Enqueue` or an `Append`, whose content counts if it lives by the snapshot.
    Content,
    /// From the log behind that Lsn, or from all of it when there is no snapshot: what came then.
    Log,
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records replayed.
    pub records: u64,
    /// Segments read.
    pub segments: usize,
    /// Bytes of frames read.
    pub bytes: u64,
    /// The snapshot that was shown.
    pub snapshot: Option<Lsn>,
    /// Where the log ended in the middle of something.
    pub torn: Option<TornTail>,
}

/// The place from which on nothing was kept, because it had not been written completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Bytes from its start.
    pub offset: u64,
}

/// What a pass over a log shows on the way.
pub(crate) trait Visitor {
    /// A record.
    fn record(&mut self, lsn: u64, kind: u8, payload: &[u8]) -> Result<(), DecodeError>;
}

/// Where a log ends, and what is needed to go on from there.
pub(crate) struct Walk {
    pub(crate) segments: VecDeque<SegmentInfo>,
    pub(crate) header: SegmentHeader,
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
    pub(crate) first_segment: u64,
    pub(crate) torn: Option<TornTail>,
    /// Segments that were given up before but whose files are still there.
    pub(crate) leftover: Vec<u64>,
}

impl Walk {
    /// The same as an Lsn.
    pub(crate) fn end(&self) -> u64 {
        self.header.base + (self.offset - HEADER_BYTES)
    }
}

/// A segment that was opened.
struct Opened {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    header: SegmentHeader,
}

/// Goes through the log in `dir`, leaving out segments that end at or below `from`. `None` when there is none.
pub(crate) fn walk(
    disk: &dyn Disk,
    dir: &Path,
    visitor: &mut dyn Visitor,
    from: Lsn,
) -> Result<Option<Walk>, StoreError> {
    let (run, leftover) = runs(disk, dir)?;
    let (Some(first), Some(last)) = (run.first().copied(), run.last().copied()) else { return Ok(None) };
    let mut segments = VecDeque::with_capacity(run.len());
    let mut epoch = 0;
    let mut current = open_segment(disk, dir, first)?;
    let begin = from.0.max(current.header.base);
    let newest = if last == first { current.header } else { open_segment(disk, dir, last)?.header };
    let progress = Progress::new(disk, begin, newest.base.saturating_add(newest.bytes));
    let mut pass = Pass { mark: BatchMark::default(), progress: Some(progress) };
    loop {
        let no = current.header.no;
        let next = if no == last { None } else { Some(open_segment(disk, dir, no + 1)?) };
        let limit = match &next {
            Some(next) => end_before(&current, next)?,
            None => current.header.bytes,
        };
        if let Some(next) = next.as_ref().filter(|next| next.header.base <= from.0) {
            current = open_segment(disk, dir, next.header.no)?;
            continue;
        }
        let mut scan = Scan::new(current.file.as_ref(), current.header, limit);
        visit(&current, &mut scan, visitor, &mut pass)?;
        epoch = epoch.max(scan.epoch());
        segments.push_back(SegmentInfo {
            no,
            first_lsn: Lsn(current.header.base),
            end_lsn: Lsn(scan.lsn()),
            bytes: current.header.bytes,
        });
        if let Some(next) = next {
            if scan.offset() < limit {
                return Err(StoreError::damaged(&current.path, scan.offset(), "no valid frame here"));
            }
            current = next;
            continue;
        }
        let torn = judge_end(&current, &mut scan)?;
        if first > pass.mark.first_segment {
            let path = dir.join(segment_name(first - 1));
            return Err(StoreError::damaged(&path, 0, "the file is missing"));
        }
        let (offset, first_segment) = (scan.offset(), pass.mark.first_segment);
        let header = current.header;
        return Ok(Some(Walk { segments, header, offset, epoch, first_segment, torn, leftover }));
    }
}

/// Id and first Lsn of the log in `dir`; `None` when there is none. Errors: its first segment is not readable.
pub(crate) fn identity(disk: &dyn Disk, dir: &Path) -> Result<Option<(u64, u64)>, StoreError> {
    let (run, _) = runs(disk, dir)?;
    let Some(first) = run.first() else { return Ok(None) };
    let header = open_segment(disk, dir, *first)?.header;
    Ok(Some((header.log_id, header.base)))
}

/// The segment that is missing in front of the last run of segments, when there are older ones.
pub(crate) fn gap(disk: &dyn Disk, dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    let (run, older) = runs(disk, dir)?;
    let before = run.first().filter(|_| !older.is_empty()).and_then(|first| first.checked_sub(1));
    Ok(before.map(|no| dir.join(segment_name(no))))
}

/// What goes along with a pass over frames.
struct Pass<'a> {
    /// The last batch frame.
    mark: BatchMark,
    progress: Option<Progress<'a>>,
}

/// Says now and then how far reading a long log has come.
struct Progress<'a> {
    disk: &'a dyn Disk,
    begin: u64,
    end: u64,
    told_ms: u64,
    batches: u32,
}

impl<'a> Progress<'a> {
    /// Between two lines, milliseconds.
    const EACH_MS: u64 = 2000;
    /// Between two looks at the clock.
    const EACH_BATCHES: u32 = 64;

    fn new(disk: &'a dyn Disk, begin: u64, end: u64) -> Self {
        Self { disk, begin, end, told_ms: disk.wall_ms(), batches: 0 }
    }

    /// A batch begins at `lsn`.
    fn reached(&mut self, lsn: u64) {
        self.batches += 1;
        if self.batches < Self::EACH_BATCHES {
            return;
        }
        self.batches = 0;
        let now = self.disk.wall_ms();
        if now.saturating_sub(self.told_ms) < Self::EACH_MS {
            return;
        }
        self.told_ms = now;
        let (done, all) = (lsn.saturating_sub(self.begin), self.end.saturating_sub(self.begin).max(1));
        let percent = u128::from(done) * 100 / u128::from(all);
        tracing::info!(percent = percent as u64, bytes = done, "reading the log");
    }
}

/// Numbers of all segments in `dir`, ascending.
pub(crate) fn segment_numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, StoreError> {
    let names = disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| if let FileRole::Segment(no) = role(name) { Some(no) } else { None })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Numbers of the last run of segments without a gap, and those of the segments before it.
fn runs(disk: &dyn Disk, dir: &Path) -> Result<(Vec<u64>, Vec<u64>), StoreError> {
    let mut numbers = segment_numbers(disk, dir)?;
    let breaks_at = numbers.windows(2).rposition(|pair| match pair {
        [before, after] => before.checked_add(1) != Some(*after),
        _ => false,
    });
    let run = numbers.split_off(breaks_at.map_or(0, |at| at + 1));
    Ok((run, numbers))
}

fn open_segment(disk: &dyn Disk, dir: &Path, no: u64) -> Result<Opened, StoreError> {
    let path = dir.join(segment_name(no));
    let file = disk.open_read(&path).map_err(StoreError::io("open", &path))?;
    let header = match read_header(file.as_ref()).map_err(StoreError::io("read", &path))? {
        Ok(header) => header,
        Err(HeaderError::Newer(format)) => {
            let what = format!("format {format}, this release knows {FORMAT}");
            return Err(StoreError::Newer { path, what });
        }
        Err(HeaderError::NotASegment) => return Err(StoreError::damaged(&path, 0, "not a log segment")),
        Err(HeaderError::Checksum) => return Err(StoreError::damaged(&path, 0, "the header is not valid")),
    };
    if header.no != no {
        return Err(StoreError::damaged(&path, 0, format!("this is segment {:016x}", header.no)));
    }
    let size = file.size().map_err(StoreError::io("read", &path))?;
    if size < header.bytes {
        let what = format!("the file ends here, it was {} bytes long", header.bytes);
        return Err(StoreError::damaged(&path, size, what));
    }
    Ok(Opened { path, file, header })
}

/// The place in the file of `current` at which `next` says that it ends.
fn end_before(current: &Opened, next: &Opened) -> Result<u64, StoreError> {
    if next.header.log_id != current.header.log_id {
        return Err(StoreError::damaged(&next.path, 0, "this segment belongs to another log"));
    }
    let end = next.header.base.checked_sub(current.header.base).map(|bytes| bytes + HEADER_BYTES);
    end.filter(|end| *end <= current.header.bytes).ok_or_else(|| {
        StoreError::damaged(&next.path, 0, "it does not begin where the segment before it ends")
    })
}

/// Shows all frames of one segment; afterwards `scan` stands at the first place that is none.
fn visit(
    segment: &Opened,
    scan: &mut Scan<'_>,
    visitor: &mut dyn Visitor,
    pass: &mut Pass<'_>,
) -> Result<(), StoreError> {
    loop {
        let (offset, lsn) = (scan.offset(), scan.lsn());
        match scan.next().map_err(StoreError::io("read", &segment.path))? {
            Step::End => return Ok(()),
            Step::Batch(mark) => {
                pass.mark = mark;
                pass.progress.iter_mut().for_each(|progress| progress.reached(lsn));
            }
            Step::Record { lsn, kind, payload } => visitor
                .record(lsn, kind, payload)
                .map_err(|error| undecodable(&segment.path, offset, &error))?,
        }
    }
}

pub(crate) fn undecodable(path: &Path, offset: u64, error: &DecodeError) -> StoreError {
    match error {
        DecodeError::Malformed(_) => StoreError::damaged(path, offset, error.to_string()),
        DecodeError::UnknownKind(_) | DecodeError::UnknownCodec(_) => {
            StoreError::Newer { path: path.to_owned(), what: format!("{error} at byte {offset}") }
        }
    }
}

/// Whether the last segment ends as a log may end, and whether that is in the middle of something.
fn judge_end(segment: &Opened, scan: &mut Scan<'_>) -> Result<Option<TornTail>, StoreError> {
    let ahead = scan.look_ahead().map_err(StoreError::io("read", &segment.path))?;
    let offset = scan.offset();
    if ahead.durable > scan.lsn() {
        return Err(StoreError::damaged(&segment.path, offset, "no valid frame here"));
    }
    let torn = ahead.same_epoch || scan.missing_records() > 0;
    Ok(torn.then(|| TornTail { path: segment.path.clone(), offset }))
}

/// Decodes records for somebody.
pub(crate) struct Replay<'a> {
    pub(crate) codecs: &'a CodecLookup,
    pub(crate) each: &'a mut dyn FnMut(Stage, Lsn, Record),
    /// What lies below is content.
    pub(crate) at: Lsn,
    pub(crate) records: u64,
}

impl Visitor for Replay<'_> {
    fn record(&mut self, lsn: u64, kind: u8, payload: &[u8]) -> Result<(), DecodeError> {
        let stage = if lsn < self.at.0 { Stage::Content } else { Stage::Log };
        if stage == Stage::Content && !matches!(kind, codec::ENQUEUE | codec::APPEND) {
            return Ok(());
        }
        let record = codec::decode(kind, payload, self.codecs.as_ref())?;
        self.records += 1;
        (self.each)(stage, Lsn(lsn), record);
        Ok(())
    }
}

/// Decodes the definitions among the records.
pub(crate) struct OnlyDefinitions<'a>(pub(crate) Replay<'a>);

impl Visitor for OnlyDefinitions<'_> {
    fn record(&mut self, lsn: u64, kind: u8, payload: &[u8]) -> Result<(), DecodeError> {
        if kind == codec::DEFINE && lsn >= self.0.at.0 { self.0.record(lsn, kind, payload) } else { Ok(()) }
    }
}

/// Goes through one sealed segment.
pub(crate) fn walk_sealed(
    disk: &dyn Disk,
    dir: &Path,
    info: &SegmentInfo,
    visitor: &mut dyn Visitor,
) -> Result<(), StoreError> {
    let segment = open_segment(disk, dir, info.no)?;
    let limit = HEADER_BYTES + info.end_lsn.0.saturating_sub(info.first_lsn.0);
    let mut scan = Scan::new(segment.file.as_ref(), segment.header, limit);
    visit(&segment, &mut scan, visitor, &mut Pass { mark: BatchMark::default(), progress: None })?;
    if scan.offset() < limit {
        return Err(StoreError::damaged(&segment.path, scan.offset(), "no valid frame here"));
    }
    Ok(())
}
