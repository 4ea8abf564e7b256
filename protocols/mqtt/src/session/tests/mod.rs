//! Transcripts through a session and a fake broker.
//!
//! A transcript has one step a line: `> bytes` from the client, `< bytes` expected back since the last step (nothing
//! when empty), `! closed` expected, `@ ms` lets time pass. Bytes are hex pairs; `"text"` is text, `s"text"` text with its
//! two-byte length, and `[ ... ]` what is inside with a variable byte integer of its length before it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod access;
mod any_bytes;
mod connect;
mod deliver;
mod oracle;
mod publish;
mod subscribe;

use super::MqttSession;
use crate::{MqttConfig, codec, convert};
use bytes::{Bytes, BytesMut};
use model::{
    Millis, Name,
    command::{Credentials, Op, Publish, Reply, Routed, Signal},
    definition::Subscription,
    delivery::{Confirm, Delivery, Lease, Outcome},
    error::{BrokerError, ErrorKind},
    ids::{ConfirmToken, ConsumerId, QueueId, RequestId},
    message::Message,
    session::{Broker, Output, Session, SessionSeed},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// v5, clean start, client id `c`.
pub(super) const V5: &str = r#"10 [ s"MQTT" 05 02 0000 [] s"c" ]"#;
/// v5, session that lives on, client id `c`.
pub(super) const V5_KEPT: &str = r#"10 [ s"MQTT" 05 00 0000 [ 11 00000e10 ] s"c" ]"#;
/// 3.1.1, clean session.
pub(super) const V4: &str = r#"10 [ s"MQTT" 04 02 0000 s"c" ]"#;
pub(super) const V5_IN: &str = "20 0e 00 00 0b 22 000a 27 001e8480 21 0014";
pub(super) const V4_IN: &str = "20 02 00 00";

/// A broker that says yes, except to what is named `denied`.
#[derive(Default)]
pub(super) struct FakeBroker {
    pub(super) ops: Vec<Op>,
    pub(super) published: Vec<Publish>,
    /// Consumer, place in the queue from 1, and outcome.
    pub(super) settled: Vec<(ConsumerId, u64, Outcome)>,
    pub(super) routed: Routed,
    pub(super) present: bool,
    pub(super) state: Bytes,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) retained: Vec<Arc<Message>>,
    /// What the session keeps.
    pub(super) kept: BTreeMap<u32, Bytes>,
    replies: VecDeque<(RequestId, Reply)>,
}

impl FakeBroker {
    fn answer(&mut self, op: &Op) -> Reply {
        let denied = || Reply::Failed(BrokerError::new(ErrorKind::AccessRefused, "access refused"));
        match op {
            Op::Login { credentials: Credentials::Password { user, .. }, .. } if user == "denied" => denied(),
            Op::Login { .. } => Reply::LoggedIn { user: "guest".into() },
            Op::OpenSession { .. } => Reply::SessionOpened {
                present: self.present,
                queue: "own".into(),
                state: self.state.clone(),
                subscriptions: self.subscriptions.clone(),
                kept: self.kept.iter().map(|(slot, value)| (*slot, value.clone())).collect(),
            },
            Op::Keep { slot, value } => {
                match value {
                    Some(value) => self.kept.insert(*slot, value.clone()),
                    None => self.kept.remove(slot),
                };
                Reply::Done
            }
            Op::Subscribe { subscription, .. } if subscription.filter == "denied" => denied(),
            Op::Subscribe { subscription, .. } => Reply::Subscribed {
                existed: false,
                retained: self.retained.clone(),
                queue: subscription.share.as_ref().map(|share| format!("group-{share}").into()),
            },
            Op::Unsubscribe { .. } => Reply::Existed(true),
            Op::DeclareQueue(declare) if declare.name == "denied" => denied(),
            Op::DeclareQueue(declare) => {
                self.routed.destinations = 1;
                Reply::QueueDeclared { name: declare.name.clone(), ready: 0, consumers: 0 }
            }
            _ => Reply::Done,
        }
    }
}

impl Broker for FakeBroker {
    fn publish(&mut self, publish: Publish) -> Result<Routed, BrokerError> {
        if publish.message.routing_key == "denied" {
            return Err(BrokerError::new(ErrorKind::AccessRefused, "access refused"));
        }
        self.published.push(publish);
        Ok(self.routed)
    }

