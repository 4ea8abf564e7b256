//! The broker as async calls, for doors that are not session protocols (the AWS APIs).
//!
//! Owns: one internal connection, and who waits for which of its answers. A dropped caller's answer is given back:
//! messages received for it return to their queue.

use super::dispatcher::Dispatcher;
use super::operator::Operation;
use super::shared::Shared;
use super::topology_task::{TopologyRequest, Wish};
use crate::net::outbox::{Event, Outbox};
use engine::topology::Topology;
use engine::worker::command::{Asker, WorkerCommand};
use model::{
    Millis, Name,
    command::{Op, Publish, QueueStatus, Reply, Routed},
    delivery::{Confirm, Delivery, Lease, Outcome},
    error::{BrokerError, ErrorKind},
    ids::{ConfirmToken, ConnectionId, ConsumerId, QueueId, RequestId, WorkerId},
    message::Message,
};
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a publish waits for room before its caller is told to come again. Less than an SDK waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cheap handle to the broker.
#[derive(Clone)]
pub(crate) struct Caller {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    connection: ConnectionId,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

struct State {
    dispatcher: Dispatcher,
    next: u64,
    replies: FxHashMap<RequestId, oneshot::Sender<Reply>>,
    confirms: FxHashMap<ConfirmToken, oneshot::Sender<bool>>,
}

impl Caller {
    /// A caller with a connection of its own. [`Caller::run`] must run for answers to arrive.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let outbox = Arc::new(Outbox::default());
        let connection = shared.enter(outbox.clone());
        let state = State {
            dispatcher: Dispatcher::new(shared.clone(), connection),
            next: 1,
            replies: FxHashMap::default(),
            confirms: FxHashMap::default(),
        };
        Self { inner: Arc::new(Inner { shared, connection, outbox, state: Mutex::new(state) }) }
    }

