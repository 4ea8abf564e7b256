//! The broker at a glance: overview, nodes, whoami, and the small paths that tools look at first.

use super::request::{Answer, Outcome, Request};
use super::routes::{nothing_here, only};
use super::{AdminDoor, listing, protocol_name};
use crate::config::Protocol;
use hyper::Method;
use model::command::QueueStatus;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::atomic::Ordering;

const EXCHANGE_TYPES: [&str; 6] = ["direct", "fanout", "headers", "topic", "x-consistent-hash", "x-random"];
/// What tools ask for before they declare such queues.
const FEATURE_FLAGS: [&str; 5] = [
    "quorum_queue",
    "stream_queue",
    "classic_queue_type_delivery_support",
    "user_limits",
    "virtual_host_metadata",
];

/// Sums over queues.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueTotals {
    /// Deliverable, delayed ones included.
    pub(super) ready: u64,
    /// Delivered and not settled.
    pub(super) unacknowledged: u64,
    /// What their messages take, with properties and bookkeeping.
    pub(super) bytes: u64,
    /// Consumers.
    pub(super) consumers: u64,
}

impl QueueTotals {
    /// The sums of some queues.
    pub(super) fn of<'a>(statuses: impl IntoIterator<Item = &'a QueueStatus>) -> Self {
        statuses.into_iter().fold(Self::default(), |sum, status| Self {
            ready: sum.ready + status.ready + status.delayed,
            unacknowledged: sum.unacknowledged + status.leased,
            bytes: sum.bytes + status.bytes,
            consumers: sum.consumers + u64::from(status.consumers),
        })
    }

    /// RabbitMQ's members for them.
    pub(super) fn to_json(self) -> Json {
        let still = json!({ "rate": 0.0 });
        json!({
            "messages": self.ready + self.unacknowledged,
            "messages_details": still,
            "messages_ready": self.ready,
            "messages_ready_details": still,
            "messages_unacknowledged": self.unacknowledged,
            "messages_unacknowledged_details": still,
        })
    }
}

/// `/api/overview`, `/api/nodes` and the small ones.
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    let json = match path {
        ["overview"] => overview(door, request).await,
        ["nodes"] => {
            only(request, &Method::GET)?;
            request.check_monitor()?;
            let nodes = vec![node(door).await];
            return listing::answer(request, nodes, |_| "", async |nodes| nodes).await;
        }
        ["nodes", name] if *name == door.node => {
            request.check_monitor()?;
            node(door).await
        }
        ["whoami"] => json!({ "name": &*request.user.name, "tags": request.user.tags }),
        ["cluster-name"] => json!({ "name": door.cluster }),
        ["extensions"] => json!([]),
        ["version"] => json!(door.version),
        ["auth"] => json!({ "oauth_enabled": false }),
        ["auth", "hash_password", password] => {
            only(request, &Method::GET)?;
            return super::users::hash(password);
        }
        ["feature-flags"] => feature_flags(),
        ["deprecated-features"] | ["deprecated-features", "used"] => json!([]),
        _ => return nothing_here(),
    };
    only(request, &Method::GET)?;
    Ok(Answer::Json(listing::columns(request, json)))
}

fn feature_flags() -> Json {
    let flag = |name: &&str| {
        json!({
            "name": name,
            "desc": "",
            "doc_url": "",
            "state": "enabled",
            "stability": "required",
            "provided_by": "waystation",
        })
    };
    FEATURE_FLAGS.iter().map(flag).collect()
}

