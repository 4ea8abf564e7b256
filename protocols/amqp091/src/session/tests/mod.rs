//! The session against a fake broker and a client made of `amq-protocol`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod channels;
mod convert;
mod deliver;
mod handshake;
mod publish;
mod robust;

use super::Amqp091Session;
use crate::AmqpConfig;
use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame},
    protocol::{AMQPClass, BasicProperties, basic, channel, confirm, connection},
    types::{AMQPValue, FieldTable},
};
use bytes::{Bytes, BytesMut};
use model::{
    Name,
    command::{Op, Publish, Reply, Routed},
    delivery::{Confirm, Delivery, Lease, Outcome},
    error::BrokerError,
    ids::{ConsumerId, QueueId, RequestId},
    message::{Body, Message, Native},
    session::{Broker, Output, Session, SessionSeed},
};
use std::{collections::VecDeque, sync::Arc};

/// A broker that notes everything and answers what it is told to, by default with success.
#[derive(Default)]
struct FakeBroker {
    ops: Vec<Op>,
    waiting: VecDeque<(RequestId, Op)>,
    answers: VecDeque<Reply>,
    published: Vec<Publish>,
    routed: VecDeque<Result<Routed, BrokerError>>,
    settled: Vec<(u32, u64, Outcome)>,
}

impl FakeBroker {
    fn default_answer(op: &Op) -> Reply {
        match op {
            Op::Login { .. } => Reply::LoggedIn { user: "guest".into() },
            Op::DeclareQueue(declare) => {
                Reply::QueueDeclared { name: declare.name.clone(), ready: 3, consumers: 1 }
            }
            Op::PurgeQueue(_) | Op::DeleteQueue { .. } => Reply::Count(2),
            Op::Get { .. } => Reply::Got { delivery: None, remaining: 0 },
            _ => Reply::Done,
        }
    }
}

impl Broker for FakeBroker {
    fn publish(&mut self, publish: Publish) -> Result<Routed, BrokerError> {
        let pending = publish.confirm.is_some();
        self.published.push(publish);
        self.routed.pop_front().unwrap_or(Ok(Routed { destinations: 1, pending }))
    }

    fn settle(&mut self, consumer: ConsumerId, lease: Lease, outcome: Outcome) {
        self.settled.push((consumer.0, lease.seq, outcome));
    }

    fn request(&mut self, request: RequestId, op: Op) {
        self.ops.push(op.clone());
        self.waiting.push_back((request, op));
    }
}

/// A client on the other end of a session, which plays the driver too.
struct Client {
    session: Amqp091Session,
    broker: FakeBroker,
    input: BytesMut,
    out: Output,
    now: u64,
    /// Answer ops as they come.
    answering: bool,
}

fn seed() -> SessionSeed {
    SessionSeed {
        peer: "127.0.0.1:4000".into(),
        local: "127.0.0.1:5672".into(),
        loopback: true,
        tls: false,
        certificate_name: None,
        random: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
    }
}

fn encoded(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

fn capabilities(names: &[&str]) -> FieldTable {
    let mut said = FieldTable::default();
    names.iter().for_each(|name| _ = said.insert((*name).into(), AMQPValue::Boolean(true)));
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(said));
    properties
}

const ALL: [&str; 3] = ["authentication_failure_close", "consumer_cancel_notify", "connection.blocked"];

impl Client {
    /// Connected, nothing sent.
    fn fresh(config: AmqpConfig) -> Self {
        Self {
            session: Amqp091Session::new(Arc::new(config), seed()),
            broker: FakeBroker::default(),
            input: BytesMut::new(),
            out: Output::default(),
            now: 1000,
            answering: true,
        }
    }

    /// Through the handshake, with channel 1 open.
    fn open() -> Self {
        Self::open_with(131_072, 60, &ALL)
    }

