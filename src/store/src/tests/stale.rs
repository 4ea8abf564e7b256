//! What an earlier opening wrote behind a torn tail lies exactly where new frames would be, and still is not read.

use super::{open, segment_path, small, two_snapshots};
use crate::commit::Committer;
use crate::disk::SimDisk;
use crate::options::LogOptions;
use model::ids::QueueId;
use model::record::Record;
use std::ops::Range;

/// A batch frame is as long as two of these, so that old and new frames line up.
fn drops(ids: Range<u64>) -> Vec<Record> {
    ids.map(|id| Record::DropQueue(QueueId(id))).collect()
}

fn ids(records: &[Record]) -> Vec<u64> {
    let id = |record: &Record| match record {
        Record::DropQueue(queue) => queue.0,
        other => panic!("{other:?}"),
    };
    records.iter().map(id).collect()
}

fn options() -> LogOptions {
    LogOptions { first_segment_bytes: 128 * 1024, segment_bytes: 128 * 1024, ..small() }
}

/// A log whose tail is torn in front of groups of `group` records numbered from 0, opened again.
fn torn(group: u64, groups: u64) -> (SimDisk, Committer) {
    let disk = SimDisk::new(5);
    let (mut committer, _, _) = open(&disk, options()).unwrap();
    let at = committer.offset as usize;
    for first in (0..groups).map(|no| no * group) {
        committer.write(&drops(first..first + group)).unwrap();
        committer.flush().unwrap();
    }
    drop(committer);
    disk.flip(&segment_path(0), at + 20, 0);
    let (committer, recovery, records) = open(&disk, options()).unwrap();
    assert!(recovery.torn.is_some());
    assert!(records.is_empty());
    (disk, committer)
}

#[test]
fn an_old_group_behind_new_ones_is_not_read() {
    // Old groups begin at multiples of 96; the new ones take 48 for the opening, 48 for the group and 24 each.
    let (disk, mut committer) = torn(2, 200);
    committer.write(&drops(1000..1040)).unwrap();
    committer.sync().unwrap();
    let (_, _, records) = open(&disk, options()).unwrap();
    assert_eq!(ids(&records), (1000..1040).collect::<Vec<_>>());
}

/// Frames of 32 bytes, of which a block holds a whole number.
fn purges(ids: Range<u64>) -> Vec<Record> {
    ids.map(|id| Record::Purge { queue: QueueId(id), through: id }).collect()
}

#[test]
fn an_old_record_in_the_place_of_a_lost_one_is_not_read() {
    let options = LogOptions { commit_bytes_max: 64 * 1024, ..options() };
    let disk = SimDisk::new(5);
    let (mut committer, _, _) = open(&disk, options.clone()).unwrap();
    // Batch frames are one and a half times as long: with these, records end where blocks end.
    committer.mark().unwrap();
    let at = committer.offset as usize;
    committer.begin_group(0).unwrap();
    committer.flush().unwrap();
    committer.write(&purges(0..1000)).unwrap();
    committer.flush().unwrap();
    drop(committer);
    disk.flip(&segment_path(0), at + 20, 0);
    let mut shortened = 0;
    for seed in 2..40 {
        let image = disk.image(1);
        let (mut committer, _, records) = open(&image, options.clone()).unwrap();
        assert!(records.is_empty());
        committer.write(&purges(5000..5900)).unwrap();
        committer.flush().unwrap();
        let (_, _, records) = open(&image.image(seed), options.clone()).unwrap();
        for (no, record) in records.iter().enumerate() {
            let Record::Purge { through, .. } = record else { panic!("{record:?}") };
            assert_eq!(*through, 5000 + no as u64, "seed {seed}");
        }
        shortened += usize::from(!records.is_empty() && records.len() < 900);
    }
    assert!(shortened > 5, "only {shortened} images with a hole");
}

#[test]
fn the_earlier_life_of_a_recycled_file_is_not_read() {
    let disk = SimDisk::new(5);
    let (mut committer, _, _) = open(&disk, small()).unwrap();
    for round in 0..600 {
        committer.write(&drops(round * 2..round * 2 + 2)).unwrap();
        committer.sync().unwrap();
        let oldest = *committer.shared.segments().front().unwrap();
        if oldest.no + 1 < committer.header.no {
            two_snapshots(&committer, oldest.end_lsn);
            committer.trim(oldest.end_lsn).unwrap();
        }
        if round % 7 == 0 {
            let (_, _, records) = open(&disk.image(1), small()).unwrap();
            let first = ids(&records)[0];
            assert_eq!(ids(&records), (first..round * 2 + 2).collect::<Vec<_>>());
        }
    }
    assert!(committer.shared.segments().front().unwrap().no > 3, "nothing was recycled");
}
