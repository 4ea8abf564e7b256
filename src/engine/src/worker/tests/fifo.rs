//! Message groups and deduplication.

use crate::{
    topology::settings::QueueSettings,
    worker::{
        command::WorkerCommand,
        testing::{Rig, bodies, delivered, plain},
    },
};
use model::{Name, command::Reply, delivery::Outcome, error::ErrorKind, message::Message};

fn settings() -> QueueSettings {
    QueueSettings { fifo: true, durable: true, ..Default::default() }
}

fn grouped(body: &str, group: &str, dedup: &str) -> Message {
    let mut message = plain(body);
    let extra = message.extra_mut();
    extra.group = Some(Name::from(group));
    extra.dedup = (!dedup.is_empty()).then(|| Name::from(dedup));
    message
}

#[test]
fn a_group_stands_still_while_one_of_it_is_out() {
    let mut rig = Rig::new();
    let queue = rig.create(1, settings());
    for (body, group) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b")] {
        rig.publish(queue, grouped(body, group, ""));
    }
    let batch = rig.receive(queue, 2);
    assert_eq!(bodies(&batch), ["a1", "a2"], "several of one group in order");
    assert_eq!(bodies(&rig.receive(queue, 1)), ["b1"]);
    assert!(rig.receive(queue, 10).is_empty());
    let lease = batch[0].lease.unwrap();
    rig.ask(|asker| WorkerCommand::Delete { asker, lease, generation: 0 });
    assert!(rig.receive(queue, 10).is_empty(), "a2 is still out");
    rig.pass(1000);
    assert_eq!(bodies(&rig.receive(queue, 10)), ["a2", "a3", "b1", "b2"]);
}

#[test]
fn an_expired_handle_is_no_good() {
    let mut rig = Rig::new();
    let queue = rig.create(1, settings());
    rig.publish(queue, grouped("m", "a", ""));
    let lease = rig.receive(queue, 1)[0].lease.unwrap();
    rig.pass(1000);
    for generation in [0, 1] {
        let reply = rig.ask(|asker| WorkerCommand::Delete { asker, lease, generation });
        assert!(matches!(reply, Reply::Failed(error) if error.kind == ErrorKind::Precondition));
    }
    assert_eq!(rig.receive(queue, 1).len(), 1);
    let reply = rig.ask(|asker| WorkerCommand::Delete { asker, lease, generation: 1 });
    assert!(matches!(reply, Reply::Done));
    assert_eq!(rig.status(queue).leased, 0);
}

#[test]
fn consumers_get_one_of_a_group_at_a_time() {
    let mut rig = Rig::new();
    let queue = rig.create(1, settings());
    for (body, group) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        rig.publish(queue, grouped(body, group, ""));
    }
    let effects = rig.consume(1, 1, queue, 10);
    assert_eq!(delivered(&effects), ["a1", "b1"]);
    let lease = effects.deliveries[0].1.lease.unwrap();
    assert_eq!(delivered(&rig.settle(1, lease, Outcome::Requeue { failed: true })), ["a1"]);
    assert_eq!(delivered(&rig.settle(1, lease, Outcome::Ack)), ["a2"]);
}

#[test]
fn a_hidden_message_keeps_its_group_waiting() {
    let mut rig = Rig::new();
    let queue = rig.create(1, settings());
    ["a1", "a2"].iter().for_each(|body| drop(rig.publish(queue, grouped(body, "a", ""))));
    let lease = rig.get(queue).unwrap().lease.unwrap();
    rig.settle(1, lease, Outcome::HideFor(100));
    assert!(rig.receive(queue, 10).is_empty());
    rig.pass(100);
    assert_eq!(bodies(&rig.receive(queue, 10)), ["a1", "a2"]);
}

#[test]
fn duplicates_are_confirmed_and_dropped() {
    for (per_group, other_group_is_new) in [(false, false), (true, true)] {
        let mut rig = Rig::new();
        let queue = rig.create(1, QueueSettings { dedup_per_group: per_group, ..settings() });
        let publish = |rig: &mut Rig, body: &str, group: &str, dedup: &str| {
            let before = rig.status(queue).ready;
            assert!(rig.publish(queue, grouped(body, group, dedup)).confirms[0].1.accepted);
            rig.status(queue).ready > before
        };
        assert!(publish(&mut rig, "one", "a", "x"));
        assert!(!publish(&mut rig, "again", "a", "x"));
        assert_eq!(publish(&mut rig, "other", "b", "x"), other_group_is_new);
        assert!(publish(&mut rig, "new", "a", "y"));
        rig.pass(5 * 60 * 1000);
        assert!(publish(&mut rig, "later", "a", "x"));
    }
}

#[test]
fn many_waiting_in_few_groups() {
    let mut rig = Rig::new();
    let queue = rig.create(1, settings());
    for n in 0..20_000 {
        rig.publish(queue, grouped(&n.to_string(), &(n % 4).to_string(), ""));
    }
    let mut seen = Vec::new();
    loop {
        let batch = rig.receive(queue, 10);
        if batch.is_empty() {
            break;
        }
        for delivery in batch {
            let (lease, generation) = (delivery.lease.unwrap(), delivery.earlier_deliveries);
            rig.ask(|asker| WorkerCommand::Delete { asker, lease, generation });
            seen.push(crate::worker::testing::text(&delivery.message).parse::<u64>().unwrap());
        }
    }
    assert_eq!(seen.len(), 20_000);
    for group in 0..4 {
        let own: Vec<_> = seen.iter().filter(|n| *n % 4 == group).collect();
        assert!(own.is_sorted());
    }
}
