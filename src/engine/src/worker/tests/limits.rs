//! Length limits, delays, purge.

use crate::{
    topology::settings::{Overflow, QueueSettings},
    worker::{
        command::WorkerCommand,
        testing::{Rig, bodies, changed, delivered, plain, text},
    },
};
use model::{Name, command::Reply, delivery::Outcome, message::DeathReason, record::Record};

fn bounded(overflow: Overflow) -> QueueSettings {
    QueueSettings {
        max_length: Some(2),
        overflow,
        dead_letter_exchange: Some(Name::from("dlx")),
        durable: true,
        ..Default::default()
    }
}

#[test]
fn overflow_modes() {
    let check = |overflow, accepted: &[bool], left: &[&str], dead: &[&str]| {
        let mut rig = Rig::new();
        let queue = rig.create(1, bounded(overflow));
        let (mut confirms, mut letters) = (Vec::new(), Vec::new());
        for body in ["a", "b", "c"] {
            let effects = rig.publish(queue, plain(body));
            confirms.extend(effects.confirms.iter().map(|(_, confirm)| confirm.accepted));
            letters.extend(effects.dead_letters);
        }
        assert_eq!(confirms, accepted, "{overflow:?}");
        let reasons = letters.iter().map(|dead| dead.message.extra.as_ref().unwrap().deaths[0].reason);
        assert!(reasons.into_iter().all(|reason| reason == DeathReason::MaxLength));
        assert_eq!(letters.iter().map(|dead| text(&dead.message)).collect::<Vec<_>>(), dead);
        assert_eq!(delivered(&rig.consume(1, 1, queue, 9)), left);
    };
    check(Overflow::DropHead, &[true, true, true], &["b", "c"], &["a"]);
    check(Overflow::RejectPublish, &[true, true, false], &["a", "b"], &[]);
    check(Overflow::RejectPublishDeadLetter, &[true, true, false], &["a", "b"], &["c"]);
}

#[test]
fn leased_messages_do_not_count_and_consumers_come_first() {
    let mut rig = Rig::new();
    let queue = rig.create(1, bounded(Overflow::DropHead));
    rig.consume(1, 1, queue, 3);
    let effects: Vec<String> = ["a", "b", "c", "d", "e", "f"]
        .iter()
        .flat_map(|body| delivered(&rig.publish(queue, plain(body))))
        .collect();
    assert_eq!(effects, ["a", "b", "c"]);
    assert_eq!(rig.status(queue).ready, 2);
    assert_eq!(bodies(rig.get(queue).iter()), ["e"]);
}

#[test]
fn length_in_bytes() {
    let mut rig = Rig::new();
    let settings = QueueSettings { max_length_bytes: Some(2), ..Default::default() };
    let queue = rig.create(1, settings);
    ["a", "b", "c"].iter().for_each(|body| drop(rig.publish(queue, plain(body))));
    assert_eq!(delivered(&rig.consume(1, 1, queue, 9)), ["b", "c"]);
}

#[test]
fn delayed_messages_wait() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { delay_ms: 50, ..Default::default() });
    rig.consume(1, 1, queue, 9);
    rig.publish(queue, plain("queue's"));
    rig.publish(queue, changed(plain("own"), |m| m.delay_ms = Some(10)));
    assert_eq!(delivered(&rig.publish(queue, changed(plain("none"), |m| m.delay_ms = Some(0)))), ["none"]);
    assert_eq!(rig.status(queue).delayed, 2);
    assert_eq!(delivered(&rig.pass(10)), ["own"]);
    assert_eq!(delivered(&rig.pass(39)), [""; 0]);
    assert_eq!(delivered(&rig.pass(1)), ["queue's"]);
}

#[test]
fn hidden_messages_come_back_to_their_place() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings::default());
    ["a", "b"].iter().for_each(|body| drop(rig.publish(queue, plain(body))));
    let lease = rig.get(queue).unwrap().lease.unwrap();
    rig.settle(1, lease, Outcome::HideFor(30));
    assert_eq!(rig.status(queue).delayed, 1);
    rig.pass(30);
    assert_eq!(delivered(&rig.consume(1, 1, queue, 9)), ["a", "b"]);
}

#[test]
fn purge_spares_what_is_held() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { durable: true, ..Default::default() });
    let durable = |body: &str| changed(plain(body), |m| m.durable = true);
    ["a", "b", "c"].iter().for_each(|body| drop(rig.publish(queue, durable(body))));
    let lease = rig.get(queue).unwrap().lease.unwrap();
    assert!(matches!(rig.ask(|asker| WorkerCommand::Purge { asker, queue }), Reply::Count(2)));
    assert!(matches!(&rig.log.last().unwrap(), Record::Settle { seqs, .. } if seqs[..] == [1, 2]));
    rig.settle(1, lease, Outcome::Requeue { failed: false });
    rig.publish(queue, durable("d"));
    assert!(matches!(rig.ask(|asker| WorkerCommand::Purge { asker, queue }), Reply::Count(2)));
    assert!(matches!(rig.log.last().unwrap(), Record::Purge { through: 3, .. }));
    assert_eq!(delivered(&rig.consume(2, 1, queue, 9)), [""; 0]);
    assert_eq!(delivered(&rig.publish(queue, durable("e"))), ["e"]);
}

#[test]
fn settlements_of_a_turn_are_one_record() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { durable: true, ..Default::default() });
    for body in ["a", "b", "c"] {
        let effects = rig.publish(queue, changed(plain(body), |m| m.durable = true));
        assert_eq!((effects.durable_confirms.len(), effects.confirms.len()), (1, 0));
    }
    let leases: Vec<_> =
        rig.consume(1, 1, queue, 9).deliveries.iter().map(|(_, delivery)| delivery.lease.unwrap()).collect();
    let acks = leases.into_iter().rev().map(|lease| WorkerCommand::Settle {
        connection: model::ids::ConnectionId(1),
        consumer: model::ids::ConsumerId(1),
        lease,
        outcome: Outcome::Ack,
    });
    let effects = rig.turn(acks.collect::<Vec<_>>());
    assert!(matches!(&effects.records[..], [Record::Settle { seqs, .. }] if seqs[..] == [0, 1, 2]));
}
