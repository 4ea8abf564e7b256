//! Publishes the broker's own figures as retained messages at an interval.
//!
//! Owns: when, and gathering what no connection knows. Refuses: to word the figures; the registry's report does.

use super::dispatcher::Dispatcher;
use super::shared::{INTERNAL_CONNECTIONS, Shared};
use super::topology_task::{TopologyRequest, Wish};
use engine::worker::command::Asker;
use model::{
    Millis, Name,
    command::Publish,
    ids::{ConnectionId, RequestId},
    message::Message,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The connection that publishes.
const CONNECTION: ConnectionId = ConnectionId(INTERNAL_CONNECTIONS + (2 << 32));

/// What the sessions' owner counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Sessions, with or without a connection.
    pub(crate) sessions: u64,
    /// Sessions that ended because their time was over.
    pub(crate) expired: u64,
    /// Subscriptions of all sessions.
    pub(crate) subscriptions: u64,
    /// Those of them that share.
    pub(crate) shared_subscriptions: u64,
}

/// What the broker holds besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Sessions.
    pub(crate) census: Census,
    /// Retained messages.
    pub(crate) retained: u64,
    /// Messages in queues.
    pub(crate) queued: u64,
    /// Their bytes.
    pub(crate) queued_bytes: u64,
    /// Direct deliveries dropped because a connection did not keep up.
    pub(crate) dropped: u64,
}

/// Publishes what `report` makes of the figures, every `interval`, in `vhost`, until shutdown.
pub(crate) async fn run(
    shared: Arc<Shared>,
    vhost: Name,
    interval: Duration,
    mut report: impl FnMut(&Holdings, Millis) -> Vec<Arc<Message>> + Send,
    shutdown: CancellationToken,
) {
    let mut dispatcher = Dispatcher::new(shared.clone(), CONNECTION);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let Some(holdings) = holdings(&shared).await else { return };
        dispatcher.refresh();
        for message in report(&holdings, shared.now()) {
            if let Err(error) = dispatcher.publish(&vhost, Publish { message, confirm: None, retain: true }) {
                tracing::warn!(%error, "the broker's figures could not be published");
                break;
            }
        }
        dispatcher.flush();
    }
}

/// Gathers the figures; `None` while the broker shuts down.
async fn holdings(shared: &Shared) -> Option<Holdings> {
    let (sender, census) = oneshot::channel();
    let asker = Asker { connection: CONNECTION, request: RequestId(0) };
    let request = TopologyRequest { asker, vhost: Name::new(), wish: Wish::Census(sender) };
    shared.definitions.send(request).ok()?;
    let mut holdings =
        Holdings { census: census.await.ok()?, dropped: shared.dropped(), ..Holdings::default() };
    for stats in shared.worker_stats() {
        holdings.retained += stats.retained;
        holdings.queued += stats.ready + stats.leased + stats.delayed;
        holdings.queued_bytes += stats.bytes;
    }
    Some(holdings)
}
