//! From the broker to the client: PUBLISH out, and the client's acknowledgements of it.
//!
//! QoS 0 goes out at once. QoS 1 and 2 go out while the client's Receive Maximum allows and wait here in order
//! otherwise; how many can wait is bounded by the credit of the consumers.

use super::{
    MqttSession, OWN_QUEUE, Pending, Turn,
    inflight::{Answer, Held, Inflight},
    kept,
    subscriptions::Terms,
};
use crate::{
    codec::{
        Version,
        acks::{Ack, first},
        fixed::kind,
        publish::{Outgoing, TopicText},
    },
    convert::{self, Origin},
    errors::{Refusal, reason},
    statistics::size,
    topic,
};
use bytes::BytesMut;
use model::{
    Millis, Name,
    command::Op,
    delivery::{Delivery, Outcome, VIA_RETAINED},
    ids::ConsumerId,
    message::Message,
};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// An identifier that PUBCOMP came for is kept for this long still, so that the end of its lease is on the disk before:
/// otherwise a crash in between would bring the message again. Milliseconds.
const FORGET_AFTER_MS: u64 = 1000;
/// Identifiers that may wait to be forgotten.
const COMPLETED_MAX: usize = 65_535;

/// State of the direction to the client.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// The session's own queue.
    pub(super) queue: Name,
    pub(super) inflight: Inflight,
    credit: u16,
    waiting: VecDeque<Waiting>,
    /// Messages of the session's own queue that a connection before the crash may have sent.
    perhaps_sent: u16,
    /// When PUBCOMP came, and for what: the broker still keeps these identifiers.
    completed: VecDeque<(Millis, u16)>,
    alias_max: u16,
    /// Topic aliases by routing key.
    aliases: FxHashMap<Name, u16>,
    scratch: BytesMut,
}

impl Outbound {
    /// For a client that takes `quota` unacknowledged messages and `alias_max` topic aliases.
    pub(super) fn new(quota: u16, alias_max: u16) -> Self {
        Self { inflight: Inflight::new(quota), credit: quota, alias_max, ..Self::default() }
    }

    /// The connection before this one ended in a crash: nobody knows which messages it had sent. No more than it could
    /// have in flight.
    pub(super) fn after_crash(&mut self) {
        self.perhaps_sent = self.credit;
    }

    /// When an identifier is to be forgotten next.
    pub(super) fn forget_at(&self) -> Option<Millis> {
        self.completed.front().map(|(at, _)| at.saturating_add(FORGET_AFTER_MS))
    }

    /// Leases that a consumer may hold.
    pub(super) fn credit(&self) -> u32 {
        u32::from(self.credit)
    }
}

/// A message on its way to the client.
#[derive(Clone, Debug)]
struct Waiting {
    message: Arc<Message>,
    origin: Origin,
    via: u32,
    held: Held,
    qos: u8,
    retain: bool,
    /// It may have been sent in an earlier connection.
    duplicate: bool,
    /// The packet identifier that it had in an earlier connection.
    recalled: Option<u16>,
}

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Sent,
    /// Expired, too large for the client, or for a subscription that is gone.
    Dropped(Outcome),
    /// The client has to acknowledge something first.
    NoRoom,
}

/// Whole seconds left of a message's life; `None` when there is no limit.
fn remaining_s(message: &Message, now: Millis) -> Result<Option<u32>, Outcome> {
    let Some(ttl_ms) = message.ttl_ms else { return Ok(None) };
    let waited_ms = now.saturating_sub(message.published_ms);
    // An expiry of 0 is for those who take it right away.
    if waited_ms >= ttl_ms.max(1000) || (waited_ms > ttl_ms && ttl_ms > 0) {
        return Err(Outcome::Reject);
    }
    let left_s = ttl_ms.div_ceil(1000).saturating_sub(waited_ms / 1000);
    Ok(Some(u32::try_from(left_s).unwrap_or(u32::MAX)))
}

impl MqttSession {
    pub(super) fn on_delivery(&mut self, delivery: Delivery, turn: &mut Turn<'_>) {
        let consumer = delivery.consumer;
        let retained = consumer == OWN_QUEUE && delivery.via & VIA_RETAINED != 0;
        let via = if consumer.0 > OWN_QUEUE.0 { consumer.0 - 1 } else { delivery.via & !VIA_RETAINED };
        let held = delivery.lease.map(|lease| (consumer, lease));
        let Some(terms) = self
            .subscriptions
            .terms(via)
            .filter(|_| self.gate.is_none() || self.may_read(&delivery.message, via))
        else {
            return settle(held, Outcome::Ack, turn);
        };
        let origin = convert::origin(&delivery.message);
        let mut waiting = Waiting {
            qos: if held.is_some() { terms.qos_of(origin.qos) } else { 0 },
            retain: retained || origin.retain && (terms.retain_as_published || self.bridge),
            message: delivery.message,
            origin,
            via,
            held,
            duplicate: false,
            recalled: None,
        };
        if let Some((OWN_QUEUE, lease)) = held {
            if self.outgoing.inflight.is_done(lease.seq) {
                return settle(held, Outcome::Ack, turn);
            }
            self.recall(lease.seq, &mut waiting, turn);
        }
        if retained && self.is_subscribing() {
            // SUBACK comes first.
            return self.outgoing.waiting.push_back(waiting);
        }
        self.offer(waiting, turn);
    }

