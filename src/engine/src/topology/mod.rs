//! Definitions and routing: what exists, and where a message goes. A [`Topology`] is an immutable, persistent
//! value that is cheap to clone and to change.
//!
//! Owns: vhosts, exchanges, queues, bindings and subscriptions as facts. Refuses: messages in queues, consumers and
//! anything else that a worker knows.

pub mod definitions;
pub mod policies;
pub mod policy;
pub(crate) mod record;
pub mod route;
pub mod settings;
#[cfg(test)]
mod testing;
pub mod value_json;

pub use definitions::{Change, Definitions, Outcome};
pub use route::{Leg, Route};

use crate::{
    binding::{Binding, BindingId},
    exchange::Exchange,
};
use model::{
    Name,
    definition::{Destination, QueueDeclare},
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, QueueId},
};
use policies::{Applied, Policies};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use settings::QueueSettings;
use std::sync::Arc;

/// A queue or stream as a fact: who it is, not what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Its id; names the worker.
    pub id: QueueId,
    /// Name.
    pub name: Name,
    /// Vhost.
    pub vhost: Name,
    /// Settings from its arguments.
    pub settings: Arc<QueueSettings>,
    /// As declared (and altered).
    pub declare: QueueDeclare,
    /// The connection that an exclusive queue belongs to.
    pub owner: Option<ConnectionId>,
    pub(crate) applied: Option<Arc<Applied>>,
}

impl Queue {
    /// Whether `connection` may consume from, get from, purge, bind or delete it.
    /// Errors: `Locked` for another connection's exclusive queue. The broker itself is `ConnectionId(0)` and may.
    pub fn check_access(&self, connection: ConnectionId) -> Result<(), BrokerError> {
        match self.owner {
            Some(owner) if owner != connection && connection != ConnectionId(0) => Err(self.locked()),
            _ => Ok(()),
        }
    }

    pub(crate) fn locked(&self) -> BrokerError {
        let text = format!(
            "cannot obtain exclusive access to locked queue '{}' in vhost '{}'. It could be originally declared on \
             another connection or the exclusive property value does not match that of the original declaration.",
            self.name, self.vhost
        );
        BrokerError::new(ErrorKind::Locked, text)
    }

    /// Written to the log.
    pub(crate) fn is_logged(&self) -> bool {
        self.settings.durable
    }
}

/// A binding seen from its destination.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Inbound {
    pub(crate) destination: Destination,
    pub(crate) source: Name,
    pub(crate) id: BindingId,
}

/// A subscription of a shared group seen from its queue.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupFilter {
    pub(crate) queue: QueueId,
    pub(crate) via: u32,
    pub(crate) filter: Name,
}

/// What operators say of a vhost; it means nothing to the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// In words.
    pub text: Name,
    /// Labels.
    pub tags: Vec<Name>,
}

/// One namespace.
#[derive(Clone)]
pub struct Vhost {
    name: Name,
    pub(crate) exchanges: RedBlackTreeMapSync<Name, Arc<Exchange>>,
    pub(crate) queues: RedBlackTreeMapSync<Name, Arc<Queue>>,
    pub(crate) inbound: RedBlackTreeSetSync<Inbound>,
    pub(crate) groups: RedBlackTreeSetSync<GroupFilter>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) description: Arc<Description>,
}

impl Vhost {
    pub(crate) fn new(name: Name) -> Self {
        Self {
            name,
            exchanges: RedBlackTreeMapSync::new_sync(),
            queues: RedBlackTreeMapSync::new_sync(),
            inbound: RedBlackTreeSetSync::new_sync(),
            groups: RedBlackTreeSetSync::new_sync(),
            policies: Arc::default(),
            description: Arc::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What operators say of it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// A queue by name.
    pub fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// An exchange by name.
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.exchanges.get(name)
    }

    /// Queues in name order.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.values()
    }

    /// Exchanges in name order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.exchanges.values()
    }

    /// Bindings by source, key and destination. Those of the default exchange are implied and not among them.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.exchanges.values().flat_map(|exchange| exchange.bindings())
    }

    /// Bindings that lead to `destination`, by source and key.
    pub fn bindings_to(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Binding>> {
        self.inbound_of(destination)
            .filter_map(|inbound| self.exchange(&inbound.source)?.binding(&inbound.id))
    }

    pub(crate) fn inbound_of<'a>(&'a self, destination: &Destination) -> impl Iterator<Item = &'a Inbound> {
        let first = Inbound {
            destination: destination.clone(),
            source: Name::new(),
            id: BindingId::first_of(&Name::new()),
        };
        let wanted = destination.clone();
        self.inbound.range(first..).take_while(move |inbound| inbound.destination == wanted)
    }

    pub(crate) fn exchange_mut(&mut self, name: &str) -> Option<&mut Exchange> {
        self.exchanges.get_mut(name).map(Arc::make_mut)
    }
}

