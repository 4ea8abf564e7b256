//! Prometheus text, under RabbitMQ's names where it has names for the thing.
//!
//! `/metrics` has sums, `/metrics/per-object` every queue, `/metrics/detailed?family=queue_coarse_metrics&vhost=V` what is
//! asked for. Listing many queues costs a step per queue.

use super::{AdminDoor, overview::Machine, overview::QueueTotals, queues, request};
use engine::topology::Queue;
use model::command::QueueStatus;
use std::fmt::Write;
use std::sync::{Arc, atomic::Ordering};

/// Text in the making.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn of_queue(queue: &Queue) -> String {
    format!("{{vhost=\"{}\",queue=\"{}\"}}", escaped(&queue.vhost), escaped(&queue.name))
}

/// Every queue that one of `vhosts` has (all when empty), with its state.
async fn listed(door: &AdminDoor, vhosts: &[&str]) -> Vec<(Arc<Queue>, QueueStatus)> {
    let topology = door.topology();
    let wanted = topology.vhosts().filter(|vhost| vhosts.is_empty() || vhosts.contains(&&**vhost.name()));
    let all: Vec<Arc<Queue>> = wanted.flat_map(|vhost| vhost.queues().cloned()).collect();
    let ids: Vec<_> = all.iter().map(|queue| queue.id).collect();
    let mut statuses = queues::statuses(door, &ids).await;
    all.into_iter().filter_map(|queue| Some((queue.clone(), statuses.remove(&queue.id)?))).collect()
}

/// `/metrics`
pub(super) async fn totals(door: &AdminDoor) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    node(door, &mut page).await;
    let queues = listed(door, &[]).await;
    let sum = QueueTotals::of(queues.iter().map(|(_, status)| status));
    page.one("rabbitmq_queues", "gauge", "Queues and streams", queues.len());
    page.one("rabbitmq_consumers", "gauge", "Consumers", sum.consumers);
    page.one("rabbitmq_queue_messages_ready", "gauge", "Messages ready to be delivered", sum.ready);
    page.one(
        "rabbitmq_queue_messages_unacked",
        "gauge",
        "Messages delivered, not acknowledged",
        sum.unacknowledged,
    );
    page.one(
        "rabbitmq_queue_messages",
        "gauge",
        "Sum of ready and unacknowledged",
        sum.ready + sum.unacknowledged,
    );
    page.one("rabbitmq_queue_process_memory_bytes", "gauge", "Bytes of messages in queues", sum.bytes);
    page.0
}

/// `/metrics/per-object`
pub(super) async fn per_object(door: &AdminDoor) -> String {
    let mut page = Page(String::with_capacity(64 * 1024));
    node(door, &mut page).await;
    coarse(&mut page, "rabbitmq", &listed(door, &[]).await);
    page.0
}

