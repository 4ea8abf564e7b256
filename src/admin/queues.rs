//! Queues and streams: listed, declared, deleted, purged.

use super::arguments;
use super::bindings;
use super::request::{
    Answer, Outcome, Refusal, Request, bad_request, missing, not_allowed, not_authorised, not_found,
};
use super::routes::{nothing_here, only};
use super::{AdminDoor, listing, overview::QueueTotals};
use crate::auth::rights::Access;
use crate::runtime::presence::Presence;
use engine::topology::{Queue, settings::QueueKind};
use hyper::Method;
use model::{
    Name,
    command::{Op, QueueStatus},
    definition::QueueDeclare,
    ids::{ConnectionId, QueueId},
    value::Value,
};
use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// `/api/queues...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    match path {
        [] => list(door, request, None).await,
        ["detailed"] => list(door, request, None).await,
        [vhost] => list(door, request, Some(vhost)).await,
        [vhost, name] => match request.method {
            Method::GET => show(door, request, vhost, name).await,
            Method::PUT => declare(door, request, vhost, name).await,
            Method::DELETE => delete(door, request, vhost, name).await,
            _ => Err(not_allowed()),
        },
        [vhost, name, "contents"] => {
            only(request, &Method::DELETE)?;
            let queue = find(door, request, vhost, name)?;
            request.check(&door.shared.users, Access::Read, ("queue", name), &queue.vhost)?;
            door.caller.op(&queue.vhost, Op::PurgeQueue(queue.name.clone())).await.map_err(refused)?;
            Ok(Answer::NoContent)
        }
        [vhost, name, "bindings"] => {
            only(request, &Method::GET)?;
            let queue = find(door, request, vhost, name)?;
            bindings::of_queue(door, request, &queue).await
        }
        _ => nothing_here(),
    }
}

/// A queue that the user may see. Errors: 401, 404.
pub(super) fn find(
    door: &AdminDoor,
    request: &Request,
    vhost: &str,
    name: &str,
) -> Result<Arc<Queue>, Refusal> {
    let topology = door.topology();
    let known = topology.vhost(vhost).ok_or_else(not_found)?;
    if !request.has_tag(&[]) {
        request.rights(&door.shared.users, known.name())?;
    }
    known.queue(name).cloned().ok_or_else(not_found)
}

/// The vhost of a path when the user may see into it. Errors: 401, 404.
pub(super) fn visible(door: &AdminDoor, request: &Request, vhost: &str) -> Result<Name, Refusal> {
    let topology = door.topology();
    let name = topology.vhost(vhost).ok_or_else(not_found)?.name().clone();
    if !request.has_tag(&[]) {
        request.rights(&door.shared.users, &name)?;
    }
    Ok(name)
}

/// The vhost of a path where the user wants to change something. Errors: 401, and 404 in RabbitMQ's words.
pub(super) fn entered(door: &AdminDoor, request: &Request, vhost: &str) -> Result<Name, Refusal> {
    let topology = door.topology();
    let name = topology.vhost(vhost).ok_or_else(|| missing("vhost_not_found"))?.name().clone();
    request.rights(&door.shared.users, &name)?;
    Ok(name)
}

/// What the broker refuses; the API hides why access is refused.
pub(super) fn refused(error: model::error::BrokerError) -> Refusal {
    match error.kind {
        model::error::ErrorKind::AccessRefused => not_authorised("Access refused."),
        _ => error.into(),
    }
}

async fn list(door: &AdminDoor, request: &Request, vhost: Option<&str>) -> Outcome {
    only(request, &Method::GET)?;
    let topology = door.topology();
    let queues: Vec<Arc<Queue>> = match vhost {
        Some(vhost) => topology.queues(&visible(door, request, vhost)?).cloned().collect(),
        None => {
            let seen = topology.vhosts().filter(|vhost| request.sees(&door.shared.users, vhost.name()));
            seen.flat_map(|vhost| vhost.queues().cloned()).collect()
        }
    };
    listing::answer(
        request,
        queues,
        |queue| &queue.name,
        async |queues| {
            let ids: Vec<QueueId> = queues.iter().map(|queue| queue.id).collect();
            let statuses = statuses(door, &ids).await;
            let owners = owners(door, &queues);
            let default = QueueStatus::default();
            let show = |queue: &Arc<Queue>| {
                let status = statuses.get(&queue.id).unwrap_or(&default);
                let owner = queue.owner.and_then(|owner| owners.get(&owner));
                to_json(door, queue, status, owner.map(|presence| &**presence))
            };
            queues.iter().map(show).collect()
        },
    )
    .await
}

/// Who owns the exclusive ones among `queues`.
fn owners(door: &AdminDoor, queues: &[Arc<Queue>]) -> FxHashMap<ConnectionId, Arc<Presence>> {
    if queues.iter().all(|queue| queue.owner.is_none()) {
        return FxHashMap::default();
    }
    door.shared.presences().into_iter().map(|presence| (presence.connection, presence)).collect()
}

