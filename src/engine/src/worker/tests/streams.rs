//! Streams: offsets, positions, consumers, retention.

use crate::{
    topology::settings::{QueueKind, QueueSettings},
    worker::{
        command::WorkerCommand,
        testing::{Rig, changed, consume, delivered, message, plain, text},
    },
};
use model::{
    command::{Consume, Reply, StreamPosition},
    delivery::{Lease, Outcome},
    error::ErrorKind,
    ids::QueueId,
    record::Record,
};

fn settings(shards: u32) -> QueueSettings {
    QueueSettings { kind: QueueKind::Stream, durable: true, shards, ..Default::default() }
}

fn read(rig: &mut Rig, stream: QueueId, shard: u32, from: StreamPosition) -> (Vec<String>, u64, u64) {
    let command = |asker| WorkerCommand::Read { asker, stream, shard, from, max: 3, max_bytes: 1000 };
    match rig.ask(command) {
        Reply::Records { records, next, behind_ms } => {
            (records.iter().map(|(_, message)| text(message)).collect(), next, behind_ms)
        }
        other => panic!("{other:?}"),
    }
}

fn follow(rig: &mut Rig, connection: u64, stream: QueueId, from: Option<StreamPosition>) -> Vec<String> {
    let asker = rig.asker(connection);
    let consume = Consume { from, ..consume(1, 3) };
    delivered(&rig.turn([WorkerCommand::Consume { asker, queue: stream, consume }]))
}

#[test]
fn appends_are_read_from_any_position() {
    let mut rig = Rig::new();
    let stream = rig.create(1, settings(1));
    for body in ["a", "b", "c", "d"] {
        let effects = rig.publish(stream, plain(body));
        assert_eq!((effects.durable_confirms.len(), effects.records.len()), (1, 1));
        rig.pass(10);
    }
    let start = 1_000_000;
    let mut check = |from, bodies: &[&str], next, behind_ms| {
        let expected = (bodies.iter().map(|body| (*body).to_owned()).collect(), next, behind_ms);
        assert_eq!(read(&mut rig, stream, 0, from), expected, "{from:?}");
    };
    check(StreamPosition::First, &["a", "b", "c"], 3, 10);
    check(StreamPosition::Last, &["d"], 4, 0);
    check(StreamPosition::Next, &[], 4, 0);
    check(StreamPosition::Offset(2), &["c", "d"], 4, 0);
    check(StreamPosition::Offset(u64::MAX), &[], 4, 0);
    check(StreamPosition::Time(start + 11), &["c", "d"], 4, 0);
    check(StreamPosition::Time(0), &["a", "b", "c"], 3, 10);
    assert_eq!(rig.status(stream).offsets, (0, 4));
}

#[test]
fn one_record_per_turn_and_shard() {
    let mut rig = Rig::new();
    let stream = rig.create(1, settings(4));
    let asker = rig.asker(1);
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let messages = keys.iter().map(|key| message(key)).collect();
    let effects = rig.turn([WorkerCommand::Append { asker, stream, messages }]);
    let [(_, Reply::Appended(places))] = &effects.durable_replies[..] else { panic!("{effects:?}") };
    let mut shards: Vec<u32> = places.iter().map(|(shard, _)| *shard).collect();
    shards.sort_unstable();
    shards.dedup();
    assert_eq!(effects.records.len(), shards.len());
    assert!(shards.len() > 1);
    let mut explicit = plain("x");
    explicit.extra_mut().explicit_hash = Some(u128::MAX);
    rig.publish(stream, explicit);
    assert!(matches!(rig.log.last().unwrap(), Record::Append { shard: 3, .. }));
}

