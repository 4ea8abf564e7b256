//! Bindings: listed from every side, made, deleted by their properties key.
//!
//! A properties key is the routing key, escaped, and for arguments `~` and a hash of them; `~` alone stands for no key and
//! no arguments. The hash is this broker's own: keys come from its listings.

use super::exchanges::named;
use super::request::{Answer, Members, Outcome, Refusal, Request, decode, not_allowed, not_found};
use super::routes::{nothing_here, only};
use super::{AdminDoor, arguments, listing, queues};
use crate::auth::rights::Access;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use engine::exchange::{Exchange, ExchangeKind};
use engine::topology::{Queue, Topology, Vhost};
use hyper::Method;
use model::{
    Name,
    command::Op,
    definition::{BindingDefinition, Destination},
    value::Table,
};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// One binding with its vhost.
type Found = (Name, BindingDefinition);

/// `/api/bindings...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    match path {
        [] => {
            only(request, &Method::GET)?;
            let topology = door.topology();
            let seen = topology.vhosts().filter(|vhost| request.sees(&door.shared.users, vhost.name()));
            list(request, seen.flat_map(|vhost| all(vhost)).collect()).await
        }
        [vhost] => {
            only(request, &Method::GET)?;
            let vhost = queues::visible(door, request, vhost)?;
            list(request, door.topology().vhost(&vhost).map(|vhost| all(vhost)).unwrap_or_default()).await
        }
        [vhost, "e", source, kind @ ("q" | "e"), destination] => {
            let ends = (named(source), destination_of(kind, destination));
            match request.method {
                Method::GET => {
                    let vhost = queues::visible(door, request, vhost)?;
                    list(request, between(&door.topology(), &vhost, ends)).await
                }
                Method::POST => bind(door, request, vhost, ends).await,
                _ => Err(not_allowed()),
            }
        }
        [vhost, "e", source, kind @ ("q" | "e"), destination, key] => {
            let ends = (named(source), destination_of(kind, destination));
            let vhost = queues::visible(door, request, vhost)?;
            let found = between(&door.topology(), &vhost, ends);
            // Keys are escaped once more than the path is; some tools send them as they are listed.
            let same = |binding: &Found| {
                let own = properties_key(&binding.1);
                own == *key || decode(&own, false).is_ok_and(|own| own == *key)
            };
            let binding = found.into_iter().find(same).ok_or_else(not_found)?;
            match request.method {
                Method::GET => Ok(Answer::Json(listing::columns(request, to_json(&binding)))),
                Method::DELETE => {
                    let vhost = queues::entered(door, request, &vhost)?;
                    check(door, request, &vhost, &binding.1)?;
                    door.caller.op(&vhost, Op::Unbind(binding.1)).await.map_err(queues::refused)?;
                    Ok(Answer::NoContent)
                }
                _ => Err(not_allowed()),
            }
        }
        _ => nothing_here(),
    }
}

fn destination_of(kind: &str, name: &str) -> Destination {
    if kind == "q" { Destination::Queue(name.into()) } else { Destination::Exchange(named(name).into()) }
}

/// The binding that the default exchange has to every queue.
fn implied(queue: &Queue) -> Found {
    let definition = BindingDefinition {
        source: Name::new(),
        destination: Destination::Queue(queue.name.clone()),
        key: queue.name.clone(),
        arguments: Table::new(),
    };
    (queue.vhost.clone(), definition)
}

/// All bindings of a vhost, the implied ones first.
pub(super) fn all(vhost: &Vhost) -> Vec<Found> {
    let made = vhost.bindings().map(|binding| (vhost.name().clone(), binding.definition.clone()));
    vhost.queues().map(|queue| implied(queue)).chain(made).collect()
}

fn to(vhost: &Vhost, destination: &Destination) -> Vec<Found> {
    let first = match destination {
        Destination::Queue(name) => vhost.queue(name).map(|queue| implied(queue)),
        Destination::Exchange(_) => None,
    };
    let made =
        vhost.bindings_to(destination).map(|binding| (vhost.name().clone(), binding.definition.clone()));
    first.into_iter().chain(made).collect()
}

fn between(topology: &Topology, vhost: &str, (source, destination): (&str, Destination)) -> Vec<Found> {
    let Some(vhost) = topology.vhost(vhost) else { return Vec::new() };
    to(vhost, &destination).into_iter().filter(|(_, binding)| &*binding.source == source).collect()
}

