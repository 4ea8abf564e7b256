//! Deduplication ids of a FIFO queue: an id that was taken in less than five minutes ago is not taken in again.

use super::groups::group_of;
use model::{Millis, Name, message::Message};
use std::collections::{BTreeMap, VecDeque};

/// How long an id is remembered.
pub(crate) const DEDUP_WINDOW_MS: Millis = 5 * 60 * 1000;

/// Group (empty when the scope is the queue) and id.
type Key = (Name, Name);

/// Ids by the time until which they count.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    until: BTreeMap<Key, Millis>,
    by_age: VecDeque<(Millis, Key)>,
}

impl Dedup {
    /// Notes the id of a message that entered at `entered`; false when it was there already. Messages without an id
    /// are always new.
    pub(crate) fn admit(
        &mut self,
        message: &Message,
        per_group: bool,
        entered: Millis,
        ids_max: usize,
    ) -> bool {
        let Some(id) = message.extra.as_ref().and_then(|extra| extra.dedup.clone()) else { return true };
        self.forget(entered, ids_max);
        let group = if per_group { group_of(message) } else { Name::new() };
        let key = (group, id);
        if self.until.get(&key).is_some_and(|until| *until > entered) {
            return false;
        }
        let until = entered.saturating_add(DEDUP_WINDOW_MS);
        self.until.insert(key.clone(), until);
        self.by_age.push_back((until, key));
        true
    }

    /// Takes in what a snapshot remembers.
    pub(crate) fn restore(&mut self, ids: &[(Name, Name, Millis)]) {
        for (group, id, until) in ids {
            let key = (group.clone(), id.clone());
            self.until.insert(key.clone(), *until);
            self.by_age.push_back((*until, key));
        }
    }

    /// What a snapshot is to remember: group, id, until when; oldest first.
    pub(crate) fn state(&self) -> Vec<(Name, Name, Millis)> {
        let current = |(until, key): &&(Millis, Key)| self.until.get(key) == Some(until);
        let ids = self.by_age.iter().filter(current);
        ids.map(|(until, (group, id))| (group.clone(), id.clone(), *until)).collect()
    }

    fn forget(&mut self, now: Millis, ids_max: usize) {
        while let Some((until, _)) = self.by_age.front()
            && (*until <= now || self.by_age.len() >= ids_max.max(1))
        {
            let Some((until, key)) = self.by_age.pop_front() else { return };
            if self.until.get(&key) == Some(&until) {
                self.until.remove(&key);
            }
        }
    }
}
