//! The pages of a long queue: stretches of its messages that lie in files, out of memory and log. Owns which numbers
//! of a page are settled and how much of it is not in memory. Refuses the messages themselves.
//!
//! A message of a page is *cold* while it is only in the file, and *paged* all the same once it was read back: its end
//! is told to the page, and its content is not needed in the log. A page dies with the last of its messages.

use super::slot::NEVER;
use model::{
    Millis,
    message::Message,
    record::{Page, Span},
};
use std::collections::{BTreeMap, BTreeSet};

/// Which numbers of a page are settled. Costs nothing until one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Settled(Vec<u64>);

impl Settled {
    fn contains(&self, index: u64) -> bool {
        self.0.get((index / 64) as usize).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// False when it was in already.
    fn insert(&mut self, index: u64) -> bool {
        let at = (index / 64) as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        let Some(word) = self.0.get_mut(at) else { return false };
        let before = *word;
        *word |= 1 << (index % 64);
        before != *word
    }
}

/// One page of a queue.
#[derive(Clone, Debug)]
pub(super) struct ColdPage {
    pub(super) page: Page,
    settled: Settled,
    /// Not settled.
    live: u32,
    /// Not settled and not in memory.
    pub(super) cold: u32,
    /// What the queue's counts hold for the cold ones: bodies, cost.
    pub(super) counted: (u64, u64),
}

impl ColdPage {
    /// A page with nothing settled, all of it in memory.
    pub(super) fn new(page: Page) -> Self {
        Self { page, settled: Settled::default(), live: page.count, cold: 0, counted: (0, 0) }
    }

    pub(super) fn is_settled(&self, seq: u64) -> bool {
        self.settled.contains(seq.saturating_sub(self.page.first))
    }

    fn covers(&self, seq: u64) -> bool {
        seq >= self.page.first && seq < self.page.end()
    }

    /// It was settled before the page was in use.
    pub(super) fn settled_before(&mut self, seq: u64) {
        self.settle(seq);
    }

    /// False when it was settled already.
    fn settle(&mut self, seq: u64) -> bool {
        let is_new = self.covers(seq) && self.settled.insert(seq - self.page.first);
        self.live -= u32::from(is_new && self.live > 0);
        is_new
    }

    /// Numbers of what is not settled.
    pub(super) fn live(&self) -> impl Iterator<Item = u64> + '_ {
        (self.page.first..self.page.end()).filter(|seq| !self.is_settled(*seq))
    }

    /// After a replay nothing is in memory; the shares of what is settled are guessed until the page is read.
    pub(super) fn chill(&mut self) {
        self.cold = self.live;
        let share = |bytes: u64| {
            let part = u128::from(bytes) * u128::from(self.live) / u128::from(self.page.count.max(1));
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        self.counted = (share(self.page.body_bytes), share(self.page.cost_bytes));
    }

    fn settled_spans(&self) -> Vec<Span> {
        spans((self.page.first..self.page.end()).filter(|seq| self.is_settled(*seq)))
    }
}

/// Ascending numbers as runs.
pub(super) fn spans(numbers: impl Iterator<Item = u64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => spans.push((number, number)),
        }
    }
    spans
}

/// What the log said of a cold message that its file does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// Deadline of its lease; 0 without one.
    pub(super) until_ms: Millis,
    pub(super) deliveries: u32,
    pub(super) failures: u16,
}

/// A page that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) body_bytes: u64,
    pub(super) cost_bytes: u64,
    pub(super) first_ms: Millis,
    pub(super) last_ms: Millis,
}

impl Writing {
    /// Nothing yet, from this number on.
    pub(super) fn begin(first: u64) -> Self {
        Self { first, count: 0, body_bytes: 0, cost_bytes: 0, first_ms: NEVER, last_ms: 0 }
    }

    pub(super) fn add(&mut self, message: &Message) {
        self.count += 1;
        self.body_bytes += message.body.len() as u64;
        self.cost_bytes += message.cost_bytes() as u64;
        self.first_ms = self.first_ms.min(message.published_ms);
        self.last_ms = self.last_ms.max(message.published_ms);
    }

    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    pub(super) fn written(&self, (no, file_bytes): (u64, u64)) -> Page {
        let Self { first, count, body_bytes, cost_bytes, first_ms, last_ms } = *self;
        Page { no, file_bytes, first, count, body_bytes, cost_bytes, first_ms, last_ms }
    }
}

