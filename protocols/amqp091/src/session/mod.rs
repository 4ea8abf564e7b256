//! One AMQP 0-9-1 connection: dispatch of frames, and the [`Session`] port.

mod channel;
mod confirm;
mod connection;
mod consume;
mod deliver;
mod exchange_methods;
pub(crate) mod inspect;
mod io;
mod names;
mod pending;
mod publish;
mod queue_methods;
mod sasl;
mod settle;
mod status;
#[cfg(test)]
mod tests;
mod tx;
mod unacked;

use crate::{
    codec::{
        Reader, hot,
        method::{self, MethodError},
    },
    config::AmqpConfig,
    errors::{AmqpError, Scope},
    frame::{self, FrameHead, HEAD_BYTES, UNTUNED_FRAME_BYTES},
};
use amq_protocol::protocol::AMQPClass;
use bytes::{Buf, BytesMut};
use channel::Channel;
use connection::{PeerCapabilities, Phase};
use deliver::Consumer;
use io::Io;
use model::{
    Millis, Name,
    command::{Credentials, Reply, Signal},
    delivery::{Confirm, Delivery},
    ids::{ConsumerId, RequestId},
    session::{Broker, Output, Session, SessionSeed},
    status::SessionStatus,
    value::Table,
};
use names::Names;
use pending::Pending;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// One AMQP 0-9-1 connection as a state machine.
#[derive(Debug)]
pub struct Amqp091Session {
    config: Arc<AmqpConfig>,
    seed: SessionSeed,
    phase: Phase,
    /// When the phase is over by itself.
    deadline: Option<Millis>,
    /// Why it is closing, for the log.
    why: Name,
    peer: PeerCapabilities,
    mechanism: Name,
    credentials: Option<Credentials>,
    client: Name,
    /// What the client told of itself, for listings.
    client_properties: Table,
    user: Name,
    vhost: Name,
    channel_max: u16,
    frame_max: u32,
    heartbeat_ms: u64,
    /// Time of the first call; `None` before it.
    started: Option<Millis>,
    last_received: Millis,
    last_sent: Millis,
    blocked: bool,
    channels: FxHashMap<u16, Channel>,
    consumers: FxHashMap<ConsumerId, Consumer>,
    /// Queues declared exclusive here and not deleted since.
    exclusive_queues: FxHashSet<Name>,
    last_consumer: u32,
    last_request: u64,
    /// Confirm tokens of closed channels are at most this.
    token_high: u64,
    names: Names,
    pending: Option<Pending>,
    /// Channels with confirms to write.
    dirty: Vec<u16>,
    /// Properties being made for a delivery.
    scratch: Vec<u8>,
}

