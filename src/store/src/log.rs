//! The log of one worker: the seam [`WorkerLog`] and the local implementation of it.

use crate::commit::{CommitError, Committer};
use crate::disk::{Disk, LockError};
use crate::error::{AppendError, StoreError};
use crate::format::{FIRST_LSN, HEADER_BYTES, SegmentHeader};
use crate::group::Group;
use crate::options::{CodecLookup, LogOptions};
use crate::recovery::{self, OnlyDefinitions, Recovery, Replay, Stage, Walk};
use crate::repair;
use crate::segment::{SegmentInfo, Spares, segment_name};
use crate::shared::Shared;
use crate::snapshots::{self, Found};
use crate::writer::{LogWriter, OnFatal};
use model::ids::Lsn;
use model::record::Record;
use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Records that belong together, usually those of one turn of the worker.
///
/// They are written in order behind everything appended before. A crash can keep the first few of a batch that was
/// not yet durable and lose the rest; each single record is there whole or not at all.
#[derive(Default)]
pub struct Batch {
    /// The records.
    pub records: Vec<Record>,
    /// Somebody waits: sync at once. Else the records ride along with the next sync, which comes within
    /// [`LogOptions::settle_after`].
    pub sync: bool,
    /// Run on the writer thread once these records and all before them are durable; in order of appending. Must be
    /// short and must not panic. Dropped without being run when the log closes with a full disk.
    pub on_durable: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batch { records, sync, on_durable } = self;
        write!(
            f,
            "Batch {{ records: {}, sync: {sync}, on_durable: {} }}",
            records.len(),
            on_durable.is_some()
        )
    }
}

/// What a worker needs of its log. Everything durable goes through [`WorkerLog::append`].
///
/// # Cleaning
/// What the records below an Lsn add up to is in snapshots, but for the content of messages. The log is cleaned at its
/// old end only, and the owner does it: it reads the oldest segment with [`WorkerLog::read_segment`], appends again
/// the `Enqueue` and `Append` records (or those of their targets and messages) that still live, and calls
/// [`WorkerLog::trim`] with that segment's `end_lsn`. Trims are carried out behind the appends that came before them, so
/// nobody has to wait in between. After a crash between append and trim the same `(queue, seq)` comes twice in a
/// replay; the later one counts.
pub trait WorkerLog: Send + Sync {
    /// Queues a batch and returns at once. The queue has no hard end: callers look at
    /// [`WorkerLog::backlog_bytes`] and slow down publishers.
    fn append(&self, batch: Batch) -> Result<(), AppendError>;

    /// Records that begin below are on the disk.
    fn durable(&self) -> Lsn;

    /// Bytes appended and not written yet (and, where their batch asked for it, synced).
    fn backlog_bytes(&self) -> usize;

    /// The disk is full. As long as there is a little room left, records are still taken and confirmed, so that
    /// consumers and cleaning can make room; publishers are to wait. Without any, nothing is confirmed.
    fn disk_full(&self) -> bool;

    /// The oldest sealed segment. `None` when there is only the one being written.
    fn oldest(&self) -> Option<SegmentInfo>;

    /// Size of all segment files.
    fn bytes(&self) -> u64;

    /// Reads a sealed segment in order, from any thread. Not to be called for what is being trimmed.
    /// Errors: damage, no such segment, the disk.
    fn read_segment(&self, no: u64, each: &mut dyn FnMut(Lsn, Record)) -> Result<(), StoreError>;

    /// Gives up the segments that end at or below `below`, once everything appended before is durable. Only those
    /// below the older of two snapshots go; the others as soon as newer snapshots are there.
    fn trim(&self, below: Lsn);

    /// Calls `then` on the writer thread with the Lsn behind everything appended before, once that is durable: what
    /// is appended later lies there or behind. Must be short; dropped without being run when the log closes.
    fn mark(&self, then: Box<dyn FnOnce(Lsn) + Send>);

    /// Stores what the records below `at` (from [`WorkerLog::mark`]) add up to, without the content of messages, and
    /// lets go of the oldest snapshot when there were two. Blocking, from any thread. Gives the length of its file.
    /// Errors: the disk, also a full one ([`StoreError::is_full`]); then the snapshots before still count.
    fn put_snapshot(&self, at: Lsn, records: &[Record]) -> Result<u64, StoreError>;

