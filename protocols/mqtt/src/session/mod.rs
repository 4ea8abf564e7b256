//! One MQTT connection as a state machine.
//!
//! ```text
//!  Fresh --CONNECT--> Entering (login, then open session) --CONNACK--> Running --close, error, DISCONNECT--> Ended
//! ```
//! Owns the connection's life: reading packets, time-outs, and the last words. What the packets mean is in the files
//! beside this one. A SUBSCRIBE, an UNSUBSCRIBE, and a publish that waits for its queue hold up what comes after them,
//! so that everything is answered in order.

mod access;
mod acks;
mod connect;
mod deliver;
mod inflight;
mod kept;
mod publish;
mod state;
mod subscribe;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use kept::kept_message_id;

use crate::{
    codec::{
        self, Version,
        fixed::{self, Fixed, kind},
    },
    config::MqttConfig,
    errors::{Refusal, reason},
    statistics::{Tally, size},
};
use bytes::{Buf, Bytes, BytesMut};
use model::{
    Millis, Name,
    command::{Op, Reply, Signal},
    delivery::{Confirm, Delivery},
    ids::{ConsumerId, RequestId},
    limits::COPY_OUT_BELOW_BYTES,
    session::{Broker, Output, Session, SessionSeed},
};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The consumer of the session's own queue; others are numbered by their subscription plus one.
const OWN_QUEUE: ConsumerId = ConsumerId(1);
/// The group of consumers that share a lease limit: shared subscriptions and queues.
const OTHERS_GROUP: u16 = 0;

/// Where the connection stands.
#[derive(Debug)]
enum Phase {
    Fresh,
    Entering(Box<connect::Entering>),
    Running,
    Ended,
}

/// What a request was for.
#[derive(Debug)]
enum Pending {
    Login,
    Open,
    /// Nothing depends on it; when it fails the connection is over with this text.
    Needed(&'static str),
    /// Nothing depends on it.
    Extra,
    Subscription(Box<subscribe::Step>),
    Unsubscribe(usize),
    DeclareForPublish,
    /// The QoS 2 message of this packet identifier is kept.
    Kept(u16),
    /// The release of this packet identifier is kept.
    Released(u16),
    /// The subscription to a queue is kept, for this code of the SUBACK.
    QueueKept {
        slot: usize,
        options: codec::subscribe::Options,
    },
}

/// What holds up further packets.
#[derive(Debug)]
enum Busy {
    Subscriptions(subscribe::Progress),
    Publish(publish::Ready),
}

/// What one call of the driver works with.
struct Turn<'a> {
    now: Millis,
    broker: &'a mut dyn Broker,
    out: &'a mut Output,
}

/// One MQTT connection, 3.1, 3.1.1 or 5.0 as its CONNECT says.
pub struct MqttSession {
    config: Arc<MqttConfig>,
    seed: SessionSeed,
    phase: Phase,
    /// 3.1.1 until CONNECT is read.
    version: Version,
    client_id: Name,
    /// Time of the first call, 0 before it.
    started: Millis,
    last_heard: Millis,
    /// One and a half times the keep-alive; 0 for none.
    silence_max_ms: u64,
    session_expiry_ms: u64,
    packet_bytes_max: usize,
    bridge: bool,
    will: Option<Box<connect::Will>>,
    requests: FxHashMap<u64, Pending>,
    last_request: u64,
    busy: Option<Box<Busy>>,
    incoming: publish::Incoming,
    outgoing: deliver::Outbound,
    subscriptions: subscriptions::Subscriptions,
    /// The broker opened the session for this connection, and has to be told of its end.
    opened: bool,
    /// The session's own queue is consumed.
    consuming: bool,
    /// The lease limit of [`OTHERS_GROUP`] is set.
    grouped: bool,
    /// The client said who it is.
    named: bool,
    /// What it may publish and read; `None` where everyone may everything.
    gate: Option<Box<access::Gate>>,
    tally: Tally,
}

impl MqttSession {
    /// A session for a connection that has not said anything yet.
    pub fn new(seed: SessionSeed, config: Arc<MqttConfig>) -> Self {
        Self {
            config,
            seed,
            phase: Phase::Fresh,
            version: Version::V311,
            client_id: Name::new(),
            started: 0,
            last_heard: 0,
            silence_max_ms: 0,
            session_expiry_ms: 0,
            packet_bytes_max: usize::MAX,
            bridge: false,
            will: None,
            requests: FxHashMap::default(),
            last_request: 0,
            busy: None,
            incoming: publish::Incoming::default(),
            outgoing: deliver::Outbound::default(),
            subscriptions: subscriptions::Subscriptions::default(),
            opened: false,
            consuming: false,
            grouped: false,
            named: false,
            gate: None,
            tally: Tally::default(),
        }
    }

    fn request(&mut self, op: Op, pending: Pending, turn: &mut Turn<'_>) {
        self.last_request += 1;
        self.requests.insert(self.last_request, pending);
        turn.broker.request(RequestId(self.last_request), op);
    }

