//! A log in full use, small: one queue whose messages enter and end, pages, snapshots, trimming, definitions. What it
//! adds up to is kept beside it after every record, to compare with what a start finds.

use super::{codecs, dir, message_of, put_snapshot, small};
use crate::commit::Committer;
use crate::disk::{Disk, SimDisk};
use crate::error::StoreError;
use crate::log::open_committer;
use crate::options::LogOptions;
use crate::pages::Pages;
use crate::recovery::{Replay, Stage, walk_sealed};
use model::ids::{Lsn, QueueId};
use model::record::{Page, QueueState, Record, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) const QUEUE: QueueId = QueueId(7);
const PAGE_MESSAGES: u64 = 4;

/// What records add up to: live messages, and what is defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) live: BTreeSet<u64>,
    pub(super) defined: BTreeMap<String, Vec<u8>>,
}

/// The state of the owner, in its parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Fold {
    content: BTreeSet<u64>,
    awaited: BTreeSet<u64>,
    pages: BTreeMap<u64, (Page, BTreeSet<u64>)>,
    defined: BTreeMap<String, Vec<u8>>,
    next: u64,
}

impl Fold {
    pub(super) fn sum(&self) -> Sum {
        let paged = self.pages.values().flat_map(|(_, live)| live.iter().copied());
        Sum { live: self.content.iter().copied().chain(paged).collect(), defined: self.defined.clone() }
    }

    fn apply(&mut self, stage: Stage, record: &Record) {
        match record {
            Record::Enqueue { message, targets } => {
                let seq = targets[0].seq;
                assert_eq!(super::message_fingerprint(message), super::message_fingerprint(&message_of(seq)));
                self.next = self.next.max(seq + 1);
                let in_page = self.pages.values().any(|(page, _)| page.first <= seq && seq < page.end());
                if in_page || (stage == Stage::Content && !self.awaited.contains(&seq)) {
                    return;
                }
                self.awaited.remove(&seq);
                self.content.insert(seq);
            }
            Record::Settle { seqs, .. } => {
                for seq in seqs {
                    self.next = self.next.max(seq + 1);
                    self.content.remove(seq);
                    self.awaited.remove(seq);
                    self.pages.values_mut().for_each(|(_, live)| {
                        live.remove(seq);
                    });
                    self.pages.retain(|_, (_, live)| !live.is_empty());
                }
            }
            Record::Page { page, .. } => {
                let known = |seq: &u64| self.content.remove(seq) || self.awaited.remove(seq);
                let live: BTreeSet<u64> = (page.first..page.end()).filter(known).collect();
                if !live.is_empty() {
                    self.pages.insert(page.no, (*page, live));
                }
            }
            Record::Define { key, value, .. } => {
                self.defined.insert(key.to_string(), value.as_ref().unwrap().to_vec());
            }
            Record::Queue(state) => {
                assert_eq!(stage, Stage::Snapshot);
                self.next = state.next;
                self.awaited = state.live.iter().flat_map(|(first, last)| *first..=*last).collect();
                for (page, settled) in &state.pages {
                    let ended = |seq: &u64| settled.iter().any(|(a, b)| a <= seq && seq <= b);
                    let live = (page.first..page.end()).filter(|seq| !ended(seq)).collect();
                    self.pages.insert(page.no, (*page, live));
                }
            }
            other => panic!("not written by this test: {other:?}"),
        }
    }

    fn snapshot(&self) -> Vec<Record> {
        let one = |seq: &u64| (*seq, *seq);
        let pages = self.pages.values().map(|(page, live)| {
            let settled = (page.first..page.end()).filter(|seq| !live.contains(seq));
            (*page, settled.map(|seq| (seq, seq)).collect())
        });
        let state = QueueState {
            queue: QUEUE,
            next: self.next,
            live: self.content.iter().map(one).collect(),
            pages: pages.collect(),
            ..QueueState::default()
        };
        let defined = self.defined.iter().map(|(key, value)| define(key, value));
        defined.chain([Record::Queue(Box::new(state))]).collect()
    }
}

fn define(key: &str, value: &[u8]) -> Record {
    Record::Define { kind: "thing".into(), key: key.into(), value: Some(value.to_vec().into()) }
}

pub(super) fn enqueue(seq: u64) -> Record {
    let targets = vec![Target { queue: QUEUE, seq, via: 0 }];
    Record::Enqueue { message: Arc::new(message_of(seq)), targets }
}

/// Opens everything and reads every page. Errors: what the store refuses, and content that is missing.
pub(super) fn recover(disk: &SimDisk) -> Result<(Committer, Pages, Fold), StoreError> {
    let mut fold = Fold::default();
    let arc: Arc<dyn Disk> = Arc::new(disk.clone());
    let each = &mut |stage, _, record| fold.apply(stage, &record);
    let (committer, _) = open_committer(&dir(), arc.clone(), options(), &codecs(), each)?;
    if let Some(seq) = fold.awaited.first() {
        return Err(StoreError::damaged(&dir(), 0, format!("no content of {seq}")));
    }
    let pages = Pages::open(&dir().join("pages"), arc, codecs())?;
    for (page, live) in fold.pages.values() {
        pages.reserve(page.no);
        pages.check(page)?;
        let records = pages.read(page)?;
        let seqs: Vec<u64> = records.iter().map(|record| super::target_of(record).seq).collect();
        assert_eq!(seqs, (page.first..page.end()).collect::<Vec<_>>());
        assert!(live.iter().all(|seq| seqs.contains(seq)));
        let mut check = Fold::default();
        records.iter().for_each(|record| check.apply(Stage::Log, record));
    }
    pages.retain(&|no| fold.pages.contains_key(&no));
    Ok((committer, pages, fold))
}

