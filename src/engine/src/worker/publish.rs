//! Messages coming in: to queues and streams, and as retained messages; and definitions on their way to the log.

use super::{
    Worker,
    command::{Asker, Targets},
    effect::Effects,
    place::Place,
};
use crate::{queue::Entry, topology::settings::Durability};
use bytes::Bytes;
use model::{
    Millis, Name,
    command::Reply,
    delivery::Confirm,
    ids::{ConfirmToken, ConnectionId},
    limits,
    message::Message,
    record::{Record, Target},
};
use std::sync::Arc;

/// Whom to confirm to.
pub(super) type Confirmer = Option<(ConnectionId, ConfirmToken)>;

impl Worker {
    /// Enqueues a message in all its targets. One record holds all the durable ones.
    pub(super) fn publish(
        &mut self,
        message: &Arc<Message>,
        targets: &Targets,
        confirm: Confirmer,
        now: Millis,
        effects: &mut Effects,
    ) {
        if self.once.was_published(message) {
            return confirm_to(confirm, true, false, effects);
        }
        // `durable`: the confirm waits for the disk.
        let (mut accepted, mut durable) = (true, false);
        let share = u32::try_from(message.cost_bytes() / targets.len().max(1)).unwrap_or(u32::MAX);
        let mut logged: Vec<Target> = Vec::new();
        for (queue, via) in targets {
            let usual = self.durability;
            let entry = self.with(*queue, now, effects, |place, turn| match place {
                Place::Queue(queue) => {
                    let entry = queue.enqueue(message, *via, share, turn);
                    durable |= matches!(entry, Entry::Kept { logged: true, .. })
                        && queue.durability().unwrap_or(usual) == Durability::Always;
                    entry
                }
                Place::Stream(stream) => {
                    stream.append(message, turn);
                    durable |= stream.waits_for_disk(usual);
                    Entry::Served
                }
            });
            match entry {
                Some(Entry::Kept { seq, logged: true }) => {
                    logged.push(Target { queue: *queue, seq, via: *via });
                }
                Some(Entry::Refused) => accepted = false,
                Some(Entry::Kept { .. } | Entry::Served) | None => {}
            }
        }
        if !logged.is_empty() {
            effects.records.push(Record::Enqueue { message: message.clone(), targets: logged });
        }
        confirm_to(confirm, accepted, durable, effects);
    }

    /// Sets or clears a retained message. Refused when there are too many.
    pub(super) fn retain(
        &mut self,
        vhost: Name,
        topic: Name,
        message: Option<Arc<Message>>,
        confirm: Confirmer,
        effects: &mut Effects,
    ) {
        let kept = match &message {
            Some(message) => {
                self.retained.set(&vhost, &topic, message.clone(), self.limits.retained_messages)
            }
            None => {
                self.retained.clear(&vhost, &topic);
                Ok(())
            }
        };
        // What the broker says of itself it says again after a restart.
        if kept.is_ok() && !topic.starts_with(limits::OWN_TOPICS) {
            effects.records.push(Record::Retain { vhost, topic, message });
        }
        let durable = kept.is_ok() && self.durability == Durability::Always;
        confirm_to(confirm, kept.is_ok(), durable, effects);
    }

    pub(super) fn answer_retained(
        &self,
        asker: Asker,
        vhost: &Name,
        filter: &str,
        now: Millis,
        effects: &mut Effects,
    ) {
        let retained = self.retained.matching(vhost, filter, now);
        effects.replies.push((asker, Reply::Subscribed { existed: false, retained, queue: None }));
    }

    pub(super) fn define(
        &mut self,
        asker: Option<Asker>,
        kind: Name,
        key: Name,
        value: Option<Bytes>,
        effects: &mut Effects,
    ) {
        self.keep_definition(&kind, &key, value.as_ref());
        effects.records.push(Record::Define { kind, key, value });
        effects.durable_replies.extend(asker.map(|asker| (asker, Reply::Done)));
    }
}

fn confirm_to(confirm: Confirmer, accepted: bool, durable: bool, effects: &mut Effects) {
    let Some((connection, token)) = confirm else { return };
    let confirms = if durable { &mut effects.durable_confirms } else { &mut effects.confirms };
    confirms.push((connection, Confirm { token, accepted }));
}
