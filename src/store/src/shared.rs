//! What the writer thread and the callers of a log both see.

use crate::segment::{SegmentInfo, Spares};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared state. No lock is held across a disk operation.
pub(crate) struct Shared {
    segments: Mutex<VecDeque<SegmentInfo>>,
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

    /// Everything below is on the disk.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable(&self, lsn: u64) {
        self.durable.store(lsn, Ordering::Release);
    }
}
