//! A binding as the router sees it: the definition, compiled.
//!
//! Owns: a binding's identity, its target and its behaviour. Refuses: to decide whether it may exist
//! (`topology::Definitions`).

use crate::exchange::headers::HeaderMatch;
use model::{
    Name,
    behaviour::Behaviour,
    definition::{BindingDefinition, Destination},
    ids::QueueId,
    value::Table,
};

/// What tells bindings of one exchange apart. Ordered by key first, so that one key's bindings lie together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId {
    /// Routing key or pattern.
    pub key: Name,
    /// Where it leads.
    pub destination: Destination,
    /// Canonical text of the arguments, empty when there are none.
    pub arguments: Name,
}

impl BindingId {
    /// The identity of a definition; the order of its arguments does not matter.
    pub fn of(definition: &BindingDefinition) -> Self {
        Self {
            key: definition.key.clone(),
            destination: definition.destination.clone(),
            arguments: canonical(&definition.arguments),
        }
    }

    /// The smallest identity that has this key.
    pub(crate) fn first_of(key: &Name) -> Self {
        Self { key: key.clone(), destination: Destination::Queue(Name::new()), arguments: Name::new() }
    }
}

fn canonical(arguments: &Table) -> Name {
    if arguments.is_empty() {
        return Name::new();
    }
    let mut sorted = arguments.clone();
    sorted.0.sort_by(|left, right| left.0.cmp(&right.0));
    crate::topology::value_json::table_to_json(&sorted).to_string().into()
}

/// Where a binding leads, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingTarget {
    /// A queue or stream that exists.
    Queue(QueueId),
    /// An exchange, by name.
    Exchange(Name),
}

/// A compiled binding.
pub struct Binding {
    /// As stated.
    pub definition: BindingDefinition,
    /// Written to the log.
    pub durable: bool,
    /// Where it leads.
    pub target: BindingTarget,
    /// Predicate and transformation.
    pub(crate) behaviour: Behaviour,
    /// For a headers exchange.
    pub(crate) headers: Option<HeaderMatch>,
}
