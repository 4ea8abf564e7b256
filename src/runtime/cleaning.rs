//! Log cleaning: keeps a worker's log within reach of its live content, oldest segment first.
//!
//! A reader thread scans the oldest segment and mails its records to the worker in pieces; the worker appends what is
//! still alive at the tail; once that is durable the segment goes. Definitions are written anew by their owner.

use super::mailbox::{Mail, Mailbox};
use super::shared::Shared;
use super::topology_task::{TopologyRequest, Wish};
use engine::worker::{Worker, command::Asker};
use model::{
    Name,
    ids::{ConnectionId, Lsn, RequestId, WorkerId},
    record::Record,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
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
        Self { worker, log, mailbox, shared, budget_bytes, busy: Arc::default() }
    }

    /// Starts on the oldest segment if it is time.
    pub(crate) fn consider(&self, worker: &Worker) {
        let total = self.log.bytes();
        if total <= self.budget_bytes || total < 2 * worker.live_bytes() || self.busy.load(Ordering::Relaxed)
        {
            return;
        }
        let Some(segment) = self.log.oldest() else { return };
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
        let (log, busy, below) = (self.log.clone(), self.busy.clone(), segment.below);
        let trim: Box<dyn FnOnce() + Send> = Box::new(move || {
            log.trim(below);
            busy.store(false, Ordering::Relaxed);
        });
        if segment.definitions && self.worker == WorkerId(0) {
            let asker = Asker { connection: ConnectionId(0), request: RequestId(0) };
            let wish = Wish::RewriteDefinitions(trim);
            let request = TopologyRequest { asker, vhost: Name::new(), wish };
            if self.shared.definitions.send(request).is_err() {
                tracing::debug!("the broker is shutting down: log cleaning ends");
            }
        } else {
            // The log trims only behind what was appended before: the survivors.
            trim();
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
