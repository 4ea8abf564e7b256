//! A stream out of the log: the fold over its records, whether from the beginning or on top of a snapshot. Content may
//! be read twice, and later than what is about it: cleaning the log copies what is live to its tail.

use super::{
    Stream,
    shard::{Entry, Shard},
};
use crate::worker::turn::Turn;
use model::{
    Millis,
    message::Message,
    record::{Page, Record, ShardState, Span},
};
use std::sync::Arc;

/// No shard counts this far; a damaged log that says otherwise is not followed.
const OFFSET_MAX: u64 = 1 << 47;

impl Stream {
    pub(crate) fn replay_append(&mut self, shard: u32, first: u64, at_ms: Millis, messages: &[Arc<Message>]) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.replay_append(first, at_ms, messages);
        }
    }

    pub(crate) fn replay_trim(&mut self, shard: u32, first: u64) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.replay_trim(first);
        }
    }

    /// A stretch of a shard lies in a page.
    pub(crate) fn replay_page(&mut self, shard: u32, page: Page) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.replay_page(page);
        }
    }

    /// A shard as a snapshot has it.
    pub(crate) fn replay_state(&mut self, state: &ShardState) {
        if let Some(shard) = self.shards.get_mut(state.shard as usize) {
            shard.replay_state(state);
        }
    }

    /// The stream ended: what it held is gone, even if its definition is still there.
    pub(crate) fn replay_drop(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.replay_trim(shard.next));
    }

    /// Everything was read from the log.
    pub(crate) fn end_replay(&mut self) {
        self.shards.iter_mut().for_each(Shard::end_replay);
        self.bytes = self.shards.iter().map(Shard::bytes).sum();
        self.memory_bytes = self.shards.iter().map(Shard::memory_bytes).sum();
        self.log_bytes = self.shards.iter().map(Shard::log_bytes).sum();
    }

    /// Behind the replay: plans what follows from it.
    pub(crate) fn recovered(&mut self, turn: &mut Turn<'_>) {
        (0u32..).take(self.shards.len()).for_each(|number| self.consider_page_out(number, turn));
        self.arm();
    }

    /// Behind the replay: offsets that the log must hold by the snapshot, and does not.
    pub(crate) fn missing(&self) -> impl Iterator<Item = Span> + '_ {
        self.shards.iter().flat_map(Shard::missing)
    }

    /// Its pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Page> + '_ {
        self.shards.iter().flat_map(|shard| shard.pages.iter().copied())
    }

    /// Every shard that ever had a record, as it stands. To be called when all records of the turn are made.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = Record> + '_ {
        let used = (0u32..).zip(&self.shards).filter(|(_, shard)| self.settings.durable && shard.next > 0);
        used.map(|(number, shard)| {
            Record::Shard(Box::new(ShardState {
                stream: self.id,
                shard: number,
                first: shard.first(),
                next: shard.next,
                live: shard.tail_spans(),
                pages: shard.pages.iter().copied().collect(),
            }))
        })
    }

    /// What of an append is still needed in the log.
    pub(crate) fn surviving_append(
        &self,
        shard: u32,
        first_offset: u64,
        at_ms: Millis,
        messages: &[Arc<Message>],
    ) -> Option<Record> {
        let needed_from = self.shards.get(shard as usize)?.tail_first();
        let gone = usize::try_from(needed_from.saturating_sub(first_offset)).ok()?;
        let messages = messages.get(gone..).filter(|rest| !rest.is_empty())?.to_vec();
        let first_offset = first_offset.max(needed_from);
        Some(Record::Append { stream: self.id, shard, first_offset, at_ms, messages })
    }
}

impl Shard {
    /// What lies below is dropped or in a page.
    fn settled_below(&self) -> u64 {
        self.pages.back().map_or(self.floor, |page| page.end().max(self.floor))
    }

    fn replay_append(&mut self, first_offset: u64, at_ms: Millis, messages: &[Arc<Message>]) {
        if first_offset >= OFFSET_MAX {
            return;
        }
        let settled_below = self.settled_below();
        for (offset, message) in (first_offset..).zip(messages) {
            if offset >= settled_below {
                self.replayed.insert(offset, Entry { offset, at_ms, message: message.clone() });
            }
            self.next = self.next.max(offset.saturating_add(1));
        }
    }

    fn replay_trim(&mut self, first_offset: u64) {
        self.floor = self.floor.max(first_offset.min(OFFSET_MAX));
        self.forget_dropped(&mut Vec::new());
        self.replayed = self.replayed.split_off(&self.floor);
        self.next = self.next.max(self.floor);
    }

    fn replay_page(&mut self, page: Page) {
        if page.first >= OFFSET_MAX || page.end() <= self.settled_below() {
            return;
        }
        self.push_page(page);
        self.replayed = self.replayed.split_off(&page.end());
        self.next = self.next.max(page.end());
    }

    fn replay_state(&mut self, state: &ShardState) {
        self.replay_trim(state.first);
        state.pages.iter().for_each(|page| self.replay_page(*page));
        self.next = self.next.max(state.next.min(OFFSET_MAX));
        self.owed.clone_from(&state.live);
    }

    /// Everything was read.
    fn end_replay(&mut self) {
        for (_, entry) in std::mem::take(&mut self.replayed) {
            self.tail_bytes += entry.message.cost_bytes() as u64;
            self.epochs.note(entry.offset, 0);
            self.tail.push_back(entry);
        }
    }

    /// What the log owes and does not hold.
    fn missing(&self) -> Vec<Span> {
        let settled_below = self.settled_below();
        let mut missing = Vec::new();
        for (first, last) in self.owed.iter().copied() {
            let mut next = first.max(settled_below);
            let from = self.tail.partition_point(|entry| entry.offset < next);
            let tail = self.tail.range(from..).map(|entry| entry.offset);
            // Before the end of the replay they are here, behind it there.
            let held = tail.chain(self.replayed.range(next..).map(|(offset, _)| *offset));
            for offset in held.take_while(|offset| *offset <= last) {
                if offset > next {
                    missing.push((next, offset - 1));
                }
                next = offset.saturating_add(1);
            }
            if next <= last {
                missing.push((next, last));
            }
        }
        missing
    }

    /// Offsets of the records whose content is in the log, as runs.
    fn tail_spans(&self) -> Vec<Span> {
        let (Some(front), Some(back)) = (self.tail.front(), self.tail.back()) else { return Vec::new() };
        if back.offset - front.offset + 1 == self.tail.len() as u64 {
            return vec![(front.offset, back.offset)];
        }
        let mut spans: Vec<Span> = Vec::new();
        for entry in &self.tail {
            match spans.last_mut() {
                Some((_, last)) if *last + 1 == entry.offset => *last = entry.offset,
                _ => spans.push((entry.offset, entry.offset)),
            }
        }
        spans
    }
}
