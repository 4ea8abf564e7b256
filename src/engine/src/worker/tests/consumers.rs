//! Consumers: order, credit, priorities, exclusivity, windows, coming and going.

use crate::{
    topology::settings::{QueueKind, QueueSettings},
    worker::{
        WorkerLimits,
        command::WorkerCommand,
        testing::{Rig, consume, delivered, plain},
    },
};
use model::{
    command::{Reply, Signal},
    delivery::{Lease, Outcome},
    error::ErrorKind,
    ids::{ConnectionId, ConsumerId, QueueId},
};

fn publish_all(rig: &mut Rig, queue: QueueId, bodies: &[&str]) {
    bodies.iter().for_each(|body| drop(rig.publish(queue, plain(body))));
}

fn lease(queue: QueueId, seq: u64) -> Lease {
    Lease { queue, seq }
}

#[test]
fn credit_holds_back_and_settling_opens() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings::default());
    publish_all(&mut rig, queue, &["a", "b", "c", "d"]);
    assert_eq!(delivered(&rig.consume(1, 1, queue, 2)), ["a", "b"]);
    assert_eq!(delivered(&rig.settle(1, lease(queue, 0), Outcome::Ack)), ["c"]);
    assert_eq!(delivered(&rig.settle(2, lease(queue, 1), Outcome::Ack)), [""; 0], "not its lease");
    let effects = rig.settle(1, lease(queue, 1), Outcome::Requeue { failed: true });
    assert_eq!(delivered(&effects), ["b"]);
    let (_, again) = &effects.deliveries[0];
    assert!(again.redelivered);
    assert_eq!(again.earlier_deliveries, 1);
    let status = rig.status(queue);
    assert_eq!((status.ready, status.leased, status.consumers), (1, 2, 1));
}

#[test]
fn disconnect_returns_in_order_to_the_others() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings::default());
    publish_all(&mut rig, queue, &["a", "b", "c", "d", "e"]);
    rig.consume(1, 1, queue, 2);
    rig.consume(1, 2, queue, 1);
    let got = rig.get(queue).unwrap();
    assert_eq!(got.lease.unwrap().seq, 3);
    assert_eq!(delivered(&rig.disconnect(1)), [""; 0]);
    assert_eq!(delivered(&rig.consume(2, 1, queue, 10)), ["a", "b", "c", "d", "e"]);
    assert_eq!(rig.worker.stats().connections, 1);
}

#[test]
fn cancelled_consumers_keep_their_leases() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { auto_delete: true, ..Default::default() });
    publish_all(&mut rig, queue, &["a", "b"]);
    rig.consume(1, 1, queue, 1);
    let asker = rig.asker(1);
    let effects = rig.turn([WorkerCommand::Cancel { asker, consumer: ConsumerId(1) }]);
    assert_eq!(effects.ended, [queue]);
    assert_eq!(delivered(&rig.settle(1, lease(queue, 0), Outcome::Requeue { failed: false })), [""; 0]);
    assert_eq!(delivered(&rig.consume(1, 1, queue, 9)), ["a", "b"]);
}

#[test]
fn priorities_then_round_robin() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings::default());
    for (connection, priority, credit) in [(1, 0, 9), (2, 5, 2), (3, 5, 1), (4, 0, 9)] {
        let consume = model::command::Consume { priority, ..consume(1, credit) };
        let asker = rig.asker(connection);
        rig.turn([WorkerCommand::Consume { asker, queue, consume }]);
    }
    let mut takers = Vec::new();
    for body in ["a", "b", "c", "d", "e", "f"] {
        takers.extend(rig.publish(queue, plain(body)).deliveries.iter().map(|(who, _)| who.0));
    }
    assert_eq!(takers, [2, 3, 2, 1, 4, 1]);
}

#[test]
fn message_priorities_are_clamped() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { max_priority: Some(5), ..Default::default() });
    for (body, priority) in [("low", 0), ("five", 5), ("nine", 9), ("two", 2), ("zero", 0)] {
        let mut message = plain(body);
        message.priority = priority;
        rig.publish(queue, message);
    }
    let first = rig.get(queue).unwrap();
    rig.settle(1, first.lease.unwrap(), Outcome::Requeue { failed: true });
    assert_eq!(delivered(&rig.consume(2, 1, queue, 9)), ["five", "nine", "two", "low", "zero"]);
}

#[test]
fn exclusive_consumers_are_alone() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings::default());
    let exclusive = model::command::Consume { exclusive: true, ..consume(1, 1) };
    let asker = rig.asker(5);
    rig.turn([WorkerCommand::Consume { asker, queue, consume: exclusive.clone() }]);
    for wish in [consume(2, 1), exclusive] {
        let reply = rig.ask(|asker| WorkerCommand::Consume { asker, queue, consume: wish });
        let Reply::Failed(error) = reply else { panic!("{reply:?}") };
        assert_eq!(error.kind, ErrorKind::AccessRefused);
        assert_eq!(error.text, "queue 'q1' in vhost '/' in exclusive use");
    }
    rig.disconnect(5);
    assert!(matches!(
        rig.ask(|asker| WorkerCommand::Consume { asker, queue, consume: consume(2, 1) }),
        Reply::Done
    ));
}

