//! Pages of one shard that were read back for its readers: few, the most recently used ones. Owns what was asked for
//! and not answered yet. Refuses which page holds what.

use super::shard::Entry;
use model::Millis;
use std::collections::VecDeque;

/// Pages of one shard that are kept in memory, and that may be asked for at a time. As no more than these can come in
/// one turn, what comes is still there when the readers have their turn.
const PAGES_MAX: usize = 4;

#[derive(Debug)]
struct Loaded {
    page: u64,
    /// What it takes in memory, about.
    bytes: u64,
    entries: VecDeque<Entry>,
    used_ms: Millis,
    /// A reader came to its end, and nobody has looked into it since.
    passed: bool,
}

/// The pages of a shard that are in memory.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The one to go next first.
    loaded: VecDeque<Loaded>,
    asked: Vec<u64>,
    bytes: u64,
}

impl Cache {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.loaded.is_empty()
    }

    fn find(&self, page: u64) -> Option<usize> {
        self.loaded.iter().position(|loaded| loaded.page == page)
    }

    /// What a page holds, when it is here. It counts as used.
    pub(super) fn open(&mut self, page: u64, now: Millis) -> Option<&VecDeque<Entry>> {
        let index = self.find(page)?;
        let mut loaded = self.loaded.remove(index)?;
        (loaded.used_ms, loaded.passed) = (now, false);
        self.loaded.push_back(loaded);
        self.loaded.back().map(|loaded| &loaded.entries)
    }

    /// True when the page is now to be asked for: it is not here, was not asked for, and not too many were.
    pub(super) fn ask(&mut self, page: u64) -> bool {
        let wanted = self.asked.len() < PAGES_MAX && !self.asked.contains(&page) && self.find(page).is_none();
        if wanted {
            self.asked.push(page);
        }
        wanted
    }

    /// True when a page can come that nobody needs yet.
    pub(super) fn has_room(&self) -> bool {
        self.loaded.len() + self.asked.len() < PAGES_MAX
            || self.loaded.front().is_some_and(|next| next.passed)
    }

    /// True when this page was asked for.
    pub(super) fn arrived(&mut self, page: u64) -> bool {
        let known = self.asked.iter().position(|asked| *asked == page);
        known.map(|index| self.asked.swap_remove(index)).is_some()
    }

    /// Keeps a page, and drops what is too much.
    pub(super) fn insert(&mut self, page: u64, bytes: u64, entries: VecDeque<Entry>, now: Millis) {
        self.forget(page);
        while self.loaded.len() >= PAGES_MAX {
            self.remove(0);
        }
        self.bytes += bytes;
        self.loaded.push_back(Loaded { page, bytes, entries, used_ms: now, passed: false });
    }

    /// A reader is through with a page: it goes before others.
    pub(super) fn pass(&mut self, page: u64) {
        let Some(mut loaded) = self.find(page).and_then(|index| self.loaded.remove(index)) else { return };
        loaded.passed = true;
        self.loaded.push_front(loaded);
    }

    /// A page is not needed any more.
    pub(super) fn forget(&mut self, page: u64) {
        if let Some(index) = self.find(page) {
            self.remove(index);
        }
    }

    /// Drops what was not used since a time; gives when the oldest of what stays was used.
    pub(super) fn expire(&mut self, since: Millis) -> Option<Millis> {
        self.loaded.retain(|loaded| loaded.used_ms > since);
        self.bytes = self.loaded.iter().map(|loaded| loaded.bytes).sum();
        self.loaded.iter().map(|loaded| loaded.used_ms).min()
    }

    fn remove(&mut self, index: usize) {
        if let Some(loaded) = self.loaded.remove(index) {
            self.bytes = self.bytes.saturating_sub(loaded.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_page_goes() {
        let mut cache = Cache::default();
        for page in 0..6 {
            assert!(cache.ask(page) && !cache.ask(page) && cache.arrived(page) && !cache.arrived(page));
            cache.insert(page, 10, VecDeque::new(), page);
            assert!(!cache.ask(page), "it is here");
            assert_eq!(cache.open(0, page).is_some(), page < 6, "what is used stays");
        }
        assert_eq!(cache.bytes(), 40);
        assert!(cache.open(1, 6).is_none() && cache.open(2, 6).is_none() && cache.open(3, 6).is_some());
        assert!(!cache.has_room());
        cache.pass(0);
        assert!(cache.has_room());
        cache.insert(7, 10, VecDeque::new(), 7);
        assert!(cache.open(0, 7).is_none(), "what was passed goes first");
        assert_eq!((cache.expire(5), cache.bytes()), (Some(6), 20));
        assert_eq!((cache.expire(7), cache.is_empty()), (None, true));
    }

    #[test]
    fn few_pages_are_asked_for_at_a_time() {
        let mut cache = Cache::default();
        assert_eq!((0..9).filter(|page| cache.ask(*page)).count(), PAGES_MAX);
        assert!(!cache.has_room() && cache.arrived(2) && cache.has_room() && cache.ask(8));
    }
}
