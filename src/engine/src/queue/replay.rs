//! A queue out of its log: first perhaps a snapshot, then the contents of what was live in it, then what came after.
//! Messages may be read twice, and after records that are about them: cleaning the log copies what is live to its
//! tail.

use super::{
    Queue,
    cold::{ColdPage, Note},
    order::Order,
    slot::{NEVER, Slot, State, entered_ms},
    state::saturated,
};
use crate::worker::turn::Turn;
use model::{
    Millis,
    message::Message,
    record::{Page, Span},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What was read, until everything is.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// The number after the highest one that was used.
    pub(super) next: u64,
    /// Live by the snapshot, its content not found yet.
    pub(super) awaited: BTreeSet<u64>,
    /// Failed deliveries.
    pub(super) counts: BTreeMap<u64, u16>,
    /// Deadline and deliveries of leases.
    pub(super) leases: BTreeMap<u64, (Millis, u32)>,
}

impl Queue {
    /// Whether the content of this message is wanted, which was logged before the snapshot.
    pub(crate) fn awaits(&self, seq: u64) -> bool {
        self.replayed.awaited.contains(&seq)
    }

    /// A message entered under this number.
    pub(crate) fn replay_enqueue(
        &mut self,
        seq: u64,
        message: &Arc<Message>,
        via: u32,
        log_bytes: u32,
        dedup_ids: usize,
    ) {
        self.replayed.awaited.remove(&seq);
        self.use_number(seq);
        if self.cold.page_of(seq).is_some() {
            return;
        }
        let expires_ms = self.expires_ms(message, entered_ms(message));
        let mut slot = Slot::new(message.clone(), via, expires_ms);
        slot.logged = true;
        slot.log_bytes = log_bytes;
        self.note_logged(seq, 0);
        if self.slots.insert(seq, slot) {
            self.note_replayed(message, dedup_ids);
        }
    }

    fn use_number(&mut self, seq: u64) {
        self.replayed.next = self.replayed.next.max(seq.saturating_add(1));
    }

    /// These numbers are settled.
    pub(crate) fn replay_settle(&mut self, seqs: &[u64]) {
        for seq in seqs {
            self.use_number(*seq);
            self.slots.remove(*seq);
            self.cold.settle(*seq);
            self.replayed.awaited.remove(seq);
            self.replayed.counts.remove(seq);
            self.replayed.leases.remove(seq);
        }
    }

    /// Everything up to this number is gone.
    pub(crate) fn replay_purge(&mut self, through: u64) {
        self.use_number(through);
        let first_kept = through.saturating_add(1);
        let gone: Vec<u64> =
            self.slots.iter().map(|(seq, _)| seq).take_while(|seq| *seq <= through).collect();
        gone.into_iter().for_each(|seq| drop(self.slots.remove(seq)));
        self.cold.clear();
        let replayed = &mut self.replayed;
        replayed.awaited = replayed.awaited.split_off(&first_kept);
        replayed.counts = replayed.counts.split_off(&first_kept);
        replayed.leases = replayed.leases.split_off(&first_kept);
    }

    /// The queue ended: what it held is gone, even if its definition is still there.
    pub(crate) fn replay_drop(&mut self) {
        let next = self.replayed.next.max(self.slots.next_seq()).max(self.cold.end());
        if let Some(last) = next.checked_sub(1) {
            self.replay_purge(last);
        }
    }

    /// A message came back so often.
    pub(crate) fn replay_count(&mut self, seq: u64, failures: u32) {
        let count = self.replayed.counts.entry(seq).or_default();
        *count = saturated(failures).max(*count);
        // What is counted is the end of a lease: that must not end, and count, once more.
        if let Some((until_ms, _)) = self.replayed.leases.get_mut(&seq) {
            *until_ms = 0;
        }
    }

    /// Messages were leased.
    pub(crate) fn replay_lease(&mut self, until_ms: Millis, taken: &[(u64, u32)]) {
        self.replayed.leases.extend(taken.iter().map(|(seq, deliveries)| (*seq, (until_ms, *deliveries))));
    }