/// `/metrics/detailed`
pub(super) async fn detailed(door: &AdminDoor, query: &str) -> String {
    let parameters = request::parameters(query).unwrap_or_default();
    let of = |name: &str| -> Vec<&str> {
        parameters.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    let families = of("family");
    let mut page = Page(String::new());
    let queue_families = ["queue_coarse_metrics", "queue_metrics", "queue_consumer_count"];
    if families.iter().any(|family| queue_families.contains(family)) {
        coarse(&mut page, "rabbitmq_detailed", &listed(door, &of("vhost")).await);
    }
    page.0
}

fn coarse(page: &mut Page, prefix: &str, queues: &[(Arc<Queue>, QueueStatus)]) {
    type Read = fn(&QueueStatus) -> u64;
    let families: [(&str, &str, Read); 5] = [
        ("queue_messages_ready", "Messages ready to be delivered", |status| status.ready + status.delayed),
        ("queue_messages_unacked", "Messages delivered, not acknowledged", |status| status.leased),
        ("queue_messages", "Sum of ready and unacknowledged", |status| {
            status.ready + status.delayed + status.leased
        }),
        ("queue_process_memory_bytes", "Bytes that its messages take", |status| status.bytes),
        ("queue_consumers", "Consumers", |status| u64::from(status.consumers)),
    ];
    for (name, help, read) in families {
        let name = format!("{prefix}_{name}");
        page.family(&name, "gauge", help);
        for (queue, status) in queues {
            page.sample(&name, &of_queue(queue), read(status));
        }
    }
}

async fn node(door: &AdminDoor, page: &mut Page) {
    let data = door.data.clone();
    let machine = tokio::task::spawn_blocking(move || Machine::read(&data)).await.unwrap_or_default();
    let identity = format!(
        "{{rabbitmq_node=\"{}\",rabbitmq_cluster=\"{}\"}}",
        escaped(&door.node),
        escaped(&door.cluster)
    );
    page.family("rabbitmq_identity_info", "untyped", "Node and cluster");
    page.sample("rabbitmq_identity_info", &identity, 1);
    let build = format!(
        "{{rabbitmq_version=\"{}\",product_name=\"{}\",product_version=\"{}\"}}",
        escaped(&door.version),
        escaped(&door.product),
        env!("CARGO_PKG_VERSION")
    );
    page.family("rabbitmq_build_info", "untyped", "Version");
    page.sample("rabbitmq_build_info", &build, 1);
    let presences = door.shared.presences();
    page.one(
        "rabbitmq_connections",
        "gauge",
        "Client connections that have logged in",
        presences.iter().filter(|presence| presence.entered.get().is_some()).count(),
    );
    messages(door, page);
    let alarm = door.shared.blocked().unwrap_or_default();
    let on = |word: &str| u8::from(alarm.contains(word));
    page.one("rabbitmq_alarms_memory_used_watermark", "untyped", "1 when memory is short", on("memory"));
    page.one("rabbitmq_alarms_free_disk_space_watermark", "untyped", "1 when the disk is full", on("disk"));
    page.one(
        "rabbitmq_process_resident_memory_bytes",
        "gauge",
        "Memory of the process",
        machine.resident_bytes,
    );
    page.one(
        "rabbitmq_resident_memory_limit_bytes",
        "gauge",
        "Message bytes held before publishers wait",
        door.shared.memory_bytes_max,
    );
    page.one(
        "rabbitmq_disk_space_available_bytes",
        "gauge",
        "Free on the disk of the data",
        machine.disk_free_bytes,
    );
    page.one("rabbitmq_process_open_fds", "gauge", "Open files", machine.files);
    page.one("rabbitmq_process_max_fds", "gauge", "Files that may be open", machine.files_max);
    page.one(
        "rabbitmq_process_open_tcp_sockets",
        "gauge",
        "Sockets of clients",
        door.shared.connections.load(Ordering::Relaxed),
    );
    page.one("rabbitmq_erlang_uptime_seconds", "gauge", "Since the start", door.shared.uptime_ms() / 1000);
}

fn messages(door: &AdminDoor, page: &mut Page) {
    let totals = door.shared.totals.read();
    let counters = [
        ("rabbitmq_global_messages_received_total", "Messages that clients published", totals.published),
        ("rabbitmq_global_messages_confirmed_total", "Publishes confirmed", totals.confirmed),
        ("rabbitmq_global_messages_unroutable_total", "Messages that went nowhere", totals.unroutable),
        (
            "rabbitmq_global_messages_delivered_total",
            "Messages delivered and fetched",
            totals.delivered + totals.delivered_unacked + totals.fetched,
        ),
        (
            "rabbitmq_global_messages_delivered_consume_manual_ack_total",
            "Messages delivered to consumers that acknowledge",
            totals.delivered,
        ),
        (
            "rabbitmq_global_messages_delivered_consume_auto_ack_total",
            "Messages delivered to consumers that do not acknowledge",
            totals.delivered_unacked,
        ),
        ("rabbitmq_global_messages_redelivered_total", "Messages delivered again", totals.redelivered),
        ("rabbitmq_global_messages_acknowledged_total", "Messages acknowledged", totals.acknowledged),
    ];
    for (name, help, value) in counters {
        page.one(name, "counter", help, value);
    }
}
