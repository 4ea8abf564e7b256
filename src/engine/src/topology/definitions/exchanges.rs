//! Vhosts and exchanges: made, changed, deleted.

use super::{
    Definitions, Outcome, check_name_length, check_not_reserved, default_exchange_refused, record, refused,
};
use crate::{
    binding::BindingId,
    exchange::{Exchange, ExchangeKind, delay, spread},
    topology::{Description, Vhost, policy, value_json::is_within_limits},
};
use model::{
    Name,
    behaviour::Behaviour,
    definition::{Destination, ExchangeDeclare},
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, QueueId},
    limits,
    value::{Table, Value},
};
use std::sync::Arc;

/// What every vhost has from the beginning: name, kind, internal.
const PREDECLARED: [(&str, &str, bool); 9] = [
    ("", "direct", false),
    ("amq.direct", "direct", false),
    ("amq.fanout", "fanout", false),
    ("amq.headers", "headers", false),
    ("amq.match", "headers", false),
    ("amq.rabbitmq.event", "topic", true),
    ("amq.rabbitmq.log", "topic", true),
    ("amq.rabbitmq.trace", "topic", true),
    ("amq.topic", "topic", false),
];

impl Definitions {
    /// Makes the vhost with its predeclared exchanges when it is not there.
    pub fn ensure_vhost(&mut self, name: &Name) -> Outcome {
        let existed = self.topology.vhost(name).is_some();
        if !existed {
            self.add_vhost(name);
            self.write(record::vhost(name, &Description::default()));
        }
        Outcome { existed, queue: None }
    }

    /// Notes what operators say of a vhost. Errors: `NotFound`.
    pub fn describe_vhost(&mut self, name: &Name, description: Description) -> Result<Outcome, BrokerError> {
        if *self.vhost(name)?.description() != description {
            self.write(record::vhost(name, &description));
            self.restore_description(name, description);
        }
        Ok(Outcome { existed: true, queue: None })
    }

    pub(super) fn restore_description(&mut self, name: &Name, description: Description) {
        if let Some(vhost) = self.topology.vhost_mut(name) {
            vhost.description = Arc::new(description);
        }
    }

    /// Like [`Self::ensure_vhost`], at a client's wish: a new one is refused once there are
    /// [`limits::VHOSTS_MAX`].
    pub fn admit_vhost(&mut self, name: &Name) -> Result<Outcome, BrokerError> {
        let known = self.topology.vhost(name).is_some();
        if !known && self.topology.vhosts().count() >= limits::VHOSTS_MAX {
            let text = format!("vhost '{name}' refused: limit of {} vhosts is reached", limits::VHOSTS_MAX);
            return Err(BrokerError::new(ErrorKind::LimitExceeded, text));
        }
        Ok(self.ensure_vhost(name))
    }

    pub(super) fn add_vhost(&mut self, name: &Name) {
        let mut vhost = Vhost::new(name.clone());
        for (exchange, kind, internal) in PREDECLARED {
            let declare = ExchangeDeclare {
                name: Name::from_static(exchange),
                kind: Name::from_static(kind),
                durable: true,
                internal,
                ..ExchangeDeclare::default()
            };
            let kind =
                if exchange.is_empty() { Some(ExchangeKind::Default) } else { ExchangeKind::parse(kind) };
            let kind = kind.unwrap_or(ExchangeKind::Fanout);
            let exchange = Exchange::new(name.clone(), kind, declare, Behaviour::default());
            vhost.exchanges.insert_mut(exchange.name.clone(), Arc::new(exchange));
        }
        self.topology.insert_vhost(vhost);
    }

    /// Deletes a vhost with all that is in it. Connections in it are the caller's business.
    pub fn delete_vhost(&mut self, name: &Name) -> Outcome {
        let Some(vhost) = self.topology.vhost(name).cloned() else { return Outcome::default() };
        let queues: Vec<QueueId> = vhost.queues().map(|queue| queue.id).collect();
        queues.into_iter().for_each(|queue| self.queue_ended(queue));
        let exchanges: Vec<Name> = vhost.exchanges().map(|exchange| exchange.name.clone()).collect();
        exchanges.iter().for_each(|exchange| drop(self.drop_exchange(name, exchange)));
        for operator in [false, true] {
            for policy in vhost.policies().of(operator).values() {
                self.erase(record::policy(name, operator, policy));
            }
        }
        self.topology.remove_vhost(name);
        self.erase(record::vhost(name, vhost.description()));
        Outcome { existed: true, queue: None }
    }

    /// Declares an exchange, or checks it.
    /// Errors: `NotFound` (passive), `AccessRefused` (default exchange, reserved name), `Inequivalent`, `Precondition`
    /// for an unknown kind, and what the behaviour factory says.
    pub fn declare_exchange(
        &mut self,
        vhost: &Name,
        actor: ConnectionId,
        declare: ExchangeDeclare,
    ) -> Result<Outcome, BrokerError> {
        if declare.name.is_empty() {
            return Err(default_exchange_refused());
        }
        let existing = self.vhost(vhost)?.exchange(&declare.name);
        if declare.passive {
            let existing = existing.ok_or_else(|| BrokerError::not_found("exchange", &declare.name, vhost));
            return existing.map(|_| Outcome { existed: true, queue: None });
        }
        self.kind_of(&declare)?;
        if let Some(exchange) = existing {
            policy::check_exchange(vhost, &exchange.declare, &declare)?;
            return Ok(Outcome { existed: true, queue: None });
        }
        check_name_length("exchange", &declare.name, actor)?;
        check_not_reserved("exchange", &declare.name, actor)?;
        let exchange = self.compile_exchange(vhost, declare)?;
        if exchange.declare.durable {
            self.write(record::exchange(vhost, &exchange.declare));
        }
        self.put_exchange(exchange);
        Ok(Outcome::default())
    }

