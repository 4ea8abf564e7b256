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
    /// A stretch of a queue's messages, or of a stream shard's records, lies in a page file from now on. What the log
    /// holds of them is not needed any more.
    Page {
        /// Queue or stream.
        queue: QueueId,
        /// Shard; 0 for a queue.
        shard: u32,
        /// Where they are.
        page: Page,
    },
    /// Messages were taken under a deadline, or their deadline was moved; 0 gives them back.
    Lease {
        /// Queue.
        queue: QueueId,
        /// Until when, wall time.
        until_ms: Millis,
        /// Number, and how often it was handed out.
        taken: Vec<(u64, u32)>,
    },
    /// A queue as it stands, in a snapshot.
    Queue(Box<QueueState>),
    /// A stream shard as it stands, in a snapshot.
    Shard(Box<ShardState>),
}

/// A file that holds a stretch of messages outside of the log, as `Enqueue` or `Append` records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Number of the file, unique among those of a worker.
    pub no: u64,
    /// Its length.
    pub file_bytes: u64,
    /// Number or offset of the first message; the others follow without a gap.
    pub first: u64,
    /// Messages.
    pub count: u32,
    /// Length of their bodies together.
    pub body_bytes: u64,
    /// [`Message::cost_bytes`] of them together.
    pub cost_bytes: u64,
    /// When the first one was taken in.
    pub first_ms: Millis,
    /// When the last one was taken in.
    pub last_ms: Millis,
}

impl Page {
    /// Number or offset behind the last message.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }
}

/// First and last number of a run, both in it.
pub type Span = (u64, u64);

/// What the records about a queue add up to, but for the messages themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// The queue.
    pub queue: QueueId,
    /// Number that the next message gets.
    pub next: u64,
    /// Live messages whose content is in the log, ascending.
    pub live: Vec<Span>,
    /// Failed deliveries of those that have any, by number.
    pub failures: Vec<(u64, u32)>,
    /// Its pages, ascending, each with what in it is settled.
    pub pages: Vec<(Page, Vec<Span>)>,
    /// Number, deadline and deliveries of what is taken under a deadline.
    pub leases: Vec<(u64, Millis, u32)>,
    /// Deduplication ids, the oldest first.
    pub dedup: Vec<DedupId>,
}

/// A deduplication id that a queue remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DedupId {
    /// Message group; empty when the scope is the queue.
    pub group: Name,
    /// The id.
    pub id: Name,
    /// Until when it counts.
    pub until_ms: Millis,
    /// [`crate::message::PropertyCodec::identity`] of the message that had it.
    pub identity: Bytes,
}

/// What the records about a stream shard add up to, but for those whose content is in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardState {
    /// The stream.
    pub stream: QueueId,
    /// Which of its shards.
    pub shard: u32,
    /// First offset kept.
    pub first: u64,
    /// Offset that the next record gets.
    pub next: u64,
    /// Records whose content is in the log, ascending. One run, but in a log that was repaired.
    pub live: Vec<Span>,
    /// Its pages, ascending.
    pub pages: Vec<Page>,
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
