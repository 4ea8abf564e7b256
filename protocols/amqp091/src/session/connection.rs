//! Channel 0: from the protocol header to connection.open-ok, and the end of the connection from either side.

use super::{Amqp091Session, io::Io, pending::Then, sasl};
use crate::{
    codec::{method, method::short},
    errors::{AmqpError, Asked},
    frame::MIN_FRAME_BYTES,
};
use amq_protocol::{
    protocol::{AMQPClass, connection},
    types::{AMQPValue, FieldTable},
};
use bytes::{Buf, BytesMut};
use model::{
    Name,
    command::{Op, Reply},
    error::ErrorKind,
    value::{Table, Value},
};

/// Where the connection stands.
///
/// ```text
///  Header --"AMQP0091"--> StartOk --start-ok--> Authenticating --LoggedIn--> TuneOk --tune-ok--> Open
///     --open--> Entering --LoggedIn--> Running
///  StartOk, Authenticating --refused, client cannot read a close--> Refused --3 s--> Closed
///  any --our connection.close--> Closing --close-ok or time-out--> Closed
///  any --peer's connection.close--> Leaving --consumers and exclusive queues gone--> Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing came yet.
    Header,
    /// Wait for connection.start-ok.
    StartOk,
    /// Credentials are being checked.
    Authenticating,
    /// Wait for connection.tune-ok.
    TuneOk,
    /// Wait for connection.open.
    Open,
    /// The vhost is being entered.
    Entering,
    /// Channels live.
    Running,
    /// We sent connection.close.
    Closing,
    /// The peer sent connection.close.
    Leaving,
    /// Login refused, the socket is held for a while.
    Refused,
    /// Over.
    Closed,
}

/// What the client says that it understands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeerCapabilities {
    /// connection.close after a refused login.
    pub(crate) authentication_failure_close: bool,
    /// basic.cancel from the server.
    pub(crate) consumer_cancel_notify: bool,
    /// connection.blocked and unblocked.
    pub(crate) connection_blocked: bool,
}

impl PeerCapabilities {
    fn of(client_properties: &Table) -> Self {
        let said = client_properties.get("capabilities").and_then(Value::as_table);
        let has = |name| said.and_then(|said| said.get(name)).and_then(Value::as_bool) == Some(true);
        Self {
            authentication_failure_close: has("authentication_failure_close"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
        }
    }
}

const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// The form that 0-9 clients sent; RabbitMQ takes it.
const HEADER_0_9: &[u8; 8] = b"AMQP\x01\x01\x00\x09";

/// What this door does, in RabbitMQ's words (server-properties.capabilities).
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

impl Amqp091Session {
    /// The protocol header, once all of it is there: connection.start goes out.
    pub(crate) fn on_header(&mut self, input: &mut BytesMut, io: &mut Io<'_>) {
        let fits = |header: &[u8; 8]| input.iter().zip(header).all(|(found, wanted)| found == wanted);
        if !fits(HEADER) && !fits(HEADER_0_9) {
            // Spec 2.2.4 "protocol-header": answer with what is spoken here, and close.
            io.out.wire.put(HEADER);
            return self.end("protocol header of another protocol", io);
        }
        if input.len() < HEADER.len() {
            return;
        }
        input.advance(HEADER.len());
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: self.server_properties(),
            mechanisms: sasl::mechanisms(&self.config, &self.seed).into_bytes().into(),
            locales: b"en_US".as_slice().into(),
        };
        self.send_connection(connection::AMQPMethod::Start(start), io);
        self.phase = Phase::StartOk;
    }

    fn server_properties(&self) -> FieldTable {
        let mut capabilities = FieldTable::default();
        for name in CAPABILITIES {
            capabilities.insert(short(name), AMQPValue::Boolean(true));
        }
        let mut properties = FieldTable::default();
        properties.insert(short("capabilities"), AMQPValue::FieldTable(capabilities));
        let config = &self.config;
        let texts = [
            ("cluster_name", &*config.cluster_name),
            ("copyright", "Licensed under the Apache License 2.0"),
            ("information", "A message broker that speaks AMQP, MQTT, STOMP and AWS messaging"),
            ("platform", "Rust"),
            ("product", &*config.product),
            ("version", &*config.version),
        ];
        for (name, text) in texts {
            properties.insert(short(name), AMQPValue::LongString(text.into()));
        }
        properties
    }

    fn send_connection(&self, method: connection::AMQPMethod, io: &mut Io<'_>) {
        io.send(0, AMQPClass::Connection(method));
    }

