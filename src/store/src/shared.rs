//! What the writer thread and the callers of a log both see.

use crate::segment::{SegmentInfo, Spares};
use crate::snapshots;
use model::ids::Lsn;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared state. No lock is held across a disk operation.
pub(crate) struct Shared {
    segments: Mutex<VecDeque<SegmentInfo>>,
    /// Valid snapshots, ascending, two at most.
    snapshots: Mutex<Vec<Lsn>>,
    /// Behind the last record written.
    pub(crate) end: AtomicU64,
    durable: AtomicU64,
    pub(crate) backlog_bytes: AtomicUsize,
    pub(crate) disk_full: AtomicBool,
    /// Length of the segment that there was no room for, while a short one is used in its place; else 0.
    pub(crate) cramped: AtomicU64,
    /// The log is closing: do not wait for room on a full disk.
    pub(crate) closing: AtomicBool,
    pub(crate) spares: Spares,
}

impl Shared {
    pub(crate) fn new(segments: VecDeque<SegmentInfo>, durable: u64, spares: Spares) -> Self {
        Self {
            segments: Mutex::new(segments),
            snapshots: Mutex::default(),
            end: AtomicU64::new(durable),
            durable: AtomicU64::new(durable),
            backlog_bytes: AtomicUsize::new(0),
            disk_full: AtomicBool::new(false),
            cramped: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            spares,
        }
    }

    /// All segments, the oldest first; the last one is being written.
    pub(crate) fn segments(&self) -> MutexGuard<'_, VecDeque<SegmentInfo>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The valid snapshots.
    pub(crate) fn snapshots(&self) -> MutexGuard<'_, Vec<Lsn>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing from here on may be trimmed.
    pub(crate) fn trim_limit(&self) -> Lsn {
        snapshots::trim_limit(&self.snapshots())
    }

    /// Everything below is on the disk.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable(&self, lsn: u64) {
        self.durable.store(lsn, Ordering::Release);
    }
}
