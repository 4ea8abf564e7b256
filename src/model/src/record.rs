//! What is written to a worker's log, as data. How it lies on the disk is the store's business.
//!
//! State is a deterministic fold over these records: nothing durable exists outside them.

use crate::{Millis, Name, ids::QueueId, message::Message};
use bytes::Bytes;
use std::sync::Arc;

/// One log record.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message entered these queues: body once, targets inline, so that a fan-out is one atomic record.
    Enqueue {
        /// The message.
        message: Arc<Message>,
        /// Queue, number within it, subscription.
        targets: Vec<Target>,
    },
    /// Messages of one queue are gone (settled, expired, dropped, dead-lettered).
    Settle {
        /// Queue.
        queue: QueueId,
        /// Their numbers, ascending.
        seqs: Vec<u64>,
    },
    /// Messages up to and including a number are gone (purge).
    Purge {
        /// Queue.
        queue: QueueId,
        /// Last number purged.
        through: u64,
    },
    /// Delivery count of a message that came back.
    Count {
        /// Queue.
        queue: QueueId,
        /// Number.
        seq: u64,
        /// Deliveries so far.
        deliveries: u32,
    },
    /// A queue exists no more, nor do its messages.
    DropQueue(QueueId),
    /// Records entered a stream shard at consecutive offsets.
    Append {
        /// Stream.
        stream: QueueId,
        /// Shard.
        shard: u32,
        /// Offset of the first.
        first_offset: u64,
        /// When.
        at_ms: Millis,
        /// The records.
        messages: Vec<Arc<Message>>,
    },
    /// Oldest offset kept of a shard moved up (retention).
    Trim {
        /// Stream.
        stream: QueueId,
        /// Shard.
        shard: u32,
        /// First offset kept.
        first_offset: u64,
    },
    /// A topic's retained message was set, or cleared.
    Retain {
        /// Vhost.
        vhost: Name,
        /// Topic in core form.
        topic: Name,
        /// The message, or none.
        message: Option<Arc<Message>>,
    },
    /// A definition (queue, exchange, binding, session, user ...) was set, or removed.
    Define {
        /// What kind of thing, a short stable word.
        kind: Name,
        /// Its key within the kind.
        key: Name,
        /// Its JSON, or none.
        value: Option<Bytes>,
    },
}

/// Where a message landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Queue.
    pub queue: QueueId,
    /// Number within the queue.
    pub seq: u64,
    /// Subscription that matched.
    pub via: u32,
}
