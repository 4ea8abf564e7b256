//! Exchanges: listed, declared, deleted.

use super::request::{Answer, Members, Outcome, Refusal, Request, not_allowed, not_found};
use super::routes::{nothing_here, only};
use super::{AdminDoor, arguments, bindings, listing, queues};
use crate::auth::rights::Access;
use engine::exchange::Exchange;
use hyper::Method;
use model::{Name, command::Op, definition::ExchangeDeclare};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// How the API calls the exchange without a name in a path.
const DEFAULT: &str = "amq.default";

/// An exchange's name as a path has it.
pub(super) fn named(segment: &str) -> &str {
    if segment == DEFAULT { "" } else { segment }
}

/// `/api/exchanges...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    match path {
        [] => list(door, request, None).await,
        [vhost] => list(door, request, Some(vhost)).await,
        [vhost, name] => match request.method {
            Method::GET => {
                let exchange = find(door, request, vhost, named(name))?;
                let mut json = to_json(&exchange);
                if let Json::Object(object) = &mut json {
                    object.insert("incoming".to_owned(), json!([]));
                    object.insert("outgoing".to_owned(), json!([]));
                }
                Ok(Answer::Json(listing::columns(request, json)))
            }
            Method::PUT => declare(door, request, vhost, name).await,
            Method::DELETE => delete(door, request, vhost, named(name)).await,
            _ => Err(not_allowed()),
        },
        [vhost, name, "bindings", end @ ("source" | "destination")] => {
            only(request, &Method::GET)?;
            let exchange = find(door, request, vhost, named(name))?;
            bindings::of_exchange(door, request, &exchange, *end == "source").await
        }
        _ => nothing_here(),
    }
}

fn find(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Result<Arc<Exchange>, Refusal> {
    let vhost = queues::visible(door, request, vhost)?;
    door.topology().exchange(&vhost, name).cloned().ok_or_else(not_found)
}

async fn list(door: &AdminDoor, request: &Request, vhost: Option<&str>) -> Outcome {
    only(request, &Method::GET)?;
    let topology = door.topology();
    let exchanges: Vec<Arc<Exchange>> = match vhost {
        Some(vhost) => topology.exchanges(&queues::visible(door, request, vhost)?).cloned().collect(),
        None => {
            let seen = topology.vhosts().filter(|vhost| request.sees(&door.shared.users, vhost.name()));
            seen.flat_map(|vhost| vhost.exchanges().cloned()).collect()
        }
    };
    let show = async |exchanges: Vec<Arc<Exchange>>| exchanges.iter().map(|one| to_json(one)).collect();
    listing::answer(request, exchanges, |exchange| &exchange.name, show).await
}

fn to_json(exchange: &Exchange) -> Json {
    let declare = &exchange.declare;
    let mut json = json!({
        "name": &*exchange.name,
        "vhost": &*exchange.vhost,
        "type": &*declare.kind,
        "durable": declare.durable,
        "auto_delete": declare.auto_delete,
        "internal": declare.internal,
        "arguments": arguments::to_json(&declare.arguments),
    });
    if let (Json::Object(object), Some(applied)) = (&mut json, exchange.applied()) {
        object.insert("policy".to_owned(), json!(applied.policy.as_deref()));
        object.insert("operator_policy".to_owned(), json!(applied.operator.as_deref()));
        object.insert("effective_policy_definition".to_owned(), arguments::to_json(&applied.definition));
    }
    json
}

/// A declaration as a request or a definition file states it; of type direct when it says none.
pub(super) fn declaration(name: &str, body: &Members<'_>) -> Result<ExchangeDeclare, Refusal> {
    Ok(ExchangeDeclare {
        name: name.into(),
        kind: body.text("type")?.unwrap_or("direct").into(),
        passive: false,
        durable: body.flag("durable")?.unwrap_or(false),
        auto_delete: body.flag("auto_delete")?.unwrap_or(false),
        internal: body.flag("internal")?.unwrap_or(false),
        arguments: arguments::from_json(body.get("arguments").unwrap_or(&Json::Null))?,
    })
}

async fn declare(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Outcome {
    let vhost = queues::entered(door, request, vhost)?;
    let declare = declaration(named(name), &request.members()?)?;
    let users = &door.shared.users;
    request.check(users, Access::Configure, ("exchange", &declare.name), &vhost).map_err(queues::hidden)?;
    let existed = door.topology().exchange(&vhost, &declare.name).is_some();
    door.caller.op(&vhost, Op::DeclareExchange(declare)).await.map_err(queues::refused)?;
    Ok(if existed { Answer::NoContent } else { Answer::Created })
}

async fn delete(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Outcome {
    let exchange = find(door, request, vhost, name)?;
    let vhost: Name = queues::entered(door, request, &exchange.vhost)?;
    let users = &door.shared.users;
    request.check(users, Access::Configure, ("exchange", name), &vhost).map_err(queues::hidden)?;
    let op = Op::DeleteExchange { name: exchange.name.clone(), if_unused: request.flag("if-unused") };
    door.caller.op(&vhost, op).await.map_err(queues::refused)?;
    Ok(Answer::NoContent)
}
