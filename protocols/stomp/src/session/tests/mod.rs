//! Transcripts against a broker that only takes notes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod hostile;
mod lifecycle;
mod messages;
mod subscriptions;

use super::*;
use crate::convert::STOMP;
use bytes::Bytes;
use model::{
    command::{Publish, Routed},
    delivery::{Lease, Outcome},
    error::{BrokerError, ErrorKind},
    ids::{ConfirmToken, QueueId},
    message::{Message, Native},
};

/// Answers every op with success, except those that it is told to refuse.
#[derive(Default)]
struct Notes {
    published: Vec<Publish>,
    settled: Vec<(u64, Outcome)>,
    ops: Vec<Op>,
    unanswered: Vec<(RequestId, Op)>,
    /// Publishes wait for [`Peer::confirm`].
    confirms_later: bool,
    /// The next op or publish whose debug text contains this fails.
    refuse: Option<(&'static str, BrokerError)>,
}

impl Notes {
    fn refusal(&mut self, subject: &str) -> Option<BrokerError> {
        self.refuse.take_if(|(text, _)| subject.contains(*text)).map(|(_, error)| error)
    }
}

impl Broker for Notes {
    fn publish(&mut self, publish: Publish) -> Result<Routed, BrokerError> {
        if let Some(error) = self.refusal(&format!("Publish {}", publish.message.exchange)) {
            return Err(error);
        }
        self.published.push(publish);
        Ok(Routed { destinations: 1, pending: self.confirms_later })
    }

    fn settle(&mut self, _: ConsumerId, lease: Lease, outcome: Outcome) {
        self.settled.push((lease.seq, outcome));
    }

    fn request(&mut self, request: RequestId, op: Op) {
        self.unanswered.push((request, op));
    }
}

/// A session with its broker and what a client sees of them.
struct Peer {
    session: StompSession,
    broker: Notes,
    input: BytesMut,
    out: Output,
    now: Millis,
}

impl Peer {
    fn fresh(config: StompConfig) -> Self {
        let seed = SessionSeed {
            peer: "127.0.0.1:9".into(),
            local: "127.0.0.1:61613".into(),
            loopback: true,
            tls: false,
            certificate_name: None,
            random: 42,
        };
        let session = StompSession::new(Arc::new(config), seed, 0);
        Peer { session, broker: Notes::default(), input: BytesMut::new(), out: Output::default(), now: 0 }
    }

    fn connected(version: &str) -> Self {
        let mut peer = Self::fresh(StompConfig::default());
        let answer = peer.say(&format!("CONNECT\naccept-version:{version}\nlogin:u\npasscode:p\n\n\0"));
        assert!(answer.starts_with(&format!("CONNECTED\nversion:{version}\n")), "{answer}");
        peer.broker.ops.clear();
        peer
    }

    /// What the server says to `text`, after all ops are answered.
    fn say(&mut self, text: &str) -> String {
        self.input.extend_from_slice(text.as_bytes());
        self.session.receive(&mut self.input, self.now, &mut self.broker, &mut self.out);
        while let Some((request, op)) = self.broker.unanswered.pop() {
            let reply = match (self.broker.refusal(&format!("{op:?}")), &op) {
                (Some(error), _) => Reply::Failed(error),
                (None, Op::Login { .. }) => Reply::LoggedIn { user: "u".into() },
                _ => Reply::Done,
            };
            self.broker.ops.push(op);
            self.session.reply(request, reply, self.now, &mut self.broker, &mut self.out);
            self.session.receive(&mut self.input, self.now, &mut self.broker, &mut self.out);
        }
        self.heard()
    }

    fn heard(&mut self) -> String {
        let bytes = self.out.wire.take();
        String::from_utf8(bytes.to_vec()).unwrap().replace(&*self.session.session_id, "S")
    }

    fn confirm(&mut self, index: usize, accepted: bool) -> String {
        let token: ConfirmToken = self.broker.published[index].confirm.expect("asked for a confirm");
        self.session.confirm(&[Confirm { token, accepted }], self.now, &mut self.broker, &mut self.out);
        self.heard()
    }

    fn deliver(&mut self, consumer: u32, seq: Option<u64>, message: Message) -> String {
        let lease = seq.map(|seq| Lease { queue: QueueId(1), seq });
        let delivery = Delivery {
            consumer: ConsumerId(consumer),
            via: 0,
            message: Arc::new(message),
            lease,
            redelivered: false,
            earlier_deliveries: 0,
            first_delivery_ms: 0,
            offset: None,
        };
        self.session.deliver(&mut vec![delivery], self.now, &mut self.broker, &mut self.out);
        self.heard()
    }

    fn tick(&mut self, now: Millis) -> String {
        self.now = now;
        self.session.tick(now, &mut self.broker, &mut self.out);
        self.heard()
    }

    fn is_closed(&self) -> bool {
        self.out.close.is_some()
    }

    #[track_caller]
    fn check(&mut self, text: &str, expected: &str) {
        assert_eq!(self.say(text), expected, "{text}");
    }

    /// `text` is answered by an ERROR with this message and body.
    #[track_caller]
    fn check_error(&mut self, text: &str, message: &str, body: &str, closes: bool) {
        let answer = self.say(text);
        assert_eq!(answer, error(message, body), "{text}");
        assert_eq!(self.is_closed(), closes, "{text}");
    }
}

fn error(message: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "ERROR\nmessage:{message}\ncontent-type:text/plain\nversion:1.0,1.1,1.2\ncontent-length:{length}\n\n{body}\0\n"
    )
}

fn message(exchange: &'static str, key: &'static str, lines: &'static str, body: &'static str) -> Message {
    let native = Native { codec: &STOMP, properties: Bytes::from_static(lines.as_bytes()) };
    Message::new(exchange.into(), key.into(), native, Bytes::from_static(body.as_bytes()).into(), 0)
}

fn refused(kind: ErrorKind, text: &'static str) -> BrokerError {
    BrokerError::new(kind, text)
}
