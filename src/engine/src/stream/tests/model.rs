//! A stream as anybody would write it who had memory without end: every record ever appended, and what each reader is
//! to see.

use model::{Millis, command::StreamPosition};
use std::collections::BTreeMap;

/// One shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    /// Time of arrival and body, by offset.
    pub(super) records: Vec<(Millis, String)>,
    /// What retention left, as the stream says.
    pub(super) first: u64,
}

impl Shard {
    pub(super) fn next(&self) -> u64 {
        self.records.len() as u64
    }

    /// Where reading begins.
    pub(super) fn resolve(&self, position: StreamPosition) -> u64 {
        let (first, next) = (self.first, self.next());
        match position {
            StreamPosition::First => first,
            StreamPosition::Last => next.saturating_sub(1).max(first),
            StreamPosition::Next => next,
            StreamPosition::Offset(offset) => offset.clamp(first, next),
            StreamPosition::Time(at) => {
                let kept = first as usize..next as usize;
                kept.clone().find(|offset| self.records[*offset].0 >= at).unwrap_or(kept.end) as u64
            }
        }
    }

    /// Retention went on to here. It may only drop what is at least so old, when it goes by age.
    pub(super) fn trimmed(&mut self, first: u64, younger_than: Option<Millis>) {
        assert!(first >= self.first && first <= self.next(), "{first} of {self:?}");
        if let Some(limit) = younger_than {
            let dropped = &self.records[self.first as usize..first as usize];
            assert!(dropped.iter().all(|(at, _)| *at <= limit), "a young record was dropped");
        }
        self.first = first;
    }
}

/// One consumer: what it is to get next, by shard.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) next: Vec<u64>,
    pub(super) unsettled: Vec<u64>,
}

/// The stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) shards: Vec<Shard>,
    pub(super) consumers: BTreeMap<u64, Consumer>,
}

impl Model {
    /// A consumer got a record.
    pub(super) fn delivered(&mut self, connection: u64, shard: usize, offset: u64, body: &str) {
        let (consumer, shard_model) =
            (self.consumers.get_mut(&connection).expect("a consumer"), &self.shards[shard]);
        let expected = &mut consumer.next[shard];
        assert!(offset >= *expected, "{offset} again, after {expected}");
        assert!(offset == *expected || offset <= shard_model.first, "{expected}..{offset} left out");
        assert_eq!(body, shard_model.records[offset as usize].1);
        *expected = offset + 1;
        consumer.unsettled.push(((shard as u64) << 48) | offset);
    }

    /// Somebody who read from a position got these, with what comes next, at some moment of a turn in the course of
    /// which retention went on from `first`.
    pub(super) fn read(
        &self,
        (shard, from, max): (u32, StreamPosition, u32),
        first: u64,
        records: &[(u64, String)],
        next: u64,
    ) {
        let shard = &self.shards[shard as usize];
        let start = next - records.len() as u64;
        let possible = (first..=shard.first).find(|first| {
            let then = Shard { first: *first, ..shard.clone() };
            then.resolve(from) == start && records.is_empty() == (start == shard.next())
        });
        assert!(possible.is_some(), "{start}..{next} from {from:?} of {first}..{shard:?}");
        assert!(records.len() <= max as usize);
        for (expected, (offset, body)) in (start..).zip(records) {
            assert_eq!((expected, &shard.records[expected as usize].1), (*offset, body));
        }
    }
}
