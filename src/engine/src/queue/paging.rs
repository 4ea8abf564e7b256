//! How a long queue leaves memory and log: its ready messages go out to pages oldest first, and come back before
//! their turn.
//!
//! ```text
//! returned, leased   page | page (read back) | page (cold) | ... | page (cold) | ring: what came last
//! ------------------ below the ring, in `Slots::old` ------------------------- | in memory and log
//! ```
//! Only a plain FIFO queue is paged, and of it only durable messages that were never handed out: what is transient
//! never touches the disk, and an order by priority or group needs all of its messages at hand.

use super::{
    Queue,
    cold::{ColdPage, Writing},
    order::Order,
    slot::{NEVER, Slot, entered_ms},
};
use crate::worker::{
    effect::{PageIn, PageOut},
    turn::Turn,
};
use model::{
    Millis,
    record::{Page, Record, Target},
};

/// Pages' worth of messages that may wait to be written before publishers do.
const PAGES_BEHIND_MAX: u64 = 24;

/// After a page could not be written.
const RETRY_MS: Millis = 1000;

impl Queue {
    /// The message that goes out next. `None` also while the next one must first be read from its page.
    pub(super) fn peek(&mut self) -> Option<u64> {
        let next = self.order.peek(&self.slots)?;
        if self.cold.is_empty() || !self.is_behind_cold(next) { Some(next) } else { None }
    }

    fn is_behind_cold(&self, seq: u64) -> bool {
        self.cold.first_cold().is_some_and(|page| seq >= page.page.first)
    }

    /// Something is ready, but its page must be read first.
    pub(super) fn awaits_page(&self) -> bool {
        !self.cold.is_empty() && self.counts.ready > 0 && self.cold.first_cold().is_some()
    }

    /// The messages whose expiry is looked at.
    pub(super) fn heads(&mut self) -> Vec<u64> {
        let mut heads = self.order.heads(&self.slots);
        if !self.cold.is_empty() {
            heads.retain(|seq| !self.is_behind_cold(*seq));
        }
        heads
    }

