//! When records leave memory, and how their readers get them back.

use super::{settings, small_pages};
use crate::{
    topology::settings::QueueSettings,
    worker::{
        WorkerLimits,
        command::WorkerCommand,
        effect::Effects,
        testing::{Rig, bodies, consume, delivered, message, plain, text},
    },
};
use model::{
    command::{Consume, Reply, Signal, StreamPosition},
    error::ErrorKind,
    ids::QueueId,
    record::Record,
};

/// A stream with records `0` to `count - 1`, one a millisecond.
fn filled(rig: &mut Rig, settings: QueueSettings, count: usize) -> QueueId {
    let stream = rig.create(1, settings);
    append(rig, stream, 0..count);
    stream
}

fn append(rig: &mut Rig, stream: QueueId, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let (asker, messages) = (rig.asker(9), vec![message(&format!("{number:02}"))]);
        rig.turn([WorkerCommand::Append { asker, stream, messages }]);
        rig.pass(1);
    }
}

fn cost() -> u64 {
    plain("00").cost_bytes() as u64
}

fn read(rig: &mut Rig, stream: QueueId, from: StreamPosition, max: u32) -> Effects {
    let asker = rig.asker(8);
    rig.turn([WorkerCommand::Read { asker, stream, shard: 0, from, max, max_bytes: 1000 }])
}

/// The numbers in the answer to the one read.
fn answer(effects: &Effects) -> Option<Vec<usize>> {
    match &effects.replies[..] {
        [] => None,
        [(_, Reply::Records { records, .. })] => {
            Some(records.iter().map(|(_, message)| text(message).parse().unwrap()).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn follow(rig: &mut Rig, stream: QueueId, from: StreamPosition, credit: u32) -> Effects {
    let asker = rig.asker(1);
    let consume = Consume { from: Some(from), auto_ack: credit == u32::MAX, ..consume(1, credit) };
    rig.turn([WorkerCommand::Consume { asker, queue: stream, consume }])
}

/// What comes when reading goes on.
fn load(rig: &mut Rig) -> Effects {
    let mut effects = Effects::default();
    let read = rig.unread.pop_front().expect("a page was asked for");
    rig.worker.apply(read, rig.now, &mut effects);
    rig.end_turn(&mut effects);
    effects
}

#[test]
fn a_long_stream_leaves_memory_and_is_read_all_the_same() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 20);
    let status = rig.status(stream);
    assert_eq!((status.ready, status.bytes, status.offsets), (20, 20 * cost(), (0, 20)));
    assert_eq!((rig.files.len(), rig.worker.stats().memory_bytes), (3, 8 * cost()));
    assert_eq!(rig.worker.live_bytes(), 8 * cost());
    for from in 0..20 {
        let effects = read(&mut rig, stream, StreamPosition::Offset(from as u64), 50);
        let got = answer(&effects).unwrap();
        assert!(!got.is_empty() && got == (from..from + got.len()).collect::<Vec<_>>(), "{from}: {got:?}");
        assert!(rig.worker.stats().memory_bytes <= 24 * cost());
    }
    let all = follow(&mut rig, stream, StreamPosition::First, u32::MAX);
    assert_eq!(delivered(&all), (0..20).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    rig.pass(10_000);
    assert_eq!(rig.worker.stats().memory_bytes, 8 * cost(), "pages that nobody reads leave memory again");
}

#[test]
fn a_time_in_a_page_is_found() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 20);
    for from in 0..20 {
        let position = StreamPosition::Time(1_000_000 + from as u64);
        assert_eq!(answer(&read(&mut rig, stream, position, 1)), Some(vec![from]));
        let effects = follow(&mut rig, stream, position, 2);
        assert_eq!(delivered(&effects)[0], format!("{from:02}"));
        rig.disconnect(1);
    }
}

#[test]
fn readers_wait_for_a_page_without_turning() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 20);
    rig.slow_reads = true;
    assert_eq!(delivered(&follow(&mut rig, stream, StreamPosition::Offset(1), u32::MAX)), [""; 0]);
    assert_eq!(answer(&read(&mut rig, stream, StreamPosition::First, 2)), None);
    assert_eq!(rig.unread.len(), 1, "asked for once");
    assert!(!rig.worker.pump(rig.now, &mut Effects::default()));
    let effects = load(&mut rig);
    assert_eq!(answer(&effects), Some(vec![0, 1]));
    assert_eq!(delivered(&effects), ["01", "02", "03"]);
    assert_eq!(rig.unread.len(), 1);
    assert_eq!(delivered(&load(&mut rig)), ["04", "05", "06", "07"]);
}

