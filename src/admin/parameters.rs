//! Parameters and limits: there are none yet, so lists are empty and everything else is refused.

use super::request::{Answer, Outcome, Request, bad_request, not_found};
use super::{AdminDoor, queues};
use hyper::Method;
use serde_json::json;

/// `/api/parameters...`, `/api/global-parameters...`, `/api/vhost-limits...`, `/api/user-limits...`
pub(super) fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    let none = || Ok(Answer::Json(json!([])));
    match (&request.method, path) {
        (&Method::GET, ["parameters"] | ["parameters", _]) => {
            request.check_policymaker()?;
            none()
        }
        (&Method::GET, ["vhost-limits", vhost] | ["parameters", _, vhost]) => {
            queues::visible(door, request, vhost)?;
            none()
        }
        (&Method::GET, ["global-parameters" | "vhost-limits" | "user-limits"]) => none(),
        (&Method::PUT, ["parameters", component, _, _]) => {
            Err(bad_request(format!("Validation failed\n\ncomponent {component} not found\n")))
        }
        (&Method::PUT, ["global-parameters", _] | ["vhost-limits" | "user-limits", _, _]) => {
            Err(bad_request("not supported by this broker"))
        }
        _ => Err(not_found()),
    }
}
