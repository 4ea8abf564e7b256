//! The topology task: the one owner of definitions and sessions.
//!
//! Owns: the order of definition changes, their records, answers that wait for a worker or the disk.
//! Refuses: messages, except wills that wait.

use super::dispatcher::Dispatcher;
use super::operator::Operation;
use super::sessions::Sessions;
use super::shared::{Shared, TOPOLOGY_CONNECTION};
use super::sys_topics::Census;
use crate::net::outbox::{Event, Outbox};
use bytes::Bytes;
use engine::topology::{Change, Definitions, Topology};
use engine::worker::command::{Asker, WorkerCommand};
use model::{
    Millis, Name,
    command::{Op, Reply},
    definition::QueueDeclare,
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, QueueId, RequestId, WorkerId},
};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests handled before the topology is published once for all of them.
const REQUESTS_PER_TURN: usize = 256;

/// Something for the topology task.
pub(crate) struct TopologyRequest {
    /// Whom to answer.
    pub(crate) asker: Asker,
    /// In which virtual host.
    pub(crate) vhost: Name,
    /// What.
    pub(crate) wish: Wish,
}

/// What can be wished.
pub(crate) enum Wish {
    /// A client's op.
    Op(Op),
    /// An operator's change.
    Operate(Box<Operation>),
    /// The asker's connection is over, its workers know already.
    Disconnected,
    /// A queue ended itself.
    QueueEnded(QueueId),
    /// Count the sessions and what they are subscribed to.
    Census(oneshot::Sender<Census>),
    /// Stop once everything before is done.
    Stop,
}

/// What is to be done when a worker answered.
pub(super) enum After {
    /// Give this answer.
    Answer(Asker, Box<Reply>),
    /// Give this answer once everything recorded so far is durable.
    Durably(Asker, Box<Reply>),
    /// The queue exists: answer with its counts.
    Declared(Asker, Name),
    /// Delete the queue if it is unused or empty as asked.
    DeleteIf { asker: Asker, vhost: Name, name: Name, if_unused: bool, if_empty: bool },
    /// Retained messages found: complete the answer. `own` is the queue of a session that must not lose them, with the
    /// subscription.
    Subscribed { asker: Asker, existed: bool, queue: Option<Name>, own: Option<(QueueId, u32)> },
}

/// The task's state.
pub(crate) struct TopologyTask {
    pub(super) shared: Arc<Shared>,
    pub(super) definitions: Definitions,
    pub(super) sessions: Sessions,
    pub(super) dispatcher: Dispatcher,
    publisher: watch::Sender<Arc<Topology>>,
    outbox: Arc<Outbox>,
    answers: Vec<(Asker, Reply)>,
    pending: FxHashMap<RequestId, After>,
    next_request: u64,
    records_since_barrier: bool,
}