    /// Sets arguments of an exchange; `Null` removes one.
    /// Errors: `NotFound`, `AccessRefused` for the default exchange, `InvalidArgument`.
    pub fn alter_exchange(
        &mut self,
        vhost: &Name,
        _actor: ConnectionId,
        name: &Name,
        arguments: &Table,
    ) -> Result<Outcome, BrokerError> {
        if name.is_empty() {
            return Err(default_exchange_refused());
        }
        let current = self.vhost(vhost)?.exchange(name);
        let current = current.ok_or_else(|| BrokerError::not_found("exchange", name, vhost))?.clone();
        let mut declare = (*current.declare).clone();
        alter(&mut declare.arguments, arguments);
        let compiled = self.compile_exchange(vhost, declare)?;
        let exchange = current.altered((*compiled.declare).clone(), compiled.behaviour);
        let exchange = exchange.under(current.applied.clone());
        if exchange.declare.durable {
            self.write(record::exchange(vhost, &exchange.declare));
        }
        self.put_exchange(exchange);
        Ok(Outcome { existed: true, queue: None })
    }

    /// Deletes an exchange with the bindings from and to it. Absent is success.
    /// Errors: `AccessRefused` for predeclared ones, `InUse` with `if_unused` when it has bindings.
    pub fn delete_exchange(
        &mut self,
        vhost: &Name,
        _actor: ConnectionId,
        name: &Name,
        if_unused: bool,
    ) -> Result<Outcome, BrokerError> {
        if name.is_empty() {
            return Err(default_exchange_refused());
        }
        if name.starts_with("amq.") {
            let text = format!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed");
            return Err(refused(text));
        }
        let Some(exchange) = self.vhost(vhost)?.exchange(name) else { return Ok(Outcome::default()) };
        if if_unused && exchange.binding_count() > 0 {
            let text = format!("exchange '{name}' in vhost '{vhost}' in use");
            return Err(BrokerError::new(ErrorKind::InUse, text));
        }
        let sources = self.drop_exchange(vhost, name);
        self.drop_unused(vhost, sources);
        Ok(Outcome { existed: true, queue: None })
    }

    /// Deletes those of `sources` that are auto-delete and have no binding left, and so on.
    pub(super) fn drop_unused(&mut self, vhost: &Name, mut sources: Vec<Name>) {
        while let Some(name) = sources.pop() {
            let exchange = self.topology.exchange(vhost, &name);
            if exchange.is_some_and(|exchange| exchange.declare.auto_delete && exchange.binding_count() == 0)
            {
                sources.extend(self.drop_exchange(vhost, &name));
            }
        }
    }

    /// Removes the exchange and its bindings; returns the exchanges that lost a binding to it.
    fn drop_exchange(&mut self, vhost: &Name, name: &Name) -> Vec<Name> {
        let Some(exchange) = self.topology.exchange(vhost, name).cloned() else { return Vec::new() };
        for binding in exchange.bindings() {
            self.drop_binding(vhost, name, &BindingId::of(&binding.definition));
        }
        let sources = self.drop_bindings_to(vhost, &Destination::Exchange(name.clone()));
        if exchange.declare.durable {
            self.erase(record::exchange(vhost, &exchange.declare));
        }
        if let Some(vhost) = self.topology.vhost_mut(vhost) {
            vhost.exchanges.remove_mut(name);
        }
        sources
    }

    /// Checks the arguments and compiles the behaviour.
    pub(super) fn compile_exchange(
        &self,
        vhost: &Name,
        declare: ExchangeDeclare,
    ) -> Result<Exchange, BrokerError> {
        let kind = self.kind_of(&declare)?;
        let invalid = |reason: &str| {
            let text = format!("invalid arg for exchange '{}' in vhost '{vhost}': {reason}", declare.name);
            BrokerError::new(ErrorKind::InvalidArgument, text)
        };
        if !is_within_limits(&declare.arguments) {
            return Err(invalid("too many arguments or nested too deep"));
        }
        let alternate = "alternate-exchange";
        match declare.arguments.get(alternate) {
            None | Some(Value::Str(_)) => {}
            Some(other) => {
                let name = &declare.name;
                return Err(policy::wrong_name_type(alternate, other, "exchange", name, vhost));
            }
        }
        if kind == ExchangeKind::ConsistentHash {
            spread::check(&declare)?;
        }
        let behaviour = self.factory.exchange(vhost, &declare.kind, &declare.name, &declare.arguments)?;
        let applied = self.vhost(vhost)?.policies().for_exchange(&declare.name);
        Ok(Exchange::new(vhost.clone(), kind, declare, behaviour).under(applied))
    }

    pub(super) fn put_exchange(&mut self, exchange: Exchange) {
        if let Some(vhost) = self.topology.vhost_mut(&exchange.vhost.clone()) {
            vhost.exchanges.insert_mut(exchange.name.clone(), Arc::new(exchange));
        }
    }

    fn kind_of(&self, declare: &ExchangeDeclare) -> Result<ExchangeKind, BrokerError> {
        let kind = &*declare.kind;
        if kind == delay::KIND {
            return delay::inner_kind(declare);
        }
        let custom = || self.factory.knows_kind(kind).then_some(ExchangeKind::Custom);
        ExchangeKind::parse(kind).or_else(custom).ok_or_else(|| {
            BrokerError::new(ErrorKind::Precondition, format!("unknown exchange type '{kind}'"))
        })
    }
}

/// Sets what `changes` names; `Null` removes.
pub(super) fn alter(arguments: &mut Table, changes: &Table) {
    for (name, value) in changes.iter() {
        match value {
            Value::Null => arguments.remove(name),
            value => arguments.set(name, value.clone()),
        }
    }
}
