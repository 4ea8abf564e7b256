//! Time to live, dead letters, delivery limits.

use crate::{
    topology::settings::{QueueKind, QueueSettings},
    worker::testing::{Rig, changed, delivered, plain, text},
};
use model::{Name, delivery::Outcome, message::DeathReason, record::Record};

fn settings() -> QueueSettings {
    QueueSettings { durable: true, dead_letter_exchange: Some(Name::from("dlx")), ..Default::default() }
}

#[test]
fn a_rejected_message_leaves_once_it_is_safe() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { dead_letter_key: Some(Name::from("dead")), ..settings() });
    let mut message = plain("m");
    message.durable = true;
    message.exchange = Name::from("ex");
    message.ttl_ms = Some(60_000);
    message.extra_mut().extra_keys = vec![Name::from("cc")];
    rig.publish(queue, message);
    let lease = rig.get(queue).unwrap().lease.unwrap();
    let effects = rig.settle(1, lease, Outcome::Reject);
    assert!(effects.records.is_empty(), "it is not gone yet");
    let [dead] = &effects.dead_letters[..] else { panic!() };
    assert_eq!((&*dead.message.exchange, &*dead.message.routing_key), ("dlx", "dead"));
    assert_eq!((dead.message.ttl_ms, &*dead.vhost), (None, "/"));
    let extra = dead.message.extra.as_ref().unwrap();
    assert!(extra.extra_keys.is_empty());
    assert_eq!(extra.first_death, Some((Name::from("q1"), DeathReason::Rejected, Name::from("ex"))));
    let death = &extra.deaths[0];
    assert_eq!((death.count, death.time_ms, death.original_ttl_ms), (1, rig.now, Some(60_000)));
    assert_eq!(death.routing_keys, [Name::from("m"), Name::from("cc")]);
    assert_eq!(rig.get(queue).map(|_| ()), None);
    let effects = rig.settle(0, dead.lease, Outcome::Ack);
    assert!(matches!(&effects.records[..], [Record::Settle { seqs, .. }] if seqs[..] == [0]));
    assert_eq!(rig.worker.live_bytes(), 0);
}

#[test]
fn messages_expire_at_the_head_and_by_timer() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { message_ttl_ms: Some(100), ..settings() });
    let timed = |body: &str, ttl| changed(plain(body), |m| m.ttl_ms = ttl);
    rig.publish(queue, timed("queue's", None));
    rig.publish(queue, timed("own", Some(20)));
    rig.publish(queue, timed("longer", Some(5000)));
    assert!(rig.pass(99).dead_letters.is_empty(), "the second waits behind the first");
    let dead = rig.pass(1).dead_letters;
    assert_eq!(dead.iter().map(|dead| text(&dead.message)).collect::<Vec<_>>(), ["queue's", "own", "longer"]);
    assert_eq!(dead[1].message.extra.as_ref().unwrap().deaths[0].reason, DeathReason::Expired);
    assert_eq!(rig.status(queue).ready, 0);
}

#[test]
fn nothing_to_live_means_now_or_never() {
    let mut rig = Rig::new();
    let queue = rig.create(1, settings());
    let doomed = |body: &str| changed(plain(body), |m| m.ttl_ms = Some(0));
    assert_eq!(rig.publish(queue, doomed("a")).dead_letters.len(), 1);
    rig.consume(1, 1, queue, 1);
    assert_eq!(delivered(&rig.publish(queue, doomed("b"))), ["b"]);
    assert_eq!(rig.publish(queue, doomed("c")).dead_letters.len(), 1);
}

#[test]
fn circles_without_a_rejection_are_cut() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { message_ttl_ms: Some(10), ..settings() });
    for (reason, kept) in [(DeathReason::Expired, false), (DeathReason::Rejected, true)] {
        rig.publish(queue, plain("m"));
        let dead = match reason {
            DeathReason::Rejected => {
                let lease = rig.get(queue).unwrap().lease.unwrap();
                rig.settle(1, lease, Outcome::Reject).dead_letters
            }
            _ => rig.pass(10).dead_letters,
        };
        let effects = rig.publish(queue, dead[0].message.derive());
        assert!(effects.confirms[0].1.accepted);
        rig.settle(0, dead[0].lease, Outcome::Ack);
        assert_eq!(rig.status(queue).ready, u64::from(kept), "{reason:?}");
    }
}

#[test]
fn history_counts_per_queue_and_reason() {
    let mut rig = Rig::new();
    let queues = [rig.create(1, settings()), rig.create(2, settings())];
    let mut message = plain("m");
    for queue in [queues[0], queues[1], queues[0]] {
        rig.publish(queue, message);
        let lease = rig.get(queue).unwrap().lease.unwrap();
        message = rig.settle(1, lease, Outcome::Reject).dead_letters[0].message.derive();
    }
    let extra = message.extra.unwrap();
    let seen: Vec<_> = extra.deaths.iter().map(|death| (&*death.queue, death.count)).collect();
    assert_eq!(seen, [("q1", 2), ("q2", 1)]);
    assert_eq!(extra.first_death.unwrap().0, "q1");
}

#[test]
fn the_delivery_limit_ends_it() {
    for (kind, deliveries) in [(QueueKind::Quorum, 3), (QueueKind::Classic, 2)] {
        let mut rig = Rig::new();
        let queue = rig.create(1, QueueSettings { kind, delivery_limit: Some(2), ..settings() });
        rig.publish(queue, changed(plain("m"), |m| m.durable = true));
        for delivery in 1..=deliveries {
            let lease = rig.get(queue).expect("one more delivery").lease.unwrap();
            let effects = rig.settle(1, lease, Outcome::Requeue { failed: true });
            assert_eq!(effects.dead_letters.len(), usize::from(delivery == deliveries), "{kind:?}");
            let counted = effects.records.iter().any(|record| matches!(record, Record::Count { .. }));
            assert_eq!(counted, delivery < deliveries);
        }
        assert!(rig.get(queue).is_none());
    }
}

#[test]
fn requeues_that_did_not_fail_do_not_count() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { delivery_limit: Some(1), ..settings() });
    rig.publish(queue, plain("m"));
    for earlier in 0..5 {
        let delivery = rig.get(queue).unwrap();
        assert_eq!(delivery.earlier_deliveries, earlier);
        rig.settle(1, delivery.lease.unwrap(), Outcome::Requeue { failed: false });
    }
    rig.get(queue).unwrap();
    assert_eq!(rig.disconnect(1).dead_letters.len(), 1, "a lost connection counts");
}
