//! Which part of the log is certainly dead, without looking into it.
//!
//! The owner of the log counts epochs, a few a second, and remembers where the log stood when each began. Everything
//! logged in an epoch lies behind that place. So when the oldest live thing is of epoch `e`, all of the log before
//! `e`'s place may go: the usual case of queues that are kept short costs nothing. A message that
//! stays long outside of a page holds this back; then the log is cleaned by copying.

use super::{Worker, place::Place};
use std::collections::VecDeque;

/// First number of each epoch in which something was logged, as far as such numbers may be needed.
#[derive(Debug, Default)]
pub(crate) struct Epochs(VecDeque<(u64, u32)>);

impl Epochs {
    /// Something was logged under this number, which is larger than those before.
    pub(crate) fn note(&mut self, number: u64, epoch: u32) {
        if self.0.back().is_none_or(|(_, last)| *last < epoch) {
            self.0.push_back((number, epoch));
        }
    }

    /// The epoch of the oldest number that needs the log, or an earlier one.
    pub(crate) fn oldest(&mut self, first_needed: Option<u64>) -> Option<u32> {
        let Some(first) = first_needed else {
            self.0.clear();
            return None;
        };
        while self.0.get(1).is_some_and(|(number, _)| *number <= first) {
            self.0.pop_front();
        }
        self.0.front().map(|(_, epoch)| *epoch)
    }
}

impl Worker {
    /// What is logged from now on belongs to `epoch`, which is larger than those before.
    pub fn begin_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
    }

    /// The epoch of the oldest thing that still needs its records, or an earlier one; `None` when nothing does.
    pub fn oldest_epoch(&mut self) -> Option<u32> {
        let places = self.places.iter_mut().filter_map(|(_, place)| match place {
            Place::Queue(queue) => queue.oldest_epoch(),
            Place::Stream(stream) => stream.oldest_epoch(),
        });
        places.min()
    }
}
