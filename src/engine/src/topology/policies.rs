//! Policies: settings that operators lay over queues and exchanges by the pattern of their names.
//!
//! Of each of two sorts, policies and operator policies, the one of highest priority that fits applies. Together with a
//! queue's own arguments: of numbers and ages the lowest counts; of everything else the argument before the policy, and
//! nothing of it may be in an operator policy. What a queue's kind has no use for is passed over.

use super::{
    Queue, Vhost, policy,
    settings::{QueueKind, QueueSettings},
};
use crate::{exchange::Exchange, pattern::Pattern};
use model::{
    Name,
    definition::QueueDeclare,
    error::{BrokerError, ErrorKind},
    value::{Table, Value},
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most policies of one sort in one vhost.
pub const POLICIES_MAX: usize = 1024;

/// Which things a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues, streams and exchanges.
    #[default]
    All,
    /// Queues and streams.
    Queues,
    /// Exchanges.
    Exchanges,
    /// Queues of type classic.
    ClassicQueues,
    /// Queues of type quorum.
    QuorumQueues,
    /// Streams.
    Streams,
}

const APPLY_TO: [(ApplyTo, &str); 6] = [
    (ApplyTo::All, "all"),
    (ApplyTo::Queues, "queues"),
    (ApplyTo::Exchanges, "exchanges"),
    (ApplyTo::ClassicQueues, "classic_queues"),
    (ApplyTo::QuorumQueues, "quorum_queues"),
    (ApplyTo::Streams, "streams"),
];

impl ApplyTo {
    /// RabbitMQ's word.
    pub fn as_str(self) -> &'static str {
        APPLY_TO.iter().find(|(one, _)| *one == self).map_or("all", |(_, word)| word)
    }

    /// By RabbitMQ's word.
    pub fn parse(word: &str) -> Option<Self> {
        APPLY_TO.iter().find(|(_, known)| *known == word).map(|(one, _)| *one)
    }

    fn fits_queue(self, kind: QueueKind) -> bool {
        match self {
            ApplyTo::All | ApplyTo::Queues => true,
            ApplyTo::Exchanges => false,
            ApplyTo::ClassicQueues => kind == QueueKind::Classic,
            ApplyTo::QuorumQueues => kind == QueueKind::Quorum,
            ApplyTo::Streams => kind == QueueKind::Stream,
        }
    }

    fn fits_exchanges(self) -> bool {
        matches!(self, ApplyTo::All | ApplyTo::Exchanges)
    }
}

/// What a policy's value must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A whole number from this one on.
    Number(i64),
    /// Text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Number and unit.
    Age,
    /// Anything: about mirrors, which there are none of.
    Ignored,
}

/// A key of definitions.
struct Key {
    name: &'static str,
    kind: Kind,
    /// How RabbitMQ calls it when it is wrong.
    title: &'static str,
    /// May stand in an operator policy.
    operator: bool,
}

const fn key(name: &'static str, kind: Kind, title: &'static str, operator: bool) -> Key {
    Key { name, kind, title, operator }
}

const OVERFLOW: &[&str] = &["drop-head", "reject-publish", "reject-publish-dlx"];

