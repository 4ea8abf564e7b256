//! The worker's state as a fold over its log, and what of the log is still needed.
//!
//! The log is cleaned from its oldest end: what of a record is live ([`Worker::survivor`]) is appended at the tail and
//! then the record is trimmed. So a message may be read twice, and later than records about it; and a settlement is
//! never needed once it is the oldest, because what it settles is older still. The one thing to keep of it is the
//! highest number that a queue ever gave out.

use super::{Worker, effect::Effects, place::Place, turn::Turn};
use crate::{queue::Queue, stream::Stream};
use model::{
    Millis,
    ids::{Lsn, QueueId},
    record::Record,
};

impl Worker {
    /// Takes in one record of the log, in log order, after all durable queues were created. Records about queues that
    /// do not exist any more are passed over.
    pub fn replay(&mut self, record: &Record, _lsn: Lsn) {
        match record {
            Record::Enqueue { message, targets } => {
                let share = u32::try_from(message.cost_bytes() / targets.len().max(1)).unwrap_or(u32::MAX);
                let dedup_ids = self.limits.dedup_ids;
                for target in targets {
                    if let Some(queue) = self.queue_mut(target.queue) {
                        queue.replay_enqueue(target.seq, message, target.via, share, dedup_ids);
                    }
                }
            }
            Record::Settle { queue, seqs } => {
                if let Some(queue) = self.queue_mut(*queue) {
                    queue.replay_settle(seqs);
                }
            }
            Record::Purge { queue, through } => {
                if let Some(queue) = self.queue_mut(*queue) {
                    queue.replay_purge(*through);
                }
            }
            Record::Count { queue, seq, deliveries } => {
                if let Some(queue) = self.queue_mut(*queue) {
                    queue.replay_count(*seq, *deliveries);
                }
            }
            Record::Append { stream, shard, first_offset, at_ms, messages } => {
                if let Some(stream) = self.stream_mut(*stream) {
                    stream.replay_append(*shard, *first_offset, *at_ms, messages);
                }
            }
            Record::Trim { stream, shard, first_offset } => {
                if let Some(stream) = self.stream_mut(*stream) {
                    stream.replay_trim(*shard, *first_offset);
                }
            }
            Record::Retain { vhost, topic, message } => match message {
                Some(message) => {
                    self.retained_epoch = Some(0);
                    let count_max = self.limits.retained_messages;
                    // One that does not fit now was refused then, or the limit was lowered.
                    let _ = self.retained.set(vhost, topic, message.clone(), count_max);
                }
                None => self.retained.clear(vhost, topic),
            },
            // A queue that was dropped is not created before the replay; definitions are the topology's.
            Record::DropQueue(_) | Record::Define { .. } => {}
            Record::Page { .. } | Record::Lease { .. } | Record::Queue(_) | Record::Shard(_) => {}
        }
    }

    /// Ends recovery: what was replayed becomes deliverable. To be followed by [`Worker::pump`].
    pub fn recovered(&mut self, now: Millis, effects: &mut Effects) {
        let keys: Vec<u32> = self.places.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for key in keys {
            self.with_place(key, now, effects, |place, turn: &mut Turn<'_>| match place {
                Place::Queue(queue) => queue.recovered(turn),
                Place::Stream(stream) => stream.recovered(),
            });
        }
    }

    /// What of a record of the log is still needed; log cleaning appends it at the tail before it trims the record.
    /// `None` for definitions, which their owner writes anew.
    pub fn survivor(&self, record: &Record) -> Option<Record> {
        match record {
            Record::Enqueue { message, targets } => {
                let held = targets
                    .iter()
                    .filter(|target| self.queue(target.queue).is_some_and(|queue| queue.holds(target.seq)));
                let targets: Vec<_> = held.copied().collect();
                (!targets.is_empty()).then(|| Record::Enqueue { message: message.clone(), targets })
            }
            Record::Settle { queue, seqs } => self.queue(*queue)?.surviving_mark(seqs.iter().max().copied()),
            Record::Purge { queue, through } => self.queue(*queue)?.surviving_mark(Some(*through)),
            Record::Count { queue, seq, .. } => self.queue(*queue)?.surviving_count(*seq),
            Record::Append { stream, shard, first_offset, at_ms, messages } => {
                self.stream(*stream)?.surviving_append(*shard, *first_offset, *at_ms, messages)
            }
            Record::Trim { stream, shard, .. } => self.stream(*stream)?.surviving_trim(*shard),
            // The value as it is now, which may be newer: an old one must not come after it.
            Record::Retain { vhost, topic, .. } => {
                let message = self.retained.find(vhost, topic)?.clone();
                let (vhost, topic) = (vhost.clone(), topic.clone());
                Some(Record::Retain { vhost, topic, message: Some(message) })
            }
            Record::DropQueue(_)
            | Record::Define { .. }
            | Record::Page { .. }
            | Record::Lease { .. }
            | Record::Queue(_)
            | Record::Shard(_) => None,
        }
    }

    fn place(&self, queue: QueueId) -> Option<&Place> {
        self.places.get(*self.ids.get(&queue)? as usize)
    }

    pub(super) fn queue(&self, queue: QueueId) -> Option<&Queue> {
        if let Place::Queue(queue) = self.place(queue)? { Some(queue) } else { None }
    }

    pub(super) fn stream(&self, stream: QueueId) -> Option<&Stream> {
        if let Place::Stream(stream) = self.place(stream)? { Some(stream) } else { None }
    }

    fn queue_mut(&mut self, queue: QueueId) -> Option<&mut Queue> {
        let key = *self.ids.get(&queue)?;
        if let Place::Queue(queue) = self.places.get_mut(key as usize)? { Some(queue) } else { None }
    }

    fn stream_mut(&mut self, stream: QueueId) -> Option<&mut Stream> {
        let key = *self.ids.get(&stream)?;
        if let Place::Stream(stream) = self.places.get_mut(key as usize)? { Some(stream) } else { None }
    }
}