/// The pages of one queue.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// By first number.
    pages: BTreeMap<u64, ColdPage>,
    /// First numbers of pages that were asked for.
    pub(super) asked: BTreeSet<u64>,
    pub(super) writing: Option<Writing>,
    /// The next page, while there is too little for one.
    pub(super) growing: Option<Writing>,
    /// No new attempt before this time, after a disk had no room.
    pub(super) paused_until: Millis,
    pub(super) notes: BTreeMap<u64, Note>,
    /// Pages that died in this turn.
    pub(super) dead: Vec<u64>,
}

impl Cold {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The page that a number lies in.
    pub(super) fn page_of(&mut self, seq: u64) -> Option<&mut ColdPage> {
        let (_, page) = self.pages.range_mut(..=seq).next_back()?;
        page.covers(seq).then_some(page)
    }

    /// The page of this file, among those that were asked for.
    pub(super) fn asked_page(&mut self, no: u64) -> Option<u64> {
        let is_it = |first: &&u64| self.pages.get(first).is_some_and(|page| page.page.no == no);
        let first = self.asked.iter().find(is_it).copied()?;
        self.asked.remove(&first);
        Some(first)
    }

    pub(super) fn page_mut(&mut self, first: u64) -> Option<&mut ColdPage> {
        self.pages.get_mut(&first)
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = &ColdPage> {
        self.pages.values()
    }

    pub(super) fn pages_mut(&mut self) -> impl Iterator<Item = &mut ColdPage> {
        self.pages.values_mut()
    }

    /// The first page with something that is not in memory. Nothing behind its beginning may go out before it.
    pub(super) fn first_cold(&self) -> Option<&ColdPage> {
        self.pages.values().find(|page| page.cold > 0)
    }

    /// Behind the last page.
    pub(super) fn end(&self) -> u64 {
        self.pages.last_key_value().map_or(0, |(_, page)| page.page.end())
    }

    pub(super) fn insert(&mut self, page: ColdPage) {
        if page.live == 0 {
            self.dead.push(page.page.no);
        } else {
            self.pages.insert(page.page.first, page);
        }
    }

    /// A message is gone. True when a page had it; the page goes with its last one.
    pub(super) fn settle(&mut self, seq: u64) -> bool {
        let Some(page) = self.page_of(seq) else { return false };
        let is_new = page.settle(seq);
        if page.live == 0 {
            let (first, no) = (page.page.first, page.page.no);
            self.pages.remove(&first);
            self.asked.remove(&first);
            self.dead.push(no);
        }
        self.notes.remove(&seq);
        is_new
    }

    /// Everything is gone.
    pub(super) fn clear(&mut self) {
        self.dead.extend(self.pages.values().map(|page| page.page.no));
        self.pages.clear();
        self.asked.clear();
        self.notes.clear();
    }

    /// Pages with what is settled in each, for a snapshot.
    pub(super) fn state(&self) -> Vec<(Page, Vec<Span>)> {
        self.pages.values().map(|page| (page.page, page.settled_spans())).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn page(first: u64, count: u32) -> ColdPage {
        let page = Page {
            no: first,
            file_bytes: 1,
            first,
            count,
            body_bytes: 1000,
            cost_bytes: 2000,
            first_ms: 0,
            last_ms: 0,
        };
        ColdPage::new(page)
    }

    #[test]
    fn a_page_dies_with_its_last_message() {
        let mut cold = Cold::default();
        cold.insert(page(100, 130));
        cold.insert(page(300, 10));
        assert!(!cold.settle(99) && !cold.settle(230) && !cold.settle(299));
        for seq in (100..230).rev() {
            assert!(cold.settle(seq));
            assert!(!cold.settle(seq));
        }
        assert_eq!((cold.dead.clone(), cold.end()), (vec![100], 310));
        cold.settle(305);
        assert_eq!(cold.state()[0].1, [(305, 305)]);
        let left = cold.page_of(301).unwrap();
        assert_eq!(left.live().count(), 9);
        left.chill();
        assert_eq!((left.cold, left.counted), (9, (900, 1800)));
    }

    #[test]
    fn numbers_become_runs() {
        assert_eq!(spans([1, 2, 3, 7, 9, 10].into_iter()), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(spans([u64::MAX].into_iter()), [(u64::MAX, u64::MAX)]);
    }
}
