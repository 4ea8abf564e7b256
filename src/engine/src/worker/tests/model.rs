//! A naive queue: a list that is searched. Checks what the worker did instead of foretelling it, where more than one
//! answer is right (which of several consumers).

use crate::topology::settings::{QueueKind, QueueSettings};
use model::{
    Millis,
    message::{DeathReason, Message},
};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Ready,
    Delayed(Millis),
    Leased(u64, u32),
    Timed(Millis),
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) seq: u64,
    pub(super) body: String,
    priority: u8,
    group: String,
    expires: Millis,
    pub(super) held: Held,
    failures: u32,
    pub(super) deliveries: u32,
    pub(super) redelivered: bool,
}

#[derive(Debug)]
pub(super) struct Model {
    settings: QueueSettings,
    pub(super) now: Millis,
    next_seq: u64,
    pub(super) items: Vec<Item>,
    /// Credit by connection and consumer.
    pub(super) consumers: BTreeMap<(u64, u32), u32>,
    /// Dead letters not yet seen coming out.
    pub(super) dead: Vec<(String, DeathReason)>,
}

impl Model {
    pub(super) fn new(settings: QueueSettings, now: Millis) -> Self {
        let (items, consumers, dead) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { settings, now, next_seq: 0, items, consumers, dead }
    }

    pub(super) fn publish(&mut self, message: &Message, body: &str) {
        let group = message.extra.as_ref().and_then(|extra| extra.group.clone()).unwrap_or_default();
        let held = match message.delay_ms {
            Some(delay) if delay > 0 => Held::Delayed(self.now + delay),
            _ => Held::Ready,
        };
        self.items.push(Item {
            seq: self.next_seq,
            body: body.to_owned(),
            priority: message.priority.min(self.settings.max_priority.unwrap_or(0)),
            group: group.to_string(),
            expires: message.ttl_ms.map_or(Millis::MAX, |ttl| self.now + message.delay_ms.unwrap_or(0) + ttl),
            held,
            failures: 0,
            deliveries: 0,
            redelivered: false,
        });
        self.next_seq += 1;
    }

    fn blocks(&self, item: &Item) -> bool {
        self.settings.fifo
            && self.items.iter().any(|other| {
                let out = matches!(other.held, Held::Leased(..) | Held::Timed(_));
                other.group == item.group && (out || other.seq < item.seq)
            })
    }

    /// The item that goes out next.
    pub(super) fn next(&self) -> Option<u64> {
        let ready = self.items.iter().filter(|item| item.held == Held::Ready && !self.blocks(item));
        ready.min_by_key(|item| (u8::MAX - item.priority, item.seq)).map(|item| item.seq)
    }

    /// What may go out in one answer with `seq`.
    pub(super) fn follower(&self, seq: u64) -> Option<u64> {
        let group = &self.find(seq)?.group;
        let rest = self
            .items
            .iter()
            .find(|item| item.group == *group && !matches!(item.held, Held::Leased(..) | Held::Timed(_)));
        rest.filter(|item| self.settings.fifo && item.held == Held::Ready).map(|item| item.seq)
    }

    pub(super) fn find(&self, seq: u64) -> Option<&Item> {
        self.items.iter().find(|item| item.seq == seq)
    }

    fn find_mut(&mut self, seq: u64) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.seq == seq)
    }

    pub(super) fn hand_out(&mut self, seq: u64, held: Held) {
        let item = self.find_mut(seq).unwrap();
        item.held = held;
        item.deliveries += 1;
    }

    pub(super) fn remove(&mut self, seq: u64) {
        self.items.retain(|item| item.seq != seq);
    }

    pub(super) fn die(&mut self, seq: u64, reason: DeathReason) {
        let body = self.find(seq).unwrap().body.clone();
        self.dead.push((body, reason));
        self.remove(seq);
    }

    pub(super) fn give_back(&mut self, seq: u64, failed: bool, held: Held) {
        let (kind, limit) = (self.settings.kind, self.settings.delivery_limit);
        let item = self.find_mut(seq).unwrap();
        item.held = held;
        item.redelivered = true;
        item.failures += u32::from(failed);
        let over = limit.is_some_and(|limit| {
            if kind == QueueKind::Quorum { item.failures > limit } else { item.failures >= limit }
        });
        if failed && over {
            self.die(seq, DeathReason::DeliveryLimit);
        }
    }

    pub(super) fn leases(&self) -> Vec<(u64, u64)> {
        let leases = self.items.iter().filter_map(|item| match item.held {
            Held::Leased(connection, _) => Some((connection, item.seq)),
            _ => None,
        });
        leases.collect()
    }

    pub(super) fn disconnect(&mut self, connection: u64) {
        self.consumers.retain(|(owner, _), _| *owner != connection);
        for (_, seq) in self.leases().into_iter().filter(|(owner, _)| *owner == connection) {
            self.give_back(seq, true, Held::Ready);
        }
    }

    pub(super) fn has_room(&self, consumer: (u64, u32)) -> bool {
        let held = Held::Leased(consumer.0, consumer.1);
        let leased = self.items.iter().filter(|item| item.held == held).count();
        self.consumers.get(&consumer).is_some_and(|credit| leased < *credit as usize)
    }

    pub(super) fn purge(&mut self) -> u64 {
        let before = self.items.len();
        self.items.retain(|item| matches!(item.held, Held::Leased(..)));
        (before - self.items.len()) as u64
    }

    /// Time is `now`: what is due happens.
    pub(super) fn advance(&mut self, now: Millis) {
        self.now = now;
        for item in self.items.clone() {
            match item.held {
                Held::Delayed(until) if until <= now => self.find_mut(item.seq).unwrap().held = Held::Ready,
                Held::Timed(until) if until <= now => self.give_back(item.seq, true, Held::Ready),
                _ => {}
            }
        }
    }

    /// Drops the head while it is expired.
    pub(super) fn expire(&mut self) {
        while let Some(seq) = self.next().filter(|seq| self.find(*seq).unwrap().expires <= self.now) {
            self.die(seq, DeathReason::Expired);
        }
    }

    pub(super) fn count(&self, is: impl Fn(Held) -> bool) -> u64 {
        self.items.iter().filter(|item| is(item.held)).count() as u64
    }

    /// Drops from the head what is too much.
    pub(super) fn enforce_length(&mut self) {
        while self.settings.max_length.is_some_and(|max| self.count(|held| held == Held::Ready) > max) {
            let oldest = || self.items.iter().find(|item| item.held == Held::Ready).map(|item| item.seq);
            let Some(seq) = self.next().or_else(oldest) else { return };
            self.die(seq, DeathReason::MaxLength);
        }
    }
}
