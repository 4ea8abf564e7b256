//! The queue engine: competing consumers over one ordered set of messages. Owns states, counts, order and leases of
//! the messages of one queue. Refuses routing, sockets and time other than what it is told.

mod cold;
mod consumers;
mod dead_letter;
mod dedup;
mod dispatch;
mod enqueue;
mod groups;
mod handles;
mod holder;
mod lease;
mod order;
mod paging;
mod replay;
mod rotation;
mod slot;
mod slots;
mod state;
mod upkeep;
mod waiting;

use crate::{
    topology::settings::{Durability, QueueSettings},
    worker::{epoch::Epochs, turn::Schedule},
};
use cold::Cold;
use dedup::Dedup;
use holder::Holder;
use model::{Millis, Name, command::QueueStatus, ids::QueueId};
use order::Order;
use replay::Replayed;
use rotation::Rotation;
use slab::Slab;
use slot::{Slot, State};
use slots::Slots;
use std::{collections::BTreeSet, sync::Arc};
use waiting::Waiting;

pub(crate) use enqueue::Entry;
pub(crate) use slots::Trash;

/// How many messages are in which state, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: u64,
    /// Bodies of the ready ones.
    pub(crate) ready_bytes: u64,
    /// With a holder or a deadline.
    pub(crate) leased: u64,
    /// Those with a deadline.
    pub(crate) timed: u64,
    pub(crate) delayed: u64,
    pub(crate) dying: u64,
    /// Of all.
    pub(crate) bytes: u64,
    /// Of those that are not in memory.
    pub(crate) cold_bytes: u64,
    /// This queue's share of what its messages take in the log.
    pub(crate) log_bytes: u64,
}

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    id: QueueId,
    /// Where it stands in its worker.
    place: u32,
    vhost: Name,
    name: Name,
    settings: Arc<QueueSettings>,
    slots: Slots,
    cold: Cold,
    order: Order,
    counts: Counts,
    holders: Slab<Holder>,
    rotation: Rotation,
    /// The one consumer served, where only one is.
    active: Option<u32>,
    /// The consumer of highest priority that has been here longest.
    best: Option<u32>,
    consumers: u32,
    /// Consumers that ever came.
    arrivals: u64,
    /// Delays and lease deadlines.
    waits: BTreeSet<(Millis, u64)>,
    waiting: Waiting,
    dedup: Dedup,
    /// Logged messages that ended in this turn.
    settled: Vec<u64>,
    /// Leases with a deadline that began, moved or ended in this turn: deadline, number, deliveries.
    told: Vec<(Millis, u64, u32)>,
    epochs: Epochs,
    /// No message below this number needs the log.
    in_log_from: u64,
    /// Some message expires.
    expiring: bool,
    last_used_ms: Millis,
    /// The topology was told that this queue is over.
    ended: bool,
    /// What is read from the log, until all of it is.
    replayed: Replayed,
    pub(crate) schedule: Schedule,
}

