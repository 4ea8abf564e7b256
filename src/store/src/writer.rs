//! The writer thread: takes what has piled up, commits it, runs the completions, begins again. Nobody sets a timer
//! for a batch: what arrives during one sync is the next batch.

use crate::codec;
use crate::commit::{CommitError, Committer};
use crate::error::{AppendError, is_full};
use crate::format::RECORD_BYTES_MAX;
use crate::log::Batch;
use model::ids::Lsn;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the thread can be asked to do.
enum Task {
    Write { batch: Batch, bytes: usize },
    Trim(Lsn),
    Mark(Box<dyn FnOnce(Lsn) + Send>),
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    closed: bool,
}

/// The queue in front of the thread.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, task: Task) -> Result<(), AppendError> {
        let mut state = self.state();
        if state.closed {
            return Err(AppendError::Closed);
        }
        state.tasks.push_back(task);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// Moves tasks of up to `bytes_max` (but at least one) into `into`, waiting for the first for `patience`, or
    /// for ever. False when the queue is closed and empty.
    fn take(&self, into: &mut Vec<Task>, bytes_max: usize, patience: Option<Duration>) -> bool {
        let mut state = self.state();
        if state.tasks.is_empty() && !state.closed {
            state = match patience {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let mut bytes = 0;
        while let Some(task) = state.tasks.pop_front() {
            if let Task::Write { bytes: task_bytes, .. } = &task {
                if bytes > 0 && bytes + task_bytes > bytes_max {
                    state.tasks.push_front(task);
                    break;
                }
                bytes += task_bytes;
            }
            into.push(task);
        }
        !(into.is_empty() && state.closed)
    }
}

/// What to do when going on would break a promise. Never returns to the writer's loop.
pub(crate) type OnFatal = fn();

/// Owns the thread; dropping it drains the queue, syncs, and waits for the end.
pub(crate) struct LogWriter {
    queue: Arc<Queue>,
    shared: Arc<crate::shared::Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LogWriter {
    /// Starts the thread.
    pub(crate) fn start(committer: Committer, name: &str, on_fatal: OnFatal) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let shared = committer.shared.clone();
        let loop_queue = queue.clone();
        let mut run = Run {
            committer,
            queue: loop_queue,
            on_durable: Vec::new(),
            backlog_bytes: 0,
            written_at: None,
            unsynced_since: None,
            preparing: None,
            prepared_during: None,
            looked_for_room: Instant::now(),
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = PanicGuard(on_fatal);
            if let Err(error) = run.until_closed() {
                fail(&error, on_fatal);
            }
            run.end();
        })?;
        Ok(Self { queue, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a batch.
    pub(crate) fn append(&self, batch: Batch) -> Result<(), AppendError> {
        let mut bytes = 0usize;
        for record in &batch.records {
            let record_bytes = codec::frame_bytes_max(record);
            if record_bytes > RECORD_BYTES_MAX {
                return Err(AppendError::TooLarge);
            }
            bytes = bytes.saturating_add(record_bytes);
        }
        self.shared.backlog_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queue.push(Task::Write { batch, bytes }).inspect_err(|_| {
            self.shared.backlog_bytes.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// Queues a trim behind what was appended before.
    pub(crate) fn trim(&self, below: Lsn) {
        // A log that is closing keeps its segments; the next owner trims.
        let _ = self.queue.push(Task::Trim(below));
    }

    /// Queues a question for where what was appended before ends.
    pub(crate) fn mark(&self, then: Box<dyn FnOnce(Lsn) + Send>) {
        // A log that is closing answers no more.
        let _ = self.queue.push(Task::Mark(then));
    }

    /// Takes nothing more, writes what is queued, and waits until that is done.
    pub(crate) fn close(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.shared.spares.stop();
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A completion may hold, and drop, the last handle of the log: then this is that thread.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

/// A thread that panicked must not leave everybody waiting for confirms for ever.
struct PanicGuard(OnFatal);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the log's writer thread panicked: the broker stops here");
            (self.0)();
        }
    }
}

fn fail(error: &CommitError, on_fatal: OnFatal) {
    match error {
        CommitError::GivenUp(error) => {
            tracing::error!(%error, "closed with a full disk: what was not confirmed is not stored");
        }
        CommitError::Fatal(error) => {
            tracing::error!(
                %error,
                "the log could not be written or synced: what reached the disk is not known, so the broker stops \
                 here and recovers from the log when it is started again"
            );
            on_fatal();
        }
    }
}

/// The thread's own state.
struct Run {
    committer: Committer,
    queue: Arc<Queue>,
    /// Completions of what was written but not synced yet, in order.
    on_durable: Vec<Box<dyn FnOnce() + Send>>,
    /// Bytes taken from the queue that still count as backlog.
    backlog_bytes: usize,
    /// When something was last written that no later frame vouches for yet.
    written_at: Option<Instant>,
    /// Since when something is written that is not synced.
    unsynced_since: Option<Instant>,
    /// The spare being prepared, or the last one that was.
    preparing: Option<JoinHandle<()>>,
    /// The segment during which that was begun: one attempt for each, also on a full disk.
    prepared_during: Option<u64>,
    looked_for_room: Instant,
}

impl Run {
    fn until_closed(&mut self) -> Result<(), CommitError> {
        let bytes_max = self.committer.options.commit_bytes_max;
        let settle_after = self.committer.options.settle_after;
        let left = |since: Instant| settle_after.saturating_sub(since.elapsed());
        let mut tasks = Vec::new();
        loop {
            let due = [self.written_at, self.unsynced_since].into_iter().flatten().map(left);
            let due = due.chain(self.next_look_for_room()).min();
            let open = self.queue.take(&mut tasks, bytes_max, due);
            if !tasks.is_empty() {
                self.carry_out(&mut tasks)?;
            }
            if !open || self.written_at.is_some_and(|at| left(at).is_zero()) {
                self.committer.settle()?;
                (self.written_at, self.unsynced_since) = (None, None);
                self.completed();
            } else if self.unsynced_since.is_some_and(|since| left(since).is_zero()) {
                self.committer.sync()?;
                self.unsynced_since = None;
                self.completed();
            }
            if !open {
                return Ok(());
            }
            self.prepare_spare();
            if self.next_look_for_room() == Some(Duration::ZERO) {
                self.committer.shared.look_for_room(self.committer.disk.as_ref());
                self.looked_for_room = Instant::now();
                if self.next_look_for_room().is_none() {
                    self.prepared_during = None;
                }
            }
        }
    }

    /// How long until it is time to see whether a full disk has room again; `None` when it is not full.
    fn next_look_for_room(&self) -> Option<Duration> {
        let cramped = self.committer.shared.cramped.load(Ordering::Relaxed) > 0;
        let left = || self.committer.options.full_retry.saturating_sub(self.looked_for_room.elapsed());
        cramped.then(left)
    }

    fn carry_out(&mut self, tasks: &mut Vec<Task>) -> Result<(), CommitError> {
        let mut sync = false;
        for task in tasks.drain(..) {
            match task {
                Task::Write { batch, bytes } => {
                    self.committer.write(&batch.records)?;
                    sync |= batch.sync;
                    self.backlog_bytes += bytes;
                    self.on_durable.extend(batch.on_durable);
                }
                Task::Trim(below) => {
                    self.committer.trim(below)?;
                    self.completed();
                }
                Task::Mark(then) => {
                    self.committer.sync()?;
                    self.completed();
                    then(Lsn(self.committer.end()));
                }
            }
        }
        if sync {
            self.committer.sync()?
        } else {
            self.committer.flush()?
        }
        self.completed();
        let now = Instant::now();
        self.written_at = if self.committer.is_settled() { None } else { Some(now) };
        self.unsynced_since =
            if self.committer.is_synced() { None } else { self.unsynced_since.or(Some(now)) };
        Ok(())
    }

    /// Takes what was written off the backlog, and runs the completions when all that they wait for is synced.
    fn completed(&mut self) {
        let written = std::mem::take(&mut self.backlog_bytes);
        self.committer.shared.backlog_bytes.fetch_sub(written, Ordering::Relaxed);
        if self.committer.is_synced() {
            self.on_durable.drain(..).for_each(|done| done());
        }
    }

    fn prepare_spare(&mut self) {
        let committer = &self.committer;
        if !committer.options.prepare_spares
            || self.prepared_during == Some(committer.header.no)
            || committer.offset < committer.header.bytes / 4
            || !committer.shared.spares.is_empty()
            || self.preparing.as_ref().is_some_and(|thread| !thread.is_finished())
        {
            return;
        }
        self.prepared_during = Some(committer.header.no);
        let bytes = committer.options.segment_bytes;
        let (disk, shared) = (committer.disk.clone(), committer.shared.clone());
        let prepare = move || {
            match shared.spares.prepare(disk.as_ref()) {
                Ok(()) => shared.spares.keep_reserve(disk.as_ref()),
                // While there still is room in the segment that is being written: what is on its way fits there.
                Err(error) if is_full(&error) => shared.warn_of_full_disk(bytes, &error),
                Err(error) => tracing::debug!(%error, "could not prepare a log segment"),
            }
        };
        self.preparing = std::thread::Builder::new().name("log-spare".to_owned()).spawn(prepare).ok();
    }

    fn end(&mut self) {
        self.queue.close();
        if let Some(thread) = self.preparing.take() {
            let _ = thread.join();
        }
    }
}
