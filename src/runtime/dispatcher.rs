//! From a published message to the workers' mailboxes: routing with a cache, one batch per worker and turn.
//!
//! Owns: a connection's view of the topology, its route cache, its outgoing batches, confirms split over workers.
//! Refuses: waiting. A full mailbox is the connection's to respect before it reads on.

use super::mailbox::Mail;
use super::shared::{INTERNAL_CONNECTIONS, Shared};
use super::totals::Tally;
use engine::topology::{Route, Topology};
use engine::worker::command::{Targets, WorkerCommand};
use model::{
    Name,
    command::{Publish, Routed},
    delivery::Confirm,
    error::{BrokerError, ErrorKind},
    ids::{ConfirmToken, ConnectionId, WorkerId},
    message::Message,
};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;
use tokio::sync::watch;

/// Routes kept per connection before the cache starts over.
const ROUTES_CACHED_MAX: usize = 16 * 1024;

type RouteCache = FxHashMap<Name, FxHashMap<Name, [Option<Arc<Route>>; 2]>>;

#[derive(Default)]
struct Batch {
    mail: Vec<Mail>,
    bytes: usize,
}

/// Routes and batches for one connection.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    connection: ConnectionId,
    watch: watch::Receiver<Arc<Topology>>,
    topology: Arc<Topology>,
    routes: RouteCache,
    routes_count: usize,
    batches: Vec<Batch>,
    direct: Vec<(Arc<Route>, usize, Arc<Message>)>,
    run: Vec<Arc<Message>>,
    split: FxHashMap<ConfirmToken, (u32, bool)>,
    /// What passed since the last flush.
    pub(crate) tally: Tally,
}

impl Dispatcher {
    /// A dispatcher for `connection`.
    pub(crate) fn new(shared: Arc<Shared>, connection: ConnectionId) -> Self {
        let mut watch = shared.topology.clone();
        let topology = watch.borrow_and_update().clone();
        Self {
            batches: shared.mailboxes.iter().map(|_| Batch::default()).collect(),
            shared,
            connection,
            watch,
            topology,
            routes: FxHashMap::default(),
            routes_count: 0,
            direct: Vec::new(),
            run: Vec::new(),
            split: FxHashMap::default(),
            tally: Tally::default(),
        }
    }

    /// Takes note of a newer topology. Called once per turn.
    pub(crate) fn refresh(&mut self) {
        if self.watch.has_changed().unwrap_or(false) {
            self.topology = self.watch.borrow_and_update().clone();
            self.routes.clear();
            self.routes_count = 0;
        }
    }

    /// The topology as this connection sees it now.
    pub(crate) fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Routes a message and puts it into the batches of the workers that it goes to.
    pub(crate) fn publish(&mut self, vhost: &Name, publish: Publish) -> Result<Routed, BrokerError> {
        let Publish { message, confirm, retain } = publish;
        if message.body.len() > self.shared.message_bytes_max {
            let text = format!(
                "message size {} is larger than configured max size {}",
                message.body.len(),
                self.shared.message_bytes_max
            );
            return Err(BrokerError::new(ErrorKind::Precondition, text));
        }
        let route = self.route(vhost, &message)?;
        let mut parts = 0;
        let mut destinations = 0;
        let token = confirm.map(|token| (self.connection, token));
        if retain {
            let kept = (!message.body.is_empty()).then(|| message.clone());
            let (vhost, topic) = (vhost.clone(), message.routing_key.clone());
            let command = WorkerCommand::Retain { vhost, topic, message: kept, confirm: token };
            self.send(WorkerId(0), command, message.cost_bytes());
            parts += 1;
        }
        for (index, leg) in route.legs.iter().enumerate() {
            let outgoing = leg.message.as_ref().unwrap_or(&message);
            destinations += leg.queues.len() + leg.direct.len();
            parts += self.enqueue(outgoing, &leg.queues, token);
            if !leg.direct.is_empty() {
                self.direct.push((route.clone(), index, outgoing.clone()));
            }
        }
        if let (Some(token), 2..) = (confirm, parts) {
            self.split.insert(token, (parts, true));
        }
        let pending = confirm.is_some() && parts > 0;
        // Dead letters and wills are not published by anyone.
        if self.connection.0 < INTERNAL_CONNECTIONS {
            self.tally.published += 1;
            self.tally.unroutable += u64::from(destinations == 0);
            self.tally.confirmed += u64::from(confirm.is_some() && !pending);
        }
        Ok(Routed { destinations: destinations as u32, pending })
    }

