//! Connections, channels and consumers: what each connection says of itself when it is asked, and closing one.

use super::request::{Answer, Outcome, Refusal, Request, not_allowed, not_found};
use super::routes::{nothing_here, only};
use super::{AdminDoor, arguments, listing, queues};
use crate::net::outbox::Event;
use crate::runtime::presence::{ConnectionStatus, ConsumerFacts, Entered, Presence};
use hyper::Method;
use model::{Name, command::Signal, ids::QueueId, status::ChannelStatus};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a connection may take to say how it is: one whose peer takes nothing may not answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that has entered, and what it says of itself.
type Asked = (Arc<Presence>, Entered, ConnectionStatus);

/// `/api/connections...`, `/api/channels...`, `/api/consumers...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    match path {
        ["connections"] => list(door, request, |_| true).await,
        ["connections", "username", user] => match request.method {
            Method::DELETE => {
                request.check_administrator()?;
                let reason = request.reason.clone().unwrap_or_else(|| CLOSED.to_owned());
                crate::runtime::operator::dismiss(&door.shared, reason, |of, _| of == user);
                Ok(Answer::NoContent)
            }
            _ => list(door, request, |entered| entered.user == **user).await,
        },
        ["connections", name] => match request.method {
            Method::GET => {
                let asked = ask(door, vec![find(door, request, name)?]).await;
                let (presence, entered, status) = asked.first().ok_or_else(not_found)?;
                Ok(Answer::Json(listing::columns(request, to_json(door, presence, entered, status))))
            }
            Method::DELETE => close(door, request, name),
            _ => Err(not_allowed()),
        },
        ["connections", name, "channels"] => {
            let (presence, _) = find(door, request, name)?;
            let id = presence.connection;
            list_channels(door, request, |presence, _| presence.connection == id).await
        }
        ["channels"] => channels(door, request, |_| true).await,
        ["channels", name] => channel(door, request, name).await,
        ["consumers"] => consumers(door, request, |_| true).await,
        ["consumers", vhost] => {
            let vhost = queues::visible(door, request, vhost)?;
            consumers(door, request, |entered| entered.vhost == vhost).await
        }
        _ => nothing_here(),
    }
}

/// What clients are told when nothing else is said.
const CLOSED: &str = "Closed via management plugin";

/// Connections that the user may see: its own, and all for those who monitor.
fn seen(door: &AdminDoor, request: &Request) -> Vec<(Arc<Presence>, Entered)> {
    let monitor = request.has_tag(&["monitoring"]);
    let presences = door.shared.presences().into_iter();
    let entered = presences.filter_map(|presence| {
        let entered = presence.entered.get()?.clone();
        Some((presence, entered))
    });
    entered.filter(|(_, entered)| monitor || entered.user == request.user.name).collect()
}

fn find(door: &AdminDoor, request: &Request, name: &str) -> Result<(Arc<Presence>, Entered), Refusal> {
    let mut seen = seen(door, request).into_iter();
    seen.find(|(presence, _)| presence.name() == name).ok_or_else(not_found)
}

/// Asks connections how they are. One that does not answer in time is shown with what is known without it.
async fn ask(_door: &AdminDoor, connections: Vec<(Arc<Presence>, Entered)>) -> Vec<Asked> {
    let mut waiting = Vec::with_capacity(connections.len());
    for (presence, entered) in connections {
        let (asker, answer) = oneshot::channel();
        presence.outbox.push_urgent(Event::Inspect(asker));
        waiting.push((presence, entered, answer));
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut asked = Vec::with_capacity(waiting.len());
    for (presence, entered, answer) in waiting {
        let status = match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(status)) => status,
            Ok(Err(_)) | Err(_) => ConnectionStatus::default(),
        };
        asked.push((presence, entered, status));
    }
    asked
}

/// How many connections and channels the user sees.
pub(super) async fn count(door: &AdminDoor, request: &Request) -> (usize, usize) {
    let asked = ask(door, seen(door, request)).await;
    let channels = asked.iter().map(|(_, _, status)| status.session.channels.len()).sum();
    (asked.len(), channels)
}

