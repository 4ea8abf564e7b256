//! The worker's state as a fold over its log, and what of the log is still needed.
//!
//! A snapshot holds everything but the contents of messages that are in the log. So a restart takes in the newest
//! snapshot ([`Worker::replay`] of its records), then from the log before it only the contents of what was live
//! ([`Worker::replay_content`]), then all of the log behind it. The log is cleaned from its oldest end: what of it is
//! live content ([`Worker::survivor`]) and holds back much that is dead is appended again at the tail.

use super::{Worker, effect::Effects, place::Place, turn::Turn};
use crate::{queue::Queue, stream::Stream};
use bytes::Bytes;
use model::{
    Millis, Name,
    ids::QueueId,
    limits,
    record::{Page, Record, Span},
};
use rustc_hash::FxHashSet;

impl Worker {
    /// Takes in one record of the log before the snapshot that was taken in: only contents count.
    pub fn replay_content(&mut self, record: &Record) {
        self.once.note(record);
        match record {
            Record::Enqueue { message, targets } => {
                let awaited = targets
                    .iter()
                    .filter(|target| self.queue(target.queue).is_some_and(|queue| queue.awaits(target.seq)));
                let targets: Vec<_> = awaited.copied().collect();
                if !targets.is_empty() {
                    self.replay(&Record::Enqueue { message: message.clone(), targets });
                }
            }
            Record::Append { .. } => self.replay(record),
            _ => {}
        }
    }

