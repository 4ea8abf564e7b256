//! What a damaged log still says about its queues and streams, by plain counting: which numbers entered, which ended.
//! Only repair asks; everything else that records mean is the engine's business.

use crate::spans::Spans;
use model::ids::QueueId;
use model::record::{Page, Record};
use std::collections::BTreeMap;

/// A queue (with shard 0), or a shard of a stream.
pub(crate) type Place = (QueueId, u32);

/// What is known of one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Numbers whose content is in the log.
    pub(crate) entered: Spans,
    /// Those of them that lie below the snapshot.
    pub(crate) below: Spans,
    /// Numbers that ended.
    pub(crate) settled: Spans,
    /// Everything below this number ended.
    pub(crate) floor: u64,
    /// It exists no more.
    pub(crate) dropped: bool,
    pub(crate) is_stream: bool,
    /// Pages noted behind the snapshot.
    pub(crate) pages: Vec<Page>,
}

impl Facts {
    pub(crate) fn has_ended(&self, number: u64) -> bool {
        self.dropped || number < self.floor || self.settled.contains(number)
    }

    /// Behind the highest number that is known.
    pub(crate) fn next(&self) -> u64 {
        let last = [self.entered.last(), self.settled.last()].into_iter().flatten().max();
        last.map_or(0, |last| last.saturating_add(1)).max(self.floor)
    }
}

/// All places, by their first and last number of a record's content.
#[derive(Debug, Default)]
pub(crate) struct Ledger(pub(crate) BTreeMap<Place, Facts>);

impl Ledger {
    fn at(&mut self, queue: QueueId, shard: u32) -> &mut Facts {
        self.0.entry((queue, shard)).or_default()
    }

    pub(crate) fn facts(&self, place: Place) -> Facts {
        self.0.get(&place).cloned().unwrap_or_default()
    }

    /// Takes in a record of the log, in order. `below`: of the snapshot.
    pub(crate) fn note(&mut self, record: &Record, below: bool) {
        for (place, first, last) in contents(record) {
            let facts = self.at(place.0, place.1);
            facts.is_stream |= matches!(record, Record::Append { .. });
            facts.entered.insert(first, last);
            if below {
                facts.below.insert(first, last);
            }
            (first..=last).for_each(|number| facts.settled.remove(number));
        }
        match record {
            Record::Settle { queue, seqs } => {
                let facts = self.at(*queue, 0);
                seqs.iter().for_each(|seq| facts.settled.insert(*seq, *seq));
            }
            Record::Purge { queue, through } => {
                let facts = self.at(*queue, 0);
                facts.floor = facts.floor.max(through.saturating_add(1));
            }
            Record::Trim { stream, shard, first_offset } => {
                let facts = self.at(*stream, *shard);
                facts.is_stream = true;
                facts.floor = facts.floor.max(*first_offset);
            }
            Record::DropQueue(queue) => {
                let all = (*queue, 0)..=(*queue, u32::MAX);
                self.at(*queue, 0);
                self.0.range_mut(all).for_each(|(_, facts)| facts.dropped = true);
            }
            Record::Page { queue, shard, page } if !below => self.at(*queue, *shard).pages.push(*page),
            _ => {}
        }
    }
}

/// Whose content a record holds: place, first and last number.
pub(crate) fn contents(record: &Record) -> Vec<(Place, u64, u64)> {
    match record {
        Record::Enqueue { targets, .. } => {
            targets.iter().map(|target| ((target.queue, 0), target.seq, target.seq)).collect()
        }
        Record::Append { stream, shard, first_offset, messages, .. } if !messages.is_empty() => {
            let last = first_offset.saturating_add(messages.len() as u64 - 1);
            vec![((*stream, *shard), *first_offset, last)]
        }
        _ => Vec::new(),
    }
}
