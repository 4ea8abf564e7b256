//! What tests of the engine's worker share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{
    Worker, WorkerLimits,
    command::{Asker, WorkerCommand},
    effect::{Effects, PageOut},
};
use crate::topology::settings::QueueSettings;
use bytes::Bytes;
use model::{
    Millis, Name,
    command::{Consume, QueueStatus, Reply},
    delivery::{Delivery, Lease, Outcome},
    envelope::Envelope,
    ids::{ConfirmToken, ConnectionId, ConsumerId, QueueId, RequestId, WorkerId},
    message::{Body, Message, Native, PropertyCodec},
    record::Record,
    value::Table,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

struct NoProperties;

impl PropertyCodec for NoProperties {
    fn tag(&self) -> &'static str {
        "none"
    }

    fn envelope(&self, _properties: &Bytes) -> Envelope {
        Envelope::default()
    }
}

/// A message whose key and body are `text`.
pub(crate) fn plain(text: &str) -> Message {
    let native = Native { codec: &NoProperties, properties: Bytes::new() };
    let body = Body::from(Bytes::copy_from_slice(text.as_bytes()));
    Message::new(Name::new(), Name::from(text), native, body, 1_000_000)
}

/// A message with something set.
pub(crate) fn changed(mut message: Message, change: impl FnOnce(&mut Message)) -> Message {
    change(&mut message);
    message
}

/// The same, shared.
pub(crate) fn message(text: &str) -> Arc<Message> {
    Arc::new(plain(text))
}

