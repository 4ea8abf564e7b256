//! Definitions of durable things as the log keeps them: a key and a JSON object per kind.
//!
//! | kind | object |
//! |---|---|
//! | `vhost` | `name`, and where operators said something of it `description tags` |
//! | `exchange` | `vhost name kind auto_delete internal arguments` |
//! | `queue` | `vhost name id auto_delete arguments` |
//! | `binding` | `vhost source to name key arguments`, `to` is `queue` or `exchange` |
//! | `policy`, `operator-policy` | `vhost name pattern apply_to priority definition` |
//! | `queue-numbers` | `next`: queue numbers below it may be taken |

use super::{
    Description, Queue,
    policies::{ApplyTo, Policy},
    value_json::{table_from_json, table_to_json},
};
use crate::{
    binding::{Binding, BindingId},
    pattern::Pattern,
};
use bytes::Bytes;
use model::{
    Name,
    definition::{BindingDefinition, Destination, ExchangeDeclare, QueueDeclare},
    error::{BrokerError, ErrorKind},
    ids::QueueId,
    value::Table,
};
use serde_json::{Value as Json, json};

pub(crate) const VHOST: &str = "vhost";
pub(crate) const EXCHANGE: &str = "exchange";
pub(crate) const QUEUE: &str = "queue";
pub(crate) const BINDING: &str = "binding";
pub(crate) const POLICY: &str = "policy";
pub(crate) const OPERATOR_POLICY: &str = "operator-policy";
pub(crate) const NUMBERS: &str = "queue-numbers";

/// A definition for the log: kind, key, and its JSON.
pub(crate) struct Definition {
    pub(crate) kind: &'static str,
    pub(crate) key: Name,
    pub(crate) value: Bytes,
}

/// Names with their lengths before them, so that no two lists make one key.
fn key(names: &[&str]) -> Name {
    names.iter().map(|name| format!("{}:{name}", name.len())).collect::<String>().into()
}

fn definition(kind: &'static str, names: &[&str], value: &Json) -> Definition {
    Definition { kind, key: key(names), value: value.to_string().into() }
}

pub(crate) fn vhost(name: &str, description: &Description) -> Definition {
    let tags: Vec<&str> = description.tags.iter().map(|tag| &**tag).collect();
    let value = json!({ "name": name, "description": &*description.text, "tags": tags });
    definition(VHOST, &[name], &value)
}

pub(crate) fn numbers(next: u64) -> Definition {
    definition(NUMBERS, &[], &json!({ "next": next }))
}

pub(crate) fn exchange(vhost: &str, declare: &ExchangeDeclare) -> Definition {
    let value = json!({
        "vhost": vhost,
        "name": &*declare.name,
        "kind": &*declare.kind,
        "auto_delete": declare.auto_delete,
        "internal": declare.internal,
        "arguments": table_to_json(&declare.arguments),
    });
    definition(EXCHANGE, &[vhost, &declare.name], &value)
}

pub(crate) fn queue(queue: &Queue) -> Definition {
    let value = json!({
        "vhost": &*queue.vhost,
        "name": &*queue.name,
        "id": queue.id.0,
        "auto_delete": queue.declare.auto_delete,
        "arguments": table_to_json(&queue.declare.arguments),
    });
    definition(QUEUE, &[&queue.vhost, &queue.name], &value)
}

pub(crate) fn binding(vhost: &str, binding: &Binding) -> Definition {
    let of = &binding.definition;
    let (to, name) = match &of.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    let value = json!({
        "vhost": vhost,
        "source": &*of.source,
        "to": to,
        "name": &**name,
        "key": &*of.key,
        "arguments": table_to_json(&of.arguments),
    });
    let arguments = BindingId::of(of).arguments;
    definition(BINDING, &[vhost, &of.source, to, name, &of.key, &arguments], &value)
}

pub(crate) fn policy(vhost: &str, operator: bool, policy: &Policy) -> Definition {
    let value = json!({
        "vhost": vhost,
        "name": &*policy.name,
        "pattern": policy.pattern.as_str(),
        "apply_to": policy.apply_to.as_str(),
        "priority": policy.priority,
        "definition": table_to_json(&policy.definition),
    });
    definition(if operator { OPERATOR_POLICY } else { POLICY }, &[vhost, &policy.name], &value)
}

