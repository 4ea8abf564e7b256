//! Receives that found nothing, and gets whose message is still to be read from its page, that wait at a queue. First
//! come, first served.

use crate::worker::command::Asker;
use model::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// One waiting receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) asker: Asker,
    /// Where the asker stands among the worker's connections.
    pub(crate) place: u32,
    pub(crate) max: u32,
    pub(crate) lease_ms: u64,
    pub(crate) until: Millis,
    /// A get rather than a receive, and whether it settles at once.
    pub(crate) get: Option<bool>,
}

/// Waiting receives by order of arrival and by deadline.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    arrived: u64,
    by_arrival: BTreeMap<u64, Wait>,
    by_deadline: BTreeSet<(Millis, u64)>,
    gets: usize,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.by_arrival.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_arrival.is_empty()
    }

    pub(crate) fn push(&mut self, wait: Wait) -> u64 {
        self.arrived += 1;
        self.gets += usize::from(wait.get.is_some());
        self.by_deadline.insert((wait.until, self.arrived));
        self.by_arrival.insert(self.arrived, wait);
        self.arrived
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Wait> {
        let wait = self.by_arrival.remove(&id)?;
        self.by_deadline.remove(&(wait.until, id));
        self.gets -= usize::from(wait.get.is_some());
        Some(wait)
    }

    /// The one that waits longest.
    pub(crate) fn first(&self) -> Option<(u64, Wait)> {
        self.by_arrival.first_key_value().map(|(id, wait)| (*id, *wait))
    }

    /// The get that waits longest.
    pub(crate) fn first_get(&self) -> Option<u64> {
        if self.gets == 0 {
            return None;
        }
        self.by_arrival.iter().find(|(_, wait)| wait.get.is_some()).map(|(id, _)| *id)
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.by_deadline.first().map(|(until, _)| *until)
    }

    /// Takes out one whose time is over.
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<(u64, Wait)> {
        let (until, id) = *self.by_deadline.first()?;
        if until > now {
            return None;
        }
        self.remove(id).map(|wait| (id, wait))
    }

    /// Takes out everything, in order of arrival.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (u64, Wait)> + use<> {
        self.by_deadline.clear();
        self.gets = 0;
        std::mem::take(&mut self.by_arrival).into_iter()
    }
}
