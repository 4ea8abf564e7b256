//! Snapshots, pages and log together: power loss at every step, damage anywhere, and repair.

use super::bank::{Bank, enqueue, options, recover};
use super::{codecs, dir, put_snapshot};
use crate::disk::{Disk, SimDisk};
use crate::error::StoreError;
use crate::inspect::{SegmentReport, inspect};
use crate::log::definitions;
use crate::pages::Pages;
use crate::repair::{Repair, repair};
use model::ids::Lsn;
use model::record::{Page, Record};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One run on a fresh disk, cut before change number `cut`; each image is opened, used, cut and opened again. False when the
/// run ended before the cut.
fn check(seed: u64, steps: u64, cut: u64) -> bool {
    let disk = SimDisk::new(seed);
    disk.cut_at(cut);
    let mut bank = Bank::open(&disk, seed).unwrap();
    bank.go(steps);
    let Some((confirmed, written)) = bank.at_cut else { return false };
    for choice in [0, 1, seed.wrapping_mul(31) + cut + 2] {
        let what = format!("seed {seed} cut {cut} choice {choice}");
        let image = disk.image(choice);
        image.cut_at(3 + cut % 29);
        let mut second = Bank::open(&image, seed ^ cut).unwrap();
        let found = second.fold.sum();
        assert!(bank.history[confirmed..written].contains(&found), "{what}: {found:?}");
        second.go(10);
        let (confirmed, written) = second.at_cut.unwrap_or((second.confirmed, second.history.len()));
        let third = image.image(choice.wrapping_mul(77) + 5);
        let (_, _, fold) = recover(&third).unwrap();
        assert!(second.history[confirmed..written].contains(&fold.sum()), "{what}, again: {:?}", fold.sum());
    }
    true
}

#[test]
fn a_crash_at_any_step_leaves_what_was_confirmed() {
    let mut crashes = 0;
    for seed in 1..=2 {
        let mut cut = 0;
        while check(seed, 45, cut) {
            cut += 1;
            crashes += 1;
        }
    }
    assert!(crashes > 100, "only {crashes} crashes: the runs are too short to mean anything");
}