/// Lists connections.
pub(super) async fn list(door: &AdminDoor, request: &Request, of: impl Fn(&Entered) -> bool) -> Outcome {
    only(request, &Method::GET)?;
    let seen: Vec<_> = seen(door, request).into_iter().filter(|(_, entered)| of(entered)).collect();
    let named: Vec<_> =
        seen.into_iter().map(|(presence, entered)| (presence.name(), presence, entered)).collect();
    listing::answer(
        request,
        named,
        |(name, _, _)| name,
        async |named| {
            let named = named.into_iter().map(|(_, presence, entered)| (presence, entered)).collect();
            let asked = ask(door, named).await;
            asked.iter().map(|(presence, entered, status)| to_json(door, presence, entered, status)).collect()
        },
    )
    .await
}

fn split(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    (host.trim_matches(['[', ']']), port.parse().unwrap_or(0))
}

/// A connection as others refer to it.
pub(super) fn peer(presence: &Presence) -> Json {
    let (host, port) = split(&presence.seed.peer);
    json!({ "name": presence.name(), "peer_host": host, "peer_port": port })
}

fn to_json(door: &AdminDoor, presence: &Presence, entered: &Entered, status: &ConnectionStatus) -> Json {
    let (peer_host, peer_port) = split(&presence.seed.peer);
    let (host, port) = split(&presence.seed.local);
    let session = &status.session;
    let still = json!({ "rate": 0.0 });
    let mut json = json!({
        "name": presence.name(),
        "node": door.node,
        "type": "network",
        "protocol": &*session.protocol,
        "state": if status.blocked { "blocked" } else { "running" },
        "user": &*entered.user,
        "user_who_performed_action": &*entered.user,
        "user_provided_name": &*entered.client,
        "vhost": &*entered.vhost,
        "connected_at": presence.since,
        "host": host,
        "port": port,
        "peer_host": peer_host,
        "peer_port": peer_port,
        "ssl": presence.seed.tls,
        "peer_cert_subject": presence.seed.certificate_name.as_deref(),
        "auth_mechanism": &*session.auth_mechanism,
        "client_properties": arguments::to_json(&session.client_properties),
    });
    let numbers = json!({
        "channels": session.channels.len(),
        "channel_max": session.channel_max,
        "frame_max": session.frame_max,
        "timeout": session.heartbeat_s,
        "recv_oct": status.received_bytes,
        "recv_oct_details": still,
        "send_oct": status.sent_bytes,
        "send_oct_details": still,
        "send_pend": 0,
    });
    if let (Json::Object(json), Json::Object(numbers)) = (&mut json, numbers) {
        json.extend(numbers);
    }
    json
}

fn close(door: &AdminDoor, request: &Request, name: &str) -> Outcome {
    let (presence, _) = find(door, request, name)?;
    let reason = request.reason.as_deref().unwrap_or(CLOSED);
    tracing::info!(connection = name, by = &*request.user.name, reason, "closed by an operator");
    presence.outbox.push_urgent(Event::Signal(Signal::Shutdown(Name::from(reason))));
    Ok(Answer::NoContent)
}

/// Lists channels.
pub(super) async fn channels(door: &AdminDoor, request: &Request, of: impl Fn(&Entered) -> bool) -> Outcome {
    list_channels(door, request, |_, entered| of(entered)).await
}

async fn list_channels(
    door: &AdminDoor,
    request: &Request,
    of: impl Fn(&Presence, &Entered) -> bool,
) -> Outcome {
    only(request, &Method::GET)?;
    let seen: Vec<_> =
        seen(door, request).into_iter().filter(|(presence, entered)| of(presence, entered)).collect();
    let asked = ask(door, seen).await;
    let channels: Vec<_> = asked
        .iter()
        .flat_map(|(presence, entered, status)| {
            let channels = status.session.channels.iter();
            channels.map(|channel| {
                (channel_name(presence, channel), channel_json(door, presence, entered, channel))
            })
        })
        .collect();
    let show = async |channels: Vec<(String, Json)>| channels.into_iter().map(|(_, json)| json).collect();
    listing::answer(request, channels, |(name, _)| name, show).await
}

async fn channel(door: &AdminDoor, request: &Request, name: &str) -> Outcome {
    only(request, &Method::GET)?;
    let (connection, number) = name.rsplit_once(" (").ok_or_else(not_found)?;
    let number: u16 = number.trim_end_matches(')').parse().map_err(|_| not_found())?;
    let asked = ask(door, vec![find(door, request, connection)?]).await;
    let (presence, entered, status) = asked.first().ok_or_else(not_found)?;
    let mut channels = status.session.channels.iter();
    let channel = channels.find(|channel| channel.number == number).ok_or_else(not_found)?;
    let mut json = channel_json(door, presence, entered, channel);
    if let Json::Object(object) = &mut json {
        let consumers = consumers_json(door, presence, entered, status);
        let own = consumers.into_iter().filter(|(_, json)| {
            json.pointer("/channel_details/number").and_then(Json::as_u64) == Some(u64::from(number))
        });
        object.insert("consumer_details".to_owned(), own.map(|(_, json)| json).collect());
    }
    Ok(Answer::Json(listing::columns(request, json)))
}

