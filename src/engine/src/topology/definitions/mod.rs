//! The owner of the topology: checks what clients ask for, changes it, and says what workers must be told.
//!
//! Owns: validation, equivalence, reserved names, exclusive ownership, cascades (a queue takes its bindings along, an
//! auto-delete exchange goes with its last binding), queue numbers, and what is written to the log.
//! Refuses: messages, consumers, permissions; whether a queue is unused or empty is asked of its worker by the caller
//! before it deletes.
//!
//! Every operation names the vhost and the connection that acts; `ConnectionId(0)` is the broker itself, which may use
//! reserved names. Changes collect in a list that the caller drains after each operation or batch.

mod bindings;
mod exchanges;
mod policies;
mod queues;
mod restore;
mod subscriptions;
#[cfg(test)]
mod tests;

use super::{Queue, Topology, Vhost, no_vhost, record};
use crate::worker::command::{Asker, WorkerCommand};
use model::{
    Name,
    behaviour::BehaviourFactory,
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, QueueId, WorkerId},
    limits::{NAME_BYTES_MAX, TOPIC_BYTES_MAX},
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Queue numbers are reserved in the log this many at a time.
const NUMBERS_AT_A_TIME: u64 = 1024;

/// Something that the caller has to pass on, in order.
#[derive(Clone, Debug)]
pub enum Change {
    /// To this worker.
    Worker(WorkerId, WorkerCommand),
}

/// What an operation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The thing was there before.
    pub existed: bool,
    /// The queue concerned, where there is one (also one that was just deleted).
    pub queue: Option<Arc<Queue>>,
}

/// The mutable owner of a [`Topology`].
pub struct Definitions {
    topology: Topology,
    workers: u16,
    /// The next queue gets this number.
    next_number: u64,
    /// Numbers below this are reserved in the log.
    reserved: u64,
    factory: Arc<dyn BehaviourFactory>,
    changes: Vec<Change>,
    exclusive: BTreeSet<(ConnectionId, QueueId)>,
    /// What `restore` was given and `finish_restore` will build.
    stored: BTreeMap<(Name, Name), bytes::Bytes>,
}

impl Definitions {
    /// An empty topology over `workers` workers (at least one).
    pub fn new(workers: u16, factory: Arc<dyn BehaviourFactory>) -> Self {
        Self {
            topology: Topology::default(),
            workers: workers.max(1),
            next_number: 1,
            reserved: 1,
            factory,
            changes: Vec::new(),
            exclusive: BTreeSet::new(),
            stored: BTreeMap::new(),
        }
    }

    /// What exists now; clone it to publish it.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What the workers must be told since the last call, in order.
    pub fn drain_changes(&mut self) -> std::vec::Drain<'_, Change> {
        self.changes.drain(..)
    }

    /// The connection is over: its exclusive queues go.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        let first = (connection, QueueId(0));
        let owned: Vec<QueueId> = self
            .exclusive
            .range(first..)
            .take_while(|(owner, _)| *owner == connection)
            .map(|(_, queue)| *queue)
            .collect();
        owned.into_iter().for_each(|queue| self.queue_ended(queue));
    }

    fn vhost(&self, name: &str) -> Result<&Arc<Vhost>, BrokerError> {
        self.topology.vhost(name).ok_or_else(|| no_vhost(name))
    }

    fn tell(&mut self, worker: WorkerId, command: WorkerCommand) {
        self.changes.push(Change::Worker(worker, command));
    }

    fn write(&mut self, definition: record::Definition) {
        let record::Definition { kind, key, value } = definition;
        self.define(kind, key, Some(value));
    }

    fn erase(&mut self, definition: record::Definition) {
        self.define(definition.kind, definition.key, None);
    }

    fn define(&mut self, kind: &'static str, key: Name, value: Option<bytes::Bytes>) {
        let kind = Name::from_static(kind);
        self.tell(WorkerId(0), WorkerCommand::Define { asker: None, kind, key, value });
    }

    fn next_queue_id(&mut self) -> QueueId {
        let number = self.next_number;
        self.next_number += 1;
        if number >= self.reserved {
            self.reserved = number + NUMBERS_AT_A_TIME;
            self.write(record::numbers(self.reserved));
        }
        let worker = number % u64::from(self.workers);
        QueueId::new(WorkerId(u16::try_from(worker).unwrap_or(0)), number)
    }
}

fn refused(text: impl Into<Name>) -> BrokerError {
    BrokerError::new(ErrorKind::AccessRefused, text)
}

fn default_exchange_refused() -> BrokerError {
    refused("operation not permitted on the default exchange")
}

/// Errors: `InvalidArgument` when too long for its actor; the broker's own names may be as long as a topic.
fn check_name_length(what: &str, name: &str, actor: ConnectionId) -> Result<(), BrokerError> {
    let max = if actor == ConnectionId(0) { TOPIC_BYTES_MAX } else { NAME_BYTES_MAX };
    if name.len() > max {
        let text = format!("{what} name is longer than {max} bytes");
        return Err(BrokerError::new(ErrorKind::InvalidArgument, text));
    }
    Ok(())
}

/// Errors: `AccessRefused` for a name that begins with `amq.`.
fn check_not_reserved(what: &str, name: &str, actor: ConnectionId) -> Result<(), BrokerError> {
    if name.starts_with("amq.") && actor != ConnectionId(0) {
        return Err(refused(format!("{what} name '{name}' contains reserved prefix 'amq.*'")));
    }
    Ok(())
}