#[test]
fn one_active_consumer_at_a_time() {
    for (kind, after_settle) in [(QueueKind::Classic, 1), (QueueKind::Quorum, 3)] {
        let mut rig = Rig::new();
        let settings = QueueSettings { kind, single_active_consumer: true, ..Default::default() };
        let queue = rig.create(1, settings);
        for (connection, priority) in [(1, 0), (2, 0)] {
            let consume = model::command::Consume { priority, ..consume(1, 1) };
            let asker = rig.asker(connection);
            rig.turn([WorkerCommand::Consume { asker, queue, consume }]);
        }
        let takers: Vec<u64> = ["a", "b"]
            .iter()
            .flat_map(|body| rig.publish(queue, plain(body)).deliveries)
            .map(|(who, _)| who.0)
            .collect();
        assert_eq!(takers, [1]);
        let asker = rig.asker(3);
        let consume = model::command::Consume { priority: 1, ..consume(1, 1) };
        rig.turn([WorkerCommand::Consume { asker, queue, consume }]);
        let effects = rig.settle(1, lease(queue, 0), Outcome::Ack);
        assert_eq!(effects.deliveries[0].0.0, after_settle, "{kind:?}");
        let effects = rig.disconnect(after_settle);
        assert_eq!(effects.deliveries[0].0.0, if after_settle == 3 { 1 } else { 3 });
    }
}

#[test]
fn the_window_of_a_connection_opens_as_it_drains() {
    let cost = plain("a").cost_bytes() as u64;
    let mut rig = Rig::with_limits(WorkerLimits { window_bytes: cost * 2, ..Default::default() });
    let queue = rig.create(1, QueueSettings::default());
    publish_all(&mut rig, queue, &["a", "b", "c", "d", "e"]);
    let asker = rig.asker(1);
    let wish = model::command::Consume { auto_ack: true, ..consume(1, 0) };
    let effects = rig.turn([WorkerCommand::Consume { asker, queue, consume: wish }]);
    assert_eq!(delivered(&effects), ["a", "b"]);
    assert!(effects.deliveries.iter().all(|(_, delivery)| delivery.lease.is_none()));
    let effects = rig.turn([WorkerCommand::Drained { connection: ConnectionId(1), bytes: cost }]);
    assert_eq!(delivered(&effects), ["c"]);
    let effects = rig.turn([WorkerCommand::Drained { connection: ConnectionId(1), bytes: cost * 9 }]);
    assert_eq!(delivered(&effects), ["d", "e"]);
}

#[test]
fn a_group_shares_its_credit_over_queues() {
    let mut rig = Rig::new();
    let queues = [rig.create(1, QueueSettings::default()), rig.create(2, QueueSettings::default())];
    let connection = ConnectionId(1);
    rig.turn([WorkerCommand::GroupCredit { connection, group: 4, credit: 2 }]);
    for (consumer, queue) in [(1, queues[0]), (2, queues[1])] {
        publish_all(&mut rig, queue, &["a", "b"]);
        let wish = model::command::Consume { group: Some(4), ..consume(consumer, u32::MAX) };
        let asker = rig.asker(1);
        rig.turn([WorkerCommand::Consume { asker, queue, consume: wish }]);
    }
    assert_eq!(rig.status(queues[0]).leased, 2);
    assert_eq!(rig.status(queues[1]).leased, 0);
    let effects = rig.settle(1, lease(queues[0], 1), Outcome::Ack);
    assert_eq!(effects.deliveries[0].1.lease.unwrap().queue, queues[1]);
    let effects = rig.turn([WorkerCommand::GroupCredit { connection, group: 4, credit: 3 }]);
    assert_eq!(delivered(&effects), ["b"]);
}

#[test]
fn deleting_tells_consumers_and_askers() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { durable: true, ..Default::default() });
    rig.consume(4, 6, queue, 0);
    publish_all(&mut rig, queue, &["a", "b"]);
    let asker = rig.asker(1);
    let effects = rig.turn([WorkerCommand::DeleteQueue { asker: Some(asker), queue }]);
    assert!(matches!(effects.durable_replies[..], [(_, Reply::Count(2))]));
    assert_eq!(effects.signals, [(ConnectionId(4), Signal::ConsumerCancelled(ConsumerId(6)))]);
    assert_eq!(rig.worker.stats().queues, 0);
    let reply = rig.ask(|asker| WorkerCommand::Get { asker, queue, auto_ack: true });
    assert!(matches!(reply, Reply::Failed(error) if error.kind == ErrorKind::NotFound));
    rig.disconnect(4);
    assert_eq!(rig.worker.stats().connections, 0);
}

#[test]
fn an_unused_queue_ends_after_its_time() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { expires_ms: Some(100), ..Default::default() });
    assert!(rig.pass(60).ended.is_empty());
    rig.get(queue);
    assert!(rig.pass(60).ended.is_empty());
    rig.consume(1, 1, queue, 1);
    assert!(rig.pass(500).ended.is_empty());
    rig.disconnect(1);
    assert!(rig.pass(99).ended.is_empty());
    assert_eq!(rig.pass(1).ended, [queue]);
    assert!(rig.pass(500).ended.is_empty(), "said once");
}