#[test]
fn consumers_follow_with_credit() {
    let mut rig = Rig::new();
    let stream = rig.create(1, settings(1));
    ["a", "b", "c", "d"].iter().for_each(|body| drop(rig.publish(stream, plain(body))));
    assert_eq!(follow(&mut rig, 1, stream, Some(StreamPosition::Offset(0))), ["a", "b", "c"]);
    assert_eq!(follow(&mut rig, 2, stream, None), [""; 0]);
    let effects = rig.settle(1, Lease { queue: stream, seq: 0 }, Outcome::Ack);
    assert_eq!(delivered(&effects), ["d"]);
    assert_eq!(effects.deliveries[0].1.offset, Some(3));
    assert_eq!(rig.publish(stream, plain("e")).deliveries[0].0.0, 2);
    rig.disconnect(1);
    assert_eq!(rig.status(stream).consumers, 1);
    assert_eq!(rig.status(stream).ready, 5, "reading takes nothing away");
}

#[test]
fn what_streams_refuse() {
    let mut rig = Rig::new();
    let stream = rig.create(1, settings(1));
    let check = |reply: Reply, kind, text: &str| {
        let Reply::Failed(error) = reply else { panic!("{reply:?}") };
        assert_eq!((error.kind, &*error.text), (kind, text));
    };
    check(
        rig.ask(|asker| WorkerCommand::Get { asker, queue: stream, auto_ack: true }),
        ErrorKind::NotImplemented,
        "basic.get not supported by stream queues queue 'q1' in vhost '/'",
    );
    check(
        rig.ask(|asker| WorkerCommand::Purge { asker, queue: stream }),
        ErrorKind::NotImplemented,
        "queue.purge not supported by stream queues queue 'q1' in vhost '/'",
    );
    let consume = consume(1, u32::MAX);
    check(
        rig.ask(|asker| WorkerCommand::Consume { asker, queue: stream, consume }),
        ErrorKind::Precondition,
        "consumer prefetch count is not set for 'queue 'q1' in vhost '/''",
    );
    let from = StreamPosition::First;
    check(
        rig.ask(|asker| WorkerCommand::Read { asker, stream, shard: 1, from, max: 1, max_bytes: 1 }),
        ErrorKind::NotFound,
        "no shard 1 in queue 'q1' in vhost '/'",
    );
}

#[test]
fn retention_by_age_and_size() {
    let mut rig = Rig::new();
    let old = rig.create(1, QueueSettings { max_age_ms: Some(100), ..settings(1) });
    rig.publish(old, plain("a"));
    rig.pass(60);
    rig.publish(old, plain("b"));
    rig.pass(40);
    assert_eq!(rig.status(old).offsets, (1, 2));
    assert!(matches!(rig.log.last().unwrap(), Record::Trim { first_offset: 1, .. }));
    rig.pass(60);
    assert_eq!((rig.status(old).offsets, rig.status(old).bytes), ((2, 2), 0));

    let cost = plain("a").cost_bytes() as u64;
    let large = rig.create(2, QueueSettings { max_length_bytes: Some(cost * 2), ..settings(1) });
    ["a", "b", "c"].iter().for_each(|body| drop(rig.publish(large, plain(body))));
    assert_eq!(rig.status(large).offsets, (1, 3));
}

#[test]
fn a_stream_comes_back_from_the_log() {
    let mut rig = Rig::new();
    let queues = [(1, QueueSettings { max_age_ms: Some(100), ..settings(3) })];
    let stream = rig.create(1, queues[0].1.clone());
    for n in 0..50 {
        rig.publish(stream, changed(plain(&n.to_string()), |m| m.published_ms = rig.now));
        rig.pass(7);
    }
    let contents = |rig: &Rig| {
        let contents = rig.worker.stream(stream).unwrap().contents();
        contents.into_iter().map(|(shard, offset, m)| (shard, offset, text(&m))).collect::<Vec<_>>()
    };
    let expected = contents(&rig);
    assert!(!expected.is_empty());
    assert_eq!(contents(&rig.restarted(&queues, &rig.log)), expected);
    // The older half is cleaned: its survivors follow at the tail.
    let half = rig.log.len() / 2;
    let cleaned = [&rig.log[half..], &rig.survivors(half)].concat();
    let mut restarted = rig.restarted(&queues, &cleaned);
    assert_eq!(contents(&restarted), expected);
    assert_eq!(restarted.status(stream).offsets, rig.status(stream).offsets);
}
