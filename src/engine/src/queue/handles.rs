//! Taking messages on request: get, and receive with its handles (deadline leases).

use super::{
    Queue,
    slot::{NEVER, State},
    waiting::Wait,
};
use crate::{
    topology::settings::QueueKind,
    worker::{command::Asker, connections::Connections, turn::Turn},
};
use model::{
    Millis,
    command::Reply,
    delivery::Delivery,
    error::{BrokerError, ErrorKind},
    ids::ConsumerId,
    message::DeathReason,
};

/// How long a receive waits for a page at least: an empty answer would be wrong.
const PAGE_WAIT_MS: Millis = 2000;

impl Queue {
    /// One message now or none. `None` when the answer comes later, once the message was read from its page.
    pub(crate) fn take_one(&mut self, asker: Asker, auto_ack: bool, turn: &mut Turn<'_>) -> Option<Reply> {
        self.used(turn.now);
        if self.settings.kind == QueueKind::Quorum && self.settings.single_active_consumer {
            let text = format!(
                "cannot obtain access to locked {}. basic.get operations are not supported by quorum queues with \
                 single active consumer",
                self.title()
            );
            return Some(Reply::Failed(BrokerError::new(ErrorKind::Locked, text)));
        }
        let next = self.next_live(turn);
        if next.is_none() && self.awaits_page() {
            self.ask_for_head(turn);
            let wait = Wait { asker, place: 0, max: 1, lease_ms: 0, until: NEVER, get: Some(auto_ack) };
            return self.wait_in_line(wait, turn);
        }
        let delivery = next.and_then(|seq| {
            self.order.take(seq, &self.slots);
            let delivery = self.begin_delivery(seq, ConsumerId(0), !auto_ack, turn.now);
            if auto_ack {
                self.acknowledge(seq, turn);
            } else {
                let key = self.getter(asker, turn.connections);
                if let Some(holder) = self.holders.get_mut(key as usize) {
                    holder.hold(seq);
                }
                self.shift(seq, State::Leased(key));
            }
            delivery
        });
        Some(Reply::Got { delivery: delivery.map(Box::new), remaining: self.counts.ready })
    }

    /// The next message that has not expired.
    fn next_live(&mut self, turn: &mut Turn<'_>) -> Option<u64> {
        loop {
            let seq = self.peek()?;
            if !self.is_expired(seq, turn.now) {
                return Some(seq);
            }
            self.die(seq, DeathReason::Expired, turn);
        }
    }

    /// Leases with a deadline, at once or when something comes. `None` when the answer comes later.
    pub(crate) fn receive(
        &mut self,
        asker: Asker,
        max: u32,
        lease_ms: Option<u64>,
        wait_ms: Option<u64>,
        turn: &mut Turn<'_>,
    ) -> Option<Reply> {
        self.used(turn.now);
        if self.has_all_leases_out(turn) {
            let text = format!("too many messages of {} are in flight", self.title());
            return Some(Reply::Failed(BrokerError::new(ErrorKind::LimitExceeded, text)));
        }
        let max = max.clamp(1, turn.limits.receive_messages.max(1));
        let lease_ms = lease_ms.unwrap_or(self.settings.lease_ms);
        let wait_ms = wait_ms.unwrap_or(self.settings.wait_ms);
        let batch = self.take_timed(max, lease_ms, turn);
        let wait_ms = if batch.is_empty() && self.awaits_page() {
            self.ask_for_head(turn);
            wait_ms.max(PAGE_WAIT_MS)
        } else {
            wait_ms
        };
        if !batch.is_empty() || wait_ms == 0 {
            return Some(Reply::Received(batch));
        }
        let until = turn.now.saturating_add(wait_ms);
        self.wait_in_line(Wait { asker, place: 0, max, lease_ms, until, get: None }, turn)
    }

    /// Puts a receive or a get among those that wait. An answer only when it can not.
    fn wait_in_line(&mut self, wait: Wait, turn: &mut Turn<'_>) -> Option<Reply> {
        if self.waiting.len() >= turn.limits.waiting_per_queue {
            let text = format!("too many receives wait at {}", self.title());
            return Some(Reply::Failed(BrokerError::new(ErrorKind::LimitExceeded, text)));
        }
        let place = turn.connections.place(wait.asker.connection);
        let id = self.waiting.push(Wait { place, ..wait });
        self.schedule.at(wait.until);
        if let Some(connection) = turn.connections.find(place) {
            connection.waiting.insert((self.place, id));
        }
        None
    }

