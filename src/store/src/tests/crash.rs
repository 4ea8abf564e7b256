//! Power loss at every step, with every mixture of what had and had not reached the disk.

use super::{number_of, numbered_in, open, small, two_snapshots};
use crate::commit::Committer;
use crate::disk::SimDisk;
use model::ids::Lsn;
use model::record::Record;

/// What must be true of whatever is found after the cut.
#[derive(Clone, Copy, Debug)]
struct Expectation {
    /// The first number that may not be missing.
    first: u64,
    /// Numbers below were confirmed.
    confirmed: u64,
    /// Numbers from here on were never written.
    written: u64,
    /// Which opening of the log wrote the numbers from `since` on.
    generation: u32,
    /// The number that it began with.
    since: u64,
}

/// A run of a log that appends numbered records, now and then syncs, settles or trims.
struct Run<'a> {
    disk: &'a SimDisk,
    committer: Committer,
    /// The number of the first record in each segment, by its first Lsn.
    begins: Vec<(Lsn, u64)>,
    now: Expectation,
    /// `now` as it was when the cut came.
    at_cut: Option<Expectation>,
    dice: u64,
}

impl Run<'_> {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    /// Takes note of what holds before `act` when the cut comes during it.
    fn step(&mut self, act: impl FnOnce(&mut Self)) {
        let before = self.now;
        act(self);
        if self.disk.is_cut() && self.at_cut.is_none() {
            let written = self.now.written.max(before.written);
            let first = self.now.first.max(before.first);
            self.at_cut = Some(Expectation { first, written, ..before });
        }
    }

    fn write(&mut self, count: u64) {
        let generation = self.now.generation;
        let numbers = self.now.written..self.now.written + count;
        let records: Vec<_> = numbers.map(|id| numbered_in(id, generation)).collect();
        let first = self.now.written;
        self.step(|run| {
            run.now.written += count;
            for (no, record) in records.iter().enumerate() {
                run.committer.write(std::slice::from_ref(record)).unwrap();
                let newest = run.committer.shared.segments().back().unwrap().first_lsn;
                if run.begins.last().is_none_or(|(lsn, _)| *lsn < newest) {
                    run.begins.push((newest, first + no as u64));
                }
            }
            run.committer.flush().unwrap();
        });
    }

    fn sync(&mut self) {
        self.step(|run| {
            run.committer.sync().unwrap();
            run.now.confirmed = run.now.written;
        });
    }

    fn settle(&mut self) {
        self.step(|run| {
            run.committer.settle().unwrap();
            run.now.confirmed = run.now.written;
        });
    }

    /// Gives up the oldest segment; what is in it need not come back.
    fn trim(&mut self) {
        let oldest = *self.committer.shared.segments().front().unwrap();
        let settled = self.committer.shared.durable() >= oldest.end_lsn.0 + 8;
        if oldest.no == self.committer.header.no || !settled {
            return;
        }
        let begins = self.begins.iter().find(|(lsn, _)| *lsn >= oldest.end_lsn).map(|(_, id)| *id);
        self.step(|run| {
            run.now.first = run.now.first.max(begins.unwrap_or(run.now.written));
            two_snapshots(&run.committer, oldest.end_lsn);
            run.committer.trim(oldest.end_lsn).unwrap();
        });
    }

    fn go(&mut self, steps: u64) {
        for _ in 0..steps {
            match self.roll(10) {
                0..5 => {
                    let count = 1 + self.roll(5);
                    self.write(count);
                }
                5..7 => self.sync(),
                7 => self.settle(),
                _ => self.trim(),
            }
        }
    }
}

/// Opens, checks against what must be there, and gives the run that goes on from it.
fn reopen<'a>(disk: &'a SimDisk, must: Expectation, seed: u64, what: &str) -> Run<'a> {
    let (committer, _, records) = open(disk, small()).unwrap();
    let found: Vec<u64> = records.iter().map(number_of).collect();
    for (id, record) in found.iter().zip(&records).filter(|(id, _)| **id >= must.since) {
        let Record::Enqueue { targets, .. } = record else { panic!("{record:?}") };
        assert_eq!(targets[0].via, must.generation, "{what}: {id} is from before the last crash");
    }
    for pair in found.windows(2) {
        assert_eq!(pair[0] + 1, pair[1], "{what}: {found:?}");
    }
    let (first, end) =
        (found.first().map_or(must.first, |id| *id), found.last().map_or(must.first, |id| id + 1));
    assert!(first <= must.first || must.first >= must.confirmed, "{what}: {must:?} but from {first}");
    assert!(end >= must.confirmed, "{what}: {must:?} but only to {end}");
    assert!(end <= must.written, "{what}: {must:?} but to {end}");
    let segments: Vec<_> = committer.shared.segments().iter().copied().collect();
    let begins = segments.iter().map(|info| (info.first_lsn, first)).take(1).collect();
    let generation = must.generation + 1;
    let now = Expectation { first, confirmed: end, written: end, generation, since: end };
    Run { disk, committer, begins, now, at_cut: None, dice: seed }
}

const FRESH: Expectation = Expectation { first: 0, confirmed: 0, written: 0, generation: 0, since: 0 };

/// One run on a fresh disk, cut before change number `cut`; then each image is opened, used, crashed and opened again.
fn check(seed: u64, steps: u64, cut: u64) -> bool {
    let disk = SimDisk::new(seed);
    disk.cut_at(cut);
    let mut run = reopen(&disk, FRESH, seed, "fresh");
    run.at_cut = disk.is_cut().then_some(FRESH);
    run.go(steps);
    let Some(must) = run.at_cut else { return false };
    for choice in [0, 1, seed.wrapping_mul(31) + cut + 2, seed + cut * 7919 + 3] {
        let what = format!("seed {seed} cut {cut} choice {choice}");
        let image = disk.image(choice);
        let cut_again = image.operations() + 8 + (cut + choice) % 23;
        image.cut_at(cut_again);
        let mut second = reopen(&image, must, seed ^ cut, &what);
        second.at_cut = image.is_cut().then_some(second.now);
        second.go(12);
        second.sync();
        let must = second.at_cut.unwrap_or(second.now);
        let third = image.image(choice.wrapping_mul(77) + 5);
        reopen(&third, must, 0, &format!("{what}, again"));
    }
    true
}

#[test]
fn confirmed_records_survive_a_crash_at_any_step() {
    let mut crashes = 0;
    for seed in 1..=3 {
        let mut cut = 0;
        while check(seed, 40, cut) {
            cut += 1;
            crashes += 1;
        }
    }
    assert!(crashes > 150, "only {crashes} crashes: the runs are too short to mean anything");
}

#[test]
fn recycled_files_never_bring_back_what_they_held() {
    let disk = SimDisk::new(3);
    let mut run = reopen(&disk, FRESH, 3, "fresh");
    for round in 0..40 {
        run.write(6);
        run.sync();
        run.trim();
        run.trim();
        if round % 5 == 4 {
            let must = run.now;
            drop(run);
            run = reopen(&disk, must, round, "reopened");
        }
    }
    let created = run.committer.shared.segments().back().unwrap().no;
    assert!(created > 20, "only {created} segments");
    let Run { committer, now, .. } = run;
    drop(committer);
    assert_eq!(now.confirmed, now.written);
    reopen(&disk, now, 0, "at the end");
}
