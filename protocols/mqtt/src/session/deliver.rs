//! From the broker to the client: PUBLISH out, and the client's acknowledgements of it.
//!
//! QoS 0 goes out at once. QoS 1 and 2 go out while the client's Receive Maximum allows and wait here in order
//! otherwise; how many can wait is bounded by the credit of the consumers.

use super::{
    MqttSession, OWN_QUEUE, Turn,
    inflight::{Answer, Held, Inflight},
    publish::Ready,
    state::Owing,
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
    delivery::{Delivery, Outcome},
    ids::ConsumerId,
    message::Message,
};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// State of the direction to the client.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// The session's own queue.
    pub(super) queue: Name,
    pub(super) inflight: Inflight,
    credit: u16,
    waiting: VecDeque<Waiting>,
    /// Retained messages sent but not acknowledged: no queue has them.
    owing: BTreeMap<u16, Waiting>,
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

    /// Retained messages that the client has not acknowledged yet, as far as they fit in `bytes_max`.
    pub(super) fn take_owing(&mut self, bytes_max: usize) -> Vec<Owing> {
        let sent = std::mem::take(&mut self.owing).into_iter().map(|(id, waiting)| (Some(id), waiting));
        let unsent = self.waiting.drain(..).filter(|waiting| waiting.held.is_none());
        let mut bytes = 0;
        sent.chain(unsent.map(|waiting| (waiting.recalled, waiting)))
            .take_while(|(_, waiting)| {
                bytes += waiting.message.cost_bytes();
                bytes <= bytes_max
            })
            .map(|(id, Waiting { message, via, qos, .. })| {
                let ready = Ready { message, retain: true, declare: false, token: None };
                Owing { id, qos, via, ready }
            })
            .collect()
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
        let via = if consumer.0 > OWN_QUEUE.0 { consumer.0 - 1 } else { delivery.via };
        let held = delivery.lease.map(|lease| (consumer, lease));
        let Some(terms) = self.subscriptions.terms(via) else {
            return settle(held, Outcome::Ack, turn);
        };
        let origin = convert::origin(&delivery.message);
        let mut waiting = Waiting {
            qos: if held.is_some() { terms.qos_of(origin.qos) } else { 0 },
            retain: origin.retain && (terms.retain_as_published || self.bridge),
            message: delivery.message,
            origin,
            via,
            held,
            recalled: None,
        };
        if let Some((OWN_QUEUE, lease)) = held {
            self.recall(lease.seq, &mut waiting, turn);
        }
        self.offer(waiting, turn);
    }

    /// Gives a message that was sent in an earlier connection its packet identifier and QoS back.
    fn recall(&mut self, seq: u64, waiting: &mut Waiting, turn: &mut Turn<'_>) {
        let mut skipped = Vec::new();
        if let Some((id, qos)) = self.outgoing.inflight.recall(seq, &mut skipped) {
            waiting.recalled = Some(id);
            waiting.qos = qos;
        }
        for id in skipped {
            self.say(first::PUBREL, id, reason::SUCCESS, turn);
        }
    }

    /// Retained messages for a new subscription. They have no lease: what is not acknowledged when the connection ends
    /// goes into the session's state, as far as it lasts.
    pub(super) fn deliver_retained(&mut self, via: u32, messages: Vec<Arc<Message>>, turn: &mut Turn<'_>) {
        let Some(terms) = self.subscriptions.terms(via) else { return };
        for message in messages {
            let origin = convert::origin(&message);
            let qos = terms.qos.min(origin.qos);
            let waiting = Waiting { message, origin, via, held: None, qos, retain: true, recalled: None };
            self.offer(waiting, turn);
        }
    }

    /// A retained message that an earlier connection left unacknowledged.
    pub(super) fn deliver_owing(&mut self, owing: Owing, turn: &mut Turn<'_>) {
        let Owing { id, qos, via, ready } = owing;
        let message = ready.message;
        let origin = convert::origin(&message);
        let waiting = Waiting { message, origin, via, held: None, qos, retain: true, recalled: id };
        self.offer(waiting, turn);
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
            duplicate: waiting.recalled.is_some(),
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
            if held.is_none() {
                outgoing.owing.insert(id, waiting.clone());
            }
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
    fn drain(&mut self, turn: &mut Turn<'_>) {
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
        self.outgoing.owing.remove(&ack.packet_id);
        match answer {
            Answer::Nothing => {}
            Answer::Settle(held) => settle(held, outcome, turn),
            Answer::Release => {
                self.say(first::PUBREL, ack.packet_id, reason::SUCCESS, turn);
            }
        }
        self.drain(turn);
        Ok(())
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
