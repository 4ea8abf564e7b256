//! How a lease ends: settled, given back, dead-lettered.

use super::{
    Queue,
    dead_letter::derive,
    holder::Role,
    slot::{Slot, State},
};
use crate::{
    topology::settings::QueueKind,
    worker::{effect::DeadLetter, turn::Turn},
};
use model::{
    delivery::{Lease, Outcome},
    ids::ConnectionId,
    message::DeathReason,
    record::Record,
};
use std::sync::Arc;

impl Queue {
    /// Ends a lease of a consumer or a get, or the queue's own one of a dead letter (connection 0). Leases that are
    /// not `connection`'s are left alone.
    pub(crate) fn settle(
        &mut self,
        connection: ConnectionId,
        seq: u64,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) {
        match self.slots.find(seq).map(|slot| slot.state) {
            Some(State::Leased(key)) if self.is_held_by(key, connection) => {}
            Some(State::Dying) if connection == ConnectionId(0) => {
                self.finish(seq);
                return;
            }
            _ => return,
        }
        match outcome {
            Outcome::Ack => return self.acknowledge(seq, turn),
            Outcome::Requeue { failed } => self.give_back(seq, failed, 0, turn),
            Outcome::Reject => self.die(seq, DeathReason::Rejected, turn),
            Outcome::HideFor(ms) => self.give_back(seq, true, ms, turn),
        }
        self.enforce_length(turn);
    }

    fn is_held_by(&self, key: u32, connection: ConnectionId) -> bool {
        self.holders.get(key as usize).is_some_and(|holder| holder.connection == connection)
    }

    /// A leased message is done with.
    pub(super) fn acknowledge(&mut self, seq: u64, turn: &mut Turn<'_>) {
        if let Some(slot) = self.finish(seq) {
            self.order.lease_ended(seq, &slot, false, &self.slots);
            self.release_of(slot.state, seq, turn);
        }
    }

    /// A leased message comes back to its place, at once or after a while; or dies when that happened too often.
    pub(super) fn give_back(&mut self, seq: u64, failed: bool, hide_ms: u64, turn: &mut Turn<'_>) {
        let Some(slot) = self.slots.find_mut(seq) else { return };
        slot.redelivered = true;
        if failed {
            slot.failures = slot.failures.saturating_add(1);
            let (failures, logged) = (slot.failures, slot.logged);
            if self.is_past_limit(failures) {
                return self.die(seq, DeathReason::DeliveryLimit, turn);
            }
            if logged && self.settings.delivery_limit.is_some() {
                turn.effects.records.push(Record::Count { queue: self.id, seq, deliveries: failures.into() });
            }
        }
        let to = if hide_ms > 0 { State::Delayed(turn.now.saturating_add(hide_ms)) } else { State::Ready };
        let Some(from) = self.shift(seq, to) else { return };
        if let Some(slot) = self.slots.find(seq) {
            self.order.lease_ended(seq, slot, true, &self.slots);
        }
        self.release_of(from, seq, turn);
    }

    /// A quorum queue hands out `limit` times more after the first failure, as RabbitMQ's do; a classic queue with a
    /// limit hands out `limit` times in all, which is what a receive count means.
    fn is_past_limit(&self, failures: u16) -> bool {
        let Some(limit) = self.settings.delivery_limit else { return false };
        let failures = u32::from(failures);
        if self.settings.kind == QueueKind::Quorum { failures > limit } else { failures >= limit }
    }

    /// A message leaves for the dead-letter exchange, and is gone at once where there is none.
    pub(super) fn die(&mut self, seq: u64, reason: DeathReason, turn: &mut Turn<'_>) {
        let Some(from) = self.shift(seq, State::Dying) else { return };
        if let Some(slot) = self.slots.find(seq) {
            match from {
                State::Ready | State::Delayed(_) => self.order.discard(seq, slot, &self.slots),
                State::Leased(_) | State::Timed(_) => {
                    self.order.lease_ended(seq, slot, false, &self.slots);
                }
                State::Dying => return,
            }
        }
        self.release_of(from, seq, turn);
        let dead = self.slots.find(seq).and_then(|slot: &Slot| {
            derive(&slot.message, &self.name, &self.settings, reason, turn.now, turn.limits.deaths)
        });
        let Some(message) = dead else {
            self.finish(seq);
            return;
        };
        turn.effects.dead_letters.push(DeadLetter {
            vhost: self.vhost.clone(),
            message: Arc::new(message),
            lease: Lease { queue: self.id, seq },
        });
    }

    /// Tells the holder, if there was one, that it holds one less.
    fn release_of(&mut self, from: State, seq: u64, turn: &mut Turn<'_>) {
        let State::Leased(key) = from else { return };
        let slots = &self.slots;
        let Some(holder) = self.holders.get_mut(key as usize) else { return };
        holder.release(seq, |number| slots.find(number).is_some_and(|slot| slot.state == from));
        if let Some(group) = holder.group {
            turn.connections.released(holder.place, group);
        }
        if holder.role == Role::Leaving && holder.leased == 0 {
            self.forget_holder(key, turn);
        } else {
            self.credit_came(key);
        }
    }
}