impl Queue {
    /// An empty queue at `place` of its worker.
    pub(crate) fn new(
        id: QueueId,
        place: u32,
        vhost: Name,
        name: Name,
        settings: Arc<QueueSettings>,
        now: Millis,
    ) -> Self {
        let slots = Slots::default();
        let order = Order::build(&settings, &slots);
        let mut queue = Self {
            id,
            place,
            vhost,
            name,
            settings,
            slots,
            cold: Cold::default(),
            order,
            counts: Counts::default(),
            holders: Slab::new(),
            rotation: Rotation::default(),
            active: None,
            best: None,
            consumers: 0,
            arrivals: 0,
            waits: BTreeSet::new(),
            waiting: Waiting::default(),
            dedup: Dedup::default(),
            settled: Vec::new(),
            told: Vec::new(),
            epochs: Epochs::default(),
            in_log_from: 0,
            expiring: false,
            last_used_ms: now,
            ended: false,
            replayed: Replayed::default(),
            schedule: Schedule::default(),
        };
        queue.used(now);
        queue
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// When what enters it is safe, if it says so.
    pub(crate) fn durability(&self) -> Option<Durability> {
        self.settings.durability
    }

    pub(crate) fn consumers(&self) -> u32 {
        self.consumers
    }

    /// Without counting as use.
    pub(crate) fn status(&self) -> QueueStatus {
        QueueStatus {
            queue: self.id,
            ready: self.counts.ready,
            leased: self.counts.leased,
            delayed: self.counts.delayed,
            bytes: self.counts.bytes,
            consumers: self.consumers,
            offsets: (0, 0),
        }
    }

    /// A message was logged under this number.
    fn note_logged(&mut self, seq: u64, epoch: u32) {
        self.epochs.note(seq, epoch);
    }

    /// The epoch of the oldest message that needs the log, or an earlier one; `None` when no message does.
    pub(crate) fn oldest_epoch(&mut self) -> Option<u32> {
        let first = self.slots.first_in_log(self.in_log_from);
        self.in_log_from = first.unwrap_or_else(|| self.slots.next_seq());
        self.epochs.oldest(first)
    }

    /// The way RabbitMQ's texts name a queue.
    pub(crate) fn title(&self) -> String {
        title(&self.name, &self.vhost)
    }

    /// Somebody used it: the time after which an unused queue ends begins anew.
    pub(crate) fn used(&mut self, now: Millis) {
        self.last_used_ms = now;
        if let Some(at) = self.idle_deadline() {
            self.schedule.at(at);
        }
    }

    /// When it ends for want of use.
    fn idle_deadline(&self) -> Option<Millis> {
        let after = self.settings.expires_ms.filter(|_| self.consumers == 0 && !self.ended)?;
        Some(self.last_used_ms.saturating_add(after))
    }

    /// Moves a message to another state and keeps the counts and deadlines; gives the state that it was in.
    fn shift(&mut self, seq: u64, to: State) -> Option<State> {
        let slot = self.slots.find_mut(seq)?;
        let from = std::mem::replace(&mut slot.state, to);
        let body = slot.body_bytes();
        self.uncount(seq, from, body);
        self.count(seq, to, body);
        Some(from)
    }

    fn count(&mut self, seq: u64, state: State, body: u64) {
        match state {
            State::Ready => {
                self.counts.ready += 1;
                self.counts.ready_bytes += body;
            }
            State::Leased(_) => self.counts.leased += 1,
            State::Timed(until) => {
                self.counts.leased += 1;
                self.counts.timed += 1;
                self.wait(until, seq);
            }
            State::Delayed(until) => {
                self.counts.delayed += 1;
                self.wait(until, seq);
            }
            State::Dying => self.counts.dying += 1,
        }
    }

    fn uncount(&mut self, seq: u64, state: State, body: u64) {
        match state {
            State::Ready => {
                self.counts.ready -= 1;
                self.counts.ready_bytes -= body;
            }
            State::Leased(_) => self.counts.leased -= 1,
            State::Timed(until) => {
                self.counts.leased -= 1;
                self.counts.timed -= 1;
                self.waits.remove(&(until, seq));
            }
            State::Delayed(until) => {
                self.counts.delayed -= 1;
                self.waits.remove(&(until, seq));
            }
            State::Dying => self.counts.dying -= 1,
        }
    }

    fn wait(&mut self, until: Millis, seq: u64) {
        self.waits.insert((until, seq));
        self.schedule.at(until);
    }

    /// Takes a message out for good, whatever its state; its order and holder are the caller's business.
    fn finish(&mut self, seq: u64) -> Option<Slot> {
        let slot = self.slots.remove(seq)?;
        self.uncount(seq, slot.state, slot.body_bytes());
        self.counts.bytes -= slot.cost();
        if slot.logged {
            self.counts.log_bytes -= u64::from(slot.log_bytes);
            self.settled.push(seq);
            if slot.paged {
                self.cold.settle(seq);
            }
        }
        if self.slots.is_sparse() {
            self.slots.spill(self.order.spill_limit());
        }
        if self.slots.len() == 0 && self.cold.is_empty() {
            self.expiring = false;
        }
        Some(slot)
    }

    /// Messages that are to outlive a restart.
    #[cfg(test)]
    pub(crate) fn durable_messages(&self) -> u64 {
        let cold: u64 = self.cold.pages().map(|page| u64::from(page.cold)).sum();
        cold + self.slots.iter().filter(|(_, slot)| slot.logged).count() as u64
    }
}

/// `queue 'q' in vhost '/'`.
pub(crate) fn title(name: &str, vhost: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}
