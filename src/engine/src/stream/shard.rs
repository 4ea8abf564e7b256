//! One shard: records at ascending offsets, with the time each was taken in. The newest, its tail, are in memory and in
//! the log; older ones may lie in pages.

use super::cache::Cache;
use crate::worker::epoch::Epochs;
use model::{
    Millis,
    command::StreamPosition,
    ids::QueueId,
    message::Message,
    record::{Page, Record},
};
use std::{
    collections::{BTreeMap, VecDeque, vec_deque},
    sync::Arc,
};

/// One record of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) at_ms: Millis,
    pub(crate) message: Arc<Message>,
}

/// A place to read on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) offset: u64,
    /// What was taken in before is passed over: as long as its page is not read, nobody knows where a time begins.
    pub(crate) since_ms: Millis,
}

impl Start {
    pub(crate) fn at(offset: u64) -> Self {
        Self { offset, since_ms: 0 }
    }
}

/// What is at a place.
pub(crate) enum Found<'a> {
    /// These records and perhaps more behind them; none at the end of the shard.
    Here(vec_deque::Iter<'a, Entry>),
    /// This page has to be read first.
    Absent(Page),
}

/// Where a shard is with moving its oldest records out of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum PageOutState {
    #[default]
    Idle,
    /// This page is being written; its number and length are not known yet.
    Writing(Page),
    /// There was no room for it; a later attempt is planned.
    Paused,
}

/// One shard.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Ascending. Retention may have passed the beginning of the first one.
    pub(super) pages: VecDeque<Page>,
    /// Records in pages, and what they would take in memory.
    pub(super) paged: (u64, u64),
    /// Ascending in offset and time, behind the pages.
    pub(super) tail: VecDeque<Entry>,
    pub(super) tail_bytes: u64,
    /// Everything below was dropped by retention.
    pub(super) floor: u64,
    pub(super) next: u64,
    /// How many of the last entries are not yet in a record.
    pub(super) unwritten: usize,
    pub(super) page_out: PageOutState,
    pub(super) cache: Cache,
    /// Which part of the log the tail needs.
    pub(super) epochs: Epochs,
    /// What was read from the log, until everything was.
    pub(super) replayed: BTreeMap<u64, Entry>,
    /// What the log must hold, by the snapshot.
    pub(super) owed: Vec<model::record::Span>,
}

impl Shard {
    /// Oldest offset kept; the next one when there is none.
    pub(crate) fn first(&self) -> u64 {
        match (self.pages.front(), self.tail.front()) {
            (Some(page), _) => page.first.max(self.floor),
            (None, Some(entry)) => entry.offset,
            (None, None) => self.next,
        }
    }