const KEYS: [Key; 25] = [
    key("message-ttl", Kind::Number(0), "message TTL", true),
    key("expires", Kind::Number(1), "queue expiry", true),
    key("max-length", Kind::Number(0), "maximum length", true),
    key("max-length-bytes", Kind::Number(0), "maximum length in bytes", true),
    key("max-in-memory-length", Kind::Number(0), "maximum memory in bytes", true),
    key("max-in-memory-bytes", Kind::Number(0), "maximum memory in bytes", true),
    key("delivery-limit", Kind::Number(0), "delivery limit", true),
    key("overflow", Kind::Word(OVERFLOW), "overflow value", true),
    key("dead-letter-exchange", Kind::Text, "dead letter exchange name", false),
    key("dead-letter-routing-key", Kind::Text, "dead letter routing key", false),
    key(
        "dead-letter-strategy",
        Kind::Word(&["at-most-once", "at-least-once"]),
        "dead letter strategy",
        false,
    ),
    key("alternate-exchange", Kind::Text, "alternate exchange name", false),
    key("max-age", Kind::Age, "max age", false),
    key("stream-max-segment-size-bytes", Kind::Number(0), "segment size", false),
    key("queue-mode", Kind::Word(&["default", "lazy"]), "queue-mode value", false),
    key("queue-version", Kind::Number(1), "queue version", false),
    key("queue-leader-locator", Kind::Text, "queue leader locator value", false),
    key("queue-master-locator", Kind::Text, "queue master locator value", false),
    key("consumer-timeout", Kind::Number(0), "consumer timeout", false),
    key("ha-mode", Kind::Ignored, "ha-mode", true),
    key("ha-params", Kind::Ignored, "ha-params", true),
    key("ha-sync-mode", Kind::Ignored, "ha-sync-mode", true),
    key("ha-sync-batch-size", Kind::Ignored, "ha-sync-batch-size", false),
    key("ha-promote-on-shutdown", Kind::Ignored, "ha-promote-on-shutdown", false),
    key("ha-promote-on-failure", Kind::Ignored, "ha-promote-on-failure", false),
];

/// A policy or an operator policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Name, unique among those of its sort in its vhost.
    pub name: Name,
    /// Which names it is for.
    pub pattern: Pattern,
    /// Which things.
    pub apply_to: ApplyTo,
    /// The highest that fits counts.
    pub priority: i64,
    /// What it sets.
    pub definition: Table,
}

impl Policy {
    /// Errors: `InvalidArgument` with RabbitMQ's sentence about the first thing that is wrong.
    pub fn check(&self, operator: bool) -> Result<(), BrokerError> {
        let invalid = |text: String| BrokerError::new(ErrorKind::InvalidArgument, text);
        if self.definition.is_empty() {
            return Err(invalid("no policy provided".to_owned()));
        }
        for (name, value) in self.definition.iter() {
            let known = KEYS.iter().find(|key| *key.name == **name && (key.operator || !operator));
            let Some(key) = known else {
                let text =
                    format!("[{{<<\"{name}\">>,{}}}] are not recognised policy settings", erlang(value));
                return Err(invalid(text));
            };
            if !is_valid(key, value) {
                return Err(invalid(format!("{} is not a valid {}", erlang(value), key.title)));
            }
        }
        Ok(())
    }
}

fn is_valid(key: &Key, value: &Value) -> bool {
    match key.kind {
        Kind::Number(least) => value
            .as_i64()
            .is_some_and(|number| number >= least || (key.name == "delivery-limit" && number == -1)),
        Kind::Text => value.as_str().is_some(),
        Kind::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Kind::Age => value.as_str().is_some_and(|text| policy::age_ms(text).is_some()),
        Kind::Ignored => true,
    }
}

/// A value as RabbitMQ's texts show it.
fn erlang(value: &Value) -> String {
    match value {
        Value::Str(text) => format!("<<\"{text}\">>"),
        other => policy::shown(other),
    }
}

/// The policies of one vhost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    sorts: [BTreeMap<Name, Arc<Policy>>; 2],
}

impl Policies {
    /// Policies or operator policies, by name.
    pub fn of(&self, operator: bool) -> &BTreeMap<Name, Arc<Policy>> {
        let [user, own] = &self.sorts;
        if operator { own } else { user }
    }

    pub(crate) fn of_mut(&mut self, operator: bool) -> &mut BTreeMap<Name, Arc<Policy>> {
        let [user, own] = &mut self.sorts;
        if operator { own } else { user }
    }

