//! Virtual hosts: listed, made, deleted.

use super::request::{
    Answer, Members, Outcome, Refusal, Request, bad_request, missing, not_allowed, not_found,
};
use super::routes::{nothing_here, only};
use super::{AdminDoor, connections, listing, permissions, queues, users};
use crate::auth::account::permission_record;
use crate::auth::rights::Permission;
use crate::runtime::operator::Operation;
use engine::topology::{Description, Vhost};
use hyper::Method;
use model::{Name, command::Reply};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// `/api/vhosts...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    match path {
        [] => {
            only(request, &Method::GET)?;
            let topology = door.topology();
            let seen = topology.vhosts().filter(|vhost| request.sees(&door.shared.users, vhost.name()));
            let seen: Vec<Arc<Vhost>> = seen.cloned().collect();
            listing::answer(
                request,
                seen,
                |vhost| vhost.name(),
                async |seen| {
                    let mut shown = Vec::with_capacity(seen.len());
                    for vhost in seen {
                        shown.push(to_json(door, &vhost).await);
                    }
                    shown
                },
            )
            .await
        }
        [name] => match request.method {
            Method::GET => {
                let name = queues::visible(door, request, name)?;
                let topology = door.topology();
                let vhost = topology.vhost(&name).ok_or_else(not_found)?;
                Ok(Answer::Json(listing::columns(request, to_json(door, vhost).await)))
            }
            Method::PUT => put(door, request, name).await,
            Method::DELETE => delete(door, request, name).await,
            _ => Err(not_allowed()),
        },
        [name, "permissions"] => permissions::of_vhost(door, request, name),
        [name, "topic-permissions"] => permissions::topics_of_vhost(door, request, name),
        [name, "connections"] => {
            let vhost = queues::visible(door, request, name)?;
            connections::list(door, request, |entered| entered.vhost == vhost).await
        }
        [name, "channels"] => {
            let vhost = queues::visible(door, request, name)?;
            connections::channels(door, request, |entered| entered.vhost == vhost).await
        }
        _ => nothing_here(),
    }
}

async fn to_json(door: &AdminDoor, vhost: &Vhost) -> Json {
    let queues: Vec<_> = vhost.queues().map(|queue| queue.id).collect();
    let totals = super::overview::QueueTotals::of(&door.caller.statuses(&queues).await);
    let said = vhost.description();
    let description = match (&*said.text, &**vhost.name()) {
        ("", "/") => "Default virtual host",
        (text, _) => text,
    };
    let tags: Vec<&str> = said.tags.iter().map(|tag| &**tag).collect();
    let mut json = json!({
        "name": &**vhost.name(),
        "description": description,
        "tags": tags,
        "default_queue_type": "classic",
        "metadata": { "description": description, "tags": tags, "default_queue_type": "classic" },
        "tracing": false,
        "cluster_state": { &*door.node: "running" },
    });
    if let (Json::Object(json), Json::Object(totals)) = (&mut json, totals.to_json()) {
        json.extend(totals);
    }
    json
}

async fn put(door: &AdminDoor, request: &Request, name: &str) -> Outcome {
    request.check_administrator()?;
    let existed = make(door, &request.user.name, name, &request.members()?).await?;
    Ok(if existed { Answer::NoContent } else { Answer::Created })
}

/// What a request or a definition file says of a vhost; `None` when nothing.
/// Errors: 400 for a default queue type other than classic, and for tracing, which there is none of.
fn stated(body: &Members<'_>) -> Result<Option<Description>, Refusal> {
    if body.flag("tracing")? == Some(true) {
        return Err(bad_request("tracing is not supported by this broker"));
    }
    if body.text("default_queue_type")?.is_some_and(|kind| !["classic", "undefined", ""].contains(&kind)) {
        return Err(bad_request("only the default queue type classic is supported by this broker"));
    }
    let tags = body.get("tags").map(users::tags).transpose()?;
    let text = body.text("description")?;
    if text.is_none() && tags.is_none() {
        return Ok(None);
    }
    let tags = tags.unwrap_or_default().into_iter().map(Name::from).collect();
    Ok(Some(Description { text: text.unwrap_or_default().into(), tags }))
}

/// Makes a vhost whose maker may do everything in it; true when it was there. Errors: what the broker says.
pub(super) async fn make(
    door: &AdminDoor,
    maker: &Name,
    name: &str,
    body: &Members<'_>,
) -> Result<bool, Refusal> {
    let vhost = Name::from(name);
    if name.is_empty() || name.len() > model::limits::NAME_BYTES_MAX || name.starts_with("aws:") {
        return Err(bad_request("a vhost's name has 1 to 255 bytes and does not begin with 'aws:'"));
    }
    let reply = door.caller.operate(&vhost, Operation::PutVhost(stated(body)?)).await?;
    let existed = matches!(reply, Reply::Existed(true));
    if !existed
        && door.shared.users.rights(maker, &vhost).is_none()
        && let Ok(everything) = Permission::compile(".*", ".*", ".*")
    {
        let record = permission_record(maker, &vhost, Some(&everything));
        let key = (maker.clone(), vhost.clone());
        let change = Box::new(move |stored: &mut crate::auth::account::Stored| {
            stored.permissions.insert(key, everything);
        });
        door.caller.operate(&vhost, Operation::Users { change, records: vec![record], gone: None }).await?;
    }
    Ok(existed)
}

async fn delete(door: &AdminDoor, request: &Request, name: &str) -> Outcome {
    request.check_administrator()?;
    let vhost = Name::from(name);
    if door.topology().vhost(name).is_none() {
        return Err(not_found());
    }
    door.caller.operate(&vhost, Operation::DeleteVhost).await?;
    permissions::forget(door, |_, of| *of == vhost).await?;
    Ok(Answer::NoContent)
}

/// The vhost of a path. Errors: 404 in RabbitMQ's words.
pub(super) fn known(door: &AdminDoor, name: &str) -> Result<Name, Refusal> {
    let topology = door.topology();
    topology.vhost(name).map(|vhost| vhost.name().clone()).ok_or_else(|| missing("vhost_not_found"))
}
