//! How queues and streams stand by a snapshot and by what the log says since: which numbers have ended, which pages count.

use crate::facts::{Ledger, Place};
use crate::spans::Spans;
use model::record::{Page, Record};
use std::collections::BTreeMap;

/// How a queue or a shard stood at the snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) live: Spans,
    /// Ascending, each with what in it was settled.
    pub(crate) pages: Vec<(Page, Spans)>,
    pub(crate) next: u64,
}

pub(crate) fn states_of(records: &[Record]) -> BTreeMap<Place, State> {
    let state = |record: &Record| match record {
        Record::Queue(state) => {
            let pages = state.pages.iter().map(|(page, settled)| (*page, Spans::of(settled))).collect();
            Some(((state.queue, 0), State { live: Spans::of(&state.live), pages, next: state.next }))
        }
        Record::Shard(state) => {
            let pages = state.pages.iter().map(|page| (*page, Spans::default())).collect();
            let place = (state.stream, state.shard);
            Some((place, State { live: Spans::of(&state.live), pages, next: state.next }))
        }
        _ => None,
    };
    records.iter().filter_map(state).collect()
}

/// How everything stood at the snapshot, and what the log says of it.
pub(crate) struct Standing {
    pub(crate) ledger: Ledger,
    pub(crate) states: BTreeMap<Place, State>,
}

impl Standing {
    pub(crate) fn has_ended(&self, place: Place, number: u64) -> bool {
        let by_log = self.ledger.0.get(&place).is_some_and(|facts| facts.has_ended(number));
        let by_state = |state: &State| number < state.next && !state.live.contains(number);
        by_log || (self.states.get(&place).is_some_and(by_state) && !self.is_paged(place, number))
    }

    /// Numbers behind the snapshot of which the log says neither that they entered nor that they ended. Numbers of
    /// messages that are not stored are among them.
    pub(crate) fn unheard_of(&self) -> BTreeMap<Place, Spans> {
        let mut unheard_of = BTreeMap::new();
        for (place, facts) in self.ledger.0.iter().filter(|(_, facts)| !facts.dropped) {
            let from = self.states.get(place).map_or(0, |state| state.next).max(facts.floor);
            let Some(last) = facts.next().checked_sub(1).filter(|last| *last >= from) else { continue };
            let mut heard_of = facts.entered.clone();
            facts.settled.runs().into_iter().for_each(|(first, last)| heard_of.insert(first, last));
            facts.pages.iter().for_each(|page| heard_of.insert(page.first, page.end().saturating_sub(1)));
            let numbers = Spans::of(&[(from, last)]).without(&heard_of);
            if !numbers.is_empty() {
                unheard_of.insert(*place, numbers);
            }
        }
        unheard_of
    }

    /// By the snapshot it lies in a page, and was not settled.
    pub(crate) fn is_paged(&self, place: Place, number: u64) -> bool {
        let Some(state) = self.states.get(&place) else { return false };
        let at = state.pages.partition_point(|(page, _)| page.first <= number);
        let page = at.checked_sub(1).and_then(|at| state.pages.get(at));
        page.is_some_and(|(page, settled)| covers(page, number) && !settled.contains(number))
    }

    /// Something in a page has not ended.
    pub(crate) fn is_needed(&self, place: Place, page: &Page) -> bool {
        (page.first..page.end()).any(|number| !self.has_ended(place, number))
    }

    /// All pages that the states and the log speak of.
    pub(crate) fn pages(&self) -> Vec<(Place, Page)> {
        let in_states =
            self.states.iter().flat_map(|(place, state)| state.pages.iter().map(|(page, _)| (*place, *page)));
        let noted =
            self.ledger.0.iter().flat_map(|(place, facts)| facts.pages.iter().map(|page| (*place, *page)));
        in_states.chain(noted).collect()
    }
}

/// Whether a number lies in a page.
pub(crate) fn covers(page: &Page, number: u64) -> bool {
    number >= page.first && number < page.end()
}
