//! One shard: records at ascending offsets, with the time each was taken in. In memory, backed by the log.

use model::{Millis, command::StreamPosition, ids::QueueId, message::Message, record::Record};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// No shard counts this far; a damaged log that says otherwise is not followed.
const OFFSET_MAX: u64 = 1 << 47;

/// One record of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) at_ms: Millis,
    pub(crate) message: Arc<Message>,
}

/// One shard.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Ascending in offset and time.
    entries: VecDeque<Entry>,
    next: u64,
    bytes: u64,
    /// How many of the last entries are not yet in a record.
    unwritten: usize,
    /// What was read from the log, until everything was.
    replayed: BTreeMap<u64, Entry>,
    /// First offset kept, while reading the log.
    replayed_first: u64,
}

impl Shard {
    /// Oldest offset kept; the next one when there is none.
    pub(crate) fn first(&self) -> u64 {
        self.entries.front().map_or(self.next, |entry| entry.offset)
    }

    /// The offset that the next record gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn oldest_ms(&self) -> Option<Millis> {
        self.entries.front().map(|entry| entry.at_ms)
    }

    pub(crate) fn newest_ms(&self) -> Option<Millis> {
        self.entries.back().map(|entry| entry.at_ms)
    }

    /// Adds a record; true when it is the first that is not in a log record yet.
    pub(crate) fn append(&mut self, message: Arc<Message>, now: Millis) -> (u64, bool) {
        let offset = self.next;
        let at_ms = self.newest_ms().map_or(now, |newest| newest.max(now));
        self.next += 1;
        self.bytes += message.cost_bytes() as u64;
        self.entries.push_back(Entry { offset, at_ms, message });
        self.unwritten += 1;
        (offset, self.unwritten == 1)
    }

    /// The records of what was appended since, one per time of arrival.
    pub(crate) fn flush(&mut self, stream: QueueId, shard: u32, records: &mut Vec<Record>) {
        let from = self.entries.len().saturating_sub(std::mem::take(&mut self.unwritten));
        let mut run: Option<(u64, Millis, Vec<Arc<Message>>)> = None;
        let mut close = |run: &mut Option<(u64, Millis, Vec<Arc<Message>>)>| {
            if let Some((first_offset, at_ms, messages)) = run.take() {
                records.push(Record::Append { stream, shard, first_offset, at_ms, messages });
            }
        };
        for entry in self.entries.range(from..) {
            if run.as_ref().is_some_and(|(_, at_ms, _)| *at_ms != entry.at_ms) {
                close(&mut run);
            }
            let (_, _, messages) = run.get_or_insert_with(|| (entry.offset, entry.at_ms, Vec::new()));
            messages.push(entry.message.clone());
        }
        close(&mut run);
    }

    /// Forgets that something is unwritten (the stream is not durable).
    pub(crate) fn skip_flush(&mut self) {
        self.unwritten = 0;
    }

    /// The offset to begin at.
    pub(crate) fn resolve(&self, position: StreamPosition) -> u64 {
        match position {
            StreamPosition::First => self.first(),
            StreamPosition::Last => self.entries.back().map_or(self.next, |entry| entry.offset),
            StreamPosition::Next => self.next,
            StreamPosition::Offset(offset) => offset.clamp(self.first(), self.next),
            StreamPosition::Time(at_ms) => {
                let index = self.entries.partition_point(|entry| entry.at_ms < at_ms);
                self.entries.get(index).map_or(self.next, |entry| entry.offset)
            }
        }
    }

    /// The records at and after an offset.
    pub(crate) fn read(&self, from: u64) -> impl Iterator<Item = &Entry> {
        // Offsets have no gaps, so the first guess is right; the search is for what a damaged log may have left.
        let guess = usize::try_from(from.saturating_sub(self.first())).unwrap_or(usize::MAX);
        let exact = self.entries.get(guess).is_some_and(|entry| entry.offset == from);
        let index = if exact { guess } else { self.entries.partition_point(|entry| entry.offset < from) };
        self.entries.range(index.min(self.entries.len())..)
    }

    /// Drops the oldest record.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.bytes = self.bytes.saturating_sub(entry.message.cost_bytes() as u64);
        self.unwritten = self.unwritten.min(self.entries.len());
        true
    }

    pub(crate) fn replay_append(&mut self, first_offset: u64, at_ms: Millis, messages: &[Arc<Message>]) {
        if first_offset >= OFFSET_MAX {
            return;
        }
        for (offset, message) in (first_offset..).zip(messages) {
            self.replayed.insert(offset, Entry { offset, at_ms, message: message.clone() });
            self.next = self.next.max(offset.saturating_add(1));
        }
    }

    pub(crate) fn replay_trim(&mut self, first_offset: u64) {
        let first_offset = first_offset.min(OFFSET_MAX);
        self.replayed_first = self.replayed_first.max(first_offset);
        self.replayed = self.replayed.split_off(&self.replayed_first);
        self.next = self.next.max(first_offset);
    }

    /// Everything was read.
    pub(crate) fn recovered(&mut self) {
        let kept = std::mem::take(&mut self.replayed).split_off(&self.replayed_first);
        for (_, entry) in kept {
            self.bytes += entry.message.cost_bytes() as u64;
            self.entries.push_back(entry);
        }
    }
}
