//! Ids that the door makes up: request ids, message ids, FIFO sequence numbers.

use aws_protocol::native;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// Unique ids without a system call each: a keyed hash of a counter, the key drawn once from the system.
#[derive(Debug, Default)]
pub(super) struct IdSource {
    high: RandomState,
    low: RandomState,
    count: AtomicU64,
    sequence: AtomicU64,
}

impl IdSource {
    /// A new UUID.
    pub(super) fn next(&self) -> [u8; 16] {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        let (high, low) = id.split_at_mut(8);
        high.copy_from_slice(&self.high.hash_one(count).to_be_bytes());
        low.copy_from_slice(&self.low.hash_one(count).to_be_bytes());
        native::as_uuid(id)
    }

    /// A FIFO sequence number: above every earlier one, also of an earlier run of the broker, as long as the clock
    /// does not go back and fewer than a million are taken per second.
    pub(super) fn sequence(&self, now_ms: u64) -> u64 {
        let floor = now_ms.saturating_mul(1000);
        let step = |last: u64| Some(last.saturating_add(1).max(floor));
        match self.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(last) | Err(last) => last.saturating_add(1).max(floor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_sequences_grow() {
        let ids = IdSource::default();
        assert_ne!(ids.next(), ids.next());
        let first = ids.sequence(5);
        let second = ids.sequence(5);
        assert!(first < second && second < ids.sequence(6));
    }
}
