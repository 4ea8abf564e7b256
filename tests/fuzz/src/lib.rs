//! Drives a protocol session with a fuzzer's bytes against a broker that says yes, or now and then no.
//!
//! The first bytes of an input decide how it is cut into reads and which requests fail; the rest is what the peer
//! sends. What is published comes back as deliveries to every consumer, so that the writing half is fuzzed as well.

use bytes::BytesMut;
use model::{
    command::{Op, Publish, QueueStatus, Reply, Routed, Signal},
    delivery::{Confirm, Delivery, Lease, Outcome},
    error::{BrokerError, ErrorKind},
    ids::{ConfirmToken, ConsumerId, QueueId, RequestId},
    message::Message,
    session::{Broker, Output, Session, SessionSeed},
};
use std::sync::Arc;

/// Bytes of an input that steer.
const STEERING: usize = 4;
/// Published messages that one input may get back.
const ECHOES_MAX: usize = 64;
/// Answers per read, against a session that would ask for ever.
const ANSWERS_MAX: usize = 10_000;

/// What a connection is told of itself.
pub fn seed() -> SessionSeed {
    SessionSeed {
        peer: "127.0.0.1:9".into(),
        local: "127.0.0.1:1".into(),
        loopback: true,
        tls: false,
        certificate_name: None,
        random: 42,
    }
}

#[derive(Default)]
struct Fake {
    requests: Vec<(RequestId, Op)>,
    published: Vec<Arc<Message>>,
    tokens: Vec<ConfirmToken>,
    consumers: Vec<(ConsumerId, bool)>,
    leases: u64,
    dice: u32,
}

impl Fake {
    /// True one time in `sides`, decided by the input.
    fn roll(&mut self, sides: u32) -> bool {
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.dice >> 8).is_multiple_of(sides)
    }

    fn delivery(&mut self, consumer: ConsumerId, leased: bool, message: Arc<Message>) -> Delivery {
        self.leases += 1;
        Delivery {
            consumer,
            via: 0,
            message,
            lease: leased.then_some(Lease { queue: QueueId(1), seq: self.leases }),
            redelivered: self.roll(3),
            earlier_deliveries: 0,
            first_delivery_ms: 0,
            offset: self.roll(5).then_some(self.leases),
        }
    }

    fn answer(&mut self, op: Op) -> Reply {
        if self.roll(9) {
            let kinds = [ErrorKind::NotFound, ErrorKind::AccessRefused, ErrorKind::Inequivalent];
            let kind = kinds[(self.dice as usize >> 16) % kinds.len()];
            return Reply::Failed(BrokerError::new(kind, "no"));
        }
        match op {
            Op::Login { .. } => Reply::LoggedIn { user: "u".into() },
            Op::DeclareQueue(declare) => Reply::QueueDeclared { name: declare.name, ready: 1, consumers: 0 },
            Op::DeleteQueue { .. } | Op::PurgeQueue(_) => Reply::Count(1),
            Op::Consume(consume) => {
                self.consumers.push((consume.consumer, consume.auto_ack));
                Reply::Done
            }
            Op::Cancel(consumer) => {
                self.consumers.retain(|(known, _)| *known != consumer);
                Reply::Done
            }
            Op::Get { auto_ack, .. } => {
                let message = self.published.last().cloned();
                let delivery =
                    message.map(|message| Box::new(self.delivery(ConsumerId(0), !auto_ack, message)));
                Reply::Got { delivery, remaining: 0 }
            }
            Op::Receive { .. } => Reply::Received(Vec::new()),
            Op::Status(_) => Reply::Status(QueueStatus::default()),
            Op::OpenSession { .. } => Reply::SessionOpened {
                present: self.roll(2),
                queue: "q".into(),
                state: Default::default(),
                subscriptions: Vec::new(),
                kept: Vec::new(),
            },
            Op::Subscribe { .. } => Reply::Subscribed {
                existed: self.roll(2),
                retained: self.published.iter().take(2).cloned().collect(),
                queue: self.roll(4).then(|| "shared".into()),
            },
            Op::Unsubscribe { .. } => Reply::Existed(self.roll(2)),
            _ => Reply::Done,
        }
    }
}

impl Broker for Fake {
    fn publish(&mut self, publish: Publish) -> Result<Routed, BrokerError> {
        if self.roll(13) {
            return Err(BrokerError::not_found("exchange", "x", "/"));
        }
        self.tokens.extend(publish.confirm);
        // Reads what another door would: conversions must hold for whatever the peer managed to say.
        let envelope = publish.message.envelope();
        let _ = aws_protocol::convert::from_envelope(envelope);
        if self.published.len() < ECHOES_MAX {
            self.published.push(publish.message);
        }
        Ok(Routed { destinations: u32::from(!self.roll(5)), pending: publish.confirm.is_some() })
    }

    fn settle(&mut self, _: ConsumerId, _: Lease, _: Outcome) {}

    fn request(&mut self, request: RequestId, op: Op) {
        self.requests.push((request, op));
    }
}

/// One connection's life.
pub fn drive(mut session: Box<dyn Session>, data: &[u8]) {
    let Some((steering, mut rest)) = data.split_at_checked(STEERING) else { return };
    let mut fake =
        Fake { dice: steering.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)), ..Fake::default() };
    let (mut out, mut input, mut now) = (Output::default(), BytesMut::new(), 1_000);
    while !rest.is_empty() && out.close.is_none() {
        let size = match steering[0] % 4 {
            0 => rest.len(),
            1 => 1,
            _ => (fake.dice as usize >> 16) % 64 + 1,
        };
        let (now_read, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        input.extend_from_slice(now_read);
        session.receive(&mut input, now, &mut fake, &mut out);
        settle(&mut *session, &mut fake, &mut input, now, &mut out);
        if fake.roll(16) {
            now += 5_000;
            session.tick(now, &mut fake, &mut out);
            settle(&mut *session, &mut fake, &mut input, now, &mut out);
        }
        let _ = out.wire.take();
        let _ = session.next_tick();
    }
    if out.close.is_none() && fake.roll(2) {
        session.signal(Signal::Shutdown("down".into()), now, &mut fake, &mut out);
    }
    session.closed(now, &mut fake);
}

/// Answers, confirms and delivers until the session asks for nothing more.
fn settle(session: &mut dyn Session, fake: &mut Fake, input: &mut BytesMut, now: u64, out: &mut Output) {
    for _ in 0..ANSWERS_MAX {
        if out.close.is_some() {
            return;
        }
        if !fake.requests.is_empty() {
            let (request, op) = fake.requests.remove(0);
            let reply = fake.answer(op);
            session.reply(request, reply, now, fake, out);
        } else if !fake.tokens.is_empty() {
            let accepted = !fake.roll(11);
            let confirms: Vec<_> = fake.tokens.drain(..).map(|token| Confirm { token, accepted }).collect();
            session.confirm(&confirms, now, fake, out);
        } else if !fake.published.is_empty() && !fake.consumers.is_empty() {
            let message = fake.published.remove(0);
            let mut deliveries = Vec::new();
            for (consumer, auto_ack) in fake.consumers.clone() {
                deliveries.push(fake.delivery(consumer, !auto_ack, message.clone()));
            }
            session.deliver(&mut deliveries, now, fake, out);
        } else {
            return;
        }
        if out.close.is_none() && !input.is_empty() {
            session.receive(input, now, fake, out);
        }
    }
    panic!("the session asks for ever");
}
