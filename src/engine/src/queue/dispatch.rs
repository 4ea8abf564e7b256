//! Handing ready messages out: to waiting receives, then to consumers by priority and round robin.

use super::{
    Queue,
    holder::{Holder, Park},
    slot::State,
};
use crate::{
    topology::settings::QueueKind,
    worker::{connections::Connections, turn::Turn},
};
use model::{
    Millis,
    command::Reply,
    delivery::{Delivery, Lease},
    ids::ConsumerId,
    message::DeathReason,
};
use slab::Slab;

impl Queue {
    /// Hands out up to `budget` messages and returns how many it handled. Less than `budget` means that nothing more
    /// can go out now.
    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        let mut handled = 0;
        while handled < budget && self.counts.ready > 0 {
            let Some(seq) = self.peek() else { break };
            if self.is_expired(seq, turn.now) {
                self.die(seq, DeathReason::Expired, turn);
                handled += 1;
                continue;
            }
            if !self.waiting.is_empty() && self.serve_waiting(turn) {
                handled += 1;
                continue;
            }
            let Some(key) = self.pick(turn.connections) else { break };
            self.hand_out(key, seq, turn);
            handled += 1;
        }
        if self.expiring {
            self.arm_expiry();
        }
        self.turn_pages(turn);
        if handled < budget && !self.awaits_page() {
            self.end_gets(turn);
        }
        handled
    }

    pub(super) fn is_expired(&self, seq: u64, now: Millis) -> bool {
        self.expiring && self.slots.find(seq).is_some_and(|slot| slot.expires_ms <= now)
    }

    /// Gives the receive that waits longest what there is; false when it cannot have it.
    fn serve_waiting(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some((id, wait)) = self.waiting.first() else { return false };
        if let Some(auto_ack) = wait.get {
            self.waiting.remove(id);
            let reply = self.take_one(wait.asker, auto_ack, turn);
            turn.effects.replies.extend(reply.map(|reply| (wait.asker, reply)));
            self.forget_wait(id, wait.place, turn.connections);
            return true;
        }
        let batch = self.take_timed(wait.max, wait.lease_ms, turn);
        if batch.is_empty() {
            return false;
        }
        self.waiting.remove(id);
        turn.effects.replies.push((wait.asker, Reply::Received(batch)));
        self.forget_wait(id, wait.place, turn.connections);
        true
    }

    /// There was nothing in the page that these gets waited for, or it is gone.
    fn end_gets(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.waiting.first_get()
            && let Some(wait) = self.waiting.remove(id)
        {
            turn.effects.replies.push((wait.asker, Reply::Got { delivery: None, remaining: 0 }));
            self.forget_wait(id, wait.place, turn.connections);
        }
    }

    /// The consumer whose turn it is.
    fn pick(&mut self, connections: &mut Connections) -> Option<u32> {
        let (holders, place) = (&mut self.holders, self.place);
        if !self.settings.single_active_consumer {
            return self.rotation.next(|key| can_take(holders, place, key, connections));
        }
        let key = self.choose_active()?;
        can_take(&mut self.holders, self.place, key, connections).then_some(key)
    }

    /// The single active consumer: the first of the highest priority. In a quorum queue one of higher priority takes
    /// over once the active one has settled what it holds; in a classic queue the active one stays.
    fn choose_active(&mut self) -> Option<u32> {
        let Some(active) = self.active.and_then(|key| self.holders.get(key as usize)) else {
            self.active = self.best;
            return self.active;
        };
        let best = self.best.and_then(|key| self.holders.get(key as usize))?;
        if self.settings.kind == QueueKind::Quorum && best.priority > active.priority {
            if active.leased > 0 {
                return None;
            }
            self.active = self.best;
        }
        self.active
    }

    fn hand_out(&mut self, key: u32, seq: u64, turn: &mut Turn<'_>) {
        let Some(holder) = self.holders.get_mut(key as usize) else { return };
        let (connection, consumer, auto_ack) = (holder.connection, holder.consumer, holder.auto_ack);
        let (place, group) = (holder.place, holder.group.filter(|_| !auto_ack));
        if !auto_ack {
            holder.hold(seq);
        }
        self.order.take(seq, &self.slots);
        let Some(delivery) = self.begin_delivery(seq, consumer, !auto_ack, turn.now) else { return };
        turn.connections.took(place, delivery.message.cost_bytes(), group);
        turn.effects.deliveries.push((connection, delivery));
        if auto_ack {
            self.acknowledge(seq, turn);
        } else {
            self.shift(seq, State::Leased(key));
        }
    }

    /// Counts a delivery and makes it.
    pub(super) fn begin_delivery(
        &mut self,
        seq: u64,
        consumer: ConsumerId,
        leased: bool,
        now: Millis,
    ) -> Option<Delivery> {
        let slot = self.slots.find_mut(seq)?;
        let earlier_deliveries = slot.deliveries;
        slot.deliveries = slot.deliveries.saturating_add(1);
        if slot.first_delivery_ms == 0 {
            slot.first_delivery_ms = now;
        }
        Some(Delivery {
            consumer,
            via: slot.via,
            message: slot.message.clone(),
            lease: leased.then_some(Lease { queue: self.id, seq }),
            redelivered: slot.redelivered,
            earlier_deliveries,
            first_delivery_ms: slot.first_delivery_ms,
            offset: None,
        })
    }
}

/// Whether a consumer can take one more message now; if not, what will wake it is noted.
fn can_take(holders: &mut Slab<Holder>, place: u32, key: u32, connections: &mut Connections) -> bool {
    let Some(holder) = holders.get_mut(key as usize) else { return false };
    if holder.park != Park::No {
        return false;
    }
    let group = holder.group.filter(|_| !holder.auto_ack);
    if !holder.has_credit() {
        holder.park = Park::Credit;
    } else if !connections.can_take(holder.place, group, (place, key)) {
        holder.park = Park::Connection;
    }
    holder.park == Park::No
}
