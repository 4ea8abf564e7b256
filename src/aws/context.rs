//! What an operation works with: the broker, the place that the caller means, and the words for errors.

use super::AwsDoor;
use super::access::Identity;
use crate::runtime::caller::Caller;
use aws_protocol::arn::Place;
use aws_protocol::error::{ApiError, ErrorCode, common};
use engine::exchange::Exchange;
use engine::topology::{Queue, Topology};
use model::Millis;
use model::command::{Op, Reply};
use model::error::{BrokerError, ErrorKind};
use model::message::{Body, Message, Native};
use std::sync::Arc;

/// The outcome of an operation: its output as JSON, or nothing for operations without one.
pub(super) type Answer = Result<Option<String>, ApiError>;

/// One request's surroundings.
pub(super) struct Context<'a> {
    /// The door.
    pub(super) door: &'a AwsDoor,
    /// Who calls.
    pub(super) identity: Identity,
    /// Where its resources are.
    pub(super) place: Place,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// The request's host header.
    pub(super) host: &'a str,
    /// When the request came.
    pub(super) now: Millis,
}

impl Context<'_> {
    /// The broker.
    pub(super) fn caller(&self) -> &Caller {
        &self.door.caller
    }

    /// What exists now.
    pub(super) fn topology(&self) -> Arc<Topology> {
        self.door.caller.topology()
    }

    /// What URLs of this door begin with, without a slash at the end.
    pub(super) fn base_url(&self) -> String {
        match &self.door.config.base_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}://{}", self.scheme, self.host),
        }
    }

    /// The same region in another account.
    pub(super) fn place_of_account(&self, account: Option<&str>) -> Place {
        match account {
            Some(account) => self.door.home.place(account, &self.place.region),
            None => self.place.clone(),
        }
    }

    /// An exchange of the caller's place when it is of `kind`.
    pub(super) fn exchange(&self, name: &str, kind: &str) -> Option<Arc<Exchange>> {
        let topology = self.topology();
        topology.exchange(&self.place.vhost, name).filter(|exchange| &*exchange.declare.kind == kind).cloned()
    }

    /// A queue or stream of the caller's place.
    pub(super) fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.topology().queue(&self.place.vhost, name).cloned()
    }

    /// Carries out `op` in the caller's place.
    pub(super) async fn op(&self, op: Op) -> Result<Reply, BrokerError> {
        self.caller().op(&self.place.vhost, op).await
    }

    /// A message as the AWS services make them: durable.
    pub(super) fn message(
        &self,
        exchange: &str,
        key: &str,
        native: Native,
        body: impl Into<Body>,
    ) -> Message {
        let mut message = Message::new(exchange.into(), key.into(), native, body.into(), self.now);
        message.durable = true;
        message
    }
}

/// A broker error in a service's words: `missing` where something is not there, `invalid` where the request is
/// wrong, and the common codes for the rest.
pub(super) fn refused(
    error: &BrokerError,
    missing: &'static ErrorCode,
    invalid: &'static ErrorCode,
) -> ApiError {
    let text = error.text.to_string();
    match error.kind {
        ErrorKind::NotFound => missing.error(text),
        ErrorKind::AccessRefused | ErrorKind::Locked | ErrorKind::NotAllowed => {
            common::ACCESS_DENIED.error(text)
        }
        ErrorKind::LimitExceeded => common::LIMIT_EXCEEDED.error(text),
        ErrorKind::Unavailable => common::UNAVAILABLE.error(text),
        ErrorKind::Internal => common::INTERNAL.error(text),
        _ => invalid.error(text),
    }
}

/// For a reply of a kind that the op never gives.
pub(super) fn unexpected() -> ApiError {
    common::INTERNAL.error("The broker gave an answer of another kind.")
}

/// A table of texts out of a definition's argument, as (name, value).
pub(super) fn texts(table: Option<&model::value::Value>) -> Vec<(&str, &str)> {
    let table = table.and_then(model::value::Value::as_table);
    table
        .into_iter()
        .flat_map(model::value::Table::iter)
        .filter_map(|(name, value)| Some((&**name, value.as_str()?)))
        .collect()
}
