//! What a connection's user may do, asked of every op and publish: RabbitMQ's table of operations and permissions.
//!
//! | operation | configure | write | read |
//! |---|---|---|---|
//! | declare an exchange or queue, delete it | it | | |
//! | with an alternate or dead letter exchange | | that exchange | it |
//! | bind, unbind | | the destination | the source |
//! | publish | | the exchange | |
//! | get, receive, consume, purge | | | the queue |
//! | subscribe (sessions with topics) | | | `amq.topic` |
//!
//! On topic exchanges publishing asks for write on the routing key too, binding for read on the binding key.
//! Passive declarations ask for nothing, as in RabbitMQ 3. Queues that the broker makes for a session are its own.

use crate::auth::Users;
use crate::auth::rights::{Access, Rights};
use crate::runtime::sessions::{queue_name, share_queue_name};
use engine::exchange::ExchangeKind;
use engine::topology::Topology;
use model::{
    Name,
    command::Op,
    definition::{BindingDefinition, Destination},
    error::BrokerError,
    message::Message,
    value::Table,
};
use rustc_hash::FxHashSet;

/// Exchange of sessions with topics.
const TOPICS: &str = "amq.topic";
/// How the names of queues behind direct reply-to begin.
const REPLY_QUEUES: &str = "amq.rabbitmq.reply-to.";
/// Exchanges and queues remembered as allowed before the memory starts over.
const REMEMBERED_MAX: usize = 1024;

/// One connection's rights.
#[derive(Debug)]
pub(crate) struct Guard {
    user: Name,
    vhost: Name,
    rights: Rights,
    generation: u64,
    everything: bool,
    /// Users and permissions of the broker say what it may do.
    by_users: bool,
    /// Exchanges that it may publish to.
    writable: FxHashSet<Name>,
    /// Queues that the broker made for its session.
    own: FxHashSet<Name>,
}

impl Guard {
    /// The rights of who entered a virtual host.
    pub(crate) fn new(user: Name, vhost: Name, users: &Users) -> Self {
        let mut guard = Self {
            user,
            vhost,
            rights: Rights::all(),
            generation: 0,
            everything: false,
            by_users: true,
            writable: FxHashSet::default(),
            own: FxHashSet::default(),
        };
        guard.read(users);
        guard
    }

    /// Everything, whatever permissions say: for those whom the rules of their door let in.
    pub(crate) fn everything(user: Name, vhost: Name) -> Self {
        Self {
            user,
            vhost,
            rights: Rights::all(),
            generation: 0,
            everything: true,
            by_users: false,
            writable: FxHashSet::default(),
            own: FxHashSet::default(),
        }
    }

    fn read(&mut self, users: &Users) {
        self.generation = users.generation();
        self.rights = users.rights(&self.user, &self.vhost).unwrap_or_else(|| Rights::none(&self.user));
        self.everything = self.rights.is_everything();
        self.writable.clear();
    }

    /// Takes note of changed permissions. Called once per turn.
    pub(crate) fn refresh(&mut self, users: &Users) {
        if self.by_users && users.generation() != self.generation {
            self.read(users);
        }
    }

    /// Errors: `AccessRefused` in RabbitMQ's words.
    pub(crate) fn check_publish(
        &mut self,
        message: &Message,
        topology: &Topology,
    ) -> Result<(), BrokerError> {
        if self.everything {
            return Ok(());
        }
        let exchange = &message.exchange;
        if !self.writable.contains(exchange) {
            self.check(Access::Write, "exchange", exchange)?;
            if self.writable.len() >= REMEMBERED_MAX {
                self.writable.clear();
            }
            // A name of its own: the message's may be a slice of a large buffer.
            self.writable.insert(Name::from(&**exchange));
        }
        self.check_key(Access::Write, exchange, &message.routing_key, topology)
    }