    /// A stretch lies in a page; what of it is not here any more was settled before.
    pub(crate) fn replay_page(&mut self, page: Page) {
        if page.first >= page.end() || self.cold.page_of(page.first).is_some() {
            return;
        }
        let mut cold = ColdPage::new(page);
        for seq in page.first..page.end() {
            if self.slots.remove(seq).is_none() && !self.replayed.awaited.remove(&seq) {
                cold.settled_before(seq);
            }
        }
        self.cold.insert(cold);
    }

    /// Numbers that are live by the snapshot and that nothing else was heard of: their content is lost.
    pub(crate) fn missing(&self) -> Vec<Span> {
        super::cold::spans(self.replayed.awaited.iter().copied())
    }

    /// Everything was read: works out what follows from it. Comes before [`Queue::recovered`].
    pub(crate) fn end_replay(&mut self, now: Millis) {
        let replayed = std::mem::take(&mut self.replayed);
        self.slots.advance_to(replayed.next.max(self.cold.end()));
        self.slots.spill(self.cold.end());
        self.in_log_from = 0;
        self.apply_notes(replayed);
        let queue_delay_ms = self.settings.delay_ms;
        let mut states = Vec::with_capacity(self.slots.len());
        self.counts = Default::default();
        for (seq, slot) in self.slots.iter_mut() {
            if slot.is_ready() {
                slot.state = restored_state(slot, queue_delay_ms, now);
            }
            self.counts.bytes += slot.cost();
            self.counts.log_bytes += u64::from(slot.log_bytes);
            self.expiring |= slot.expires_ms != NEVER;
            states.push((seq, slot.state, slot.body_bytes()));
        }
        for (seq, state, body) in states {
            self.count(seq, state, body);
        }
        self.recover_pages();
        self.order = Order::build(&self.settings, &self.slots);
    }

    /// Its messages become deliverable.
    pub(crate) fn recovered(&mut self, turn: &mut Turn<'_>) {
        self.ask_for_noted(turn);
        self.used(turn.now);
        self.enforce_length(turn);
    }

    /// Gives the messages what is known about them; of those in pages it is kept until they are read.
    fn apply_notes(&mut self, replayed: Replayed) {
        let mut notes: BTreeMap<u64, Note> = BTreeMap::new();
        for (seq, failures) in replayed.counts {
            notes.entry(seq).or_default().failures = failures;
        }
        for (seq, (until_ms, deliveries)) in replayed.leases {
            let note = notes.entry(seq).or_default();
            (note.until_ms, note.deliveries) = (until_ms, deliveries);
        }
        for (seq, note) in notes {
            if let Some(slot) = self.slots.find_mut(seq) {
                slot.apply(note);
            } else if self.cold.page_of(seq).is_some_and(|page| !page.is_settled(seq)) {
                self.cold.notes.insert(seq, note);
            }
        }
    }

    fn recover_pages(&mut self) {
        // A replay leaves the files of dead pages to whoever tidies up.
        self.cold.dead.clear();
        for page in self.cold.pages_mut() {
            page.chill();
            self.counts.ready += u64::from(page.cold);
            self.counts.ready_bytes += page.counted.0;
            self.counts.bytes += page.counted.1;
            self.counts.cold_bytes += page.counted.1;
        }
        // Whether something in them expires is only known once they were read.
        self.expiring |= !self.cold.is_empty();
    }

    /// True when the log must keep this message.
    pub(crate) fn holds(&self, seq: u64) -> bool {
        self.slots.find(seq).is_some_and(|slot| slot.logged && !slot.paged)
    }
}

impl Slot {
    /// What was known of a message before the restart.
    pub(super) fn apply(&mut self, note: Note) {
        self.failures = note.failures;
        self.deliveries = note.deliveries.max(note.failures.into());
        self.redelivered = self.deliveries > 0;
        self.told = note.deliveries;
        if note.until_ms > 0 {
            self.state = State::Timed(note.until_ms);
        }
    }
}

/// The state of a message after a restart: leases of connections do not outlive it, delays and deadlines do.
fn restored_state(slot: &Slot, queue_delay_ms: u64, now: Millis) -> State {
    let delay_ms = slot.message.delay_ms.unwrap_or(queue_delay_ms);
    let due = entered_ms(&slot.message).saturating_add(delay_ms);
    if delay_ms > 0 && due > now && slot.deliveries == 0 { State::Delayed(due) } else { State::Ready }
}
