//! A connection's door into the broker: implements [`model::session::Broker`] over the dispatcher.
//!
//! Owns: login, access checks, names to ids, the flow window's accounting, the end of the connection.
//! Refuses: bytes of any protocol.

use super::access::Guard;
use super::outbox::{Event, Outbox};
use crate::auth::{Refusal, admission::Admission};
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::presence::{ConsumerFacts, Entered, Presence};
use crate::runtime::shared::Shared;
use crate::runtime::topology_task::{TopologyRequest, Wish};
use engine::topology::Queue;
use engine::worker::command::{Asker, WorkerCommand};
use model::{
    Millis, Name,
    command::{Consume, Credentials, Op, Publish, Reply, Routed},
    delivery::{Confirm, Delivery, Lease, Outcome},
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, ConsumerId, QueueId, RequestId, WorkerId},
    limits,
    session::{Broker, SessionSeed},
};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// Deliveries are reported as written once so many bytes of a worker's window are used, or when nothing is left
/// to write.
const REPORT_BYTES: u64 = limits::CONNECTION_WINDOW_BYTES / 4;

/// What a connection may do and has under way.
pub(crate) struct Port {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    connection: ConnectionId,
    presence: Arc<Presence>,
    admission: Arc<Admission>,
    dispatcher: Dispatcher,
    /// The virtual host and what the user may do there.
    entered: Option<(Name, Guard)>,
    consumers: FxHashMap<ConsumerId, (QueueId, Box<Consume>)>,
    local: VecDeque<(RequestId, Reply)>,
    windows: Vec<u64>,
    publishes: bool,
    blocked: bool,
}

