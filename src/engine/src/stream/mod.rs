//! The stream engine: ordered, retained, replayable records in shards. Consumers read without taking away; settling
//! only gives credit back. Owns offsets, retention and the positions of consumers; refuses leases.

mod consumer;
mod hash;
mod shard;

use crate::{
    queue::title,
    topology::settings::QueueSettings,
    worker::{
        effect::Effects,
        turn::{Schedule, Turn},
    },
};
use consumer::Readers;
use model::{
    Millis, Name,
    command::{QueueStatus, Reply, StreamPosition},
    error::{BrokerError, ErrorKind},
    ids::QueueId,
    message::Message,
    record::Record,
};
use shard::Shard;
use std::sync::Arc;

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
    bytes: u64,
    readers: Readers,
    /// Shards with records that are not in the log yet.
    unwritten: Vec<u32>,
    /// Epoch since which there is something in the log for it.
    logged_epoch: Option<u32>,
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
            readers: Readers::default(),
            unwritten: Vec::new(),
            logged_epoch: None,
            schedule: Schedule::default(),
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.settings.durable
    }

    pub(crate) fn consumers(&self) -> u32 {
        self.readers.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The epoch before which nothing in the log is about it. Its records and their end are spread over all of it.
    pub(crate) fn oldest_epoch(&self) -> Option<u32> {
        self.logged_epoch
    }

    /// Bytes that its records take in the log.
    pub(crate) fn log_bytes(&self) -> u64 {
        if self.settings.durable { self.bytes } else { 0 }
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
        let Some(shard) = self.shards.get_mut(number as usize) else { return (number, 0) };
        let (offset, first_unwritten) = shard.append(message.clone(), turn.now);
        self.bytes += message.cost_bytes() as u64;
        if self.settings.durable && self.logged_epoch.is_none() {
            self.logged_epoch = Some(turn.epoch);
        }
        if first_unwritten {
            self.unwritten.push(number);
        }
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

    /// Drops the oldest records while there are too many bytes; the newest of each shard stays.
    fn trim_to_length(&mut self, effects: &mut Effects) {
        let Some(max_bytes) = self.settings.max_length_bytes else { return };
        if self.bytes <= max_bytes {
            return;
        }
        let share = max_bytes / self.shards.len().max(1) as u64;
        for number in 0..self.shards.len() {
            self.trim_shard(number, effects, |shard| shard.bytes() > share && shard.len() > 1);
        }
    }

    /// Drops the oldest records of a shard while `is_too_much` says so; returns how many.
    fn trim_shard(
        &mut self,
        number: usize,
        effects: &mut Effects,
        mut is_too_much: impl FnMut(&Shard) -> bool,
    ) -> usize {
        let Some(shard) = self.shards.get_mut(number) else { return 0 };
        let (before, mut dropped) = (shard.bytes(), 0);
        while is_too_much(shard) && shard.drop_oldest() {
            dropped += 1;
        }
        self.bytes = self.bytes.saturating_sub(before.saturating_sub(shard.bytes()));
        if dropped > 0 && self.settings.durable {
            let shard_number = u32::try_from(number).unwrap_or(u32::MAX);
            let first_offset = shard.first();
            effects.records.push(Record::Trim { stream: self.id, shard: shard_number, first_offset });
        }
        dropped
    }

    /// Drops up to `budget` records that are too old, and returns how many.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        let Some(max_age_ms) = self.settings.max_age_ms else { return 0 };
        let (mut done, now) = (0, turn.now);
        let is_old =
            |shard: &Shard| shard.oldest_ms().is_some_and(|oldest| oldest.saturating_add(max_age_ms) <= now);
        // Records of this turn must be in the log before a trim that covers them.
        self.flush(turn.effects);
        for number in 0..self.shards.len() {
            let mut left = budget.saturating_sub(done);
            done += self.trim_shard(number, turn.effects, |shard| {
                let goes = left > 0 && is_old(shard);
                left = left.saturating_sub(1);
                goes
            });
        }
        self.arm();
        done
    }

    fn arm(&mut self) {
        let Some(max_age_ms) = self.settings.max_age_ms else { return };
        if let Some(oldest) = self.shards.iter().filter_map(Shard::oldest_ms).min() {
            self.schedule.at(oldest.saturating_add(max_age_ms));
        }
    }

    /// A piece of a shard. Errors: `NotFound` for a shard that does not exist.
    pub(crate) fn read(
        &self,
        shard: u32,
        from: StreamPosition,
        max: u32,
        max_bytes: usize,
        now: Millis,
    ) -> Result<Reply, BrokerError> {
        let Some(kept) = self.shards.get(shard as usize) else {
            let text = format!("no shard {shard} in {}", title(&self.name, &self.vhost));
            return Err(BrokerError::new(ErrorKind::NotFound, text));
        };
        let (mut next, mut bytes, mut records) = (kept.resolve(from), 0, Vec::new());
        for entry in kept.read(next).take(max as usize) {
            bytes += entry.message.body.len();
            if bytes > max_bytes && !records.is_empty() {
                break;
            }
            records.push((entry.offset, entry.message.clone()));
            next = entry.offset + 1;
        }
        let behind = kept.newest_ms().filter(|_| next < kept.next());
        let behind_ms = behind.map_or(0, |newest| now.saturating_sub(newest));
        Ok(Reply::Records { records, next, behind_ms })
    }

    /// Settings changed. The number of shards stays what it is.
    pub(crate) fn alter(&mut self, settings: Arc<QueueSettings>) {
        self.settings = settings;
        self.arm();
    }

    /// The stream is gone: its last words. Says how many records it had, and whether a log record was written.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>) -> (u64, bool) {
        self.dissolve(turn);
        if self.settings.durable {
            turn.effects.records.push(Record::DropQueue(self.id));
        }
        (self.status().ready, self.settings.durable)
    }

    /// `queue.purge not supported by stream queues queue 's' in vhost '/'` and the like.
    pub(crate) fn unsupported(&self, what: &str) -> BrokerError {
        let text = format!("{what} not supported by stream queues {}", title(&self.name, &self.vhost));
        BrokerError::new(ErrorKind::NotImplemented, text)
    }

    pub(crate) fn replay_append(&mut self, shard: u32, first: u64, at_ms: Millis, messages: &[Arc<Message>]) {
        self.logged_epoch = Some(0);
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.replay_append(first, at_ms, messages);
        }
    }

    pub(crate) fn replay_trim(&mut self, shard: u32, first: u64) {
        self.logged_epoch = Some(0);
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.replay_trim(first);
        }
    }

    /// Everything was read from the log.
    pub(crate) fn recovered(&mut self) {
        self.shards.iter_mut().for_each(Shard::recovered);
        self.bytes = self.shards.iter().map(Shard::bytes).sum();
        self.arm();
    }

    /// What of an append is still kept.
    pub(crate) fn surviving_append(
        &self,
        shard: u32,
        first_offset: u64,
        at_ms: Millis,
        messages: &[Arc<Message>],
    ) -> Option<Record> {
        let kept_from = self.shards.get(shard as usize)?.first();
        let gone = usize::try_from(kept_from.saturating_sub(first_offset)).ok()?;
        let messages = messages.get(gone..).filter(|rest| !rest.is_empty())?.to_vec();
        let first_offset = first_offset.max(kept_from);
        Some(Record::Append { stream: self.id, shard, first_offset, at_ms, messages })
    }

    /// The trim as it stands, which an empty shard needs to go on where it was.
    pub(crate) fn surviving_trim(&self, shard: u32) -> Option<Record> {
        let first_offset = self.shards.get(shard as usize)?.first();
        Some(Record::Trim { stream: self.id, shard, first_offset })
    }

    /// Shard, offset and message of everything in it.
    #[cfg(test)]
    pub(crate) fn contents(&self) -> Vec<(u32, u64, Arc<Message>)> {
        let shards = (0u32..).zip(&self.shards);
        shards
            .flat_map(|(number, shard)| shard.read(0).map(move |e| (number, e.offset, e.message.clone())))
            .collect()
    }
}
