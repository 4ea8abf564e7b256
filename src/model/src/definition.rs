//! Definitions as clients state them: exchanges, queues, bindings, MQTT-style subscriptions.
//! How they are validated, compared and stored is the engine's business (`engine::topology`).

use crate::{Name, value::Table};

/// An exchange as declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExchangeDeclare {
    /// Name; empty is the default exchange.
    pub name: Name,
    /// `direct`, `fanout`, `topic`, `headers`, `sns`, `event-bus`, ...
    pub kind: Name,
    /// Only check that it exists.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// Deleted with its last binding.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// `alternate-exchange` and kind-specific arguments; doors keep their own attributes under `x-<door>-...`.
    pub arguments: Table,
}

/// A queue or stream as declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueDeclare {
    /// Name, chosen by the session where the client left it empty.
    pub name: Name,
    /// Only check that it exists.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// For the declaring connection only, and deleted with it.
    pub exclusive: bool,
    /// Deleted after its last consumer goes.
    pub auto_delete: bool,
    /// RabbitMQ's `x-...` arguments, and the core's own (see `engine::policy` for the list).
    pub arguments: Table,
    /// When it exists with other properties, take it as it is instead of failing (doors with no notion of
    /// equivalence: STOMP subscribing to a queue, AWS services).
    pub attach: bool,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// A queue or stream, by name.
    Queue(Name),
    /// Another exchange, by name.
    Exchange(Name),
}

/// A binding. Its identity is all four parts.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingDefinition {
    /// Source exchange.
    pub source: Name,
    /// Destination.
    pub destination: Destination,
    /// Routing key or pattern.
    pub key: Name,
    /// Header match, filter policy, event pattern, transformation.
    pub arguments: Table,
}

/// Which retained messages a new subscription gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendRetained {
    /// All that match.
    #[default]
    Always,
    /// Only when the subscription did not exist.
    IfNew,
    /// None.
    Never,
}

/// A subscription of a session (MQTT) to the topic space of its vhost (`amq.topic`).
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Filter in core form (`.`, `*`, `#`).
    pub filter: Name,
    /// The session's own number for it; comes back as [`crate::delivery::Delivery::via`].
    pub via: u32,
    /// Take durable messages through the session's queue; otherwise everything goes directly and may be dropped.
    pub reliable: bool,
    /// Not the session's own messages.
    pub no_local: bool,
    /// Name of the group that shares it, if any.
    pub share: Option<Name>,
    /// Kept for the session, not read by the core (QoS, retain-as-published, subscription identifier).
    pub options: bytes::Bytes,
}
