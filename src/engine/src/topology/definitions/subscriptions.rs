//! Sessions' subscriptions to the topic space. They live as long as the process; the runtime keeps sessions.

use super::{Definitions, bindings::check_key};
use crate::{
    subscription::{SessionKey, Subscriber, Target},
    topology::{GroupFilter, Queue, Vhost},
};
use model::{Name, error::BrokerError, ids::QueueId};
use std::sync::Arc;

/// The exchange whose keys are the topic space.
const TOPIC_SPACE: &str = "amq.topic";

impl Definitions {
    /// Subscribes `owner` (an opaque name, for example of the session) to `filter`, replacing an earlier subscription of
    /// the same owner and filter; true when there was one.
    /// Errors: `NotFound` without the vhost, `InvalidArgument` for a filter that is too long.
    pub fn subscribe(
        &mut self,
        vhost: &Name,
        filter: &Name,
        owner: &Name,
        subscriber: Arc<Subscriber>,
    ) -> Result<bool, BrokerError> {
        let key = SessionKey::Owner { owner: owner.clone(), filter: filter.clone() };
        self.add(vhost, filter, key, Target::Subscriber(subscriber))
    }

    /// Ends a subscription; true when there was one.
    pub fn unsubscribe(&mut self, vhost: &Name, filter: &Name, owner: &Name) -> bool {
        self.cut(vhost, filter, &SessionKey::Owner { owner: owner.clone(), filter: filter.clone() })
    }

    /// Subscribes a queue to `filter` under number `via`, for a group that shares it; true when it was already. Ends with
    /// the queue.
    /// Errors: as `subscribe`, and `NotFound` without the queue.
    pub fn subscribe_queue(
        &mut self,
        vhost: &Name,
        filter: &Name,
        queue: QueueId,
        via: u32,
    ) -> Result<bool, BrokerError> {
        if self.topology.queue_by_id(queue).is_none_or(|queue| queue.vhost != *vhost) {
            return Err(BrokerError::not_found("queue", &queue.to_string(), vhost));
        }
        let key = SessionKey::Group { queue, via, filter: filter.clone() };
        let existed = self.add(vhost, filter, key, Target::Queue { id: queue, via })?;
        if let Some(vhost) = self.topology.vhost_mut(vhost) {
            vhost.groups.insert_mut(GroupFilter { queue, via, filter: filter.clone() });
        }
        Ok(existed)
    }

    /// Ends a subscription of a queue; true when there was one.
    pub fn unsubscribe_queue(&mut self, vhost: &Name, filter: &Name, queue: QueueId, via: u32) -> bool {
        if let Some(vhost) = self.topology.vhost_mut(vhost) {
            vhost.groups.remove_mut(&GroupFilter { queue, via, filter: filter.clone() });
        }
        self.cut(vhost, filter, &SessionKey::Group { queue, via, filter: filter.clone() })
    }

    /// Ends all subscriptions of a queue that goes.
    pub(super) fn drop_groups(&mut self, queue: &Queue) {
        let first = GroupFilter { queue: queue.id, via: 0, filter: Name::new() };
        let of = |vhost: &Arc<Vhost>| -> Vec<GroupFilter> {
            vhost.groups.range(first..).take_while(|group| group.queue == queue.id).cloned().collect()
        };
        for group in self.topology.vhost(&queue.vhost).map(of).unwrap_or_default() {
            self.unsubscribe_queue(&queue.vhost, &group.filter, group.queue, group.via);
        }
    }

    fn add(
        &mut self,
        vhost: &Name,
        filter: &Name,
        key: SessionKey,
        target: Target,
    ) -> Result<bool, BrokerError> {
        check_key(filter)?;
        self.vhost(vhost)?;
        let space = self.topology.vhost_mut(vhost).and_then(|vhost| vhost.exchange_mut(TOPIC_SPACE));
        Ok(space.is_some_and(|exchange| exchange.sessions_mut().insert(filter, key, target)))
    }

    fn cut(&mut self, vhost: &Name, filter: &Name, key: &SessionKey) -> bool {
        let space = self.topology.vhost_mut(vhost).and_then(|vhost| vhost.exchange_mut(TOPIC_SPACE));
        space.is_some_and(|exchange| exchange.sessions_mut().remove(filter, key))
    }
}