    /// Bytes of messages in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.counts.bytes.saturating_sub(self.counts.cold_bytes)
    }

    /// Messages come faster than pages are written.
    pub(crate) fn outruns_paging(&self, page_bytes: u64) -> bool {
        self.cold.writing.is_some() && self.counts.log_bytes > PAGES_BEHIND_MAX * page_bytes
    }

    /// Moves the next page out when there is too much, and asks for the next page when it will soon be needed.
    pub(super) fn turn_pages(&mut self, turn: &mut Turn<'_>) {
        if self.counts.log_bytes > turn.limits.page_bytes || self.slots.len() > turn.limits.page_messages {
            self.page_out(turn);
        }
        if !self.cold.is_empty() {
            self.read_ahead(turn);
        }
    }

    /// Twice what a page holds, or eight times while there is memory.
    fn is_long(&self, turn: &Turn<'_>) -> bool {
        let pages = if turn.pressed { 2 } else { 8 };
        self.counts.log_bytes > pages as u64 * turn.limits.page_bytes
            || self.slots.len() > pages * turn.limits.page_messages
    }

    fn page_out(&mut self, turn: &mut Turn<'_>) {
        let is_due = self.cold.writing.is_none() && self.cold.paused_until <= turn.now;
        if !is_due || !self.settings.durable || !self.is_long(turn) {
            return;
        }
        let Some(writing) = self.stretch(turn) else { return };
        let numbers = writing.first..writing.end();
        let record = |seq| {
            let slot = self.slots.find(seq).filter(|slot| slot.is_untouched())?;
            let targets = vec![Target { queue: self.id, seq, via: slot.via }];
            Some(Record::Enqueue { message: slot.message.clone(), targets })
        };
        // A stretch grows over many turns: one that something was deleted from since begins anew.
        let Some(records) = numbers.map(record).collect::<Option<Vec<_>>>() else { return };
        turn.effects.page_outs.push(PageOut { queue: self.id, shard: 0, first: writing.first, records });
        self.cold.writing = Some(writing);
    }

    /// The oldest stretch without gaps that makes a page. Goes on where it found too little before.
    fn stretch(&mut self, turn: &Turn<'_>) -> Option<Writing> {
        let Order::Fifo(fifo) = &self.order else { return None };
        let (limits, end) = (turn.limits, self.slots.next_seq());
        let lowest = fifo.next().max(self.slots.base());
        let mut found = self.cold.growing.take().filter(|growing| growing.first >= lowest);
        let mut found = found.take().unwrap_or_else(|| Writing::begin(lowest));
        let far = found.end().saturating_add(4 * limits.page_messages as u64).min(end);
        while found.end() < far {
            let is_full =
                found.count as usize >= limits.page_messages || found.cost_bytes >= limits.page_bytes;
            let slot = self.slots.find(found.end()).filter(|slot| slot.is_untouched() && !slot.paged);
            match slot {
                _ if is_full => return Some(found),
                Some(slot) => found.add(&slot.message),
                None if (found.count as usize) < limits.page_messages.div_ceil(16) => {
                    found = Writing::begin(found.end() + 1);
                }
                None => return Some(found),
            }
        }
        self.cold.growing = Some(found);
        None
    }

    /// A page was written, or could not be.
    pub(crate) fn paged_out(&mut self, first: u64, file: Option<(u64, u64)>, turn: &mut Turn<'_>) {
        let Some(writing) = self.cold.writing.take().filter(|writing| writing.first == first) else {
            turn.effects.dead_pages.extend(file.map(|(no, _)| no));
            return;
        };
        let Some(file) = file else {
            self.cold.paused_until = turn.now.saturating_add(RETRY_MS);
            self.schedule.at(self.cold.paused_until);
            return;
        };
        let mut page = ColdPage::new(writing.written(file));
        for seq in writing.first..writing.end() {
            match self.slots.find_mut(seq).filter(|slot| slot.logged && !slot.paged) {
                Some(slot) => {
                    self.counts.log_bytes -= u64::from(slot.log_bytes);
                    (slot.paged, slot.log_bytes) = (true, 0);
                }
                None => page.settled_before(seq),
            }
        }
        if page.live().next().is_some() {
            turn.effects.records.push(Record::Page { queue: self.id, shard: 0, page: page.page });
            self.put_away(page, turn);
        } else {
            self.cold.dead.push(page.page.no);
        }
    }

    /// Puts a page in its place, and its messages out of memory unless they are the next to go out.
    fn put_away(&mut self, mut page: ColdPage, turn: &mut Turn<'_>) {
        let (first, end) = (page.page.first, page.page.end());
        let Order::Fifo(fifo) = &self.order else { return };
        let is_next = self.cold.first_cold().is_none() && fifo.returned() < page.page.count as usize;
        if !(is_next && (self.wants_head() || !turn.pressed)) {
            for seq in first..end {
                if self.slots.find(seq).is_some_and(Slot::is_untouched)
                    && let Some(slot) = self.slots.remove(seq)
                {
                    page.cold += 1;
                    page.counted.0 += slot.body_bytes();
                    page.counted.1 += slot.cost();
                }
            }
        }
        self.counts.cold_bytes += page.counted.1;
        self.slots.spill(end);
        self.order.detach(end, &self.slots);
        self.cold.insert(page);
    }

    /// Somebody or something looks at the head.
    fn wants_head(&self) -> bool {
        self.consumers > 0
            || !self.waiting.is_empty()
            || self.expiring
            || self.settings.max_length.is_some()
            || self.settings.max_length_bytes.is_some()
    }

    fn read_ahead(&mut self, turn: &mut Turn<'_>) {
        let Order::Fifo(fifo) = &self.order else { return };
        let Some(next) = self.cold.first_cold() else { return };
        let page = next.page;
        // What is ready behind the page must wait for it.
        let is_far = fifo.has_before(page.first, next.cold as usize);
        if !self.cold.asked.is_empty() || is_far || !self.wants_head() {
            return;
        }
        self.ask_for(page, turn);
    }

    fn ask_for(&mut self, page: Page, turn: &mut Turn<'_>) {
        if self.cold.asked.insert(page.first) {
            turn.effects.page_ins.push(PageIn { queue: self.id, shard: 0, page });
        }
    }

    /// Asks for the first page whoever wants it.
    pub(super) fn ask_for_head(&mut self, turn: &mut Turn<'_>) {
        if let Some(page) = self.cold.first_cold().map(|cold| cold.page) {
            self.ask_for(page, turn);
        }
    }

    /// Pages with messages whose leases or failures are known are read at once: their deadlines run.
    pub(super) fn ask_for_noted(&mut self, turn: &mut Turn<'_>) {
        let noted: Vec<u64> = self.cold.notes.keys().copied().collect();
        for seq in noted {
            if let Some(page) = self.cold.page_of(seq).map(|cold| cold.page) {
                self.ask_for(page, turn);
            }
        }
    }

    /// A page was read.
    pub(crate) fn paged_in(&mut self, no: u64, records: Vec<Record>, turn: &mut Turn<'_>) {
        let Some(first) = self.cold.asked_page(no) else { return };
        let Some(page) = self.cold.page_mut(first) else { return };
        // Counted anew below: of a page that was partly settled at the start the share was only guessed.
        let (bodies, costs) = std::mem::take(&mut page.counted);
        self.counts.ready -= u64::from(std::mem::take(&mut page.cold));
        self.counts.ready_bytes -= bodies;
        self.counts.bytes -= costs;
        self.counts.cold_bytes -= costs;
        for record in records {
            let Record::Enqueue { message, targets } = record else { continue };
            let Some(target) = targets.first() else { continue };
            let settled = self.cold.page_mut(first).is_none_or(|page| page.is_settled(target.seq));
            if settled || self.slots.find(target.seq).is_some() {
                continue;
            }
            let expires_ms = self.expires_ms(&message, entered_ms(&message));
            self.expiring |= expires_ms != NEVER;
            let mut slot = Slot::new(message, target.via, expires_ms);
            (slot.logged, slot.paged) = (true, true);
            self.warm(target.seq, slot);
        }
        self.enforce_length(turn);
    }

    /// One message of a page is in memory again.
    fn warm(&mut self, seq: u64, mut slot: Slot) {
        slot.apply(self.cold.notes.remove(&seq).unwrap_or_default());
        let (state, body, cost) = (slot.state, slot.body_bytes(), slot.cost());
        if !self.slots.insert(seq, slot) {
            return;
        }
        self.counts.bytes += cost;
        self.count(seq, state, body);
        if let Some(slot) = self.slots.find(seq) {
            self.order.enqueued(seq, slot, &self.slots);
        }
    }

    /// Settles a message whose content is not in memory, if there is one.
    pub(super) fn finish_cold(&mut self, seq: u64) {
        let Some(page) = self.cold.page_of(seq).filter(|page| page.cold > 0 && !page.is_settled(seq)) else {
            return;
        };
        let each = |bytes: u64| bytes / u64::from(page.cold.max(1));
        let (body, cost) = (each(page.counted.0), each(page.counted.1));
        page.cold -= 1;
        page.counted.0 -= body;
        page.counted.1 -= cost;
        self.counts.ready -= 1;
        self.counts.ready_bytes -= body;
        self.counts.bytes -= cost;
        self.counts.cold_bytes -= cost;
        self.cold.settle(seq);
        self.settled.push(seq);
    }

    /// Every cold message is gone; each is told to the log.
    pub(super) fn purge_cold(&mut self) {
        let cold = self.cold.pages().filter(|page| page.cold > 0);
        let cold: Vec<u64> =
            cold.flat_map(ColdPage::live).filter(|seq| self.slots.find(*seq).is_none()).collect();
        for seq in cold {
            self.finish_cold(seq);
        }
    }

    /// All pages that it needs.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Page> + '_ {
        self.cold.pages().map(|page| page.page)
    }
}
