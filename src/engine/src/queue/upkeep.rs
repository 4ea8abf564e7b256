//! What a queue does when time passes, at the end of a turn, and when it is changed or emptied as a whole.

use super::{
    Queue,
    order::Order,
    slot::{NEVER, State},
    slots::Trash,
};
use crate::{
    topology::settings::QueueSettings,
    worker::{effect::Effects, turn::Turn},
};
use model::{
    Millis,
    command::{QueueStatus, Reply},
    message::DeathReason,
    record::Record,
};
use std::sync::Arc;

impl Queue {
    /// Does up to `budget` of what is due and returns how much it was; asks for the next tick itself.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        let mut done = self.end_waits(turn, budget);
        done += self.expire(turn, budget.saturating_sub(done));
        while done < budget
            && let Some((id, wait)) = self.waiting.pop_due(turn.now)
        {
            turn.effects.replies.push((wait.asker, Reply::Received(Vec::new())));
            self.forget_wait(id, wait.place, turn.connections);
            done += 1;
        }
        if self.idle_deadline().is_some_and(|at| at <= turn.now) {
            self.ended = true;
            turn.effects.ended.push(self.id);
        }
        self.enforce_length(turn);
        self.arm_all();
        done
    }

    /// Delays that are over make ready, lease deadlines give back.
    fn end_waits(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        let mut done = 0;
        while done < budget
            && let Some((until, seq)) = self.waits.first().copied()
            && until <= turn.now
        {
            match self.slots.find(seq).map(|slot| slot.state) {
                Some(State::Timed(_)) => self.give_back(seq, true, 0, turn),
                Some(_) => {
                    self.shift(seq, State::Ready);
                    if let Some(slot) = self.slots.find(seq) {
                        self.order.became_ready(seq, slot, &self.slots);
                    }
                }
                None => {
                    self.waits.remove(&(until, seq));
                }
            }
            done += 1;
        }
        done
    }

    /// Takes expired messages off the heads of the lines.
    fn expire(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        let mut done = 0;
        while self.expiring && done < budget {
            let heads = self.heads();
            let expired: Vec<u64> = heads.into_iter().filter(|seq| self.is_expired(*seq, turn.now)).collect();
            if expired.is_empty() {
                break;
            }
            done += expired.len();
            expired.into_iter().for_each(|seq| self.die(seq, DeathReason::Expired, turn));
        }
        done
    }

    /// Asks for a tick when the next head expires.
    pub(super) fn arm_expiry(&mut self) {
        for seq in self.heads() {
            if let Some(slot) = self.slots.find(seq)
                && slot.expires_ms != NEVER
            {
                self.schedule.at(slot.expires_ms);
            }
        }
    }

    fn arm_all(&mut self) {
        if self.expiring {
            self.arm_expiry();
        }
        let deadlines: [Option<Millis>; 3] =
            [self.waits.first().map(|(until, _)| *until), self.waiting.deadline(), self.idle_deadline()];
        deadlines.into_iter().flatten().for_each(|at| self.schedule.at(at));
    }

    /// Its state for somebody who asks, which counts as use.
    pub(crate) fn report(&mut self, turn: &mut Turn<'_>) -> QueueStatus {
        self.used(turn.now);
        self.expire(turn, turn.limits.tick_messages);
        self.status()
    }

    /// Adds the records of what ended and what was leased in this turn.
    pub(crate) fn flush(&mut self, effects: &mut Effects) {
        self.flush_leases(effects);
        if !self.settled.is_empty() {
            let mut seqs = std::mem::take(&mut self.settled);
            seqs.sort_unstable();
            effects.records.push(Record::Settle { queue: self.id, seqs });
        }
        effects.dead_pages.append(&mut self.cold.dead);
    }

    /// One record for each deadline, in the order in which they came.
    fn flush_leases(&mut self, effects: &mut Effects) {
        for (until_ms, seq, deliveries) in self.told.drain(..) {
            match effects.records.last_mut() {
                Some(Record::Lease { queue, until_ms: until, taken })
                    if *queue == self.id && *until == until_ms =>
                {
                    taken.push((seq, deliveries));
                }
                _ => {
                    let taken = vec![(seq, deliveries)];
                    effects.records.push(Record::Lease { queue: self.id, until_ms, taken });
                }
            }
        }
    }

    /// Settings changed.
    pub(crate) fn alter(&mut self, settings: Arc<QueueSettings>, turn: &mut Turn<'_>) {
        let was_single = std::mem::replace(&mut self.settings, settings).single_active_consumer;
        if self.order.is_outdated(&self.settings) {
            self.order = Order::build(&self.settings, &self.slots);
        }
        if was_single != self.settings.single_active_consumer {
            self.rebuild_rotation();
        }
        self.used(turn.now);
        self.enforce_length(turn);
    }

    /// Removes everything that no consumer, get or dead-lettering holds; says how many messages that were, and whether
    /// records of it are (or at the end of the turn will be) written.
    pub(crate) fn purge(&mut self, turn: &mut Turn<'_>) -> (u64, bool, Trash) {
        let counts = self.counts;
        let purged = counts.ready + counts.delayed + counts.timed;
        let mut logged = counts.log_bytes > 0 || !self.cold.is_empty();
        let mut trash = Trash::default();
        if counts.leased == counts.timed && counts.dying == 0 {
            trash = self.slots.take_all();
            self.waits.clear();
            self.told.clear();
            self.cold.clear();
            self.counts = Default::default();
            self.expiring = false;
            if logged {
                let through = self.slots.next_seq().saturating_sub(1);
                turn.effects.records.push(Record::Purge { queue: self.id, through });
            }
        } else {
            let loose = self
                .slots
                .iter()
                .filter(|(_, slot)| matches!(slot.state, State::Ready | State::Delayed(_) | State::Timed(_)));
            let loose: Vec<u64> = loose.map(|(seq, _)| seq).collect();
            let before = self.settled.len();
            self.purge_cold();
            loose.into_iter().for_each(|seq| drop(self.finish(seq)));
            logged = self.settled.len() > before;
        }
        self.order = Order::build(&self.settings, &self.slots);
        (purged, logged, trash)
    }

    /// The queue is gone: its last words. Says how many ready messages it had, and whether a record was written.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>) -> (u64, bool, Trash) {
        self.dissolve(turn);
        let ready = self.counts.ready;
        if self.settings.durable {
            turn.effects.records.push(Record::DropQueue(self.id));
        }
        self.cold.clear();
        turn.effects.dead_pages.append(&mut self.cold.dead);
        (ready, self.settings.durable, self.slots.take_all())
    }
}
