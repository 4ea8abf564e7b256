//! Which path is whose.

use super::request::{Answer, Outcome, Request, not_allowed, not_found};
use super::{
    AdminDoor, bindings, connections, definitions, exchanges, health, messages, metrics, overview,
    parameters, permissions, policies, queues, users, vhosts,
};
use hyper::Method;

/// Errors: 405 for another method.
pub(super) fn only(request: &Request, method: &Method) -> Result<(), super::request::Refusal> {
    if request.method == *method { Ok(()) } else { Err(not_allowed()) }
}

/// Paths that need no password: metrics, and whether the broker is there.
pub(super) async fn open(door: &AdminDoor, method: &Method, path: &[String], query: &str) -> Option<Outcome> {
    if *method != Method::GET {
        return None;
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    Some(match path.as_slice() {
        ["health"] => health::plain(door),
        ["metrics"] => Ok(Answer::Text(metrics::totals(door).await)),
        ["metrics", "per-object"] => Ok(Answer::Text(metrics::per_object(door).await)),
        ["metrics", "detailed"] => Ok(Answer::Text(metrics::detailed(door, query).await)),
        _ => return None,
    })
}

/// Answers a request under `/api`.
pub(super) async fn answer(door: &AdminDoor, request: &Request) -> Outcome {
    let path: Vec<&str> = request.path.iter().skip(1).map(String::as_str).collect();
    match path.as_slice() {
        ["queues", rest @ ..] => match rest {
            [vhost, name, "get"] => messages::get(door, request, vhost, name).await,
            _ => queues::answer(door, request, rest).await,
        },
        ["exchanges", rest @ ..] => match rest {
            [vhost, name, "publish"] => messages::publish(door, request, vhost, name).await,
            _ => exchanges::answer(door, request, rest).await,
        },
        ["bindings", rest @ ..] => bindings::answer(door, request, rest).await,
        ["vhosts", rest @ ..] => vhosts::answer(door, request, rest).await,
        ["connections" | "channels" | "consumers", ..] => connections::answer(door, request, &path).await,
        ["policies", rest @ ..] => policies::answer(door, request, false, rest).await,
        ["operator-policies", rest @ ..] => policies::answer(door, request, true, rest).await,
        ["users", rest @ ..] => users::answer(door, request, rest).await,
        ["permissions", rest @ ..] => permissions::answer(door, request, rest).await,
        ["topic-permissions", rest @ ..] => permissions::topics(door, request, rest).await,
        ["definitions", rest @ ..] => definitions::answer(door, request, rest).await,
        ["parameters" | "global-parameters" | "vhost-limits" | "user-limits", ..] => {
            parameters::answer(door, request, &path)
        }
        ["health", "checks", rest @ ..] => health::check(door, request, rest).await,
        ["healthchecks", "node", ..] => health::check(door, request, &["alarms"]).await,
        ["aliveness-test", vhost] => health::aliveness(door, request, vhost).await,
        _ => overview::answer(door, request, &path).await,
    }
}

/// The one answer to a path that nobody has.
pub(super) fn nothing_here() -> Outcome {
    Err(not_found())
}
