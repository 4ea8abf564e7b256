//! What of the log is known to be dead without reading it.

use crate::{
    topology::settings::QueueSettings,
    worker::{
        command::WorkerCommand,
        effect::Effects,
        testing::{Rig, changed, plain, text},
    },
};
use model::delivery::Outcome;

fn durable() -> QueueSettings {
    QueueSettings { durable: true, ..QueueSettings::default() }
}

fn lasting(text: &str) -> model::message::Message {
    changed(plain(text), |message| message.durable = true)
}

#[test]
fn the_oldest_live_message_holds_its_epoch() {
    let mut rig = Rig::new();
    let queue = rig.create(1, durable());
    assert_eq!(rig.worker.oldest_epoch(), None);
    for epoch in 1..=3 {
        rig.worker.begin_epoch(epoch);
        rig.publish(queue, lasting("m"));
        rig.publish(queue, lasting("n"));
    }
    assert_eq!(rig.worker.oldest_epoch(), Some(1));
    for expected in [Some(1), Some(2), Some(2), Some(3), Some(3), None] {
        let lease = rig.get(queue).unwrap().lease.unwrap();
        rig.settle(1, lease, Outcome::Ack);
        assert_eq!(rig.worker.oldest_epoch(), expected);
    }
}

#[test]
fn transient_messages_hold_nothing_back_for_good() {
    let mut rig = Rig::new();
    let queue = rig.create(1, durable());
    rig.worker.begin_epoch(1);
    rig.publish(queue, plain("transient"));
    assert_eq!(rig.worker.oldest_epoch(), None);
}

#[test]
fn numbers_are_not_given_out_twice_after_everything_was_dropped() {
    let mut rig = Rig::new();
    let queue = rig.create(1, durable());
    rig.publish(queue, lasting("a"));
    let asker = rig.asker(1);
    rig.turn([WorkerCommand::Purge { asker, queue }]);
    assert_eq!(rig.worker.oldest_epoch(), None);
    let mut again = rig.replayed(&[(1, durable())], &rig.worker.snapshot(), &[], &[]);
    again.worker.recovered(again.now, &mut Effects::default());
    again.publish(queue, lasting("b"));
    let delivery = again.get(queue).unwrap();
    assert_eq!((text(&delivery.message).as_str(), delivery.lease.unwrap().seq), ("b", 1));
}
