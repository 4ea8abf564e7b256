//! Random operations on one queue, checked step by step against a naive model, and at the end against its own log.

use super::model::{Held, Model};
use crate::{
    topology::settings::{QueueKind, QueueSettings},
    worker::{
        WorkerLimits,
        command::WorkerCommand,
        effect::Effects,
        testing::{Rig, changed, consume, plain, text},
    },
};
use model::{
    Name,
    command::Reply,
    delivery::{Delivery, Lease, Outcome},
    ids::{ConnectionId, ConsumerId, QueueId},
    message::DeathReason,
    record::{QueueState, Record},
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Publish { durable: bool, priority: u8, group: u8, ttl: Option<u64>, delay: Option<u64> },
    Get { connection: u64, auto_ack: bool },
    Consume { connection: u64, consumer: u32, credit: u32 },
    Cancel { connection: u64, consumer: u32 },
    Settle { which: usize, outcome: Outcome },
    Receive { max: u32, lease_ms: u64 },
    Delete { which: usize },
    Hide { which: usize, lease_ms: u64 },
    Pass { ms: u64 },
    Purge,
    Disconnect { connection: u64 },
    WritePage { succeeds: bool },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Ack),
        2 => any::<bool>().prop_map(|failed| Outcome::Requeue { failed }),
        1 => Just(Outcome::Reject),
        1 => (0..50u64).prop_map(Outcome::HideFor),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (connection, consumer) = (1..4u64, 1..3u32);
    let rarely = |max| prop_oneof![5 => Just(None), 1 => (1..max).prop_map(Some)];
    prop_oneof![
        10 => (any::<bool>(), 0..4u8, 0..3u8, rarely(60u64), rarely(60u64)).prop_map(
            |(durable, priority, group, ttl, delay)| Step::Publish { durable, priority, group, ttl, delay }
        ),
        2 => (connection.clone(), any::<bool>())
            .prop_map(|(connection, auto_ack)| Step::Get { connection, auto_ack }),
        2 => (connection.clone(), consumer.clone(), 0..4u32)
            .prop_map(|(connection, consumer, credit)| Step::Consume { connection, consumer, credit }),
        1 => (connection.clone(), consumer)
            .prop_map(|(connection, consumer)| Step::Cancel { connection, consumer }),
        8 => (any::<usize>(), outcome()).prop_map(|(which, outcome)| Step::Settle { which, outcome }),
        3 => (1..4u32, 1..80u64).prop_map(|(max, lease_ms)| Step::Receive { max, lease_ms }),
        3 => any::<usize>().prop_map(|which| Step::Delete { which }),
        1 => (any::<usize>(), 0..50u64).prop_map(|(which, lease_ms)| Step::Hide { which, lease_ms }),
        3 => (1..60u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..6u8).prop_map(|n| if n == 0 { Step::Purge } else { Step::Pass { ms: 1 } }),
        1 => connection.prop_map(|connection| Step::Disconnect { connection }),
        4 => (0..5u8).prop_map(|n| Step::WritePage { succeeds: n > 0 }),
    ]
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    let limit = prop_oneof![Just(None), (2..8u64).prop_map(Some)];
    (0..3u8, limit, prop_oneof![Just(None), (1..4u32).prop_map(Some)], any::<bool>()).prop_map(
        |(order, max_length, delivery_limit, quorum)| QueueSettings {
            kind: if quorum { QueueKind::Quorum } else { QueueKind::Classic },
            durable: true,
            max_length,
            delivery_limit,
            dead_letter_exchange: Some(Name::from("dlx")),
            max_priority: (order == 1).then_some(2),
            fifo: order == 2,
            ..Default::default()
        },
    )
}

/// The worker and the model side by side.
struct Pair {
    rig: Rig,
    model: Model,
    queue: QueueId,
    ttl: bool,
    pages: bool,
    /// Deletes wait for the disk.
    for_good: bool,
    published: u64,
}