    fn settle(&mut self, consumer: ConsumerId, lease: Lease, outcome: Outcome) {
        self.settled.push((consumer, lease.seq + 1, outcome));
    }

    fn request(&mut self, request: RequestId, op: Op) {
        let reply = self.answer(&op);
        self.replies.push_back((request, reply));
        self.ops.push(op);
    }
}

/// A session with its broker, its driver and its clock.
pub(super) struct Client {
    pub(super) session: MqttSession,
    pub(super) broker: FakeBroker,
    pub(super) out: Output,
    pub(super) now: Millis,
    input: BytesMut,
}

impl Client {
    pub(super) fn new(config: MqttConfig) -> Self {
        let seed = SessionSeed {
            peer: "127.0.0.1:1".into(),
            local: "127.0.0.1:2".into(),
            loopback: true,
            tls: false,
            certificate_name: None,
            random: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        };
        let mut broker = FakeBroker::default();
        broker.routed.destinations = 1;
        Self {
            session: MqttSession::new(seed, Arc::new(config)),
            broker,
            out: Output::default(),
            now: 1_000_000,
            input: BytesMut::new(),
        }
    }

    /// Connected with `connect`, the CONNACK read away.
    pub(super) fn connected(connect: &str) -> Self {
        let mut client = Self::new(MqttConfig::default());
        client.send(connect);
        assert_eq!(client.out.wire.take().first(), Some(&0x20));
        client
    }

    /// Takes up a session that left `state` and `subscriptions`.
    pub(super) fn resumed(connect: &str, state: Bytes, subscriptions: Vec<Subscription>) -> Self {
        Self::resumed_with(connect, state, subscriptions, BTreeMap::new())
    }

    /// Takes up a session that kept something too.
    pub(super) fn resumed_with(
        connect: &str,
        state: Bytes,
        subscriptions: Vec<Subscription>,
        kept: BTreeMap<u32, Bytes>,
    ) -> Self {
        let mut client = Self::new(MqttConfig::default());
        client.broker.present = true;
        client.broker.state = state;
        client.broker.subscriptions = subscriptions;
        client.broker.kept = kept;
        client.send(connect);
        client
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.receive(&mut self.input, self.now, &mut self.broker, &mut self.out);
        while let Some((request, reply)) = self.broker.replies.pop_front() {
            self.session.reply(request, reply, self.now, &mut self.broker, &mut self.out);
            self.session.receive(&mut self.input, self.now, &mut self.broker, &mut self.out);
        }
    }

    /// Bytes to which the broker does not answer before the next [`Self::feed`].
    pub(super) fn feed_only(&mut self, line: &str) {
        self.input.extend_from_slice(&bytes_of(line));
        self.session.receive(&mut self.input, self.now, &mut self.broker, &mut self.out);
    }

    pub(super) fn send(&mut self, line: &str) -> &mut Self {
        self.feed(&bytes_of(line));
        self
    }

    #[track_caller]
    pub(super) fn expect(&mut self, line: &str) -> &mut Self {
        let got = self.out.wire.take();
        assert_eq!(hex(&got), hex(&bytes_of(line)), "expected {line}");
        self
    }

    #[track_caller]
    pub(super) fn expect_closed(&mut self) -> &mut Self {
        assert!(self.out.close.is_some(), "still open");
        self
    }

    pub(super) fn pass(&mut self, ms: u64) -> &mut Self {
        self.now += ms;
        self.session.tick(self.now, &mut self.broker, &mut self.out);
        while let Some((request, reply)) = self.broker.replies.pop_front() {
            self.session.reply(request, reply, self.now, &mut self.broker, &mut self.out);
        }
        self
    }

    pub(super) fn signal(&mut self, signal: Signal) -> &mut Self {
        self.session.signal(signal, self.now, &mut self.broker, &mut self.out);
        self
    }

    pub(super) fn confirm(&mut self, token: u64, accepted: bool) -> &mut Self {
        let confirms = [Confirm { token: ConfirmToken(token), accepted }];
        self.session.confirm(&confirms, self.now, &mut self.broker, &mut self.out);
        self
    }

