//! The log with its writer thread.

use super::{codecs, dir, number_of, numbered, small};
use crate::disk::SimDisk;
use crate::error::{AppendError, StoreError};
use crate::log::{Batch, LocalLog, WorkerLog};
use crate::options::LogOptions;
use model::ids::Lsn;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Long enough for anything that is to happen at all.
const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> LogOptions {
    LogOptions { full_retry: Duration::from_millis(1), settle_after: Duration::from_millis(5), ..small() }
}

fn open(disk: &SimDisk) -> Result<(LocalLog, Vec<u64>), StoreError> {
    let mut found = Vec::new();
    let replay = &mut |_, _, record| found.push(number_of(&record));
    let (log, _) = LocalLog::open_with(&dir(), Arc::new(disk.clone()), options(), codecs(), replay, || {})?;
    Ok((log, found))
}

/// A batch of one record; the number arrives when it is durable.
fn batch(id: u64, sync: bool) -> (Batch, Receiver<u64>) {
    let (done, receiver) = channel();
    let on_durable: Box<dyn FnOnce() + Send> = Box::new(move || {
        let _ = done.send(id);
    });
    (Batch { records: vec![numbered(id)], sync, on_durable: Some(on_durable) }, receiver)
}

#[test]
fn completions_come_in_order_and_after_the_sync() {
    let disk = SimDisk::new(1);
    let (log, found) = open(&disk).unwrap();
    assert!(found.is_empty());
    let order = Arc::new(Mutex::new(Vec::new()));
    for id in 0..200 {
        let order = order.clone();
        let on_durable: Box<dyn FnOnce() + Send> = Box::new(move || order.lock().unwrap().push(id));
        let batch = Batch { records: vec![numbered(id)], sync: id % 3 == 0, on_durable: Some(on_durable) };
        log.append(batch).unwrap();
    }
    log.close();
    assert_eq!(*order.lock().unwrap(), (0..200).collect::<Vec<_>>());
    assert_eq!(log.backlog_bytes(), 0);
    assert_eq!(log.append(Batch::default()), Err(AppendError::Closed));
    drop(log);
    // Nothing but what was synced.
    let (_, found) = open(&disk.image(0)).unwrap();
    assert_eq!(found, (0..200).collect::<Vec<_>>());
}

#[test]
fn what_nobody_waits_for_becomes_durable_too() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    let before = log.durable();
    let (batch, done) = batch(0, false);
    log.append(batch).unwrap();
    assert_eq!(done.recv_timeout(PATIENCE), Ok(0));
    assert!(log.durable() > before);
}

#[test]
fn a_batch_without_records_follows_those_before_it() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    for sync in [false, true] {
        let (batch, done) = batch(7, sync);
        log.append(Batch { records: Vec::new(), ..batch }).unwrap();
        assert_eq!(done.recv_timeout(PATIENCE), Ok(7));
    }
}

#[test]
fn nothing_is_confirmed_when_the_disk_fails() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    disk.fail_syncs();
    let (batch, done) = batch(0, true);
    log.append(batch).unwrap();
    assert_eq!(done.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn nothing_is_confirmed_by_a_trim_that_finds_nothing() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    // The writer is held up, so that the next batch and the trim are one piece of work.
    let (release, held) = channel::<()>();
    let (started, running) = channel();
    let on_durable: Box<dyn FnOnce() + Send> = Box::new(move || {
        started.send(()).unwrap();
        held.recv_timeout(PATIENCE).unwrap();
    });
    log.append(Batch { sync: true, on_durable: Some(on_durable), ..Batch::default() }).unwrap();
    running.recv_timeout(PATIENCE).unwrap();
    let (batch, done) = batch(0, true);
    log.append(batch).unwrap();
    log.trim(Lsn(0));
    disk.fail_syncs();
    release.send(()).unwrap();
    assert_eq!(done.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    disk.set_full(true);
    let pending: Vec<_> = (0..20)
        .map(|id| {
            let (batch, done) = batch(id, true);
            log.append(batch).unwrap();
            done
        })
        .collect();
    while !log.disk_full() {
        std::thread::yield_now();
    }
    assert!(log.backlog_bytes() > 0);
    disk.set_full(false);
    for (id, done) in pending.iter().enumerate() {
        assert_eq!(done.recv_timeout(PATIENCE), Ok(id as u64));
    }
    assert!(!log.disk_full());
}

#[test]
fn the_owner_cleans_the_oldest_segment() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.oldest(), None);
    let append = |id| {
        let (batch, done) = batch(id, true);
        log.append(batch).unwrap();
        done.recv_timeout(PATIENCE).unwrap();
    };
    (0..30).for_each(append);
    let oldest = log.oldest().unwrap();
    let mut inside = Vec::new();
    log.read_segment(oldest.no, &mut |lsn, record| {
        assert!(lsn >= oldest.first_lsn && lsn < oldest.end_lsn);
        inside.push(number_of(&record));
    })
    .unwrap();
    assert_eq!(inside, (0..inside.len() as u64).collect::<Vec<_>>());
    assert!(matches!(log.read_segment(99, &mut |_, _| {}), Err(StoreError::NoSegment(99))));
    // One of them still lives.
    append(0);
    log.trim(oldest.end_lsn);
    append(30);
    assert_eq!(log.oldest().unwrap().no, oldest.no, "trimmed without snapshots");
    log.put_snapshot(oldest.end_lsn, &[]).unwrap();
    log.put_snapshot(Lsn(oldest.end_lsn.0 + 8), &[]).unwrap();
    append(31);
    assert!(log.oldest().unwrap().no > oldest.no);
    log.trim(Lsn(0));
    drop(log);
    let (_, found) = open(&disk).unwrap();
    let expected: Vec<u64> = (inside.len() as u64..30).chain([0, 30, 31]).collect();
    assert_eq!(found, expected);
}

#[test]
fn one_owner_at_a_time() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(StoreError::Locked { .. })));
    drop(log);
    assert!(open(&disk).is_ok());
}
