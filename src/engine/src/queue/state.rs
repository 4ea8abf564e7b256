//! A queue's state for a snapshot, and taken from one.

use super::{
    Queue,
    cold::{ColdPage, spans},
    slot::{Slot, State},
};
use model::record::QueueState;

impl Queue {
    /// What the records about it add up to, all but the contents of its messages. `None` when there are none.
    pub(crate) fn snapshot(&self) -> Option<QueueState> {
        if !self.settings.durable || self.slots.next_seq() == 0 {
            return None;
        }
        let logged = || self.slots.iter().filter(|(_, slot)| slot.logged);
        let failures =
            logged().filter(|(_, slot)| slot.failures > 0 && self.settings.delivery_limit.is_some());
        let mut failures: Vec<_> = failures.map(|(seq, slot)| (seq, u32::from(slot.failures))).collect();
        let mut leases: Vec<_> = logged()
            .filter(|(_, slot)| slot.told > 0)
            .map(|(seq, slot)| (seq, deadline(slot), slot.told))
            .collect();
        for (seq, note) in &self.cold.notes {
            if note.failures > 0 {
                failures.push((*seq, note.failures.into()));
            }
            if note.deliveries > 0 {
                leases.push((*seq, note.until_ms, note.deliveries));
            }
        }
        failures.sort_unstable();
        leases.sort_unstable();
        Some(QueueState {
            queue: self.id,
            next: self.slots.next_seq(),
            live: spans(logged().filter(|(_, slot)| !slot.paged).map(|(seq, _)| seq)),
            failures,
            pages: self.cold.state(),
            leases,
            dedup: self.dedup.state(),
        })
    }

    /// Takes a snapshot's state in, before anything else is read.
    pub(crate) fn restore(&mut self, state: &QueueState) {
        let replayed = &mut self.replayed;
        replayed.next = state.next;
        replayed.awaited = state.live.iter().flat_map(|(first, last)| *first..=*last).collect();
        replayed.counts = state.failures.iter().map(|(seq, count)| (*seq, saturated(*count))).collect();
        replayed.leases =
            state.leases.iter().map(|(seq, until_ms, deliveries)| (*seq, (*until_ms, *deliveries))).collect();
        for (page, settled) in &state.pages {
            let mut page = ColdPage::new(*page);
            settled.iter().flat_map(|(first, last)| *first..=*last).for_each(|seq| page.settled_before(seq));
            self.cold.insert(page);
        }
        self.dedup.restore(&state.dedup);
    }
}

/// Until when a message is leased; 0 when it came back.
fn deadline(slot: &Slot) -> u64 {
    if let State::Timed(until_ms) = slot.state { until_ms } else { 0 }
}

/// A count as a slot holds it.
pub(super) fn saturated(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
