//! In which order the ready messages of a queue go out. Three ways, one interface; the common one, plain FIFO, costs
//! a cursor. Owns order only: states and counts are the queue's.

use super::{
    groups::Groups,
    slot::{Slot, State},
    slots::Slots,
};
use crate::topology::settings::QueueSettings;
use std::collections::BTreeSet;

/// Order of delivery.
#[derive(Debug)]
pub(crate) enum Order {
    /// By number.
    Fifo(Fifo),
    /// Higher priority first, by number within.
    Priority(Priority),
    /// By number, but one message group at a time.
    Groups(Groups),
}

/// Everything ready at or above `next` is in order by itself; what came back below it is listed.
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    next: u64,
    returned: BTreeSet<u64>,
}

/// Ready messages by inverted priority, then number.
#[derive(Debug)]
pub(crate) struct Priority {
    max: u8,
    ready: BTreeSet<(u8, u64)>,
}

impl Fifo {
    /// From here on everything ready is in order by itself.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Ready messages below `next`.
    pub(crate) fn returned(&self) -> usize {
        self.returned.len()
    }

    /// True when more than so many messages below a number are ready, all of them below `next`.
    pub(crate) fn has_before(&self, seq: u64, more_than: usize) -> bool {
        self.returned.range(..seq).nth(more_than).is_some()
    }

    fn peek(&mut self, slots: &Slots) -> Option<u64> {
        if let Some(seq) = self.returned.first() {
            return Some(*seq);
        }
        self.next = self.next.max(slots.base());
        let end = slots.next_seq();
        while self.next < end {
            if slots.is_ready(self.next) {
                return Some(self.next);
            }
            self.next += 1;
        }
        None
    }
}

impl Priority {
    fn key(&self, seq: u64, slot: &Slot) -> (u8, u64) {
        (u8::MAX - slot.message.priority.min(self.max), seq)
    }

    /// The first message of each priority.
    fn heads(&self) -> impl Iterator<Item = u64> + '_ {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let (level, seq) = *self.ready.range((from?, 0)..).next()?;
            from = level.checked_add(1);
            Some(seq)
        })
    }
}

impl Order {
    /// The order that the settings ask for, over what is there.
    pub(crate) fn build(settings: &QueueSettings, slots: &Slots) -> Self {
        let mut order = if settings.fifo {
            Order::Groups(Groups::default())
        } else if let Some(max) = settings.max_priority {
            Order::Priority(Priority { max, ready: BTreeSet::new() })
        } else {
            Order::Fifo(Fifo { next: slots.base(), returned: BTreeSet::new() })
        };
        for (seq, slot) in slots.iter() {
            match (&mut order, slot.state) {
                (Order::Groups(groups), State::Leased(_) | State::Timed(_)) => groups.held(slot),
                (_, State::Ready | State::Delayed(_)) => order.enqueued(seq, slot, slots),
                _ => {}
            }
        }
        order
    }

    /// True when changed settings need another order.
    pub(crate) fn is_outdated(&self, settings: &QueueSettings) -> bool {
        match self {
            Order::Groups(_) => !settings.fifo,
            Order::Priority(priority) => settings.fifo || settings.max_priority != Some(priority.max),
            Order::Fifo(_) => settings.fifo || settings.max_priority.is_some(),
        }
    }

    /// A message came in, ready or delayed.
    pub(crate) fn enqueued(&mut self, seq: u64, slot: &Slot, slots: &Slots) {
        match self {
            Order::Groups(groups) => groups.enqueued(seq, slot, slots),
            _ if slot.is_ready() => self.became_ready(seq, slot, slots),
            _ => {}
        }
    }

    /// A message that was delayed or leased is ready now.
    pub(crate) fn became_ready(&mut self, seq: u64, slot: &Slot, slots: &Slots) {
        match self {
            Order::Fifo(fifo) => {
                if seq < fifo.next {
                    fifo.returned.insert(seq);
                }
            }
            Order::Priority(priority) => {
                priority.ready.insert(priority.key(seq, slot));
            }
            Order::Groups(groups) => groups.refresh_of(slot, slots),
        }
    }

    /// The message that goes out next.
    pub(crate) fn peek(&mut self, slots: &Slots) -> Option<u64> {
        match self {
            Order::Fifo(fifo) => fifo.peek(slots),
            Order::Priority(priority) => priority.ready.first().map(|(_, seq)| *seq),
            Order::Groups(groups) => groups.peek(),
        }
    }

    /// Takes out what [`Order::peek`] gave. `lease_ended` follows once it is settled or back.
    pub(crate) fn take(&mut self, seq: u64, slots: &Slots) {
        match self {
            Order::Fifo(fifo) => {
                if !fifo.returned.remove(&seq) {
                    fifo.next = fifo.next.max(seq + 1);
                }
            }
            Order::Priority(priority) => {
                priority.ready.pop_first();
            }
            Order::Groups(groups) => groups.take(seq, slots),
        }
    }

    /// What may go out with `seq`, which was just taken, in one answer: the next of its group.
    pub(crate) fn follow(&mut self, seq: u64, slots: &Slots) -> Option<u64> {
        match self {
            Order::Groups(groups) => groups.follow(seq, slots),
            _ => None,
        }
    }

    /// A ready message leaves without being taken.
    pub(crate) fn discard(&mut self, seq: u64, slot: &Slot, slots: &Slots) {
        match self {
            Order::Fifo(fifo) => {
                fifo.returned.remove(&seq);
            }
            Order::Priority(priority) => {
                priority.ready.remove(&priority.key(seq, slot));
            }
            Order::Groups(groups) => groups.refresh_of(slot, slots),
        }
    }

    /// A taken message is settled, or `back` in its place (ready or delayed, which its state says already).
    pub(crate) fn lease_ended(&mut self, seq: u64, slot: &Slot, back: bool, slots: &Slots) {
        if let Order::Groups(groups) = self {
            groups.lease_ended(seq, slot, back, slots);
        } else if back && slot.is_ready() {
            self.became_ready(seq, slot, slots);
        }
    }

    /// The messages whose expiry is looked at: the head of each line.
    pub(crate) fn heads(&mut self, slots: &Slots) -> Vec<u64> {
        match self {
            Order::Priority(priority) => priority.heads().collect(),
            other => other.peek(slots).into_iter().collect(),
        }
    }

    /// Lists what is ready below a number, so that these messages need not be in the ring.
    pub(crate) fn detach(&mut self, below: u64, slots: &Slots) {
        let Order::Fifo(fifo) = self else { return };
        let ready = (fifo.next..below).filter(|seq| slots.is_ready(*seq));
        fifo.returned.extend(ready);
        fifo.next = fifo.next.max(below);
    }

    /// Slots from this number on must stay in the ring.
    pub(crate) fn spill_limit(&self) -> u64 {
        if let Order::Fifo(fifo) = self { fifo.next } else { u64::MAX }
    }
}
