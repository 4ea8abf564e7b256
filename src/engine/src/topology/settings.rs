//! A queue's settings, typed, after validation of its arguments.

use model::Name;

/// Which engine holds it, and what it may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    /// RabbitMQ's classic.
    #[default]
    Classic,
    /// RabbitMQ's quorum: durable, with a delivery limit.
    Quorum,
    /// An ordered, retained, replayable log of shards.
    Stream,
}

/// What happens to a message too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest goes (dead-lettered as `maxlen`).
    #[default]
    DropHead,
    /// The new one is refused: negative confirm.
    RejectPublish,
    /// The new one is refused and dead-lettered.
    RejectPublishDeadLetter,
}

/// When a publish is confirmed that goes to something durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on the disk.
    #[default]
    Always,
    /// Once it is on its way to the log, which is synced in intervals: a crash loses what was confirmed since.
    Interval,
}

/// Settings of a queue or stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueSettings {
    /// Kind.
    pub kind: QueueKind,
    /// Survives a restart.
    pub durable: bool,
    /// When it counts as safe; `None` is as the broker says.
    pub durability: Option<Durability>,
    /// One connection's own.
    pub exclusive: bool,
    /// Ends with its last consumer.
    pub auto_delete: bool,
    /// Time to live of every message.
    pub message_ttl_ms: Option<u64>,
    /// Ends after this time without consumers, gets and declarations.
    pub expires_ms: Option<u64>,
    /// Most ready messages.
    pub max_length: Option<u64>,
    /// Most ready bytes of bodies.
    pub max_length_bytes: Option<u64>,
    /// When one of them is reached.
    pub overflow: Overflow,
    /// Where dead letters go.
    pub dead_letter_exchange: Option<Name>,
    /// Under which key, else their own.
    pub dead_letter_key: Option<Name>,
    /// Priorities 0..=max; `None` is plain FIFO.
    pub max_priority: Option<u8>,
    /// One consumer at a time.
    pub single_active_consumer: bool,
    /// Failed deliveries after which a message is dead-lettered; `None` for no limit.
    pub delivery_limit: Option<u32>,
    /// Delay of every message that asks for none itself.
    pub delay_ms: u64,
    /// Deadline of a lease taken by receive.
    pub lease_ms: u64,
    /// How long a receive waits when it does not say.
    pub wait_ms: u64,
    /// Message groups in strict order, five-minute deduplication by dedup id.
    pub fifo: bool,
    /// The deduplication window is per group.
    pub dedup_per_group: bool,
    /// Shards of a stream.
    pub shards: u32,
    /// Age after which records of a stream go.
    pub max_age_ms: Option<u64>,
}
