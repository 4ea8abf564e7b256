//! What a binding or an exchange can do to a message beyond matching its key: predicates and transformations.
//!
//! They are compiled once, from the plain data of a definition, by a [`BehaviourFactory`] that the registry fills with
//! what the protocols bring; the engine calls them without knowing whose they are.

use crate::{Name, error::BrokerError, message::Message, value::Table};
use std::{any::Any, sync::Arc};

/// Whether a binding lets a message through (SNS filter policy, EventBridge pattern).
pub trait Predicate: Send + Sync {
    /// True to let it through.
    fn matches(&self, message: &Message) -> bool;

    /// Like `matches`, for one of many predicates that are asked about the same message: what one has parsed of it
    /// the next finds in `scratch`. The caller clears `scratch` between messages.
    fn matches_with(&self, message: &Message, scratch: &mut Scratch) -> bool {
        let _ = scratch;
        self.matches(message)
    }
}

/// What predicates over one message keep for each other, for example its body parsed as JSON.
#[derive(Default)]
pub struct Scratch(Option<Box<dyn Any + Send>>);

impl Scratch {
    /// What is kept, made when there is none or when it is something else.
    pub fn get_or_insert_with<T: Any + Send>(&mut self, make: impl FnOnce() -> T) -> Option<&mut T> {
        if !self.0.as_ref().is_some_and(|kept| kept.is::<T>()) {
            self.0 = Some(Box::new(make()));
        }
        self.0.as_mut()?.downcast_mut()
    }

    /// Forgets what is kept.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

/// Makes another message of one (SNS notification, EventBridge input transformer, event envelope).
pub trait Transform: Send + Sync {
    /// The message to go on with; exchange and routing key are set by the router afterwards where the destination
    /// is another exchange. `None` drops it.
    fn apply(&self, message: &Arc<Message>) -> Option<Arc<Message>>;
}

/// What a definition's arguments compile to.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// Lets through only what matches.
    pub predicate: Option<Arc<dyn Predicate>>,
    /// Applied to what was let through.
    pub transform: Option<Arc<dyn Transform>>,
}

/// Compiles definitions. One per broker, made by the registry.
pub trait BehaviourFactory: Send + Sync {
    /// Behaviour of a binding out of an exchange named `source` of kind `kind` in `vhost`.
    /// Errors: `InvalidArgument` with a text that says what is wrong.
    fn binding(
        &self,
        vhost: &str,
        kind: &str,
        source: &Name,
        arguments: &Table,
    ) -> Result<Behaviour, BrokerError>;

    /// What an exchange does to every message that enters it (an event bus wraps foreign messages into events).
    fn exchange(
        &self,
        vhost: &str,
        kind: &str,
        name: &Name,
        arguments: &Table,
    ) -> Result<Behaviour, BrokerError>;

    /// Exchange kinds that the factory knows beyond the engine's own (`sns`, `event-bus`); they route as fanout.
    fn knows_kind(&self, kind: &str) -> bool;
}
