//! Delivery tags that wait for an answer, in order, with the lease behind each.

use model::{delivery::Lease, ids::ConsumerId};
use std::collections::VecDeque;

/// What a delivery tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Consumer that it was delivered to; 0 for basic.get.
    pub(crate) consumer: ConsumerId,
    /// What to settle.
    pub(crate) lease: Lease,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u64,
    /// `None` once answered out of order; such entries go when they reach the front or outnumber the others.
    held: Option<Held>,
}

/// Unanswered deliveries of one channel, ascending by tag.
#[derive(Debug, Default)]
pub(crate) struct Unacked {
    entries: VecDeque<Entry>,
    live: usize,
}

impl Unacked {
    /// A delivery went out. Tags ascend.
    pub(crate) fn push(&mut self, tag: u64, held: Held) {
        self.entries.push_back(Entry { tag, held: Some(held) });
        self.live += 1;
    }

    /// Takes one tag; `None` when it is not outstanding.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Held> {
        let at = match self.entries.front() {
            Some(front) if front.tag == tag => 0,
            _ => self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?,
        };
        let held = self.entries.get_mut(at)?.held.take()?;
        self.live -= 1;
        self.compact();
        Some(held)
    }

    /// Takes all tags up to `tag`, oldest first; `None` when `tag` itself is not outstanding.
    pub(crate) fn take_through(&mut self, tag: u64) -> Option<Vec<(u64, Held)>> {
        let at = self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?;
        self.entries.get(at)?.held?;
        let drained = self.entries.drain(..=at);
        let taken: Vec<_> = drained.filter_map(|entry| entry.held.map(|held| (entry.tag, held))).collect();
        self.live -= taken.len();
        self.compact();
        Some(taken)
    }

    /// Takes everything, oldest first.
    pub(crate) fn take_all(&mut self) -> Vec<(u64, Held)> {
        self.live = 0;
        self.entries.drain(..).filter_map(|entry| entry.held.map(|held| (entry.tag, held))).collect()
    }

    /// Puts tags back that were taken (tx.rollback).
    pub(crate) fn restore(&mut self, taken: impl IntoIterator<Item = (u64, Held)>) {
        let mut all = self.take_all();
        all.extend(taken);
        all.sort_unstable_by_key(|(tag, _)| *tag);
        all.into_iter().for_each(|(tag, held)| self.push(tag, held));
    }

    /// How many wait for an answer.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Keeps the queue within twice what is outstanding, at constant cost per take.
    fn compact(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.held.is_none()) {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.live + 64 {
            self.entries.retain(|entry| entry.held.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn with(tags: u64) -> Unacked {
        let mut unacked = Unacked::default();
        (1..=tags).for_each(|tag| unacked.push(tag, held(tag)));
        unacked
    }

    fn held(seq: u64) -> Held {
        Held { consumer: ConsumerId(1), lease: Lease { queue: model::ids::QueueId(1), seq } }
    }

    #[test]
    fn each_tag_is_taken_once() {
        let mut unacked = with(5);
        assert_eq!(unacked.take(3), Some(held(3)));
        assert_eq!(unacked.take(3), None);
        assert_eq!(unacked.take_through(3), None);
        assert_eq!(unacked.take_through(9), None);
        let through: Vec<u64> = unacked.take_through(4).unwrap().iter().map(|(tag, _)| *tag).collect();
        assert_eq!(through, [1, 2, 4]);
        unacked.restore([(2, held(2))]);
        let all: Vec<u64> = unacked.take_all().iter().map(|(tag, _)| *tag).collect();
        assert_eq!(all, [2, 5]);
    }

    #[test]
    fn one_stuck_tag_does_not_hold_the_others_memory() {
        let mut unacked = Unacked::default();
        unacked.push(0, held(0));
        for tag in 1..10_000 {
            unacked.push(tag, held(tag));
            assert!(unacked.take(tag).is_some());
        }
        assert!(unacked.entries.len() < 100);
        assert_eq!(unacked.take(0), Some(held(0)));
    }
}