    /// Gives a message that was sent in an earlier connection its packet identifier and QoS back.
    fn recall(&mut self, seq: u64, waiting: &mut Waiting, turn: &mut Turn<'_>) {
        let mut skipped = Vec::new();
        if let Some((id, qos)) = self.outgoing.inflight.recall(seq, &mut skipped) {
            waiting.recalled = Some(id);
            waiting.qos = qos;
            waiting.duplicate = true;
        } else if self.outgoing.perhaps_sent > 0 && waiting.message.published_ms < self.started {
            self.outgoing.perhaps_sent -= 1;
            waiting.duplicate = waiting.qos > 0;
        }
        for id in skipped {
            self.say(first::PUBREL, id, reason::SUCCESS, turn);
        }
    }

    /// Retained messages for a new subscription that nobody has to remember: they have no lease.
    pub(super) fn deliver_retained(&mut self, via: u32, messages: Vec<Arc<Message>>, turn: &mut Turn<'_>) {
        let Some(terms) = self.subscriptions.terms(via) else { return };
        for message in messages {
            if !self.may_read(&message, via) {
                continue;
            }
            let origin = convert::origin(&message);
            let qos = terms.qos.min(origin.qos);
            let (held, duplicate, recalled) = (None, false, None);
            let waiting = Waiting { message, origin, via, held, qos, retain: true, duplicate, recalled };
            self.offer(waiting, turn);
        }
    }

    fn offer(&mut self, waiting: Waiting, turn: &mut Turn<'_>) {
        let in_line = waiting.qos > 0 && !self.outgoing.waiting.is_empty();
        if in_line || !self.try_send(&waiting, turn) {
            self.outgoing.waiting.push_back(waiting);
        }
    }

    /// False when it has to wait.
    fn try_send(&mut self, waiting: &Waiting, turn: &mut Turn<'_>) -> bool {
        match self.send(waiting, turn) {
            Sending::NoRoom => return false,
            Sending::Sent if waiting.qos == 0 => settle(waiting.held, Outcome::Ack, turn),
            Sending::Sent => {}
            Sending::Dropped(outcome) => {
                if let Some(id) = waiting.recalled {
                    self.outgoing.inflight.forget(id);
                }
                settle(waiting.held, outcome, turn);
            }
        }
        true
    }

    fn send(&mut self, waiting: &Waiting, turn: &mut Turn<'_>) -> Sending {
        if waiting.qos > 0 && !self.outgoing.inflight.has_room() {
            return Sending::NoRoom;
        }
        let Some(terms) = self.subscriptions.terms(waiting.via) else {
            return Sending::Dropped(Outcome::Ack);
        };
        let expiry_s = match remaining_s(&waiting.message, turn.now) {
            Ok(expiry_s) => expiry_s,
            Err(outcome) => return Sending::Dropped(outcome),
        };
        self.write(waiting, terms, expiry_s, turn)
    }

    fn write(
        &mut self,
        waiting: &Waiting,
        terms: Terms,
        expiry_s: Option<u32>,
        turn: &mut Turn<'_>,
    ) -> Sending {
        let Waiting { message, qos, held, .. } = waiting;
        let outgoing = &mut self.outgoing;
        let key: &str = &message.routing_key;
        let queue_topic = if terms.is_queue { self.subscriptions.queue_topic(waiting.via) } else { None };
        let spelled;
        let mut topic = if let Some(topic) = queue_topic {
            TopicText::Plain(topic)
        } else if topic::is_plain_key(key, self.config.plain_swap) {
            TopicText::Key(key)
        } else {
            spelled = topic::from_key(key, self.config.plain_swap);
            TopicText::Plain(&spelled)
        };
        let mut new_alias = None;
        let mut alias = None;
        if outgoing.alias_max > 0 && queue_topic.is_none() {
            alias = outgoing.aliases.get(&message.routing_key).copied();
            if alias.is_some() {
                topic = TopicText::Plain("");
            } else if let Ok(used) = u16::try_from(outgoing.aliases.len())
                && used < outgoing.alias_max
            {
                alias = Some(used + 1);
                new_alias = alias;
            }
        }
        let forwarded = match self.version {
            Version::V5 => convert::forwarded(message, waiting.origin, &mut outgoing.scratch),
            _ => &[],
        };
        let mut packet = Outgoing {
            version: self.version,
            duplicate: waiting.duplicate,
            qos: *qos,
            retain: waiting.retain,
            topic,
            packet_id: 0,
            forwarded,
            expiry_s,
            alias,
            subscription_id: terms.subscription_id,
        };
        let fits = packet.packet_len(message.body.len()).is_some_and(|len| len <= self.packet_bytes_max);
        if !fits {
            // MQTT 5.0, 3.1.2.11.4: as if it had been sent.
            return Sending::Dropped(Outcome::Reject);
        }
        if *qos > 0 {
            let id = match waiting.recalled {
                Some(id) => outgoing.inflight.begin_again(id, *qos, *held).then_some(id),
                None => outgoing.inflight.begin(*qos, *held),
            };
            let Some(id) = id else { return Sending::NoRoom };
            packet.packet_id = id;
        }
        packet.put(&mut turn.out.wire, &message.body);
        self.tally.messages_sent += 1;
        self.tally.publishes_sent += 1;
        self.tally.publish_bytes_sent += size(message.body.len());
        if let Some(alias) = new_alias {
            outgoing.aliases.insert(message.routing_key.clone(), alias);
        }
        Sending::Sent
    }