impl Pair {
    fn new(settings: &QueueSettings, pages: bool) -> Self {
        let limits = WorkerLimits { page_messages: if pages { 2 } else { 1000 }, ..WorkerLimits::default() };
        let mut rig = Rig::with_limits(limits);
        rig.worker.press(pages);
        rig.slow_disk = true;
        let queue = rig.create(1, settings.clone());
        let model = Model::new(settings.clone(), rig.now);
        // Expiry and length limit interleave in ways that the model does not follow, and priorities have many heads.
        let ttl = settings.max_length.is_none() && settings.max_priority.is_none() && !settings.fifo;
        Self { rig, model, queue, ttl, pages, for_good: settings.fifo, published: 0 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish { durable, priority, group, ttl, delay } => {
                self.publish(durable, priority, group, ttl, delay);
            }
            Step::Get { connection, auto_ack } => self.get(connection, auto_ack),
            Step::Consume { connection, consumer, credit } => self.consume(connection, consumer, credit),
            Step::Cancel { connection, consumer } => {
                let asker = self.rig.asker(connection);
                self.model.consumers.remove(&(connection, consumer));
                self.run(WorkerCommand::Cancel { asker, consumer: ConsumerId(consumer) });
            }
            Step::Settle { which, outcome } => self.settle(which, outcome),
            Step::Receive { max, lease_ms } => self.receive(max, lease_ms),
            Step::Delete { which } => self.delete(which),
            Step::Hide { which, lease_ms } => self.hide(which, lease_ms),
            Step::Pass { ms } => self.pass(ms),
            Step::Purge => {
                let (purged, queue) = (self.model.purge(), self.queue);
                let asker = self.rig.asker(7);
                let effects = self.run(WorkerCommand::Purge { asker, queue });
                let (_, reply) = effects.replies.iter().chain(&effects.durable_replies).next().unwrap();
                assert!(matches!(reply, Reply::Count(count) if *count == purged), "{reply:?} {purged}");
            }
            Step::Disconnect { connection } => {
                self.model.disconnect(connection);
                self.run(WorkerCommand::Disconnect { connection: ConnectionId(connection), at: 0 });
            }
            Step::WritePage { succeeds } => {
                let mut effects = Effects::default();
                self.rig.write_page(succeeds, &mut effects);
                self.rig.end_turn(&mut effects);
                self.check(&effects);
            }
        }
        self.check_counts();
    }

    /// Carries out a command whose effect on the model is done, and checks what came of it.
    fn run(&mut self, command: WorkerCommand) -> Effects {
        let effects = self.rig.turn([command]);
        self.check(&effects);
        effects
    }

    fn check(&mut self, effects: &Effects) {
        self.model.expire();
        for (connection, delivery) in &effects.deliveries {
            let taker = (connection.0, delivery.consumer.0);
            assert!(self.model.has_room(taker), "{taker:?} had no room");
            self.check_delivery(self.model.next(), delivery);
            let seq = delivery.lease.unwrap().seq;
            self.model.hand_out(seq, Held::Leased(taker.0, taker.1));
            self.model.expire();
        }
        self.model.enforce_length();
        let mut dead: Vec<_> = effects
            .dead_letters
            .iter()
            .map(|dead| (text(&dead.message), dead.message.extra.as_ref().unwrap().deaths[0].reason.as_str()))
            .collect();
        let mut expected: Vec<_> =
            self.model.dead.drain(..).map(|(body, reason)| (body, DeathReason::as_str(reason))).collect();
        dead.sort();
        expected.sort();
        assert_eq!(dead, expected, "dead letters");
        for dead in &effects.dead_letters {
            self.rig.settle(0, dead.lease, Outcome::Ack);
        }
        let takers: Vec<_> = self.model.consumers.keys().copied().collect();
        let idle = takers.into_iter().any(|taker| self.model.has_room(taker));
        assert!(!idle || self.model.next().is_none(), "somebody could have had it");
    }

    fn check_delivery(&self, expected: Option<u64>, delivery: &Delivery) {
        let item = self.model.find(expected.expect("nothing was to go out")).unwrap();
        assert_eq!(text(&delivery.message), item.body);
        assert_eq!(delivery.lease.map_or(item.seq, |lease| lease.seq), item.seq);
        assert_eq!(delivery.redelivered, item.redelivered);
        assert_eq!(delivery.earlier_deliveries, item.deliveries);
    }

    fn check_counts(&mut self) {
        let status = self.rig.worker.statuses().next().unwrap();
        let model = &self.model;
        assert_eq!(status.ready, model.count(|held| held == Held::Ready), "ready");
        assert_eq!(status.delayed, model.count(|held| matches!(held, Held::Delayed(_))), "delayed");
        let leased = model.count(|held| matches!(held, Held::Leased(..) | Held::Timed(_)));
        assert_eq!(status.leased, leased, "leased");
        let bytes: usize = model.items.iter().map(|item| plain(&item.body).cost_bytes()).sum();
        assert_eq!(status.bytes, bytes as u64, "bytes");
        assert_eq!(status.consumers as usize, model.consumers.len(), "consumers");
    }