    /// Hands answers to who waits for them. Never ends.
    pub(crate) async fn run(self) {
        let mut events = Vec::new();
        loop {
            self.inner.outbox.notified().await;
            self.inner.outbox.swap(&mut events);
            let mut state = self.state();
            for event in events.drain(..) {
                match event {
                    Event::Reply(request, reply) => state.answer(request, *reply),
                    Event::Confirm(confirm) => state.confirm(confirm),
                    Event::Delivery(_) | Event::Signal(_) | Event::Window(..) | Event::Inspect(_) => {}
                }
            }
            state.dispatcher.flush();
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Millis {
        self.inner.shared.now()
    }

    /// The topology at this moment.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.inner.shared.topology.borrow().clone()
    }

    /// Carries out an op in `vhost`; `Reply::Failed` comes back as the error.
    pub(crate) async fn op(&self, vhost: &Name, op: Op) -> Result<Reply, BrokerError> {
        if matches!(op, Op::Append { .. }) {
            self.room().await?;
        }
        let answer = {
            let mut state = self.state();
            state.dispatcher.refresh();
            let request = RequestId(state.next);
            state.next += 1;
            self.begin(&mut state, vhost, request, op)?;
            let (sender, answer) = oneshot::channel();
            state.replies.insert(request, sender);
            state.dispatcher.flush();
            answer
        };
        outcome(answer).await
    }

    /// Carries out an operator's change in `vhost`; `Reply::Failed` comes back as the error.
    pub(crate) async fn operate(&self, vhost: &Name, operation: Operation) -> Result<Reply, BrokerError> {
        let answer = {
            let mut state = self.state();
            let (asker, answer) = self.ask(&mut state);
            state.dispatcher.flush();
            let wish = Wish::Operate(Box::new(operation));
            let request = TopologyRequest { asker, vhost: vhost.clone(), wish };
            self.inner.shared.definitions.send(request).map_err(|_| shutting_down())?;
            answer
        };
        outcome(answer).await
    }

    /// The state of those queues and streams that are there.
    pub(crate) async fn statuses(&self, queues: &[QueueId]) -> Vec<QueueStatus> {
        let mut by_worker: FxHashMap<WorkerId, Vec<QueueId>> = FxHashMap::default();
        queues.iter().for_each(|queue| by_worker.entry(queue.worker()).or_default().push(*queue));
        let mut answers = Vec::new();
        {
            let mut state = self.state();
            for (worker, queues) in by_worker {
                let (asker, answer) = self.ask(&mut state);
                state.dispatcher.send(worker, WorkerCommand::Statuses { asker, queues }, 0);
                answers.push(answer);
            }
            state.dispatcher.flush();
        }
        let mut statuses = Vec::with_capacity(queues.len());
        for answer in answers {
            if let Ok(Reply::Statuses(some)) = answer.await {
                statuses.extend(some);
            }
        }
        statuses
    }

    /// Ends a lease taken by [`Op::Get`].
    pub(crate) fn settle(&self, lease: Lease, outcome: Outcome) {
        let (connection, consumer) = (self.inner.connection, ConsumerId(0));
        let mut state = self.state();
        let command = WorkerCommand::Settle { connection, consumer, lease, outcome };
        state.dispatcher.send(lease.queue.worker(), command, 0);
        state.dispatcher.flush();
    }

    /// A new request and who waits for its answer.
    fn ask(&self, state: &mut State) -> (Asker, oneshot::Receiver<Reply>) {
        let request = RequestId(state.next);
        state.next += 1;
        let (sender, answer) = oneshot::channel();
        state.replies.insert(request, sender);
        (Asker { connection: self.inner.connection, request }, answer)
    }

    fn begin(&self, state: &mut State, vhost: &Name, request: RequestId, op: Op) -> Result<(), BrokerError> {
        let asker = Asker { connection: self.inner.connection, request };
        let topology = state.dispatcher.topology().clone();
        let find = |name: &Name| -> Result<QueueId, BrokerError> {
            let queue =
                topology.queue(vhost, name).ok_or_else(|| BrokerError::not_found("queue", name, vhost))?;
            queue.check_access(self.inner.connection)?;
            Ok(queue.id)
        };
        let command = match op {
            Op::Receive { queue, max, lease_ms, wait_ms } => {
                WorkerCommand::Receive { asker, queue: find(&queue)?, max, lease_ms, wait_ms }
            }
            Op::Get { queue, auto_ack } => WorkerCommand::Get { asker, queue: find(&queue)?, auto_ack },
            Op::Delete { lease, generation } => WorkerCommand::Delete { asker, lease, generation },
            Op::Hide { lease, generation, lease_ms } => {
                WorkerCommand::Hide { asker, lease, generation, lease_ms }
            }
            Op::Status(name) => WorkerCommand::Status { asker, queue: find(&name)? },
            Op::FindDuplicate { queue, group, id } => {
                WorkerCommand::FindDuplicate { asker, queue: find(&queue)?, group, id }
            }
            Op::PurgeQueue(name) => WorkerCommand::Purge { asker, queue: find(&name)? },
            Op::Append { stream, messages } => {
                WorkerCommand::Append { asker, stream: find(&stream)?, messages }
            }
            Op::Read { stream, shard, from, max, max_bytes } => {
                WorkerCommand::Read { asker, stream: find(&stream)?, shard, from, max, max_bytes }
            }
            definition => {
                state.dispatcher.flush();
                let wish = Wish::Op(definition);
                let request = TopologyRequest { asker, vhost: vhost.clone(), wish };
                return self.inner.shared.definitions.send(request).map_err(|_| shutting_down());
            }
        };
        let (worker, bytes) = match &command {
            WorkerCommand::Append { stream, messages, .. } => {
                (stream.worker(), messages.iter().map(|message| message.cost_bytes()).sum())
            }
            WorkerCommand::Receive { queue, .. }
            | WorkerCommand::Get { queue, .. }
            | WorkerCommand::Status { queue, .. }
            | WorkerCommand::FindDuplicate { queue, .. }
            | WorkerCommand::Purge { queue, .. } => (queue.worker(), 0),
            WorkerCommand::Read { stream, .. } => (stream.worker(), 0),
            WorkerCommand::Delete { lease, .. } | WorkerCommand::Hide { lease, .. } => {
                (lease.queue.worker(), 0)
            }
            _ => return Err(BrokerError::new(ErrorKind::NotImplemented, "not an operation of this door")),
        };
        state.dispatcher.send(worker, command, bytes);
        Ok(())
    }

    /// Publishes messages in order; returns when every one is safe, or says why not.
    pub(crate) async fn publish(
        &self,
        vhost: &Name,
        messages: Vec<Arc<Message>>,
    ) -> Vec<Result<Routed, BrokerError>> {
        if let Err(error) = self.room().await {
            return messages.iter().map(|_| Err(error.clone())).collect();
        }
        let waiting: Vec<_> = {
            let mut state = self.state();
            state.dispatcher.refresh();
            let waiting = messages.into_iter().map(|message| state.publish(vhost, message)).collect();
            state.dispatcher.flush();
            waiting
        };
        let mut results = Vec::with_capacity(waiting.len());
        for part in waiting {
            results.push(match part {
                Err(error) => Err(error),
                Ok((routed, None)) => Ok(routed),
                Ok((routed, Some(safe))) => match safe.await {
                    Ok(true) => Ok(routed),
                    Ok(false) => Err(BrokerError::new(ErrorKind::LimitExceeded, "a destination is full")),
                    Err(_) => Err(shutting_down()),
                },
            });
        }
        results
    }

    /// Waits until publishers may go on. Errors: `Unavailable` when memory or disk stay full.
    async fn room(&self) -> Result<(), BrokerError> {
        let shared = &self.inner.shared;
        let began = tokio::time::Instant::now();
        while shared.publishers_wait() {
            if let Some(reason) = shared.blocked().filter(|_| began.elapsed() > PATIENCE) {
                return Err(BrokerError::new(ErrorKind::Unavailable, format!("the broker is {reason}")));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn outcome(answer: oneshot::Receiver<Reply>) -> Result<Reply, BrokerError> {
    match answer.await {
        Ok(Reply::Failed(error)) => Err(error),
        Ok(reply) => Ok(reply),
        Err(_) => Err(shutting_down()),
    }
}

fn shutting_down() -> BrokerError {
    BrokerError::new(ErrorKind::Unavailable, "the broker is shutting down")
}

type Published = Result<(Routed, Option<oneshot::Receiver<bool>>), BrokerError>;

impl State {
    fn publish(&mut self, vhost: &Name, message: Arc<Message>) -> Published {
        let token = ConfirmToken(self.next);
        self.next += 1;
        let routed =
            self.dispatcher.publish(vhost, Publish { message, confirm: Some(token), retain: false })?;
        if !routed.pending {
            return Ok((routed, None));
        }
        let (sender, safe) = oneshot::channel();
        self.confirms.insert(token, sender);
        Ok((routed, Some(safe)))
    }

    fn confirm(&mut self, confirm: Confirm) {
        if let Some(confirm) = self.dispatcher.confirmed(confirm)
            && let Some(waiting) = self.confirms.remove(&confirm.token)
        {
            let _ = waiting.send(confirm.accepted);
        }
    }

    fn answer(&mut self, request: RequestId, reply: Reply) {
        let Some(waiting) = self.replies.remove(&request) else { return };
        self.dispatcher.tally.fetched += match &reply {
            Reply::Got { delivery: Some(_), .. } => 1,
            Reply::Received(deliveries) => deliveries.len() as u64,
            _ => 0,
        };
        if let Err(Reply::Received(deliveries)) = waiting.send(reply) {
            self.give_back(deliveries);
        }
    }

    /// Nobody waits any more: the messages become visible again at once.
    fn give_back(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let Some(lease) = delivery.lease else { continue };
            // Request 0 is nobody's: the answer is dropped.
            let asker = Asker { connection: ConnectionId(0), request: RequestId(0) };
            let generation = delivery.earlier_deliveries;
            let command = WorkerCommand::Hide { asker, lease, generation, lease_ms: 0 };
            self.dispatcher.send(lease.queue.worker(), command, 0);
        }
    }
}
