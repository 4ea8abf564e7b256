//! The two ports of a protocol: [`Session`], which it implements, and [`Broker`], which it is given.
//!
//! A session is sans-IO: bytes, replies, deliveries and ticks go in, wire bytes and commands come out. It owns no
//! socket, clock, executor, lock or source of randomness ([`SessionSeed`] brings what it needs of the last).
//!
//! The driver's contract:
//! * `receive` is called with all unconsumed bytes; what the session leaves in `input` comes again with more behind
//!   it. A session that waits for the reply to an op on which its further parsing depends just returns and leaves
//!   the bytes; the driver calls `receive` again after every `reply`.
//! * Ops are carried out in the order in which they, publishes and settlements were given (per connection).
//! * After every call the driver writes what is in `Output::wire`; when `Output::close` is set it calls `closed` once,
//!   flushes, and closes. `closed` is also called when the peer just vanishes. Afterwards the broker returns all
//!   leases of the connection to their queues and deletes its exclusive queues.

use crate::{
    Millis, Name,
    command::{Op, Publish, Reply, Routed, Signal},
    delivery::{Confirm, Delivery, Lease, Outcome},
    error::BrokerError,
    ids::{ConsumerId, RequestId},
    status::SessionStatus,
    wire::Wire,
};
use bytes::BytesMut;

/// What a session is told about its connection when it is made.
#[derive(Clone, Debug)]
pub struct SessionSeed {
    /// Peer address as `ip:port`.
    pub peer: Name,
    /// Local address as `ip:port`.
    pub local: Name,
    /// The peer is on loopback.
    pub loopback: bool,
    /// Transport is encrypted.
    pub tls: bool,
    /// Subject of the client's certificate (its CN), when it showed one that we trust.
    pub certificate_name: Option<Name>,
    /// 128 random bits of this connection's own, for names that the session makes up.
    pub random: u128,
}

/// What a session puts out in one call.
#[derive(Debug, Default)]
pub struct Output {
    /// Bytes for the peer.
    pub wire: Wire,
    /// Close once `wire` is flushed; the text goes to the log. `None` to go on.
    pub close: Option<Name>,
}

/// What the broker does for a session synchronously. Implemented by the runtime, and by fakes in tests.
pub trait Broker {
    /// Routes a message; it is on its way to its workers when the driver's turn ends.
    /// Errors: no such exchange, internal exchange, access refused, not logged in, message too large.
    fn publish(&mut self, publish: Publish) -> Result<Routed, BrokerError>;

    /// Ends a lease.
    fn settle(&mut self, consumer: ConsumerId, lease: Lease, outcome: Outcome);

    /// Begins an op; exactly one reply comes to `Session::reply`, in a later call.
    fn request(&mut self, request: RequestId, op: Op);
}

/// One protocol connection as a state machine.
pub trait Session: Send {
    /// Bytes from the peer. Consumes whole frames from `input`.
    fn receive(&mut self, input: &mut BytesMut, now: Millis, broker: &mut dyn Broker, out: &mut Output);

    /// The answer to an op.
    fn reply(
        &mut self,
        request: RequestId,
        reply: Reply,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    );

    /// Messages for this connection's consumers, in order. The session drains the vector.
    fn deliver(
        &mut self,
        deliveries: &mut Vec<Delivery>,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    );

    /// Publishes that are safe (or refused) now, in the order in which they became so.
    fn confirm(&mut self, confirms: &[Confirm], now: Millis, broker: &mut dyn Broker, out: &mut Output);

    /// Something happened to the connection.
    fn signal(&mut self, signal: Signal, now: Millis, broker: &mut dyn Broker, out: &mut Output);

    /// Called at or after the time that `next_tick` gave.
    fn tick(&mut self, now: Millis, broker: &mut dyn Broker, out: &mut Output);

    /// When to be called next without anything else happening (heartbeats, keep-alive, login time-out).
    fn next_tick(&self) -> Option<Millis>;

    /// What listings say of the connection now.
    fn status(&self) -> SessionStatus {
        SessionStatus::default()
    }

    /// The connection is over. Last words to the broker (wills, session state); nothing can be sent to the peer.
    fn closed(&mut self, now: Millis, broker: &mut dyn Broker);
}
