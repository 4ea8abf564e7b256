//! Reply codes: which error ends a channel, which the connection, and how each reads.

use crate::codec::Malformed;
use model::error::{BrokerError, ErrorKind};

/// What an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The channel that it happened on.
    Channel,
    /// The connection.
    Connection,
}

/// Which broker answers mean something else for this method than for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `in use` is a failed precondition (if-unused).
    Other,
    /// `in use` is an exclusive consumer: access refused.
    Consume,
}

/// An error on its way to the peer: `channel.close` or `connection.close`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AmqpError {
    /// What it ends.
    pub(crate) scope: Scope,
    /// Reply code.
    pub(crate) code: u16,
    /// Reply text with its `NAME - ` prefix.
    pub(crate) text: String,
}

impl AmqpError {
    /// Ends the channel.
    pub(crate) fn channel(code: u16, text: impl AsRef<str>) -> Self {
        Self { scope: Scope::Channel, code, text: full_text(code, text.as_ref()) }
    }

    /// Ends the connection.
    pub(crate) fn connection(code: u16, text: impl AsRef<str>) -> Self {
        Self { scope: Scope::Connection, code, text: full_text(code, text.as_ref()) }
    }

    /// Broken inequality of what was asked and what is so: 406.
    pub(crate) fn precondition(text: impl AsRef<str>) -> Self {
        Self::channel(406, text)
    }

    /// What the broker answered.
    pub(crate) fn from_broker(error: &BrokerError, asked: Asked) -> Self {
        let text = &error.text;
        match error.kind {
            ErrorKind::NotFound => Self::channel(404, text),
            ErrorKind::AccessRefused => Self::channel(403, text),
            ErrorKind::Locked => Self::channel(405, text),
            ErrorKind::InUse if asked == Asked::Consume => Self::channel(403, text),
            ErrorKind::Inequivalent
            | ErrorKind::InUse
            | ErrorKind::NotEmpty
            | ErrorKind::InvalidArgument
            | ErrorKind::Precondition
            | ErrorKind::LimitExceeded => Self::channel(406, text),
            ErrorKind::NotAllowed => Self::connection(530, text),
            ErrorKind::NotImplemented => Self::connection(540, text),
            ErrorKind::Unavailable => Self::connection(506, text),
            ErrorKind::Internal => Self::connection(541, text),
        }
    }
}

impl From<Malformed> for AmqpError {
    fn from(malformed: Malformed) -> Self {
        Self::connection(502, malformed.0)
    }
}

fn full_text(code: u16, text: &str) -> String {
    format!("{} - {text}", code_name(code))
}

/// Upper-case name of a reply code (spec 1.2 "reply-code", RabbitMQ's spelling).
fn code_name(code: u16) -> &'static str {
    match code {
        312 => "NO_ROUTE",
        320 => "CONNECTION_FORCED",
        403 => "ACCESS_REFUSED",
        404 => "NOT_FOUND",
        405 => "RESOURCE_LOCKED",
        406 => "PRECONDITION_FAILED",
        501 => "FRAME_ERROR",
        502 => "SYNTAX_ERROR",
        503 => "COMMAND_INVALID",
        504 => "CHANNEL_ERROR",
        505 => "UNEXPECTED_FRAME",
        506 => "RESOURCE_ERROR",
        530 => "NOT_ALLOWED",
        540 => "NOT_IMPLEMENTED",
        _ => "INTERNAL_ERROR",
    }
}