    /// The offset that the next record gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn len(&self) -> u64 {
        let passed = self.pages.front().map_or(0, |page| self.floor.saturating_sub(page.first));
        (self.paged.0 + self.tail.len() as u64).saturating_sub(passed)
    }

    /// Of all its records. Those of a page count until all of it is dropped.
    pub(crate) fn bytes(&self) -> u64 {
        self.tail_bytes + self.paged.1
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.tail_bytes + self.cache.bytes()
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// When the youngest of what would be dropped next was taken in.
    pub(crate) fn oldest_ms(&self) -> Option<Millis> {
        let page = self.pages.front().map(|page| page.last_ms);
        page.or_else(|| self.tail.front().map(|entry| entry.at_ms))
    }

    pub(crate) fn newest_ms(&self) -> Option<Millis> {
        let entry = self.tail.back().map(|entry| entry.at_ms);
        entry.or_else(|| self.pages.back().map(|page| page.last_ms))
    }

    /// Adds a record; true when it is the first that is not in a log record yet.
    pub(crate) fn append(&mut self, message: Arc<Message>, now: Millis) -> (u64, bool) {
        let offset = self.next;
        let at_ms = self.newest_ms().map_or(now, |newest| newest.max(now));
        self.next += 1;
        self.tail_bytes += message.cost_bytes() as u64;
        self.tail.push_back(Entry { offset, at_ms, message });
        self.unwritten += 1;
        (offset, self.unwritten == 1)
    }

    /// The records of what was appended since, one per time of arrival.
    pub(crate) fn flush(&mut self, stream: QueueId, shard: u32, records: &mut Vec<Record>) {
        let from = self.tail.len().saturating_sub(std::mem::take(&mut self.unwritten));
        append_records(stream, shard, self.tail.range(from..), records);
    }

    /// Forgets that something is unwritten (the stream is not durable).
    pub(crate) fn skip_flush(&mut self) {
        self.unwritten = 0;
    }

    /// Where a position begins.
    pub(crate) fn resolve(&self, position: StreamPosition) -> Start {
        match position {
            StreamPosition::First => Start::at(self.first()),
            StreamPosition::Last if self.len() > 0 => Start::at(self.next.saturating_sub(1)),
            StreamPosition::Last | StreamPosition::Next => Start::at(self.next),
            StreamPosition::Offset(offset) => Start::at(offset.clamp(self.first(), self.next)),
            StreamPosition::Time(at_ms) => {
                let page = self.pages.get(self.pages.partition_point(|page| page.last_ms < at_ms));
                if let Some(page) = page {
                    return Start { offset: page.first.max(self.floor), since_ms: at_ms };
                }
                let index = self.tail.partition_point(|entry| entry.at_ms < at_ms);
                Start::at(self.tail.get(index).map_or(self.next, |entry| entry.offset))
            }
        }
    }

    /// The records at and after a place, up to the end of their page.
    pub(crate) fn read(&mut self, from: Start, now: Millis) -> Found<'_> {
        let from = Start { offset: from.offset.max(self.first()), ..from };
        let Some(page) = self.page_at(from.offset) else { return Found::Here(seek(&self.tail, from)) };
        match self.cache.open(page.no, now) {
            Some(entries) => Found::Here(seek(entries, from)),
            None => Found::Absent(page),
        }
    }

    fn page_index(&self, offset: u64) -> usize {
        self.pages.partition_point(|page| page.end() <= offset)
    }

    /// The page that an offset lies in or before.
    pub(super) fn page_at(&self, offset: u64) -> Option<Page> {
        self.pages.get(self.page_index(offset)).copied()
    }

    /// A reader went on from one offset to another. Gives the page that it will need soon, when there is room for it.
    pub(crate) fn advanced(&mut self, from: u64, to: u64) -> Option<Page> {
        if let Some(page) = self.page_at(from).filter(|page| to >= page.end()) {
            self.cache.pass(page.no);
        }
        let index = self.page_index(to);
        let page = self.pages.get(index)?;
        let past_half = to.saturating_sub(page.first) * 2 > u64::from(page.count);
        self.pages.get(index + 1).copied().filter(|_| past_half && self.cache.has_room())
    }

    /// Drops the oldest record, or the oldest page, whose number is added to `dead`.
    pub(crate) fn drop_oldest(&mut self, dead: &mut Vec<u64>) -> bool {
        if let Some(page) = self.pages.front().copied() {
            self.floor = page.end();
            self.forget_dropped(dead);
            return true;
        }
        let Some(entry) = self.tail.pop_front() else { return false };
        self.floor = entry.offset.saturating_add(1);
        self.tail_bytes = self.tail_bytes.saturating_sub(entry.message.cost_bytes() as u64);
        self.unwritten = self.unwritten.min(self.tail.len());
        true
    }

    /// Takes the pages below the floor out.
    pub(super) fn forget_dropped(&mut self, dead: &mut Vec<u64>) {
        while let Some(page) = self.pages.pop_front_if(|page| page.end() <= self.floor) {
            self.paged.0 = self.paged.0.saturating_sub(page.count.into());
            self.paged.1 = self.paged.1.saturating_sub(page.cost_bytes);
            self.cache.forget(page.no);
            dead.push(page.no);
        }
    }

    /// True when something is left after the oldest record or page is dropped.
    pub(crate) fn can_spare(&self) -> bool {
        match self.pages.front() {
            Some(page) => page.end() < self.next,
            None => self.tail.len() > 1,
        }
    }

    /// The epoch of the oldest record whose content is in the log, or an earlier one.
    pub(crate) fn oldest_epoch(&mut self) -> Option<u32> {
        self.epochs.oldest(self.tail.front().map(|entry| entry.offset))
    }

    /// Where the tail begins.
    pub(crate) fn tail_first(&self) -> u64 {
        self.tail.front().map_or(self.next, |entry| entry.offset)
    }
}

/// The entries at and after a place.
fn seek(entries: &VecDeque<Entry>, from: Start) -> vec_deque::Iter<'_, Entry> {
    // Offsets have no gaps, so the first guess is right; the search is for what the repair of a log may have left.
    let first = entries.front().map_or(0, |entry| entry.offset);
    let guess = usize::try_from(from.offset.saturating_sub(first)).unwrap_or(usize::MAX);
    let exact = entries.get(guess).is_some_and(|entry| entry.offset == from.offset);
    let mut index = if exact { guess } else { entries.partition_point(|entry| entry.offset < from.offset) };
    if from.since_ms > 0 {
        index = index.max(entries.partition_point(|entry| entry.at_ms < from.since_ms));
    }
    entries.range(index.min(entries.len())..)
}

/// Consecutive entries as log records, one per time of arrival.
pub(super) fn append_records<'a>(
    stream: QueueId,
    shard: u32,
    entries: impl Iterator<Item = &'a Entry>,
    records: &mut Vec<Record>,
) {
    let mut run: Option<(u64, Millis, Vec<Arc<Message>>)> = None;
    let mut close = |run: &mut Option<(u64, Millis, Vec<Arc<Message>>)>| {
        if let Some((first_offset, at_ms, messages)) = run.take() {
            records.push(Record::Append { stream, shard, first_offset, at_ms, messages });
        }
    };
    for entry in entries {
        let goes_on = run.as_ref().is_some_and(|(first, at_ms, messages)| {
            *at_ms == entry.at_ms && first + messages.len() as u64 == entry.offset
        });
        if !goes_on {
            close(&mut run);
        }
        let (_, _, messages) = run.get_or_insert_with(|| (entry.offset, entry.at_ms, Vec::new()));
        messages.push(entry.message.clone());
    }
    close(&mut run);
}