/// Everything that exists, at one moment.
#[derive(Clone, Default)]
pub struct Topology {
    generation: u64,
    vhosts: RedBlackTreeMapSync<Name, Arc<Vhost>>,
    by_id: RedBlackTreeMapSync<QueueId, Arc<Queue>>,
}

impl Topology {
    /// Grows with every change; equal generations of one process are equal topologies.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A vhost by name.
    pub fn vhost(&self, name: &str) -> Option<&Arc<Vhost>> {
        self.vhosts.get(name)
    }

    /// Vhosts in name order.
    pub fn vhosts(&self) -> impl Iterator<Item = &Arc<Vhost>> {
        self.vhosts.values()
    }

    /// A queue by vhost and name.
    pub fn queue(&self, vhost: &str, name: &str) -> Option<&Arc<Queue>> {
        self.vhost(vhost)?.queue(name)
    }

    /// A queue by vhost and name, that `connection` may use.
    /// Errors: `NotFound`, `Locked`.
    pub fn accessible_queue(
        &self,
        vhost: &str,
        name: &str,
        connection: ConnectionId,
    ) -> Result<&Arc<Queue>, BrokerError> {
        let queue = self.queue(vhost, name).ok_or_else(|| BrokerError::not_found("queue", name, vhost))?;
        queue.check_access(connection).map(|()| queue)
    }

    /// A queue by id.
    pub fn queue_by_id(&self, id: QueueId) -> Option<&Arc<Queue>> {
        self.by_id.get(&id)
    }

    /// Number of queues in all vhosts.
    pub fn queue_count(&self) -> usize {
        self.by_id.size()
    }

    /// An exchange by vhost and name.
    pub fn exchange(&self, vhost: &str, name: &str) -> Option<&Arc<Exchange>> {
        self.vhost(vhost)?.exchange(name)
    }

    /// Queues of a vhost in name order; none when there is no such vhost.
    pub fn queues(&self, vhost: &str) -> impl Iterator<Item = &Arc<Queue>> {
        self.vhost(vhost).into_iter().flat_map(|vhost| vhost.queues())
    }

    /// Exchanges of a vhost in name order.
    pub fn exchanges(&self, vhost: &str) -> impl Iterator<Item = &Arc<Exchange>> {
        self.vhost(vhost).into_iter().flat_map(|vhost| vhost.exchanges())
    }

    /// Bindings of a vhost by source, key and destination.
    pub fn bindings(&self, vhost: &str) -> impl Iterator<Item = &Arc<Binding>> {
        self.vhost(vhost).into_iter().flat_map(|vhost| vhost.bindings())
    }

    pub(crate) fn vhost_mut(&mut self, name: &str) -> Option<&mut Vhost> {
        self.generation += 1;
        self.vhosts.get_mut(name).map(Arc::make_mut)
    }

    pub(crate) fn insert_vhost(&mut self, vhost: Vhost) {
        self.generation += 1;
        self.vhosts.insert_mut(vhost.name.clone(), Arc::new(vhost));
    }

    pub(crate) fn remove_vhost(&mut self, name: &str) {
        self.generation += 1;
        self.vhosts.remove_mut(name);
    }

    pub(crate) fn insert_queue(&mut self, queue: &Arc<Queue>) {
        self.by_id.insert_mut(queue.id, queue.clone());
        if let Some(vhost) = self.vhost_mut(&queue.vhost) {
            vhost.queues.insert_mut(queue.name.clone(), queue.clone());
        }
    }

    pub(crate) fn remove_queue(&mut self, queue: &Queue) {
        self.by_id.remove_mut(&queue.id);
        if let Some(vhost) = self.vhost_mut(&queue.vhost) {
            vhost.queues.remove_mut(&queue.name);
        }
    }
}

pub(crate) fn no_vhost(name: &str) -> BrokerError {
    BrokerError::new(ErrorKind::NotFound, format!("vhost {name} not found"))
}
