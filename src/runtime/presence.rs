//! Who is connected: what is known of a connection without asking its session.
//!
//! Owns: the facts of a connection's beginning and login. Refuses: what changes with every message; that is asked of
//! the connection itself (`Event::Inspect`).

use crate::net::outbox::Outbox;
use model::{
    Millis, Name,
    command::Consume,
    ids::{ConnectionId, ConsumerId, QueueId},
    session::SessionSeed,
    status::SessionStatus,
};
use std::sync::{Arc, OnceLock};

/// One client connection.
pub(crate) struct Presence {
    /// Its id.
    pub(crate) connection: ConnectionId,
    /// Its addresses.
    pub(crate) seed: SessionSeed,
    /// Since when.
    pub(crate) since: Millis,
    /// Mail for it.
    pub(crate) outbox: Arc<Outbox>,
    /// Who it is, once it has entered a virtual host.
    pub(crate) entered: OnceLock<Entered>,
}

/// Who entered where.
#[derive(Clone, Debug)]
pub(crate) struct Entered {
    /// User.
    pub(crate) user: Name,
    /// Virtual host.
    pub(crate) vhost: Name,
    /// The client's own name for itself.
    pub(crate) client: Name,
}

impl Presence {
    /// RabbitMQ's name for the connection: from where to where.
    pub(crate) fn name(&self) -> String {
        format!("{} -> {}", self.seed.peer, self.seed.local)
    }
}

/// A consumer as its connection's port knows it.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerFacts {
    /// The connection's number for it.
    pub(crate) consumer: ConsumerId,
    /// What it consumes from.
    pub(crate) queue: QueueId,
    /// As it asked.
    pub(crate) consume: Consume,
}

/// What a connection says of itself when asked.
#[derive(Debug, Default)]
pub(crate) struct ConnectionStatus {
    /// The session's part.
    pub(crate) session: SessionStatus,
    /// Its consumers.
    pub(crate) consumers: Vec<ConsumerFacts>,
    /// Bytes read from the peer.
    pub(crate) received_bytes: u64,
    /// Bytes written to the peer.
    pub(crate) sent_bytes: u64,
    /// It publishes and is held back now.
    pub(crate) blocked: bool,
}
