//! What a session says of itself when an operator asks: for listings, never for decisions.

use crate::{Name, ids::ConsumerId, value::Table};

/// A connection as its session sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionStatus {
    /// What is spoken, with its version: `AMQP 0-9-1`. Empty when nothing was said yet.
    pub protocol: Name,
    /// What the client told of itself at login.
    pub client_properties: Table,
    /// How it proved who it is: `PLAIN`.
    pub auth_mechanism: Name,
    /// Largest frame agreed upon, bytes; 0 where there is no such thing.
    pub frame_max: u32,
    /// Most channels agreed upon; 0 where there is no such thing.
    pub channel_max: u16,
    /// Heartbeat or keep-alive agreed upon, seconds; 0 is none.
    pub heartbeat_s: u32,
    /// Open channels, by number.
    pub channels: Vec<ChannelStatus>,
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelStatus {
    /// Number.
    pub number: u16,
    /// Leases that each new consumer may hold; 0 is no limit.
    pub prefetch: u32,
    /// Publishes are confirmed.
    pub confirms: bool,
    /// Publishes and acknowledgements wait for a commit.
    pub transactional: bool,
    /// Deliveries that wait for an answer.
    pub unacknowledged: u64,
    /// Publishes that wait for their confirm.
    pub unconfirmed: u64,
    /// Consumers: the connection's number and the tag that the client knows.
    pub consumers: Vec<(ConsumerId, Name)>,
}
