//! The stream engine: ordered, retained, replayable records in shards. Consumers read without taking away; settling
//! only gives credit back. Owns offsets, retention, the positions of consumers, and which records are in memory and which
//! in page files; refuses leases, and the files.

mod cache;
mod consumer;
mod hash;
mod paging;
mod read;
mod replay;
mod retention;
mod shard;
#[cfg(test)]
mod tests;

use crate::{
    queue::title,
    topology::settings::{Durability, QueueSettings},
    worker::{
        effect::Effects,
        turn::{Schedule, Turn},
    },
};
use consumer::Readers;
use model::{
    Millis, Name,
    command::QueueStatus,
    error::{BrokerError, ErrorKind},
    ids::QueueId,
    message::Message,
    record::Record,
};
use shard::Shard;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

pub(crate) use read::Request;

pub use hash::{hash_range, shard_of, shard_of_hash};

/// Most shards of a stream.
pub const SHARDS_MAX: u32 = 10_000;

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    id: QueueId,
    /// Where it stands in its worker.
    place: u32,
    vhost: Name,
    name: Name,
    settings: Arc<QueueSettings>,
    shards: Vec<Shard>,
    /// Of all records.
    bytes: u64,
    /// Of those in memory.
    memory_bytes: u64,
    /// Of those whose content is in the log, if it is durable.
    log_bytes: u64,
    readers: Readers,
    /// Shards with records that are not in the log yet.
    unwritten: Vec<u32>,
    /// Shards that may have a page to write.
    swollen: BTreeSet<u32>,
    /// Pages that are being written.
    writing: usize,
    /// Memory was short when it was last looked after.
    pressed: bool,
    /// Shards whose page could not be written, and when to try again.
    retries: VecDeque<(Millis, u32)>,
    /// Shards with pages in memory.
    cached: BTreeSet<u32>,
    /// Those who wait for a page.
    reads: VecDeque<Request>,
    pub(crate) schedule: Schedule,
}

impl Stream {
    /// An empty stream at `place` of its worker.
    pub(crate) fn new(
        id: QueueId,
        place: u32,
        vhost: Name,
        name: Name,
        settings: Arc<QueueSettings>,
    ) -> Self {
        let shards = (0..settings.shards.clamp(1, SHARDS_MAX)).map(|_| Shard::default()).collect();
        Self {
            id,
            place,
            vhost,
            name,
            settings,
            shards,
            bytes: 0,
            memory_bytes: 0,
            log_bytes: 0,
            readers: Readers::default(),
            unwritten: Vec::new(),
            swollen: BTreeSet::new(),
            writing: 0,
            pressed: false,
            retries: VecDeque::new(),
            cached: BTreeSet::new(),
            reads: VecDeque::new(),
            schedule: Schedule::default(),
        }
    }

    /// Whether what is appended is safe only on the disk; `usual` is for a stream that does not say.
    pub(crate) fn waits_for_disk(&self, usual: Durability) -> bool {
        self.settings.durable && self.settings.durability.unwrap_or(usual) == Durability::Always
    }

    pub(crate) fn consumers(&self) -> u32 {
        self.readers.len()
    }

    /// Bytes of all its records, wherever they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of its records that are in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Bytes that it needs in the log: of records that lie in no page.
    pub(crate) fn log_bytes(&self) -> u64 {
        if self.settings.durable { self.log_bytes } else { 0 }
    }

    /// The epoch of the oldest record whose content is in the log, or an earlier one.
    pub(crate) fn oldest_epoch(&mut self) -> Option<u32> {
        self.shards.iter_mut().filter_map(Shard::oldest_epoch).min()
    }