pub(super) fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 8 * 1024,
        first_segment_bytes: 8 * 1024,
        commit_bytes_max: 3 * 1024,
        ..small()
    }
}

/// The owner at work.
pub(super) struct Bank {
    pub(super) disk: SimDisk,
    pub(super) committer: Committer,
    pages: Pages,
    pub(super) fold: Fold,
    /// What everything added up to after each record so far.
    pub(super) history: Vec<Sum>,
    /// How many of those were confirmed.
    pub(super) confirmed: usize,
    /// The same when the cut came, and how many there were.
    pub(super) at_cut: Option<(usize, usize)>,
    dice: u64,
}

impl Bank {
    pub(super) fn open(disk: &SimDisk, seed: u64) -> Result<Self, StoreError> {
        let (committer, pages, fold) = recover(disk)?;
        let history = vec![fold.sum()];
        let disk = disk.clone();
        let at_cut = disk.is_cut().then_some((0, 1));
        Ok(Self { disk, committer, pages, fold, history, confirmed: 0, at_cut, dice: seed })
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn step(&mut self, act: impl FnOnce(&mut Self)) {
        let before = self.confirmed;
        act(self);
        if self.disk.is_cut() && self.at_cut.is_none() {
            self.at_cut = Some((before, self.history.len()));
        }
    }

    fn log(&mut self, record: Record) {
        self.fold.apply(Stage::Log, &record);
        self.history.push(self.fold.sum());
        self.committer.write(&[record]).unwrap();
    }

    fn sync(&mut self) {
        self.committer.sync().unwrap();
        self.confirmed = self.history.len() - 1;
    }

    fn settle_oldest(&mut self, count: u64) {
        let skip = self.roll(3) as usize;
        let seqs: Vec<u64> = self.fold.sum().live.into_iter().skip(skip).take(count as usize).collect();
        if seqs.is_empty() {
            return;
        }
        let pages_before: Vec<u64> = self.fold.pages.keys().copied().collect();
        self.log(Record::Settle { queue: QUEUE, seqs });
        let dead: Vec<u64> =
            pages_before.into_iter().filter(|no| !self.fold.pages.contains_key(no)).collect();
        if !dead.is_empty() {
            self.sync();
            dead.into_iter().for_each(|no| self.pages.remove(no));
        }
    }

    fn page_out(&mut self) {
        let content: Vec<u64> = self.fold.content.iter().copied().collect();
        let run = content.windows(PAGE_MESSAGES as usize).find(|run| run[0] + PAGE_MESSAGES - 1 == run[3]);
        let Some(first) = run.map(|run| run[0]) else { return };
        let records: Vec<Record> = (first..first + PAGE_MESSAGES).map(enqueue).collect();
        let (no, file_bytes) = self.pages.write(&records).unwrap();
        let page = Page {
            no,
            file_bytes,
            first,
            count: PAGE_MESSAGES as u32,
            body_bytes: 0,
            cost_bytes: 0,
            first_ms: 0,
            last_ms: 0,
        };
        self.log(Record::Page { queue: QUEUE, shard: 0, page });
    }

    pub(super) fn snapshot(&mut self) {
        self.sync();
        let at = Lsn(self.committer.end());
        put_snapshot(&self.committer, at, &self.fold.snapshot()).unwrap();
    }

    /// Copies what lives in the oldest segment to the tail, and gives it up.
    fn clean(&mut self) {
        let oldest = *self.committer.shared.segments().front().unwrap();
        if oldest.no == self.committer.header.no || oldest.end_lsn > self.committer.shared.trim_limit() {
            return;
        }
        let mut survivors = Vec::new();
        let each = &mut |_, _, record: Record| {
            if matches!(&record, Record::Enqueue { targets, .. } if self.fold.content.contains(&targets[0].seq))
            {
                survivors.push(record);
            }
        };
        let codecs = codecs();
        let mut replay = Replay { codecs: &codecs, each, at: Lsn(0), records: 0 };
        walk_sealed(&self.disk, &dir(), &oldest, &mut replay).unwrap();
        survivors.into_iter().for_each(|record| self.log(record));
        self.sync();
        self.committer.trim(oldest.end_lsn).unwrap();
    }

    pub(super) fn go(&mut self, steps: u64) {
        for _ in 0..steps {
            match self.roll(14) {
                0..4 => {
                    let count = 1 + self.roll(4);
                    self.step(|bank| {
                        (0..count).for_each(|_| bank.log(enqueue(bank.fold.next)));
                        bank.committer.flush().unwrap();
                    });
                }
                4..6 => self.step(|bank| bank.sync()),
                6..8 => {
                    let count = 1 + self.roll(3);
                    self.step(|bank| bank.settle_oldest(count));
                }
                8 => self.step(Self::page_out),
                9 => self.step(Self::snapshot),
                10..12 => self.step(Self::clean),
                12 => {
                    let (key, value) = (format!("k{}", self.roll(4)), vec![self.roll(200) as u8; 30]);
                    self.step(|bank| bank.log(define(&key, &value)));
                }
                _ => self.step(|bank| {
                    bank.committer.settle().unwrap();
                    bank.confirmed = bank.history.len() - 1;
                }),
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.committer.settle().unwrap();
        self.confirmed = self.history.len() - 1;
    }

    pub(super) fn settle_everything(&mut self) {
        let seqs = self.fold.sum().live.into_iter().collect();
        self.log(Record::Settle { queue: QUEUE, seqs });
        self.settle();
    }

    pub(super) fn page_count(&self) -> usize {
        self.fold.pages.len()
    }
}
