//! What one worker may hold and do at most. An operator's configuration starts from the defaults.

use model::limits;

/// Limits of one worker. Every field is a maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Bytes ([`model::message::Message::cost_bytes`]) handed to one connection before it says that it wrote them.
    pub window_bytes: u64,
    /// Messages handed out in one [`super::Worker::pump`].
    pub pump_messages: usize,
    /// Messages handed out from one queue before the next queue has its turn.
    pub pump_queue_messages: usize,
    /// Messages expired, returned or made ready in one [`super::Worker::tick`], and dropped from memory in one pump.
    pub tick_messages: usize,
    /// Leases with a deadline that one queue may have out.
    pub leases_per_queue: usize,
    /// Consumers of one connection.
    pub consumers_per_connection: usize,
    /// Receives that may wait at one queue.
    pub waiting_per_queue: usize,
    /// Messages in the answer to one receive.
    pub receive_messages: u32,
    /// Records in the answer to one read.
    pub read_records: u32,
    /// Body bytes in the answer to one read.
    pub read_bytes: usize,
    /// Deduplication ids remembered by one queue; beyond it the oldest is forgotten before its time.
    pub dedup_ids: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Messages in one page file.
    pub page_messages: usize,
    /// Bytes ([`model::message::Message::cost_bytes`]) in one page file; a message larger than this has a page of its own.
    pub page_bytes: u64,
    /// Entries in a message's dead-letter history; beyond it the oldest is left out.
    pub deaths: usize,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            window_bytes: limits::CONNECTION_WINDOW_BYTES,
            pump_messages: 16 * limits::TURN_COMMANDS_MAX,
            pump_queue_messages: 1024,
            tick_messages: 2 * limits::TURN_COMMANDS_MAX,
            leases_per_queue: limits::LEASES_PER_QUEUE_MAX,
            consumers_per_connection: limits::CONSUMERS_PER_CONNECTION_MAX,
            waiting_per_queue: 100_000,
            receive_messages: 1_000,
            read_records: 10_000,
            read_bytes: 10 * 1024 * 1024,
            dedup_ids: 1_000_000,
            retained_messages: 1_000_000,
            page_messages: 16_384,
            page_bytes: 8 * 1024 * 1024,
            deaths: 64,
        }
    }
}
