//! Policies and operator policies.

use super::request::{Answer, Members, Outcome, Refusal, Request, bad_request, not_allowed, not_found};
use super::routes::{nothing_here, only};
use super::{AdminDoor, arguments, listing, queues, vhosts};
use crate::runtime::operator::Operation;
use engine::pattern::Pattern;
use engine::topology::policies::{ApplyTo, Policy};
use hyper::Method;
use model::{
    Name,
    command::Reply,
    error::{BrokerError, ErrorKind},
};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// One policy with its vhost.
type Found = (Name, Arc<Policy>);

/// `/api/policies...` and `/api/operator-policies...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, operator: bool, path: &[&str]) -> Outcome {
    match path {
        [] => {
            only(request, &Method::GET)?;
            list(request, all(door, request, operator)).await
        }
        [vhost] => {
            only(request, &Method::GET)?;
            let vhost = queues::visible(door, request, vhost)?;
            let found = all(door, request, operator).into_iter().filter(|(of, _)| *of == vhost);
            list(request, found.collect()).await
        }
        [vhost, name] => {
            if request.method == Method::PUT {
                return put(door, request, operator, vhost, name).await;
            }
            let vhost = queues::visible(door, request, vhost)?;
            let topology = door.topology();
            let policies = topology.vhost(&vhost).ok_or_else(not_found)?.policies().of(operator);
            let policy = policies.get(*name).ok_or_else(not_found)?;
            match request.method {
                Method::GET => {
                    let json = to_json(&(vhost.clone(), policy.clone()));
                    Ok(Answer::Json(listing::columns(request, json)))
                }
                Method::DELETE => {
                    check(request, operator)?;
                    let operation = Operation::DeletePolicy { operator, name: policy.name.clone() };
                    door.caller.operate(&vhost, operation).await?;
                    Ok(Answer::NoContent)
                }
                _ => Err(not_allowed()),
            }
        }
        _ => nothing_here(),
    }
}

fn check(request: &Request, operator: bool) -> Result<(), Refusal> {
    if operator { request.check_administrator() } else { request.check_policymaker() }
}

/// Every policy of one sort that the user may see.
pub(super) fn all(door: &AdminDoor, request: &Request, operator: bool) -> Vec<Found> {
    let topology = door.topology();
    let seen = topology.vhosts().filter(|vhost| request.sees(&door.shared.users, vhost.name()));
    let of = |vhost: &Arc<engine::topology::Vhost>| -> Vec<Found> {
        let policies = vhost.policies().of(operator).values();
        policies.map(|policy| (vhost.name().clone(), policy.clone())).collect()
    };
    seen.flat_map(of).collect()
}

async fn list(request: &Request, found: Vec<Found>) -> Outcome {
    let show = async |found: Vec<Found>| found.iter().map(to_json).collect();
    listing::answer(request, found, |(_, policy)| &policy.name, show).await
}

/// A policy as listings and definition files have it.
pub(super) fn to_json((vhost, policy): &Found) -> Json {
    json!({
        "vhost": &**vhost,
        "name": &*policy.name,
        "pattern": policy.pattern.as_str(),
        "apply-to": policy.apply_to.as_str(),
        "definition": arguments::to_json(&policy.definition),
        "priority": policy.priority,
    })
}

/// A policy as a request or a definition file states it. Errors: 400 in RabbitMQ's words.
pub(super) fn stated(name: &str, body: &Members<'_>) -> Result<Policy, Refusal> {
    body.require(&["pattern", "definition"])?;
    let invalid = |text: String| bad_request(format!("Validation failed\n\n{text}\n"));
    let pattern = Pattern::compile(body.text("pattern")?.unwrap_or_default())
        .map_err(|error| invalid(format!("pattern should be regular expression but is invalid: {error}")))?;
    let word = body.text("apply-to")?.unwrap_or("all");
    let apply_to = ApplyTo::parse(word).ok_or_else(|| {
        invalid(format!("apply-to '{word}' unrecognised; should be 'queues', 'exchanges' or 'all'"))
    })?;
    let priority = match body.get("priority") {
        None | Some(Json::Null) => 0,
        Some(number) => number
            .as_i64()
            .ok_or_else(|| invalid(format!("priority should be a number, actually was {number}")))?,
    };
    let definition = arguments::from_json(body.get("definition").unwrap_or(&Json::Null))?;
    Ok(Policy { name: name.into(), pattern, apply_to, priority, definition })
}

/// What the broker says of a policy, as RabbitMQ puts it.
pub(super) fn refused(error: BrokerError) -> Refusal {
    match error.kind {
        ErrorKind::InvalidArgument => bad_request(format!("Validation failed\n\n{}\n", error.text)),
        _ => error.into(),
    }
}

async fn put(door: &AdminDoor, request: &Request, operator: bool, vhost: &str, name: &str) -> Outcome {
    let vhost = vhosts::known(door, vhost)?;
    check(request, operator)?;
    request.rights(&door.shared.users, &vhost)?;
    let policy = stated(name, &request.members()?)?;
    let reply = door.caller.operate(&vhost, Operation::PutPolicy { operator, policy }).await;
    match reply.map_err(refused)? {
        Reply::Existed(true) => Ok(Answer::NoContent),
        _ => Ok(Answer::Created),
    }
}
