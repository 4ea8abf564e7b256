//! What a worker knows of connections: how much more it may hand to each, and what of each is in its queues.

use model::ids::{ConnectionId, ConsumerId};
use rustc_hash::FxHashMap;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};

/// A consumer or getter: the place of its queue in the worker, and its own place in the queue.
pub(crate) type HolderAt = (u32, u32);

/// A limit shared by several consumers of a connection.
#[derive(Clone, Copy, Debug)]
struct Group {
    credit: u32,
    leased: u32,
}

impl Default for Group {
    fn default() -> Self {
        Self { credit: u32::MAX, leased: 0 }
    }
}

/// One connection as far as this worker is concerned.
#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnectionId,
    /// Bytes that may still be handed out; below 0 by at most one message.
    window: i64,
    pub(crate) consumers: FxHashMap<ConsumerId, HolderAt>,
    /// Who collects the leases of gets, by queue.
    pub(crate) getters: FxHashMap<u32, u32>,
    /// Every holder, including cancelled consumers with leases.
    pub(crate) holders: BTreeSet<HolderAt>,
    /// Waiting receives: place of the queue, number there.
    pub(crate) waiting: BTreeSet<(u32, u64)>,
    groups: BTreeMap<u16, Group>,
    /// Consumers that the window or a group keeps from taking.
    parked: Vec<HolderAt>,
}

/// All connections that have something in this worker.
#[derive(Debug)]
pub(crate) struct Connections {
    places: FxHashMap<ConnectionId, u32>,
    slab: Slab<Connection>,
    window_bytes: i64,
    /// Consumers that may be able to take again; the worker wakes them after each step.
    pub(crate) woken: Vec<HolderAt>,
}

impl Connections {
    pub(crate) fn new(window_bytes: u64) -> Self {
        Self {
            places: FxHashMap::default(),
            slab: Slab::new(),
            window_bytes: i64::try_from(window_bytes).unwrap_or(i64::MAX),
            woken: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The place of a connection; it gets one when it has none.
    pub(crate) fn place(&mut self, id: ConnectionId) -> u32 {
        if let Some(place) = self.places.get(&id) {
            return *place;
        }
        let connection = Connection {
            id,
            window: self.window_bytes,
            consumers: FxHashMap::default(),
            getters: FxHashMap::default(),
            holders: BTreeSet::new(),
            waiting: BTreeSet::new(),
            groups: BTreeMap::new(),
            parked: Vec::new(),
        };
        let place = u32::try_from(self.slab.insert(connection)).unwrap_or(u32::MAX);
        self.places.insert(id, place);
        place
    }

    pub(crate) fn find(&mut self, place: u32) -> Option<&mut Connection> {
        self.slab.get_mut(place as usize)
    }

    pub(crate) fn find_by_id(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = *self.places.get(&id)?;
        self.find(place)
    }

    /// Forgets a connection that ended.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let place = self.places.remove(&id)?;
        self.slab.try_remove(place as usize)
    }

    /// Forgets a connection that only asked and has nothing left here. Askers that make one request each would
    /// otherwise pile up.
    pub(crate) fn remove_if_idle(&mut self, place: u32) {
        let idle = self.slab.get(place as usize).filter(|connection| {
            connection.holders.is_empty() && connection.waiting.is_empty() && connection.groups.is_empty()
        });
        if let Some(id) = idle.map(|connection| connection.id) {
            self.remove(id);
        }
    }

    /// True when the connection can be handed one more message, to a consumer of `group` where leased. Otherwise
    /// the consumer is noted to be woken when it can.
    pub(crate) fn can_take(&mut self, place: u32, group: Option<u16>, holder: HolderAt) -> bool {
        let Some(connection) = self.slab.get_mut(place as usize) else { return false };
        let room = match group.and_then(|group| connection.groups.get(&group)) {
            Some(group) => group.leased < group.credit,
            None => true,
        };
        if room && connection.window > 0 {
            return true;
        }
        connection.parked.push(holder);
        false
    }

    /// A message of so many bytes was handed out, leased under `group`.
    pub(crate) fn took(&mut self, place: u32, bytes: usize, group: Option<u16>) {
        let Some(connection) = self.slab.get_mut(place as usize) else { return };
        connection.window = connection.window.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        if let Some(group) = group {
            connection.groups.entry(group).or_default().leased += 1;
        }
    }

    /// A lease under `group` ended.
    pub(crate) fn released(&mut self, place: u32, group: u16) {
        let Some(connection) = self.slab.get_mut(place as usize) else { return };
        if let Some(group) = connection.groups.get_mut(&group) {
            group.leased = group.leased.saturating_sub(1);
        }
        self.woken.append(&mut connection.parked);
    }

    /// The connection wrote so many bytes.
    pub(crate) fn drained(&mut self, id: ConnectionId, bytes: u64) {
        let window_bytes = self.window_bytes;
        let Some(place) = self.places.get(&id) else { return };
        let Some(connection) = self.slab.get_mut(*place as usize) else { return };
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        connection.window = connection.window.saturating_add(bytes).min(window_bytes);
        self.woken.append(&mut connection.parked);
    }

    /// Sets the limit of a group.
    pub(crate) fn set_group_credit(&mut self, id: ConnectionId, group: u16, credit: u32) {
        let place = self.place(id);
        let Some(connection) = self.slab.get_mut(place as usize) else { return };
        connection.groups.entry(group).or_default().credit = credit;
        self.woken.append(&mut connection.parked);
    }
}