/// Bindings to a queue.
pub(super) async fn of_queue(door: &AdminDoor, request: &Request, queue: &Queue) -> Outcome {
    let topology = door.topology();
    let vhost = topology.vhost(&queue.vhost).ok_or_else(not_found)?;
    list(request, to(vhost, &Destination::Queue(queue.name.clone()))).await
}

/// Bindings from an exchange, or to it.
pub(super) async fn of_exchange(
    door: &AdminDoor,
    request: &Request,
    exchange: &Exchange,
    from: bool,
) -> Outcome {
    let topology = door.topology();
    let vhost = topology.vhost(&exchange.vhost).ok_or_else(not_found)?;
    let found = match (from, exchange.kind) {
        (false, _) => to(vhost, &Destination::Exchange(exchange.name.clone())),
        (true, ExchangeKind::Default) => vhost.queues().map(|queue| implied(queue)).collect(),
        (true, _) => {
            exchange.bindings().map(|one| (exchange.vhost.clone(), one.definition.clone())).collect()
        }
    };
    list(request, found).await
}

async fn list(request: &Request, found: Vec<Found>) -> Outcome {
    let show = async |found: Vec<Found>| found.iter().map(to_json).collect();
    listing::answer(request, found, |(_, binding)| &binding.source, show).await
}

fn ends(destination: &Destination) -> (&'static str, &Name) {
    match destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    }
}

fn to_json((vhost, binding): &Found) -> Json {
    let (kind, destination) = ends(&binding.destination);
    json!({
        "source": &*binding.source,
        "vhost": &**vhost,
        "destination": &**destination,
        "destination_type": kind,
        "routing_key": &*binding.key,
        "arguments": arguments::to_json(&binding.arguments),
        "properties_key": properties_key(binding),
    })
}

/// What tells bindings of the same two ends apart.
fn properties_key(binding: &BindingDefinition) -> String {
    let key = escape(&binding.key);
    match (key.is_empty(), binding.arguments.is_empty()) {
        (true, true) => "~".to_owned(),
        (false, true) => key,
        (_, false) => {
            let mut members: Vec<String> =
                binding.arguments.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            members.sort_unstable();
            // FNV-1a, 32 bits.
            let hash = members
                .join("\0")
                .bytes()
                .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
            format!("{key}~{}", BASE64.encode(hash.to_be_bytes()))
        }
    }
}

/// Percent-escapes all but letters, digits, `-`, `_` and `.`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A binding's key and arguments as a request or a definition file states them.
pub(super) fn definition(
    (source, destination): (&str, Destination),
    body: &Members<'_>,
) -> Result<BindingDefinition, Refusal> {
    Ok(BindingDefinition {
        source: source.into(),
        destination,
        key: body.text("routing_key")?.unwrap_or_default().into(),
        arguments: arguments::from_json(body.get("arguments").unwrap_or(&Json::Null))?,
    })
}

fn check(
    door: &AdminDoor,
    request: &Request,
    vhost: &Name,
    binding: &BindingDefinition,
) -> Result<(), Refusal> {
    let users = &door.shared.users;
    let (kind, destination) = ends(&binding.destination);
    request.check(users, Access::Write, (kind, destination), vhost).map_err(queues::hidden)?;
    request.check(users, Access::Read, ("exchange", &binding.source), vhost).map_err(queues::hidden)
}

async fn bind(door: &AdminDoor, request: &Request, vhost: &str, ends_of: (&str, Destination)) -> Outcome {
    let vhost = queues::entered(door, request, vhost)?;
    let binding = definition(ends_of, &request.members()?)?;
    check(door, request, &vhost, &binding)?;
    let location = format!("{}/{}", escape(ends(&binding.destination).1), escape(&properties_key(&binding)));
    // `~` is what it says, not what it escapes.
    let location = location.replace("%7E", "~");
    door.caller.op(&vhost, Op::Bind(binding)).await.map_err(queues::refused)?;
    Ok(Answer::CreatedAt(location))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::value::Value;

    #[test]
    fn properties_keys_are_rabbitmqs() {
        let key = |key: &'static str, arguments| {
            properties_key(&BindingDefinition {
                source: "e".into(),
                destination: Destination::Queue("q".into()),
                key: key.into(),
                arguments,
            })
        };
        assert_eq!(key("", Table::new()), "~");
        assert_eq!(key("a.b", Table::new()), "a.b");
        assert_eq!(key("a~b/c", Table::new()), "a%7Eb%2Fc");
        let one = key("k", Table(vec![("x".into(), Value::I64(1))]));
        let other = key("k", Table(vec![("x".into(), Value::I64(2))]));
        assert!(one.starts_with("k~") && one.len() == 8 && one != other);
    }
}
