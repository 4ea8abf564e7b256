//! What an operator may change about the AMQP 0-9-1 door, with its defaults.

use model::{Name, limits};

/// Settings of every AMQP 0-9-1 connection. Shared by `Arc`; read only.
#[derive(Clone, Debug)]
pub struct AmqpConfig {
    /// `product` of the server properties. Clients choose behaviour by it: kombu treats `RabbitMQ` specially.
    pub product: Name,
    /// `version` of the server properties; NServiceBus refuses less than 3.10.
    pub version: Name,
    /// `cluster_name` of the server properties.
    pub cluster_name: Name,
    /// Open channels of one connection; 0 leaves it to the client.
    pub channel_max: u16,
    /// Largest frame offered, bytes; at least 4096.
    pub frame_max: u32,
    /// Heartbeat offered, seconds; 0 is none. The client's answer wins.
    pub heartbeat_s: u16,
    /// Largest message body, bytes.
    pub max_message_bytes: usize,
    /// Bytes of messages that one transaction may hold back before its commit.
    pub max_transaction_bytes: usize,
    /// From the first byte to `connection.open-ok`, milliseconds.
    pub handshake_timeout_ms: u64,
    /// Between `connection.close` and its `close-ok`, milliseconds.
    pub close_timeout_ms: u64,
    /// How long a refused client that cannot read `connection.close` is kept waiting, milliseconds.
    pub refusal_delay_ms: u64,
    /// Offer the SASL mechanism ANONYMOUS.
    pub anonymous: bool,
    /// Offer the SASL mechanism EXTERNAL on connections whose client showed a trusted certificate.
    pub external: bool,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            product: Name::from_static("Waystation"),
            version: Name::from_static("4.1.0"),
            cluster_name: Name::from_static("waystation"),
            channel_max: limits::CHANNELS_MAX,
            frame_max: limits::FRAME_BYTES_MAX,
            heartbeat_s: 60,
            max_message_bytes: limits::MESSAGE_BYTES_MAX,
            max_transaction_bytes: 4 * limits::MESSAGE_BYTES_MAX,
            handshake_timeout_ms: 10_000,
            close_timeout_ms: 10_000,
            refusal_delay_ms: 3_000,
            anonymous: false,
            external: false,
        }
    }
}
