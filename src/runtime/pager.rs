//! The pager of one worker: a thread that writes, reads and removes page files, so that the worker never waits for them.
//!
//! Owns: the order of that work, and what becomes of its failures. Refuses: deciding what is paged. That is the worker's,
//! which has one page of a queue or shard written at a time, and few of them read: so what waits here is bounded.

use super::mailbox::{Mail, Mailbox};
use engine::worker::{
    command::WorkerCommand,
    effect::{PageIn, PageOut},
};
use model::ids::WorkerId;
use std::collections::VecDeque;
use std::io;
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::{Pages, StoreError};

/// How long writing rests when there was no room, and reading when there was no file descriptor left.
const REST: Duration = Duration::from_millis(500);

/// What to do when going on could lose something silently.
type OnFatal = fn();

/// What is to be done, by kind.
#[derive(Default)]
struct Waiting {
    reads: VecDeque<PageIn>,
    removals: VecDeque<u64>,
    writes: VecDeque<PageOut>,
    /// No writing before.
    rests_until: Option<Instant>,
    closed: bool,
}

enum Job {
    Read(PageIn),
    Remove(u64),
    Write(PageOut),
}

impl Waiting {
    /// The next job. Somebody waits for what is read, and what is removed makes room for what is written. A page that is
    /// to go is not read any more, or its reading was asked for before.
    fn next(&mut self) -> Option<Job> {
        if let Some(read) = self.reads.pop_front() {
            return Some(Job::Read(read));
        }
        if let Some(no) = self.removals.pop_front() {
            return Some(Job::Remove(no));
        }
        if self.rest().is_some() {
            return None;
        }
        self.writes.pop_front().map(Job::Write)
    }

