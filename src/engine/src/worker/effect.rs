//! What a worker wants done. Collected over a turn, carried out by the runtime in one go.

use super::command::Asker;
use model::{
    Name,
    command::{Reply, Signal},
    delivery::{Confirm, Delivery, Lease},
    ids::{ConnectionId, QueueId},
    message::Message,
    record::{Page, Record},
};
use std::sync::Arc;

/// A message that leaves a queue for its dead-letter exchange. Its lease stays held by the queue until the runtime
/// says `Settle { connection: ConnectionId(0), outcome: Ack }` for it, which it does once every target has it
/// (or there is none); so a crash between leaves it in the source.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Vhost.
    pub vhost: Name,
    /// The message as it is to be published: exchange, key and death history set.
    pub message: Arc<Message>,
    /// What to settle afterwards.
    pub lease: Lease,
}

/// Messages that are to be moved out of memory and log into a page file. Answered with
/// [`super::command::WorkerCommand::PagedOut`]; until then they stay where they are.
#[derive(Clone, Debug)]
pub struct PageOut {
    /// Queue or stream.
    pub queue: QueueId,
    /// Shard; 0 for a queue.
    pub shard: u32,
    /// Number or offset of the first one.
    pub first: u64,
    /// What to write: `Enqueue` or `Append` records without a gap in their numbers.
    pub records: Vec<Record>,
}

/// A page that is wanted in memory. Answered with [`super::command::WorkerCommand::PagedIn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageIn {
    /// Queue or stream.
    pub queue: QueueId,
    /// Shard; 0 for a queue.
    pub shard: u32,
    /// The page.
    pub page: Page,
}

/// Everything that came of a turn. `records` go to the log first; what is marked durable waits for them.
#[derive(Debug, Default)]
pub struct Effects {
    /// For the log, in order.
    pub records: Vec<Record>,
    /// For connections' outboxes, in order per connection.
    pub deliveries: Vec<(ConnectionId, Delivery)>,
    /// Answers that may go at once.
    pub replies: Vec<(Asker, Reply)>,
    /// Answers that wait until the records of this turn are durable.
    pub durable_replies: Vec<(Asker, Reply)>,
    /// Confirms that may go at once.
    pub confirms: Vec<(ConnectionId, Confirm)>,
    /// Confirms that wait until the records of this turn are durable.
    pub durable_confirms: Vec<(ConnectionId, Confirm)>,
    /// News for connections.
    pub signals: Vec<(ConnectionId, Signal)>,
    /// To be routed.
    pub dead_letters: Vec<DeadLetter>,
    /// Queues that ended themselves (auto-delete, expiry): still there, the topology is to delete them.
    pub ended: Vec<QueueId>,
    /// To be written to page files.
    pub page_outs: Vec<PageOut>,
    /// To be read from page files.
    pub page_ins: Vec<PageIn>,
    /// Numbers of page files that nothing needs any more once the records of this turn are durable.
    pub dead_pages: Vec<u64>,
}

impl Effects {
    /// Empties everything, keeping capacity.
    pub fn clear(&mut self) {
        self.records.clear();
        self.deliveries.clear();
        self.replies.clear();
        self.durable_replies.clear();
        self.confirms.clear();
        self.durable_confirms.clear();
        self.signals.clear();
        self.dead_letters.clear();
        self.ended.clear();
        self.page_outs.clear();
        self.page_ins.clear();
        self.dead_pages.clear();
    }
}
