//! What an operator may set about the MQTT door. The defaults are what a mosquitto 2.1 user's clients have seen.

use crate::{acl::AccessLists, statistics::Counters};
use model::Name;
use std::sync::Arc;

/// Settings of the MQTT door, shared by all its sessions.
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// Virtual host that every client enters.
    pub vhost: Name,
    /// Topic exchange behind the topic space.
    pub exchange: Name,
    /// Largest packet taken, fixed header included, bytes. Announced as Maximum Packet Size.
    pub packet_bytes_max: usize,
    /// Announced as Receive Maximum. Not enforced: real clients overrun it (see `held_bytes_max`).
    pub receive_max: u16,
    /// Topic aliases that a client may define. Announced as Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// Topic aliases that are defined towards a client that allows more.
    pub outgoing_topic_alias_max: u16,
    /// QoS 1 and 2 messages on their way to one client at once, whatever Receive Maximum it names.
    pub inflight_max: u16,
    /// Bytes of QoS 2 messages that one client may have published but not released.
    pub held_bytes_max: usize,
    /// QoS 1 and 2 publishes of one client that may wait for their confirm.
    pub unconfirmed_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Time for the first packet, and for the broker to let the client in, milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest keep-alive, seconds; longer and absent ones are brought down to it (5.0) or refused (3.x).
    /// `None` leaves it to the client.
    pub keep_alive_max_s: Option<u16>,
    /// Longest life of a session without a connection, milliseconds, and that of a 3.x session that is not clean.
    /// `u64::MAX` is for ever.
    pub session_expiry_max_ms: u64,
    /// Swap `.` and `/` (and `*` and `+`) without escaping, as RabbitMQ does. Names that contain the other side's
    /// separator are then mangled.
    pub plain_swap: bool,
    /// Who may publish and read what; `None` where everyone may everything.
    pub access: Option<Arc<dyn AccessLists>>,
    /// What all sessions did.
    pub counters: Arc<Counters>,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            vhost: Name::from_static("/"),
            exchange: Name::from_static("amq.topic"),
            packet_bytes_max: 2_000_000,
            receive_max: 20,
            topic_alias_max: 10,
            outgoing_topic_alias_max: 10,
            inflight_max: 1000,
            held_bytes_max: 64 * 1024 * 1024,
            unconfirmed_max: 65_535,
            subscriptions_max: 10_000,
            connect_timeout_ms: 10_000,
            keep_alive_max_s: None,
            session_expiry_max_ms: u64::MAX,
            plain_swap: false,
            access: None,
            counters: Arc::default(),
        }
    }
}
