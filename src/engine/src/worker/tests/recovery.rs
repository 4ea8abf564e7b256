//! Recovery, cleaning, retained messages, definitions.

use crate::{
    topology::settings::{Durability, QueueKind, QueueSettings},
    worker::{
        command::WorkerCommand,
        effect::Effects,
        testing::{Rig, bodies, changed, message, plain, text},
    },
};
use model::{
    Name,
    command::Reply,
    delivery::Outcome,
    ids::{ConfirmToken, ConnectionId},
    message::Message,
    record::Record,
};
use std::sync::Arc;

fn durable() -> QueueSettings {
    QueueSettings { durable: true, ..Default::default() }
}

fn safe(body: &str) -> Message {
    changed(plain(body), |m| m.durable = true)
}

#[test]
fn only_durable_messages_of_durable_queues_come_back() {
    let mut rig = Rig::new();
    let queues = [(1, durable()), (2, QueueSettings::default())];
    let ids = [rig.create(1, durable()), rig.create(2, QueueSettings::default())];
    let targets = ids.iter().map(|id| (*id, 3)).collect();
    let confirm = Some((ConnectionId(1), ConfirmToken(1)));
    let message = Arc::new(safe("kept"));
    let effects = rig.turn([WorkerCommand::Publish { message, targets, confirm }]);
    assert!(matches!(&effects.records[..], [Record::Enqueue { targets, .. }] if targets.len() == 1));
    rig.publish(ids[0], plain("transient"));
    rig.publish(ids[0], safe("also kept"));
    let mut again = rig.restarted(&queues, &rig.log);
    let got = again.receive(ids[0], 10);
    assert_eq!(bodies(&got), ["kept", "also kept"]);
    assert_eq!((got[0].via, got[0].redelivered), (3, false));
    assert_eq!(again.publish(ids[0], safe("next")).records.len(), 1);
    assert_eq!(again.receive(ids[0], 1)[0].lease.unwrap().seq, 3);
}

#[test]
fn delays_limits_and_counts_survive() {
    let mut rig = Rig::new();
    let settings = QueueSettings { delivery_limit: Some(3), message_ttl_ms: Some(5000), ..durable() };
    let queue = rig.create(1, settings.clone());
    rig.publish(queue, safe("failed"));
    let lease = rig.get(queue).unwrap().lease.unwrap();
    rig.settle(1, lease, Outcome::Requeue { failed: true });
    rig.publish(queue, changed(safe("later"), |m| m.delay_ms = Some(900)));
    rig.pass(100);
    let mut again = rig.restarted(&[(1, settings)], &rig.log);
    let got = again.receive(queue, 10);
    assert_eq!(bodies(&got), ["failed"]);
    assert_eq!((got[0].redelivered, got[0].earlier_deliveries), (true, 1));
    again.pass(799);
    assert!(again.receive(queue, 10).is_empty());
    again.pass(1);
    assert_eq!(bodies(&again.receive(queue, 10)), ["later"]);
    again.pass(5000);
    assert_eq!(again.status(queue).ready, 0, "expired");
}

#[test]
fn a_snapshot_and_the_contents_that_are_left_are_enough() {
    let mut rig = Rig::new();
    let settings = QueueSettings { delivery_limit: Some(9), ..durable() };
    let queue = rig.create(1, settings.clone());
    for n in 0..20 {
        rig.publish(queue, safe(&n.to_string()));
    }
    let leases: Vec<_> = rig.receive(queue, 20).iter().map(|got| got.lease.unwrap()).collect();
    for lease in leases.iter().filter(|lease| lease.seq % 3 != 0) {
        rig.ask(|asker| WorkerCommand::Delete { asker, lease: *lease, generation: 0 });
    }
    rig.pass(2000);
    let queues = [(1, settings)];
    let contents = rig.survivors(rig.log.len());
    let mut again = rig.replayed(&queues, &rig.worker.snapshot(), &contents, &[]);
    assert!(again.worker.missing().is_empty());
    again.worker.recovered(again.now, &mut Effects::default());
    let got = again.receive(queue, 20);
    assert_eq!(bodies(&got), ["0", "3", "6", "9", "12", "15", "18"]);
    assert!(got.iter().all(|delivery| delivery.earlier_deliveries == 1));
    again.publish(queue, safe("next"));
    assert_eq!(again.receive(queue, 1)[0].lease.unwrap().seq, 20);
    let again = rig.replayed(&queues, &rig.worker.snapshot(), &contents[1..], &[]);
    assert_eq!(again.worker.missing(), [("queue 'q1' in vhost '/'".to_owned(), (0, 0))]);
}