/// A settled log with two snapshots, pages, and a trimmed beginning.
fn worked(seed: u64) -> Bank {
    let disk = SimDisk::new(seed);
    let mut bank = Bank::open(&disk, seed).unwrap();
    for _ in 0..40 {
        bank.go(10);
        let trimmed = bank.committer.shared.segments().front().unwrap().no > 2;
        if trimmed && bank.page_count() > 1 && bank.committer.shared.snapshots().len() == 2 {
            break;
        }
    }
    bank.settle();
    bank
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

fn mend(disk: &SimDisk) -> Result<Repair, StoreError> {
    repair(&dir(), Arc::new(disk.clone()), options(), &codecs(), Path::new("/quarantine"))
}

/// After a repair the log opens and is whole; gives how many of the live messages are gone.
fn mended(disk: &SimDisk, bank: &Bank, what: &str) -> usize {
    let outcome = mend(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(outcome.repaired && !outcome.lost.is_empty(), "{what}: {outcome:?}");
    let (committer, pages, fold) =
        recover(disk).unwrap_or_else(|error| panic!("{what}: repaired, but {error}"));
    drop((committer, pages));
    let (before, after) = (bank.fold.sum(), fold.sum());
    let ever: std::collections::BTreeSet<u64> =
        bank.history.iter().flat_map(|sum| sum.live.iter().copied()).collect();
    assert!(after.live.is_subset(&ever), "{what}: invented {:?}", after.live);
    let again = mend(disk).unwrap();
    assert!(!again.repaired, "{what}: not right after a repair: {again:?}");
    before.live.difference(&after.live).count()
}

#[test]
fn damage_anywhere_is_refused_or_harmless_and_can_be_repaired() {
    let (mut refused, mut harmless) = (0, 0);
    for round in 0..1000u64 {
        let bank = if round % 100 == 0 { Some(worked(round / 100 + 1)) } else { None };
        thread_local!(static BANK: std::cell::RefCell<Option<Bank>> = const { std::cell::RefCell::new(None) });
        BANK.with(|kept| {
            let mut kept = kept.borrow_mut();
            if bank.is_some() {
                *kept = bank;
            }
            let bank = kept.as_ref().unwrap();
            if damage(bank, round) { refused += 1 } else { harmless += 1 }
        });
    }
    assert!(refused > 300 && harmless > 20, "{refused} refused, {harmless} harmless");
}

/// Damages one file of a copy; true when that was refused.
fn damage(bank: &Bank, round: u64) -> bool {
    let mut dice = Dice(round * 7919 + 13);
    let copy = bank.disk.image(1);
    let files = copy.files();
    let (path, bytes) = files[dice.roll(files.len())].clone();
    let flip = dice.roll(4) > 0;
    let at = if dice.roll(4) == 0 { dice.roll(bytes.min(80)) } else { dice.roll(bytes) };
    if flip {
        copy.flip(&path, at, dice.roll(8) as u8);
    } else {
        copy.truncate(&path, at);
    }
    let what =
        format!("round {round}: {} {} {at}", path.display(), if flip { "flipped at" } else { "cut to" });
    let error = match recover(&copy.image(1)) {
        Ok((_, _, fold)) => {
            assert_eq!(fold.sum(), bank.fold.sum(), "{what}");
            return false;
        }
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(error.to_string().contains(name), "{what}: {error}");
    assert!(error.to_string().contains("waystation repair"), "{error}");
    let gone = mended(&copy, bank, &what);
    assert!(!flip || gone <= 1, "{what}: one bit cost {gone} messages");
    true
}

#[test]
fn what_is_whole_needs_no_repair() {
    let bank = worked(5);
    let copy = bank.disk.image(1);
    let outcome = mend(&copy).unwrap();
    assert!(!outcome.repaired && outcome.lost.is_empty() && outcome.missing.is_empty(), "{outcome:?}");
    assert_eq!(recover(&copy).unwrap().2.sum(), bank.fold.sum());
    // Nor does a log that was never written to, or none at all.
    assert!(!mend(&SimDisk::new(1)).unwrap().repaired);
}

#[test]
fn inspection_tells_living_content_from_dead() {
    let disk = SimDisk::new(8);
    let mut bank = Bank::open(&disk, 8).unwrap();
    bank.go(80);
    bank.snapshot();
    bank.settle();
    let _lock = disk.lock(&dir().join("lock")).unwrap();
    let before = disk.operations();
    let report = inspect(&dir(), &disk, &codecs()).unwrap();
    assert_eq!(disk.operations(), before);
    assert_eq!(report.in_use.as_deref(), Some("another"));
    assert!(report.damage.is_none() && report.lost.is_empty(), "{report:?}");
    assert_eq!(report.pages.len(), bank.page_count());
    let sum = |part: fn(&SegmentReport) -> u64| report.segments.iter().map(part).sum::<u64>();
    let (content, live) = (sum(|segment| segment.content_bytes), sum(|segment| segment.live_bytes));
    assert!(live > 0 && live < content, "{live} of {content}");
    bank.settle_everything();
    let report = inspect(&dir(), &disk, &codecs()).unwrap();
    assert_eq!(report.segments.iter().map(|segment| segment.live_bytes).sum::<u64>(), 0);
    assert!(report.snapshots.iter().all(|file| file.damage.is_none() && file.records.contains_key("queue")));
}

fn snapshot_files(disk: &SimDisk) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = disk.files().into_iter().map(|(path, _)| path).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "snap"));
    files
}

#[test]
fn one_damaged_snapshot_costs_nothing_and_both_are_refused() {
    let bank = worked(3);
    let files = snapshot_files(&bank.disk);
    assert_eq!(files.len(), 2);
    for path in &files {
        let copy = bank.disk.image(1);
        copy.flip(path, 4096 + 70, 1);
        assert_eq!(recover(&copy).unwrap().2.sum(), bank.fold.sum());
        let outcome = mend(&copy).unwrap();
        assert!(outcome.repaired && outcome.quarantined.len() == 1, "{outcome:?}");
        assert_eq!(recover(&copy).unwrap().2.sum(), bank.fold.sum());
    }
    for at in [4096 + 70, 20, 0, 4096 + 10] {
        let copy = bank.disk.image(1);
        files.iter().for_each(|path| copy.flip(path, at, 1));
        let text = recover(&copy).err().unwrap().to_string();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(files.iter().all(|path| text.contains(&name(path))), "{text}");
        let gone = mended(&copy, &bank, "both snapshots");
        assert_eq!(gone, 0, "at {at}");
    }
    let copy = bank.disk.image(1);
    files.iter().for_each(|path| copy.remove(path).unwrap());
    assert!(recover(&copy).is_err(), "both snapshots missing");
    assert_eq!(mended(&copy, &bank, "no snapshots"), 0);
}

