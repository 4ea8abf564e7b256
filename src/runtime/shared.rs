//! What every task of the broker shares: mailboxes, the topology's latest value, connections, users, the clock.

use super::mailbox::Mailbox;
use super::presence::Presence;
use super::topology_task::TopologyRequest;
use super::totals::Totals;
use crate::auth::Users;
use crate::net::outbox::Outbox;
use engine::topology::Topology;
use engine::worker::WorkerStats;
use model::{Millis, ids::ConnectionId, ids::WorkerId};
use rustc_hash::FxHashMap;
use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use store::{LocalLog, WorkerLog};
use tokio::sync::{mpsc, watch};

/// First connection id of those that belong to the broker itself (workers, the topology task).
pub(crate) const INTERNAL_CONNECTIONS: u64 = 1 << 63;
/// The topology task's own connection id.
pub(crate) const TOPOLOGY_CONNECTION: ConnectionId = ConnectionId(INTERNAL_CONNECTIONS + (1 << 32));

/// The connection id under which a worker receives confirms of its own dead letters.
pub(crate) fn worker_connection(worker: WorkerId) -> ConnectionId {
    ConnectionId(INTERNAL_CONNECTIONS + u64::from(worker.0))
}

/// State shared by all tasks.
pub(crate) struct Shared {
    /// One per worker.
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// The latest topology.
    pub(crate) topology: watch::Receiver<Arc<Topology>>,
    /// To the owner of the definitions.
    pub(crate) definitions: mpsc::UnboundedSender<TopologyRequest>,
    /// Users and virtual hosts.
    pub(crate) users: Users,
    /// Largest message body, bytes.
    pub(crate) message_bytes_max: usize,
    /// Message bytes in memory before publishers wait. At half of it, long queues leave memory sooner.
    pub(crate) memory_bytes_max: u64,
    /// Message bytes in the memory of each worker.
    pub(crate) held_bytes: Vec<AtomicU64>,
    /// Of each worker: messages come faster than its pager writes them.
    pub(crate) outrun: Vec<AtomicBool>,
    /// Each worker's log.
    pub(crate) logs: Vec<Arc<LocalLog>>,
    /// What went through since the start.
    pub(crate) totals: Totals,
    /// Open client connections.
    pub(crate) connections: AtomicUsize,
    worker_stats: Vec<Mutex<WorkerStats>>,
    /// Direct deliveries dropped by connections that are gone.
    dropped: AtomicU64,
    memory_low: AtomicBool,
    memory_short: AtomicBool,
    alarm: AtomicBool,
    registry: RwLock<FxHashMap<ConnectionId, Arc<Outbox>>>,
    present: RwLock<FxHashMap<ConnectionId, Arc<Presence>>>,
    next_connection: AtomicU64,
    clock: Clock,
}

/// Wall time that never goes back within a process.
struct Clock {
    started: Instant,
    started_ms: Millis,
}

/// Bytes that may wait for a log before publishers wait.
const LOG_BACKLOG_BYTES: usize = 64 * 1024 * 1024;

