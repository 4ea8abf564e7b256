//! The worker: owner of queues, streams, leases, retained messages and their timers. Pure: commands and time go
//! in, effects come out.
//!
//! A turn is any number of [`Worker::apply`] (and [`Worker::tick`], when it is time) ended by one [`Worker::pump`];
//! only then are the effects complete and to be carried out. Records that can be batched over a turn (settlements,
//! stream appends) are added by the pump.

pub mod command;
pub(crate) mod connections;
pub mod effect;
pub(crate) mod epoch;
pub mod limits;
mod once;
mod operations;
mod place;
mod publish;
mod recovery;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod turn;

use crate::{queue::Trash, retained::Retained, topology::settings::Durability};
use bytes::Bytes;
use command::WorkerCommand;
use connections::Connections;
use effect::Effects;
use model::{
    Millis, Name,
    ids::{QueueId, WorkerId},
};
use place::Place;
use rustc_hash::FxHashMap;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use turn::{Turn, turn};

pub use limits::WorkerLimits;

/// Totals over everything that a worker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Queues.
    pub queues: u64,
    /// Streams.
    pub streams: u64,
    /// Consumers of queues and streams.
    pub consumers: u64,
    /// Connections known, those with a consumer, a lease or a waiting receive.
    pub connections: u64,
    /// Messages deliverable now.
    pub ready: u64,
    /// Messages taken, not settled.
    pub leased: u64,
    /// Messages waiting for their delay.
    pub delayed: u64,
    /// Bytes of all messages in queues and streams, each counted once per queue.
    pub bytes: u64,
    /// Bytes of those that are in memory, retained ones among them.
    pub memory_bytes: u64,
    /// Retained messages.
    pub retained: u64,
    /// Some queue grows faster than its pages are written: publishers are to wait a little.
    pub outruns_paging: bool,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    id: WorkerId,
    limits: WorkerLimits,
    ids: FxHashMap<QueueId, u32>,
    places: Slab<Place>,
    connections: Connections,
    retained: Retained,
    /// Places to look after at the end of the turn.
    dirty: VecDeque<u32>,
    timers: BTreeSet<(Millis, u32)>,
    /// Purged messages that are still to be dropped.
    trash: VecDeque<Trash>,
    once: once::Once,
    durability: Durability,
    epoch: u32,
    /// Memory is short.
    pressed: bool,
    /// What definitions the log holds, by kind and key. What they mean is the topology's business.
    definitions: BTreeMap<(Name, Name), Bytes>,
}

impl Worker {
    /// A worker that holds nothing.
    pub fn new(id: WorkerId, limits: WorkerLimits) -> Self {
        let connections = Connections::new(limits.window_bytes);
        Self {
            id,
            limits,
            ids: FxHashMap::default(),
            places: Slab::new(),
            connections,
            retained: Retained::default(),
            dirty: VecDeque::new(),
            timers: BTreeSet::new(),
            trash: VecDeque::new(),
            once: once::Once::default(),
            durability: Durability::default(),
            epoch: 0,
            pressed: false,
            definitions: BTreeMap::new(),
        }
    }

