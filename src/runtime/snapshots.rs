//! When a worker's state is written down, so that its log need not be kept for it.
//!
//! Owns: the moment, and that there is one at a time. Refuses: what is in a snapshot (the worker's) and how it lies on the
//! disk (the log's).

use model::{
    Millis,
    ids::{Lsn, QueueId},
    record::Record,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
    mpsc,
};
use std::thread::JoinHandle;
use store::{Batch, LocalLog, StoreError, WorkerLog};

/// What was logged is in a snapshot after this long, also when it is little.
const AGE_MS: Millis = 60_000;

/// Between a snapshot that failed and the next attempt.
const RETRY_MS: Millis = 10_000;

/// What the thread that writes a snapshot tells.
#[derive(Default)]
struct Written {
    /// Length of the newest.
    bytes: AtomicU64,
    /// Where the log stood at the newest.
    newest: AtomicU64,
    /// The same of the one before: what lies below is in both.
    older: AtomicU64,
    failed: AtomicBool,
}

/// The snapshots of one worker's log.
pub(crate) struct Snapshots {
    log: Arc<LocalLog>,
    interval_bytes: u64,
    written: Arc<Written>,
    thread: Option<JoinHandle<()>>,
    /// When the last one was begun, or this process.
    begun: Millis,
}

impl Snapshots {
    /// A snapshot is due after `interval_bytes` of log (more when the snapshot itself is long).
    pub(crate) fn new(log: Arc<LocalLog>, interval_bytes: u64, now: Millis) -> Self {
        let written = Written::default();
        written.newest.store(log.snapshot_at().map_or(0, |lsn| lsn.0), Ordering::Relaxed);
        Self { log, interval_bytes, written: Arc::new(written), thread: None, begun: now }
    }

    /// Segments that end at or below this place are not needed for state.
    pub(crate) fn floor(&self) -> Lsn {
        Lsn(self.written.older.load(Ordering::Relaxed))
    }

    /// Something was logged that no snapshot holds.
    fn is_behind(&self) -> bool {
        self.log.end().0 > self.written.newest.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// It is time. `urgent`: segments that are in the way could go if both snapshots were new.
    pub(crate) fn is_due(&self, now: Millis, urgent: bool) -> bool {
        if self.is_busy() || !(urgent || self.is_behind()) {
            return false;
        }
        if self.written.failed.load(Ordering::Relaxed) {
            return now >= self.begun + RETRY_MS;
        }
        let since = self.log.end().0.saturating_sub(self.written.newest.load(Ordering::Relaxed));
        let interval = self.interval_bytes.max(2 * self.written.bytes.load(Ordering::Relaxed));
        urgent || since >= interval || now >= self.begun + AGE_MS
    }

    /// When to ask [`Snapshots::is_due`] at the latest, if nothing else happens.
    pub(crate) fn deadline(&self, now: Millis) -> Option<Millis> {
        let wait = if self.written.failed.load(Ordering::Relaxed) { RETRY_MS } else { AGE_MS };
        let at = if self.is_busy() { now + RETRY_MS } else { self.begun + wait };
        self.is_behind().then_some(at)
    }

    /// Begins to write `state`, which is what everything appended to the log until now adds up to.
    pub(crate) fn begin(&mut self, state: Vec<Record>, now: Millis) {
        self.begun = now;
        if !self.is_behind() {
            // A snapshot at the same place would replace the newest one, and the older one would stay as it is.
            let records = vec![Record::Settle { queue: QueueId(0), seqs: Vec::new() }];
            if self.log.append(Batch { records, ..Batch::default() }).is_err() {
                return;
            }
        }
        let (log, written) = (self.log.clone(), self.written.clone());
        let (stands, place) = mpsc::sync_channel(1);
        let write = move || {
            // Nothing comes when the log closed before it got so far.
            let Ok(at) = place.recv() else { return };
            written.put(&log, at, &state);
        };
        match std::thread::Builder::new().name("snapshot".to_owned()).spawn(write) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => {
                self.written.failed.store(true, Ordering::Relaxed);
                tracing::warn!(%error, "no thread for a snapshot of the log");
                return;
            }
        }
        self.log.mark(Box::new(move |at| {
            let _ = stands.send(at);
        }));
    }

