//! The same on the real disk.

use super::{codecs, number_of, numbered};
use crate::disk::RealDisk;
use crate::error::StoreError;
use crate::log::{Batch, LocalLog, WorkerLog};
use crate::options::LogOptions;
use model::ids::Lsn;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// A directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("waystation-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 512 * 1024, first_segment_bytes: 64 * 1024, ..LogOptions::default() }
}

fn open(folder: &Folder) -> Result<(LocalLog, Vec<u64>), StoreError> {
    let mut found = Vec::new();
    let replay = &mut |_, _, record| found.push(number_of(&record));
    let (log, _) = LocalLog::open(&folder.0, Arc::new(RealDisk), options(), codecs(), replay)?;
    Ok((log, found))
}

fn append(log: &LocalLog, ids: std::ops::Range<u64>) {
    let (done, all_done) = channel();
    let records = ids.map(numbered).collect();
    let on_durable: Box<dyn FnOnce() + Send> = Box::new(move || done.send(()).unwrap());
    log.append(Batch { records, sync: true, on_durable: Some(on_durable) }).unwrap();
    all_done.recv().unwrap();
}

#[test]
fn written_closed_and_read_again() {
    let folder = Folder::new("smoke");
    let (log, _) = open(&folder).unwrap();
    for from in (0..2000).step_by(50) {
        append(&log, from..from + 50);
    }
    let oldest = log.oldest().unwrap();
    log.trim(oldest.end_lsn);
    log.put_snapshot(oldest.end_lsn, &[]).unwrap();
    log.put_snapshot(Lsn(oldest.end_lsn.0 + 8), &[]).unwrap();
    append(&log, 2000..2010);
    assert!(log.bytes() > 2 * 1024 * 1024);
    drop(log);
    let (_, found) = open(&folder).unwrap();
    assert_eq!(found.last(), Some(&2009));
    let first = found[0];
    assert!(first > 0);
    assert_eq!(found, (first..2010).collect::<Vec<_>>());
}

#[test]
fn the_lock_names_its_holder_and_ends_with_it() {
    let folder = Folder::new("lock");
    let (log, _) = open(&folder).unwrap();
    let Err(StoreError::Locked { holder, .. }) = open(&folder) else { panic!("opened twice") };
    assert_eq!(holder, std::process::id().to_string());
    drop(log);
    assert!(open(&folder).is_ok());
}
