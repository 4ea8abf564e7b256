//! Message groups: within a group strictly in order, and a group stands still while any of its messages is leased.
//! Every step is O(log groups), however many messages wait.

use super::{
    slot::{Slot, State},
    slots::Slots,
};
use model::{Name, message::Message};
use slab::Slab;
use std::collections::{BTreeMap, VecDeque};

/// One group that has messages.
#[derive(Debug)]
struct Group {
    name: Name,
    /// Numbers not leased, ascending; some may be gone by now.
    pending: VecDeque<u64>,
    leased: usize,
    /// What it stands under in `available`.
    head: Option<u64>,
}

/// All groups of a queue. Names are the peers' choice, so they are kept in a tree and not hashed.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_name: BTreeMap<Name, usize>,
    groups: Slab<Group>,
    /// Groups that may be served, by the number of their first message.
    available: BTreeMap<u64, usize>,
}

/// The group of a message; those without one share the unnamed group.
pub(crate) fn group_of(message: &Message) -> Name {
    let stated = message.extra.as_ref().and_then(|extra| extra.group.clone());
    stated.or_else(|| message.envelope().group.clone()).unwrap_or_default()
}

/// True when nothing will come of this number any more.
fn is_over(seq: u64, slots: &Slots) -> bool {
    slots.find(seq).is_none_or(|slot| slot.state == State::Dying)
}

impl Groups {
    fn entry(&mut self, slot: &Slot) -> usize {
        let name = group_of(&slot.message);
        if let Some(key) = self.by_name.get(&name) {
            return *key;
        }
        let group = Group { name: name.clone(), pending: VecDeque::new(), leased: 0, head: None };
        let key = self.groups.insert(group);
        self.by_name.insert(name, key);
        key
    }

    /// Puts the group where it belongs now; forgets it when it is empty.
    fn refresh(&mut self, key: usize, slots: &Slots) {
        let Some(group) = self.groups.get_mut(key) else { return };
        while group.pending.front().is_some_and(|seq| is_over(*seq, slots)) {
            group.pending.pop_front();
        }
        let head = group.pending.front().copied().filter(|seq| group.leased == 0 && slots.is_ready(*seq));
        if head != group.head {
            if let Some(before) = group.head {
                self.available.remove(&before);
            }
            if let Some(seq) = head {
                self.available.insert(seq, key);
            }
            group.head = head;
        }
        if group.pending.is_empty() && group.leased == 0 {
            self.by_name.remove(&group.name);
            self.groups.remove(key);
        }
    }

    /// Looks again at the group of a message whose state changed.
    pub(crate) fn refresh_of(&mut self, slot: &Slot, slots: &Slots) {
        if let Some(key) = self.by_name.get(&group_of(&slot.message)) {
            self.refresh(*key, slots);
        }
    }

    pub(crate) fn enqueued(&mut self, seq: u64, slot: &Slot, slots: &Slots) {
        let key = self.entry(slot);
        if let Some(group) = self.groups.get_mut(key) {
            group.pending.push_back(seq);
        }
        self.refresh(key, slots);
    }

    /// A leased message of the group exists (when the order is built anew).
    pub(crate) fn held(&mut self, slot: &Slot) {
        let key = self.entry(slot);
        if let Some(group) = self.groups.get_mut(key) {
            group.leased += 1;
            if let Some(head) = group.head.take() {
                self.available.remove(&head);
            }
        }
    }

    pub(crate) fn peek(&self) -> Option<u64> {
        self.available.first_key_value().map(|(seq, _)| *seq)
    }

    pub(crate) fn take(&mut self, seq: u64, slots: &Slots) {
        let Some(key) = self.available.get(&seq).copied() else { return };
        if let Some(group) = self.groups.get_mut(key) {
            group.pending.pop_front();
            group.leased += 1;
        }
        self.refresh(key, slots);
    }

    /// Takes the message behind `seq` in its group, if it is ready.
    pub(crate) fn follow(&mut self, seq: u64, slots: &Slots) -> Option<u64> {
        let key = *self.by_name.get(&group_of(&slots.find(seq)?.message))?;
        let group = self.groups.get_mut(key)?;
        while group.pending.front().is_some_and(|next| is_over(*next, slots)) {
            group.pending.pop_front();
        }
        let next = group.pending.front().copied().filter(|next| slots.is_ready(*next))?;
        group.pending.pop_front();
        group.leased += 1;
        Some(next)
    }

    pub(crate) fn lease_ended(&mut self, seq: u64, slot: &Slot, back: bool, slots: &Slots) {
        let key = self.entry(slot);
        if let Some(group) = self.groups.get_mut(key) {
            group.leased = group.leased.saturating_sub(1);
            if back {
                // Only what was leased with it can stand before it, so this looks at a few.
                let place =
                    group.pending.iter().position(|other| *other > seq).unwrap_or(group.pending.len());
                group.pending.insert(place, seq);
            }
        }
        self.refresh(key, slots);
    }
}
