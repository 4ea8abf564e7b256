//! The messages of one queue by number. Owns where they lie: a ring for the dense, young part, a tree for the few
//! old ones that outlive their neighbours, so that one message held for long does not pin the memory of all later
//! ones. Refuses to know about order of delivery.

use super::slot::Slot;
use std::collections::{BTreeMap, VecDeque};

/// Below this length a sparse ring is not worth the trouble. Tests use short ones.
const RING_SPARSE_MIN: usize = if cfg!(test) { 8 } else { 1024 };

/// No queue counts this far; a damaged log that says otherwise is not followed.
const SEQ_MAX: u64 = 1 << 62;

/// Live slots by sequence number; numbers ascend and are never used twice.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// All of these are below `base`.
    old: BTreeMap<u64, Slot>,
    /// Number `base + index`; the front one is never empty.
    ring: VecDeque<Option<Slot>>,
    base: u64,
    live_in_ring: usize,
}

impl Slots {
    /// Live slots.
    pub(crate) fn len(&self) -> usize {
        self.old.len() + self.live_in_ring
    }

    /// The oldest slot at or above a number whose content must stay in the log.
    pub(crate) fn first_in_log(&self, from: u64) -> Option<u64> {
        let needs_log = |slot: &Slot| slot.logged && !slot.paged;
        let old = self.old.range(from..).find(|(_, slot)| needs_log(slot)).map(|(seq, _)| *seq);
        let skip = usize::try_from(from.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let in_ring = || {
            let index = self.ring.iter().skip(skip).position(|slot| slot.as_ref().is_some_and(needs_log))?;
            Some(self.base + (skip + index) as u64)
        };
        old.or_else(in_ring)
    }

    /// The number that the next message gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    /// First number of the dense part.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn push(&mut self, slot: Slot) -> u64 {
        let seq = self.next_seq();
        self.ring.push_back(Some(slot));
        self.live_in_ring += 1;
        seq
    }

    fn index(&self, seq: u64) -> Option<usize> {
        seq.checked_sub(self.base).and_then(|index| usize::try_from(index).ok())
    }

    pub(crate) fn find(&self, seq: u64) -> Option<&Slot> {
        match self.index(seq) {
            Some(index) => self.ring.get(index)?.as_ref(),
            None => self.old.get(&seq),
        }
    }

    pub(crate) fn find_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        match self.index(seq) {
            Some(index) => self.ring.get_mut(index)?.as_mut(),
            None => self.old.get_mut(&seq),
        }
    }

    /// True for a deliverable message.
    pub(crate) fn is_ready(&self, seq: u64) -> bool {
        self.find(seq).is_some_and(Slot::is_ready)
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Slot> {
        let Some(index) = self.index(seq) else { return self.old.remove(&seq) };
        let slot = self.ring.get_mut(index)?.take()?;
        self.live_in_ring -= 1;
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.base += 1;
        }
        Some(slot)
    }

    /// True when most of the ring is empty and [`Slots::spill`] is worth it.
    pub(crate) fn is_sparse(&self) -> bool {
        self.ring.len() > RING_SPARSE_MIN && self.live_in_ring * 4 < self.ring.len()
    }

    /// Moves what is live below a number out of the ring.
    pub(crate) fn spill(&mut self, below: u64) {
        while self.base < below {
            let Some(front) = self.ring.pop_front() else { return };
            if let Some(slot) = front {
                self.old.insert(self.base, slot);
                self.live_in_ring -= 1;
            }
            self.base += 1;
        }
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.base += 1;
        }
    }

    /// Makes `next_seq` at least `next`: numbers below it were used, though we may not know what for.
    pub(crate) fn advance_to(&mut self, next: u64) {
        let next = next.min(SEQ_MAX);
        let Some(gap) = next.checked_sub(self.next_seq()) else { return };
        if self.live_in_ring == 0 || gap > RING_SPARSE_MIN as u64 {
            self.spill(u64::MAX);
            self.base = next;
        } else {
            (0..gap).for_each(|_| self.ring.push_back(None));
        }
    }

    /// Puts a message in under a number of its own (replay). False when it is there already.
    pub(crate) fn insert(&mut self, seq: u64, slot: Slot) -> bool {
        if seq >= SEQ_MAX || self.find(seq).is_some() {
            return false;
        }
        let Some(index) = self.index(seq) else {
            self.old.insert(seq, slot);
            return true;
        };
        if let Some(place) = self.ring.get_mut(index) {
            *place = Some(slot);
            self.live_in_ring += 1;
        } else {
            self.advance_to(seq);
            self.push(slot);
        }
        true
    }

    /// All live slots in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Slot)> {
        let ring =
            self.ring.iter().enumerate().filter_map(|(index, slot)| Some((index as u64, slot.as_ref()?)));
        self.old
            .iter()
            .map(|(seq, slot)| (*seq, slot))
            .chain(ring.map(|(index, slot)| (self.base + index, slot)))
    }

    /// All live slots in ascending order, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Slot)> {
        let base = self.base;
        let ring =
            self.ring.iter_mut().enumerate().filter_map(|(index, slot)| Some((index as u64, slot.as_mut()?)));
        self.old
            .iter_mut()
            .map(|(seq, slot)| (*seq, slot))
            .chain(ring.map(move |(index, slot)| (base + index, slot)))
    }

    /// Empties it at once; what was in it is handed back to be dropped in pieces. Numbers go on.
    pub(crate) fn take_all(&mut self) -> Trash {
        let next = self.next_seq();
        let taken = std::mem::take(self);
        self.base = next;
        Trash { old: taken.old, ring: taken.ring }
    }
}