    fn publish(&mut self, durable: bool, priority: u8, group: u8, ttl: Option<u64>, delay: Option<u64>) {
        self.published += 1;
        let body = format!("m{}", self.published);
        let (now, ttl) = (self.rig.now, ttl.filter(|_| self.ttl));
        let message = changed(plain(&body), |message| {
            (message.durable, message.priority) = (durable, priority);
            (message.ttl_ms, message.delay_ms, message.published_ms) = (ttl, delay, now);
            message.extra_mut().group = Some(Name::from(group.to_string()));
        });
        self.model.publish(&message, &body);
        let effects = self.rig.publish(self.queue, message);
        assert_eq!(
            (effects.durable_confirms.len(), effects.confirms.len()),
            if durable { (1, 0) } else { (0, 1) }
        );
        self.check(&effects);
    }

    fn get(&mut self, connection: u64, auto_ack: bool) {
        let (asker, queue) = (self.rig.asker(connection), self.queue);
        self.model.expire();
        let expected = self.model.next();
        let effects = self.rig.turn([WorkerCommand::Get { asker, queue, auto_ack }]);
        let (_, Reply::Got { delivery, .. }) = &effects.replies[0] else { panic!() };
        assert_eq!(delivery.is_some(), expected.is_some());
        if let (Some(delivery), Some(seq)) = (delivery, expected) {
            self.check_delivery(expected, delivery);
            self.model.hand_out(seq, Held::Leased(connection, 0));
            if auto_ack {
                self.model.remove(seq);
            }
        }
        self.check(&effects);
    }

    fn consume(&mut self, connection: u64, consumer: u32, credit: u32) {
        if self.model.consumers.contains_key(&(connection, consumer)) {
            return;
        }
        // A cancelled consumer's leases do not count against a new one of the same number.
        for item in &mut self.model.items {
            if item.held == Held::Leased(connection, consumer) {
                item.held = Held::Leased(connection, 0);
            }
        }
        self.model.consumers.insert((connection, consumer), credit);
        let (asker, queue) = (self.rig.asker(connection), self.queue);
        self.run(WorkerCommand::Consume { asker, queue, consume: consume(consumer, credit) });
    }

    fn settle(&mut self, which: usize, outcome: Outcome) {
        let leases = self.model.leases();
        let Some((connection, seq)) = leases.get(which % leases.len().max(1)).copied() else { return };
        match outcome {
            Outcome::Ack => self.model.remove(seq),
            Outcome::Requeue { failed } => self.model.give_back(seq, failed, Held::Ready),
            Outcome::Reject => self.model.die(seq, DeathReason::Rejected),
            Outcome::HideFor(0) => self.model.give_back(seq, true, Held::Ready),
            Outcome::HideFor(ms) => self.model.give_back(seq, true, Held::Delayed(self.model.now + ms)),
        }
        let lease = Lease { queue: self.queue, seq };
        let (connection, consumer) = (ConnectionId(connection), ConsumerId(1));
        self.run(WorkerCommand::Settle { connection, consumer, lease, outcome });
    }

    fn receive(&mut self, max: u32, lease_ms: u64) {
        let (asker, queue, until) = (self.rig.asker(9), self.queue, self.rig.now + lease_ms);
        let (lease_ms, wait_ms) = (Some(lease_ms), Some(0));
        let effects = self.rig.turn([WorkerCommand::Receive { asker, queue, max, lease_ms, wait_ms }]);
        let (_, Reply::Received(batch)) = &effects.replies[0] else { panic!() };
        let mut before = None;
        for delivery in batch {
            self.model.expire();
            let expected = before.and_then(|seq| self.model.follower(seq)).or_else(|| self.model.next());
            self.check_delivery(expected, delivery);
            before = expected;
            self.model.hand_out(expected.unwrap(), Held::Timed(until));
        }
        self.model.expire();
        // What is in pages need not come at once, but something must.
        if batch.len() < max as usize && (!self.pages || batch.is_empty()) {
            assert_eq!(self.model.next(), None, "it could have had more");
        }
        self.check(&effects);
    }

