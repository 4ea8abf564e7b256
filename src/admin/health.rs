//! Health: whether alarms are on, doors are open, and a message gets through.

use super::request::{Answer, Outcome, Request, bad_request, not_found};
use super::routes::{nothing_here, only};
use super::{AdminDoor, protocol_name, queues};
use amqp091::plain;
use bytes::Bytes;
use hyper::Method;
use model::{
    Name,
    command::{Op, Reply},
    definition::QueueDeclare,
    delivery::Outcome as Settled,
    value::Table,
};
use serde_json::json;
use std::sync::Arc;

/// The queue that RabbitMQ's own test uses.
const ALIVENESS: &str = "aliveness-test";

/// `/health`, without a password: 200 while publishers may publish.
pub(super) fn plain(door: &AdminDoor) -> Outcome {
    alarms(door)
}

fn alarms(door: &AdminDoor) -> Outcome {
    let Some(reason) = door.shared.blocked() else { return Ok(Answer::Json(json!({ "status": "ok" }))) };
    let resources = ["memory", "disk"].into_iter().filter(|resource| reason.contains(resource));
    let alarms: Vec<_> =
        resources.map(|resource| json!({ "node": door.node, "resource": resource })).collect();
    let text = "There are alarms in effect in the cluster";
    Ok(Answer::Unhealthy(json!({ "status": "failed", "reason": text, "alarms": alarms })))
}

/// `/api/health/checks/...`
pub(super) async fn check(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    only(request, &Method::GET)?;
    match path {
        ["alarms" | "local-alarms"] => alarms(door),
        ["port-listener", port] => {
            let port: u16 = port.parse().map_err(|_| bad_request("Invalid port"))?;
            let mut ports = door.doors.iter().map(|(_, address)| address.port());
            if ports.any(|open| open == port) {
                return Ok(Answer::Json(json!({ "status": "ok", "port": port })));
            }
            let ports: Vec<u16> = door.doors.iter().map(|(_, address)| address.port()).collect();
            let text = "No active listener";
            Ok(Answer::Unhealthy(
                json!({ "status": "failed", "reason": text, "missing": port, "ports": ports }),
            ))
        }
        ["protocol-listener", name] => {
            let wanted = canonical(name);
            if door.doors.iter().any(|(of, _)| protocol_name(of) == wanted) {
                return Ok(Answer::Json(json!({ "status": "ok", "protocol": wanted })));
            }
            let names: Vec<&str> = door.doors.iter().map(|(of, _)| protocol_name(of)).collect();
            let text = "No active listener";
            let failed = json!({ "status": "failed", "reason": text, "missing": wanted, "protocols": names });
            Ok(Answer::Unhealthy(failed))
        }
        // Every vhost that there is runs: they have no processes of their own that could be down.
        ["virtual-hosts"] => Ok(Answer::Json(json!({ "status": "ok" }))),
        ["node-is-quorum-critical" | "node-is-mirror-sync-critical"] => {
            Ok(Answer::Json(json!({ "status": "ok", "reason": "single node cluster" })))
        }
        ["ready-to-serve-clients" | "is-in-service"] => Ok(Answer::Json(json!({ "status": "ok" }))),
        _ => nothing_here(),
    }
}

/// The name of a protocol by any of those that RabbitMQ knows for it.
fn canonical(name: &str) -> String {
    let lower = name.to_lowercase();
    match lower.as_str() {
        "amqp" | "amqp091" | "amqp0.9.1" | "amqp-0-9-1" | "amqp 0-9-1" | "tcp" => "amqp".to_owned(),
        "amqps" | "amqp/ssl" | "tls" => "amqp/ssl".to_owned(),
        "mqtt" | "mqtt3.1" | "mqtt3.1.1" => "mqtt".to_owned(),
        "mqtts" => "mqtt/ssl".to_owned(),
        "stomps" => "stomp/ssl".to_owned(),
        "management" => "http".to_owned(),
        "web-mqtt" => "http/web-mqtt".to_owned(),
        "web-stomp" => "http/web-stomp".to_owned(),
        _ => lower,
    }
}

/// `/api/aliveness-test/VHOST`: a message goes through a queue and back.
pub(super) async fn aliveness(door: &AdminDoor, request: &Request, vhost: &str) -> Outcome {
    only(request, &Method::GET)?;
    queues::visible(door, request, vhost)?;
    let vhost = queues::entered(door, request, vhost).map_err(|_| not_found())?;
    let name = Name::from_static(ALIVENESS);
    let declare = QueueDeclare { name: name.clone(), attach: true, ..QueueDeclare::default() };
    door.caller.op(&vhost, Op::DeclareQueue(declare)).await?;
    let body = Bytes::from_static(b"test_message");
    let now = door.shared.now();
    let message = plain::message((Name::new(), name.clone()), &Table::new(), body, &request.user.name, now);
    let message = Arc::new(message.map_err(bad_request)?);
    for result in door.caller.publish(&vhost, vec![message]).await {
        result?;
    }
    let reply = door.caller.op(&vhost, Op::Get { queue: name, auto_ack: false }).await?;
    let Reply::Got { delivery: Some(delivery), .. } = reply else {
        let text = "the test message did not come back";
        return Ok(Answer::Unhealthy(json!({ "status": "failed", "reason": text })));
    };
    if let Some(lease) = delivery.lease {
        door.caller.settle(lease, Settled::Ack);
    }
    Ok(Answer::Json(json!({ "status": "ok" })))
}
