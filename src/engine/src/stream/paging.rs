//! The way of a stream's older records out of memory and log into pages, and back for those who read them.

use super::{
    Stream,
    shard::{Entry, PageOutState, Shard, append_records},
};
use crate::worker::{
    WorkerLimits,
    effect::{PageIn, PageOut},
    turn::Turn,
};
use model::{
    Millis,
    ids::QueueId,
    record::{Page, Record},
};
use std::collections::VecDeque;

/// Pages of one stream that are being written at a time.
const WRITING_MAX: usize = 8;

/// Time until the next attempt after a page could not be written.
const RETRY_MS: Millis = 5_000;

/// A page that nobody looked into for so long is dropped from memory.
const IDLE_MS: Millis = 10_000;

/// Shards of a stream with more share what one shard may hold in memory, down to this part each.
const SHARE_MAX: usize = 16;

/// While memory is short, a shard keeps this part of a page at most.
const PRESSED_PART: usize = 8;

/// What a shard may keep in memory of what is in no page, and most of one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLimits {
    messages: usize,
    bytes: u64,
    tail_messages: usize,
    tail_bytes: u64,
}

impl Stream {
    fn page_limits(&self, limits: &WorkerLimits, pressed: bool) -> PageLimits {
        let share = self.shards.len().clamp(1, SHARE_MAX);
        let (messages, bytes) = (limits.page_messages / share, limits.page_bytes / share as u64);
        let (tail_messages, tail_bytes) = if pressed {
            (messages / PRESSED_PART, bytes / PRESSED_PART as u64)
        } else {
            (messages * 2, bytes * 2)
        };
        PageLimits { messages: messages.max(1), bytes, tail_messages: tail_messages.max(1), tail_bytes }
    }

    /// Notes to look after a shard's length.
    pub(super) fn consider_page_out(&mut self, number: u32, turn: &Turn<'_>) {
        let limits = self.page_limits(turn.limits, turn.pressed);
        if self.settings.durable
            && self.shards.get(number as usize).is_some_and(|shard| shard.is_swollen(limits))
        {
            self.swollen.insert(number);
        }
    }

    /// Asks to move the oldest records of shards that hold too many out of memory, a page each.
    pub(super) fn page_out(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.pressed, turn.pressed) != turn.pressed && turn.pressed {
            (0u32..).take(self.shards.len()).for_each(|number| self.consider_page_out(number, turn));
        }
        if self.swollen.is_empty() {
            return;
        }
        // What is in a page must have been in the log: otherwise its end could come there before its beginning.
        self.flush(turn.effects);
        let limits = self.page_limits(turn.limits, turn.pressed);
        while self.writing < WRITING_MAX
            && let Some(number) = self.swollen.pop_first()
        {
            let Some(shard) = self.shards.get_mut(number as usize) else { continue };
            if let Some((page, records)) = shard.cut_page(self.id, number, limits) {
                self.writing += 1;
                let (queue, first) = (self.id, page.first);
                turn.effects.page_outs.push(PageOut { queue, shard: number, first, records });
            }
        }
    }

    /// A page was written to this file, or could not be.
    pub(crate) fn paged_out(
        &mut self,
        number: u32,
        first: u64,
        file: Option<(u64, u64)>,
        turn: &mut Turn<'_>,
    ) {
        let page = self.shards.get(number as usize).and_then(Shard::writing);
        let keep = page.is_some_and(|page| self.readers.any_in(number, page));
        let written = self.with_shard(number, |shard| shard.written(first, file, keep, turn.now));
        match written.flatten() {
            Some(Written::Page(page)) => {
                turn.effects.records.push(Record::Page { queue: self.id, shard: number, page });
            }
            Some(Written::Failed) => {
                let at = turn.now.saturating_add(RETRY_MS);
                self.retries.push_back((at, number));
                self.schedule.at(at);
            }
            Some(Written::Needless) => turn.effects.dead_pages.extend(file.map(|(no, _)| no)),
            None => return turn.effects.dead_pages.extend(file.map(|(no, _)| no)),
        }
        self.writing = self.writing.saturating_sub(1);
        self.note_cached(number, turn.now);
        self.consider_page_out(number, turn);
    }

    /// Plans what could not be done before anew.
    pub(super) fn retry_page_outs(&mut self, turn: &Turn<'_>) {
        while let Some((_, number)) = self.retries.pop_front_if(|(at, _)| *at <= turn.now) {
            if let Some(shard) = self.shards.get_mut(number as usize) {
                shard.page_out = PageOutState::Idle;
                self.consider_page_out(number, turn);
            }
        }
        if let Some((at, _)) = self.retries.front() {
            self.schedule.at(*at);
        }
    }

    /// Asks for a page, unless it was asked for or too many were: then it will be asked for when one of those comes.
    pub(super) fn ask_page(&mut self, number: u32, page: Page, turn: &mut Turn<'_>) {
        let Some(shard) = self.shards.get_mut(number as usize) else { return };
        if shard.cache.ask(page.no) {
            turn.effects.page_ins.push(PageIn { queue: self.id, shard: number, page });
        }
    }

    /// A page that was asked for is here.
    pub(crate) fn paged_in(&mut self, number: u32, no: u64, records: &[Record], turn: &mut Turn<'_>) {
        let Some(shard) = self.shards.get_mut(number as usize) else { return };
        if !shard.cache.arrived(no) {
            return;
        }
        // Retention may have dropped it in the meantime; then its readers go on behind it.
        if let Some(page) = shard.pages.iter().find(|page| page.no == no).copied() {
            let Some(entries) = page_entries(self.id, number, page, records) else {
                return self.page_is_wrong(number, page, turn);
            };
            self.with_shard(number, |shard| shard.cache.insert(no, page.cost_bytes, entries, turn.now));
            self.note_cached(number, turn.now);
        }
        self.answer_reads(number, turn);
    }

    fn note_cached(&mut self, number: u32, now: Millis) {
        if self.shards.get(number as usize).is_some_and(|shard| !shard.cache.is_empty()) {
            self.cached.insert(number);
            self.schedule.at(now.saturating_add(IDLE_MS));
        }
    }

    /// Drops pages that nobody has looked into for a while.
    pub(super) fn drop_idle_pages(&mut self, now: Millis) {
        let since = now.saturating_sub(IDLE_MS);
        for number in std::mem::take(&mut self.cached) {
            let oldest = self.with_shard(number, |shard| shard.cache.expire(since)).flatten();
            if let Some(used_ms) = oldest {
                self.cached.insert(number);
                self.schedule.at(used_ms.saturating_add(IDLE_MS));
            }
        }
    }
}

