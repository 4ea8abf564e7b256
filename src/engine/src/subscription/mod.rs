//! Subscriptions to the topic space: what a session's filter leads to, and the tree that finds it.

pub mod tree;

use model::{
    Name,
    delivery::DirectSink,
    ids::{ConsumerId, QueueId},
};
use std::sync::Arc;

/// A session's subscription as the router sees it. Runtime-only: sessions are kept by the runtime.
#[derive(Clone)]
pub struct Subscriber {
    /// Takes messages directly.
    pub sink: Arc<dyn DirectSink>,
    /// The session's consumer to name in direct deliveries.
    pub consumer: ConsumerId,
    /// The session's number for the subscription.
    pub via: u32,
    /// Takes durable messages, when there is one; everything else goes directly.
    pub queue: Option<QueueId>,
    /// Not the session's own messages.
    pub no_local: bool,
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscriber({}/{}/{})", self.sink.connection(), self.consumer, self.via)
    }
}

/// What a filter leads to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A queue, for the group that shares it.
    Queue {
        /// The queue.
        id: QueueId,
        /// Number of the subscription.
        via: u32,
    },
    /// A session.
    Subscriber(Arc<Subscriber>),
}

/// Whose filter it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionKey {
    Owner { owner: Name, filter: Name },
    Group { queue: QueueId, via: u32, filter: Name },
}
