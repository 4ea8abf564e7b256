//! Whoever holds leases of a queue on behalf of a connection: a consumer, or the connection's gets. Owns the list
//! of what it holds, so that a connection that ends gives its messages back without a search.

use model::ids::{ConnectionId, ConsumerId};
use std::collections::VecDeque;

/// Below this length of the list a few settled numbers in it do not matter. Tests use short ones.
const STALE_MIN: usize = if cfg!(test) { 2 } else { 64 };

/// What a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Consumes.
    Consumer,
    /// Collects the leases of a connection's gets.
    Getter,
    /// A consumer that was cancelled and goes with its last lease.
    Leaving,
}

/// Why a consumer is not served at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Park {
    /// It is.
    No,
    /// It holds as much as it may.
    Credit,
    /// Its connection, or its group there, has as much as it may.
    Connection,
}

/// A consumer or getter of one queue.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) role: Role,
    /// Where the connection stands among the worker's connections.
    pub(crate) place: u32,
    pub(crate) connection: ConnectionId,
    pub(crate) consumer: ConsumerId,
    pub(crate) auto_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) priority: i32,
    /// Leases that it may hold.
    pub(crate) credit: u32,
    pub(crate) group: Option<u16>,
    /// Leases that it holds.
    pub(crate) leased: u32,
    /// Ascending with every consumer of the queue.
    pub(crate) arrival: u64,
    /// Why it is out of the rotation.
    pub(crate) park: Park,
    /// Numbers handed out, in that order; some are settled by now.
    pub(super) numbers: VecDeque<u64>,
    pub(super) stale: usize,
}

impl Holder {
    /// The holder of a connection's gets.
    pub(crate) fn getter(place: u32, connection: ConnectionId) -> Self {
        Self {
            role: Role::Getter,
            place,
            connection,
            consumer: ConsumerId(0),
            auto_ack: false,
            exclusive: false,
            priority: 0,
            credit: u32::MAX,
            group: None,
            leased: 0,
            arrival: 0,
            park: Park::No,
            numbers: VecDeque::new(),
            stale: 0,
        }
    }

    /// A lease begins.
    pub(crate) fn hold(&mut self, seq: u64) {
        self.leased += 1;
        self.numbers.push_back(seq);
    }

    /// A lease ends. `is_held` tells whether a number is (still) leased by this holder.
    pub(crate) fn release(&mut self, seq: u64, is_held: impl Fn(u64) -> bool) {
        self.leased = self.leased.saturating_sub(1);
        if self.leased == 0 {
            self.numbers.clear();
            self.stale = 0;
        } else if self.numbers.front() == Some(&seq) {
            self.numbers.pop_front();
            while self.stale > 0 && self.numbers.front().is_some_and(|front| !is_held(*front)) {
                self.numbers.pop_front();
                self.stale -= 1;
            }
        } else {
            self.stale += 1;
            if self.stale > STALE_MIN && self.stale * 2 > self.numbers.len() {
                self.numbers.retain(|number| is_held(*number));
                self.stale = 0;
            }
        }
    }

    /// Everything handed out and perhaps still held.
    pub(crate) fn take_numbers(&mut self) -> VecDeque<u64> {
        self.stale = 0;
        std::mem::take(&mut self.numbers)
    }

    /// True while its own credit lets it take one more.
    pub(crate) fn has_credit(&self) -> bool {
        self.auto_ack || self.leased < self.credit
    }
}