impl TopologyTask {
    /// The task over definitions and sessions that are recovered.
    pub(crate) fn new(
        shared: Arc<Shared>,
        definitions: Definitions,
        sessions: Sessions,
        publisher: watch::Sender<Arc<Topology>>,
    ) -> Self {
        let outbox = Arc::new(Outbox::default());
        shared.enter_as(TOPOLOGY_CONNECTION, outbox.clone());
        Self {
            dispatcher: Dispatcher::new(shared.clone(), TOPOLOGY_CONNECTION),
            shared,
            definitions,
            sessions,
            publisher,
            outbox,
            answers: Vec::new(),
            pending: FxHashMap::default(),
            next_request: 1,
            records_since_barrier: false,
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<TopologyRequest>) {
        let mut batch = Vec::new();
        let mut events = Vec::new();
        let now = self.shared.now();
        self.resume_sessions(now);
        self.end_turn();
        // What was due meanwhile, before anybody comes; a will goes by the topology just published.
        self.run_timers(now);
        self.end_turn();
        loop {
            let wait =
                self.sessions.next_deadline().map_or(3_600_000, |at| at.saturating_sub(self.shared.now()));
            tokio::select! {
                _ = requests.recv_many(&mut batch, REQUESTS_PER_TURN) => {}
                () = self.outbox.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            let now = self.shared.now();
            self.outbox.swap(&mut events);
            for event in events.drain(..) {
                match event {
                    Event::Reply(request, reply) => self.worker_answered(request, *reply),
                    Event::Confirm(confirm) => self.worker_answered(RequestId(confirm.token.0), Reply::Done),
                    Event::Delivery(_) | Event::Signal(_) | Event::Window(..) | Event::Inspect(_) => {}
                }
            }
            for request in batch.drain(..) {
                if matches!(request.wish, Wish::Stop) {
                    self.end_turn();
                    return;
                }
                self.handle(request, now);
            }
            self.run_timers(now);
            self.end_turn();
        }
    }

    /// Changes to workers first, then the new topology, then the answers: who is answered sees what it asked for.
    fn end_turn(&mut self) {
        self.send_changes();
        self.dispatcher.flush();
        let topology = self.definitions.topology();
        self.publisher.send_if_modified(|current| {
            let newer = current.generation() != topology.generation();
            if newer {
                *current = Arc::new(topology.clone());
            }
            newer
        });
        for (asker, reply) in std::mem::take(&mut self.answers) {
            if let Some(outbox) = self.shared.outbox(asker.connection) {
                outbox.push(Event::Reply(asker.request, Box::new(reply)));
            }
        }
    }

    /// Sends the changes made so far to their workers.
    pub(super) fn send_changes(&mut self) {
        for Change::Worker(worker, command) in self.definitions.drain_changes() {
            self.records_since_barrier |= matches!(command, WorkerCommand::Define { .. });
            self.dispatcher.send(worker, command, 0);
        }
    }

    pub(super) fn answer(&mut self, asker: Asker, reply: Reply) {
        self.answers.push((asker, reply));
    }

    /// Answers once everything recorded so far is durable; at once when nothing was.
    pub(super) fn answer_durably(&mut self, asker: Asker, reply: Reply) {
        self.send_changes();
        if std::mem::take(&mut self.records_since_barrier) {
            self.after_records(After::Answer(asker, Box::new(reply)));
        } else {
            self.answer(asker, reply);
        }
    }

    /// Does `after` once everything recorded so far is durable.
    fn after_records(&mut self, after: After) {
        let asker = self.later(after);
        let barrier = WorkerCommand::Define {
            asker: Some(asker),
            kind: "barrier".into(),
            key: Name::new(),
            value: None,
        };
        self.dispatcher.send(WorkerId(0), barrier, 0);
    }

    /// Remembers what to do with a worker's answer; gives the address for the question.
    pub(super) fn later(&mut self, after: After) -> Asker {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.pending.insert(request, after);
        Asker { connection: TOPOLOGY_CONNECTION, request }
    }

    fn worker_answered(&mut self, request: RequestId, reply: Reply) {
        match (self.pending.remove(&request), reply) {
            (Some(After::Answer(asker, answer)), _) => self.answer(asker, *answer),
            (Some(After::Durably(asker, answer)), _) => self.answer_durably(asker, *answer),
            (Some(After::Declared(asker, name)), Reply::Status(status)) => {
                let (ready, consumers) = (status.ready, status.consumers);
                self.answer(asker, Reply::QueueDeclared { name, ready, consumers });
            }
            (Some(After::DeleteIf { asker, vhost, name, if_unused, if_empty }), Reply::Status(status)) => {
                if if_unused && status.consumers > 0 {
                    let text = format!("queue '{name}' in vhost '{vhost}' in use");
                    self.answer(asker, Reply::Failed(BrokerError::new(ErrorKind::Precondition, text)));
                } else if if_empty && status.ready > 0 {
                    let text = format!("queue '{name}' in vhost '{vhost}' not empty");
                    self.answer(asker, Reply::Failed(BrokerError::new(ErrorKind::NotEmpty, text)));
                } else {
                    self.delete_queue(asker, &vhost, &name);
                }
            }
            (Some(After::Subscribed { asker, existed, queue, own }), Reply::Subscribed { retained, .. }) => {
                self.subscribed(asker, existed, queue, own, retained)
            }
            (Some(After::Declared(asker, _) | After::DeleteIf { asker, .. }), other) => {
                self.answer(asker, other)
            }
            (Some(After::Subscribed { asker, .. }), other) => self.answer(asker, other),
            (None, _) => {}
        }
    }

    fn handle(&mut self, request: TopologyRequest, now: Millis) {
        let TopologyRequest { asker, vhost, wish, .. } = request;
        match wish {
            Wish::Op(op) => {
                if let Err(error) = self.op(asker, &vhost, op, now) {
                    self.send_changes();
                    self.answer(asker, Reply::Failed(error));
                }
            }
            Wish::Operate(operation) => {
                if let Err(error) = self.operate(asker, &vhost, *operation) {
                    self.send_changes();
                    self.answer(asker, Reply::Failed(error));
                }
            }
            Wish::Disconnected => {
                self.definitions.connection_closed(asker.connection);
                self.session_left(asker.connection, now);
            }
            Wish::QueueEnded(queue) => self.definitions.queue_ended(queue),
            Wish::Census(asker) => {
                // Who asked may be gone.
                let _ = asker.send(self.sessions.census());
            }
            Wish::Stop => {}
        }
    }

    fn op(&mut self, asker: Asker, vhost: &Name, op: Op, now: Millis) -> Result<(), BrokerError> {
        let actor = asker.connection;
        match op {
            Op::DeclareExchange(declare) => {
                self.admit(vhost)?;
                self.definitions.declare_exchange(vhost, actor, declare)?;
            }
            Op::DeleteExchange { name, if_unused } => {
                self.definitions.delete_exchange(vhost, actor, &name, if_unused)?;
            }
            Op::AlterExchange { name, arguments } => {
                self.definitions.alter_exchange(vhost, actor, &name, &arguments)?;
            }
            Op::AlterQueue { name, arguments } => {
                self.definitions.alter_queue(vhost, actor, &name, &arguments)?;
            }
            Op::Bind(binding) => {
                self.definitions.bind(vhost, actor, binding)?;
            }
            Op::Unbind(binding) => {
                self.definitions.unbind(vhost, actor, &binding)?;
            }
            Op::DeclareQueue(declare) => return self.declare_queue(asker, vhost, declare),
            Op::DeleteQueue { name, if_unused, if_empty } => {
                let queue = self.definitions.topology().queue(vhost, &name).cloned();
                match queue {
                    None => self.answer(asker, Reply::Count(0)),
                    Some(queue) if if_unused || if_empty => {
                        queue.check_access(actor)?;
                        let (vhost, after) = (vhost.clone(), queue.id);
                        let status = self.later(After::DeleteIf { asker, vhost, name, if_unused, if_empty });
                        self.ask_status(status, after);
                    }
                    Some(_) => self.delete_queue(asker, vhost, &name),
                }
                return Ok(());
            }
            op => return self.session_op(asker, vhost, op, now),
        }
        self.answer_durably(asker, Reply::Done);
        Ok(())
    }

    /// Virtual hosts of AWS accounts and regions come to be when they are first used; others an operator makes.
    fn admit(&mut self, vhost: &Name) -> Result<(), BrokerError> {
        if vhost.starts_with("aws:") {
            self.definitions.admit_vhost(vhost)?;
        }
        Ok(())
    }

    fn declare_queue(
        &mut self,
        asker: Asker,
        vhost: &Name,
        declare: QueueDeclare,
    ) -> Result<(), BrokerError> {
        self.admit(vhost)?;
        let name = declare.name.clone();
        let outcome = self.definitions.declare_queue(vhost, asker.connection, declare)?;
        match outcome.queue {
            Some(queue) if outcome.existed => {
                let status = self.later(After::Declared(asker, name));
                self.ask_status(status, queue.id);
            }
            _ => self.answer_durably(asker, Reply::QueueDeclared { name, ready: 0, consumers: 0 }),
        }
        Ok(())
    }

    fn delete_queue(&mut self, asker: Asker, vhost: &Name, name: &Name) {
        if let Err(error) = self.definitions.delete_queue(vhost, asker.connection, name, Some(asker)) {
            self.answer(asker, Reply::Failed(error));
        }
        self.send_changes();
    }

    fn ask_status(&mut self, asker: Asker, queue: QueueId) {
        self.send_changes();
        self.dispatcher.send(queue.worker(), WorkerCommand::Status { asker, queue }, 0);
    }

    /// A record of a thing that is not the definitions' own.
    pub(super) fn record(&mut self, kind: &str, key: Name, value: Option<Bytes>) {
        self.send_changes();
        self.records_since_barrier = true;
        self.dispatcher.send(
            WorkerId(0),
            WorkerCommand::Define { asker: None, kind: kind.into(), key, value },
            0,
        );
    }

    /// The connection that a broker-made definition belongs to.
    pub(super) const ITSELF: ConnectionId = ConnectionId(0);
}