    /// A method on channel 0.
    pub(crate) fn on_connection_method(
        &mut self,
        method: AMQPClass,
        arguments: &Table,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let AMQPClass::Connection(method) = method else { return Err(self.unexpected()) };
        match (self.phase, method) {
            (_, connection::AMQPMethod::Close(_)) => {
                self.leave(io);
                Ok(())
            }
            (Phase::Closing, connection::AMQPMethod::CloseOk(_)) => {
                let why = std::mem::take(&mut self.why);
                self.end(why, io);
                Ok(())
            }
            (Phase::StartOk, connection::AMQPMethod::StartOk(start_ok)) => {
                self.on_start_ok(&start_ok, arguments, io);
                Ok(())
            }
            (Phase::TuneOk, connection::AMQPMethod::TuneOk(tune_ok)) => {
                self.on_tune_ok(&tune_ok, io);
                Ok(())
            }
            (Phase::Open, connection::AMQPMethod::Open(open)) => {
                self.on_open(method::name(&open.virtual_host), io);
                Ok(())
            }
            (Phase::Running, connection::AMQPMethod::UpdateSecret(_)) => {
                // The secret was checked at login; a new one changes nothing for users with passwords.
                let ok = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
                self.send_connection(ok, io);
                Ok(())
            }
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> AmqpError {
        let state = match self.phase {
            Phase::Header | Phase::StartOk | Phase::Authenticating | Phase::Refused => "starting",
            Phase::TuneOk => "tuning",
            Phase::Open | Phase::Entering => "opening",
            Phase::Running => "running",
            Phase::Closing | Phase::Leaving => "closing",
            Phase::Closed => "closed",
        };
        AmqpError::connection(504, format!("unexpected method in connection state {state}"))
    }

    fn on_start_ok(&mut self, start_ok: &connection::StartOk, client_properties: &Table, io: &mut Io<'_>) {
        self.peer = PeerCapabilities::of(client_properties);
        self.client = match client_properties.str("connection_name") {
            Some(name) => Name::from(name),
            None => self.seed.peer.clone(),
        };
        self.client_properties = client_properties.clone();
        self.mechanism = method::name(&start_ok.mechanism);
        let response = start_ok.response.as_bytes();
        match sasl::credentials(&self.mechanism, response, &self.config, &self.seed) {
            Some(credentials) => {
                self.credentials = Some(credentials);
                self.phase = Phase::Authenticating;
                // No vhost yet: this login only checks who it is.
                self.login(Name::new(), Then::Authenticated, io);
            }
            None => self.refuse_login(io),
        }
    }

    fn login(&mut self, vhost: Name, then: Then, io: &mut Io<'_>) {
        let Some(credentials) = self.credentials.clone() else { return };
        let op = Op::Login { credentials, vhost, client: self.client.clone() };
        self.ask(0, (10, 40), op, then, io);
    }

    /// The answer to the first login.
    pub(crate) fn on_authenticated(&mut self, reply: Reply, io: &mut Io<'_>) {
        match reply {
            Reply::LoggedIn { user } => {
                self.user = user;
                self.phase = Phase::TuneOk;
                let tune = connection::Tune {
                    channel_max: self.config.channel_max,
                    frame_max: self.config.frame_max,
                    heartbeat: self.config.heartbeat_s,
                };
                self.send_connection(connection::AMQPMethod::Tune(tune), io);
            }
            Reply::Failed(error) if error.kind != ErrorKind::AccessRefused => {
                let error = AmqpError::from_broker(&error, Asked::Other);
                self.close_with(&error, (0, 0), io);
            }
            _ => self.refuse_login(io),
        }
    }

    fn refuse_login(&mut self, io: &mut Io<'_>) {
        let mechanism = &self.mechanism;
        let error = AmqpError::connection(
            403,
            format!(
                "Login was refused using authentication mechanism {mechanism}. \
                 For details see the broker logfile."
            ),
        );
        if self.peer.authentication_failure_close {
            self.close_with(&error, (0, 0), io);
        } else {
            self.phase = Phase::Refused;
            self.why = error.text.into();
            self.deadline = Some(io.now + self.config.refusal_delay_ms);
        }
    }

    /// Values out of bounds end the connection without a word, as RabbitMQ does before connection.open.
    fn on_tune_ok(&mut self, tune_ok: &connection::TuneOk, io: &mut Io<'_>) {
        let (offered, asked) = (self.config.channel_max, tune_ok.channel_max);
        if offered > 0 && asked > offered {
            return self.end(format!("channel_max {asked} is over the offered {offered}"), io);
        }
        let frame_max = tune_ok.frame_max;
        if !(MIN_FRAME_BYTES..=self.config.frame_max.max(MIN_FRAME_BYTES)).contains(&frame_max) {
            return self.end(format!("frame_max {frame_max} is out of bounds"), io);
        }
        self.channel_max = if asked == 0 { offered } else { asked };
        self.frame_max = frame_max;
        self.heartbeat_ms = u64::from(tune_ok.heartbeat) * 1000;
        self.phase = Phase::Open;
    }

    fn on_open(&mut self, vhost: Name, io: &mut Io<'_>) {
        self.vhost = vhost.clone();
        self.phase = Phase::Entering;
        self.login(vhost, Then::Entered, io);
    }

    /// The answer to the second login. Every refusal of a vhost is 530.
    pub(crate) fn on_entered(&mut self, reply: Reply, io: &mut Io<'_>) -> Result<(), AmqpError> {
        self.credentials = None;
        match reply {
            Reply::LoggedIn { user } => self.user = user,
            Reply::Failed(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal) => {
                return Err(AmqpError::from_broker(&error, Asked::Other));
            }
            Reply::Failed(error) => return Err(AmqpError::connection(530, &error.text)),
            _ => {}
        }
        self.phase = Phase::Running;
        self.deadline = None;
        self.send_connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}), io);
        Ok(())
    }

    /// Ends the connection for an error. A peer that has not got as far as connection.open only sees the socket close.
    pub(crate) fn fail_connection(&mut self, error: &AmqpError, method: (u16, u16), io: &mut Io<'_>) {
        match self.phase {
            Phase::Open | Phase::Entering | Phase::Running => self.close_with(error, method, io),
            _ => self.end(error.text.clone(), io),
        }
    }

    /// Sends connection.close; only its close-ok is of interest from now on.
    pub(crate) fn close_with(
        &mut self,
        error: &AmqpError,
        (class_id, method_id): (u16, u16),
        io: &mut Io<'_>,
    ) {
        self.flush_confirms(io);
        let close =
            connection::Close { reply_code: error.code, reply_text: short(&error.text), class_id, method_id };
        self.send_connection(connection::AMQPMethod::Close(close), io);
        self.why = Name::from(error.text.as_str());
        self.phase = Phase::Closing;
        self.pending = None;
        self.deadline = Some(io.now + self.config.close_timeout_ms);
    }

    /// The peer closes. Its consumers and exclusive queues go before it is told so, so that they are gone for others
    /// when it hears it.
    fn leave(&mut self, io: &mut Io<'_>) {
        self.flush_confirms(io);
        let running = self.phase == Phase::Running;
        self.phase = Phase::Leaving;
        self.deadline = Some(io.now + self.config.close_timeout_ms);
        let mut requests = 0;
        if running {
            let numbers: Vec<u16> = self.channels.keys().copied().collect();
            requests += numbers.into_iter().map(|number| self.release_channel(number, io)).sum::<u32>();
            self.channels.clear();
            for name in std::mem::take(&mut self.exclusive_queues) {
                requests += 1;
                self.request(Op::DeleteQueue { name, if_unused: false, if_empty: false }, io);
            }
        }
        self.await_issued(0, (10, 50), requests, Then::ConnectionClosed, io);
    }

    /// connection.close-ok, and the end.
    pub(crate) fn finish_close(&mut self, io: &mut Io<'_>) {
        self.send_connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}), io);
        self.end("closed by the client", io);
    }

    /// The end: flush and close the transport.
    pub(crate) fn end(&mut self, why: impl Into<Name>, io: &mut Io<'_>) {
        self.phase = Phase::Closed;
        self.deadline = None;
        io.close(why);
    }

    /// connection.blocked or unblocked, for those who understand it.
    pub(crate) fn tell_blocked(&mut self, reason: Option<&Name>, io: &mut Io<'_>) {
        self.blocked = reason.is_some();
        if !self.peer.connection_blocked || self.phase != Phase::Running {
            return;
        }
        let method = match reason {
            Some(reason) => connection::AMQPMethod::Blocked(connection::Blocked { reason: short(reason) }),
            None => connection::AMQPMethod::Unblocked(connection::Unblocked {}),
        };
        self.send_connection(method, io);
    }
}
