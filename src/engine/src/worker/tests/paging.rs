//! Long queues: out to pages and back.

use crate::{
    topology::settings::QueueSettings,
    worker::{
        WorkerLimits,
        command::WorkerCommand,
        effect::Effects,
        testing::{Rig, bodies, changed, consume, delivered, plain},
    },
};
use model::{command::Reply, delivery::Outcome, ids::QueueId, message::Message, record::Record};

fn durable() -> QueueSettings {
    QueueSettings { durable: true, ..QueueSettings::default() }
}

fn numbered(number: u64) -> Message {
    changed(plain(&number.to_string()), |message| message.durable = true)
}

/// A queue of so many messages, with eight in a page.
fn long(settings: QueueSettings, messages: u64) -> (Rig, QueueId) {
    let mut rig = Rig::with_limits(WorkerLimits { page_messages: 8, ..WorkerLimits::default() });
    let queue = rig.create(1, settings);
    (0..messages).for_each(|number| drop(rig.publish(queue, numbered(number))));
    (rig, queue)
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Everything that a consumer gets, which acknowledges it all; `check` looks on.
fn taken(rig: &mut Rig, queue: QueueId, check: impl Fn(&Rig)) -> Vec<String> {
    let mut got = Vec::new();
    let mut effects = rig.consume(1, 1, queue, 5);
    while !effects.deliveries.is_empty() {
        got.extend(delivered(&effects));
        check(rig);
        let settle = effects.deliveries.iter().map(|(connection, delivery)| WorkerCommand::Settle {
            connection: *connection,
            consumer: delivery.consumer,
            lease: delivery.lease.unwrap(),
            outcome: Outcome::Ack,
        });
        let settle: Vec<_> = settle.collect();
        effects = rig.turn(settle);
    }
    got
}

#[test]
fn a_long_queue_leaves_memory_and_comes_back_in_order() {
    let (mut rig, queue) = long(durable(), 1000);
    assert!(rig.files.len() > 100, "{} pages", rig.files.len());
    let stats = rig.worker.stats();
    assert_eq!(stats.ready, 1000);
    assert!(stats.memory_bytes < stats.bytes / 8, "{stats:?}");
    assert!(rig.worker.live_bytes() < stats.bytes / 8);
    let got = taken(&mut rig, queue, |rig| assert!(rig.worker.stats().memory_bytes < stats.bytes / 8));
    assert_eq!(got, numbers(0..1000));
    assert!(rig.files.is_empty(), "files of dead pages go");
    assert_eq!(rig.worker.stats().bytes, 0);
}

#[test]
fn what_no_page_took_does_not_hold_up_the_pages_before_it() {
    let (rig, queue) = long(durable(), 200);
    let mut pages = 0;
    let without_some = rig.log.iter().filter(|record| {
        let is_page = matches!(record, Record::Page { .. });
        pages += u32::from(is_page);
        !(is_page && (4..10).contains(&pages))
    });
    let log: Vec<Record> = without_some.cloned().collect();
    let mut rig = rig.restarted(&[(1, durable())], &log);
    assert_eq!(taken(&mut rig, queue, |_| ()), numbers(0..200));
}

#[test]
fn gets_and_receives_wait_for_a_page() {
    let (rig, queue) = long(durable(), 100);
    let mut rig = rig.restarted(&[(1, durable())], &rig.log);
    assert_eq!(rig.status(queue).ready, 100);
    let first = rig.get(queue).unwrap();
    assert_eq!(bodies([&first]), ["0"]);
    assert!(bodies(&rig.receive(queue, 10)).len() >= 7, "one page at least is at hand");
    rig.disconnect(1);
    assert_eq!(rig.get(queue).map(|got| bodies([&got])), Some(vec!["0".to_owned()]));
}

#[test]
fn purge_and_delete_take_the_pages_along() {
    for lease in [false, true] {
        let (mut rig, queue) = long(durable(), 100);
        if lease {
            rig.get(queue).unwrap();
        }
        let purged = 100 - u64::from(lease);
        let reply = rig.ask(|asker| WorkerCommand::Purge { asker, queue });
        assert!(matches!(reply, Reply::Count(count) if count == purged), "{reply:?}");
        assert_eq!(rig.status(queue).ready, 0);
        let mut again = rig.restarted(&[(1, durable())], &rig.log);
        assert_eq!(again.status(queue).ready, u64::from(lease));
        assert_eq!(rig.files.len(), usize::from(lease), "the page of what is leased stays");
        rig.turn([WorkerCommand::DeleteQueue { asker: None, queue }]);
        assert!(rig.files.is_empty());
        // Its definition is in another log, and may be there a moment longer.
        let mut again = rig.restarted(&[(1, durable())], &rig.log);
        assert_eq!((again.status(queue).ready, again.worker.pages().count()), (0, 0));
    }
}

#[test]
fn what_is_transient_stays_in_memory() {
    let mut rig = Rig::with_limits(WorkerLimits { page_messages: 32, ..WorkerLimits::default() });
    let queue = rig.create(1, durable());
    for number in 0..1000 {
        rig.publish(queue, changed(numbered(number), |message| message.durable = number % 50 == 0));
    }
    assert!(rig.files.is_empty(), "no stretch is worth a page");
    assert_eq!(bodies(&rig.receive(queue, 1000)), numbers(0..1000));
}

#[test]
fn a_full_disk_keeps_messages_where_they_are() {
    let (mut rig, queue) = long(durable(), 0);
    rig.slow_disk = true;
    (0..100).for_each(|number| drop(rig.publish(queue, numbered(number))));
    let mut effects = Effects::default();
    rig.write_page(false, &mut effects);
    rig.end_turn(&mut effects);
    assert!(rig.unwritten.is_empty(), "it does not try again at once");
    rig.pass(2000);
    assert_eq!(rig.unwritten.len(), 1);
    let asker = rig.asker(1);
    let consumed = rig.turn([WorkerCommand::Consume { asker, queue, consume: consume(1, 1000) }]);
    assert_eq!(delivered(&consumed), numbers(0..100));
}
