//! The outbox of a connection: what workers, publishers and the log writer have for it, swapped out whole.
//!
//! Owns: the order of events per connection, the one wake per batch, the bound on directly delivered bytes.
//! Refuses: formatting, sockets. Leased and confirmed traffic is bounded elsewhere (credit, connection window).

use crate::runtime::presence::ConnectionStatus;
use model::{
    command::{Reply, Signal},
    delivery::{Confirm, Delivery, DirectSink},
    ids::{ConnectionId, ConsumerId, RequestId, WorkerId},
    limits,
    message::Message,
};
use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::{Notify, oneshot};

/// Something for a session.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message for a consumer.
    Delivery(Delivery),
    /// The end of a publish.
    Confirm(Confirm),
    /// The answer to an op.
    Reply(RequestId, Box<Reply>),
    /// News.
    Signal(Signal),
    /// So many bytes of the deliveries before count against this worker's window.
    Window(WorkerId, u64),
    /// An operator asks how the connection is.
    Inspect(oneshot::Sender<ConnectionStatus>),
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    direct_bytes: usize,
}

/// Mail for one connection.
#[derive(Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    notify: Notify,
    urgent: Notify,
    dropped: AtomicU64,
}

impl Outbox {
    /// Adds what is in `events` (emptying it) and wakes the connection once.
    pub(crate) fn push_all(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let was_empty = {
            let mut inner = self.lock();
            let was_empty = inner.events.is_empty();
            inner.events.append(events);
            was_empty
        };
        if was_empty {
            self.notify.notify_one();
        }
    }

    /// Adds one event.
    pub(crate) fn push(&self, event: Event) {
        self.push_all(&mut vec![event]);
    }

    /// Adds one event that the connection is to see even while its peer reads nothing.
    pub(crate) fn push_urgent(&self, event: Event) {
        self.push(event);
        self.urgent.notify_one();
    }

    /// Swaps everything out into `events`, which must be empty.
    pub(crate) fn swap(&self, events: &mut Vec<Event>) {
        let mut inner = self.lock();
        std::mem::swap(&mut inner.events, events);
        inner.direct_bytes = 0;
    }

    /// Gives back the room that mail took, while there is none.
    pub(crate) fn give_back(&self) {
        let mut inner = self.lock();
        if inner.events.is_empty() {
            inner.events = Vec::new();
        }
    }

    /// Has the connection look around although nothing is there.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Resolves when something may be there.
    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Resolves when something urgent may be there. Does not use up what [`Outbox::notified`] waits for.
    pub(crate) async fn notified_urgently(&self) {
        self.urgent.notified().await;
    }

    /// Directly delivered messages dropped because the connection did not keep up.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn offer(&self, consumer: ConsumerId, via: u32, messages: &[Arc<Message>]) {
        let was_empty = {
            let mut inner = self.lock();
            let was_empty = inner.events.is_empty();
            for message in messages {
                if inner.direct_bytes > limits::DIRECT_OUTBOX_BYTES {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                inner.direct_bytes += message.cost_bytes();
                inner.events.push(Event::Delivery(Delivery {
                    consumer,
                    via,
                    message: message.clone(),
                    lease: None,
                    redelivered: false,
                    earlier_deliveries: 0,
                    first_delivery_ms: 0,
                    offset: None,
                }));
            }
            was_empty && !inner.events.is_empty()
        };
        if was_empty {
            self.notify.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while holding this lock leaves a plain vector behind: nothing to protect against.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where direct deliveries of an MQTT-style session go: to its connection while it has one.
#[derive(Default)]
pub(crate) struct SubscriberSlot {
    current: RwLock<Option<(ConnectionId, Arc<Outbox>)>>,
}

impl SubscriberSlot {
    /// Attaches a connection, or with `None` detaches the one there was.
    pub(crate) fn attach(&self, connection: Option<(ConnectionId, Arc<Outbox>)>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}

impl DirectSink for SubscriberSlot {
    fn connection(&self) -> ConnectionId {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map_or(ConnectionId(0), |(connection, _)| *connection)
    }

    fn offer(&self, consumer: ConsumerId, via: u32, messages: &[Arc<Message>]) {
        // Cloned out: no lock is held over a call that takes another.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, outbox)) = current {
            outbox.offer(consumer, via, messages);
        }
    }
}
