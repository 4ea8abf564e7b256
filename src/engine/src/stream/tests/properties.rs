//! Random operations on a stream with very small pages.

use super::{
    model::{Consumer, Model},
    settings, small_pages,
};
use crate::{
    stream::hash_range,
    topology::settings::QueueSettings,
    worker::{
        WorkerLimits,
        command::WorkerCommand,
        effect::Effects,
        testing::{Rig, changed, consume, plain, text},
    },
};
use model::{
    command::{Consume, Reply, StreamPosition},
    delivery::{Lease, Outcome},
    ids::{ConnectionId, ConsumerId, QueueId, RequestId},
    record::Record,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

const SHARDS: u32 = 2;

/// What one restart or reader needs to know of where it begins.
#[derive(Clone, Copy, Debug)]
enum From {
    First,
    Last,
    Next,
    /// A part of what there ever was, in 1/256.
    Offset(u8),
    /// A part of the time that passed, in 1/256.
    Time(u8),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { shard: u32, count: u8 },
    Pass { ms: u64 },
    Read { shard: u32, from: From, max: u32 },
    Consume { connection: u64, from: From, credit: u32 },
    Ack { connection: u64 },
    Cancel { connection: u64 },
    SlowDisk(bool),
    SlowReads(bool),
    Write { succeeds: bool },
    Load,
    Press(bool),
    Snapshot,
    Restart { with_snapshot: bool },
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        Just(From::First),
        Just(From::Last),
        Just(From::Next),
        any::<u8>().prop_map(From::Offset),
        any::<u8>().prop_map(From::Time),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (shard, connection) = (0..SHARDS, 1..4u64);
    prop_oneof![
        8 => (shard.clone(), 1..12u8).prop_map(|(shard, count)| Step::Append { shard, count }),
        3 => (1..40u64).prop_map(|ms| Step::Pass { ms }),
        6 => (shard, from(), 1..9u32).prop_map(|(shard, from, max)| Step::Read { shard, from, max }),
        2 => (connection.clone(), from(), 1..30u32)
            .prop_map(|(connection, from, credit)| Step::Consume { connection, from, credit }),
        5 => connection.clone().prop_map(|connection| Step::Ack { connection }),
        1 => connection.prop_map(|connection| Step::Cancel { connection }),
        1 => any::<bool>().prop_map(Step::SlowDisk),
        1 => any::<bool>().prop_map(Step::SlowReads),
        2 => any::<bool>().prop_map(|succeeds| Step::Write { succeeds }),
        2 => Just(Step::Load),
        1 => any::<bool>().prop_map(Step::Press),
        1 => Just(Step::Snapshot),
        1 => any::<bool>().prop_map(|with_snapshot| Step::Restart { with_snapshot }),
    ]
}

/// The worker and the model side by side.
struct Pair {
    rig: Rig,
    model: Model,
    stream: QueueId,
    settings: QueueSettings,
    limits: WorkerLimits,
    /// Reads without an answer.
    waiting: BTreeMap<RequestId, (u32, StreamPosition, u32)>,
    /// Where the log stood when each epoch began.
    epochs: Vec<usize>,
    snapshot: Option<(Vec<Record>, usize)>,
}

impl Pair {
    fn new(max_age_ms: Option<u64>, max_records: Option<u64>) -> Self {
        let cost = plain("m000").cost_bytes() as u64;
        let max_length_bytes = max_records.map(|max| max * cost);
        let settings = QueueSettings { max_age_ms, max_length_bytes, ..settings(SHARDS) };
        // Shards share what a stream may hold.
        let limits = WorkerLimits { page_messages: 4 * SHARDS as usize, ..small_pages() };
        let mut rig = Rig::with_limits(limits.clone());
        let stream = rig.create(1, settings.clone());
        let mut model = Model::default();
        model.shards.resize_with(SHARDS as usize, Default::default);
        let waiting = BTreeMap::new();
        Self { rig, model, stream, settings, limits, waiting, epochs: vec![0], snapshot: None }
    }

    fn step(&mut self, step: Step) {
        self.rig.worker.begin_epoch(self.epochs.len() as u32);
        self.epochs.push(self.rig.log.len());
        match step {
            Step::Append { shard, count } => self.append(shard, count),
            Step::Pass { ms } => {
                let effects = self.rig.pass(ms);
                self.check(effects);
            }
            Step::Read { shard, from, max } => self.read(shard, from, max),
            Step::Consume { connection, from, credit } => self.consume(connection, from, credit),
            Step::Ack { connection } => self.ack(connection),
            Step::Cancel { connection } => {
                self.model.consumers.remove(&connection);
                self.run(WorkerCommand::Disconnect { connection: ConnectionId(connection), at: 0 });
            }
            Step::SlowDisk(slow) => self.rig.slow_disk = slow,
            Step::SlowReads(slow) => self.rig.slow_reads = slow,
            Step::Write { succeeds } => {
                let mut effects = Effects::default();
                self.rig.write_page(succeeds, &mut effects);
                self.rig.end_turn(&mut effects);
                self.check(effects);
            }
            Step::Load => {
                if let Some(read) = self.rig.unread.pop_front() {
                    self.run(read);
                }
            }
            Step::Press(pressed) => {
                self.rig.worker.press(pressed);
                let mut effects = Effects::default();
                self.rig.end_turn(&mut effects);
                self.check(effects);
            }
            Step::Snapshot => self.snapshot = Some((self.rig.worker.snapshot(), self.rig.log.len())),
            Step::Restart { with_snapshot } => self.restart(with_snapshot),
        }
    }

    fn run(&mut self, command: WorkerCommand) {
        let effects = self.rig.turn([command]);
        self.check(effects);
    }

    /// Holds what came of a turn against the model.
    fn check(&mut self, effects: Effects) {
        let now = self.rig.now;
        let by_age = self.settings.max_age_ms.filter(|_| self.settings.max_length_bytes.is_none());
        let firsts: Vec<u64> = self.model.shards.iter().map(|shard| shard.first).collect();
        let stream = self.rig.worker.stream(self.stream).unwrap();
        for (shard, model) in stream.shards.iter().zip(&mut self.model.shards) {
            let untouched = self.settings.max_age_ms.is_none() && self.settings.max_length_bytes.is_none();
            assert!(!untouched || shard.first() == 0);
            model.trimmed(shard.first(), by_age.map(|age| now - age.min(now)));
            assert_eq!((shard.next(), shard.len()), (model.next(), model.next() - model.first));
        }
        for (connection, delivery) in &effects.deliveries {
            let shard = delivery.lease.unwrap().seq >> 48;
            let (offset, body) = (delivery.offset.unwrap(), text(&delivery.message));
            self.model.delivered(connection.0, shard as usize, offset, &body);
        }
        for (asker, reply) in &effects.replies {
            let Reply::Records { records, next, .. } = reply else { continue };
            let request = self.waiting.remove(&asker.request).expect("one answer");
            let records: Vec<_> = records.iter().map(|(offset, message)| (*offset, text(message))).collect();
            self.model.read(request, firsts[request.0 as usize], &records, *next);
        }
        let waits = !self.rig.unread.is_empty();
        assert!(waits || self.waiting.is_empty(), "a read was forgotten");
    }

    fn append(&mut self, shard: u32, count: u8) {
        let (now, stream) = (self.rig.now, self.stream);
        let model = &mut self.model.shards[shard as usize];
        let messages = (0..count).map(|_| {
            let body = format!("m{:03}", model.next());
            model.records.push((now, body.clone()));
            let hash = hash_range(shard, SHARDS).0;
            Arc::new(changed(plain(&body), |message| message.extra_mut().explicit_hash = Some(hash)))
        });
        let messages = messages.collect();
        let asker = self.rig.asker(9);
        self.run(WorkerCommand::Append { asker, stream, messages });
    }

    fn position(&self, shard: u32, from: From) -> StreamPosition {
        let part = |whole: u64, part: u8| whole * u64::from(part) / 255;
        match from {
            From::First => StreamPosition::First,
            From::Last => StreamPosition::Last,
            From::Next => StreamPosition::Next,
            From::Offset(at) => StreamPosition::Offset(part(self.model.shards[shard as usize].next(), at)),
            From::Time(at) => StreamPosition::Time(1_000_000 + part(self.rig.now - 1_000_000, at)),
        }
    }

    fn read(&mut self, shard: u32, from: From, max: u32) {
        let (asker, stream) = (self.rig.asker(8), self.stream);
        let from = self.position(shard, from);
        self.waiting.insert(asker.request, (shard, from, max));
        self.run(WorkerCommand::Read { asker, stream, shard, from, max, max_bytes: 1_000_000 });
    }

    fn consume(&mut self, connection: u64, from: From, credit: u32) {
        if self.model.consumers.contains_key(&connection) {
            return;
        }
        let from = self.position(0, from);
        let next = self.model.shards.iter().map(|shard| shard.resolve(from)).collect();
        self.model.consumers.insert(connection, Consumer { next, unsettled: Vec::new() });
        let (asker, queue) = (self.rig.asker(connection), self.stream);
        let consume = Consume { from: Some(from), ..consume(1, credit) };
        self.run(WorkerCommand::Consume { asker, queue, consume });
    }

    fn ack(&mut self, connection: u64) {
        let Some(consumer) = self.model.consumers.get_mut(&connection) else { return };
        let unsettled = std::mem::take(&mut consumer.unsettled);
        let settle = |seq| WorkerCommand::Settle {
            connection: ConnectionId(connection),
            consumer: ConsumerId(1),
            lease: Lease { queue: self.stream, seq },
            outcome: Outcome::Ack,
        };
        let effects = self.rig.turn(unsettled.into_iter().map(settle));
        self.check(effects);
    }

    /// The state, as text.
    fn state(rig: &Rig) -> Vec<String> {
        rig.worker.snapshot().iter().map(|record| format!("{record:?}")).collect()
    }

    /// A worker takes over that knows nothing but the log, with what its cleaning left of it.
    fn restart(&mut self, with_snapshot: bool) {
        let log = self.rig.log.clone();
        let epoch = self.rig.worker.oldest_epoch().map_or(self.epochs.len() - 1, |epoch| epoch as usize);
        let (snapshot, cut) = self.snapshot.clone().filter(|_| with_snapshot).unwrap_or_default();
        let needed_from = self.epochs[epoch].min(cut);
        let queues = [(1, self.settings.clone())];
        let mut rig = self.rig.replayed(&queues, &snapshot, &log[needed_from..cut], &log[cut..]);
        let (now, mut effects) = (rig.now, Effects::default());
        assert_eq!(rig.worker.missing(), []);
        rig.worker.end_replay(now);
        assert_eq!(Self::state(&rig), Self::state(&self.rig));
        rig.worker.recovered(now, &mut effects);
        let needed: Vec<u64> = rig.worker.pages().map(|page| page.no).collect();
        assert!(needed.iter().all(|no| rig.files.contains_key(no)));
        rig.files.retain(|no, _| needed.contains(no));
        rig.log = log;
        rig.end_turn(&mut effects);
        self.rig = rig;
        self.model.consumers.clear();
        self.waiting.clear();
        self.check(effects);
    }

    /// With a disk that works, everybody gets everything, and hardly anything stays in memory.
    fn finish(&mut self) {
        self.rig.worker.press(false);
        (self.rig.slow_disk, self.rig.slow_reads) = (false, false);
        let mut effects = Effects::default();
        self.rig.end_turn(&mut effects);
        self.check(effects);
        let effects = self.rig.pass(5_001);
        self.check(effects);
        for connection in [1, 2, 3] {
            while self.model.consumers.get(&connection).is_some_and(|known| !known.unsettled.is_empty()) {
                self.ack(connection);
            }
        }
        assert!(self.waiting.is_empty());
        for consumer in self.model.consumers.values() {
            for (next, shard) in consumer.next.iter().zip(&self.model.shards) {
                assert!(*next >= shard.next() || shard.first == shard.next(), "{next} of {shard:?}");
            }
        }
        let needed: Vec<u64> = self.rig.worker.pages().map(|page| page.no).collect();
        assert!(needed.iter().all(|no| self.rig.files.contains_key(no)));
        assert_eq!(needed.len(), self.rig.files.len(), "a file is forgotten");
        self.rig.pass(20_000);
        let stream = self.rig.worker.stream(self.stream).unwrap();
        let most = 2 * self.limits.page_messages * plain("m000").cost_bytes();
        assert!(stream.memory_bytes() <= most as u64, "{} of {most}", stream.memory_bytes());
        assert_eq!(stream.memory_bytes(), stream.log_bytes());
    }
}

proptest! {
    #[test]
    fn the_stream_does_what_the_model_does(
        max_age_ms in prop_oneof![Just(None), (20..300u64).prop_map(Some)],
        max_records in prop_oneof![Just(None), (5..60u64).prop_map(Some)],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut pair = Pair::new(max_age_ms, max_records);
        for step in &steps {
            pair.step(*step);
        }
        pair.finish();
    }
}
