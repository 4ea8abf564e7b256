//! Errors of the broker, in a form that each protocol turns into its own code.

use crate::Name;
use std::fmt;

/// What kind of thing went wrong; protocols map it to reply codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No such resource (AMQP 404).
    NotFound,
    /// Exists with other properties (AMQP 406).
    Inequivalent,
    /// Not permitted (AMQP 403).
    AccessRefused,
    /// Another connection's exclusive queue (AMQP 405).
    Locked,
    /// Exclusive consumer or if-unused (AMQP 403 or 406, by operation).
    InUse,
    /// If-empty (AMQP 406).
    NotEmpty,
    /// An argument makes no sense (AMQP 406).
    InvalidArgument,
    /// The request makes no sense here (AMQP 406 precondition failed).
    Precondition,
    /// A configured limit was reached (AMQP 530 or 506).
    LimitExceeded,
    /// Not permitted by the rules of the connection (AMQP 530).
    NotAllowed,
    /// Understood, not built (AMQP 540).
    NotImplemented,
    /// Cannot now: shutting down, disk full (AMQP 320 or 506).
    Unavailable,
    /// Our fault (AMQP 541).
    Internal,
}

/// An error with the sentence that the client is to read: what happened, to which resource. The sentence is in
/// RabbitMQ's words where RabbitMQ has words for it, without the `NAME - ` prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerError {
    /// For the protocol's code.
    pub kind: ErrorKind,
    /// For the client to read.
    pub text: Name,
}

impl BrokerError {
    /// An error of `kind` that says `text`.
    pub fn new(kind: ErrorKind, text: impl Into<Name>) -> Self {
        Self { kind, text: text.into() }
    }

    /// `no queue 'q' in vhost '/'` and the like; `what` is `queue` or `exchange`.
    pub fn not_found(what: &str, name: &str, vhost: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("no {what} '{name}' in vhost '{vhost}'"))
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for BrokerError {}