    /// Where the newest snapshot was taken.
    fn snapshot_at(&self) -> Option<Lsn>;

    /// Behind the last record written; may lie before the newest snapshot's Lsn when nothing came since.
    fn end(&self) -> Lsn;

    /// Writes what is queued, syncs it and ends. Appends are refused from now on.
    fn close(&self);
}

/// A log in a directory of its own on a disk of this machine.
pub struct LocalLog {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    codecs: CodecLookup,
    shared: Arc<Shared>,
    log_id: u64,
    /// Held while a snapshot is written.
    putting: Mutex<()>,
    // Dropped in this order: the lock ends after the thread.
    writer: LogWriter,
    _lock: Box<dyn Send + Sync>,
}

impl LocalLog {
    /// Opens the log in `dir`, making one where there is none; shows the newest snapshot and then the log to `replay`, as
    /// [`Stage`] says; starts the writer thread. When it fails, what `replay` was shown is not to be used.
    ///
    /// Errors: another process has it ([`StoreError::Locked`]); damage to what had been synced, except to a snapshot
    /// that another one makes up for; a newer format or a protocol unknown to `codecs`; the disk.
    pub fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        codecs: CodecLookup,
        replay: &mut dyn FnMut(Stage, Lsn, Record),
    ) -> Result<(Self, Recovery), StoreError> {
        Self::open_with(dir, disk, options, codecs, replay, || std::process::abort())
    }

    /// As `open`, with something else to do than ending the process when the disk fails.
    pub(crate) fn open_with(
        dir: &Path,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        codecs: CodecLookup,
        replay: &mut dyn FnMut(Stage, Lsn, Record),
        on_fatal: OnFatal,
    ) -> Result<(Self, Recovery), StoreError> {
        disk.create_dir(dir).map_err(StoreError::io("create", dir))?;
        let lock = take_lock(disk.as_ref(), &dir.join("lock"))?;
        let (committer, recovery) = open_committer(dir, disk.clone(), options, &codecs, replay)?;
        let (shared, log_id) = (committer.shared.clone(), committer.header.log_id);
        let name = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let writer = LogWriter::start(committer, &format!("log-{name}"), on_fatal)
            .map_err(StoreError::io("start the writer thread of", dir))?;
        let putting = Mutex::default();
        let log = Self { dir: dir.to_owned(), disk, codecs, shared, log_id, putting, writer, _lock: lock };
        Ok((log, recovery))
    }
}

pub(crate) fn take_lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Send + Sync>, StoreError> {
    disk.lock(path).map_err(|error| match error {
        LockError::Held(holder) => StoreError::Locked { path: path.to_owned(), holder },
        LockError::Io(source) => StoreError::Io { doing: "lock", path: path.to_owned(), source },
    })
}

/// Shows the definitions of the log in `dir`, those of its newest snapshot and then those that came behind it, and leaves
/// the log as it is; nothing when there is none. For an owner that wants them before it opens the log, because a
/// definition may stand behind what depends on it.
/// Errors: as [`LocalLog::open`].
pub fn definitions(
    dir: &Path,
    disk: &dyn Disk,
    codecs: &CodecLookup,
    each: &mut dyn FnMut(Lsn, Record),
) -> Result<(), StoreError> {
    disk.create_dir(dir).map_err(StoreError::io("create", dir))?;
    let _lock = take_lock(disk, &dir.join("lock"))?;
    let found = find_snapshots(disk, dir, codecs, false)?;
    let at = found.at();
    for record in found.newest.into_iter().flat_map(|(_, records)| records) {
        if matches!(record, Record::Define { .. }) {
            each(at, record);
        }
    }
    let each = &mut |_, lsn, record| each(lsn, record);
    let replay = Replay { codecs, each, at, records: 0 };
    recovery::walk(disk, dir, &mut OnlyDefinitions(replay), at).map(drop)
}

