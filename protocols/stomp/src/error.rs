//! What went wrong, as an ERROR frame says it, and whether the connection survives it. RabbitMQ keeps the connection
//! after faults of a single frame and closes it after those that would close its AMQP channel.

use model::error::{BrokerError, ErrorKind};
use std::borrow::Cow;

/// An ERROR frame to be, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The `message` header.
    pub(crate) message: Cow<'static, str>,
    /// The body.
    pub(crate) body: String,
    /// Close after it is flushed.
    pub(crate) close: bool,
}

impl Fault {
    /// A fault that leaves the connection open.
    pub(crate) fn open(message: &'static str, body: impl Into<String>) -> Self {
        Self { message: Cow::Borrowed(message), body: body.into(), close: false }
    }

    /// A fault that ends the connection.
    pub(crate) fn closing(message: &'static str, body: impl Into<String>) -> Self {
        Self { close: true, ..Self::open(message, body) }
    }

    /// `Invalid header` about a value that cannot be read.
    pub(crate) fn invalid_header(name: &str, value: &str, wanted: &str) -> Self {
        Self::open("Invalid header", format!("'{name}' must be {wanted}, not '{value}'.\n"))
    }
}

/// AMQP's word for an error, in both cases that RabbitMQ writes it in.
fn words(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::NotFound => ("not_found", "NOT_FOUND"),
        ErrorKind::AccessRefused | ErrorKind::InUse => ("access_refused", "ACCESS_REFUSED"),
        ErrorKind::Locked => ("resource_locked", "RESOURCE_LOCKED"),
        ErrorKind::Inequivalent
        | ErrorKind::NotEmpty
        | ErrorKind::InvalidArgument
        | ErrorKind::Precondition => ("precondition_failed", "PRECONDITION_FAILED"),
        ErrorKind::LimitExceeded | ErrorKind::NotAllowed => ("not_allowed", "NOT_ALLOWED"),
        ErrorKind::NotImplemented => ("not_implemented", "NOT_IMPLEMENTED"),
        ErrorKind::Unavailable => ("resource_error", "RESOURCE_ERROR"),
        ErrorKind::Internal => ("internal_error", "INTERNAL_ERROR"),
    }
}

impl From<BrokerError> for Fault {
    /// `not_found` with the body `NOT_FOUND - no queue ...`; the connection ends.
    fn from(error: BrokerError) -> Self {
        let (message, prefix) = words(error.kind);
        Fault::closing(message, format!("{prefix} - {}\n", error.text))
    }
}

/// Why a login was refused. The broker tells a wrong password (`AccessRefused`) from a vhost that is not there or
/// not for this user (`NotFound`, `NotAllowed`).
pub(crate) fn login_refused(error: &BrokerError, user: &str, vhost: &str) -> Fault {
    let body = match error.kind {
        ErrorKind::AccessRefused => format!("Access refused for user '{user}'"),
        ErrorKind::NotFound | ErrorKind::NotAllowed => format!("Virtual host '{vhost}' access denied"),
        _ => error.text.to_string(),
    };
    Fault::closing("Bad CONNECT", body)
}