/// A definition from the log, to be read member by member.
pub(crate) struct Stored {
    json: Json,
    kind: Name,
    key: Name,
}

impl Stored {
    pub(crate) fn parse(kind: &Name, key: &Name, value: &[u8]) -> Result<Self, BrokerError> {
        let stored = |json| Self { json, kind: kind.clone(), key: key.clone() };
        serde_json::from_slice(value).map(stored).map_err(|error| malformed(kind, key, &error.to_string()))
    }

    fn member(&self, name: &str) -> Result<&Json, BrokerError> {
        self.json.get(name).ok_or_else(|| self.wrong(name))
    }

    fn wrong(&self, member: &str) -> BrokerError {
        malformed(&self.kind, &self.key, &format!("member '{member}' is missing or of another type"))
    }

    pub(crate) fn name(&self, member: &str) -> Result<Name, BrokerError> {
        self.member(member)?.as_str().map(Name::from).ok_or_else(|| self.wrong(member))
    }

    pub(crate) fn number(&self, member: &str) -> Result<u64, BrokerError> {
        self.member(member)?.as_u64().ok_or_else(|| self.wrong(member))
    }

    fn flag(&self, member: &str) -> Result<bool, BrokerError> {
        self.member(member)?.as_bool().ok_or_else(|| self.wrong(member))
    }

    fn table(&self, member: &str) -> Result<Table, BrokerError> {
        table_from_json(self.member(member)?).map_err(|reason| malformed(&self.kind, &self.key, reason))
    }

    pub(crate) fn exchange(&self) -> Result<ExchangeDeclare, BrokerError> {
        Ok(ExchangeDeclare {
            name: self.name("name")?,
            kind: self.name("kind")?,
            passive: false,
            durable: true,
            auto_delete: self.flag("auto_delete")?,
            internal: self.flag("internal")?,
            arguments: self.table("arguments")?,
        })
    }

    pub(crate) fn queue(&self) -> Result<(QueueId, QueueDeclare), BrokerError> {
        let declare = QueueDeclare {
            name: self.name("name")?,
            durable: true,
            auto_delete: self.flag("auto_delete")?,
            arguments: self.table("arguments")?,
            ..QueueDeclare::default()
        };
        Ok((QueueId(self.number("id")?), declare))
    }

    pub(crate) fn description(&self) -> Description {
        let text = |json: &Json| json.as_str().map(Name::from);
        let tags = self.json.get("tags").and_then(Json::as_array).into_iter().flatten();
        Description {
            text: self.json.get("description").and_then(text).unwrap_or_default(),
            tags: tags.filter_map(text).collect(),
        }
    }

    pub(crate) fn policy(&self) -> Result<Policy, BrokerError> {
        let pattern = Pattern::compile(&self.name("pattern")?);
        Ok(Policy {
            name: self.name("name")?,
            pattern: pattern.map_err(|reason| malformed(&self.kind, &self.key, &reason))?,
            apply_to: ApplyTo::parse(&self.name("apply_to")?).ok_or_else(|| self.wrong("apply_to"))?,
            priority: self.member("priority")?.as_i64().ok_or_else(|| self.wrong("priority"))?,
            definition: self.table("definition")?,
        })
    }

    pub(crate) fn binding(&self) -> Result<BindingDefinition, BrokerError> {
        let destination = match &*self.name("to")? {
            "queue" => Destination::Queue(self.name("name")?),
            "exchange" => Destination::Exchange(self.name("name")?),
            _ => return Err(self.wrong("to")),
        };
        Ok(BindingDefinition {
            source: self.name("source")?,
            destination,
            key: self.name("key")?,
            arguments: self.table("arguments")?,
        })
    }
}

fn malformed(kind: &str, key: &str, reason: &str) -> BrokerError {
    BrokerError::new(ErrorKind::Internal, format!("stored {kind} {key} can not be read: {reason}"))
}