    fn has_all_leases_out(&self, turn: &Turn<'_>) -> bool {
        self.counts.timed >= turn.limits.leases_per_queue as u64
    }

    /// Takes up to `max` messages under a deadline; of one group in order, where there are groups.
    pub(super) fn take_timed(&mut self, max: u32, lease_ms: u64, turn: &mut Turn<'_>) -> Vec<Delivery> {
        let mut batch = Vec::new();
        let until = turn.now.saturating_add(lease_ms);
        let mut before = None;
        while batch.len() < max as usize && !self.has_all_leases_out(turn) {
            let follower = before.and_then(|seq| self.order.follow(seq, &self.slots));
            let seq = match follower {
                Some(seq) => seq,
                None => {
                    let Some(seq) = self.next_live(turn) else { break };
                    self.order.take(seq, &self.slots);
                    seq
                }
            };
            self.shift(seq, State::Timed(until));
            if self.is_expired(seq, turn.now) {
                self.die(seq, DeathReason::Expired, turn);
                continue;
            }
            batch.extend(self.begin_delivery(seq, ConsumerId(0), true, turn.now));
            self.tell(seq, until);
            before = Some(seq);
        }
        batch
    }

    /// Notes for the log that a message is leased until a time, 0 when it came back before its time.
    pub(super) fn tell(&mut self, seq: u64, until: Millis) {
        if let Some(slot) = self.slots.find_mut(seq).filter(|slot| slot.logged) {
            slot.told = slot.deliveries;
            self.told.push((until, seq, slot.deliveries));
        }
    }

    /// Ends a waiting receive without an answer.
    pub(crate) fn abandon(&mut self, id: u64) {
        self.waiting.remove(id);
    }

    /// Takes a receive that no longer waits off its connection.
    pub(super) fn forget_wait(&mut self, id: u64, place: u32, connections: &mut Connections) {
        if let Some(connection) = connections.find(place) {
            connection.waiting.remove(&(self.place, id));
        }
        connections.remove_if_idle(place);
    }

    /// What was deleted may not come back after a crash, so the answer waits for the disk: SQS promises that for FIFO
    /// queues only.
    pub(crate) fn settles_for_good(&self) -> bool {
        self.settings.fifo && self.settings.durable
    }

    /// Settles by handle. What was settled before counts as done.
    /// Errors: `Precondition` when the lease of a FIFO message ran out.
    pub(crate) fn delete_by_handle(
        &mut self,
        seq: u64,
        generation: u32,
        turn: &mut Turn<'_>,
    ) -> Result<(), BrokerError> {
        let Some(slot) = self.slots.find(seq) else {
            self.finish_cold(seq);
            return Ok(());
        };
        let (state, deliveries) = (slot.state, slot.deliveries);
        let is_current = matches!(state, State::Timed(_)) && deliveries == generation.wrapping_add(1);
        if self.settings.fifo && !is_current && state != State::Dying {
            let text = format!("the lease on message {seq} of {} has expired", self.title());
            return Err(BrokerError::new(ErrorKind::Precondition, text));
        }
        match state {
            State::Dying => {}
            State::Leased(_) | State::Timed(_) => self.acknowledge(seq, turn),
            State::Ready | State::Delayed(_) => {
                if let Some(slot) = self.finish(seq) {
                    self.order.discard(seq, &slot, &self.slots);
                }
            }
        }
        Ok(())
    }

    /// Moves a deadline; 0 gives the message back.
    /// Errors: `Precondition` when the message is not leased under a deadline.
    pub(crate) fn hide(
        &mut self,
        seq: u64,
        generation: u32,
        lease_ms: u64,
        turn: &mut Turn<'_>,
    ) -> Result<(), BrokerError> {
        let slot = self.slots.find(seq).filter(|slot| matches!(slot.state, State::Timed(_)));
        let slot = slot.filter(|slot| !self.settings.fifo || slot.deliveries == generation.wrapping_add(1));
        if slot.is_none() {
            let text = format!("message {seq} of {} is not leased", self.title());
            return Err(BrokerError::new(ErrorKind::Precondition, text));
        }
        if lease_ms == 0 {
            self.tell(seq, 0);
            self.give_back(seq, true, 0, turn);
            self.enforce_length(turn);
        } else {
            let until = turn.now.saturating_add(lease_ms);
            self.shift(seq, State::Timed(until));
            self.tell(seq, until);
        }
        Ok(())
    }
}
