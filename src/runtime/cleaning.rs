//! Log cleaning: keeps a worker's log within reach of its live content, oldest segment first.
//!
//! Segments that are certainly dead go at once, unread: the worker counts epochs, and this remembers where the log stood
//! when each began. What long-lived content holds back is cleaned by copying once the log is over its budget: a reader
//! thread scans the oldest segment and mails its records to the worker in pieces; the worker appends what is
//! still alive at the tail; once that is durable the segment goes. Definitions are written anew by their owner.

use super::mailbox::{Mail, Mailbox};
use super::shared::Shared;
use super::topology_task::{TopologyRequest, Wish};
use engine::worker::{Worker, command::Asker, effect::Effects};
use model::{
    Name,
    ids::{ConnectionId, Lsn, RequestId, WorkerId},
    record::Record,
};
use std::collections::VecDeque;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use store::{LocalLog, SegmentInfo, WorkerLog};

/// Records mailed in one piece: about a millisecond of the worker's time.
const PIECE_RECORDS: usize = 1024;

/// The cleaning of one worker's log.
pub(crate) struct Cleaning {
    worker: WorkerId,
    log: Arc<LocalLog>,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    budget_bytes: u64,
    busy: Arc<AtomicBool>,
    epoch: u32,
    /// Everything logged since an epoch began lies at or behind this place.
    epochs: VecDeque<(u32, Lsn)>,
    /// Every definition that counts lies at or behind this place.
    definitions: Arc<AtomicU64>,
    dead_below: Option<Lsn>,
    /// Segments that end up to here are given up; the log may still list them until its writer comes to that.
    given_up: Arc<AtomicU64>,
}

impl Cleaning {
    /// Cleans `log` once it is larger than `budget_bytes` and at least half dead.
    pub(crate) fn new(
        worker: WorkerId,
        log: Arc<LocalLog>,
        mailbox: Arc<Mailbox>,
        shared: Arc<Shared>,
        budget_bytes: u64,
    ) -> Self {
        Self {
            worker,
            log,
            mailbox,
            shared,
            budget_bytes,
            busy: Arc::default(),
            epoch: 0,
            epochs: VecDeque::from([(0, Lsn(0))]),
            definitions: Arc::default(),
            dead_below: None,
            given_up: Arc::default(),
        }
    }

    /// The oldest segment that was not given up yet.
    fn oldest(&self) -> Option<SegmentInfo> {
        self.log.oldest().filter(|segment| segment.end_lsn.0 > self.given_up.load(Ordering::Relaxed))
    }

    /// Gives up the segments below a place, behind all that was appended before.
    fn trim(&self, below: Lsn) -> impl FnOnce() + Send + use<> {
        let (log, given_up) = (self.log.clone(), self.given_up.clone());
        move || {
            given_up.fetch_max(below.0, Ordering::Relaxed);
            log.trim(below);
        }
    }

    /// Begins an epoch, and finds out whether whole segments are dead. What must be logged before they go is added to
    /// `effects`; then comes [`Cleaning::drop_dead`].
    pub(crate) fn next_epoch(&mut self, worker: &mut Worker, effects: &mut Effects) {
        self.epoch += 1;
        worker.begin_epoch(self.epoch);
        self.epochs.push_back((self.epoch, self.log.durable()));
        let oldest = worker.oldest_epoch().unwrap_or(self.epoch);
        while self.epochs.get(1).is_some_and(|(epoch, _)| *epoch <= oldest) {
            self.epochs.pop_front();
        }
        let Some((_, below)) = self.epochs.front().copied() else { return };
        let dead = self.oldest().is_some_and(|segment| segment.end_lsn <= below);
        if dead && !self.busy.load(Ordering::Relaxed) {
            self.dead_below = Some(below);
        }
    }

    /// Drops the segments found dead, once the records of this turn are on their way to the log.
    pub(crate) fn drop_dead(&mut self) {
        let Some(below) = self.dead_below.take() else { return };
        if self.worker != WorkerId(0) || self.definitions.load(Ordering::Relaxed) >= below.0 {
            self.trim(below)();
            return;
        }
        self.busy.store(true, Ordering::Relaxed);
        let (trim, busy, definitions) = (self.trim(below), self.busy.clone(), self.definitions.clone());
        let since = self.log.durable();
        self.rewrite_definitions(Box::new(move || {
            definitions.store(since.0, Ordering::Relaxed);
            trim();
            busy.store(false, Ordering::Relaxed);
        }));
    }

    /// Starts on the oldest segment if it is time.
    pub(crate) fn consider(&self, worker: &Worker) {
        let total = self.log.bytes();
        let enough = total > self.budget_bytes || self.log.disk_full();
        if !enough || total < 2 * worker.live_bytes() || self.busy.load(Ordering::Relaxed) {
            return;
        }
        let Some(segment) = self.oldest() else { return };
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

    /// Every live record of `segment` was appended again: once that is durable it may go.
    pub(crate) fn surveyed(&self, segment: Surveyed) {
        let (trim, busy) = (self.trim(segment.below), self.busy.clone());
        let trim: Box<dyn FnOnce() + Send> = Box::new(move || {
            trim();
            busy.store(false, Ordering::Relaxed);
        });
        if segment.definitions && self.worker == WorkerId(0) {
            self.rewrite_definitions(trim);
        } else {
            // The log trims only behind what was appended before: the survivors.
            trim();
        }
    }
}

impl Cleaning {
    /// Has every definition written anew; `then` runs once they are durable.
    fn rewrite_definitions(&self, then: Box<dyn FnOnce() + Send>) {
        let asker = Asker { connection: ConnectionId(0), request: RequestId(0) };
        let wish = Wish::RewriteDefinitions(then);
        let request = TopologyRequest { asker, vhost: Name::new(), wish };
        if self.shared.definitions.send(request).is_err() {
            tracing::debug!("the broker is shutting down: log cleaning ends");
        }
    }
}

/// What a scan of a segment found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surveyed {
    below: Lsn,
    definitions: bool,
}

fn survey(log: &LocalLog, mailbox: &Mailbox, segment: SegmentInfo) -> Result<(), store::StoreError> {
    let mut piece = Vec::new();
    let mut definitions = false;
    log.read_segment(segment.no, &mut |_, record| {
        if matches!(record, Record::Define { .. }) {
            definitions = true;
            return;
        }
        piece.push(record);
        if piece.len() >= PIECE_RECORDS {
            mailbox.push(Mail::Survey(std::mem::take(&mut piece)));
        }
    })?;
    mailbox.push(Mail::Survey(piece));
    mailbox.push(Mail::Surveyed(Surveyed { below: segment.end_lsn, definitions }));
    Ok(())
}
