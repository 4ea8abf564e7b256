//! What a worker hands to a consumer, and how a consumer answers.

use crate::{
    Millis,
    ids::{ConfirmToken, ConnectionId, ConsumerId, QueueId},
    message::Message,
};
use std::sync::Arc;

/// A message taken but not settled. Who holds it settles it once; the owner is `queue.worker()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// The queue it was taken from.
    pub queue: QueueId,
    /// Its number within the queue, in queue order, never reused.
    pub seq: u64,
}

/// Set in [`Delivery::via`] of a message that is in a session's queue because it was retained when the session
/// subscribed; the other bits are the subscription's number.
pub const VIA_RETAINED: u32 = 1 << 31;

/// One message on its way to one consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The consumer, in the session's own numbering; for a get or receive reply it is `ConsumerId(0)`.
    pub consumer: ConsumerId,
    /// Which subscription of the consumer matched, as given in the binding; 0 where that does not matter.
    pub via: u32,
    /// The message.
    pub message: Arc<Message>,
    /// What to settle; `None` for auto-ack consumers and direct delivery.
    pub lease: Option<Lease>,
    /// Handed out before and came back.
    pub redelivered: bool,
    /// How often it was handed out before this time.
    pub earlier_deliveries: u32,
    /// When it was first handed out (SQS ApproximateFirstReceiveTimestamp); 0 where not tracked.
    pub first_delivery_ms: Millis,
    /// Offset within a stream.
    pub offset: Option<u64>,
}

/// How a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done with; the message is gone.
    Ack,
    /// Back to its place; counts as a failed delivery when `failed`.
    Requeue {
        /// Counts towards the delivery limit.
        failed: bool,
    },
    /// Dead-lettered where the queue says so, else dropped.
    Reject,
    /// Back after this many milliseconds from now (SQS ChangeMessageVisibility, 0 is at once).
    HideFor(u64),
}

/// The end of a publish that asked for a confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// What the session gave with the publish.
    pub token: ConfirmToken,
    /// False when a destination refused it (length limit with reject-publish).
    pub accepted: bool,
}

/// A destination that takes messages straight from the publisher's task: no queue, no lease, dropped when full.
/// Implemented by the runtime's outbox.
pub trait DirectSink: Send + Sync {
    /// The connection behind it now, 0 when nobody is there.
    fn connection(&self) -> ConnectionId;

    /// Takes a run of messages for subscription `via` of `consumer`. Over its limit it drops and counts.
    fn offer(&self, consumer: ConsumerId, via: u32, messages: &[Arc<Message>]);
}
