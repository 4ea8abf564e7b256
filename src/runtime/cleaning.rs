//! Log cleaning: keeps a worker's log within reach of its live content, oldest segment first.
//!
//! A segment may go when both snapshots hold the state that its records add up to, and no live content lies in it. What
//! is certainly dead goes at once, unread: the worker counts epochs, and this remembers where the log stood when each
//! began. What long-lived content holds back is cleaned by copying once the log is over its budget: a reader thread scans
//! the oldest segment and mails its content to the worker in pieces; the worker appends what is still alive at the tail;
//! once that is durable the segment goes.

use super::mailbox::{Mail, Mailbox};
use super::snapshots::Snapshots;
use engine::worker::Worker;
use model::{Millis, ids::Lsn, record::Record};
use std::collections::VecDeque;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use store::{LocalLog, SegmentInfo, WorkerLog};

/// Records mailed in one piece: about a millisecond of the worker's time.
const PIECE_RECORDS: usize = 1024;

/// Places remembered; with more, every other one is forgotten, which makes what is dropped coarser.
const EPOCHS_MAX: usize = 4096;

/// How long a log may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Cleaned by copying from here on, bytes.
    pub(crate) log_bytes: u64,
    /// Log behind a snapshot until the next one, bytes.
    pub(crate) snapshot_bytes: u64,
}

impl Budget {
    /// Log between two snapshots. All behind the older one stays, so a small budget makes for frequent ones.
    fn interval_bytes(self) -> u64 {
        self.snapshot_bytes.min(self.log_bytes / 4)
    }
}

/// The cleaning of one worker's log.
pub(crate) struct Cleaning {
    log: Arc<LocalLog>,
    mailbox: Arc<Mailbox>,
    budget_bytes: u64,
    snapshots: Snapshots,
    busy: Arc<AtomicBool>,
    epoch: u32,
    /// Everything logged since an epoch began lies at or behind this place.
    epochs: VecDeque<(u32, Lsn)>,
    /// Segments that end up to here are given up; the log may still list them until its writer comes to that.
    given_up: Arc<AtomicU64>,
}

impl Cleaning {
    /// Cleans `log` once it is over its budget and at least half dead.
    pub(crate) fn new(log: Arc<LocalLog>, mailbox: Arc<Mailbox>, budget: Budget, now: Millis) -> Self {
        Self {
            snapshots: Snapshots::new(log.clone(), budget.interval_bytes(), now),
            log,
            mailbox,
            budget_bytes: budget.log_bytes,
            busy: Arc::default(),
            epoch: 0,
            epochs: VecDeque::from([(0, Lsn(0))]),
            given_up: Arc::default(),
        }
    }

    /// The oldest segment that was not given up yet.
    fn oldest(&self) -> Option<SegmentInfo> {
        self.log.oldest().filter(|segment| segment.end_lsn.0 > self.given_up.load(Ordering::Relaxed))
    }

    /// Gives up the segments below a place, behind all that was appended before.
    fn trim(&self, below: Lsn) {
        self.given_up.fetch_max(below.0, Ordering::Relaxed);
        self.log.trim(below);
    }

    /// Looks at what can go and what is to be done for it. All records of the turn are on their way to the log: what a
    /// settlement sets free may go behind it. `full`: there is no room on the disk.
    pub(crate) fn look(&mut self, worker: &mut Worker, full: bool, now: Millis) {
        self.next_epoch(worker);
        self.consider(worker, full);
        let in_the_way = full && self.oldest().is_some_and(|oldest| oldest.end_lsn > self.snapshots.floor());
        if self.snapshots.is_due(now, in_the_way) {
            self.snapshots.begin(worker.snapshot(), now);
        }
    }

    /// When to look at the latest, if nothing happens.
    pub(crate) fn deadline(&self, now: Millis) -> Option<Millis> {
        self.snapshots.deadline(now)
    }

    /// Begins an epoch, and drops the segments that are dead as a whole.
    fn next_epoch(&mut self, worker: &mut Worker) {
        let durable = self.log.durable();
        if self.epochs.back().is_some_and(|(_, place)| *place < durable) {
            self.epoch += 1;
            worker.begin_epoch(self.epoch);
            self.epochs.push_back((self.epoch, durable));
        }
        if self.epochs.len() > EPOCHS_MAX {
            let mut keep = false;
            self.epochs.retain(|_| {
                keep = !keep;
                keep
            });
        }
        let oldest = worker.oldest_epoch().unwrap_or(self.epoch);
        while self.epochs.get(1).is_some_and(|(epoch, _)| *epoch <= oldest) {
            self.epochs.pop_front();
        }
        let Some((_, below)) = self.epochs.front().copied() else { return };
        let below = below.min(self.snapshots.floor());
        let dead = self.oldest().is_some_and(|segment| segment.end_lsn <= below);
        if dead && !self.busy.load(Ordering::Relaxed) {
            self.trim(below);
        }
    }

    /// Starts on the oldest segment if it is time.
    fn consider(&self, worker: &Worker, full: bool) {
        let total = self.log.bytes();
        let enough = total > self.budget_bytes || full;
        if !enough || total < 2 * worker.live_bytes() || self.busy.load(Ordering::Relaxed) {
            return;
        }
        let floor = self.snapshots.floor();
        let Some(segment) = self.oldest().filter(|segment| segment.end_lsn <= floor) else { return };
        self.busy.store(true, Ordering::Relaxed);
        let (log, mailbox) = (self.log.clone(), self.mailbox.clone());
        let read = move || {
            if let Err(error) = survey(&log, &mailbox, segment) {
                tracing::error!(segment = segment.no, %error, "cannot clean the log: a segment is not readable");
                // Stays busy: trying again would not help, and nothing is lost by a longer log.
            }
        };
        tokio::task::spawn_blocking(read);
    }

    /// Every live record of the segment that ends here was appended again: once that is durable it may go.
    pub(crate) fn surveyed(&self, end: Lsn) {
        // The log trims only behind what was appended before: the survivors.
        self.trim(end);
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Waits for what is still being written; the log is closed.
    pub(crate) fn close(&mut self) {
        self.snapshots.close();
    }
}

fn survey(log: &LocalLog, mailbox: &Mailbox, segment: SegmentInfo) -> Result<(), store::StoreError> {
    let mut piece = Vec::new();
    log.read_segment(segment.no, &mut |_, record| {
        // All else is in the snapshots.
        if !matches!(record, Record::Enqueue { .. } | Record::Append { .. }) {
            return;
        }
        piece.push(record);
        if piece.len() >= PIECE_RECORDS {
            mailbox.push(Mail::Survey(std::mem::take(&mut piece)));
        }
    })?;
    mailbox.push(Mail::Survey(piece));
    mailbox.push(Mail::Surveyed(segment.end_lsn));
    Ok(())
}