    /// Delivers what is `seq`th in its queue, counted from 1.
    pub(super) fn deliver(
        &mut self,
        consumer: u32,
        via: u32,
        seq: Option<u64>,
        message: &Arc<Message>,
    ) -> &mut Self {
        let delivery = Delivery {
            consumer: ConsumerId(consumer),
            via,
            message: message.clone(),
            lease: seq.map(|seq| Lease { queue: QueueId(1), seq: seq - 1 }),
            redelivered: false,
            earlier_deliveries: 0,
            first_delivery_ms: 0,
            offset: None,
        };
        self.session.deliver(&mut vec![delivery], self.now, &mut self.broker, &mut self.out);
        self
    }

    /// The connection is over: state and expiry that the session left.
    pub(super) fn close(&mut self) -> (Bytes, u64, Option<u64>) {
        self.session.closed(self.now, &mut self.broker);
        match self.broker.ops.last() {
            Some(Op::CloseSession { expiry_ms, state, will }) => {
                (state.clone(), *expiry_ms, will.as_ref().map(|will| will.delay_ms))
            }
            other => panic!("not closed but {other:?}"),
        }
    }

    pub(super) fn last_published(&self) -> &Message {
        &self.broker.published.last().expect("something published").message
    }
}

/// An MQTT message of QoS `qos` with topic `a/b` and body `x`.
pub(super) fn message(qos: u8) -> Arc<Message> {
    keyed(qos, "a.b")
}

pub(super) fn keyed(qos: u8, key: &'static str) -> Arc<Message> {
    let native = convert::bare(convert::flags(qos, false));
    let body = Bytes::from_static(b"x").into();
    let mut message = Message::new("amq.topic".into(), key.into(), native, body, 1_000_000);
    message.durable = qos > 0;
    Arc::new(message)
}

pub(super) fn subscription(filter: &'static str, via: u32, qos: u8) -> Subscription {
    Subscription {
        filter: filter.into(),
        via,
        reliable: qos > 0,
        no_local: false,
        share: None,
        options: Bytes::copy_from_slice(&[qos]),
    }
}

#[track_caller]
pub(super) fn check(transcript: &str) {
    check_with(MqttConfig::default(), transcript);
}

#[track_caller]
pub(super) fn check_with(config: MqttConfig, transcript: &str) {
    let mut client = Client::new(config);
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (what, rest) = line.split_at(1);
        match what {
            ">" => client.send(rest),
            "<" => client.expect(rest),
            "!" => client.expect_closed(),
            "@" => client.pass(rest.trim().parse().expect("milliseconds")),
            _ => panic!("what is {line}?"),
        };
    }
}

/// `packet` from a 5.0 client that is in ends the connection with `reason`.
#[track_caller]
pub(super) fn refused_v5(packet: &str, reason: &str) {
    check(&format!("> {V5}\n< {V5_IN}\n> {packet}\n< e0 01 {reason}\n! closed"));
}

/// `packet` from a 3.1.1 client that is in ends the connection without a word.
#[track_caller]
pub(super) fn refused_v4(packet: &str) {
    check(&format!("> {V4}\n< {V4_IN}\n> {packet}\n<\n! closed"));
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Reads the notation of transcripts.
pub(super) fn bytes_of(line: &str) -> Vec<u8> {
    let mut open: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let mut taken = 1;
        if let Some(text) = rest.strip_prefix("s\"").or_else(|| rest.strip_prefix('"')) {
            let text = text.split('"').next().unwrap();
            if first == 's' {
                let length = (text.len() as u16).to_be_bytes();
                open.last_mut().unwrap().extend_from_slice(&length);
            }
            open.last_mut().unwrap().extend_from_slice(text.as_bytes());
            taken = text.len() + 2 + usize::from(first == 's');
        } else if first == '[' {
            open.push(Vec::new());
        } else if first == ']' {
            let inner = open.pop().unwrap();
            let mut length = BytesMut::new();
            codec::put_varint(&mut length, inner.len());
            open.last_mut().unwrap().extend_from_slice(&length);
            open.last_mut().unwrap().extend_from_slice(&inner);
        } else {
            open.last_mut().unwrap().push(u8::from_str_radix(&rest[..2], 16).expect(line));
            taken = 2;
        }
        rest = rest[taken..].trim_start();
    }
    assert_eq!(open.len(), 1, "brackets in {line}");
    open.pop().unwrap()
}

pub(super) fn name(text: &'static str) -> Name {
    Name::from_static(text)
}