    /// The one of highest priority that fits; among equals the first by name.
    fn best(&self, operator: bool, name: &str, fits: impl Fn(ApplyTo) -> bool) -> Option<&Arc<Policy>> {
        let fitting = self.of(operator).values();
        let fitting = fitting.filter(|policy| fits(policy.apply_to) && policy.pattern.matches(name));
        fitting.reduce(|best, next| if next.priority > best.priority { next } else { best })
    }

    fn applied(&self, name: &str, fits: impl Fn(ApplyTo) -> bool) -> Option<Arc<Applied>> {
        let policy = self.best(false, name, &fits);
        let operator = self.best(true, name, &fits);
        if policy.is_none() && operator.is_none() {
            return None;
        }
        let mut definition = policy.map(|policy| policy.definition.clone()).unwrap_or_default();
        for (key, value) in operator.iter().flat_map(|policy| policy.definition.iter()) {
            let lower = definition.get(key).map_or(value, |own| lower(own, value));
            let lower = lower.clone();
            definition.set(key, lower);
        }
        let name = |policy: Option<&Arc<Policy>>| policy.map(|policy| policy.name.clone());
        Some(Arc::new(Applied { policy: name(policy), operator: name(operator), definition }))
    }

    pub(crate) fn for_queue(&self, name: &str, kind: QueueKind) -> Option<Arc<Applied>> {
        self.applied(name, |apply_to| apply_to.fits_queue(kind))
    }

    pub(crate) fn for_exchange(&self, name: &str) -> Option<Arc<Applied>> {
        self.applied(name, ApplyTo::fits_exchanges)
    }
}

/// What applies to one queue or exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The policy.
    pub policy: Option<Name>,
    /// The operator policy.
    pub operator: Option<Name>,
    /// Both, merged.
    pub definition: Table,
}

/// Of two numbers or two ages the lower; of other things the second.
fn lower<'a>(own: &'a Value, other: &'a Value) -> &'a Value {
    let rank = |value: &Value| {
        let number = value.as_i64().and_then(|number| u64::try_from(number).ok());
        number.or_else(|| policy::age_ms(value.as_str()?))
    };
    match (rank(own), rank(other)) {
        (Some(own_rank), Some(rank)) if own_rank <= rank => own,
        _ => other,
    }
}

/// A queue's settings under what applies to it.
/// Errors: `InvalidArgument` in RabbitMQ's words when the arguments are wrong; a policy's part never makes them so.
pub(crate) fn settings(
    vhost: &str,
    declare: &QueueDeclare,
    applied: Option<&Applied>,
) -> Result<QueueSettings, BrokerError> {
    let own = policy::settings(vhost, declare)?;
    let Some(applied) = applied else { return Ok(own) };
    let mut under = declare.clone();
    for (key, value) in applied.definition.iter() {
        let argument = format!("x-{key}");
        if !KEYS.iter().any(|known| *known.name == **key && known.kind != Kind::Ignored)
            || !policy::suits(&argument, own.kind)
        {
            continue;
        }
        let merged = match under.arguments.get(&argument) {
            None => value.clone(),
            Some(given) if value.as_str().is_none() || key == "max-age" => lower(given, value).clone(),
            Some(given) => given.clone(),
        };
        under.arguments.set(&argument, merged);
    }
    if under.arguments.get("x-dead-letter-exchange").is_none() {
        under.arguments.remove("x-dead-letter-routing-key");
    }
    Ok(policy::settings(vhost, &under).unwrap_or(own))
}

/// An exchange's alternate under what applies to it: its own argument comes first.
pub(crate) fn alternate(own: Option<Name>, applied: Option<&Applied>) -> Option<Name> {
    own.or_else(|| applied?.definition.str("alternate-exchange").map(Name::from))
}

impl Vhost {
    /// Its policies and operator policies.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }
}

impl Queue {
    /// The policies that apply to it.
    pub fn applied(&self) -> Option<&Applied> {
        self.applied.as_deref()
    }
}

impl Exchange {
    /// The policies that apply to it.
    pub fn applied(&self) -> Option<&Applied> {
        self.applied.as_deref()
    }
}
