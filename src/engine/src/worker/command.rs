//! What a worker can be told. Names are resolved already: queues come as ids that belong to this worker.

use crate::topology::settings::QueueSettings;
use bytes::Bytes;
use model::{
    Millis, Name,
    command::{Consume, StreamPosition},
    delivery::{Lease, Outcome},
    ids::{ConfirmToken, ConnectionId, ConsumerId, QueueId, RequestId},
    message::Message,
    record::Record,
};
use smallvec::SmallVec;
use std::sync::Arc;

/// Whom to answer, and under which number. Connections, AWS requests and the topology task all have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    /// Who.
    pub connection: ConnectionId,
    /// Which of its requests.
    pub request: RequestId,
}

/// Queues of one worker that a message goes to, with the subscription that matched.
pub type Targets = SmallVec<[(QueueId, u32); 2]>;

/// One command to a worker.
#[derive(Clone, Debug)]
pub enum WorkerCommand {
    /// Enqueue a message. Confirmed once all of `targets` have it (durably where that applies). Targets that are
    /// gone by now count as served. A target that is a stream appends, sharded by the Kinesis rule.
    Publish {
        /// The message.
        message: Arc<Message>,
        /// Where to.
        targets: Targets,
        /// Whom to confirm to.
        confirm: Option<(ConnectionId, ConfirmToken)>,
    },
    /// End a lease held by a consumer or a get. Unknown leases are ignored.
    Settle {
        /// Holder.
        connection: ConnectionId,
        /// Consumer that gets its credit back; `ConsumerId(0)` for a get.
        consumer: ConsumerId,
        /// The lease.
        lease: Lease,
        /// How it ends.
        outcome: Outcome,
    },
    /// Begin to consume. -> `Done`
    Consume {
        /// Whom to answer and to deliver to.
        asker: Asker,
        /// The queue or stream.
        queue: QueueId,
        /// The wish (its queue name is for texts only).
        consume: Consume,
    },
    /// Stop consuming; leases stay. -> `Done`
    Cancel {
        /// Whom to answer; its connection owns the consumer.
        asker: Asker,
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Set the shared lease limit of a connection's group. No reply.
    GroupCredit {
        /// Connection.
        connection: ConnectionId,
        /// Group.
        group: u16,
        /// Limit.
        credit: u32,
    },
    /// -> `Got`
    Get {
        /// Whom to answer; its connection holds the lease.
        asker: Asker,
        /// Queue.
        queue: QueueId,
        /// Settle at once.
        auto_ack: bool,
    },
    /// Deadline leases. -> `Received`, at once or when something comes or `wait_ms` is over.
    Receive {
        /// Whom to answer. The leases do not end with its connection.
        asker: Asker,
        /// Queue.
        queue: QueueId,
        /// At most.
        max: u32,
        /// Lease; `None` is the queue's.
        lease_ms: Option<u64>,
        /// Wait; `None` is the queue's.
        wait_ms: Option<u64>,
    },
    /// Settle a deadline lease by handle. -> `Done` or `Failed`
    Delete {
        /// Whom to answer.
        asker: Asker,
        /// Lease.
        lease: Lease,
        /// Delivery number of the handle.
        generation: u32,
    },
    /// Move a deadline. -> `Done` or `Failed`
    Hide {
        /// Whom to answer.
        asker: Asker,
        /// Lease.
        lease: Lease,
        /// Delivery number of the handle.
        generation: u32,
        /// From now.
        lease_ms: u64,
    },
    /// -> `Status`
    Status {
        /// Whom to answer.
        asker: Asker,
        /// Queue.
        queue: QueueId,
    },
    /// -> `Duplicate`
    FindDuplicate {
        /// Whom to answer.
        asker: Asker,
        /// Queue.
        queue: QueueId,
        /// Message group, where it counts.
        group: Name,
        /// Deduplication id.
        id: Name,
    },
    /// Does not count as use of the queues. -> `Statuses` of those that are there
    Statuses {
        /// Whom to answer.
        asker: Asker,
        /// Queues and streams.
        queues: Vec<QueueId>,
    },
    /// -> `Count`
    Purge {
        /// Whom to answer.
        asker: Asker,
        /// Queue.
        queue: QueueId,
    },
    /// A queue or stream begins to exist. No reply; it exists for every later command.
    CreateQueue {
        /// Id.
        queue: QueueId,
        /// Vhost, for dead-lettering and texts.
        vhost: Name,
        /// Name.
        name: Name,
        /// Settings.
        settings: Arc<QueueSettings>,
    },
    /// Settings changed. No reply.
    AlterQueue {
        /// Id.
        queue: QueueId,
        /// New settings.
        settings: Arc<QueueSettings>,
    },
    /// The queue is gone from the topology; forget it, cancel its consumers. -> `Count` of ready messages, when
    /// somebody asked.
    DeleteQueue {
        /// Whom to answer.
        asker: Option<Asker>,
        /// Queue.
        queue: QueueId,
    },
    /// -> `Appended`, durable streams after the disk has it
    Append {
        /// Whom to answer.
        asker: Asker,
        /// Stream.
        stream: QueueId,
        /// Records.
        messages: Vec<Arc<Message>>,
    },
    /// -> `Records`
    Read {
        /// Whom to answer.
        asker: Asker,
        /// Stream.
        stream: QueueId,
        /// Shard.
        shard: u32,
        /// Where to begin.
        from: StreamPosition,
        /// At most records.
        max: u32,
        /// At most body bytes, one record at least.
        max_bytes: usize,
    },
    /// Set (or with `None` clear) a retained message; confirmed once safe.
    Retain {
        /// Vhost.
        vhost: Name,
        /// Topic in core form.
        topic: Name,
        /// The message.
        message: Option<Arc<Message>>,
        /// Whom to confirm to.
        confirm: Option<(ConnectionId, ConfirmToken)>,
    },
    /// Retained messages matching a filter in core form. -> `Subscribed` with only `retained` filled
    Retained {
        /// Whom to answer.
        asker: Asker,
        /// Vhost.
        vhost: Name,
        /// Filter: `*` one word, `#` zero or more; leading wildcards do not match topics that begin with `$`.
        filter: Name,
    },
    /// Write a definition to the log. -> `Done` once durable, when somebody asked.
    Define {
        /// Whom to answer.
        asker: Option<Asker>,
        /// Kind.
        kind: Name,
        /// Key.
        key: Name,
        /// JSON or removal.
        value: Option<Bytes>,
    },
    /// An [`super::effect::PageOut`] was carried out.
    PagedOut {
        /// Queue or stream.
        queue: QueueId,
        /// Shard; 0 for a queue.
        shard: u32,
        /// Number or offset of the first message.
        first: u64,
        /// Number and length of the synced file; `None` when it could not be written.
        file: Option<(u64, u64)>,
    },
    /// An [`super::effect::PageIn`] was carried out.
    PagedIn {
        /// Queue or stream.
        queue: QueueId,
        /// Shard; 0 for a queue.
        shard: u32,
        /// Number of the page.
        page: u64,
        /// Its records.
        records: Vec<Record>,
    },
    /// The connection wrote so many of the delivered bytes ([`Message::cost_bytes`]) to its socket: window opens.
    Drained {
        /// Connection.
        connection: ConnectionId,
        /// Bytes.
        bytes: u64,
    },
    /// The connection is over: cancel its consumers, return its leases in order, drop its waiting receives.
    Disconnect {
        /// Connection.
        connection: ConnectionId,
        /// Time it ended.
        at: Millis,
    },
}