impl Port {
    /// A port for the connection that `outbox` belongs to; it is entered in the registry here.
    pub(crate) fn new(
        shared: Arc<Shared>,
        outbox: Arc<Outbox>,
        seed: SessionSeed,
        admission: Arc<Admission>,
    ) -> Self {
        let connection = shared.enter(outbox.clone());
        let (since, entered) = (shared.now(), OnceLock::new());
        let presence = Arc::new(Presence { connection, seed, since, outbox: outbox.clone(), entered });
        shared.present(presence.clone());
        Self {
            dispatcher: Dispatcher::new(shared.clone(), connection),
            windows: vec![0; shared.mailboxes.len()],
            shared,
            outbox,
            connection,
            presence,
            admission,
            entered: None,
            consumers: FxHashMap::default(),
            local: VecDeque::new(),
            publishes: false,
            blocked: false,
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Millis {
        self.shared.now()
    }

    /// Called before the session is.
    pub(crate) fn begin_turn(&mut self) {
        self.dispatcher.refresh();
        if let Some((_, guard)) = &mut self.entered {
            guard.refresh(&self.shared.users);
        }
    }

    /// Called after the session was: sends what it put out on its way.
    pub(crate) fn end_turn(&mut self) {
        self.dispatcher.flush();
    }

    /// This connection is to read no more for now. Connections that publish wait for room; others only when
    /// mailboxes are full. Tells the session of longer blocks through the outbox.
    pub(crate) fn congested(&mut self) -> bool {
        if !self.publishes {
            return self.shared.mailboxes.iter().any(|mailbox| mailbox.congested());
        }
        let reason = self.shared.blocked();
        if reason.is_some() != self.blocked {
            self.blocked = reason.is_some();
            self.outbox.push(Event::Signal(match reason {
                Some(reason) => model::command::Signal::Blocked(reason.into()),
                None => model::command::Signal::Unblocked,
            }));
        }
        self.shared.publishers_wait()
    }

    /// The next answer that the port gave itself.
    pub(crate) fn next_local_reply(&mut self) -> Option<(RequestId, Reply)> {
        self.local.pop_front()
    }

    /// Folds confirms of split publishes.
    pub(crate) fn confirmed(&mut self, confirm: Confirm) -> Option<Confirm> {
        let confirm = self.dispatcher.confirmed(confirm);
        self.dispatcher.tally.confirmed += u64::from(confirm.is_some());
        confirm
    }

    /// Counts a message on its way to the session.
    pub(crate) fn count_delivery(&mut self, delivery: &Delivery) {
        let tally = &mut self.dispatcher.tally;
        match delivery.lease {
            Some(_) => tally.delivered += 1,
            None => tally.delivered_unacked += 1,
        }
        tally.redelivered += u64::from(delivery.redelivered);
    }

    /// Counts what an answer carries to the session.
    pub(crate) fn count_reply(&mut self, reply: &Reply) {
        self.dispatcher.tally.fetched += match reply {
            Reply::Got { delivery: Some(_), .. } => 1,
            Reply::Received(deliveries) => deliveries.len() as u64,
            _ => 0,
        };
    }

    /// The connection's consumers, for listings.
    pub(crate) fn consumers(&self) -> Vec<ConsumerFacts> {
        let consumers = self.consumers.iter();
        let mut facts: Vec<_> = consumers
            .map(|(consumer, (queue, consume))| ConsumerFacts {
                consumer: *consumer,
                queue: *queue,
                consume: (**consume).clone(),
            })
            .collect();
        facts.sort_unstable_by_key(|facts| facts.consumer);
        facts
    }

    /// The session was told that a consumer is over.
    pub(crate) fn forget_consumer(&mut self, consumer: ConsumerId) {
        self.consumers.remove(&consumer);
    }

    /// Publishers are held back, and this is one.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Deliveries worth `bytes` of a worker's window were handed to the session.
    pub(crate) fn delivered(&mut self, worker: WorkerId, bytes: u64) {
        if let Some(window) = self.windows.get_mut(usize::from(worker.0)) {
            *window += bytes;
        }
    }

    /// Everything handed to the session so far is written: opens the workers' windows again.
    pub(crate) fn drained(&mut self) {
        for (worker, window) in self.windows.iter_mut().enumerate() {
            if *window < REPORT_BYTES {
                continue;
            }
            let command =
                WorkerCommand::Drained { connection: self.connection, bytes: std::mem::take(window) };
            self.dispatcher.send(WorkerId(worker as u16), command, 0);
        }
        self.dispatcher.flush();
    }

    /// The connection is over: workers return its leases, the topology forgets what is its own.
    pub(crate) fn disconnect(&mut self, at: Millis) {
        self.dispatcher.send_all(&WorkerCommand::Disconnect { connection: self.connection, at });
        self.dispatcher.flush();
        let dropped = self.outbox.dropped();
        if dropped > 0 {
            tracing::info!(
                peer = &*self.presence.seed.peer,
                dropped,
                "QoS 0 messages dropped: the peer did not keep up"
            );
        }
        self.ask_topology(RequestId(0), Wish::Disconnected);
        self.shared.leave(self.connection);
        self.shared.absent(self.connection);
    }

    fn asker(&self, request: RequestId) -> Asker {
        Asker { connection: self.connection, request }
    }

    fn ask_topology(&mut self, request: RequestId, wish: Wish) {
        // What was published before must be in the mailboxes before a definition changes.
        self.dispatcher.flush();
        let vhost = self.entered.as_ref().map(|(vhost, _)| vhost.clone()).unwrap_or_default();
        let request = TopologyRequest { asker: self.asker(request), vhost, wish };
        if self.shared.definitions.send(request).is_err() {
            tracing::debug!("the broker is shutting down: a request was dropped");
        }
    }

    /// Name of who enters, and what it may do; nothing yet where only the credentials are checked.
    fn enter(&mut self, credentials: &Credentials, vhost: &Name) -> Result<(Name, Option<Guard>), Refusal> {
        self.dispatcher.refresh();
        let (users, seed) = (&self.shared.users, &self.presence.seed);
        let topology = self.dispatcher.topology();
        let exists = |vhost: &str| topology.vhost(vhost).is_some();
        // Who enters by the door's own rules has the rights that those give.
        if let Some(decided) = self.admission.decide(credentials, seed) {
            return decided.map(|user| (user.clone(), Some(Guard::everything(user, vhost.clone()))));
        }
        let known = users.enter(credentials, vhost, seed, self.admission.anonymous, exists);
        match known {
            Ok(user) if vhost.is_empty() => Ok((user, None)),
            Ok(user) => Ok((user.clone(), Some(Guard::new(user, vhost.clone(), users)))),
            Err(refusal) => {
                let user = self.admission.otherwise(credentials, seed, refusal)?;
                Ok((user.clone(), Some(Guard::everything(user, vhost.clone()))))
            }
        }
    }

    fn login(&mut self, credentials: &Credentials, vhost: &Name, client: &Name) -> Reply {
        match self.enter(credentials, vhost) {
            Ok((user, guard)) => {
                // AMQP clients first only prove who they are.
                if !vhost.is_empty() {
                    let entered =
                        Entered { user: user.clone(), vhost: vhost.clone(), client: client.clone() };
                    // A session enters once.
                    let _ = self.presence.entered.set(entered);
                    self.entered = guard.map(|guard| (vhost.clone(), guard));
                }
                Reply::LoggedIn { user }
            }
            Err(refusal) => {
                tracing::warn!(
                    peer = &*self.presence.seed.peer,
                    ?credentials,
                    vhost = &**vhost,
                    ?refusal,
                    "login refused"
                );
                Reply::Failed(match refusal {
                    Refusal::Credentials => BrokerError::new(ErrorKind::AccessRefused, "login refused"),
                    Refusal::NoVhost => {
                        BrokerError::new(ErrorKind::NotFound, format!("vhost {vhost} not found"))
                    }
                    Refusal::VhostRefused(user) => BrokerError::new(
                        ErrorKind::NotAllowed,
                        format!("access to vhost '{vhost}' refused for user '{user}'"),
                    ),
                })
            }
        }
    }

    fn queue(&self, vhost: &Name, name: &Name) -> Result<Arc<Queue>, BrokerError> {
        let queue = self
            .dispatcher
            .topology()
            .queue(vhost, name)
            .ok_or_else(|| BrokerError::not_found("queue", name, vhost))?;
        queue.check_access(self.connection)?;
        Ok(queue.clone())
    }

    /// Carries out an op: sends it on, or answers it at once.
    fn carry_out(&mut self, request: RequestId, op: Op) -> Result<Option<Reply>, BrokerError> {
        if let Op::Login { credentials, vhost, client } = &op {
            return Ok(Some(self.login(credentials, vhost, client)));
        }
        let Some((vhost, guard)) = &mut self.entered else {
            return Err(BrokerError::new(ErrorKind::NotAllowed, "not logged in"));
        };
        guard.check_op(&op, self.dispatcher.topology())?;
        let vhost = vhost.clone();
        let asker = self.asker(request);
        let (queue, command) = match op {
            Op::Consume(consume) => {
                let queue = self.queue(&vhost, &consume.queue)?.id;
                self.consumers.insert(consume.consumer, (queue, Box::new(consume.clone())));
                (queue, WorkerCommand::Consume { asker, queue, consume })
            }
            Op::Cancel(consumer) => {
                let Some((queue, _)) = self.consumers.remove(&consumer) else { return Ok(Some(Reply::Done)) };
                (queue, WorkerCommand::Cancel { asker, consumer })
            }
            Op::GroupCredit { group, credit } => {
                let connection = self.connection;
                self.dispatcher.send_all(&WorkerCommand::GroupCredit { connection, group, credit });
                return Ok(Some(Reply::Done));
            }
            Op::Get { queue, auto_ack } => {
                let queue = self.queue(&vhost, &queue)?.id;
                (queue, WorkerCommand::Get { asker, queue, auto_ack })
            }
            Op::Receive { queue, max, lease_ms, wait_ms } => {
                let queue = self.queue(&vhost, &queue)?.id;
                (queue, WorkerCommand::Receive { asker, queue, max, lease_ms, wait_ms })
            }
            Op::Delete { lease, generation } => {
                (lease.queue, WorkerCommand::Delete { asker, lease, generation })
            }
            Op::Hide { lease, generation, lease_ms } => {
                (lease.queue, WorkerCommand::Hide { asker, lease, generation, lease_ms })
            }
            Op::Status(name) => {
                let queue = self.queue(&vhost, &name)?.id;
                (queue, WorkerCommand::Status { asker, queue })
            }
            Op::FindDuplicate { queue, group, id } => {
                let queue = self.queue(&vhost, &queue)?.id;
                (queue, WorkerCommand::FindDuplicate { asker, queue, group, id })
            }
            Op::PurgeQueue(name) => {
                let queue = self.queue(&vhost, &name)?.id;
                (queue, WorkerCommand::Purge { asker, queue })
            }
            Op::Append { stream, messages } => {
                let stream = self.queue(&vhost, &stream)?.id;
                (stream, WorkerCommand::Append { asker, stream, messages })
            }
            Op::Read { stream, shard, from, max, max_bytes } => {
                let stream = self.queue(&vhost, &stream)?.id;
                (stream, WorkerCommand::Read { asker, stream, shard, from, max, max_bytes })
            }
            definition => {
                self.ask_topology(request, Wish::Op(definition));
                return Ok(None);
            }
        };
        self.dispatcher.send(queue.worker(), command, 0);
        Ok(None)
    }
}

impl Broker for Port {
    fn publish(&mut self, publish: Publish) -> Result<Routed, BrokerError> {
        let Some((vhost, guard)) = &mut self.entered else {
            return Err(BrokerError::new(ErrorKind::NotAllowed, "not logged in"));
        };
        guard.check_publish(&publish.message, self.dispatcher.topology())?;
        self.publishes = true;
        self.dispatcher.publish(vhost, publish)
    }

    fn settle(&mut self, consumer: ConsumerId, lease: Lease, outcome: Outcome) {
        self.dispatcher.tally.acknowledged += u64::from(outcome == Outcome::Ack);
        let command = WorkerCommand::Settle { connection: self.connection, consumer, lease, outcome };
        self.dispatcher.send(lease.queue.worker(), command, 0);
    }

    fn request(&mut self, request: RequestId, op: Op) {
        match self.carry_out(request, op) {
            Ok(Some(reply)) => self.local.push_back((request, reply)),
            Ok(None) => {}
            Err(error) => self.local.push_back((request, Reply::Failed(error))),
        }
    }
}