    /// For how long there is no writing.
    fn rest(&self) -> Option<Duration> {
        let left = self.rests_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// Where jobs wait.
#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    full: AtomicBool,
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job; `None` once it is closed and nothing is left to be removed.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting();
        loop {
            if let Some(job) = waiting.next() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            let rest = waiting.rest().filter(|_| !waiting.writes.is_empty());
            waiting = match rest {
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(rest) => {
                    self.changed.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// The way to the thread.
pub(crate) struct Pager {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Pager {
    /// Starts the thread; answers go to `mailbox`. Errors: the system gives no thread.
    pub(crate) fn start(worker: WorkerId, pages: Pages, mailbox: Arc<Mailbox>) -> io::Result<Self> {
        Self::start_with(worker, pages, mailbox, || std::process::abort())
    }

    /// As `start`, with something else to do than ending the process when a page is lost.
    fn start_with(
        worker: WorkerId,
        pages: Pages,
        mailbox: Arc<Mailbox>,
        on_fatal: OnFatal,
    ) -> io::Result<Self> {
        let desk = Arc::<Desk>::default();
        let run = Run { desk: desk.clone(), pages, mailbox, on_fatal };
        let thread = std::thread::Builder::new().name(format!("pager-{:02}", worker.0)).spawn(move || {
            let _guard = PanicGuard(on_fatal);
            run.until_closed();
        })?;
        Ok(Self { desk, thread: Mutex::new(Some(thread)) })
    }

    /// Takes what a turn of the worker wants written and read.
    pub(crate) fn carry_out(&self, writes: &mut Vec<PageOut>, reads: &mut Vec<PageIn>) {
        if writes.is_empty() && reads.is_empty() {
            return;
        }
        let mut waiting = self.desk.waiting();
        waiting.writes.extend(writes.drain(..));
        waiting.reads.extend(reads.drain(..));
        drop(waiting);
        self.desk.changed.notify_one();
    }

    /// Removes the files of these pages. Whatever said that nobody needs them is durable.
    pub(crate) fn remove(&self, pages: Vec<u64>) {
        if pages.is_empty() {
            return;
        }
        self.desk.waiting().removals.extend(pages);
        self.desk.changed.notify_one();
    }

    /// The last page did not fit on the disk.
    pub(crate) fn disk_full(&self) -> bool {
        self.desk.full.load(Ordering::Relaxed)
    }

    /// Removes what is to be removed, gives up what else waits, and ends the thread.
    pub(crate) fn close(&self) {
        let mut waiting = self.desk.waiting();
        waiting.closed = true;
        waiting.reads.clear();
        waiting.writes.clear();
        drop(waiting);
        self.desk.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.close();
    }
}

/// A queue must not wait for ever for a page that nobody reads any more.
struct PanicGuard(OnFatal);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the pager's thread panicked: the broker stops here");
            (self.0)();
        }
    }
}

/// The thread's own state.
struct Run {
    desk: Arc<Desk>,
    pages: Pages,
    mailbox: Arc<Mailbox>,
    on_fatal: OnFatal,
}

impl Run {
    fn until_closed(&self) {
        while let Some(job) = self.desk.next() {
            let done = match job {
                Job::Read(read) => self.read(read),
                Job::Remove(no) => {
                    self.pages.remove(no);
                    self.desk.waiting().rests_until = None;
                    Ok(())
                }
                Job::Write(write) => self.write(write),
            };
            if let Err(error) = done {
                tracing::error!(
                    %error,
                    "a page of messages could not be written or read: the broker stops here rather than to go on \
                     without them"
                );
                (self.on_fatal)();
                return;
            }
        }
    }

    fn write(&self, write: PageOut) -> Result<(), StoreError> {
        let PageOut { queue, shard, first, records } = write;
        let file = match self.pages.write(&records) {
            Ok(file) => Some(file),
            Err(error) if passes(&error) => {
                self.desk.waiting().rests_until = Some(Instant::now() + REST);
                if !self.desk.full.load(Ordering::Relaxed) {
                    tracing::warn!(%error, "messages stay in memory until there is room for a page of them");
                }
                None
            }
            Err(error) => return Err(error),
        };
        self.desk.full.store(file.is_none(), Ordering::Relaxed);
        self.answer(WorkerCommand::PagedOut { queue, shard, first, file });
        Ok(())
    }

    fn read(&self, read: PageIn) -> Result<(), StoreError> {
        let PageIn { queue, shard, page } = read;
        match self.pages.read(&page) {
            Ok(records) => self.answer(WorkerCommand::PagedIn { queue, shard, page: page.no, records }),
            Err(error) if passes(&error) => {
                tracing::warn!(%error, "a page can not be read yet");
                std::thread::sleep(REST);
                let mut waiting = self.desk.waiting();
                if !waiting.closed {
                    waiting.reads.push_front(read);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn answer(&self, command: WorkerCommand) {
        self.mailbox.push(Mail::Command(command));
    }
}

/// The system lacks something now that it may have later: room on the disk, or a file descriptor.
fn passes(error: &StoreError) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let StoreError::Io { source, .. } = error else { return false };
    error.is_full() || matches!(source.raw_os_error(), Some(ENFILE | EMFILE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::registry::codec;
    use model::{
        Name,
        ids::QueueId,
        message::{Body, Message},
        record::{Page, Record, Target},
    };
    use std::path::{Path, PathBuf};
    use std::sync::atomic::AtomicU32;
    use store::disk::SimDisk;

    const QUEUE: QueueId = QueueId(7);

    fn dir() -> PathBuf {
        PathBuf::from("/data/worker-00/pages")
    }

    fn page_out(first: u64) -> PageOut {
        let native = aws_protocol::native::encode(0, &[0; 16], |_| {});
        let body = Body::from(bytes::Bytes::from_static(b"body"));
        let message = Arc::new(Message::new(Name::new(), Name::new(), native, body, 1));
        let targets = vec![Target { queue: QUEUE, seq: first, via: 0 }];
        PageOut { queue: QUEUE, shard: 0, first, records: vec![Record::Enqueue { message, targets }] }
    }

    fn page_in(first: u64, (no, file_bytes): (u64, u64)) -> PageIn {
        let page =
            Page { no, file_bytes, first, count: 1, body_bytes: 4, cost_bytes: 4, first_ms: 1, last_ms: 1 };
        PageIn { queue: QUEUE, shard: 0, page }
    }

    struct Rig {
        disk: SimDisk,
        mailbox: Arc<Mailbox>,
        pager: Pager,
    }

    impl Rig {
        fn new(on_fatal: OnFatal) -> Self {
            let (disk, mailbox) = (SimDisk::new(1), Arc::<Mailbox>::default());
            let pages = Pages::open(&dir(), Arc::new(disk.clone()), Arc::new(codec)).unwrap();
            let pager = Pager::start_with(WorkerId(0), pages, mailbox.clone(), on_fatal).unwrap();
            Self { disk, mailbox, pager }
        }

        fn answer(&self) -> WorkerCommand {
            let mut mail = Vec::new();
            for _ in 0..10_000 {
                self.mailbox.swap(&mut mail);
                if let Some(Mail::Command(command)) = mail.pop() {
                    assert!(mail.is_empty());
                    return command;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            panic!("no answer");
        }

        fn write(&self, first: u64) -> Option<(u64, u64)> {
            self.pager.carry_out(&mut vec![page_out(first)], &mut Vec::new());
            match self.answer() {
                WorkerCommand::PagedOut { queue: QUEUE, shard: 0, first: of, file } if of == first => file,
                other => panic!("{other:?}"),
            }
        }

        fn files(&self) -> usize {
            use store::disk::Disk;
            self.disk.list(&dir()).unwrap().len()
        }
    }

    fn never() {
        panic!("nothing was lost");
    }

    #[test]
    fn a_page_goes_out_and_comes_back_and_is_removed() {
        let rig = Rig::new(never);
        let file = rig.write(5).unwrap();
        rig.pager.carry_out(&mut Vec::new(), &mut vec![page_in(5, file)]);
        let WorkerCommand::PagedIn { queue: QUEUE, shard: 0, page, records } = rig.answer() else { panic!() };
        assert_eq!((page, records.len()), (file.0, 1));
        rig.pager.remove(vec![file.0]);
        rig.pager.close();
        assert_eq!(rig.files(), 0);
    }

    #[test]
    fn a_full_disk_is_an_answer_and_passes() {
        let rig = Rig::new(never);
        let first = rig.write(1).unwrap();
        rig.disk.set_full(true);
        assert_eq!(rig.write(2), None);
        assert!(rig.pager.disk_full());
        rig.disk.set_full(false);
        // Removing makes room, so that the next attempt need not wait.
        rig.pager.remove(vec![first.0]);
        assert!(rig.write(2).is_some());
        assert!(!rig.pager.disk_full());
        assert_eq!(rig.files(), 1);
    }

    #[test]
    fn a_damaged_page_is_the_end() {
        static LOST: AtomicU32 = AtomicU32::new(0);
        let rig = Rig::new(|| {
            LOST.fetch_add(1, Ordering::Relaxed);
        });
        let file = rig.write(1).unwrap();
        let path = dir().join(format!("{:016x}.page", file.0));
        rig.disk.flip(Path::new(&path), 4096 + 20, 3);
        rig.pager.carry_out(&mut Vec::new(), &mut vec![page_in(1, file)]);
        let thread = rig.pager.thread.lock().unwrap().take().unwrap();
        thread.join().unwrap();
        assert_eq!(LOST.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_somebody_waits_for_comes_first() {
        let mut waiting = Waiting::default();
        waiting.writes.push_back(page_out(1));
        waiting.removals.push_back(3);
        waiting.reads.push_back(page_in(2, (2, 2)));
        assert!(matches!(waiting.next(), Some(Job::Read(_))));
        waiting.rests_until = Some(Instant::now() + Duration::from_secs(3600));
        assert!(matches!(waiting.next(), Some(Job::Remove(3))));
        assert!(waiting.next().is_none(), "the disk was full a moment ago");
        waiting.rests_until = None;
        assert!(matches!(waiting.next(), Some(Job::Write(_))));
    }
}