    /// The durability of whatever does not ask for one itself.
    pub fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Carries out one command. What comes of it is added to `effects`, partly only by the [`Worker::pump`] that
    /// must end the turn.
    pub fn apply(&mut self, command: WorkerCommand, now: Millis, effects: &mut Effects) {
        match command {
            WorkerCommand::Publish { message, targets, confirm } => {
                self.publish(&message, &targets, confirm, now, effects);
            }
            WorkerCommand::Settle { connection, consumer, lease, outcome } => {
                self.with(lease.queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => queue.settle(connection, lease.seq, outcome, turn),
                    Place::Stream(stream) => stream.settle(connection, consumer, turn),
                });
            }
            WorkerCommand::Drained { connection, bytes } => self.connections.drained(connection, bytes),
            WorkerCommand::GroupCredit { connection, group, credit } => {
                self.connections.set_group_credit(connection, group, credit);
            }
            WorkerCommand::Disconnect { connection, at: _ } => self.disconnect(connection, now, effects),
            WorkerCommand::CreateQueue { queue, vhost, name, settings } => {
                self.create(queue, vhost, name, settings, now);
            }
            WorkerCommand::AlterQueue { queue, settings } => {
                self.with(queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => queue.alter(settings, turn),
                    Place::Stream(stream) => stream.alter(settings),
                });
            }
            WorkerCommand::DeleteQueue { asker, queue } => self.delete(asker, queue, now, effects),
            WorkerCommand::Retain { vhost, topic, message, confirm } => {
                self.retain(vhost, topic, message, confirm, effects);
            }
            WorkerCommand::Retained { asker, vhost, filter } => {
                self.answer_retained(asker, &vhost, &filter, now, effects);
            }
            WorkerCommand::Define { asker, kind, key, value } => {
                self.define(asker, kind, key, value, effects);
            }
            WorkerCommand::PagedOut { queue, shard, first, file } => {
                let known = self.with(queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => queue.paged_out(first, file, turn),
                    Place::Stream(stream) => stream.paged_out(shard, first, file, turn),
                });
                if known.is_none() {
                    effects.dead_pages.extend(file.map(|(no, _)| no));
                }
            }
            WorkerCommand::PagedIn { queue, shard, page, records } => {
                self.with(queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => queue.paged_in(page, records, turn),
                    Place::Stream(stream) => stream.paged_in(shard, page, &records, turn),
                });
            }
            operation => self.operate(operation, now, effects),
        }
        self.wake_consumers();
    }

    /// Ends a turn: hands ready messages to consumers and waiting receives, and adds the turn's batched records.
    /// True when the message budget ran out and it should be called again (after other commands).
    pub fn pump(&mut self, now: Millis, effects: &mut Effects) -> bool {
        let mut budget = self.limits.pump_messages;
        while budget > 0
            && let Some(key) = self.dirty.pop_front()
        {
            let share = self.limits.pump_queue_messages.min(budget);
            let Some(place) = self.places.get_mut(key as usize) else { continue };
            let mut turn =
                turn(now, effects, &mut self.connections, &self.limits, (self.epoch, self.pressed));
            let handled = place.pump(&mut turn, share);
            place.flush(turn.effects);
            budget = budget.saturating_sub(handled.max(1));
            if handled >= share {
                self.dirty.push_back(key);
            } else {
                place.schedule().dirty = false;
            }
            self.arm(key);
            self.wake_consumers();
        }
        for key in &self.dirty {
            if let Some(place) = self.places.get_mut(*key as usize) {
                place.flush(effects);
            }
        }
        self.sweep();
        !self.dirty.is_empty() || !self.trash.is_empty()
    }

    /// When to call [`Worker::tick`] next; may be early. `None` when no time matters.
    pub fn next_deadline(&self) -> Option<Millis> {
        let first = self.timers.first().map(|(at, _)| *at);
        [first, self.retained.deadline()].into_iter().flatten().min()
    }

    /// Does what is due. A long backlog is worked off in several calls ([`Worker::next_deadline`] stays due). To be
    /// followed by [`Worker::pump`].
    pub fn tick(&mut self, now: Millis, effects: &mut Effects) {
        let mut budget = self.limits.tick_messages;
        self.retained.expire(now, budget);
        while budget > 0
            && let Some((at, key)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            let Some(place) = self.places.get_mut(key as usize) else { continue };
            place.schedule().armed = Millis::MAX;
            let mut turn =
                turn(now, effects, &mut self.connections, &self.limits, (self.epoch, self.pressed));
            let done = place.tick(&mut turn, budget);
            budget = budget.saturating_sub(done.max(1));
            self.touch(key);
            self.wake_consumers();
        }
    }

    /// Bytes of the log that are still needed, about: messages in durable queues and streams that are in no page.
    pub fn live_bytes(&self) -> u64 {
        let places: u64 = self.places.iter().map(|(_, place)| place.log_bytes()).sum();
        places
    }

    /// Memory is short, or is not any more: long queues keep less of what is not needed soon.
    pub fn press(&mut self, pressed: bool) {
        if std::mem::replace(&mut self.pressed, pressed) != pressed && pressed {
            let keys: Vec<u32> = self.places.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
            keys.into_iter().for_each(|key| self.touch(key));
        }
    }

    /// Totals, counted on the spot.
    pub fn stats(&self) -> WorkerStats {
        let mut stats = WorkerStats {
            connections: self.connections.len() as u64,
            retained: self.retained.len() as u64,
            memory_bytes: self.retained.bytes(),
            ..WorkerStats::default()
        };
        for (_, place) in &self.places {
            match place {
                Place::Queue(queue) => {
                    let counts = queue.counts();
                    stats.queues += 1;
                    stats.consumers += u64::from(queue.consumers());
                    stats.ready += counts.ready;
                    stats.leased += counts.leased;
                    stats.delayed += counts.delayed;
                    stats.bytes += counts.bytes;
                    stats.memory_bytes += queue.memory_bytes();
                    stats.outruns_paging |= queue.outruns_paging(self.limits.page_bytes);
                }
                Place::Stream(stream) => {
                    stats.streams += 1;
                    stats.consumers += u64::from(stream.consumers());
                    stats.bytes += stream.bytes();
                    stats.memory_bytes += stream.memory_bytes();
                }
            }
        }
        stats
    }

    /// The state of every queue and stream, for listings. Does not count as use.
    pub fn statuses(&self) -> impl Iterator<Item = model::command::QueueStatus> + '_ {
        self.places.iter().map(|(_, place)| match place {
            Place::Queue(queue) => queue.status(),
            Place::Stream(stream) => stream.status(),
        })
    }

    /// Which worker this is.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Does something with a queue or stream and notes to look after it at the end of the turn. `None` when there is
    /// no such thing.
    fn with<T>(
        &mut self,
        queue: QueueId,
        now: Millis,
        effects: &mut Effects,
        act: impl FnOnce(&mut Place, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let key = *self.ids.get(&queue)?;
        self.with_place(key, now, effects, act)
    }

    fn with_place<T>(
        &mut self,
        key: u32,
        now: Millis,
        effects: &mut Effects,
        act: impl FnOnce(&mut Place, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let place = self.places.get_mut(key as usize)?;
        let mut turn = turn(now, effects, &mut self.connections, &self.limits, (self.epoch, self.pressed));
        let result = act(place, &mut turn);
        self.touch(key);
        Some(result)
    }

    /// Looks after a place at the end of the turn.
    fn touch(&mut self, key: u32) {
        let Some(place) = self.places.get_mut(key as usize) else { return };
        if !std::mem::replace(&mut place.schedule().dirty, true) {
            self.dirty.push_back(key);
        }
    }

    /// Sets the timer of a place when it asked for an earlier one.
    fn arm(&mut self, key: u32) {
        let Some(place) = self.places.get_mut(key as usize) else { return };
        let schedule = place.schedule();
        let Some(wish) = schedule.take_wish() else { return };
        let before = std::mem::replace(&mut schedule.armed, wish);
        self.timers.remove(&(before, key));
        self.timers.insert((wish, key));
    }

    /// Puts consumers whose connection can take again back into their rotations.
    fn wake_consumers(&mut self) {
        while let Some((key, holder)) = self.connections.woken.pop() {
            if let Some(place) = self.places.get_mut(key as usize) {
                place.wake(holder);
                self.touch(key);
            }
        }
    }

    /// Drops some of what was purged.
    fn sweep(&mut self) {
        if let Some(trash) = self.trash.front_mut()
            && trash.sweep(self.limits.tick_messages)
        {
            self.trash.pop_front();
        }
    }
}
