//! What a send of SQS or SNS is known by, and what was answered to recent FIFO sends, so that a repeated one gets the
//! same answer. The queue itself refuses the duplicate; this only remembers ids, for the five minutes that
//! deduplication lasts. What was sent before the broker started, the queue is asked for.

use super::context::Context;
use aws_protocol::json::Object;
use aws_protocol::native;
use model::command::{Op, Reply};
use model::message::Message;
use model::{Millis, Name};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

const WINDOW_MS: u64 = 5 * 60 * 1000;
/// Sends remembered; beyond it the oldest are forgotten early, and a repeated one gets a new id in its answer.
const ENTRIES_MAX: usize = 100_000;

/// The answer to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Message id.
    pub(super) id: [u8; 16],
    /// Sequence number.
    pub(super) sequence: u64,
}

impl Sent {
    /// The answer that a message was sent with, as its properties' codec keeps it.
    fn parse(identity: &[u8]) -> Option<Self> {
        let (id, sequence) = identity.split_first_chunk::<16>()?;
        Some(Self { id: *id, sequence: u64::from_be_bytes(*sequence.first_chunk()?) })
    }

    /// The answer to an earlier send to a FIFO queue with this deduplication id.
    pub(super) async fn find(context: &Context<'_>, vhost: &Name, order: QueueOrder<'_>) -> Option<Self> {
        let QueueOrder { queue, group, per_group, dedup } = order;
        let scope = Some(&**group).filter(|_| per_group);
        let recent = context.door.recent.find(&(vhost, queue, scope, dedup), context.now);
        if recent.is_some() || context.now >= context.door.started.saturating_add(WINDOW_MS) {
            return recent;
        }
        let op = Op::FindDuplicate { queue: queue.clone(), group: group.clone(), id: dedup.clone() };
        match context.caller().op(vhost, op).await {
            Ok(Reply::Duplicate(Some(identity))) => Self::parse(&identity),
            _ => None,
        }
    }
}

/// What makes two sends to a FIFO queue the same.
pub(super) struct QueueOrder<'a> {
    /// The queue.
    pub(super) queue: &'a Name,
    /// Message group.
    pub(super) group: &'a Name,
    /// Deduplication is per group.
    pub(super) per_group: bool,
    /// Deduplication id.
    pub(super) dedup: &'a Name,
}

/// What a send is answered with in every service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Message id.
    pub(super) id: [u8; 16],
    /// Sequence number, of FIFO queues and topics.
    pub(super) sequence: Option<u64>,
}

impl Identity {
    /// The identity of an earlier send of the same, or a new one.
    pub(super) fn of(context: &Context<'_>, sent: Option<Sent>, fifo: bool) -> Self {
        match sent {
            Some(Sent { id, sequence }) => Self { id, sequence: fifo.then_some(sequence) },
            None => {
                let sequence = fifo.then(|| context.door.ids.sequence(context.now));
                Self { id: context.door.ids.next(), sequence }
            }
        }
    }

    /// `MessageId`, which comes first.
    pub(super) fn write_id(&self, object: &mut Object<'_>) {
        object.text("MessageId", &native::uuid(&self.id));
    }

    /// `SequenceNumber` where there is one.
    pub(super) fn write_sequence(&self, object: &mut Object<'_>) {
        if let Some(sequence) = self.sequence {
            object.text("SequenceNumber", &format!("{sequence:020}"));
        }
    }

    /// Remembers that `key` was answered with this.
    pub(super) fn note(&self, context: &Context<'_>, key: &Key<'_>) {
        if let Some(sequence) = self.sequence {
            context.door.recent.note(key, Sent { id: self.id, sequence }, context.now);
        }
    }
}

/// Gives a message its group and deduplication id, if it has any.
pub(super) fn set_order(message: &mut Message, group: Option<Name>, dedup: Option<Name>) {
    if group.is_some() || dedup.is_some() {
        let extra = message.extra_mut();
        (extra.group, extra.dedup) = (group, dedup);
    }
}

/// Sends by what makes them the same.
#[derive(Debug, Default)]
pub(super) struct RecentSends {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_key: HashMap<u64, (Millis, Sent)>,
    by_age: VecDeque<(Millis, u64)>,
}

/// What makes two sends the same: queue or topic, group when deduplication is per group, deduplication id.
pub(super) type Key<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

impl RecentSends {
    /// The answer to an earlier send of `key`.
    pub(super) fn find(&self, key: &Key<'_>, now: Millis) -> Option<Sent> {
        let key = self.hasher.hash_one(key);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.by_key.get(&key).filter(|(until, _)| *until > now).map(|(_, sent)| *sent)
    }

    /// Remembers the answer to a send of `key`.
    pub(super) fn note(&self, key: &Key<'_>, sent: Sent, now: Millis) {
        let key = self.hasher.hash_one(key);
        let until = now.saturating_add(WINDOW_MS);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(now);
        state.by_key.insert(key, (until, sent));
        state.by_age.push_back((until, key));
    }
}

impl State {
    fn forget(&mut self, now: Millis) {
        while let Some(&(until, key)) = self.by_age.front()
            && (until <= now || self.by_age.len() >= ENTRIES_MAX)
        {
            self.by_age.pop_front();
            if self.by_key.get(&key).is_some_and(|(noted, _)| *noted == until) {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_five_minutes() {
        let (recent, key) = (RecentSends::default(), ("/", "q.fifo", None, "d"));
        let sent = Sent { id: [1; 16], sequence: 7 };
        assert_eq!(recent.find(&key, 0), None);
        recent.note(&key, sent, 0);
        assert_eq!(recent.find(&key, WINDOW_MS - 1), Some(sent));
        assert_eq!(recent.find(&key, WINDOW_MS), None);
        assert_eq!(recent.find(&("/", "q.fifo", Some("g"), "d"), 1), None);
    }
}
