//! Everything that is asked of a queue or stream and answered, and its coming and going.

use super::{
    Worker,
    command::{Asker, WorkerCommand},
    effect::Effects,
    place::Place,
    turn::Turn,
};
use crate::{
    queue::Queue,
    stream::{Request, Stream},
    topology::settings::{Durability, QueueKind, QueueSettings},
};
use model::{
    Millis, Name,
    command::{Consume, QueueStatus, Reply},
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, ConsumerId, QueueId},
    message::Message,
};
use std::sync::Arc;

/// An answer, `None` when it comes later; and whether it must wait for the records of the turn.
type Answer = Option<(Reply, bool)>;

fn at_once(result: Result<(), BrokerError>) -> Answer {
    let reply = match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Failed(error),
    };
    Some((reply, false))
}

fn refused(error: BrokerError) -> Answer {
    Some((Reply::Failed(error), false))
}

impl Worker {
    /// Commands that ask one queue or stream for an answer.
    pub(super) fn operate(&mut self, command: WorkerCommand, now: Millis, effects: &mut Effects) {
        match command {
            WorkerCommand::Consume { asker, queue, consume } => {
                self.consume(asker, queue, &consume, now, effects);
            }
            WorkerCommand::Cancel { asker, consumer } => {
                self.cancel(asker.connection, consumer, now, effects);
                effects.replies.push((asker, Reply::Done));
            }
            WorkerCommand::Get { asker, queue, auto_ack } => {
                self.ask(asker, queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => queue.take_one(asker, auto_ack, turn).map(|reply| (reply, false)),
                    Place::Stream(stream) => refused(stream.unsupported("basic.get")),
                });
            }
            WorkerCommand::Receive { asker, queue, max, lease_ms, wait_ms } => {
                self.ask(asker, queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => {
                        queue.receive(asker, max, lease_ms, wait_ms, turn).map(|reply| (reply, false))
                    }
                    Place::Stream(stream) => refused(stream.unsupported("receive")),
                });
            }
            WorkerCommand::Delete { asker, lease, generation } => {
                // What is settled already, even with its whole queue, counts as done.
                let answer = self.with(lease.queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => {
                        let done = at_once(queue.delete_by_handle(lease.seq, generation, turn));
                        done.map(|(reply, _)| (reply, queue.settles_for_good()))
                    }
                    Place::Stream(stream) => refused(stream.unsupported("delete")),
                });
                reply(asker, answer.unwrap_or_else(|| at_once(Ok(()))), effects);
            }
            WorkerCommand::Hide { asker, lease, generation, lease_ms } => {
                self.ask(asker, lease.queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => at_once(queue.hide(lease.seq, generation, lease_ms, turn)),
                    Place::Stream(stream) => refused(stream.unsupported("hide")),
                });
            }
            WorkerCommand::Status { asker, queue } => {
                self.ask(asker, queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => Some((Reply::Status(queue.report(turn)), false)),
                    Place::Stream(stream) => Some((Reply::Status(stream.status()), false)),
                });
            }
            WorkerCommand::FindDuplicate { asker, queue, group, id } => {
                self.ask(asker, queue, now, effects, |place, turn| match place {
                    Place::Queue(queue) => {
                        Some((Reply::Duplicate(queue.find_duplicate(group, id, turn.now)), false))
                    }
                    Place::Stream(_) => Some((Reply::Duplicate(None), false)),
                });
            }
            WorkerCommand::Statuses { asker, queues } => {
                let statuses = queues.iter().filter_map(|queue| self.status_of(*queue)).collect();
                effects.replies.push((asker, Reply::Statuses(statuses)));
            }
            WorkerCommand::Purge { asker, queue } => self.purge(asker, queue, now, effects),
            WorkerCommand::Append { asker, stream, messages } => {
                let usual = self.durability;
                self.ask(asker, stream, now, effects, |place, turn| append(place, &messages, usual, turn));
            }
            WorkerCommand::Read { asker, stream, shard, from, max, max_bytes } => {
                self.ask(asker, stream, now, effects, |place, turn| {
                    read(place, Request { asker, shard, from, max, max_bytes }, turn)
                });
            }
            _ => {}
        }
    }

    fn status_of(&self, queue: QueueId) -> Option<QueueStatus> {
        match self.places.get(*self.ids.get(&queue)? as usize)? {
            Place::Queue(queue) => Some(queue.status()),
            Place::Stream(stream) => Some(stream.status()),
        }
    }

    /// Asks a queue or stream and passes its answer on; one that is gone answers so.
    fn ask(
        &mut self,
        asker: Asker,
        queue: QueueId,
        now: Millis,
        effects: &mut Effects,
        act: impl FnOnce(&mut Place, &mut Turn<'_>) -> Answer,
    ) {
        let gone = || refused(BrokerError::new(ErrorKind::NotFound, "the queue does not exist any more"));
        let answer = self.with(queue, now, effects, act).unwrap_or_else(gone);
        reply(asker, answer, effects);
    }

    fn consume(
        &mut self,
        asker: Asker,
        queue: QueueId,
        consume: &Consume,
        now: Millis,
        effects: &mut Effects,
    ) {
        if let Some(error) = self.cannot_consume(asker.connection, consume.consumer) {
            return reply(asker, refused(error), effects);
        }
        self.ask(asker, queue, now, effects, |place, turn| {
            at_once(match place {
                Place::Queue(queue) => queue.consume(asker, consume, turn),
                Place::Stream(stream) => stream.consume(asker, consume, turn),
            })
        });
    }

    fn cannot_consume(&mut self, connection: ConnectionId, consumer: ConsumerId) -> Option<BrokerError> {
        let consumers_max = self.limits.consumers_per_connection;
        let known = self.connections.find_by_id(connection)?;
        if known.consumers.contains_key(&consumer) {
            let text = format!("consumer {consumer} exists already");
            return Some(BrokerError::new(ErrorKind::NotAllowed, text));
        }
        (known.consumers.len() >= consumers_max).then(|| {
            let text = format!("more than {consumers_max} consumers on one connection");
            BrokerError::new(ErrorKind::LimitExceeded, text)
        })
    }

    fn cancel(&mut self, connection: ConnectionId, consumer: ConsumerId, now: Millis, effects: &mut Effects) {
        let known = self.connections.find_by_id(connection);
        let at = known.and_then(|connection| connection.consumers.get(&consumer).copied());
        if let Some((key, holder)) = at {
            self.with_place(key, now, effects, |place, turn| place.cancel(holder, turn));
        }
    }

    /// Cancels the connection's consumers, returns its leases in order, drops its waiting receives.
    pub(super) fn disconnect(&mut self, connection: ConnectionId, now: Millis, effects: &mut Effects) {
        let Some(gone) = self.connections.remove(connection) else { return };
        for (key, id) in gone.waiting {
            self.with_place(key, now, effects, |place, _| {
                if let Place::Queue(queue) = place {
                    queue.abandon(id);
                }
            });
        }
        // All consumers stop before the first lease returns, so that none goes back to the one that is leaving.
        for (key, holder) in &gone.holders {
            self.with_place(*key, now, effects, |place, turn| place.cancel(*holder, turn));
        }
        for (key, holder) in &gone.holders {
            self.with_place(*key, now, effects, |place, turn| place.leave(*holder, turn));
        }
        for (key, _) in &gone.holders {
            self.with_place(*key, now, effects, |place, turn| place.settle_down(turn));
        }
    }

    pub(super) fn create(
        &mut self,
        queue: QueueId,
        vhost: Name,
        name: Name,
        settings: Arc<QueueSettings>,
        now: Millis,
    ) {
        if self.ids.contains_key(&queue) {
            return;
        }
        let entry = self.places.vacant_entry();
        let Ok(key) = u32::try_from(entry.key()) else { return };
        entry.insert(if settings.kind == QueueKind::Stream {
            Place::Stream(Box::new(Stream::new(queue, key, vhost, name, settings)))
        } else {
            Place::Queue(Box::new(Queue::new(queue, key, vhost, name, settings, now)))
        });
        self.ids.insert(queue, key);
        self.touch(key);
    }

    pub(super) fn delete(
        &mut self,
        asker: Option<Asker>,
        queue: QueueId,
        now: Millis,
        effects: &mut Effects,
    ) {
        let Some(key) = self.ids.remove(&queue) else {
            return asker.into_iter().for_each(|asker| effects.replies.push((asker, Reply::Count(0))));
        };
        let ended = self.with_place(key, now, effects, |place, turn| match place {
            Place::Queue(queue) => {
                let (count, logged, trash) = queue.end(turn);
                (count, logged, Some(trash))
            }
            Place::Stream(stream) => {
                let (count, logged) = stream.end(turn);
                (count, logged, None)
            }
        });
        if let Some(mut place) = self.places.try_remove(key as usize) {
            self.timers.remove(&(place.schedule().armed, key));
        }
        let Some((count, logged, trash)) = ended else { return };
        self.trash.extend(trash);
        if let Some(asker) = asker {
            reply(asker, Some((Reply::Count(count), logged)), effects);
        }
    }

    fn purge(&mut self, asker: Asker, queue: QueueId, now: Millis, effects: &mut Effects) {
        let mut dropped = None;
        self.ask(asker, queue, now, effects, |place, turn| match place {
            Place::Queue(queue) => {
                let (count, logged, trash) = queue.purge(turn);
                dropped = Some(trash);
                Some((Reply::Count(count), logged))
            }
            Place::Stream(stream) => refused(stream.unsupported("queue.purge")),
        });
        self.trash.extend(dropped);
    }
}

fn reply(asker: Asker, answer: Answer, effects: &mut Effects) {
    let Some((reply, durable)) = answer else { return };
    let replies = if durable { &mut effects.durable_replies } else { &mut effects.replies };
    replies.push((asker, reply));
}

fn not_a_stream() -> Answer {
    refused(BrokerError::new(ErrorKind::Precondition, "the queue is not a stream"))
}

fn append(place: &mut Place, messages: &[Arc<Message>], usual: Durability, turn: &mut Turn<'_>) -> Answer {
    let Place::Stream(stream) = place else { return not_a_stream() };
    let places = messages.iter().map(|message| stream.append(message, turn)).collect();
    Some((Reply::Appended(places), stream.waits_for_disk(usual) && !messages.is_empty()))
}

fn read(place: &mut Place, wish: Request, turn: &mut Turn<'_>) -> Answer {
    let Place::Stream(stream) = place else { return not_a_stream() };
    let (max, max_bytes) =
        (wish.max.min(turn.limits.read_records), wish.max_bytes.min(turn.limits.read_bytes));
    stream.read(Request { max, max_bytes, ..wish }, turn).map(|reply| (reply, false))
}