    fn timed(&self, which: usize) -> Option<(Lease, u32)> {
        let timed: Vec<_> =
            self.model.items.iter().filter(|item| matches!(item.held, Held::Timed(_))).collect();
        let item = timed.get(which % timed.len().max(1))?;
        Some((Lease { queue: self.queue, seq: item.seq }, item.deliveries - 1))
    }

    fn delete(&mut self, which: usize) {
        let Some((lease, generation)) = self.timed(which) else { return };
        self.model.remove(lease.seq);
        let asker = self.rig.asker(9);
        let effects = self.run(WorkerCommand::Delete { asker, lease, generation });
        let replies = if self.for_good { &effects.durable_replies } else { &effects.replies };
        assert!(matches!(replies[..], [(_, Reply::Done)]));
    }

    fn hide(&mut self, which: usize, lease_ms: u64) {
        let Some((lease, generation)) = self.timed(which) else { return };
        if lease_ms == 0 {
            self.model.give_back(lease.seq, true, Held::Ready);
        } else {
            let until = self.model.now + lease_ms;
            self.model.items.iter_mut().find(|item| item.seq == lease.seq).unwrap().held = Held::Timed(until);
        }
        let asker = self.rig.asker(9);
        self.run(WorkerCommand::Hide { asker, lease, generation, lease_ms });
    }

    fn pass(&mut self, ms: u64) {
        let end = self.rig.now + ms;
        while let Some(at) = self.rig.worker.next_deadline().filter(|at| *at <= end) {
            self.rig.now = at.max(self.rig.now);
            let (now, mut effects) = (self.rig.now, Effects::default());
            self.rig.worker.tick(now, &mut effects);
            self.rig.end_turn(&mut effects);
            self.model.advance(now);
            self.check(&effects);
        }
        self.rig.now = end;
        self.model.advance(end);
        self.check(&Effects::default());
    }

    /// How much is durable in the queue.
    fn durable(rig: &Rig, queue: QueueId) -> u64 {
        rig.worker.queue(queue).unwrap().durable_messages()
    }
}

/// What two workers that hold the same must say alike. What expired may be said or not.
fn state(rig: &Rig) -> Option<QueueState> {
    let mut state = rig.worker.snapshot().into_iter().find_map(|record| match record {
        Record::Queue(state) => Some(*state),
        _ => None,
    })?;
    // Numbers of transient messages are not in the log.
    state.next = 0;
    for (_, until_ms, _) in &mut state.leases {
        *until_ms = if *until_ms > rig.now { *until_ms } else { 0 };
    }
    Some(state).filter(|state| *state != QueueState { queue: state.queue, ..QueueState::default() })
}

proptest! {
    #[test]
    fn the_queue_does_what_the_model_does(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..80),
        pages in any::<bool>(),
        cuts in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut pair = Pair::new(&settings, pages);
        let mut snapshots = vec![(0, Vec::new())];
        for step in &steps {
            pair.step(step);
            snapshots.push((pair.rig.log.len(), pair.rig.worker.snapshot()));
        }
        let (rig, queue) = (&pair.rig, pair.queue);
        let expected = Pair::durable(rig, queue);
        let queues = [(1, settings)];
        // Everything; a snapshot and the log around it; a snapshot, and the contents that cleaning left.
        let (at, snapshot) = cuts.0.get(&snapshots);
        let cleaned = cuts.1.index(at + 1);
        let (before, behind) = rig.log.split_at(*at);
        let survivors = rig.survivors(cleaned);
        let tail = [behind, &survivors[..]].concat();
        for (snapshot, before, behind) in [
            (&[][..], &[][..], &rig.log[..]),
            (snapshot, before, behind),
            (snapshot, &before[cleaned..], &tail[..]),
        ] {
            let mut again = rig.replayed(&queues, snapshot, before, behind);
            prop_assert_eq!(again.worker.missing(), []);
            again.worker.end_replay(again.now);
            prop_assert_eq!(state(&again), state(rig));
            let mut effects = Effects::default();
            again.worker.recovered(again.now, &mut effects);
            again.end_turn(&mut effects);
            let held = again.worker.queue(queue).unwrap().counts();
            let whole = held.ready + held.delayed + held.leased + effects.dead_letters.len() as u64;
            prop_assert_eq!(whole, expected);
        }
    }
}