#[test]
fn leases_with_a_deadline_outlive_a_restart() {
    let mut rig = Rig::new();
    let queue = rig.create(1, durable());
    let queues = [(1, durable())];
    for n in 0..3 {
        rig.publish(queue, safe(&n.to_string()));
    }
    let leases: Vec<_> = rig.receive(queue, 3).iter().map(|got| got.lease.unwrap()).collect();
    rig.ask(|asker| WorkerCommand::Hide { asker, lease: leases[0], generation: 0, lease_ms: 0 });
    rig.ask(|asker| WorkerCommand::Hide { asker, lease: leases[1], generation: 0, lease_ms: 5000 });
    let snapshot = rig.worker.snapshot();
    for mut again in [
        rig.restarted(&queues, &rig.log),
        rig.replayed(&queues, &snapshot, &rig.survivors(rig.log.len()), &[]),
    ] {
        if again.worker.missing().is_empty() && again.log.is_empty() {
            again.worker.recovered(again.now, &mut Effects::default());
        }
        let got = again.receive(queue, 10);
        assert_eq!((bodies(&got), got[0].earlier_deliveries), (vec!["0".to_owned()], 1));
        again.ask(|asker| WorkerCommand::Delete { asker, lease: leases[1], generation: 0 });
        again.pass(1001);
        let got = again.receive(queue, 10);
        assert_eq!(bodies(&got), ["0", "2"], "1 was deleted by its handle of before the restart");
        again.pass(10_000);
        assert_eq!(again.status(queue).ready, 2);
    }
}

