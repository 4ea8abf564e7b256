//! A queue out of the log. Messages may be read twice, and after records that are about them: cleaning the log copies
//! what is live to its tail.

use super::{
    Queue,
    order::Order,
    slot::{NEVER, Slot, State, entered_ms},
};
use crate::worker::turn::Turn;
use model::{Millis, message::Message, record::Record};
use std::sync::Arc;

impl Queue {
    /// A message entered under this number.
    pub(crate) fn replay_enqueue(
        &mut self,
        seq: u64,
        message: &Arc<Message>,
        via: u32,
        log_bytes: u32,
        dedup_ids: usize,
    ) {
        let ttl = self.ttl_of(message);
        let expires_ms = ttl.map_or(NEVER, |ttl| entered_ms(message).saturating_add(ttl));
        let mut slot = Slot::new(message.clone(), via, expires_ms);
        slot.logged = true;
        slot.log_bytes = log_bytes;
        slot.failures = self.replayed_counts.get(&seq).copied().unwrap_or(0);
        self.note_logged(seq, 0);
        if self.slots.insert(seq, slot) {
            self.note_replayed(message, dedup_ids);
        }
    }

    /// These numbers are settled.
    pub(crate) fn replay_settle(&mut self, seqs: &[u64]) {
        for seq in seqs {
            self.slots.remove(*seq);
            self.replayed_counts.remove(seq);
            self.slots.advance_to(seq.saturating_add(1));
            self.last_logged = self.last_logged.max(Some(*seq));
        }
    }

    /// Everything up to this number is gone.
    pub(crate) fn replay_purge(&mut self, through: u64) {
        let gone: Vec<u64> =
            self.slots.iter().map(|(seq, _)| seq).take_while(|seq| *seq <= through).collect();
        gone.into_iter().for_each(|seq| drop(self.slots.remove(seq)));
        self.replayed_counts = self.replayed_counts.split_off(&through.saturating_add(1));
        self.slots.advance_to(through.saturating_add(1));
        self.last_logged = self.last_logged.max(Some(through));
    }

    /// A message came back so often.
    pub(crate) fn replay_count(&mut self, seq: u64, failures: u32) {
        let failures = u16::try_from(failures).unwrap_or(u16::MAX);
        match self.slots.find_mut(seq) {
            Some(slot) => slot.failures = slot.failures.max(failures),
            None => {
                self.replayed_counts.insert(seq, failures);
            }
        }
    }

    /// Everything was read: works out what follows from it.
    pub(crate) fn recovered(&mut self, turn: &mut Turn<'_>) {
        self.replayed_counts.clear();
        let queue_delay_ms = self.settings.delay_ms;
        let mut states = Vec::with_capacity(self.slots.len());
        self.counts = Default::default();
        for (seq, slot) in self.slots.iter_mut() {
            if slot.is_ready() && slot.deliveries == 0 {
                slot.state = restored_state(slot, queue_delay_ms, turn.now);
                slot.deliveries = u32::from(slot.failures);
                slot.redelivered = slot.failures > 0;
            }
            self.counts.bytes += slot.cost();
            self.counts.log_bytes += u64::from(slot.log_bytes);
            self.expiring |= slot.expires_ms != NEVER;
            states.push((seq, slot.state, slot.body_bytes()));
        }
        for (seq, state, body) in states {
            self.count(seq, state, body);
        }
        self.order = Order::build(&self.settings, &self.slots);
        self.used(turn.now);
        self.enforce_length(turn);
    }

    /// True when this message is still in.
    pub(crate) fn holds(&self, seq: u64) -> bool {
        self.slots.find(seq).is_some_and(|slot| slot.logged)
    }

    /// The delivery count of a message as it would be written now.
    pub(crate) fn surviving_count(&self, seq: u64) -> Option<Record> {
        let failures = self.slots.find(seq).filter(|slot| slot.logged).map(|slot| slot.failures)?;
        Some(Record::Count { queue: self.id, seq, deliveries: failures.into() })
    }

    /// What of a settlement must stay: the highest number ever used, so that it is not used again.
    pub(crate) fn surviving_mark(&self, last: Option<u64>) -> Option<Record> {
        let last = last.filter(|last| Some(*last) == self.last_logged && !self.holds(*last))?;
        Some(Record::Settle { queue: self.id, seqs: vec![last] })
    }
}

/// The state of a message after a restart: leases do not outlive it, delays do.
fn restored_state(slot: &Slot, queue_delay_ms: u64, now: Millis) -> State {
    let delay_ms = slot.message.delay_ms.unwrap_or(queue_delay_ms);
    let due = entered_ms(&slot.message).saturating_add(delay_ms);
    if delay_ms > 0 && due > now { State::Delayed(due) } else { State::Ready }
}