/// Slots that nobody needs any more. Dropping a million messages takes a while, so it is done a piece at a time.
#[derive(Debug, Default)]
pub(crate) struct Trash {
    old: BTreeMap<u64, Slot>,
    ring: VecDeque<Option<Slot>>,
}

impl Trash {
    /// Drops up to `count` slots; true when nothing is left.
    pub(crate) fn sweep(&mut self, count: usize) -> bool {
        let ring = count.min(self.ring.len());
        self.ring.drain(..ring);
        for _ in ring..count {
            if self.old.pop_first().is_none() {
                break;
            }
        }
        self.ring.is_empty() && self.old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::{queue::slot::NEVER, worker::testing::message};

    fn slot(seq: u64) -> Slot {
        Slot::new(message(&seq.to_string()), 0, NEVER)
    }

    fn keys(slots: &Slots) -> Vec<u64> {
        slots.iter().map(|(seq, _)| seq).collect()
    }

    #[test]
    fn one_old_message_does_not_pin_the_ring() {
        let mut slots = Slots::default();
        for seq in 0..10_000 {
            assert_eq!(slots.push(slot(seq)), seq);
            if seq > 0 {
                slots.remove(seq).unwrap();
            }
            if slots.is_sparse() {
                slots.spill(seq);
            }
            assert!(slots.ring.len() < 4 * RING_SPARSE_MIN);
        }
        assert_eq!(keys(&slots), [0]);
        assert_eq!(slots.next_seq(), 10_000);
        assert!(slots.remove(0).is_some() && slots.remove(0).is_none());
        assert_eq!((slots.len(), slots.next_seq()), (0, 10_000));
    }

    #[test]
    fn replay_takes_any_order_and_gaps() {
        let mut slots = Slots::default();
        for seq in [5, 3, 9, 1_000_000_000, 7, SEQ_MAX - 1] {
            assert!(slots.insert(seq, slot(seq)));
            assert!(!slots.insert(seq, slot(seq)));
        }
        assert_eq!(keys(&slots), [3, 5, 7, 9, 1_000_000_000, SEQ_MAX - 1]);
        assert!(!slots.insert(SEQ_MAX, slot(0)), "out of reach");
        slots.advance_to(10);
        assert_eq!(slots.next_seq(), SEQ_MAX);
        slots.take_all();
        assert_eq!((slots.len(), slots.next_seq()), (0, SEQ_MAX));
    }
}
