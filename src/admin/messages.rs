//! Single messages by hand: published to an exchange, looked at or taken from a queue.

use super::request::{Answer, Outcome, Refusal, Request, bad_request, missing};
use super::routes::only;
use super::{AdminDoor, arguments, exchanges, queues};
use crate::auth::rights::Access;
use amqp091::plain;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hyper::Method;
use model::{
    Name,
    command::{Op, Reply},
    delivery::{Delivery, Outcome as Settled},
    error::{BrokerError, ErrorKind},
};
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// Most messages of one get.
const GET_MAX: u64 = 10_000;

/// The text of a refusal as a channel would be closed with it, without the code.
fn close_text(error: &BrokerError) -> String {
    let text = plain::refusal(error);
    text.split_once(' ').map_or_else(|| text.clone(), |(_, rest)| rest.to_owned())
}

/// `POST /api/exchanges/VHOST/NAME/publish`
pub(super) async fn publish(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Outcome {
    only(request, &Method::POST)?;
    let vhost = queues::entered(door, request, vhost)?;
    let body = request.members()?;
    body.require(&["properties", "routing_key", "payload", "payload_encoding"])?;
    let payload = body.text("payload")?.unwrap_or_default();
    let payload = match body.text("payload_encoding")?.unwrap_or_default() {
        "string" => Bytes::copy_from_slice(payload.as_bytes()),
        "base64" => {
            let decoded = BASE64.decode(payload);
            decoded.map_err(|_| bad_request(json!(["not_base64", payload])))?.into()
        }
        other => return Err(bad_request(json!(["unsupported_encoding", other]))),
    };
    let properties = arguments::from_json(body.get("properties").unwrap_or(&Json::Null))?;
    let exchange: Name = exchanges::named(name).into();
    let key: Name = body.text("routing_key")?.unwrap_or_default().into();
    let refused = |error: &BrokerError| bad_request(plain::refusal(error));
    let rights = request.rights(&door.shared.users, &vhost)?;
    rights.check(Access::Write, "exchange", &exchange, &vhost).map_err(|error| refused(&error))?;
    rights.check_key(Access::Write, &exchange, &key, &vhost).map_err(|error| refused(&error))?;
    let user = &request.user.name;
    let message = plain::message((exchange, key), &properties, payload, user, door.shared.now());
    let message = message.map_err(bad_request)?;
    let mut results = door.caller.publish(&vhost, vec![Arc::new(message)]).await;
    match results.pop() {
        Some(Ok(routed)) => Ok(Answer::Json(json!({ "routed": routed.destinations > 0 }))),
        Some(Err(error)) => Err(refused(&error)),
        None => Err(bad_request("nothing was published")),
    }
}

/// What becomes of messages that are shown.
#[derive(Clone, Copy)]
struct AckMode {
    /// They stay in the queue.
    requeue: bool,
    /// Otherwise they are rejected, not acknowledged.
    reject: bool,
}

fn ack_mode(word: &str) -> Result<AckMode, Refusal> {
    Ok(match word {
        "ack_requeue_true" => AckMode { requeue: true, reject: false },
        "reject_requeue_true" => AckMode { requeue: true, reject: true },
        "ack_requeue_false" => AckMode { requeue: false, reject: false },
        "reject_requeue_false" => AckMode { requeue: false, reject: true },
        other => return Err(bad_request(json!(["unknown_ackmode", other]))),
    })
}

/// `POST /api/queues/VHOST/NAME/get`
pub(super) async fn get(door: &AdminDoor, request: &Request, vhost: &str, name: &str) -> Outcome {
    only(request, &Method::POST)?;
    let vhost = queues::entered(door, request, vhost)?;
    let body = request.members()?;
    body.require(&["count", "ackmode", "encoding"])?;
    let count = body.get("count").and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    let count = count.ok_or_else(|| bad_request("count is not a whole number"))?.min(GET_MAX);
    let mode = ack_mode(body.text("ackmode")?.unwrap_or_default())?;
    let truncate = body.get("truncate").and_then(Json::as_u64).and_then(|bytes| usize::try_from(bytes).ok());
    let base64 = match body.text("encoding")?.unwrap_or_default() {
        "auto" => false,
        "base64" => true,
        other => return Err(bad_request(json!(["unsupported_encoding", other]))),
    };
    let rights = request.rights(&door.shared.users, &vhost)?;
    rights.check(Access::Read, "queue", name, &vhost).map_err(|error| bad_request(plain::refusal(&error)))?;
    let mut taken: Vec<Delivery> = Vec::new();
    let mut shown = Vec::new();
    let mut failed = None;
    for _ in 0..count {
        match door.caller.op(&vhost, Op::Get { queue: name.into(), auto_ack: false }).await {
            Ok(Reply::Got { delivery: Some(delivery), remaining }) => {
                shown.push(to_json(&delivery, remaining, base64, truncate));
                taken.push(*delivery);
            }
            Ok(_) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    for delivery in taken {
        let outcome = match mode {
            AckMode { requeue: true, .. } => Settled::Requeue { failed: false },
            AckMode { reject: true, .. } => Settled::Reject,
            AckMode { .. } => Settled::Ack,
        };
        if let Some(lease) = delivery.lease {
            door.caller.settle(lease, outcome);
        }
    }
    match failed {
        Some(error) if error.kind == ErrorKind::NotFound => Err(missing(close_text(&error))),
        Some(error) => Err(bad_request(plain::refusal(&error))),
        None => Ok(Answer::Json(Json::Array(shown))),
    }
}

fn to_json(delivery: &Delivery, remaining: u64, base64: bool, truncate: Option<usize>) -> Json {
    let message = &delivery.message;
    let body = message.body.joined();
    let cut = truncate.map_or(body.len(), |most| most.min(body.len()));
    let part = body.get(..cut).unwrap_or_default();
    let (payload, encoding) = match std::str::from_utf8(part) {
        Ok(text) if !base64 => (text.to_owned(), "string"),
        _ => (BASE64.encode(part), "base64"),
    };
    let properties = plain::properties(delivery);
    // An empty object is an empty list to RabbitMQ.
    let properties = if properties.is_empty() { json!([]) } else { arguments::to_json(&properties) };
    let mut json = Map::new();
    json.insert("payload_bytes".to_owned(), json!(body.len()));
    json.insert("redelivered".to_owned(), json!(delivery.redelivered));
    json.insert("exchange".to_owned(), json!(&*message.exchange));
    json.insert("routing_key".to_owned(), json!(&*message.routing_key));
    json.insert("message_count".to_owned(), json!(remaining));
    json.insert("properties".to_owned(), properties);
    json.insert("payload".to_owned(), json!(payload));
    json.insert("payload_encoding".to_owned(), json!(encoding));
    Json::Object(json)
}
