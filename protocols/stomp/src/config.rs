//! What an operator may set for the STOMP doors, with defaults; limits of the parser included.
//! Refuses: ports and addresses, which belong to the listener.

use model::{Name, limits::MESSAGE_BYTES_MAX};

/// Limits of the frame parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Largest frame, in bytes, head and body together, once logged in.
    pub frame_bytes_max: usize,
    /// Largest frame before the login.
    pub login_frame_bytes_max: usize,
    /// Most header lines of one frame.
    pub headers_max: usize,
    /// Longest header line, in bytes.
    pub header_bytes_max: usize,
    /// Longest command, in bytes.
    pub command_bytes_max: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: MESSAGE_BYTES_MAX,
            login_frame_bytes_max: 64 * 1024,
            headers_max: 100,
            header_bytes_max: 100 * 1024,
            command_bytes_max: 32,
        }
    }
}

/// Settings of one STOMP listener, shared by its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StompConfig {
    /// Parser limits.
    pub frame: FrameLimits,
    /// Vhost of a CONNECT without `host`.
    pub default_vhost: Name,
    /// Value of CONNECTED's `server` header.
    pub server: Name,
    /// Exchange behind `/topic`.
    pub topic_exchange: Name,
    /// Log a peer in without credentials when its first frame is no CONNECT.
    pub implicit_connect: bool,
    /// Take a queue that exists with other properties as it is; false answers as RabbitMQ does, with
    /// `precondition_failed`.
    pub attach: bool,
    /// What a NACK without `requeue` header does: back to the queue, or rejected.
    pub nack_requeues: bool,
    /// Time for CONNECT, milliseconds.
    pub login_timeout_ms: u64,
    /// Open transactions of one connection.
    pub transactions_max: usize,
    /// Frames of one transaction.
    pub transaction_actions_max: usize,
    /// Bytes of all open transactions of one connection.
    pub transaction_bytes_max: usize,
    /// Frames that may wait for a confirm or for a receipt before it; beyond it the session stops reading.
    pub unconfirmed_max: usize,
    /// Queues that a session remembers to have declared.
    pub declared_max: usize,
    /// Temporary reply queues of one connection.
    pub reply_queues_max: usize,
}

impl Default for StompConfig {
    fn default() -> Self {
        Self {
            frame: FrameLimits::default(),
            default_vhost: Name::from_static("/"),
            server: Name::from_static(concat!("Waystation/", env!("CARGO_PKG_VERSION"))),
            topic_exchange: Name::from_static("amq.topic"),
            implicit_connect: false,
            attach: true,
            nack_requeues: true,
            login_timeout_ms: 10_000,
            transactions_max: 16,
            transaction_actions_max: 1024,
            transaction_bytes_max: 64 * 1024 * 1024,
            unconfirmed_max: 65_536,
            declared_max: 4096,
            reply_queues_max: 1024,
        }
    }
}