/// How the writing of a page ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written {
    /// It is where its records are from now on.
    Page(Page),
    /// Retention was quicker: nobody needs it.
    Needless,
    /// There is no file.
    Failed,
}

impl Shard {
    /// True when a page is to be written.
    fn is_swollen(&self, limits: PageLimits) -> bool {
        let long = self.tail.len() > limits.tail_messages || self.tail_bytes > limits.tail_bytes;
        matches!(self.page_out, PageOutState::Idle) && long && self.tail.len() > 1
    }

    /// Begins to write the oldest records of the tail to a page; the newest stays.
    fn cut_page(&mut self, stream: QueueId, shard: u32, limits: PageLimits) -> Option<(Page, Vec<Record>)> {
        if !self.is_swollen(limits) {
            return None;
        }
        let front = self.tail.front()?;
        let mut page = Page {
            no: 0,
            file_bytes: 0,
            first: front.offset,
            count: 0,
            body_bytes: 0,
            cost_bytes: 0,
            first_ms: front.at_ms,
            last_ms: front.at_ms,
        };
        let written = self.tail.len().saturating_sub(self.unwritten.max(1));
        for entry in self.tail.iter().take(written.min(limits.messages)) {
            let cost = entry.message.cost_bytes() as u64;
            if page.count > 0 && (page.cost_bytes + cost > limits.bytes || page.end() != entry.offset) {
                break;
            }
            page.count += 1;
            page.cost_bytes += cost;
            page.body_bytes += entry.message.body.len() as u64;
            page.last_ms = entry.at_ms;
        }
        let mut records = Vec::new();
        append_records(stream, shard, self.tail.iter().take(page.count as usize), &mut records);
        (page.count > 0).then(|| {
            self.page_out = PageOutState::Writing(page);
            (page, records)
        })
    }

    /// The page that is being written.
    fn writing(&self) -> Option<Page> {
        if let PageOutState::Writing(page) = self.page_out { Some(page) } else { None }
    }

    /// The page from `first` on is in this file, or could not be written; `None` when that one was not being written.
    /// With `keep` its records stay in memory as if they had been read back, where there is room.
    fn written(&mut self, first: u64, file: Option<(u64, u64)>, keep: bool, now: Millis) -> Option<Written> {
        let page = self.writing().filter(|page| page.first == first)?;
        let Some((no, file_bytes)) = file else {
            self.page_out = PageOutState::Paused;
            return Some(Written::Failed);
        };
        self.page_out = PageOutState::Idle;
        if page.end() <= self.first() {
            return Some(Written::Needless);
        }
        let page = Page { no, file_bytes, ..page };
        let is_whole = self.tail_first() == page.first;
        let entries = self.add_page(page);
        if keep && is_whole && self.cache.has_room() {
            self.cache.insert(no, page.cost_bytes, entries, now);
        }
        Some(Written::Page(page))
    }

    /// Takes a page in, and out of the tail what lies in it.
    fn add_page(&mut self, page: Page) -> VecDeque<Entry> {
        let count = self.tail.partition_point(|entry| entry.offset < page.end());
        let rest = self.tail.split_off(count);
        let entries = std::mem::replace(&mut self.tail, rest);
        let cost: u64 = entries.iter().map(|entry| entry.message.cost_bytes() as u64).sum();
        self.tail_bytes = self.tail_bytes.saturating_sub(cost);
        self.push_page(page);
        entries
    }

    /// Adds a page to the directory.
    pub(super) fn push_page(&mut self, page: Page) {
        self.paged.0 += u64::from(page.count);
        self.paged.1 += page.cost_bytes;
        self.pages.push_back(page);
    }
}

/// What a page's file holds, when that is what it must hold.
fn page_entries(stream: QueueId, shard: u32, page: Page, records: &[Record]) -> Option<VecDeque<Entry>> {
    let mut entries: VecDeque<Entry> = VecDeque::with_capacity(page.count as usize);
    let mut next = page.first;
    for record in records {
        let Record::Append { stream: of, shard: number, first_offset, at_ms, messages } = record else {
            return None;
        };
        if (*of, *number, *first_offset) != (stream, shard, next) {
            return None;
        }
        entries.extend((next..).zip(messages).map(|(offset, message)| Entry {
            offset,
            at_ms: *at_ms,
            message: message.clone(),
        }));
        next = next.saturating_add(messages.len() as u64);
    }
    (next == page.end()).then_some(entries)
}