    /// Errors: `AccessRefused` in RabbitMQ's words.
    pub(crate) fn check_op(&mut self, op: &Op, topology: &Topology) -> Result<(), BrokerError> {
        if let Op::OpenSession { client_id, .. } = op {
            self.remember_own(queue_name(client_id));
        }
        if let Op::Subscribe { subscription, .. } = op
            && let Some(group) = &subscription.share
        {
            self.remember_own(share_queue_name(group, &subscription.filter));
        }
        if self.everything {
            return Ok(());
        }
        match op {
            Op::DeclareExchange(declare) if !declare.passive => {
                self.check(Access::Configure, "exchange", &declare.name)?;
                self.check_target(("exchange", &declare.name), &declare.arguments, "alternate-exchange")
            }
            Op::DeclareQueue(declare) if !declare.passive && !self.is_own(&declare.name) => {
                self.check(Access::Configure, "queue", &declare.name)?;
                self.check_target(("queue", &declare.name), &declare.arguments, "x-dead-letter-exchange")
            }
            Op::DeleteExchange { name, .. } | Op::AlterExchange { name, .. } => {
                self.check(Access::Configure, "exchange", name)
            }
            Op::DeleteQueue { name, .. } | Op::AlterQueue { name, .. } if !self.is_own(name) => {
                self.check(Access::Configure, "queue", name)
            }
            Op::Bind(binding) | Op::Unbind(binding) => self.check_binding(binding, topology),
            Op::Consume(consume) => self.check_read(&consume.queue),
            Op::Get { queue, .. } | Op::Receive { queue, .. } | Op::PurgeQueue(queue) => {
                self.check_read(queue)
            }
            Op::Read { stream, .. } => self.check_read(stream),
            Op::Append { stream, .. } => self.check(Access::Write, "queue", stream),
            Op::Subscribe { subscription, .. } => {
                self.check(Access::Read, "exchange", TOPICS)?;
                self.check_key(Access::Read, TOPICS, &subscription.filter, topology)
            }
            _ => Ok(()),
        }
    }

    fn remember_own(&mut self, queue: Name) {
        if self.own.len() < REMEMBERED_MAX {
            self.own.insert(queue);
        }
    }

    fn is_own(&self, queue: &Name) -> bool {
        queue.starts_with(REPLY_QUEUES) || self.own.contains(queue)
    }

    fn check_read(&self, queue: &Name) -> Result<(), BrokerError> {
        if self.is_own(queue) { Ok(()) } else { self.check(Access::Read, "queue", queue) }
    }

    fn check(&self, access: Access, what: &str, name: &str) -> Result<(), BrokerError> {
        self.rights.check(access, what, name, &self.vhost)
    }

    /// An exchange named by an argument gets messages out of the thing that has it.
    fn check_target(
        &self,
        (what, name): (&str, &str),
        table: &Table,
        argument: &str,
    ) -> Result<(), BrokerError> {
        let Some(target) = table.str(argument) else { return Ok(()) };
        self.check(Access::Read, what, name)?;
        self.check(Access::Write, "exchange", target)
    }

    fn check_binding(&self, binding: &BindingDefinition, topology: &Topology) -> Result<(), BrokerError> {
        match &binding.destination {
            Destination::Queue(name) => self.check(Access::Write, "queue", name)?,
            Destination::Exchange(name) => self.check(Access::Write, "exchange", name)?,
        }
        self.check(Access::Read, "exchange", &binding.source)?;
        self.check_key(Access::Read, &binding.source, &binding.key, topology)
    }

    fn check_key(
        &self,
        access: Access,
        exchange: &str,
        key: &str,
        topology: &Topology,
    ) -> Result<(), BrokerError> {
        if !self.rights.restricts_keys_of(exchange) {
            return Ok(());
        }
        let known = topology.exchange(&self.vhost, exchange);
        if known.is_none_or(|exchange| exchange.kind != ExchangeKind::Topic) {
            return Ok(());
        }
        self.rights.check_key(access, exchange, key, &self.vhost)
    }
}