    /// Sends what has waited, as far as there is room now.
    pub(super) fn drain(&mut self, turn: &mut Turn<'_>) {
        while self.outgoing.inflight.has_room()
            && let Some(waiting) = self.outgoing.waiting.pop_front()
        {
            if !self.try_send(&waiting, turn) {
                self.outgoing.waiting.push_front(waiting);
                return;
            }
        }
    }

    pub(super) fn on_ack(&mut self, packet_kind: u8, ack: Ack, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let refused = ack.reason >= reason::UNSPECIFIED;
        let outcome = if refused { Outcome::Reject } else { Outcome::Ack };
        let (answer, outcome) = match packet_kind {
            kind::PUBACK => (self.outgoing.inflight.acknowledge(ack.packet_id)?, outcome),
            kind::PUBREC => (self.outgoing.inflight.received(ack.packet_id, refused)?, outcome),
            kind::PUBCOMP => (self.outgoing.inflight.complete(ack.packet_id)?, Outcome::Ack),
            _ => return self.on_pubrel(ack.packet_id, turn),
        };
        match answer {
            Answer::Nothing => {}
            Answer::Settle(held) => settle(held, outcome, turn),
            Answer::Release => self.keep_release(ack.packet_id, turn),
        }
        if packet_kind == kind::PUBCOMP && answer != Answer::Nothing && self.session_expiry_ms > 0 {
            self.outgoing.completed.push_back((turn.now, ack.packet_id));
        }
        self.forget_completed(turn);
        self.drain(turn);
        Ok(())
    }

    /// PUBREC came: PUBREL goes out once the broker keeps the identifier. MQTT 5.0, 4.3.3: from then on the message must
    /// not be sent again.
    fn keep_release(&mut self, packet_id: u16, turn: &mut Turn<'_>) {
        match self.outgoing.inflight.release_of(packet_id) {
            Some((order, seq)) if self.session_expiry_ms > 0 => {
                let (slot, value) = (kept::released_slot(packet_id), Some(kept::released(order, seq)));
                self.request(Op::Keep { slot, value }, Pending::Released(packet_id), turn);
            }
            Some(_) => self.on_release_kept(packet_id, turn),
            // Unknown: the client is to let go of it.
            None => self.say(first::PUBREL, packet_id, reason::SUCCESS, turn),
        }
    }

    /// The release of an identifier is safe.
    pub(super) fn on_release_kept(&mut self, packet_id: u16, turn: &mut Turn<'_>) {
        if let Some(held) = self.outgoing.inflight.release(packet_id) {
            settle(held, Outcome::Ack, turn);
            self.say(first::PUBREL, packet_id, reason::SUCCESS, turn);
        }
    }

    /// Has the broker forget the identifiers that are through, after a while.
    pub(super) fn forget_completed(&mut self, turn: &mut Turn<'_>) {
        while let Some((at, id)) = self.outgoing.completed.front().copied()
            && (turn.now >= at.saturating_add(FORGET_AFTER_MS)
                || self.outgoing.completed.len() > COMPLETED_MAX)
        {
            self.outgoing.completed.pop_front();
            // Unless it is in use again, and what is kept is the newer one's.
            if self.outgoing.inflight.release_of(id).is_none() {
                let slot = kept::released_slot(id);
                self.request(Op::Keep { slot, value: None }, Pending::Extra, turn);
            }
        }
    }

    /// Identifiers that are through and that the broker still keeps.
    pub(super) fn take_completed(&mut self) -> Vec<u16> {
        let completed = std::mem::take(&mut self.outgoing.completed);
        let through = completed.into_iter().map(|(_, id)| id);
        through.filter(|id| self.outgoing.inflight.release_of(*id).is_none()).collect()
    }

    /// Gives back what waits here for a consumer that is cancelled.
    pub(super) fn give_back(&mut self, consumer: ConsumerId, turn: &mut Turn<'_>) {
        let of_consumer = |waiting: &Waiting| waiting.held.is_some_and(|(holder, _)| holder == consumer);
        let mut kept = VecDeque::with_capacity(self.outgoing.waiting.len());
        for waiting in self.outgoing.waiting.drain(..) {
            if of_consumer(&waiting) {
                settle(waiting.held, Outcome::Requeue { failed: false }, turn);
            } else {
                kept.push_back(waiting);
            }
        }
        self.outgoing.waiting = kept;
    }
}

fn settle(held: Held, outcome: Outcome, turn: &mut Turn<'_>) {
    if let Some((consumer, lease)) = held {
        turn.broker.settle(consumer, lease, outcome);
    }
}