#[test]
fn retained_messages_are_kept_found_and_recovered() {
    let mut rig = Rig::new();
    let retain = |topic: &str, body: Option<&str>| WorkerCommand::Retain {
        vhost: Name::from("/"),
        topic: Name::from(topic),
        message: body.map(message),
        confirm: Some((ConnectionId(1), ConfirmToken(1))),
    };
    for (topic, body) in [("a.b", Some("old")), ("a.c", Some("gone")), ("a.b", Some("new")), ("a.c", None)] {
        assert_eq!(rig.turn([retain(topic, body)]).durable_confirms.len(), 1);
    }
    let find = |rig: &mut Rig| {
        let (vhost, filter) = (Name::from("/"), Name::from("a.*"));
        match rig.ask(|asker| WorkerCommand::Retained { asker, vhost, filter }) {
            Reply::Subscribed { retained, .. } => retained.iter().map(|m| text(m)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(find(&mut rig), ["new"]);
    assert_eq!(find(&mut rig.restarted(&[], &rig.log)), ["new"]);
    assert_eq!(find(&mut rig.restarted(&[], &rig.worker.snapshot())), ["new"]);
}

#[test]
fn the_brokers_own_figures_are_retained_in_memory_only() {
    let mut rig = Rig::new();
    let (vhost, topic) = (Name::from("/"), Name::from("$SYS.broker.uptime"));
    let retain = WorkerCommand::Retain { vhost, topic, message: Some(message("1")), confirm: None };
    assert!(rig.turn([retain]).records.is_empty());
    let (vhost, filter) = (Name::from("/"), Name::from("$SYS.#"));
    let reply = rig.ask(|asker| WorkerCommand::Retained { asker, vhost, filter });
    assert!(matches!(reply, Reply::Subscribed { retained, .. } if retained.len() == 1));
}

#[test]
fn definitions_go_to_the_log() {
    let mut rig = Rig::new();
    let asker = rig.asker(1);
    let (kind, key) = (Name::from("queue"), Name::from("q"));
    let effects = rig.turn([WorkerCommand::Define { asker: Some(asker), kind, key, value: None }]);
    assert!(matches!(&effects.records[..], [Record::Define { .. }]));
    assert!(matches!(&effects.durable_replies[..], [(_, Reply::Done)]));
    let define = |kind: &str, value: Option<&'static str>| WorkerCommand::Define {
        asker: None,
        kind: Name::from(kind),
        key: Name::from("k"),
        value: value.map(|value| bytes::Bytes::from_static(value.as_bytes())),
    };
    rig.turn([define("a", Some("1")), define("b", Some("2")), define("a", Some("3")), define("b", None)]);
    let snapshot = rig.worker.snapshot();
    assert!(matches!(&snapshot[..], [Record::Define { value: Some(value), .. }] if value == "3"));
}

/// Publishes to these queues, and says whether the confirm waits for the disk and how many records there were.
fn published(rig: &mut Rig, queues: &[model::ids::QueueId]) -> (bool, usize) {
    let targets = queues.iter().map(|id| (*id, 0)).collect();
    let confirm = Some((ConnectionId(1), ConfirmToken(1)));
    let effects = rig.turn([WorkerCommand::Publish { message: Arc::new(safe("x")), targets, confirm }]);
    assert_eq!(effects.confirms.len() + effects.durable_confirms.len(), 1);
    (effects.durable_confirms.len() == 1, effects.records.len())
}

#[test]
fn confirms_wait_for_the_disk_unless_every_target_says_interval() {
    let asking = |durability, kind| QueueSettings { durability, kind, ..durable() };
    let mut rig = Rig::new();
    let (later, always) = (Some(Durability::Interval), Some(Durability::Always));
    let lazy = rig.create(1, asking(later, QueueKind::Classic));
    let usual = rig.create(2, durable());
    let lazy_stream = rig.create(3, asking(later, QueueKind::Stream));
    let strict = rig.create(4, asking(always, QueueKind::Classic));
    assert_eq!(published(&mut rig, &[lazy]), (false, 1));
    assert_eq!(published(&mut rig, &[lazy, lazy_stream]), (false, 2));
    assert_eq!(published(&mut rig, &[lazy, usual]), (true, 1));
    rig.worker = rig.worker.with_durability(Durability::Interval);
    assert_eq!(published(&mut rig, &[usual, lazy_stream]), (false, 2));
    assert_eq!(published(&mut rig, &[usual, strict]), (true, 1));
}

#[test]
fn what_a_session_released_before_the_crash_is_published_once() {
    let mut rig = Rig::new();
    let id = rig.create(1, durable());
    let named = |body: &str, id: &'static str| {
        changed(safe(body), |message| message.extra_mut().message_id = Some(id.into()))
    };
    rig.publish(id, named("published", "a"));
    rig.publish(id, named("of another session", "b"));
    let mut again = Rig::new();
    again.worker.expect_once(["a".into(), "c".into()].into_iter().collect());
    again.create(1, durable());
    rig.log.iter().for_each(|record| again.worker.replay(record));
    again.worker.recovered(again.now, &mut Effects::default());
    let confirm = Some((ConnectionId(1), ConfirmToken(1)));
    let publish = |message| {
        let targets = [(id, 0)].into_iter().collect();
        WorkerCommand::Publish { message: Arc::new(message), targets, confirm }
    };
    let effects = again.turn([publish(named("published", "a"))]);
    assert_eq!((effects.confirms.len(), effects.records.len()), (1, 0));
    // Only once: who uses the id again means another message.
    for other in [named("second", "a"), named("of another session", "b"), named("not published", "c")] {
        assert_eq!(again.turn([publish(other)]).records.len(), 1);
    }
    assert_eq!(again.receive(id, 10).len(), 5);
}

#[test]
fn a_lease_that_ended_before_the_restart_counts_once() {
    let settings = QueueSettings { delivery_limit: Some(3), ..durable() };
    let mut rig = Rig::new();
    let id = rig.create(1, settings.clone());
    rig.publish(id, safe("x"));
    assert_eq!(rig.receive(id, 1).len(), 1);
    rig.pass(1000);
    for deliveries in 1..=2 {
        let log = rig.log.clone();
        let mut again = rig.restarted(&[(1, settings.clone())], &log);
        again.log = log;
        again.now = rig.now;
        rig = again;
        let got = rig.receive(id, 1);
        assert_eq!((got.len(), got[0].earlier_deliveries), (1, deliveries));
        rig.pass(1000);
    }
    assert_eq!(rig.status(id).ready, 0);
}