#[test]
fn the_next_page_is_read_ahead() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 20);
    rig.slow_reads = true;
    assert_eq!(delivered(&follow(&mut rig, stream, StreamPosition::First, 3)), [""; 0]);
    let effects = load(&mut rig);
    assert_eq!(delivered(&effects), ["00", "01", "02"]);
    assert_eq!(rig.unread.len(), 1);
    assert!(matches!(&rig.unread[0], WorkerCommand::PagedIn { page: 2, .. }), "{:?}", rig.unread);
}

#[test]
fn a_full_disk_leaves_records_in_memory_for_a_while() {
    let mut rig = Rig::with_limits(small_pages());
    rig.slow_disk = true;
    let stream = filled(&mut rig, settings(1), 20);
    assert_eq!(rig.unwritten.len(), 1, "one page at a time");
    let mut effects = Effects::default();
    rig.write_page(false, &mut effects);
    rig.end_turn(&mut effects);
    append(&mut rig, stream, 20..21);
    assert_eq!((rig.unwritten.len(), rig.worker.stats().memory_bytes), (0, 21 * cost()));
    assert_eq!(answer(&read(&mut rig, stream, StreamPosition::First, 1)), Some(vec![0]));
    rig.slow_disk = false;
    rig.pass(5_000);
    assert_eq!((rig.files.len(), rig.worker.stats().memory_bytes), (4, 5 * cost()));
}

#[test]
fn retention_drops_pages_and_their_files() {
    let mut rig = Rig::with_limits(small_pages());
    let old = QueueSettings { max_age_ms: Some(100), ..settings(1) };
    let stream = filled(&mut rig, old, 20);
    rig.slow_reads = true;
    assert_eq!(answer(&read(&mut rig, stream, StreamPosition::First, 1)), None);
    // The youngest of the first page came 3 ms after the stream began, 20 ms ago.
    rig.pass(82);
    assert_eq!((rig.status(stream).offsets.0, rig.files.len()), (0, 3));
    rig.pass(1);
    assert_eq!((rig.status(stream).offsets.0, rig.files.len()), (4, 2));
    assert!(matches!(rig.log.last().unwrap(), Record::Trim { first_offset: 4, .. }));
    assert_eq!(answer(&load(&mut rig)), None, "its page is gone, it reads on behind it");
    assert_eq!(answer(&load(&mut rig)), Some(vec![4]));
    rig.pass(10);
    assert_eq!(rig.status(stream).offsets.0, 14, "what is in no page goes one by one");
    rig.pass(100);
    assert_eq!((rig.status(stream).offsets, rig.status(stream).bytes), ((20, 20), 0));
    assert_eq!((rig.files.len(), rig.worker.oldest_epoch()), (0, None));

    let mut rig = Rig::with_limits(small_pages());
    let short = QueueSettings { max_length_bytes: Some(cost() * 18), ..settings(1) };
    let stream = filled(&mut rig, short, 18);
    assert_eq!((rig.status(stream).offsets, rig.files.len()), ((0, 18), 3));
    append(&mut rig, stream, 18..19);
    assert_eq!((rig.status(stream).offsets, rig.files.len()), ((4, 19), 2));
}

#[test]
fn a_page_of_what_was_dropped_meanwhile_is_not_kept() {
    let mut rig = Rig::with_limits(small_pages());
    rig.slow_disk = true;
    let old = QueueSettings { max_age_ms: Some(100), ..settings(1) };
    let stream = filled(&mut rig, old, 9);
    rig.pass(94);
    assert_eq!((rig.status(stream).offsets.0, rig.unwritten.len()), (4, 1));
    rig.slow_disk = false;
    let mut effects = Effects::default();
    rig.write_page(true, &mut effects);
    rig.end_turn(&mut effects);
    assert_eq!((rig.files.len(), rig.status(stream).offsets), (0, (4, 9)));
}

#[test]
fn deletion_takes_the_pages_along() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 20);
    (rig.slow_reads, rig.slow_disk) = (true, true);
    append(&mut rig, stream, 20..24);
    assert_eq!((rig.files.len(), rig.unwritten.len()), (3, 1));
    assert_eq!(answer(&read(&mut rig, stream, StreamPosition::First, 1)), None);
    let asker = rig.asker(1);
    let effects = rig.turn([WorkerCommand::DeleteQueue { asker: Some(asker), queue: stream }]);
    let [(_, Reply::Failed(error))] = &effects.replies[..] else { panic!("{effects:?}") };
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(matches!(effects.durable_replies[..], [(_, Reply::Count(24))]));
    assert_eq!(rig.files.len(), 0);
    let mut effects = Effects::default();
    rig.write_page(true, &mut effects);
    rig.end_turn(&mut effects);
    assert_eq!(rig.files.len(), 0, "nor is what was being written left over");
    load(&mut rig);
}

