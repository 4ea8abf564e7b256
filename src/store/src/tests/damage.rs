//! Damage behind the log's back: refused, or harmless; never silently less or other than there was.

use super::{codecs, dir, number_of, numbered, open, segment_path, small};
use crate::disk::{Disk, SimDisk};
use crate::error::StoreError;
use crate::inspect::inspect;

const RECORDS: u64 = 25;

/// A settled log of some segments; with the number of the last one.
fn settled() -> (SimDisk, u64) {
    let disk = SimDisk::new(9);
    let (mut committer, _, _) = open(&disk, small()).unwrap();
    for id in 0..RECORDS {
        committer.write(&[numbered(id)]).unwrap();
        if id % 4 == 0 {
            committer.sync().unwrap();
        }
    }
    committer.settle().unwrap();
    let last = committer.header.no;
    assert!(last >= 2, "too few segments");
    (disk, last)
}

/// The start is refused (true), or everything is there.
fn refused(disk: &SimDisk, what: &str) -> bool {
    match open(disk, small()) {
        Err(StoreError::Damaged { .. } | StoreError::Newer { .. }) => true,
        Err(other) => panic!("{what}: {other}"),
        Ok((_, _, records)) => {
            let found: Vec<u64> = records.iter().map(number_of).collect();
            assert_eq!(found, (0..RECORDS).collect::<Vec<_>>(), "{what}");
            false
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let (disk, last) = settled();
    let mut refusals = 0;
    for no in 0..=last {
        for byte in (0..16 * 1024).step_by(11) {
            let copy = disk.image(1);
            copy.flip(&segment_path(no), byte, (byte % 8) as u8);
            refusals += u32::from(refused(&copy, &format!("segment {no} byte {byte}")));
        }
    }
    assert!(refusals > 1000, "only {refusals} flips noticed");
}

#[test]
fn a_shortened_or_missing_segment_is_refused() {
    let (disk, last) = settled();
    for no in 0..=last {
        for bytes in [0, 100, 4096, 5000, 8191] {
            let copy = disk.image(1);
            copy.truncate(&segment_path(no), bytes);
            assert!(refused(&copy, "shortened"), "segment {no} at {bytes}");
        }
        if no < last {
            let copy = disk.image(1);
            copy.remove(&segment_path(no)).unwrap();
            assert!(refused(&copy, "missing"), "segment {no}");
        }
    }
}

#[test]
fn a_swapped_segment_is_refused() {
    let (disk, _) = settled();
    let copy = disk.image(1);
    copy.rename(&segment_path(1), &segment_path(0)).unwrap();
    assert!(refused(&copy, "renamed"));
}

#[test]
fn the_message_says_which_file_where_and_what_to_do() {
    let (disk, _) = settled();
    disk.flip(&segment_path(0), 4096 + 200, 3);
    let Err(error) = open(&disk, small()) else { panic!("not refused") };
    let text = error.to_string();
    for word in ["0000000000000000.log", "damaged at byte 4", "Restore", "waystation repair"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn inspection_counts_and_names_damage() {
    let (disk, last) = settled();
    let report = inspect(&dir(), &disk, &codecs()).unwrap();
    assert_eq!(report.segments.len() as u64, last + 1);
    let records: u64 = report.segments.iter().filter_map(|segment| segment.records.get("enqueue")).sum();
    assert_eq!(records, RECORDS);
    assert!(report.damage.is_none() && report.torn.is_none());
    disk.flip(&segment_path(1), 4096 + 70, 0);
    let report = inspect(&dir(), &disk, &codecs()).unwrap();
    assert!(matches!(report.damage, Some(StoreError::Damaged { .. })));
    let records: u64 = report.segments.iter().filter_map(|segment| segment.records.get("enqueue")).sum();
    assert!(records >= RECORDS - 1, "{records} after one flipped bit");
    assert_eq!(report.lost.len(), 1, "{:?}", report.lost);
}
