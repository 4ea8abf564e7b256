//! The log of one worker: the seam [`WorkerLog`] and the local implementation of it.

use crate::commit::{CommitError, Committer};
use crate::disk::{Disk, LockError};
use crate::error::{AppendError, StoreError};
use crate::format::{FIRST_LSN, HEADER_BYTES, SegmentHeader};
use crate::group::Group;
use crate::options::{CodecLookup, LogOptions};
use crate::recovery::{self, OnlyDefinitions, Recovery, Replay, Walk};
use crate::segment::{SegmentInfo, Spares, segment_name};
use crate::shared::Shared;
use crate::writer::{LogWriter, OnFatal};
use model::ids::Lsn;
use model::record::Record;
use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
/// The log is cleaned at its old end only, and the owner does it: it reads the oldest segment with
/// [`WorkerLog::read_segment`], appends again what of it still lives, and calls [`WorkerLog::trim`] with that
/// segment's `end_lsn`. Trims are carried out behind the appends that came before them, so nobody has to wait in
/// between. This needs no index of what is dead:
/// * an `Enqueue` lives exactly as long as the owner has its message (it looks up `(queue, seq)` in memory, and appends
///   the targets that are left); likewise `Append` against the shard's first offset, `Retain` and `Define` against the
///   present value, `Count` against the present count;
/// * a record that ends something (`Settle`, `Purge`, `DropQueue`, `Trim`, `Retain` and `Define` without a value) is never
///   older than what it ends. What that was stands before it, in this segment or in one that is gone, so in the
///   oldest segment these records are always dead.
///
/// After a crash between append and trim the same `(queue, seq)` comes twice in a replay; the later one counts.
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

    /// Gives up the segments that end at or below `below`, once everything appended before is durable.
    fn trim(&self, below: Lsn);

    /// Writes what is queued, syncs it and ends. Appends are refused from now on.
    fn close(&self);
}

/// A log in a directory of its own on a disk of this machine.
pub struct LocalLog {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    codecs: CodecLookup,
    shared: Arc<Shared>,
    // Dropped in this order: the lock ends after the thread.
    writer: LogWriter,
    _lock: Box<dyn Send + Sync>,
}

impl LocalLog {
    /// Opens the log in `dir`, making one where there is none; shows every record to `replay` in order; starts the
    /// writer thread. When it fails, what `replay` was shown is not to be used.
    ///
    /// Errors: another process has it ([`StoreError::Locked`]); damage to what had been synced; a newer format or a
    /// protocol unknown to `codecs`; the disk.
    pub fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        codecs: CodecLookup,
        replay: &mut dyn FnMut(Lsn, Record),
    ) -> Result<(Self, Recovery), StoreError> {
        Self::open_with(dir, disk, options, codecs, replay, || std::process::abort())
    }

    /// As `open`, with something else to do than ending the process when the disk fails.
    pub(crate) fn open_with(
        dir: &Path,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        codecs: CodecLookup,
        replay: &mut dyn FnMut(Lsn, Record),
        on_fatal: OnFatal,
    ) -> Result<(Self, Recovery), StoreError> {
        disk.create_dir(dir).map_err(StoreError::io("create", dir))?;
        let lock = take_lock(disk.as_ref(), &dir.join("lock"))?;
        let (committer, recovery) = open_committer(dir, disk.clone(), options, &codecs, replay)?;
        let shared = committer.shared.clone();
        let name = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let writer = LogWriter::start(committer, &format!("log-{name}"), on_fatal)
            .map_err(StoreError::io("start the writer thread of", dir))?;
        let log = Self { dir: dir.to_owned(), disk, codecs, shared, writer, _lock: lock };
        Ok((log, recovery))
    }
}

fn take_lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Send + Sync>, StoreError> {
    disk.lock(path).map_err(|error| match error {
        LockError::Held(holder) => StoreError::Locked { path: path.to_owned(), holder },
        LockError::Io(source) => StoreError::Io { doing: "lock", path: path.to_owned(), source },
    })
}

/// Shows the definitions in the log in `dir`, in order, and leaves it as it is; nothing when there is no log. For an
/// owner that wants them before it opens the log, because a definition may stand behind what depends on it.
/// Errors: as [`LocalLog::open`].
pub fn definitions(
    dir: &Path,
    disk: &dyn Disk,
    codecs: &CodecLookup,
    each: &mut dyn FnMut(Lsn, Record),
) -> Result<(), StoreError> {
    disk.create_dir(dir).map_err(StoreError::io("create", dir))?;
    let _lock = take_lock(disk, &dir.join("lock"))?;
    let replay = Replay { codecs, each, records: 0 };
    recovery::walk(disk, dir, &mut OnlyDefinitions(replay)).map(drop)
}

/// Recovers and makes ready to write, without a thread.
pub(crate) fn open_committer(
    dir: &Path,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    codecs: &CodecLookup,
    each: &mut dyn FnMut(Lsn, Record),
) -> Result<(Committer, Recovery), StoreError> {
    let spares = Spares::new(dir, options.segment_bytes, options.spares_max);
    let names = disk.list(dir).map_err(StoreError::io("list", dir))?;
    let mut replay = Replay { codecs, each, records: 0 };
    let walk = recovery::walk(disk.as_ref(), dir, &mut replay)?;
    spares.adopt(disk.as_ref(), &names).map_err(StoreError::io("tidy", dir))?;
    let mut recovery = Recovery { records: replay.records, ..Recovery::default() };
    let mut committer = match walk {
        None => begin(dir, disk, options, spares)?,
        Some(walk) => {
            recovery.segments = walk.segments.len();
            recovery.bytes = walk.segments.iter().map(|info| info.end_lsn.0 - info.first_lsn.0).sum();
            recovery.torn = walk.torn.clone();
            go_on(dir, disk, options, spares, walk)?
        }
    };
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
fn begin(
    dir: &Path,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    spares: Spares,
) -> Result<Committer, StoreError> {
    let header = SegmentHeader {
        salt: disk.random() as u32,
        log_id: disk.random(),
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
    let end = walk.header.base + (walk.offset - HEADER_BYTES);
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
        let mut replay = Replay { codecs: &self.codecs, each, records: 0 };
        recovery::walk_sealed(self.disk.as_ref(), &self.dir, &info, &mut replay)
    }

    fn trim(&self, below: Lsn) {
        self.writer.trim(below);
    }

    fn close(&self) {
        self.writer.close();
    }
}