#[test]
fn a_missing_segment_is_refused_and_the_others_are_kept() {
    let bank = worked(4);
    let segments: Vec<_> = bank.committer.shared.segments().iter().copied().collect();
    for info in segments.iter().rev().skip(1) {
        let copy = bank.disk.image(1);
        copy.remove(&super::segment_path(info.no)).unwrap();
        assert!(recover(&copy).is_err(), "segment {} missing", info.no);
        mended(&copy, &bank, "a missing segment");
    }
}

#[test]
fn a_log_that_ends_before_a_snapshot_is_refused() {
    let disk = SimDisk::new(4);
    let mut bank = Bank::open(&disk, 4).unwrap();
    bank.go(30);
    bank.settle();
    let end = bank.committer.end();
    put_snapshot(&bank.committer, Lsn(end + 48), &[]).unwrap();
    let Err(StoreError::Damaged { what, .. }) = recover(&disk.image(1)) else { panic!("not refused") };
    assert!(what.contains("snapshot"), "{what}");
}

#[test]
fn an_interrupted_repair_goes_on() {
    let bank = worked(6);
    let broken = bank.disk.image(1);
    let files = broken.files();
    let segment = files.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "log")).unwrap();
    broken.flip(&segment.0, 4096 + 100, 2);
    let whole = broken.image(1);
    mend(&whole).unwrap();
    let expected = recover(&whole).unwrap().2.sum();
    let mut cut = 0;
    loop {
        let disk = broken.image(1);
        disk.cut_at(cut);
        mend(&disk).unwrap();
        if !disk.is_cut() {
            break;
        }
        for choice in [0, cut + 2] {
            let image = disk.image(choice);
            mend(&image).unwrap_or_else(|error| panic!("cut {cut} choice {choice}: {error}"));
            let (_, _, fold) =
                recover(&image).unwrap_or_else(|error| panic!("cut {cut} choice {choice}: {error}"));
            assert_eq!(fold.sum(), expected, "cut {cut} choice {choice}");
        }
        cut += 3;
    }
    assert!(cut > 20, "only {cut} steps");
}

#[test]
fn the_lock_keeps_repair_from_a_log_in_use() {
    let disk = SimDisk::new(1);
    let _lock = disk.lock(&dir().join("lock")).unwrap();
    assert!(matches!(mend(&disk), Err(StoreError::Locked { .. })));
}

#[test]
fn definitions_come_from_the_snapshot_and_what_is_behind_it() {
    let bank = worked(2);
    let mut found = std::collections::BTreeMap::new();
    definitions(&dir(), &bank.disk, &codecs(), &mut |_, record| {
        let Record::Define { key, value, .. } = record else { panic!("{record:?}") };
        found.insert(key.to_string(), value.unwrap().to_vec());
    })
    .unwrap();
    assert!(!found.is_empty());
    assert_eq!(found, bank.fold.sum().defined);
}

#[test]
fn pages_are_written_read_checked_and_removed() {
    let disk = SimDisk::new(1);
    let pages = Pages::open(Path::new("/w/pages"), Arc::new(disk.clone()), codecs()).unwrap();
    let records: Vec<Record> = (10..60).map(enqueue).collect();
    pages.reserve(41);
    let (no, file_bytes) = pages.write(&records).unwrap();
    assert_eq!(no, 42);
    let page =
        Page { no, file_bytes, first: 10, count: 50, body_bytes: 0, cost_bytes: 0, first_ms: 0, last_ms: 0 };
    pages.check(&page).unwrap();
    let read = pages.read(&page).unwrap();
    let prints = |records: &[Record]| records.iter().map(super::fingerprint).collect::<Vec<_>>();
    assert_eq!(prints(&read), prints(&records));
    for wrong in [Page { first: 11, ..page }, Page { count: 49, ..page }, Page { file_bytes: 1, ..page }] {
        assert!(matches!(pages.check(&wrong), Err(StoreError::Damaged { .. })));
    }
    // Safe as soon as it is written, also when nothing else is.
    let image = disk.image(0);
    Pages::open(Path::new("/w/pages"), Arc::new(image), codecs()).unwrap().read(&page).unwrap();
    disk.set_full(true);
    assert!(pages.write(&records).unwrap_err().is_full());
    disk.set_full(false);
    let (other, _) = pages.write(&records).unwrap();
    pages.retain(&|needed| needed == other);
    assert!(pages.check(&page).is_err());
    pages.remove(other);
    pages.remove(other);
    assert!(disk.list(Path::new("/w/pages")).unwrap().is_empty());
}
