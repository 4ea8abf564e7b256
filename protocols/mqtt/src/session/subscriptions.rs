//! The subscriptions of a session, numbered as the broker gives them back with each delivery.

use crate::{codec::subscribe::Options, topic::Source};
use model::{Name, ids::ConsumerId};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Slots are reused only after so many others, so that a late delivery rarely finds another subscription's terms.
const REUSE_AFTER: usize = 64;

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) source: Source,
    pub(crate) options: Options,
    pub(crate) subscription_id: Option<u32>,
    /// It has a consumer of its own; true when that one settles by itself.
    pub(crate) auto_ack: Option<bool>,
    /// Topic that its messages are sent under, for a queue.
    topic: Option<Name>,
}

impl Active {
    /// A subscription without a consumer.
    pub(crate) fn new(source: Source, options: Options, subscription_id: Option<u32>) -> Self {
        let topic = match &source {
            Source::Queue(name) => Some(format!("$queue/{name}").into()),
            Source::Topic { .. } => None,
        };
        Self { source, options, subscription_id, auto_ack: None, topic }
    }
}

/// What a delivery needs to know of its subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) qos: u8,
    pub(crate) subscription_id: Option<u32>,
    pub(crate) retain_as_published: bool,
    pub(crate) is_queue: bool,
}

impl Terms {
    /// The QoS to deliver a message of `published` QoS with. Whoever consumes a queue with QoS 1 means to acknowledge
    /// what is in it, whichever way it came there.
    pub(crate) fn qos_of(self, published: u8) -> u8 {
        let published = if self.is_queue { published.max(1) } else { published };
        self.qos.min(published)
    }
}

/// What reaches the session's queue through no subscription, by another protocol's binding.
const UNSUBSCRIBED: Terms =
    Terms { qos: 2, subscription_id: None, retain_as_published: false, is_queue: false };

/// All subscriptions of a session.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Number n is at n - 1.
    slots: Vec<Option<Active>>,
    free: VecDeque<u32>,
    numbers: FxHashMap<Source, u32>,
}

/// The consumer of a subscription that has one of its own; 0 and 1 mean other things.
pub(crate) fn consumer_of(via: u32) -> ConsumerId {
    ConsumerId(via.saturating_add(1))
}

fn index(via: u32) -> Option<usize> {
    usize::try_from(via.checked_sub(1)?).ok()
}

impl Subscriptions {
    pub(crate) fn terms(&self, via: u32) -> Option<Terms> {
        if via == 0 {
            return Some(UNSUBSCRIBED);
        }
        self.get(via).map(|active| Terms {
            qos: active.options.qos,
            subscription_id: active.subscription_id,
            retain_as_published: active.options.retain_as_published,
            is_queue: active.topic.is_some(),
        })
    }

    /// The topic that messages of a subscribed queue are sent under.
    pub(crate) fn queue_topic(&self, via: u32) -> Option<&str> {
        self.get(via)?.topic.as_deref()
    }

    pub(crate) fn get(&self, via: u32) -> Option<&Active> {
        self.slots.get(index(via)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, via: u32) -> Option<&mut Active> {
        self.slots.get_mut(index(via)?)?.as_mut()
    }

    pub(crate) fn number(&self, source: &Source) -> Option<u32> {
        self.numbers.get(source).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Adds a subscription or replaces the one of the same source (which keeps its consumer). Gives the number, and
    /// what was replaced.
    pub(crate) fn put(&mut self, mut active: Active) -> (u32, Option<Active>) {
        if let Some(via) = self.number(&active.source) {
            let previous = self.get(via).cloned();
            active.auto_ack = previous.as_ref().and_then(|previous| previous.auto_ack);
            self.set(via, active);
            return (via, previous);
        }
        let via = self.vacant();
        self.set(via, active);
        (via, None)
    }

    fn vacant(&mut self) -> u32 {
        if self.free.len() >= REUSE_AFTER
            && let Some(via) = self.free.pop_front()
        {
            return via;
        }
        self.slots.push(None);
        self.slots.len() as u32
    }

    /// Sets number `via`, which must be in reach: it came from [`Self::put`], or from the broker for a resumed session.
    fn set(&mut self, via: u32, active: Active) {
        if let Some(slot) = index(via).and_then(|index| self.slots.get_mut(index)) {
            self.numbers.insert(active.source.clone(), via);
            *slot = Some(active);
        }
    }

    /// Takes up a subscription of an earlier connection under its number. False when the number is beyond `max`.
    pub(crate) fn restore(&mut self, via: u32, active: Active, max: usize) -> bool {
        let Some(index) = index(via).filter(|index| *index < max.saturating_add(REUSE_AFTER)) else {
            return false;
        };
        while self.slots.len() <= index {
            self.slots.push(None);
            self.free.push_back(self.slots.len() as u32);
        }
        self.free.retain(|free| *free != via);
        self.set(via, active);
        true
    }

    pub(crate) fn remove(&mut self, via: u32) -> Option<Active> {
        let active = self.slots.get_mut(index(via)?)?.take()?;
        self.numbers.remove(&active.source);
        self.free.push_back(via);
        Some(active)
    }

    /// Puts back what [`Self::put`] replaced, or removes what it added.
    pub(crate) fn undo(&mut self, via: u32, previous: Option<Active>) {
        match previous {
            Some(previous) => self.set(via, previous),
            None => {
                self.remove(via);
            }
        }
    }

    /// The queues subscribed to, with their options.
    pub(crate) fn queues(&self) -> Vec<(Name, Options, Option<u32>)> {
        self.slots
            .iter()
            .flatten()
            .filter_map(|active| match &active.source {
                Source::Queue(name) => Some((name.clone(), active.options, active.subscription_id)),
                Source::Topic { .. } => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn queue(name: &str, qos: u8) -> Active {
        Active::new(Source::Queue(name.into()), Options { qos, ..Options::default() }, None)
    }

    #[test]
    fn keeps_numbers() {
        let mut all = Subscriptions::default();
        assert_eq!(all.put(queue("a", 1)).0, 1);
        assert_eq!(all.put(queue("b", 1)).0, 2);
        let (via, previous) = all.put(queue("a", 0));
        assert_eq!((via, all.terms(1).unwrap().qos, all.len()), (1, 0, 2));
        all.undo(via, previous);
        assert_eq!(all.terms(1).unwrap().qos, 1);
        all.undo(2, None);
        assert_eq!((all.terms(2), all.len()), (None, 1));
        assert_eq!(all.put(queue("c", 0)).0, 3);
        assert!(all.restore(9, queue("d", 2), 10) && !all.restore(1000, queue("e", 2), 10));
        assert_eq!(all.queue_topic(9), Some("$queue/d"));
        assert_eq!(all.queues().len(), 3);
    }
}