fn channel_name(presence: &Presence, channel: &ChannelStatus) -> String {
    format!("{} ({})", presence.name(), channel.number)
}

fn channel_json(door: &AdminDoor, presence: &Presence, entered: &Entered, channel: &ChannelStatus) -> Json {
    json!({
        "name": channel_name(presence, channel),
        "number": channel.number,
        "node": door.node,
        "connection_details": peer(presence),
        "user": &*entered.user,
        "user_who_performed_action": &*entered.user,
        "vhost": &*entered.vhost,
        "state": "running",
        "confirm": channel.confirms,
        "transactional": channel.transactional,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": 0,
        "consumer_count": channel.consumers.len(),
        "messages_unacknowledged": channel.unacknowledged,
        "messages_unconfirmed": channel.unconfirmed,
        "messages_uncommitted": 0,
        "acks_uncommitted": 0,
    })
}

async fn consumers(door: &AdminDoor, request: &Request, of: impl Fn(&Entered) -> bool) -> Outcome {
    only(request, &Method::GET)?;
    let seen: Vec<_> = seen(door, request).into_iter().filter(|(_, entered)| of(entered)).collect();
    let asked = ask(door, seen).await;
    let all: Vec<Json> = asked
        .iter()
        .flat_map(|(presence, entered, status)| consumers_json(door, presence, entered, status))
        .map(|(_, json)| json)
        .collect();
    let tag = |json: &Json| json.get("consumer_tag").and_then(Json::as_str).unwrap_or_default().to_owned();
    let named: Vec<(String, Json)> = all.into_iter().map(|json| (tag(&json), json)).collect();
    let show = async |named: Vec<(String, Json)>| named.into_iter().map(|(_, json)| json).collect();
    listing::answer(request, named, |(tag, _)| tag, show).await
}

/// Every consumer of a queue, or all of them, each with its queue.
pub(super) async fn consumers_of(door: &AdminDoor, queue: Option<QueueId>) -> Vec<(QueueId, Json)> {
    let entered = door.shared.presences().into_iter().filter_map(|presence| {
        let entered = presence.entered.get()?.clone();
        Some((presence, entered))
    });
    let asked = ask(door, entered.collect()).await;
    let all =
        asked.iter().flat_map(|(presence, entered, status)| consumers_json(door, presence, entered, status));
    all.filter(|(of, _)| queue.is_none_or(|queue| *of == queue)).collect()
}

fn consumers_json(
    door: &AdminDoor,
    presence: &Presence,
    entered: &Entered,
    status: &ConnectionStatus,
) -> Vec<(QueueId, Json)> {
    let topology = door.topology();
    let show = |facts: &ConsumerFacts| {
        let queue = topology.queue_by_id(facts.queue)?;
        let channels = status.session.channels.iter();
        let place =
            channels.flat_map(|channel| channel.consumers.iter().map(move |own| (channel.number, own)));
        let known = place.into_iter().find(|(_, (id, _))| *id == facts.consumer);
        let (number, tag) = match known {
            Some((number, (_, tag))) => (number, tag.to_string()),
            // Sessions without channels number their consumers.
            None => (0, facts.consumer.to_string()),
        };
        let (peer_host, peer_port) = split(&presence.seed.peer);
        let credit = facts.consume.credit;
        let json = json!({
            "consumer_tag": tag,
            "queue": { "name": &*queue.name, "vhost": &*queue.vhost },
            "ack_required": !facts.consume.auto_ack,
            "exclusive": facts.consume.exclusive,
            "prefetch_count": if credit == u32::MAX { 0 } else { credit },
            "active": true,
            "activity_status": "up",
            "arguments": arguments::to_json(&facts.consume.arguments),
            "channel_details": {
                "name": format!("{} ({number})", presence.name()),
                "number": number,
                "connection_name": presence.name(),
                "node": door.node,
                "peer_host": peer_host,
                "peer_port": peer_port,
                "user": &*entered.user,
            },
        });
        Some((facts.queue, json))
    };
    status.consumers.iter().filter_map(show).collect()
}
