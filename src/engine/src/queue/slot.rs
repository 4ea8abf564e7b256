//! One message in one queue, and what is happening to it.

use model::{Millis, message::Message};
use std::sync::Arc;

/// Stands for "never" where a time is expected.
pub(crate) const NEVER: Millis = Millis::MAX;

/// ```text
///           +--------> Delayed --(due)---+
///           |                            v
/// enqueue --+--------------------------> Ready --(take)--> Leased | Timed --(ack)--> gone
///                                        | ^                 |  |
///                                        | +----(requeue)----+  |
///                                        +--(expired, maxlen)---+--(reject, limit)--> Dying --(safe)--> gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Deliverable.
    Ready,
    /// Not deliverable before a time.
    Delayed(Millis),
    /// Held by the holder of this number until it settles or leaves.
    Leased(u32),
    /// Held by whoever has the handle, until a time.
    Timed(Millis),
    /// On its way to the dead-letter exchange.
    Dying,
}

/// One message in one queue. 56 bytes beside the shared message.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) message: Arc<Message>,
    /// Absolute; [`NEVER`] when it does not expire.
    pub(crate) expires_ms: Millis,
    /// 0 before the first delivery.
    pub(crate) first_delivery_ms: Millis,
    pub(crate) state: State,
    /// Subscription that matched.
    pub(crate) via: u32,
    /// Times handed out.
    pub(crate) deliveries: u32,
    /// This queue's share of the bytes that the message takes in the log; 0 when it is not there.
    pub(crate) log_bytes: u32,
    /// Times that it came back as failed, saturating.
    pub(crate) failures: u16,
    pub(crate) redelivered: bool,
    /// Its end must be written to the log.
    pub(crate) logged: bool,
    /// Its content is in a page, the log does not need it.
    pub(crate) paged: bool,
    /// How often it was handed out as far as the log knows.
    pub(crate) told: u32,
}

impl Slot {
    /// A ready message, never handed out.
    pub(crate) fn new(message: Arc<Message>, via: u32, expires_ms: Millis) -> Self {
        Self {
            message,
            expires_ms,
            first_delivery_ms: 0,
            state: State::Ready,
            via,
            deliveries: 0,
            log_bytes: 0,
            failures: 0,
            redelivered: false,
            logged: false,
            paged: false,
            told: 0,
        }
    }

    /// What it takes of the memory.
    pub(crate) fn cost(&self) -> u64 {
        self.message.cost_bytes() as u64
    }

    /// What it takes of the queue's `x-max-length-bytes`: its body, as in RabbitMQ.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.message.body.len() as u64
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Everything that there is to say about it is in its record.
    pub(crate) fn is_untouched(&self) -> bool {
        self.logged && self.is_ready() && self.deliveries == 0
    }
}

/// When a message entered the queue that it is in, as far as it tells itself: what replay goes by.
pub(crate) fn entered_ms(message: &Message) -> Millis {
    let died = message.extra.as_ref().and_then(|extra| extra.deaths.first()).map_or(0, |death| death.time_ms);
    message.published_ms.max(died)
}