async fn overview(door: &AdminDoor, request: &Request) -> Json {
    let topology = door.topology();
    let seen: Vec<_> =
        topology.vhosts().filter(|vhost| request.sees(&door.shared.users, vhost.name())).collect();
    let queues: Vec<_> = seen.iter().flat_map(|vhost| vhost.queues()).map(|queue| queue.id).collect();
    let totals = QueueTotals::of(&door.caller.statuses(&queues).await);
    let exchanges: usize = seen.iter().map(|vhost| vhost.exchanges().count()).sum();
    let (connections, channels) = super::connections::count(door, request).await;
    let sampled = json!([600]);
    json!({
        "management_version": door.version,
        "rabbitmq_version": door.version,
        "product_name": door.product,
        "product_version": door.version,
        "waystation_version": env!("CARGO_PKG_VERSION"),
        "cluster_name": door.cluster,
        "node": door.node,
        "rates_mode": "basic",
        "sample_retention_policies": { "global": sampled, "basic": sampled, "detailed": sampled },
        "exchange_types": exchange_types(),
        "disable_stats": false,
        "enable_queue_totals": false,
        "message_stats": door.rates.message_stats(&door.shared.totals.read()),
        "queue_totals": totals.to_json(),
        "object_totals": {
            "channels": channels,
            "connections": connections,
            "consumers": totals.consumers,
            "exchanges": exchanges,
            "queues": queues.len(),
        },
        "statistics_db_event_queue": 0,
        "listeners": listeners(door),
        "contexts": contexts(door),
    })
}

fn exchange_types() -> Json {
    EXCHANGE_TYPES.iter().map(|name| json!({ "name": name, "description": "", "enabled": true })).collect()
}

fn listeners(door: &AdminDoor) -> Json {
    let listeners = door.doors.iter().map(|(of, address)| {
        json!({
            "node": door.node,
            "protocol": protocol_name(of),
            "ip_address": address.ip().to_string(),
            "port": address.port(),
            "tls": of.tls,
            "socket_opts": {},
        })
    });
    listeners.collect()
}

fn contexts(door: &AdminDoor) -> Json {
    let own = door.doors.iter().filter(|(of, _)| of.protocol == Protocol::Management);
    let contexts = own.map(|(_, address)| {
        json!({
            "node": door.node,
            "description": "Waystation Management",
            "path": "/",
            "ip": address.ip().to_string(),
            "port": address.port().to_string(),
        })
    });
    contexts.collect()
}

async fn node(door: &AdminDoor) -> Json {
    let data = door.data.clone();
    let machine = tokio::task::spawn_blocking(move || Machine::read(&data)).await.unwrap_or_default();
    let alarm = door.shared.blocked().unwrap_or_default();
    json!({
        "name": door.node,
        "type": "disc",
        "running": true,
        "being_drained": false,
        "partitions": [],
        "os_pid": std::process::id().to_string(),
        "uptime": door.shared.uptime_ms(),
        "processors": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "run_queue": 0,
        "rates_mode": "basic",
        "mem_used": machine.resident_bytes,
        "mem_limit": door.shared.memory_bytes_max,
        "mem_alarm": alarm.contains("memory"),
        "disk_free": machine.disk_free_bytes,
        "disk_free_limit": 0,
        "disk_free_alarm": alarm.contains("disk"),
        "fd_used": machine.files,
        "fd_total": machine.files_max,
        "sockets_used": door.shared.connections.load(Ordering::Relaxed),
        "sockets_total": door.connections_max,
        "proc_used": machine.threads,
        "proc_total": machine.files_max,
        "db_dir": door.data.display().to_string(),
        "config_files": [],
        "log_files": [],
        "exchange_types": exchange_types(),
        "auth_mechanisms": [
            { "name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true },
            { "name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true },
        ],
        "applications": [],
        "enabled_plugins": ["rabbitmq_management", "rabbitmq_mqtt", "rabbitmq_prometheus", "rabbitmq_stomp"],
        "contexts": contexts(door),
        "cluster_links": [],
    })
}

/// What the operating system says of the process and the disk. Zero where it says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Machine {
    /// Memory in use.
    pub(super) resident_bytes: u64,
    /// Free on the disk of the data.
    pub(super) disk_free_bytes: u64,
    /// Open files.
    pub(super) files: u64,
    /// Files that may be open.
    pub(super) files_max: u64,
    /// Threads.
    pub(super) threads: u64,
}

impl Machine {
    /// Reads `/proc`. Blocking.
    pub(super) fn read(data: &Path) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let number = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
        };
        let disk = rustix::fs::statvfs(data);
        Self {
            resident_bytes: number(&status, "VmRSS:") * 1024,
            threads: number(&status, "Threads:"),
            files_max: number(&limits, "Max open files"),
            files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            disk_free_bytes: disk.map_or(0, |disk| disk.f_bavail * disk.f_frsize),
        }
    }
}