impl Amqp091Session {
    /// A connection that nothing was heard of yet.
    pub fn new(config: Arc<AmqpConfig>, seed: SessionSeed) -> Self {
        let random = seed.random;
        Self {
            config,
            seed,
            phase: Phase::Header,
            deadline: None,
            why: Name::new(),
            peer: PeerCapabilities::default(),
            mechanism: Name::new(),
            credentials: None,
            client: Name::new(),
            client_properties: Table::new(),
            user: Name::new(),
            vhost: Name::new(),
            channel_max: 0,
            frame_max: UNTUNED_FRAME_BYTES,
            heartbeat_ms: 0,
            started: None,
            last_received: 0,
            last_sent: 0,
            blocked: false,
            channels: FxHashMap::default(),
            consumers: FxHashMap::default(),
            exclusive_queues: FxHashSet::default(),
            last_consumer: 0,
            last_request: 0,
            token_high: 0,
            names: Names::new(random),
            pending: None,
            dirty: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Neither over nor about to be.
    fn is_working(&self) -> bool {
        !matches!(self.phase, Phase::Closing | Phase::Leaving | Phase::Refused | Phase::Closed)
    }

    /// Runs one call: keeps the clocks, and writes the confirms that came together.
    fn call(
        &mut self,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
        run: impl FnOnce(&mut Self, &mut Io<'_>),
    ) {
        if self.started.is_none() {
            self.started = Some(now);
            self.deadline = Some(now + self.config.handshake_timeout_ms);
            (self.last_received, self.last_sent) = (now, now);
        }
        let before = out.wire.len();
        let mut io = Io { now, broker, out };
        run(self, &mut io);
        self.flush_confirms(&mut io);
        if io.out.wire.len() > before {
            self.last_sent = now;
        }
    }

    /// Consumes frames until there is no whole one, or a reply must come first.
    fn consume(&mut self, input: &mut BytesMut, io: &mut Io<'_>) {
        loop {
            match self.phase {
                Phase::Closed | Phase::Refused | Phase::Leaving => return input.clear(),
                _ if self.pending.is_some() => return,
                Phase::Header => {
                    self.on_header(input, io);
                    if self.phase == Phase::Header {
                        return;
                    }
                    continue;
                }
                _ => {}
            }
            match frame::peek(input, self.frame_max) {
                Ok(None) => return,
                Ok(Some(head)) => self.on_frame(head, input, io),
                Err(error) => {
                    input.clear();
                    self.fail_connection(&error, (0, 0), io);
                }
            }
        }
    }

    /// One whole frame at the front of `input`; takes it off.
    fn on_frame(&mut self, head: FrameHead, input: &mut BytesMut, io: &mut Io<'_>) {
        let rest = input.len().saturating_sub(head.total());
        // A frame that is no method belongs to the publish before it, if there is one.
        let publishes = |channel: &Channel| !channel.incoming.is_idle();
        let within = self.channels.get(&head.channel).is_some_and(publishes);
        let mut method = if within { (60, 40) } else { (0, 0) };
        let result = match head.kind {
            frame::HEARTBEAT => Ok(()),
            // Spec 2.2.4: after connection.close only its close-ok is of interest.
            frame::HEADER | frame::BODY if self.phase == Phase::Closing || self.is_ignored(head.channel) => {
                Ok(())
            }
            frame::BODY => self.on_content_body(head, input, io),
            kind => {
                let payload = input.get(HEAD_BYTES..HEAD_BYTES + head.size).unwrap_or_default();
                if kind == frame::HEADER {
                    self.on_content_header(head.channel, payload, io)
                } else {
                    let id = Reader::new(payload).u32().unwrap_or_default();
                    if !within {
                        method = ((id >> 16) as u16, id as u16);
                    }
                    self.on_method(head.channel, id, payload, io)
                }
            }
        };
        // Body frames are taken off piece by piece.
        input.advance(input.len().saturating_sub(rest));
        if let Err(error) = result {
            self.fail(head.channel, &error, method, io);
        }
    }

    fn is_ignored(&self, number: u16) -> bool {
        self.channels.get(&number).is_some_and(|channel| channel.closing)
    }

    /// One method: the hot ones by hand, the rest through the control codec.
    fn on_method(&mut self, number: u16, id: u32, payload: &[u8], io: &mut Io<'_>) -> Result<(), AmqpError> {
        const CONNECTION_CLOSE: u32 = hot::id(10, 50);
        const CONNECTION_CLOSE_OK: u32 = hot::id(10, 51);
        if self.phase == Phase::Closing && !matches!(id, CONNECTION_CLOSE | CONNECTION_CLOSE_OK) {
            return Ok(());
        }
        if self.phase == Phase::Running && number != 0 {
            match self.channels.get(&number) {
                Some(channel) if channel.closing => return self.on_closing_channel(number, id, io),
                Some(channel) => channel.incoming.check_idle()?,
                None => {}
            }
            let mut reader = Reader::new(payload);
            reader.u32()?;
            match id {
                hot::PUBLISH => return self.on_publish(number, reader),
                hot::ACK | hot::NACK | hot::REJECT => return self.on_settlement(number, id, reader, io),
                _ => {}
            }
        }
        self.on_control(number, payload, io)
    }

    /// We closed the channel: everything but the end of the handshake is ignored.
    fn on_closing_channel(&mut self, number: u16, id: u32, io: &mut Io<'_>) -> Result<(), AmqpError> {
        use amq_protocol::protocol::channel;
        const CLOSE: u32 = hot::id(20, 40);
        const CLOSE_OK: u32 = hot::id(20, 41);
        match id {
            CLOSE => io.send(number, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))),
            CLOSE_OK => drop(self.channels.remove(&number)),
            _ => {}
        }
        Ok(())
    }

    fn on_control(&mut self, number: u16, payload: &[u8], io: &mut Io<'_>) -> Result<(), AmqpError> {
        let control = method::parse(payload).map_err(|error| match error {
            MethodError::Unknown => AmqpError::connection(503, "unimplemented method"),
            MethodError::Malformed(malformed) => malformed.into(),
        })?;
        let (method, arguments) = (control.method, control.arguments);
        if number == 0 || self.phase != Phase::Running {
            return self.on_connection_method(method, &arguments, io);
        }
        if let AMQPClass::Channel(method) = method {
            use amq_protocol::protocol::channel::AMQPMethod::{CloseOk, Open};
            return match method {
                // A close-ok too many: the channel was closed from both sides at once.
                CloseOk(_) => Ok(()),
                Open(_) => self.open_channel(number, io),
                other => {
                    self.channel(number)?;
                    self.on_channel_method(number, other, io)
                }
            };
        }
        self.channel(number)?;
        match method {
            AMQPClass::Basic(method) => {
                // Spec 1.8.3.1 "prefetch-size" stands first; amq-protocol does not keep it.
                let prefetch_bytes = payload.get(4..).map_or(Ok(0), |rest| Reader::new(rest).u32());
                self.on_basic_method(number, method, arguments, prefetch_bytes.unwrap_or(0), io)
            }
            AMQPClass::Queue(method) => self.on_queue_method(number, method, arguments, io),
            AMQPClass::Exchange(method) => self.on_exchange_method(number, method, arguments, io),
            AMQPClass::Confirm(method) => self.on_confirm_method(number, method, io),
            AMQPClass::Tx(method) => self.on_tx_method(number, method, io),
            AMQPClass::Access(method) => {
                Self::on_access_method(number, &method, io);
                Ok(())
            }
            // Spec 1.4: class connection belongs on channel 0.
            AMQPClass::Connection(_) | AMQPClass::Channel(_) => {
                Err(AmqpError::connection(504, "unexpected method in connection state running"))
            }
        }
    }

    /// Ends what the error ends: the channel that it happened on, or the connection.
    fn fail(&mut self, number: u16, error: &AmqpError, method: (u16, u16), io: &mut Io<'_>) {
        match error.scope {
            Scope::Channel if number != 0 => {
                if self.channels.get(&number).is_some_and(|channel| !channel.closing) {
                    self.fail_channel(number, error, method, io);
                }
            }
            _ => self.fail_connection(error, method, io),
        }
    }

    /// Heartbeats and deadlines.
    fn on_tick(&mut self, io: &mut Io<'_>) {
        if self.deadline.is_some_and(|deadline| io.now >= deadline) {
            let why = match self.phase {
                Phase::Closing | Phase::Refused => std::mem::take(&mut self.why),
                Phase::Leaving => return self.finish_close(io),
                _ => Name::from_static("handshake timed out"),
            };
            return self.end(why, io);
        }
        if self.heartbeat_ms == 0 || self.phase != Phase::Running {
            return;
        }
        if self.blocked || self.pending.is_some() {
            // The driver is not reading, or we are not: the peer's silence is not its own.
            self.last_received = io.now;
        }
        if io.now >= self.last_received + 2 * self.heartbeat_ms {
            let seconds = self.heartbeat_ms / 1000;
            return self.end(format!("missed heartbeats from client, timeout: {seconds}s"), io);
        }
        if io.now >= self.last_sent + self.heartbeat_ms / 2 {
            frame::put_heartbeat(io.tail());
        }
    }

    fn on_signal(&mut self, signal: Signal, io: &mut Io<'_>) {
        match signal {
            Signal::ConsumerCancelled(id) => self.on_consumer_gone(id, io),
            Signal::Blocked(reason) => self.tell_blocked(Some(&reason), io),
            Signal::Unblocked => self.tell_blocked(None, io),
            // Only sessions that can be resumed are taken over, and AMQP has none.
            Signal::TakenOver => {}
            Signal::Shutdown(reason) if self.is_working() => {
                let error = AmqpError::connection(320, &reason);
                self.fail_connection(&error, (0, 0), io);
            }
            Signal::Shutdown(_) => {}
        }
    }
}

impl Session for Amqp091Session {
    fn receive(&mut self, input: &mut BytesMut, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        self.call(now, broker, out, |session, io| {
            session.last_received = now;
            session.consume(input, io);
        });
    }

