//! Bindings: made and removed, with what depends on them.

use super::{Definitions, Outcome, default_exchange_refused, record};
use crate::{
    binding::{Binding, BindingId, BindingTarget},
    exchange::{Exchange, ExchangeKind, headers::HeaderMatch, spread},
    topology::{Inbound, Vhost, value_json::is_within_limits},
};
use model::{
    Name,
    definition::{BindingDefinition, Destination},
    error::{BrokerError, ErrorKind},
    ids::ConnectionId,
    limits::{TOPIC_BYTES_MAX, TOPIC_LEVELS_MAX},
};
use std::sync::Arc;

impl Definitions {
    /// Binds. A binding that exists is left as it is.
    /// Errors: `AccessRefused` (default exchange), `NotFound`, `Locked`, `InvalidArgument`.
    pub fn bind(
        &mut self,
        vhost: &Name,
        actor: ConnectionId,
        definition: BindingDefinition,
    ) -> Result<Outcome, BrokerError> {
        check_not_default(&definition)?;
        let (source, target, durable) = ends(self.vhost(vhost)?, actor, &definition)?;
        let id = BindingId::of(&definition);
        if source.binding(&id).is_some() {
            return Ok(Outcome { existed: true, queue: None });
        }
        let binding = self.compile_binding(source, target, durable, definition)?;
        if durable {
            self.write(record::binding(vhost, &binding));
        }
        self.put_binding(vhost, id, binding);
        Ok(Outcome::default())
    }

    /// Unbinds. Absent is success, and so is an exchange or queue that is not there.
    /// Errors: `AccessRefused` (default exchange), `Locked`.
    pub fn unbind(
        &mut self,
        vhost: &Name,
        actor: ConnectionId,
        definition: &BindingDefinition,
    ) -> Result<Outcome, BrokerError> {
        check_not_default(definition)?;
        let bound = self
            .vhost(vhost)?
            .exchange(&definition.source)
            .and_then(|source| source.binding(&BindingId::of(definition)));
        if let (Destination::Queue(name), Some(_)) = (&definition.destination, bound)
            && let Some(queue) = self.vhost(vhost)?.queue(name)
        {
            queue.check_access(actor)?;
        }
        let existed = self.drop_binding(vhost, &definition.source, &BindingId::of(definition));
        if existed {
            self.drop_unused(vhost, vec![definition.source.clone()]);
        }
        Ok(Outcome { existed, queue: None })
    }

    /// A binding from the log. Errors: `NotFound` when one of its ends is not there any more, and what the factory says.
    pub(super) fn restore_binding(
        &mut self,
        vhost: &Name,
        definition: BindingDefinition,
    ) -> Result<(), BrokerError> {
        let (source, target, durable) = ends(self.vhost(vhost)?, ConnectionId(0), &definition)?;
        let id = BindingId::of(&definition);
        let binding = self.compile_binding(source, target, durable, definition)?;
        self.put_binding(vhost, id, binding);
        Ok(())
    }

    fn compile_binding(
        &self,
        source: &Exchange,
        target: BindingTarget,
        durable: bool,
        definition: BindingDefinition,
    ) -> Result<Binding, BrokerError> {
        check_key(&definition.key)?;
        if !is_within_limits(&definition.arguments) {
            let text = "arguments of the binding are too many or nested too deep";
            return Err(BrokerError::new(ErrorKind::InvalidArgument, text));
        }
        if source.kind == ExchangeKind::ConsistentHash {
            spread::weight(&definition.key)?;
        }
        let headers = match source.kind {
            ExchangeKind::Headers => Some(HeaderMatch::compile(&definition.arguments)?),
            _ => None,
        };
        let kind = &source.declare.kind;
        let behaviour = self.factory.binding(&source.vhost, kind, &source.name, &definition.arguments)?;
        Ok(Binding { definition, durable, target, behaviour, headers })
    }

    fn put_binding(&mut self, vhost: &Name, id: BindingId, binding: Binding) {
        let Some(vhost) = self.topology.vhost_mut(vhost) else { return };
        let source = binding.definition.source.clone();
        if let Some(exchange) = vhost.exchange_mut(&source) {
            exchange.insert(id.clone(), Arc::new(binding));
            vhost.inbound.insert_mut(Inbound { destination: id.destination.clone(), source, id });
        }
    }

    /// Removes one binding; true when it was there.
    pub(super) fn drop_binding(&mut self, vhost: &Name, source: &Name, id: &BindingId) -> bool {
        let existing =
            self.topology.exchange(vhost, source).and_then(|exchange| exchange.binding(id)).cloned();
        let Some(binding) = existing else { return false };
        if let Some(vhost) = self.topology.vhost_mut(vhost) {
            if let Some(exchange) = vhost.exchange_mut(source) {
                exchange.remove(id);
            }
            let inbound =
                Inbound { destination: id.destination.clone(), source: source.clone(), id: id.clone() };
            vhost.inbound.remove_mut(&inbound);
        }
        if binding.durable {
            self.erase(record::binding(vhost, &binding));
        }
        true
    }

    /// Removes all bindings to `destination`; returns the exchanges that they came from.
    pub(super) fn drop_bindings_to(&mut self, vhost: &Name, destination: &Destination) -> Vec<Name> {
        let Some(of) = self.topology.vhost(vhost) else { return Vec::new() };
        let inbound: Vec<Inbound> = of.inbound_of(destination).cloned().collect();
        for Inbound { source, id, .. } in &inbound {
            self.drop_binding(vhost, source, id);
        }
        let mut sources: Vec<Name> = inbound.into_iter().map(|inbound| inbound.source).collect();
        sources.dedup();
        sources
    }
}

fn check_not_default(definition: &BindingDefinition) -> Result<(), BrokerError> {
    let to_default = matches!(&definition.destination, Destination::Exchange(name) if name.is_empty());
    if definition.source.is_empty() || to_default { Err(default_exchange_refused()) } else { Ok(()) }
}

/// Source, target, and whether both survive a restart.
fn ends<'a>(
    vhost: &'a Vhost,
    actor: ConnectionId,
    definition: &BindingDefinition,
) -> Result<(&'a Arc<Exchange>, BindingTarget, bool), BrokerError> {
    let exchange = |name: &Name| {
        vhost.exchange(name).ok_or_else(|| BrokerError::not_found("exchange", name, vhost.name()))
    };
    let source = exchange(&definition.source)?;
    let (target, durable) = match &definition.destination {
        Destination::Exchange(name) => {
            (BindingTarget::Exchange(name.clone()), exchange(name)?.declare.durable)
        }
        Destination::Queue(name) => {
            let queue =
                vhost.queue(name).ok_or_else(|| BrokerError::not_found("queue", name, vhost.name()))?;
            queue.check_access(actor)?;
            (BindingTarget::Queue(queue.id), queue.is_logged())
        }
    };
    Ok((source, target, source.declare.durable && durable))
}

/// Errors: `InvalidArgument` for a key that is too long or has too many words.
pub(super) fn check_key(key: &str) -> Result<(), BrokerError> {
    let words = || key.bytes().filter(|byte| *byte == b'.').count() + 1;
    if key.len() > TOPIC_BYTES_MAX || words() > TOPIC_LEVELS_MAX {
        let text = format!("a key has at most {TOPIC_BYTES_MAX} bytes and {TOPIC_LEVELS_MAX} words");
        return Err(BrokerError::new(ErrorKind::InvalidArgument, text));
    }
    Ok(())
}