impl Shared {
    /// The shared state over its parts.
    pub(crate) fn new(
        mailboxes: Vec<Arc<Mailbox>>,
        topology: watch::Receiver<Arc<Topology>>,
        definitions: mpsc::UnboundedSender<TopologyRequest>,
        users: Users,
        config: &crate::config::Config,
        logs: Vec<Arc<LocalLog>>,
    ) -> Self {
        let started_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis);
        Self {
            held_bytes: mailboxes.iter().map(|_| AtomicU64::new(0)).collect(),
            outrun: mailboxes.iter().map(|_| AtomicBool::new(false)).collect(),
            worker_stats: mailboxes.iter().map(|_| Mutex::default()).collect(),
            dropped: AtomicU64::new(0),
            mailboxes,
            topology,
            definitions,
            users,
            message_bytes_max: config.message_bytes_max,
            memory_bytes_max: config.memory_bytes_max,
            logs,
            totals: Totals::default(),
            connections: AtomicUsize::new(0),
            memory_low: AtomicBool::new(false),
            memory_short: AtomicBool::new(false),
            alarm: AtomicBool::new(false),
            registry: RwLock::default(),
            present: RwLock::default(),
            next_connection: AtomicU64::new(1),
            clock: Clock { started: Instant::now(), started_ms },
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Millis {
        self.clock.started_ms + self.clock.started.elapsed().as_millis() as Millis
    }

    /// Enters a connection and gives it its id.
    pub(crate) fn enter(&self, outbox: Arc<Outbox>) -> ConnectionId {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        self.enter_as(id, outbox);
        id
    }

    /// Enters one of the broker's own connections.
    pub(crate) fn enter_as(&self, id: ConnectionId, outbox: Arc<Outbox>) {
        self.registry.write().unwrap_or_else(PoisonError::into_inner).insert(id, outbox);
    }

    /// Forgets a connection.
    pub(crate) fn leave(&self, id: ConnectionId) {
        let left = self.registry.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(dropped) = left.map(|outbox| outbox.dropped()).filter(|dropped| *dropped > 0) {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// Direct deliveries dropped so far because a connection did not keep up.
    pub(crate) fn dropped(&self) -> u64 {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let open: u64 = registry.values().map(|outbox| outbox.dropped()).sum();
        open + self.dropped.load(Ordering::Relaxed)
    }

    /// A worker's totals changed.
    pub(crate) fn note_stats(&self, worker: WorkerId, stats: WorkerStats) {
        if let Some(known) = self.worker_stats.get(usize::from(worker.0)) {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        }
    }

    /// Each worker's totals, as of a moment ago.
    pub(crate) fn worker_stats(&self) -> Vec<WorkerStats> {
        self.worker_stats.iter().map(|stats| *stats.lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// A client's connection is there.
    pub(crate) fn present(&self, presence: Arc<Presence>) {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        present.insert(presence.connection, presence);
    }

    /// A client's connection is gone.
    pub(crate) fn absent(&self, id: ConnectionId) {
        self.present.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Every client connection, in the order of their coming.
    pub(crate) fn presences(&self) -> Vec<Arc<Presence>> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = present.values().cloned().collect();
        drop(present);
        all.sort_unstable_by_key(|presence| presence.connection);
        all
    }

    /// Milliseconds since the broker started.
    pub(crate) fn uptime_ms(&self) -> Millis {
        self.clock.started.elapsed().as_millis() as Millis
    }

    /// A connection's outbox while it is there.
    pub(crate) fn outbox(&self, id: ConnectionId) -> Option<Arc<Outbox>> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// A worker's mailbox. Worker numbers come from queue ids, which only the broker makes.
    pub(crate) fn mailbox(&self, worker: WorkerId) -> Option<&Arc<Mailbox>> {
        self.mailboxes.get(usize::from(worker.0))
    }

    /// Publishers are to wait: too much for the workers, the log, the memory, or the disk.
    pub(crate) fn publishers_wait(&self) -> bool {
        self.mailboxes.iter().any(|mailbox| mailbox.congested())
            || self.logs.iter().any(|log| log.backlog_bytes() > LOG_BACKLOG_BYTES)
            || self.outrun.iter().any(|outrun| outrun.load(Ordering::Relaxed))
            || self.blocked().is_some()
    }

    /// Publishers were told that they are blocked.
    pub(crate) fn alarm_on(&self) -> bool {
        self.alarm.load(Ordering::Relaxed)
    }

    /// Wakes every connection when publishers became blocked or are no longer: one that waits for a confirm and sends
    /// nothing would not notice.
    pub(crate) fn tell_alarm(&self) {
        let blocked = self.blocked().is_some();
        if self.alarm.swap(blocked, Ordering::Relaxed) == blocked {
            return;
        }
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let outboxes: Vec<Arc<Outbox>> = registry.values().cloned().collect();
        drop(registry);
        outboxes.iter().for_each(|outbox| outbox.wake());
    }

    fn held(&self) -> u64 {
        self.held_bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Long queues are to keep in memory only what goes out soon. Ends a tenth below where it begins.
    pub(crate) fn memory_short(&self) -> bool {
        let was_short = self.memory_short.load(Ordering::Relaxed);
        let limit = if was_short { self.memory_bytes_max / 20 * 9 } else { self.memory_bytes_max / 2 };
        let is_short = self.held() > limit;
        if is_short != was_short {
            self.memory_short.store(is_short, Ordering::Relaxed);
        }
        is_short
    }

    /// Why publishers are blocked for longer, in RabbitMQ's words, if they are.
    pub(crate) fn blocked(&self) -> Option<&'static str> {
        let held = self.held();
        let disk_full = self.logs.iter().any(|log| log.disk_full());
        // Ends a tenth below where it begins, so that publishers are not told of every message that comes and goes.
        let was_low = self.memory_low.load(Ordering::Relaxed);
        let limit = if was_low { self.memory_bytes_max / 10 * 9 } else { self.memory_bytes_max };
        let is_low = held > limit;
        if is_low != was_low {
            self.memory_low.store(is_low, Ordering::Relaxed);
        }
        match (is_low, disk_full) {
            (true, true) => Some("low on memory & disk"),
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (false, false) => None,
        }
    }
}
