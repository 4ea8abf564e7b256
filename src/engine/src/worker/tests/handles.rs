//! Receives, their handles and deadlines.

use crate::{
    topology::settings::QueueSettings,
    worker::{
        WorkerLimits,
        command::WorkerCommand,
        testing::{Rig, bodies, plain},
    },
};
use model::{
    command::Reply,
    delivery::Delivery,
    error::{BrokerError, ErrorKind},
    ids::QueueId,
};

fn delete(rig: &mut Rig, delivery: &Delivery) -> Result<(), BrokerError> {
    let (lease, generation) = (delivery.lease.unwrap(), delivery.earlier_deliveries);
    match rig.ask(|asker| WorkerCommand::Delete { asker, lease, generation }) {
        Reply::Failed(error) => Err(error),
        _ => Ok(()),
    }
}

fn hide(rig: &mut Rig, delivery: &Delivery, lease_ms: u64) -> Result<(), BrokerError> {
    let (lease, generation) = (delivery.lease.unwrap(), delivery.earlier_deliveries);
    match rig.ask(|asker| WorkerCommand::Hide { asker, lease, generation, lease_ms }) {
        Reply::Failed(error) => Err(error),
        _ => Ok(()),
    }
}

fn filled(rig: &mut Rig, settings: QueueSettings, count: usize) -> QueueId {
    let queue = rig.create(1, settings);
    (0..count).for_each(|n| drop(rig.publish(queue, plain(&n.to_string()))));
    queue
}

#[test]
fn a_lease_runs_out() {
    let mut rig = Rig::new();
    let queue = filled(&mut rig, QueueSettings::default(), 3);
    assert_eq!(bodies(&rig.receive(queue, 2)), ["0", "1"]);
    assert_eq!(rig.status(queue).leased, 2);
    rig.pass(999);
    assert_eq!(bodies(&rig.receive(queue, 10)), ["2"]);
    rig.pass(1);
    let again = rig.receive(queue, 10);
    assert_eq!(bodies(&again), ["0", "1"]);
    assert!(again.iter().all(|delivery| delivery.redelivered && delivery.earlier_deliveries == 1));
    assert_eq!(again[0].first_delivery_ms, 1_000_000);
}

#[test]
fn handles_delete_and_hide() {
    let mut rig = Rig::new();
    let queue = filled(&mut rig, QueueSettings::default(), 1);
    let first = rig.receive(queue, 1).remove(0);
    hide(&mut rig, &first, 5000).unwrap();
    rig.pass(4999);
    assert!(rig.receive(queue, 1).is_empty());
    hide(&mut rig, &first, 0).unwrap();
    assert_eq!(hide(&mut rig, &first, 10).unwrap_err().kind, ErrorKind::Precondition);
    let second = rig.receive(queue, 1).remove(0);
    delete(&mut rig, &first).expect("an older handle still deletes");
    delete(&mut rig, &second).expect("deleting twice is done");
    assert_eq!(hide(&mut rig, &second, 10).unwrap_err().kind, ErrorKind::Precondition);
    assert_eq!(rig.worker.stats(), super::super::WorkerStats { queues: 1, ..Default::default() });
}

#[test]
fn an_older_handle_deletes_what_is_ready_again() {
    let mut rig = Rig::new();
    let queue = filled(&mut rig, QueueSettings::default(), 2);
    let first = rig.receive(queue, 1).remove(0);
    rig.pass(1000);
    delete(&mut rig, &first).unwrap();
    assert_eq!(bodies(&rig.receive(queue, 10)), ["1"]);
}

#[test]
fn receives_wait_without_polling() {
    let mut rig = Rig::new();
    let queue = rig.create(1, QueueSettings { wait_ms: 500, lease_ms: 70, ..Default::default() });
    let askers = [rig.asker(1), rig.asker(2), rig.asker(3)];
    for asker in askers {
        let command = WorkerCommand::Receive { asker, queue, max: 2, lease_ms: None, wait_ms: None };
        assert!(rig.turn([command]).replies.is_empty());
    }
    assert!(rig.pass(100).replies.is_empty());
    let effects = rig.publish(queue, plain("a"));
    let [(asker, Reply::Received(batch))] = &effects.replies[..] else { panic!("{effects:?}") };
    assert_eq!((*asker, bodies(batch)), (askers[0], vec!["a".to_owned()]));
    rig.disconnect(2);
    let effects = rig.pass(69);
    assert!(effects.replies.is_empty());
    let effects = rig.pass(1);
    assert_eq!(effects.replies[0].0, askers[2], "the lease ran out: to the next who waits");
    delete(
        &mut rig,
        &match &effects.replies[0].1 {
            Reply::Received(batch) => batch[0].clone(),
            other => panic!("{other:?}"),
        },
    )
    .unwrap();
    let asker = rig.asker(5);
    rig.turn([WorkerCommand::Receive { asker, queue, max: 2, lease_ms: None, wait_ms: None }]);
    let effects = rig.pass(500);
    assert!(
        matches!(&effects.replies[..], [(who, Reply::Received(batch))] if *who == asker && batch.is_empty())
    );
    assert_eq!((rig.worker.stats().connections, rig.worker.next_deadline()), (0, None));
}

#[test]
fn leases_are_limited() {
    let mut rig = Rig::with_limits(WorkerLimits { leases_per_queue: 3, ..Default::default() });
    let queue = filled(&mut rig, QueueSettings::default(), 5);
    assert_eq!(rig.receive(queue, 10).len(), 3);
    let command = |asker| WorkerCommand::Receive { asker, queue, max: 1, lease_ms: None, wait_ms: None };
    assert!(matches!(rig.ask(command), Reply::Failed(error) if error.kind == ErrorKind::LimitExceeded));
    assert!(rig.get(queue).is_some(), "only deadline leases are limited");
}
