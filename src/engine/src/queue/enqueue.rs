//! How a message gets into a queue: duplicates, circles, length limits, time to live, delay.

use super::{
    Queue,
    dead_letter::is_cycle,
    slot::{NEVER, Slot, State, entered_ms},
};
use crate::{topology::settings::Overflow, worker::turn::Turn};
use bytes::Bytes;
use model::{
    Millis, Name,
    message::{DeathReason, Message},
};
use std::sync::Arc;

/// What became of a message that was to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is in under this number.
    Kept {
        seq: u64,
        /// It is to be written to the log.
        logged: bool,
    },
    /// It counts as served, though it is not kept: a duplicate, or going in circles.
    Served,
    /// No room.
    Refused,
}

impl Queue {
    /// Takes a message in. `log_bytes` is this queue's share of its record.
    pub(crate) fn enqueue(
        &mut self,
        message: &Arc<Message>,
        via: u32,
        log_bytes: u32,
        turn: &mut Turn<'_>,
    ) -> Entry {
        if self.settings.overflow != Overflow::DropHead && self.is_full_for(message, turn) {
            return self.refuse(message, via, turn);
        }
        if !self.admits(message, turn.now, turn.limits.dedup_ids) {
            return Entry::Served;
        }
        let ttl_ms = self.ttl_of(message);
        let expires_ms = self.expires_ms(message, turn.now);
        let mut slot = Slot::new(message.clone(), via, expires_ms);
        slot.logged = message.durable && self.settings.durable;
        slot.log_bytes = if slot.logged { log_bytes } else { 0 };
        let delay_ms = self.delay_of(message);
        if delay_ms > 0 {
            slot.state = State::Delayed(turn.now.saturating_add(delay_ms));
        }
        let (logged, ready) = (slot.logged, slot.is_ready());
        let seq = self.insert(slot);
        if logged {
            self.note_logged(seq, turn.epoch);
        }
        if ready {
            if ttl_ms == Some(0) {
                self.deliver_or_expire(seq, turn);
            }
            self.enforce_length(turn);
        }
        Entry::Kept { seq, logged }
    }

    /// How long it is not deliverable after it entered.
    pub(super) fn delay_of(&self, message: &Message) -> Millis {
        message.delay_ms.unwrap_or(self.settings.delay_ms)
    }

    /// When a message expires that entered at a time. Its time to live begins when it becomes deliverable.
    pub(super) fn expires_ms(&self, message: &Message, entered: Millis) -> Millis {
        let due = entered.saturating_add(self.delay_of(message));
        self.ttl_of(message).map_or(NEVER, |ttl| due.saturating_add(ttl))
    }

    /// The lower one of the message's and the queue's time to live.
    fn ttl_of(&self, message: &Message) -> Option<Millis> {
        match (message.ttl_ms, self.settings.message_ttl_ms) {
            (Some(own), Some(queue)) => Some(own.min(queue)),
            (own, queue) => own.or(queue),
        }
    }

    fn insert(&mut self, slot: Slot) -> u64 {
        let (state, body, expires_ms, log_bytes) =
            (slot.state, slot.body_bytes(), slot.expires_ms, slot.log_bytes);
        self.counts.bytes += slot.cost();
        let seq = self.slots.push(slot);
        self.counts.log_bytes += u64::from(log_bytes);
        self.count(seq, state, body);
        if expires_ms != NEVER {
            self.expiring = true;
            self.schedule.at(expires_ms);
        }
        if let Some(slot) = self.slots.find(seq) {
            self.order.enqueued(seq, slot, &self.slots);
        }
        seq
    }

    /// False for a duplicate and for a message that goes in circles.
    fn admits(&mut self, message: &Message, now: Millis, dedup_ids: usize) -> bool {
        if message.extra.is_none() {
            return true;
        }
        !is_cycle(message, &self.name)
            && (!self.settings.fifo
                || self.dedup.admit(message, self.settings.dedup_per_group, now, dedup_ids))
    }

    /// What the message was known by that entered with this deduplication id.
    pub(crate) fn find_duplicate(&self, group: Name, id: Name, now: Millis) -> Option<Bytes> {
        let group = if self.settings.dedup_per_group { group } else { Name::new() };
        self.dedup.identity(group, id, now)
    }

    /// Remembers the deduplication id of a message that was read from the log.
    pub(super) fn note_replayed(&mut self, message: &Message, dedup_ids: usize) {
        if self.settings.fifo {
            self.dedup.admit(message, self.settings.dedup_per_group, entered_ms(message), dedup_ids);
        }
    }

    fn is_over(&self, more: u64, more_bytes: u64) -> bool {
        self.settings.max_length.is_some_and(|max| self.counts.ready + more > max)
            || self.settings.max_length_bytes.is_some_and(|max| self.counts.ready_bytes + more_bytes > max)
    }

    /// Whether one more message is too much, after what can be handed out was.
    fn is_full_for(&mut self, message: &Message, turn: &mut Turn<'_>) -> bool {
        let body = message.body.len() as u64;
        if self.is_over(1, body) {
            self.pump(turn, usize::MAX);
        }
        self.is_over(1, body)
    }

    fn refuse(&mut self, message: &Arc<Message>, via: u32, turn: &mut Turn<'_>) -> Entry {
        if self.settings.overflow == Overflow::RejectPublishDeadLetter {
            let seq = self.insert(Slot::new(message.clone(), via, NEVER));
            self.die(seq, DeathReason::MaxLength, turn);
        }
        Entry::Refused
    }

    /// Drops from the head what is over the length limit, after what can be handed out was.
    pub(crate) fn enforce_length(&mut self, turn: &mut Turn<'_>) {
        if self.settings.overflow != Overflow::DropHead || !self.is_over(0, 0) {
            return;
        }
        self.pump(turn, usize::MAX);
        while self.is_over(0, 0) {
            // When every group is held, the limit still counts.
            let oldest = |queue: &Self| {
                let mut ready = queue.slots.iter().filter(|(_, slot)| slot.is_ready());
                ready.next().map(|(seq, _)| seq).filter(|_| !queue.awaits_page())
            };
            let Some(seq) = self.peek().or_else(|| oldest(self)) else { return };
            self.die(seq, DeathReason::MaxLength, turn);
        }
    }

    /// Time to live 0: straight to a consumer or not at all.
    fn deliver_or_expire(&mut self, seq: u64, turn: &mut Turn<'_>) {
        if let Some(slot) = self.slots.find_mut(seq) {
            slot.expires_ms = NEVER;
        }
        self.pump(turn, usize::MAX);
        if let Some(slot) = self.slots.find_mut(seq) {
            slot.expires_ms = turn.now;
            if slot.is_ready() {
                self.die(seq, DeathReason::Expired, turn);
            }
        }
    }
}