    /// Does something with a shard, and keeps the totals.
    fn with_shard<T>(&mut self, number: u32, act: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        let shard = self.shards.get_mut(number as usize)?;
        let totals = |shard: &Shard| [shard.bytes(), shard.memory_bytes(), shard.log_bytes()];
        let before = totals(shard);
        let result = act(shard);
        let all = [&mut self.bytes, &mut self.memory_bytes, &mut self.log_bytes];
        for ((total, before), after) in all.into_iter().zip(before).zip(totals(shard)) {
            *total = total.saturating_add(after).saturating_sub(before);
        }
        Some(result)
    }

    pub(crate) fn status(&self) -> QueueStatus {
        QueueStatus {
            queue: self.id,
            ready: self.shards.iter().map(Shard::len).sum(),
            leased: 0,
            delayed: 0,
            bytes: self.bytes,
            consumers: self.readers.len(),
            offsets: self.shards.first().map_or((0, 0), |shard| (shard.first(), shard.next())),
        }
    }

    /// Adds a record; gives its shard and offset.
    pub(crate) fn append(&mut self, message: &Arc<Message>, turn: &mut Turn<'_>) -> (u32, u64) {
        let number = shard_of(message, u32::try_from(self.shards.len()).unwrap_or(SHARDS_MAX));
        let durable = self.settings.durable;
        let appended = self.with_shard(number, |shard| {
            let (offset, first_unwritten) = shard.append(message.clone(), turn.now);
            if durable {
                shard.epochs.note(offset, turn.epoch);
            }
            (offset, first_unwritten)
        });
        let Some((offset, first_unwritten)) = appended else { return (number, 0) };
        if first_unwritten {
            self.unwritten.push(number);
        }
        self.consider_page_out(number, turn);
        if let Some(max_age_ms) = self.settings.max_age_ms {
            self.schedule.at(turn.now.saturating_add(max_age_ms));
        }
        (number, offset)
    }

    /// Adds the records of what was appended in this turn, then drops what is too much.
    pub(crate) fn flush(&mut self, effects: &mut Effects) {
        for number in std::mem::take(&mut self.unwritten) {
            let Some(shard) = self.shards.get_mut(number as usize) else { continue };
            if self.settings.durable {
                shard.flush(self.id, number, &mut effects.records);
            } else {
                shard.skip_flush();
            }
        }
        self.trim_to_length(effects);
    }

    /// Does what is due, and returns how many records and pages were dropped for their age: at most `budget`.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        self.retry_page_outs(turn);
        self.drop_idle_pages(turn.now);
        self.drop_old(turn, budget)
    }

    /// Settings changed. The number of shards stays what it is.
    pub(crate) fn alter(&mut self, settings: Arc<QueueSettings>) {
        self.settings = settings;
        self.arm();
    }

    /// The stream is gone: its last words. Says how many records it had, and whether a log record was written.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>) -> (u64, bool) {
        self.dissolve(turn);
        let gone = BrokerError::new(ErrorKind::NotFound, "the queue does not exist any more");
        self.fail_reads(|_| true, &gone, turn);
        turn.effects.dead_pages.extend(self.pages().map(|page| page.no));
        if self.settings.durable {
            turn.effects.records.push(Record::DropQueue(self.id));
        }
        (self.status().ready, self.settings.durable)
    }

    /// The way RabbitMQ's texts name it.
    pub(crate) fn title(&self) -> String {
        title(&self.name, &self.vhost)
    }

    /// `queue.purge not supported by stream queues queue 's' in vhost '/'` and the like.
    pub(crate) fn unsupported(&self, what: &str) -> BrokerError {
        let text = format!("{what} not supported by stream queues {}", self.title());
        BrokerError::new(ErrorKind::NotImplemented, text)
    }

    /// Shard, offset and message of everything that is in no page.
    #[cfg(test)]
    pub(crate) fn contents(&self) -> Vec<(u32, u64, Arc<Message>)> {
        let shards = (0u32..).zip(&self.shards);
        shards
            .flat_map(|(number, shard)| shard.tail.iter().map(move |e| (number, e.offset, e.message.clone())))
            .collect()
    }
}
