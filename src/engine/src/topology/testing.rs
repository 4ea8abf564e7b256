//! What tests of definitions and routing share: a factory, messages, and short ways to declare.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{Change, Definitions};
use crate::{subscription::Subscriber, worker::command::WorkerCommand};
use bytes::Bytes;
use model::{
    Name,
    behaviour::{Behaviour, BehaviourFactory, Predicate, Transform},
    definition::{BindingDefinition, Destination, ExchangeDeclare, QueueDeclare},
    delivery::DirectSink,
    envelope::Envelope,
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, ConsumerId, QueueId},
    message::{Body, Message, Native, PropertyCodec},
    value::{Table, Value},
};
use std::sync::Arc;

pub(crate) const SOME: ConnectionId = ConnectionId(7);
pub(crate) const OTHER: ConnectionId = ConnectionId(8);

pub(crate) fn root() -> Name {
    Name::from_static("/")
}

/// Properties are the text of one header named `h`.
struct Headers;

impl PropertyCodec for Headers {
    fn tag(&self) -> &'static str {
        "test"
    }

    fn envelope(&self, properties: &Bytes) -> Envelope {
        let text = Name::try_from(properties.clone()).unwrap();
        Envelope { headers: Table(vec![("h".into(), Value::Str(text))]), ..Envelope::default() }
    }
}

pub(crate) fn message(exchange: &str, key: &str) -> Message {
    let native = Native { codec: &Headers, properties: Bytes::from_static(b"v") };
    Message::new(exchange.into(), key.into(), native, Body::from(Bytes::from_static(b"body")), 0)
}

/// Understands `only` (lets through that routing key), `mark` (replaces the body), `drop`, and `bad`.
pub(crate) struct Factory;

struct Only(Name);

impl Predicate for Only {
    fn matches(&self, message: &Message) -> bool {
        message.routing_key == self.0
    }
}

struct Mark(Name);

impl Transform for Mark {
    fn apply(&self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let mut changed = message.derive();
        changed.body = Body::from(self.0.as_bytes().clone());
        (&*self.0 != "drop").then(|| Arc::new(changed))
    }
}

fn behaviour(arguments: &Table) -> Result<Behaviour, BrokerError> {
    if arguments.get("bad").is_some() {
        return Err(BrokerError::new(ErrorKind::InvalidArgument, "bad"));
    }
    let predicate = arguments.str("only").map(|key| Arc::new(Only(key.into())) as Arc<dyn Predicate>);
    let transform = arguments.str("mark").map(|text| Arc::new(Mark(text.into())) as Arc<dyn Transform>);
    Ok(Behaviour { predicate, transform })
}

impl BehaviourFactory for Factory {
    fn binding(&self, _: &str, _: &str, _: &Name, arguments: &Table) -> Result<Behaviour, BrokerError> {
        behaviour(arguments)
    }

    fn exchange(&self, _: &str, _: &str, _: &Name, arguments: &Table) -> Result<Behaviour, BrokerError> {
        behaviour(arguments)
    }

    fn knows_kind(&self, kind: &str) -> bool {
        kind == "sns"
    }
}

pub(crate) fn args(entries: &[(&str, &str)]) -> Table {
    let entry = |(name, value): &(&str, &str)| (Name::from(*name), Value::str(*value));
    Table(entries.iter().map(|(name, value)| entry(&(*name, *value))).collect())
}

pub(crate) fn exchange(name: &str, kind: &str) -> ExchangeDeclare {
    ExchangeDeclare { name: name.into(), kind: kind.into(), durable: true, ..ExchangeDeclare::default() }
}

pub(crate) fn queue(name: &str) -> QueueDeclare {
    QueueDeclare { name: name.into(), durable: true, ..QueueDeclare::default() }
}

/// `to` is a queue, or with a leading `>` an exchange.
pub(crate) fn binding(source: &str, to: &str, key: &str, arguments: &[(&str, &str)]) -> BindingDefinition {
    let destination = match to.strip_prefix('>') {
        Some(exchange) => Destination::Exchange(exchange.into()),
        None => Destination::Queue(to.into()),
    };
    BindingDefinition { source: source.into(), destination, key: key.into(), arguments: args(arguments) }
}

pub(crate) fn empty() -> Definitions {
    Definitions::new(4, Arc::new(Factory))
}

/// Definitions with vhost `/`, changes drained.
pub(crate) fn definitions() -> Definitions {
    let mut definitions = empty();
    definitions.ensure_vhost(&root());
    definitions.drain_changes();
    definitions
}

pub(crate) fn declare(definitions: &mut Definitions, name: &str) -> QueueId {
    definitions.declare_queue(&root(), SOME, queue(name)).unwrap().queue.unwrap().id
}

/// The changes as short lines.
pub(crate) fn changes(definitions: &mut Definitions) -> Vec<String> {
    let line = |Change::Worker(worker, command)| match command {
        WorkerCommand::Define { kind, key, value, .. } => {
            assert_eq!(worker.0, 0);
            format!("{}{kind} {key}", if value.is_some() { '+' } else { '-' })
        }
        WorkerCommand::CreateQueue { name, .. } => format!("create {name}"),
        WorkerCommand::AlterQueue { queue, .. } => format!("alter {queue}"),
        WorkerCommand::DeleteQueue { queue, .. } => format!("delete {queue}"),
        other => panic!("{other:?}"),
    };
    definitions.drain_changes().map(line).collect()
}

struct Sink(ConnectionId);

impl DirectSink for Sink {
    fn connection(&self) -> ConnectionId {
        self.0
    }

    fn offer(&self, _: ConsumerId, _: u32, _: &[Arc<Message>]) {}
}

pub(crate) fn subscriber(
    connection: ConnectionId,
    via: u32,
    queue: Option<QueueId>,
    no_local: bool,
) -> Arc<Subscriber> {
    Arc::new(Subscriber { sink: Arc::new(Sink(connection)), consumer: ConsumerId(1), via, queue, no_local })
}