/// A worker with its log and clock, one command per turn.
pub(crate) struct Rig {
    pub(crate) worker: Worker,
    pub(crate) now: Millis,
    pub(crate) log: Vec<Record>,
    /// Page files.
    pub(crate) files: BTreeMap<u64, Vec<Record>>,
    /// Pages to be written, while the disk is slow.
    pub(crate) unwritten: VecDeque<PageOut>,
    pub(crate) slow_disk: bool,
    /// What was read and is to come, while reading is slow.
    pub(crate) unread: VecDeque<WorkerCommand>,
    pub(crate) slow_reads: bool,
    next_file: u64,
    /// Of the turn so far.
    records: Vec<Record>,
    requests: u64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_limits(WorkerLimits::default())
    }

    pub(crate) fn with_limits(limits: WorkerLimits) -> Self {
        Self {
            worker: Worker::new(WorkerId(0), limits),
            now: 1_000_000,
            log: Vec::new(),
            files: BTreeMap::new(),
            unwritten: VecDeque::new(),
            slow_disk: false,
            unread: VecDeque::new(),
            slow_reads: false,
            next_file: 1,
            records: Vec::new(),
            requests: 0,
        }
    }

    /// Pumps, reads and writes pages, and takes the records to the log.
    pub(crate) fn end_turn(&mut self, effects: &mut Effects) {
        loop {
            while self.worker.pump(self.now, effects) {}
            self.log.append(&mut effects.records.clone());
            self.records.append(&mut effects.records);
            let asked = std::mem::take(&mut effects.page_ins);
            self.unwritten.extend(effects.page_outs.drain(..));
            let wait = self.slow_disk || self.unwritten.is_empty();
            for page_in in asked {
                let records = self.files[&page_in.page.no].clone();
                let (queue, shard, page) = (page_in.queue, page_in.shard, page_in.page.no);
                self.unread.push_back(WorkerCommand::PagedIn { queue, shard, page, records });
            }
            // What is asked for in the turn in which it dies is read before it is removed.
            for no in effects.dead_pages.drain(..) {
                self.files.remove(&no).expect("a page file dies once");
            }
            if (self.unread.is_empty() || self.slow_reads) && wait {
                effects.records = std::mem::take(&mut self.records);
                return;
            }
            while let Some(read) = self.unread.pop_front_if(|_| !self.slow_reads) {
                self.worker.apply(read, self.now, effects);
            }
            if !self.slow_disk {
                self.write_page(true, effects);
            }
        }
    }

    /// Writes the next page, or fails to.
    pub(crate) fn write_page(&mut self, succeeds: bool, effects: &mut Effects) {
        let Some(out) = self.unwritten.pop_front() else { return };
        let file = succeeds.then_some((self.next_file, 100));
        if succeeds {
            self.files.insert(self.next_file, out.records);
            self.next_file += 1;
        }
        let (queue, shard, first) = (out.queue, out.shard, out.first);
        self.worker.apply(WorkerCommand::PagedOut { queue, shard, first, file }, self.now, effects);
    }

    /// One turn with these commands.
    pub(crate) fn turn(&mut self, commands: impl IntoIterator<Item = WorkerCommand>) -> Effects {
        let mut effects = Effects::default();
        for command in commands {
            self.worker.apply(command, self.now, &mut effects);
        }
        self.end_turn(&mut effects);
        effects
    }

    /// Lets time pass, ticking whenever the worker asks for it.
    pub(crate) fn pass(&mut self, ms: Millis) -> Effects {
        let (mut effects, end) = (Effects::default(), self.now + ms);
        while let Some(at) = self.worker.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.worker.tick(self.now, &mut effects);
            self.end_turn(&mut effects);
        }
        self.now = end;
        effects
    }

    pub(crate) fn asker(&mut self, connection: u64) -> Asker {
        self.requests += 1;
        Asker { connection: ConnectionId(connection), request: RequestId(self.requests) }
    }

    /// A queue named `q<number>`.
    pub(crate) fn create(&mut self, number: u64, settings: QueueSettings) -> QueueId {
        let queue = QueueId::new(WorkerId(0), number);
        let (vhost, name, settings) = (Name::from("/"), format!("q{number}").into(), Arc::new(settings));
        self.turn([WorkerCommand::CreateQueue { queue, vhost, name, settings }]);
        queue
    }

    pub(crate) fn publish(&mut self, queue: QueueId, message: Message) -> Effects {
        let confirm = Some((ConnectionId(99), ConfirmToken(7)));
        let targets = [(queue, 0)].into_iter().collect();
        self.turn([WorkerCommand::Publish { message: Arc::new(message), targets, confirm }])
    }

    pub(crate) fn consume(&mut self, connection: u64, consumer: u32, queue: QueueId, credit: u32) -> Effects {
        let consume = consume(consumer, credit);
        let asker = self.asker(connection);
        self.turn([WorkerCommand::Consume { asker, queue, consume }])
    }

    pub(crate) fn settle(&mut self, connection: u64, lease: Lease, outcome: Outcome) -> Effects {
        let (connection, consumer) = (ConnectionId(connection), ConsumerId(1));
        self.turn([WorkerCommand::Settle { connection, consumer, lease, outcome }])
    }

    pub(crate) fn disconnect(&mut self, connection: u64) -> Effects {
        let at = self.now;
        self.turn([WorkerCommand::Disconnect { connection: ConnectionId(connection), at }])
    }

    /// The one answer to a command.
    pub(crate) fn ask(&mut self, make: impl FnOnce(Asker) -> WorkerCommand) -> Reply {
        let asker = self.asker(1);
        let mut effects = self.turn([make(asker)]);
        effects.replies.append(&mut effects.durable_replies);
        effects.replies.into_iter().find(|(who, _)| *who == asker).expect("an answer").1
    }

    pub(crate) fn get(&mut self, queue: QueueId) -> Option<Delivery> {
        match self.ask(|asker| WorkerCommand::Get { asker, queue, auto_ack: false }) {
            Reply::Got { delivery, .. } => delivery.map(|delivery| *delivery),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn receive(&mut self, queue: QueueId, max: u32) -> Vec<Delivery> {
        let (lease_ms, wait_ms) = (Some(1000), Some(0));
        match self.ask(|asker| WorkerCommand::Receive { asker, queue, max, lease_ms, wait_ms }) {
            Reply::Received(deliveries) => deliveries,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&mut self, queue: QueueId) -> QueueStatus {
        match self.ask(|asker| WorkerCommand::Status { asker, queue }) {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// What is left of this one's first `cut` records after they were cleaned.
    pub(crate) fn survivors(&self, cut: usize) -> Vec<Record> {
        self.log[..cut].iter().filter_map(|record| self.worker.survivor(record)).collect()
    }

    /// Another worker that read a log.
    pub(crate) fn restarted(&self, queues: &[(u64, QueueSettings)], log: &[Record]) -> Rig {
        let mut rig = self.replayed(queues, &[], &[], log);
        let mut effects = Effects::default();
        rig.worker.recovered(rig.now, &mut effects);
        rig.end_turn(&mut effects);
        rig
    }

    /// Another worker in the middle of its recovery: from a snapshot, what of the log before it is left, and the log
    /// behind it.
    pub(crate) fn replayed(
        &self,
        queues: &[(u64, QueueSettings)],
        snapshot: &[Record],
        before: &[Record],
        log: &[Record],
    ) -> Rig {
        let mut rig = Rig::with_limits(self.worker.limits.clone());
        rig.now = self.now;
        rig.files.clone_from(&self.files);
        rig.next_file = self.next_file;
        for (number, settings) in queues.iter().filter(|(_, settings)| settings.durable) {
            rig.create(*number, settings.clone());
        }
        snapshot.iter().for_each(|record| rig.worker.replay(record));
        before.iter().for_each(|record| rig.worker.replay_content(record));
        log.iter().for_each(|record| rig.worker.replay(record));
        rig
    }
}

/// A plain wish to consume.
pub(crate) fn consume(consumer: u32, credit: u32) -> Consume {
    Consume {
        queue: Name::from("q"),
        consumer: ConsumerId(consumer),
        auto_ack: false,
        credit,
        group: None,
        exclusive: false,
        priority: 0,
        from: None,
        arguments: Table::new(),
    }
}

/// The bodies of deliveries.
pub(crate) fn bodies<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Vec<String> {
    deliveries.into_iter().map(|delivery| text(&delivery.message)).collect()
}

/// The bodies delivered in a turn.
pub(crate) fn delivered(effects: &Effects) -> Vec<String> {
    bodies(effects.deliveries.iter().map(|(_, delivery)| delivery))
}

pub(crate) fn text(message: &Message) -> String {
    String::from_utf8(message.body.joined().to_vec()).unwrap()
}