    /// Waits for the one being written. The log is closed, so that it comes to an end.
    pub(crate) fn close(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Written {
    fn put(&self, log: &LocalLog, at: Lsn, state: &[Record]) {
        match log.put_snapshot(at, state) {
            Ok(bytes) => {
                self.bytes.store(bytes, Ordering::Relaxed);
                let before = self.newest.swap(at.0, Ordering::Relaxed);
                if before < at.0 {
                    self.older.store(before, Ordering::Relaxed);
                }
                self.failed.store(false, Ordering::Relaxed);
                tracing::debug!(lsn = at.0, bytes, records = state.len(), "wrote a snapshot of the log");
            }
            Err(error) => {
                self.failed.store(true, Ordering::Relaxed);
                warn(&error);
            }
        }
    }
}

/// The log is whole without the snapshot, only longer than it need be.
fn warn(error: &StoreError) {
    tracing::warn!(%error, "could not write a snapshot of the log; another attempt follows");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::path::Path;
    use std::time::Duration;
    use store::{LogOptions, disk::SimDisk};

    /// More than an empty log begins with.
    const INTERVAL: u64 = 1 << 16;

    struct Rig {
        disk: SimDisk,
        log: Arc<LocalLog>,
        snapshots: Snapshots,
    }

    impl Rig {
        fn new() -> Self {
            let disk = SimDisk::new(1);
            let options = LogOptions { prepare_spares: false, ..LogOptions::default() };
            let dir = Path::new("/worker-00");
            let codecs = Arc::new(crate::registry::codec);
            let (log, _) =
                LocalLog::open(dir, Arc::new(disk.clone()), options, codecs, &mut |_, _, _| {}).unwrap();
            let log = Arc::new(log);
            Self { disk, snapshots: Snapshots::new(log.clone(), INTERVAL, 0), log }
        }

        /// Logs so many records of 24 bytes or more, and waits until they are written.
        fn log(&self, records: u64) {
            let records = (0..records).map(|seq| Record::Settle { queue: QueueId(1), seqs: vec![seq] });
            let (done, written) = mpsc::channel();
            let on_durable = Box::new(move || done.send(()).unwrap());
            let records = records.collect();
            self.log.append(Batch { records, sync: true, on_durable: Some(on_durable) }).unwrap();
            written.recv().unwrap();
        }

        fn write(&mut self, now: Millis) {
            self.snapshots.begin(Vec::new(), now);
            for _ in 0..10_000 {
                if !self.snapshots.is_busy() {
                    return;
                }
                assert!(!self.snapshots.is_due(now + AGE_MS, true), "never two at a time");
                std::thread::sleep(Duration::from_millis(1));
            }
            panic!("the snapshot does not end");
        }
    }

    #[test]
    fn due_after_so_much_or_so_long_and_never_when_idle() {
        let mut rig = Rig::new();
        rig.log(1);
        assert!(!rig.snapshots.is_due(AGE_MS - 1, false));
        assert!(rig.snapshots.is_due(AGE_MS, false));
        assert_eq!(rig.snapshots.deadline(5), Some(AGE_MS));
        rig.log(INTERVAL / 24);
        assert!(rig.snapshots.is_due(1, false));
        rig.write(1);
        assert_eq!(rig.log.snapshot_at(), Some(rig.log.end()));
        assert!(!rig.snapshots.is_due(1000 * AGE_MS, false), "nothing came since");
        assert_eq!(rig.snapshots.deadline(5), None);
        rig.log(1);
        assert!(!rig.snapshots.is_due(2, false));
        assert!(rig.snapshots.is_due(1 + AGE_MS, false));
    }

    #[test]
    fn two_of_them_move_the_floor_even_when_nothing_comes() {
        let mut rig = Rig::new();
        rig.log(10);
        let end = rig.log.end();
        assert_eq!(rig.snapshots.floor(), Lsn(0));
        assert!(rig.snapshots.is_due(1, true));
        rig.write(1);
        assert_eq!(rig.snapshots.floor(), Lsn(0));
        rig.write(2);
        assert!(rig.snapshots.floor() >= end);
        assert!(rig.log.snapshot_at().unwrap() > rig.snapshots.floor());
    }

    #[test]
    fn one_that_fails_is_tried_again_later() {
        let mut rig = Rig::new();
        rig.log(10);
        rig.disk.set_full(true);
        rig.write(1);
        assert_eq!(rig.log.snapshot_at(), None);
        assert!(!rig.snapshots.is_due(RETRY_MS, true));
        assert_eq!(rig.snapshots.deadline(5), Some(1 + RETRY_MS));
        assert!(rig.snapshots.is_due(1 + RETRY_MS, false));
        rig.disk.set_full(false);
        rig.write(1 + RETRY_MS);
        assert!(rig.log.snapshot_at().is_some());
    }

    #[test]
    fn a_log_that_closes_gives_up_what_waits() {
        let mut rig = Rig::new();
        rig.log(1);
        rig.log.close();
        rig.snapshots.begin(Vec::new(), 1);
        rig.snapshots.close();
        assert_eq!(rig.log.snapshot_at(), None);
    }
}
