//! Policies: put, deleted, and laid over what is there.

use super::{Definitions, Outcome, WorkerCommand, record};
use crate::{
    exchange::Exchange,
    topology::{
        Queue,
        policies::{self, POLICIES_MAX, Policies, Policy},
    },
};
use model::{
    Name,
    error::{BrokerError, ErrorKind},
};
use std::sync::Arc;

impl Definitions {
    /// Puts a policy, or an operator policy, in place of one of its name.
    /// Errors: `NotFound` (vhost), `InvalidArgument` in RabbitMQ's words, `LimitExceeded`.
    pub fn put_policy(
        &mut self,
        vhost: &Name,
        operator: bool,
        policy: Policy,
    ) -> Result<Outcome, BrokerError> {
        policy.check(operator)?;
        let known = self.vhost(vhost)?.policies().of(operator);
        let existed = known.contains_key(&policy.name);
        if !existed && known.len() >= POLICIES_MAX {
            let text = format!("vhost '{vhost}' has its most policies: {POLICIES_MAX}");
            return Err(BrokerError::new(ErrorKind::LimitExceeded, text));
        }
        self.write(record::policy(vhost, operator, &policy));
        self.change_policies(vhost, |policies| {
            policies.of_mut(operator).insert(policy.name.clone(), Arc::new(policy));
        });
        Ok(Outcome { existed, queue: None })
    }

    /// Deletes a policy, or an operator policy. Absent is success.
    /// Errors: `NotFound` (vhost).
    pub fn delete_policy(
        &mut self,
        vhost: &Name,
        operator: bool,
        name: &Name,
    ) -> Result<Outcome, BrokerError> {
        let Some(policy) = self.vhost(vhost)?.policies().of(operator).get(name).cloned() else {
            return Ok(Outcome::default());
        };
        self.erase(record::policy(vhost, operator, &policy));
        self.change_policies(vhost, |policies| drop(policies.of_mut(operator).remove(name)));
        Ok(Outcome { existed: true, queue: None })
    }

    /// A policy from the log.
    pub(super) fn restore_policy(&mut self, vhost: &Name, operator: bool, policy: Policy) {
        if let Some(vhost) = self.topology.vhost_mut(vhost) {
            let policies = Arc::make_mut(&mut vhost.policies);
            policies.of_mut(operator).insert(policy.name.clone(), Arc::new(policy));
        }
    }

    fn change_policies(&mut self, name: &Name, change: impl FnOnce(&mut Policies)) {
        let Some(vhost) = self.topology.vhost_mut(name) else { return };
        change(Arc::make_mut(&mut vhost.policies));
        let policies = vhost.policies.clone();
        let queues: Vec<Arc<Queue>> = vhost.queues().cloned().collect();
        let exchanges: Vec<Arc<Exchange>> = vhost.exchanges().cloned().collect();
        queues.iter().for_each(|queue| self.lay_over_queue(queue, &policies));
        for exchange in exchanges {
            let applied = policies.for_exchange(&exchange.name);
            if applied.as_deref() != exchange.applied() {
                self.put_exchange(exchange.under(applied));
            }
        }
    }

    fn lay_over_queue(&mut self, queue: &Arc<Queue>, policies: &Policies) {
        let applied = policies.for_queue(&queue.name, queue.settings.kind);
        if applied.as_deref() == queue.applied() {
            return;
        }
        let settings = policies::settings(&queue.vhost, &queue.declare, applied.as_deref());
        let settings = settings.map_or_else(|_| queue.settings.clone(), Arc::new);
        let queue = Arc::new(Queue { settings, applied, ..(**queue).clone() });
        self.topology.insert_queue(&queue);
        let command = WorkerCommand::AlterQueue { queue: queue.id, settings: queue.settings.clone() };
        self.tell(queue.id.worker(), command);
    }
}