#[test]
fn a_wrong_page_is_told_to_everybody() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 20);
    rig.slow_reads = true;
    follow(&mut rig, stream, StreamPosition::First, 3);
    read(&mut rig, stream, StreamPosition::First, 1);
    let other = rig.files[&2].clone();
    let page = WorkerCommand::PagedIn { queue: stream, shard: 0, page: 1, records: other };
    let effects = rig.turn([page]);
    let [(_, Reply::Failed(error))] = &effects.replies[..] else { panic!("{effects:?}") };
    let text = "page file 1 does not hold the records of shard 0 of queue 'q1' in vhost '/'";
    assert_eq!((error.kind, &*error.text), (ErrorKind::Internal, text));
    assert!(matches!(effects.signals[..], [(_, Signal::ConsumerCancelled(_))]));
    assert_eq!(rig.status(stream).consumers, 0);
}

#[test]
fn only_the_tail_holds_the_log() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = rig.create(1, settings(1));
    for epoch in 0..20 {
        rig.worker.begin_epoch(epoch);
        append(&mut rig, stream, epoch as usize..epoch as usize + 1);
    }
    assert_eq!(rig.worker.oldest_epoch(), Some(12));
    let cut = rig.log.len();
    assert_eq!(rig.survivors(cut).len(), 8);
}

#[test]
fn memory_that_is_short_keeps_less() {
    let mut rig = Rig::with_limits(WorkerLimits { page_messages: 16, ..WorkerLimits::default() });
    let stream = filled(&mut rig, settings(1), 20);
    assert_eq!(rig.files.len(), 0);
    rig.worker.press(true);
    rig.end_turn(&mut Effects::default());
    assert_eq!((rig.files.len(), rig.worker.stats().memory_bytes), (2, cost()));
    assert_eq!(answer(&read(&mut rig, stream, StreamPosition::Offset(7), 1)), Some(vec![7]));
}

#[test]
fn what_is_transient_stays_in_memory() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, QueueSettings { durable: false, ..settings(1) }, 20);
    assert_eq!((rig.files.len(), rig.worker.stats().memory_bytes), (0, 20 * cost()));
    assert_eq!(rig.worker.live_bytes(), 0);
    assert_eq!(rig.worker.snapshot().len(), 0);
    assert_eq!(
        bodies(follow(&mut rig, stream, StreamPosition::First, 2).deliveries.iter().map(|d| &d.1)).len(),
        2
    );
}

#[test]
fn a_hole_left_by_a_repair_is_stepped_over() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 8);
    let queues = [(1, settings(1))];
    let holed: Vec<Record> =
        rig.log.iter().enumerate().filter(|(at, _)| !(2..5).contains(at)).map(|(_, r)| r.clone()).collect();
    let mut again = rig.restarted(&queues, &holed);
    assert_eq!(answer(&read(&mut again, stream, StreamPosition::First, 9)), Some(vec![0, 1, 5, 6, 7]));
    assert_eq!(again.worker.missing(), []);
    // A snapshot tells a hole that was there from a loss.
    let snapshot = again.worker.snapshot();
    let mut third = again.replayed(&queues, &snapshot, &holed, &[]);
    assert_eq!(third.worker.missing(), []);
    third.worker.end_replay(third.now);
    assert_eq!(third.worker.missing(), []);
    let mut third = again.replayed(&queues, &snapshot, &holed[..3], &[]);
    third.worker.end_replay(third.now);
    assert_eq!(third.worker.missing(), [("queue 'q1' in vhost '/'".to_owned(), (6, 7))]);
    // No page spans it.
    append(&mut again, stream, 8..20);
    let firsts: Vec<_> = again.worker.pages().map(|page| (page.first, page.count)).collect();
    assert_eq!(firsts, [(0, 2), (5, 4), (9, 4)]);
    let effects = follow(&mut again, stream, StreamPosition::First, u32::MAX);
    assert_eq!(delivered(&effects).len(), 17);
    assert_eq!(again.status(stream).ready, 17);
}

#[test]
fn a_stream_that_was_dropped_needs_no_pages() {
    let mut rig = Rig::with_limits(small_pages());
    let stream = filled(&mut rig, settings(1), 20);
    rig.turn([WorkerCommand::DeleteQueue { asker: None, queue: stream }]);
    let mut again = rig.restarted(&[(1, settings(1))], &rig.log);
    assert_eq!((again.worker.pages().count(), again.status(stream).offsets), (0, (20, 20)));
}