/// The snapshots of the log in `dir`. Errors: there is none to begin with, and the log does not reach back to its
/// beginning; as [`snapshots::find`].
pub(crate) fn find_snapshots(
    disk: &dyn Disk,
    dir: &Path,
    codecs: &CodecLookup,
    all: bool,
) -> Result<Found, StoreError> {
    if repair::is_unfinished(disk, dir) {
        return Err(StoreError::damaged(&dir.join("repair"), 0, "a repair was interrupted here"));
    }
    let Some((log_id, first)) = recovery::identity(disk, dir)? else { return Ok(Found::default()) };
    let found = snapshots::find(disk, dir, (log_id, first), codecs, all)?;
    if found.newest.is_some() || first == FIRST_LSN {
        found.damage.iter().for_each(|error| {
            tracing::warn!(%error, "a snapshot does not count; the broker makes do without it");
        });
        return Ok(found);
    }
    let others: Vec<_> = found.damage.iter().skip(1).map(|error| format!("; {error}")).collect();
    Err(match found.damage.into_iter().next() {
        Some(StoreError::Damaged { path, offset, what }) => StoreError::Damaged {
            path,
            offset,
            what: format!("{what}, and no other snapshot is valid{}", others.concat()),
        },
        Some(other) => other,
        None => match recovery::gap(disk, dir)? {
            Some(path) => StoreError::damaged(&path, 0, "the file is missing"),
            None => {
                let what = "no snapshot is there, and the log does not reach back to its beginning";
                StoreError::damaged(&snapshots::snapshots_dir(dir), 0, what)
            }
        },
    })
}

/// Recovers and makes ready to write, without a thread.
pub(crate) fn open_committer(
    dir: &Path,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    codecs: &CodecLookup,
    each: &mut dyn FnMut(Stage, Lsn, Record),
) -> Result<(Committer, Recovery), StoreError> {
    let spares = Spares::new(dir, options.segment_bytes, options.spares_max);
    let names = disk.list(dir).map_err(StoreError::io("list", dir))?;
    let found = find_snapshots(disk.as_ref(), dir, codecs, true)?;
    let (at, valid, synced) = (found.at(), found.valid, found.synced);
    let snapshot = found.newest.is_some().then_some(at);
    for record in found.newest.into_iter().flat_map(|(_, records)| records) {
        each(Stage::Snapshot, at, record);
    }
    let mut replay = Replay { codecs, each, at, records: 0 };
    let walk = recovery::walk(disk.as_ref(), dir, &mut replay, Lsn(0))?;
    if let Some(walk) = walk.as_ref().filter(|walk| walk.end() < synced) {
        let path = dir.join(segment_name(walk.header.no));
        let what = "the log ends here, a snapshot says that it was longer";
        return Err(StoreError::damaged(&path, walk.offset, what));
    }
    spares.adopt(disk.as_ref(), &names).map_err(StoreError::io("tidy", dir))?;
    let mut recovery = Recovery { records: replay.records, snapshot, ..Recovery::default() };
    let mut committer = match walk {
        None => {
            let log_id = disk.random();
            begin(dir, disk, options, spares, log_id)?
        }
        Some(walk) => {
            recovery.segments = walk.segments.len();
            recovery.bytes = walk.segments.iter().map(|info| info.end_lsn.0 - info.first_lsn.0).sum();
            recovery.torn = walk.torn.clone();
            go_on(dir, disk, options, spares, walk)?
        }
    };
    *committer.shared.snapshots() = valid;
    if let Some(torn) = &recovery.torn {
        tracing::warn!(
            path = %torn.path.display(),
            offset = torn.offset,
            "the log ends in an unfinished write, which was never confirmed; it goes on from there"
        );
    }
    committer.mark().map_err(|error| match error {
        CommitError::Fatal(source) | CommitError::GivenUp(source) => {
            StoreError::Io { doing: "write to the log in", path: dir.to_owned(), source }
        }
    })?;
    Ok((committer, recovery))
}

