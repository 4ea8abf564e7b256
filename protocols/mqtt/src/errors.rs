//! Why a packet or a wish is refused, in MQTT 5 reason codes, and what 3.x has in their place.

use model::error::{BrokerError, ErrorKind};

/// MQTT 5 reason codes (MQTT 5.0, 2.4).
pub(crate) mod reason {
    pub(crate) const SUCCESS: u8 = 0x00;
    pub(crate) const DISCONNECT_WITH_WILL: u8 = 0x04;
    pub(crate) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
    pub(crate) const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
    pub(crate) const UNSPECIFIED: u8 = 0x80;
    pub(crate) const MALFORMED: u8 = 0x81;
    pub(crate) const PROTOCOL_ERROR: u8 = 0x82;
    pub(crate) const IMPLEMENTATION_SPECIFIC: u8 = 0x83;
    pub(crate) const UNSUPPORTED_VERSION: u8 = 0x84;
    pub(crate) const CLIENT_ID_INVALID: u8 = 0x85;
    pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
    pub(crate) const SERVER_UNAVAILABLE: u8 = 0x88;
    pub(crate) const SERVER_SHUTTING_DOWN: u8 = 0x8b;
    pub(crate) const BAD_AUTH_METHOD: u8 = 0x8c;
    pub(crate) const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
    pub(crate) const SESSION_TAKEN_OVER: u8 = 0x8e;
    pub(crate) const FILTER_INVALID: u8 = 0x8f;
    pub(crate) const TOPIC_INVALID: u8 = 0x90;
    pub(crate) const RECEIVE_MAX_EXCEEDED: u8 = 0x93;
    pub(crate) const TOPIC_ALIAS_INVALID: u8 = 0x94;
    pub(crate) const PACKET_TOO_LARGE: u8 = 0x95;
    pub(crate) const QUOTA_EXCEEDED: u8 = 0x97;
    pub(crate) const ADMINISTRATIVE: u8 = 0x98;
    pub(crate) const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
}

/// A packet that ends the connection. 5.0 clients are told `reason`, 3.x ones see the connection close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Reason code; `None` closes without a word in 5.0 too.
    pub(crate) reason: Option<u8>,
    /// For the log.
    pub(crate) why: &'static str,
}

impl Refusal {
    /// Ends the connection with a reason code.
    pub(crate) const fn new(reason: u8, why: &'static str) -> Self {
        Self { reason: Some(reason), why }
    }

    /// The bytes are not a packet (0x81).
    pub(crate) const fn malformed(why: &'static str) -> Self {
        Self::new(reason::MALFORMED, why)
    }

    /// A packet, but not one that may come here (0x82).
    pub(crate) const fn protocol(why: &'static str) -> Self {
        Self::new(reason::PROTOCOL_ERROR, why)
    }

    /// Closes without a word.
    pub(crate) const fn silent(why: &'static str) -> Self {
        Self { reason: None, why }
    }
}

/// CONNACK code for a failed login or session: the 3.x return code and the 5.0 reason code. Like mosquitto, a wrong
/// password is "not authorized" in both.
pub(crate) fn connect_codes(error: &BrokerError) -> (u8, u8) {
    match error.kind {
        ErrorKind::AccessRefused | ErrorKind::NotFound | ErrorKind::NotAllowed | ErrorKind::Locked => {
            (5, reason::NOT_AUTHORIZED)
        }
        ErrorKind::InvalidArgument => (2, reason::CLIENT_ID_INVALID),
        ErrorKind::LimitExceeded => (3, reason::QUOTA_EXCEEDED),
        ErrorKind::Unavailable => (3, reason::SERVER_UNAVAILABLE),
        _ => (3, reason::UNSPECIFIED),
    }
}

/// PUBACK reason code for a publish that the broker refused.
pub(crate) fn publish_code(error: &BrokerError) -> u8 {
    match error.kind {
        ErrorKind::AccessRefused | ErrorKind::NotAllowed | ErrorKind::Locked => reason::NOT_AUTHORIZED,
        ErrorKind::NotFound | ErrorKind::InvalidArgument => reason::TOPIC_INVALID,
        ErrorKind::LimitExceeded => reason::QUOTA_EXCEEDED,
        _ => reason::IMPLEMENTATION_SPECIFIC,
    }
}

/// True when a 3.x publisher, to whom nothing can be said, is to take the message for delivered: trying again would
/// not help. Otherwise the acknowledgement is withheld, so that it is tried again.
pub(crate) fn is_final(code: u8) -> bool {
    code < 0x80
        || matches!(code, reason::NOT_AUTHORIZED | reason::TOPIC_INVALID | reason::PAYLOAD_FORMAT_INVALID)
}

/// SUBACK or UNSUBACK reason code for a wish that the broker refused.
pub(crate) fn subscribe_code(error: &BrokerError) -> u8 {
    match error.kind {
        ErrorKind::AccessRefused | ErrorKind::NotAllowed | ErrorKind::Locked | ErrorKind::InUse => {
            reason::NOT_AUTHORIZED
        }
        ErrorKind::InvalidArgument | ErrorKind::NotImplemented | ErrorKind::NotFound => {
            reason::FILTER_INVALID
        }
        ErrorKind::LimitExceeded => reason::QUOTA_EXCEEDED,
        ErrorKind::Unavailable => reason::IMPLEMENTATION_SPECIFIC,
        _ => reason::UNSPECIFIED,
    }
}