    /// Puts the message into one command per worker touched; returns how many.
    fn enqueue(
        &mut self,
        message: &Arc<Message>,
        queues: &[(model::ids::QueueId, u32)],
        confirm: Option<(ConnectionId, ConfirmToken)>,
    ) -> u32 {
        let bytes = message.cost_bytes();
        let Some((first, _)) = queues.first() else { return 0 };
        let worker = first.worker();
        if self.batches.len() == 1 || queues.iter().all(|(queue, _)| queue.worker() == worker) {
            let targets = Targets::from_slice(queues);
            self.send(worker, WorkerCommand::Publish { message: message.clone(), targets, confirm }, bytes);
            return 1;
        }
        let mut by_worker: SmallVec<[(WorkerId, Targets); 4]> = SmallVec::new();
        for target in queues {
            let worker = target.0.worker();
            match by_worker.iter_mut().find(|(known, _)| *known == worker) {
                Some((_, targets)) => targets.push(*target),
                None => by_worker.push((worker, Targets::from_slice(&[*target]))),
            }
        }
        let parts = by_worker.len() as u32;
        for (worker, targets) in by_worker {
            self.send(worker, WorkerCommand::Publish { message: message.clone(), targets, confirm }, bytes);
        }
        parts
    }

    fn route(&mut self, vhost: &Name, message: &Arc<Message>) -> Result<Arc<Route>, BrokerError> {
        let durable = usize::from(message.durable);
        let plain = message.extra.as_ref().is_none_or(|extra| extra.extra_keys.is_empty());
        if plain {
            let by_key = self.routes.get(&*message.exchange);
            let known =
                by_key.and_then(|keys| keys.get(&*message.routing_key)).and_then(|pair| pair.get(durable));
            if let Some(Some(route)) = known {
                return Ok(route.clone());
            }
        }
        let mut route = Route::default();
        // The broker itself may publish to internal exchanges.
        let internal = self.connection.0 >= INTERNAL_CONNECTIONS;
        let publisher = if internal { ConnectionId(0) } else { self.connection };
        self.topology.route(vhost, message, publisher, &mut route)?;
        let route = Arc::new(route);
        if plain && route.cacheable {
            self.remember(message, durable, &route);
        }
        Ok(route)
    }

    fn remember(&mut self, message: &Message, durable: usize, route: &Arc<Route>) {
        if self.routes_count >= ROUTES_CACHED_MAX {
            self.routes.clear();
            self.routes_count = 0;
        }
        self.routes_count += 1;
        // Own copies of the names: the message's may be slices of a large buffer.
        let keys = self.routes.entry(Name::from(&*message.exchange)).or_default();
        if let Some(slot) = keys.entry(Name::from(&*message.routing_key)).or_default().get_mut(durable) {
            *slot = Some(route.clone());
        }
    }

    /// Adds a command to a worker's batch.
    pub(crate) fn send(&mut self, worker: WorkerId, command: WorkerCommand, bytes: usize) {
        if let Some(batch) = self.batches.get_mut(usize::from(worker.0)) {
            batch.mail.push(Mail::Command(command));
            batch.bytes += bytes + 128;
        }
    }

    /// Adds a command to every worker's batch.
    pub(crate) fn send_all(&mut self, command: &WorkerCommand) {
        for batch in &mut self.batches {
            batch.mail.push(Mail::Command(command.clone()));
        }
    }

    /// Folds the confirms of a publish that went to several workers into one.
    pub(crate) fn confirmed(&mut self, confirm: Confirm) -> Option<Confirm> {
        if self.split.is_empty() {
            return Some(confirm);
        }
        let Some((left, accepted)) = self.split.get_mut(&confirm.token) else { return Some(confirm) };
        *left -= 1;
        *accepted &= confirm.accepted;
        if *left > 0 {
            return None;
        }
        let accepted = *accepted;
        self.split.remove(&confirm.token);
        Some(Confirm { token: confirm.token, accepted })
    }

    /// Sends every batch on its way and hands direct deliveries to their sinks.
    pub(crate) fn flush(&mut self) {
        if self.tally != Tally::default() {
            self.shared.totals.take(&mut self.tally);
        }
        for (batch, mailbox) in self.batches.iter_mut().zip(&self.shared.mailboxes) {
            mailbox.push_all(&mut batch.mail, batch.bytes);
            batch.bytes = 0;
        }
        if !self.direct.is_empty() {
            self.flush_direct();
        }
    }

    /// Runs of messages with the same route go to each sink in one call.
    fn flush_direct(&mut self) {
        let mut direct = std::mem::take(&mut self.direct);
        for chunk in direct.chunk_by(|a, b| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1) {
            let Some((route, index, _)) = chunk.first() else { continue };
            self.run.extend(chunk.iter().map(|(_, _, message)| message.clone()));
            for subscriber in route.legs.get(*index).into_iter().flat_map(|leg| &leg.direct) {
                subscriber.sink.offer(subscriber.consumer, subscriber.via, &self.run);
            }
            self.run.clear();
        }
        direct.clear();
        self.direct = direct;
    }
}