    fn open_with(frame_max: u32, heartbeat: u16, able: &[&str]) -> Self {
        let mut client = Self::fresh(AmqpConfig::default());
        client.bytes(b"AMQP\0\0\x09\x01");
        client.start_ok("PLAIN", b"\0guest\0guest", able);
        client.tune_ok(2047, frame_max, heartbeat);
        client.connection(connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() }));
        client.channel(1, channel::AMQPMethod::Open(channel::Open {}));
        let shown = client.shown();
        assert!(shown.last().unwrap().contains("Channel(OpenOk"), "{shown:?}");
        client.broker.ops.clear();
        client
    }

    fn start_ok(&mut self, mechanism: &str, response: &[u8], able: &[&str]) {
        self.connection(connection::AMQPMethod::StartOk(connection::StartOk {
            client_properties: capabilities(able),
            mechanism: mechanism.into(),
            response: response.into(),
            locale: "en_US".into(),
        }));
    }

    fn tune_ok(&mut self, channel_max: u16, frame_max: u32, heartbeat: u16) {
        self.connection(connection::AMQPMethod::TuneOk(connection::TuneOk {
            channel_max,
            frame_max,
            heartbeat,
        }));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.receive(&mut self.input, self.now, &mut self.broker, &mut self.out);
        self.drive();
    }

    /// Answers ops as a driver does.
    fn drive(&mut self) {
        while self.answering
            && let Some((request, op)) = self.broker.waiting.pop_front()
        {
            let reply = self.broker.answers.pop_front().unwrap_or_else(|| FakeBroker::default_answer(&op));
            self.session.reply(request, reply, self.now, &mut self.broker, &mut self.out);
            self.session.receive(&mut self.input, self.now, &mut self.broker, &mut self.out);
        }
    }

    fn frame(&mut self, frame: &AMQPFrame) {
        self.bytes(&encoded(frame));
    }

    fn method(&mut self, number: u16, method: AMQPClass) {
        self.frame(&AMQPFrame::Method(number, method));
    }

    fn connection(&mut self, method: connection::AMQPMethod) {
        self.method(0, AMQPClass::Connection(method));
    }

    fn channel(&mut self, number: u16, method: channel::AMQPMethod) {
        self.method(number, AMQPClass::Channel(method));
    }

    fn basic(&mut self, method: basic::AMQPMethod) {
        self.method(1, AMQPClass::Basic(method));
    }

    fn publish(&mut self, mandatory: bool, properties: BasicProperties, body: &[u8]) {
        self.basic(basic::AMQPMethod::Publish(basic::Publish {
            exchange: "ex".into(),
            routing_key: "a.b".into(),
            mandatory,
            immediate: false,
        }));
        let header = AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties };
        self.frame(&AMQPFrame::Header(1, header));
        for chunk in body.chunks(self.session.frame_max as usize - 8) {
            self.frame(&AMQPFrame::Body(1, chunk.to_vec()));
        }
    }

    fn consume(&mut self, tag: &str, no_ack: bool) {
        self.basic(basic::AMQPMethod::Consume(basic::Consume {
            queue: "q".into(),
            consumer_tag: tag.into(),
            no_ack,
            ..basic::Consume::default()
        }));
    }

    fn select_confirms(&mut self) {
        self.method(1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
    }

    fn confirm(&mut self, confirms: &[Confirm]) {
        self.session.confirm(confirms, self.now, &mut self.broker, &mut self.out);
    }

    fn deliver(&mut self, deliveries: Vec<Delivery>) {
        let mut deliveries = deliveries;
        self.session.deliver(&mut deliveries, self.now, &mut self.broker, &mut self.out);
        assert!(deliveries.is_empty());
    }

    fn tick(&mut self, now: u64) {
        self.now = now;
        self.session.tick(now, &mut self.broker, &mut self.out);
    }

    /// What came back since last asked.
    fn frames(&mut self) -> Vec<AMQPFrame> {
        let bytes = self.out.wire.take();
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (after, frame) = parse_frame(rest).expect("whole frames");
            frames.push(frame);
            rest = after;
        }
        frames
    }

    fn shown(&mut self) -> Vec<String> {
        self.frames().iter().map(|frame| format!("{frame:?}")).collect()
    }

    /// The close that came back, as `channel 404 NOT_FOUND - ... (50,10)`.
    fn close(&mut self) -> String {
        let frames = self.frames();
        match frames.last() {
            Some(AMQPFrame::Method(1, AMQPClass::Channel(channel::AMQPMethod::Close(close)))) => {
                format!(
                    "channel {} {} ({},{})",
                    close.reply_code, close.reply_text, close.class_id, close.method_id
                )
            }
            Some(AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)))) => {
                format!(
                    "connection {} {} ({},{})",
                    close.reply_code, close.reply_text, close.class_id, close.method_id
                )
            }
            other => format!("no close: {other:?}"),
        }
    }
}

fn message(properties: &[u8], body: Body) -> Message {
    let native = Native { codec: &crate::AMQP, properties: Bytes::copy_from_slice(properties) };
    Message::new("ex".into(), Name::from_static("a.b"), native, body, 5)
}

fn delivery(consumer: u32, seq: u64, message: Message) -> Delivery {
    Delivery {
        consumer: ConsumerId(consumer),
        via: 0,
        message: Arc::new(message),
        lease: Some(Lease { queue: QueueId(1), seq }),
        redelivered: false,
        earlier_deliveries: 0,
        first_delivery_ms: 0,
        offset: None,
    }
}
