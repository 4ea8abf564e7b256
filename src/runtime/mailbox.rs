//! The mailbox of a worker: batches of commands, drained whole, bounded in bytes by those who fill it.

use engine::worker::command::WorkerCommand;
use model::{ids::Lsn, limits, record::Record};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// What a worker finds in its mailbox.
#[derive(Debug)]
pub(crate) enum Mail {
    /// For the state machine.
    Command(WorkerCommand),
    /// Content of the segment being cleaned: append what is still alive.
    Survey(Vec<Record>),
    /// The segment being cleaned was read to its end, here.
    Surveyed(Lsn),
    /// Finish: flush what there is and stop.
    Stop,
}

/// Commands on their way to one worker.
#[derive(Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    bytes: AtomicUsize,
    notify: Notify,
}

impl Mailbox {
    /// Adds a batch (emptying it) that holds about `bytes` of message data. Never waits: whoever can wait asks
    /// [`Mailbox::congested`] before producing more.
    pub(crate) fn push_all(&self, batch: &mut Vec<Mail>, bytes: usize) {
        if batch.is_empty() {
            return;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let was_empty = {
            let mut mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
            let was_empty = mail.is_empty();
            mail.append(batch);
            was_empty
        };
        if was_empty {
            self.notify.notify_one();
        }
    }

    /// Adds one.
    pub(crate) fn push(&self, mail: Mail) {
        self.push_all(&mut vec![mail], 0);
    }

    /// Swaps everything out into `mail`, which must be empty.
    pub(crate) fn swap(&self, mail: &mut Vec<Mail>) {
        let mut inside = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *inside, mail);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Too much waits here: stop reading sockets until it is drained.
    pub(crate) fn congested(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > limits::MAILBOX_BYTES
    }

    /// Resolves when something may be there.
    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }
}