    fn reply(
        &mut self,
        request: RequestId,
        reply: Reply,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    ) {
        self.call(now, broker, out, |session, io| session.on_reply(request, reply, io));
    }

    fn deliver(
        &mut self,
        deliveries: &mut Vec<Delivery>,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    ) {
        self.call(now, broker, out, |session, io| {
            // After connection.close nothing may follow; the broker takes the leases back at the end.
            let silent = matches!(session.phase, Phase::Closing | Phase::Closed);
            for delivery in deliveries.drain(..) {
                if !silent {
                    session.deliver_one(&delivery, io);
                }
            }
        });
    }

    fn confirm(&mut self, confirms: &[Confirm], now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        self.call(now, broker, out, |session, io| {
            if session.is_working() {
                confirms.iter().for_each(|confirm| session.on_confirm(confirm.token, confirm.accepted, io));
            }
        });
    }

    fn signal(&mut self, signal: Signal, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        self.call(now, broker, out, |session, io| session.on_signal(signal, io));
    }

    fn tick(&mut self, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        self.call(now, broker, out, |session, io| session.on_tick(io));
    }

    fn next_tick(&self) -> Option<Millis> {
        if self.started.is_none() {
            return Some(0);
        }
        if self.heartbeat_ms == 0 || self.phase != Phase::Running {
            return self.deadline;
        }
        let send = self.last_sent + self.heartbeat_ms / 2;
        Some(send.min(self.last_received + 2 * self.heartbeat_ms))
    }

    fn status(&self) -> SessionStatus {
        self.describe()
    }

    fn closed(&mut self, _now: Millis, _broker: &mut dyn Broker) {
        // Nothing outlives an AMQP connection but what the broker takes care of: leases, exclusive queues.
        self.phase = Phase::Closed;
        self.channels.clear();
        self.consumers.clear();
        self.pending = None;
    }
}