    /// Takes in one record of the snapshot or the log, in their order, after all durable queues were created. Records
    /// about queues that do not exist any more are passed over.
    pub fn replay(&mut self, record: &Record) {
        self.once.note(record);
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
                    let count_max = self.limits.retained_messages;
                    // One that does not fit now was refused then, or the limit was lowered.
                    let _ = self.retained.set(vhost, topic, message.clone(), count_max);
                }
                None => self.retained.clear(vhost, topic),
            },
            Record::Lease { queue, until_ms, taken } => {
                if let Some(queue) = self.queue_mut(*queue) {
                    queue.replay_lease(*until_ms, taken);
                }
            }
            Record::Page { queue, shard, page } => match self.place_mut(*queue) {
                Some(Place::Queue(queue)) => queue.replay_page(*page),
                Some(Place::Stream(stream)) => stream.replay_page(*shard, *page),
                None => {}
            },
            Record::Queue(state) => {
                if let Some(queue) = self.queue_mut(state.queue) {
                    queue.restore(state);
                }
            }
            Record::Define { kind, key, value } => self.keep_definition(kind, key, value.as_ref()),
            Record::Shard(state) => {
                if let Some(stream) = self.stream_mut(state.stream) {
                    stream.replay_state(state);
                }
            }
            // A queue that was dropped is not created before the replay, but when its definition was not yet removed
            // from the log of another worker.
            Record::DropQueue(queue) => match self.place_mut(*queue) {
                Some(Place::Queue(queue)) => queue.replay_drop(),
                Some(Place::Stream(stream)) => stream.replay_drop(),
                None => {}
            },
        }
    }

    /// Remembers what the log says of a definition.
    pub(super) fn keep_definition(&mut self, kind: &Name, key: &Name, value: Option<&Bytes>) {
        let key = (kind.clone(), key.clone());
        match value {
            Some(value) => drop(self.definitions.insert(key, value.clone())),
            None => drop(self.definitions.remove(&key)),
        }
    }

    /// Everything that the records so far add up to, but for the contents of messages. To be called behind a
    /// [`Worker::pump`], when the records of that turn were given to the log.
    pub fn snapshot(&self) -> Vec<Record> {
        let definitions = self.definitions.iter().map(|((kind, key), value)| Record::Define {
            kind: kind.clone(),
            key: key.clone(),
            value: Some(value.clone()),
        });
        let kept = self.retained.iter().filter(|(_, topic, _)| !topic.starts_with(limits::OWN_TOPICS));
        let retained =
            kept.map(|(vhost, topic, message)| Record::Retain { vhost, topic, message: Some(message) });
        let places = self.places.iter().flat_map(|(_, place)| match place {
            Place::Queue(queue) => {
                queue.snapshot().map(|state| Record::Queue(Box::new(state))).into_iter().collect()
            }
            Place::Stream(stream) => stream.snapshot().collect::<Vec<_>>(),
        });
        definitions.chain(retained).chain(places).collect()
    }

    /// Every page file that is needed.
    pub fn pages(&self) -> impl Iterator<Item = Page> + '_ {
        self.places.iter().flat_map(|(_, place)| {
            let pages: Vec<Page> = match place {
                Place::Queue(queue) => queue.pages().collect(),
                Place::Stream(stream) => stream.pages().collect(),
            };
            pages
        })
    }

    /// What the snapshot says is there and the log does not hold: queue, first and last number. Not empty means that
    /// the log is damaged.
    pub fn missing(&self) -> Vec<(String, Span)> {
        let missing = self.places.iter().map(|(_, place)| match place {
            Place::Queue(queue) => (queue.title(), queue.missing()),
            Place::Stream(stream) => (stream.title(), stream.missing().collect()),
        });
        missing.flat_map(|(title, spans)| spans.into_iter().map(move |span| (title.clone(), span))).collect()
    }

    /// Ends the replay of every queue, without anything coming of it.
    pub(crate) fn end_replay(&mut self, now: Millis) {
        for (_, place) in &mut self.places {
            match place {
                Place::Queue(queue) => queue.end_replay(now),
                Place::Stream(stream) => stream.end_replay(),
            }
        }
    }

    /// Before the replay: ids of messages ([`model::message::Extra::message_id`]) that sessions hold to publish them
    /// once. What of them is in the log is not published again.
    pub fn expect_once(&mut self, held: FxHashSet<Name>) {
        self.once.expect(held);
    }

    /// Ends recovery: what was replayed becomes deliverable. To be followed by [`Worker::pump`].
    pub fn recovered(&mut self, now: Millis, effects: &mut Effects) {
        self.end_replay(now);
        self.once.recovered();
        let keys: Vec<u32> = self.places.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for key in keys {
            self.with_place(key, now, effects, |place, turn: &mut Turn<'_>| match place {
                Place::Queue(queue) => queue.recovered(turn),
                Place::Stream(stream) => stream.recovered(turn),
            });
        }
    }

    /// What of a record's content is still needed; log cleaning appends it at the tail before it trims the record.
    /// What is not content is in snapshots.
    pub fn survivor(&self, record: &Record) -> Option<Record> {
        match record {
            Record::Enqueue { message, targets } => {
                let held = targets
                    .iter()
                    .filter(|target| self.queue(target.queue).is_some_and(|queue| queue.holds(target.seq)));
                let targets: Vec<_> = held.copied().collect();
                (!targets.is_empty()).then(|| Record::Enqueue { message: message.clone(), targets })
            }
            Record::Append { stream, shard, first_offset, at_ms, messages } => {
                self.stream(*stream)?.surviving_append(*shard, *first_offset, *at_ms, messages)
            }
            _ => None,
        }
    }

    fn place(&self, queue: QueueId) -> Option<&Place> {
        self.places.get(*self.ids.get(&queue)? as usize)
    }

    fn place_mut(&mut self, queue: QueueId) -> Option<&mut Place> {
        let key = *self.ids.get(&queue)?;
        self.places.get_mut(key as usize)
    }

    pub(super) fn queue(&self, queue: QueueId) -> Option<&Queue> {
        if let Place::Queue(queue) = self.place(queue)? { Some(queue) } else { None }
    }

    pub(crate) fn stream(&self, stream: QueueId) -> Option<&Stream> {
        if let Place::Stream(stream) = self.place(stream)? { Some(stream) } else { None }
    }

    fn queue_mut(&mut self, queue: QueueId) -> Option<&mut Queue> {
        if let Place::Queue(queue) = self.place_mut(queue)? { Some(queue) } else { None }
    }

    fn stream_mut(&mut self, stream: QueueId) -> Option<&mut Stream> {
        if let Place::Stream(stream) = self.place_mut(stream)? { Some(stream) } else { None }
    }
}