/// The first segment of a new log.
pub(crate) fn begin(
    dir: &Path,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    spares: Spares,
    log_id: u64,
) -> Result<Committer, StoreError> {
    let header = SegmentHeader {
        salt: disk.random() as u32,
        log_id,
        no: 0,
        base: FIRST_LSN,
        epoch: 0,
        created_ms: disk.wall_ms(),
        bytes: 0,
    };
    let bytes = options.first_segment_bytes.min(options.segment_bytes).max(2 * HEADER_BYTES);
    let (file, header) = spares
        .begin_segment(disk.as_ref(), header, bytes)
        .map_err(StoreError::io("create the first segment in", dir))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).map_err(StoreError::io("sync", parent))?;
    }
    let info = SegmentInfo { no: 0, first_lsn: Lsn(FIRST_LSN), end_lsn: Lsn(FIRST_LSN), bytes: header.bytes };
    let shared = Shared::new(VecDeque::from([info]), FIRST_LSN, spares);
    Ok(Committer {
        disk,
        dir: dir.to_owned(),
        options,
        shared: Arc::new(shared),
        file,
        header,
        offset: HEADER_BYTES,
        epoch: 1,
        first_segment: 0,
        group: Group::new(),
        records_end: FIRST_LSN,
        vouched: 0,
        unneeded: Lsn(0),
    })
}

/// Goes on at the end that recovery found.
fn go_on(
    dir: &Path,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    spares: Spares,
    walk: Walk,
) -> Result<Committer, StoreError> {
    for no in &walk.leftover {
        let path = dir.join(segment_name(*no));
        disk.remove(&path).map_err(StoreError::io("remove", &path))?;
    }
    // A killed process may have left names and content in memory only.
    disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
    let path = dir.join(segment_name(walk.header.no));
    let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
    file.fdatasync().map_err(StoreError::io("sync", &path))?;
    let end = walk.end();
    Ok(Committer {
        disk,
        dir: dir.to_owned(),
        options,
        shared: Arc::new(Shared::new(walk.segments, end, spares)),
        file,
        header: walk.header,
        offset: walk.offset,
        epoch: walk.epoch.saturating_add(1),
        first_segment: walk.first_segment,
        group: Group::new(),
        records_end: end,
        vouched: 0,
        unneeded: Lsn(0),
    })
}

impl WorkerLog for LocalLog {
    fn append(&self, batch: Batch) -> Result<(), AppendError> {
        self.writer.append(batch)
    }

    fn durable(&self) -> Lsn {
        Lsn(self.shared.durable())
    }

    fn backlog_bytes(&self) -> usize {
        self.shared.backlog_bytes.load(Ordering::Relaxed)
    }

    fn disk_full(&self) -> bool {
        self.shared.disk_full.load(Ordering::Relaxed) || self.shared.cramped.load(Ordering::Relaxed) > 0
    }

    fn oldest(&self) -> Option<SegmentInfo> {
        let segments = self.shared.segments();
        if segments.len() > 1 { segments.front().copied() } else { None }
    }

    fn bytes(&self) -> u64 {
        self.shared.segments().iter().map(|info| info.bytes).sum()
    }

    fn read_segment(&self, no: u64, each: &mut dyn FnMut(Lsn, Record)) -> Result<(), StoreError> {
        let info = {
            let segments = self.shared.segments();
            let sealed = segments.len().saturating_sub(1);
            segments.iter().take(sealed).find(|info| info.no == no).copied()
        };
        let info = info.ok_or(StoreError::NoSegment(no))?;
        let each = &mut |_, lsn, record| each(lsn, record);
        let mut replay = Replay { codecs: &self.codecs, each, at: Lsn(0), records: 0 };
        recovery::walk_sealed(self.disk.as_ref(), &self.dir, &info, &mut replay)
    }

    fn trim(&self, below: Lsn) {
        self.writer.trim(below);
    }

    fn mark(&self, then: Box<dyn FnOnce(Lsn) + Send>) {
        self.writer.mark(then);
    }

    fn put_snapshot(&self, at: Lsn, records: &[Record]) -> Result<u64, StoreError> {
        let _one = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = snapshots::put(self.disk.as_ref(), &self.dir, self.log_id, at, records)?;
        self.shared.note_snapshot(self.disk.as_ref(), &self.dir, at);
        // What this snapshot held back until now may go.
        self.writer.trim(Lsn(0));
        Ok(bytes)
    }

    fn snapshot_at(&self) -> Option<Lsn> {
        self.shared.snapshots().last().copied()
    }

    fn end(&self) -> Lsn {
        Lsn(self.shared.end.load(Ordering::Relaxed))
    }

    fn close(&self) {
        self.writer.close();
    }
}