    /// Time runs from the first call on.
    fn begin(&mut self, now: Millis) {
        if self.started == 0 {
            self.tally.sockets += 1;
            self.started = now.max(1);
            self.last_heard = now;
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    fn end(&mut self, why: impl Into<Name>, out: &mut Output) {
        self.phase = Phase::Ended;
        out.close.get_or_insert(why.into());
    }

    /// Ends the connection, telling a 5.0 client that is in why.
    fn refuse(&mut self, refusal: Refusal, out: &mut Output) {
        if let (Phase::Running, Some(reason)) = (&self.phase, refusal.reason) {
            self.say_disconnect(reason, out);
        }
        self.end(Name::from_static(refusal.why), out);
    }

    /// DISCONNECT, which only 5.0 servers may send.
    fn say_disconnect(&mut self, reason: u8, out: &mut Output) {
        self.tally.messages_sent += u32::from(self.version == Version::V5);
        codec::acks::put_disconnect(&mut out.wire.tail, self.version, reason);
    }

    /// Adds up what one call of the driver did; `before` is what it found unwritten.
    fn count(&mut self, before: usize, out: &Output) {
        self.tally.bytes_sent += size(out.wire.len().saturating_sub(before));
        self.config.counters.add(&mut self.tally);
    }

    /// Takes one packet from `input`. False when there is none, or none may be taken now.
    fn step(&mut self, input: &mut BytesMut, turn: &mut Turn<'_>) -> bool {
        let listening = matches!(self.phase, Phase::Fresh | Phase::Running) && self.busy.is_none();
        if !listening {
            return false;
        }
        let fixed = match fixed::peek(input, self.config.packet_bytes_max) {
            Ok(Some(fixed)) if fixed.packet_len <= input.len() => fixed,
            Ok(_) => return false,
            Err(refusal) => {
                self.refuse(refusal, turn.out);
                return false;
            }
        };
        self.tally.messages_received += 1;
        self.tally.bytes_received += size(fixed.packet_len);
        let outcome = if fixed.kind == kind::PUBLISH && fixed.packet_len >= COPY_OUT_BELOW_BYTES {
            let frame = input.split_to(fixed.packet_len).freeze();
            self.packet(fixed, frame.get(fixed.header_len..).unwrap_or_default(), Some(&frame), turn)
        } else {
            let body = input.get(fixed.header_len..fixed.packet_len).unwrap_or_default();
            let outcome = self.packet(fixed, body, None, turn);
            input.advance(fixed.packet_len);
            outcome
        };
        if let Err(refusal) = outcome {
            self.refuse(refusal, turn.out);
        }
        !self.has_ended()
    }

    /// `frame` is the packet as a buffer of its own, for bodies that are kept without copying.
    fn packet(
        &mut self,
        fixed: Fixed,
        body: &[u8],
        frame: Option<&Bytes>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refusal> {
        if let Phase::Fresh = self.phase {
            return match (fixed.kind, fixed.flags) {
                (kind::CONNECT, 0) => self.on_connect(body, turn),
                _ => Err(Refusal::silent("first packet is not CONNECT")),
            };
        }
        fixed::check_flags(fixed)?;
        match fixed.kind {
            kind::PUBLISH => self.on_publish(fixed.flags, body, frame, turn),
            kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP => {
                let ack = codec::acks::decode(fixed.kind, body, self.version)?;
                self.on_ack(fixed.kind, ack, turn)
            }
            kind::SUBSCRIBE => self.on_subscribe(body, turn),
            kind::UNSUBSCRIBE => self.on_unsubscribe(body, turn),
            kind::PINGREQ if body.is_empty() => {
                turn.out.wire.put(&[0xd0, 0]);
                self.tally.messages_sent += 1;
                Ok(())
            }
            kind::PINGREQ => Err(Refusal::malformed("PINGREQ with a body")),
            kind::DISCONNECT => self.on_disconnect(body, turn),
            kind::CONNECT => Err(Refusal::silent("second CONNECT")),
            kind::AUTH => Err(Refusal::protocol("AUTH without authentication method")),
            _ => Err(Refusal::protocol("packet type not for clients")),
        }
    }

    fn on_reply(&mut self, pending: Pending, reply: Reply, turn: &mut Turn<'_>) {
        match (pending, reply) {
            (Pending::Login, reply) => self.on_login(reply, turn),
            (Pending::Open, reply) => self.on_open(reply, turn),
            (Pending::Needed(what), Reply::Failed(error)) => self.end(format!("{what}: {error}"), turn.out),
            (Pending::Needed(_) | Pending::Extra, _) => {}
            (Pending::Subscription(step), reply) => self.on_subscription(*step, reply, turn),
            (Pending::Unsubscribe(slot), reply) => self.on_unsubscribed(slot, &reply, turn),
            (Pending::DeclareForPublish, reply) => self.on_declared(reply, turn),
            (Pending::Kept(packet_id), reply) => self.on_kept(packet_id, &reply, turn),
            // The session is another connection's: that one sends PUBREL.
            (Pending::Released(_), Reply::Failed(_)) => {}
            (Pending::Released(packet_id), _) => self.on_release_kept(packet_id, turn),
            (Pending::QueueKept { slot, options }, reply) => self.on_queue_kept(slot, options, &reply, turn),
        }
    }

    fn on_timeout(&mut self, now: Millis, out: &mut Output) {
        match self.deadline() {
            Some(deadline) if now >= deadline => {}
            _ => return,
        }
        if let Phase::Running = self.phase {
            self.refuse(Refusal::new(reason::KEEP_ALIVE_TIMEOUT, "keep-alive timeout"), out);
        } else {
            self.refuse(Refusal::silent("connect timeout"), out);
        }
    }

    fn deadline(&self) -> Option<Millis> {
        match self.phase {
            Phase::Fresh | Phase::Entering(_) => {
                Some(self.started.saturating_add(self.config.connect_timeout_ms))
            }
            // While busy nothing is read, so that silence is not the client's.
            Phase::Running if self.silence_max_ms > 0 && self.busy.is_none() => {
                Some(self.last_heard.saturating_add(self.silence_max_ms))
            }
            Phase::Running | Phase::Ended => None,
        }
    }
}

impl Session for MqttSession {
    fn receive(&mut self, input: &mut BytesMut, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        self.begin(now);
        self.last_heard = now;
        let before = out.wire.len();
        self.renew_gate();
        let mut turn = Turn { now, broker, out };
        while self.step(input, &mut turn) {}
        if self.has_ended() {
            input.clear();
        }
        self.count(before, out);
    }

    fn reply(
        &mut self,
        request: RequestId,
        reply: Reply,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    ) {
        let pending = self.requests.remove(&request.0);
        if self.requests.is_empty() {
            // Most clients ask for little after their CONNECT, and there are many of them.
            self.requests = FxHashMap::default();
        }
        // Time that the client spent waiting for us does not count as its silence.
        self.last_heard = now;
        if let (Some(pending), false) = (pending, self.has_ended()) {
            let before = out.wire.len();
            self.renew_gate();
            self.on_reply(pending, reply, &mut Turn { now, broker, out });
            self.count(before, out);
        }
    }

    fn deliver(
        &mut self,
        deliveries: &mut Vec<Delivery>,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    ) {
        let before = out.wire.len();
        self.renew_gate();
        let mut turn = Turn { now, broker, out };
        for delivery in deliveries.drain(..) {
            // After the end the broker takes all leases back by itself.
            if matches!(self.phase, Phase::Running) {
                self.on_delivery(delivery, &mut turn);
            }
        }
        self.count(before, out);
    }

    fn confirm(&mut self, confirms: &[Confirm], now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        if matches!(self.phase, Phase::Running) {
            let before = out.wire.len();
            self.incoming.acks.confirm(confirms);
            self.acknowledge(&mut Turn { now, broker, out });
            self.count(before, out);
        }
    }

    fn signal(&mut self, signal: Signal, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        if self.has_ended() {
            return;
        }
        let before = out.wire.len();
        match signal {
            Signal::TakenOver => {
                self.refuse(Refusal::new(reason::SESSION_TAKEN_OVER, "session taken over"), out);
            }
            Signal::Shutdown(why) => {
                if let Phase::Running = self.phase {
                    self.say_disconnect(reason::SERVER_SHUTTING_DOWN, out);
                }
                self.end(why, out);
            }
            Signal::ConsumerCancelled(OWN_QUEUE) => {
                self.refuse(Refusal::new(reason::ADMINISTRATIVE, "session queue is gone"), out);
            }
            Signal::ConsumerCancelled(consumer) => {
                self.on_cancelled(consumer, &mut Turn { now, broker, out });
            }
            // MQTT has no word for it; the driver stops reading by itself.
            Signal::Blocked(_) | Signal::Unblocked => {}
        }
        self.count(before, out);
    }

    fn tick(&mut self, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        self.begin(now);
        let before = out.wire.len();
        self.on_timeout(now, out);
        if matches!(self.phase, Phase::Running) {
            self.forget_completed(&mut Turn { now, broker, out });
        }
        self.count(before, out);
    }

    fn next_tick(&self) -> Option<Millis> {
        if self.started == 0 {
            return Some(0);
        }
        let forget_at = self.outgoing.forget_at().filter(|_| matches!(self.phase, Phase::Running));
        [self.deadline(), forget_at].into_iter().flatten().min()
    }

    fn closed(&mut self, now: Millis, broker: &mut dyn Broker) {
        self.phase = Phase::Ended;
        self.requests.clear();
        self.renew_gate();
        self.leave(now, broker);
        self.config.counters.add(&mut self.tally);
    }
}
