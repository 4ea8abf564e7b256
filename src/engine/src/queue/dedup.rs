//! Deduplication ids of a FIFO queue: an id that was taken in less than five minutes ago is not taken in again.

use super::groups::group_of;
use bytes::Bytes;
use model::{Millis, Name, message::Message, record::DedupId};
use std::collections::{BTreeMap, VecDeque};

/// How long an id is remembered.
pub(crate) const DEDUP_WINDOW_MS: Millis = 5 * 60 * 1000;

/// Group (empty when the scope is the queue) and id.
type Key = (Name, Name);

/// What is remembered of an id: until when, and what its message was known by.
#[derive(Clone, Debug)]
struct Known {
    until_ms: Millis,
    identity: Bytes,
}

/// Ids by the time until which they count.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    known: BTreeMap<Key, Known>,
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
        let key = (if per_group { group_of(message) } else { Name::new() }, id);
        if self.known.get(&key).is_some_and(|known| known.until_ms > entered) {
            return false;
        }
        let until_ms = entered.saturating_add(DEDUP_WINDOW_MS);
        let identity = message.native.codec.identity(&message.native.properties);
        self.remember(key, Known { until_ms, identity });
        true
    }

    fn remember(&mut self, key: Key, known: Known) {
        self.by_age.push_back((known.until_ms, key.clone()));
        self.known.insert(key, known);
    }

    /// What the message with this id was known by, while it counts.
    pub(crate) fn identity(&self, group: Name, id: Name, now: Millis) -> Option<Bytes> {
        self.known.get(&(group, id)).filter(|known| known.until_ms > now).map(|known| known.identity.clone())
    }

    /// Takes in what a snapshot remembers.
    pub(crate) fn restore(&mut self, ids: &[DedupId]) {
        for DedupId { group, id, until_ms, identity } in ids {
            let known = Known { until_ms: *until_ms, identity: identity.clone() };
            self.remember((group.clone(), id.clone()), known);
        }
    }

    /// What a snapshot is to remember, the oldest first.
    pub(crate) fn state(&self) -> Vec<DedupId> {
        let current = self.by_age.iter().filter_map(|(until_ms, key)| {
            let known = self.known.get(key).filter(|known| known.until_ms == *until_ms)?;
            let (group, id) = key.clone();
            Some(DedupId { group, id, until_ms: *until_ms, identity: known.identity.clone() })
        });
        current.collect()
    }

    fn forget(&mut self, now: Millis, ids_max: usize) {
        while let Some((until, _)) = self.by_age.front()
            && (*until <= now || self.by_age.len() >= ids_max.max(1))
        {
            let Some((until, key)) = self.by_age.pop_front() else { return };
            if self.known.get(&key).is_some_and(|known| known.until_ms == until) {
                self.known.remove(&key);
            }
        }
    }
}