/// States by queue.
pub(super) async fn statuses(door: &AdminDoor, ids: &[QueueId]) -> FxHashMap<QueueId, QueueStatus> {
    let statuses = door.caller.statuses(ids).await;
    statuses.into_iter().map(|status| (status.queue, status)).collect()
}

async fn show(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Outcome {
    let queue = find(door, request, vhost, name)?;
    let status = statuses(door, &[queue.id]).await.remove(&queue.id).unwrap_or_default();
    let owners = owners(door, std::slice::from_ref(&queue));
    let owner = queue.owner.and_then(|owner| owners.get(&owner));
    let mut json = to_json(door, &queue, &status, owner.map(|presence| &**presence));
    if let Json::Object(object) = &mut json {
        let consumers = super::connections::consumers_of(door, Some(queue.id)).await;
        object.insert("consumer_details".to_owned(), consumers.into_iter().map(|(_, json)| json).collect());
        object.insert("deliveries".to_owned(), json!([]));
        object.insert("incoming".to_owned(), json!([]));
    }
    Ok(Answer::Json(listing::columns(request, json)))
}

/// RabbitMQ's word for a kind.
pub(super) fn kind_word(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
        QueueKind::Stream => "stream",
    }
}

fn to_json(door: &AdminDoor, queue: &Queue, status: &QueueStatus, owner: Option<&Presence>) -> Json {
    let applied = queue.applied();
    let mut json = json!({
        "name": &*queue.name,
        "vhost": &*queue.vhost,
        "node": door.node,
        "type": kind_word(queue.settings.kind),
        "durable": queue.declare.durable,
        "auto_delete": queue.declare.auto_delete,
        "exclusive": queue.owner.is_some(),
        "arguments": arguments::to_json(&queue.declare.arguments),
        "policy": applied.and_then(|applied| applied.policy.as_deref()),
        "operator_policy": applied.and_then(|applied| applied.operator.as_deref()),
        "effective_policy_definition":
            applied.map_or_else(|| json!({}), |applied| arguments::to_json(&applied.definition)),
        "state": "running",
        "consumers": status.consumers,
        "memory": status.bytes,
        "messages_delayed": status.delayed,
        "leader": door.node,
        "members": [door.node],
        "online": [door.node],
    });
    let totals = match queue.settings.kind {
        // A stream's messages are those that are kept.
        QueueKind::Stream => {
            let (first, next) = status.offsets;
            QueueTotals { ready: next.saturating_sub(first), ..QueueTotals::of([status]) }
        }
        _ => QueueTotals::of([status]),
    };
    if let (Json::Object(json), Json::Object(totals)) = (&mut json, totals.to_json()) {
        json.extend(totals);
        if queue.settings.single_active_consumer {
            json.insert("single_active_consumer_tag".to_owned(), Json::Null);
        }
        if let Some(owner) = owner {
            let details = super::connections::peer(owner);
            json.insert("owner_pid_details".to_owned(), details);
        }
    }
    json
}

/// A declaration as a request or a definition file states it.
pub(super) fn declaration(name: &str, body: &super::request::Members<'_>) -> Result<QueueDeclare, Refusal> {
    let mut table = arguments::from_json(body.get("arguments").unwrap_or(&Json::Null))?;
    if let Some(kind) = body.text("type")?.filter(|kind| *kind != "classic")
        && table.get("x-queue-type").is_none()
    {
        table.set("x-queue-type", Value::str(kind));
    }
    Ok(QueueDeclare {
        name: name.into(),
        durable: body.flag("durable")?.unwrap_or(false),
        auto_delete: body.flag("auto_delete")?.unwrap_or(false),
        arguments: table,
        ..QueueDeclare::default()
    })
}

async fn declare(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Outcome {
    let vhost = entered(door, request, vhost)?;
    let declare = declaration(name, &request.members()?)?;
    if name.len() > model::limits::NAME_BYTES_MAX {
        return Err(bad_request("queue name is longer than 255 bytes"));
    }
    let users = &door.shared.users;
    request.check(users, Access::Configure, ("queue", name), &vhost).map_err(hidden)?;
    let existed = door.topology().queue(&vhost, name).is_some();
    door.caller.op(&vhost, Op::DeclareQueue(declare)).await.map_err(refused)?;
    Ok(if existed { Answer::NoContent } else { Answer::Created })
}

/// A refusal of access without its text.
pub(super) fn hidden(refusal: Refusal) -> Refusal {
    let own = refusal.reason.as_str().is_some_and(|text| text.contains(" access to "));
    if own { not_authorised("Access refused.") } else { refusal }
}

async fn delete(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Outcome {
    let queue = find(door, request, vhost, name)?;
    let vhost = entered(door, request, &queue.vhost)?;
    request.check(&door.shared.users, Access::Configure, ("queue", name), &vhost).map_err(hidden)?;
    let op = Op::DeleteQueue {
        name: queue.name.clone(),
        if_unused: request.flag("if-unused"),
        if_empty: request.flag("if-empty"),
    };
    door.caller.op(&vhost, op).await.map_err(refused)?;
    Ok(Answer::NoContent)
}
