//! Repair: a log that can not be opened becomes one that can, of everything in it that validates.
//!
//! What is left is written anew, in its order, to a directory within the log's: the content of messages, the records
//! behind the snapshot, and a snapshot that expects no more than is there. Only when that is complete do the old files
//! move to the quarantine and the new ones to their place; a repair that was interrupted is taken up where it was. What a
//! lost settlement had ended comes back; nothing that was not settled goes for want of anything but its own content.

use crate::codec::{self, DecodeError};
use crate::commit::{CommitError, Committer};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::facts::{Ledger, Place, contents};
use crate::format::{BATCH_KIND, BatchMark, FIRST_LSN};
use crate::log::{begin, take_lock};
use crate::options::{CodecLookup, LogOptions};
use crate::recovery::undecodable;
use crate::salvage::{Stretch, Wreck};
use crate::sealed::Kind;
use crate::segment::{FileRole, Spares, role, segment_name};
use crate::shelf::{self, Shelf};
use crate::snapshots;
use crate::spans::Spans;
use crate::standing::{Standing, State, covers, states_of};
use model::ids::{Lsn, QueueId};
use model::record::{Page, QueueState, Record, ShardState, Span};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a repair found and did.
#[derive(Debug, Default)]
pub struct Repair {
    /// Something was wrong, and is right now.
    pub repaired: bool,
    /// What of which files could not be read.
    pub lost: Vec<Stretch>,
    /// Messages that were stored and whose content is gone: queue or stream, shard, first and last numbers.
    pub missing: Vec<(QueueId, u32, Vec<Span>)>,
    /// Numbers of messages that nothing is known of, in the same form: lost, or never to be stored.
    pub doubtful: Vec<(QueueId, u32, Vec<Span>)>,
    /// Records taken over.
    pub kept: u64,
    /// Where the files went that were replaced or damaged.
    pub quarantined: Vec<PathBuf>,
}

/// The directory, within that of a log, in which the new one is made.
fn workshop(dir: &Path) -> PathBuf {
    dir.join("repair")
}

const COMPLETE: &str = "complete";
const CLEARED: &str = "cleared";

/// A repair of the log in `dir` was interrupted while it moved files.
pub(crate) fn is_unfinished(disk: &dyn Disk, dir: &Path) -> bool {
    disk.list(&workshop(dir)).is_ok_and(|names| names.iter().any(|name| name == COMPLETE))
}

/// Makes the log in `dir` one that can be opened. What is not right moves to the directory `quarantine`. Errors: another
/// process has it; a newer format or protocol; the disk. Then nothing has changed, or trying again goes on.
pub fn repair(
    dir: &Path,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    codecs: &CodecLookup,
    quarantine: &Path,
) -> Result<Repair, StoreError> {
    let _lock = take_lock(disk.as_ref(), &dir.join("lock"))?;
    let mut outcome = Repair::default();
    if is_unfinished(disk.as_ref(), dir) {
        exchange(disk.as_ref(), dir, quarantine, &BTreeSet::new(), &mut outcome)?;
        outcome.repaired = true;
    }
    let Some(mut case) = Case::open(dir, disk.clone(), codecs)? else { return Ok(outcome) };
    let plan = case.plan()?;
    case.lost.append(&mut case.shelf.lost);
    let rewrite = !case.lost.is_empty() || plan.changes();
    if rewrite {
        outcome.kept += case.rewrite(&plan, options)?;
        exchange(disk.as_ref(), dir, quarantine, &case.shelf.bad, &mut outcome)?;
    } else {
        for path in &case.bad_snapshots {
            set_aside(disk.as_ref(), path, &quarantine.join("snapshots"), &mut outcome)?;
        }
    }
    outcome.repaired |= rewrite || !case.bad_snapshots.is_empty();
    outcome.lost.append(&mut case.lost);
    outcome.lost.append(&mut case.lost_snapshots);
    let listed = |places: BTreeMap<Place, Spans>| {
        places.into_iter().map(|((queue, shard), numbers)| (queue, shard, numbers.runs()))
    };
    outcome.missing.extend(listed(plan.missing));
    outcome.doubtful.extend(listed(plan.doubtful));
    Ok(outcome)
}

/// What is found.
struct Case {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    codecs: CodecLookup,
    wreck: Wreck,
    lost: Vec<Stretch>,
    lost_snapshots: Vec<Stretch>,
    bad_snapshots: Vec<PathBuf>,
    /// Lsn of the snapshot to begin with; 0 without one.
    at: u64,
    snapshot: Vec<Record>,
    /// All of a snapshot is there, or none is needed.
    complete: bool,
    /// The log was synced up to here.
    synced: u64,
    ledger: Ledger,
    shelf: Shelf,
}

/// What is to be written.
#[derive(Default)]
struct Plan {
    snapshot: Vec<Record>,
    /// Content to put in front of everything.
    content: Vec<Record>,
    /// Content to put in place of, or in front of, the note about a page.
    inline: HashMap<u64, Vec<Record>>,
    missing: BTreeMap<Place, Spans>,
    doubtful: BTreeMap<Place, Spans>,
    /// States were made up for places whose own was lost.
    made_up: bool,
}

impl Plan {
    fn changes(&self) -> bool {
        !self.content.is_empty() || !self.inline.is_empty() || !self.missing.is_empty() || self.made_up
    }
}

impl Case {
    fn open(dir: &Path, disk: Arc<dyn Disk>, codecs: &CodecLookup) -> Result<Option<Self>, StoreError> {
        let mut wreck = Wreck::survey(disk.as_ref(), dir)?;
        if wreck.segments.is_empty()
            && wreck.lost.is_empty()
            && snapshots::list(disk.as_ref(), dir)?.is_empty()
        {
            return Ok(None);
        }
        let mut first_segment = 0;
        for segment in &wreck.segments {
            segment.frames(0, &mut Vec::new(), &mut |_, kind, payload| {
                if kind == BATCH_KIND {
                    first_segment = first_segment.max(BatchMark::decode(payload).first_segment);
                }
                Ok(())
            })?;
        }
        wreck.begin_at(dir, first_segment);
        let shelf = Shelf::open(disk.clone(), dir, codecs)?;
        let mut case = Self {
            dir: dir.to_owned(),
            disk,
            codecs: codecs.clone(),
            lost: std::mem::take(&mut wreck.lost),
            wreck,
            lost_snapshots: Vec::new(),
            bad_snapshots: Vec::new(),
            at: 0,
            snapshot: Vec::new(),
            complete: true,
            synced: 0,
            ledger: Ledger::default(),
            shelf,
        };
        case.choose_snapshot()?;
        case.read_log()?;
        Ok(Some(case))
    }

    /// The newest valid snapshot; without one, the oldest one's remains, completed from the newer one's.
    fn choose_snapshot(&mut self) -> Result<(), StoreError> {
        let first = self.wreck.segments.first().map_or(u64::MAX, |segment| segment.header.base);
        let (mut whole, mut remains) = (None, Vec::new());
        for (at, path) in snapshots::list(self.disk.as_ref(), &self.dir)? {
            let mut lost = Vec::new();
            let found =
                shelf::salvage(self.disk.as_ref(), &path, (Kind::Snapshot, at), &self.codecs, &mut lost)?;
            let own = |log_id| self.wreck.log_id.is_none_or(|id| id == log_id);
            let found = found.filter(|(header, _)| own(header.log_id));
            let Some((header, records)) = found else {
                self.bad_snapshots.push(path);
                self.lost_snapshots.append(&mut lost);
                continue;
            };
            self.wreck.log_id = Some(header.log_id);
            self.synced = self.synced.max(at);
            if lost.is_empty() && records.len() == header.records as usize {
                whole = whole.or(Some((at, records)));
                continue;
            }
            self.bad_snapshots.push(path);
            self.lost_snapshots.append(&mut lost);
            remains.push((at, records));
        }
        if let Some((at, records)) = whole {
            (self.at, self.snapshot) = (at, records);
        } else if first != FIRST_LSN {
            self.complete = false;
            self.lost.append(&mut self.lost_snapshots);
            if remains.is_empty() {
                self.lost.push(Stretch {
                    path: snapshots::snapshots_dir(&self.dir),
                    bytes: (0, 0),
                    records: 0,
                    what: "no snapshot is left, and the log does not reach back to its beginning",
                });
            }
            for (at, records) in remains.into_iter().rev() {
                self.at = if self.at == 0 { at } else { self.at };
                let known: HashSet<_> = self.snapshot.iter().filter_map(subject).collect();
                let new = |record: &Record| subject(record).is_some_and(|subject| !known.contains(&subject));
                self.snapshot.extend(records.into_iter().filter(new));
            }
        }
        Ok(())
    }

    /// Counts what is in the log; notes what of it can not be read.
    fn read_log(&mut self) -> Result<(), StoreError> {
        let Self { wreck, lost, ledger, at, synced, codecs, .. } = self;
        let newest = wreck.segments.len().saturating_sub(1);
        for (index, segment) in wreck.segments.iter().enumerate() {
            let synced = if index == newest { *synced } else { 0 };
            let path = &segment.path;
            let malformed = &mut Vec::new();
            segment.frames(synced, lost, &mut |lsn, kind, payload| {
                if kind == BATCH_KIND {
                    return Ok(());
                }
                match codec::decode(kind, payload, codecs.as_ref()) {
                    Ok(record) => ledger.note(&record, lsn < *at),
                    Err(DecodeError::Malformed(what)) => malformed.push(what),
                    Err(error) => return Err(undecodable(path, lsn, &error)),
                }
                Ok(())
            })?;
            let unread =
                malformed.iter().map(|what| Stretch { path: path.clone(), bytes: (0, 0), records: 1, what });
            lost.extend(unread);
        }
        Ok(())
    }

    fn plan(&mut self) -> Result<Plan, StoreError> {
        let mut plan = Plan::default();
        let mut states = std::mem::take(&mut self.snapshot);
        let mut standing = Standing { ledger: std::mem::take(&mut self.ledger), states: states_of(&states) };
        // Pages are all looked at before content is looked for in what they do not account for.
        for (place, page) in standing.pages() {
            if standing.is_needed(place, &page) {
                self.shelf.is_whole(&page)?;
            }
        }
        if !self.complete {
            let made_up = self.make_up_states(&standing)?;
            plan.made_up = !made_up.is_empty();
            standing.states.extend(states_of(&made_up));
            states.extend(made_up);
        }
        for record in states {
            let record = self.amend(record, &standing, &mut plan)?;
            plan.snapshot.push(record);
        }
        for (place, facts) in &standing.ledger.0 {
            for page in &facts.pages {
                self.inline(*place, page, &standing, &mut plan)?;
            }
        }
        if !self.lost.is_empty() {
            plan.doubtful = standing.unheard_of();
        }
        Ok(plan)
    }

    /// A state that expects no more than is there.
    fn amend(&mut self, record: Record, standing: &Standing, plan: &mut Plan) -> Result<Record, StoreError> {
        match record {
            Record::Queue(mut state) => {
                let (live, pages) = self.account((state.queue, 0), standing, plan)?;
                state.live = live.runs();
                let there = |seq: u64| live.contains(seq) || pages.iter().any(|(page, _)| covers(page, seq));
                state.failures.retain(|(seq, _)| there(*seq));
                state.leases.retain(|(seq, _, _)| there(*seq));
                state.pages = pages.into_iter().map(|(page, settled)| (page, settled.runs())).collect();
                Ok(Record::Queue(state))
            }
            Record::Shard(mut state) => {
                let (live, pages) = self.account((state.stream, state.shard), standing, plan)?;
                state.live = live.runs();
                state.pages = pages.into_iter().map(|(page, _)| page).collect();
                Ok(Record::Shard(state))
            }
            other => Ok(other),
        }
    }

    /// What of the live numbers and the pages of a place is there. Content that is found elsewhere goes to the plan.
    fn account(
        &mut self,
        place: Place,
        standing: &Standing,
        plan: &mut Plan,
    ) -> Result<(Spans, Vec<(Page, Spans)>), StoreError> {
        let facts = standing.ledger.facts(place);
        let State { mut live, pages, .. } = standing.states.get(&place).cloned().unwrap_or_default();
        let mut kept = Vec::new();
        for (page, settled) in pages {
            if !standing.is_needed(place, &page) || self.shelf.is_whole(&page)? {
                kept.push((page, settled));
                continue;
            }
            let unsettled = (page.first..page.end()).filter(|number| !settled.contains(*number));
            unsettled.for_each(|number| live.insert(number, number));
        }
        let mut later = Spans::default();
        for page in &facts.pages {
            if standing.is_needed(place, page) && self.shelf.is_whole(page)? {
                later.insert(page.first, page.end().saturating_sub(1));
            }
        }
        let there = |number: &u64| {
            facts.entered.contains(*number) || later.contains(*number) || facts.has_ended(*number)
        };
        let wanted: Vec<u64> = live.numbers().filter(|number| !there(number)).collect();
        let (mut found, mut records) = (Spans::default(), Vec::new());
        for number in wanted {
            self.find(place, number, &mut found, &mut records, plan)?;
            if !found.contains(number) {
                live.remove(number);
            }
        }
        plan.content.append(&mut records);
        Ok((live, kept))
    }

    /// Content that the note about a page, behind the snapshot, can not speak for: because the page is not whole, or
    /// because what entered before it was lost.
    fn inline(
        &mut self,
        place: Place,
        page: &Page,
        standing: &Standing,
        plan: &mut Plan,
    ) -> Result<(), StoreError> {
        let facts = standing.ledger.facts(place);
        let open = (page.first..page.end()).filter(|number| !standing.has_ended(place, *number));
        let open: Vec<u64> = open.collect();
        if open.is_empty() {
            return Ok(());
        }
        let whole = self.shelf.is_whole(page)?;
        let awaited = |number| standing.states.get(&place).is_some_and(|state| state.live.contains(number));
        let wanted: Vec<u64> =
            open.into_iter().filter(|number| !facts.entered.contains(*number) && !awaited(*number)).collect();
        let mut records = Vec::new();
        if whole && !wanted.is_empty() {
            let wanted = wanted.iter().copied().collect::<BTreeSet<u64>>();
            records = self.shelf.read(page)?;
            records.retain(|record| {
                contents(record).iter().any(|(_, first, last)| wanted.range(first..=last).next().is_some())
            });
        } else if !whole {
            let mut found = Spans::default();
            for number in wanted {
                self.find(place, number, &mut found, &mut records, plan)?;
            }
        }
        if !whole || !records.is_empty() {
            plan.inline.insert(page.no, records);
        }
        Ok(())
    }

    /// Looks for the content of a number, unless `found` has it; notes that it is missing when there is none.
    fn find(
        &mut self,
        place: Place,
        number: u64,
        found: &mut Spans,
        records: &mut Vec<Record>,
        plan: &mut Plan,
    ) -> Result<(), StoreError> {
        if found.contains(number) {
            return Ok(());
        }
        match self.shelf.find(place, number)? {
            Some(record) => {
                contents(&record).iter().for_each(|(_, first, last)| found.insert(*first, *last));
                records.push(record);
            }
            None => plan.missing.entry(place).or_default().insert(number, number),
        }
        Ok(())
    }

    /// States of places that the snapshot's remains do not speak of: everything there is of them, since what of it was
    /// settled is not known any more.
    fn make_up_states(&mut self, standing: &Standing) -> Result<Vec<Record>, StoreError> {
        let ledger = &standing.ledger;
        let mut pages: BTreeMap<Place, (bool, Vec<Page>)> = BTreeMap::new();
        for (place, is_stream, page) in self.shelf.orphans()? {
            let entry = pages.entry(place).or_default();
            entry.0 = is_stream;
            entry.1.push(page);
        }
        let places: BTreeSet<Place> = ledger.0.keys().chain(pages.keys()).copied().collect();
        let mut made_up = Vec::new();
        for place in places.into_iter().filter(|place| !standing.states.contains_key(place)) {
            let facts = ledger.facts(place);
            let (is_stream, mut pages) = pages.remove(&place).unwrap_or_default();
            if facts.dropped || (facts.below.is_empty() && pages.is_empty()) {
                continue;
            }
            pages.sort_unstable_by_key(|page| page.first);
            // Pages do not overlap; of two that do, one was about to be given up.
            let mut end = 0;
            pages.retain(|page| {
                let apart = page.first >= end;
                end = end.max(page.end());
                apart
            });
            let mut live = facts.below.clone();
            let paged = |number: u64| pages.iter().any(|page| covers(page, number));
            let not_live: Vec<u64> =
                live.numbers().filter(|number| facts.has_ended(*number) || paged(*number)).collect();
            not_live.into_iter().for_each(|number| live.remove(number));
            let next = pages.iter().map(Page::end).max().unwrap_or(0).max(facts.next());
            made_up.push(made_up_state(place, facts.is_stream || is_stream, live, next, pages));
        }
        Ok(made_up)
    }

    /// Writes what is left into the workshop. Gives the number of records.
    fn rewrite(&self, plan: &Plan, options: LogOptions) -> Result<u64, StoreError> {
        let shop = workshop(&self.dir);
        let disk = self.disk.as_ref();
        for place in [&shop, &snapshots::snapshots_dir(&shop)] {
            disk.create_dir(place).map_err(StoreError::io("create", place))?;
            for name in disk.list(place).map_err(StoreError::io("list", place))? {
                // Directories stay.
                let _ = disk.remove(&place.join(name));
            }
        }
        let log_id = self.wreck.log_id.unwrap_or_else(|| disk.random());
        let spares = Spares::new(&shop, options.segment_bytes, 0);
        let mut committer = begin(&shop, self.disk.clone(), options, spares, log_id)?;
        // A full disk ends the repair in place of waiting.
        committer.shared.closing.store(true, Ordering::Relaxed);
        let failed = |error| match error {
            CommitError::Fatal(source) | CommitError::GivenUp(source) => {
                StoreError::io("write to", &shop)(source)
            }
        };
        committer.mark().and_then(|()| committer.write(&plan.content)).map_err(failed)?;
        let mut rewriting =
            Rewriting { committer, at: self.at, new_at: None, kept: plan.content.len() as u64 };
        let newest = self.wreck.segments.len().saturating_sub(1);
        for (index, segment) in self.wreck.segments.iter().enumerate() {
            let synced = if index == newest { self.synced } else { 0 };
            segment.frames(synced, &mut Vec::new(), &mut |lsn, kind, payload| {
                rewriting.frame((lsn, kind, payload), plan, &self.shelf.bad, &self.codecs).map_err(failed)
            })?;
        }
        let at = rewriting.new_at().map_err(failed)?;
        rewriting.committer.settle().map_err(failed)?;
        if self.at > 0 || !plan.snapshot.is_empty() {
            snapshots::put(disk, &shop, log_id, Lsn(at), &plan.snapshot)?;
        }
        disk.create(&shop.join(COMPLETE))
            .and_then(|file| file.fdatasync())
            .and_then(|()| disk.sync_dir(&shop))
            .map_err(StoreError::io("write to", &shop))?;
        Ok(rewriting.kept)
    }
}

/// The new log in the making.
struct Rewriting {
    committer: Committer,
    /// Where the snapshot was taken in the old log, and in the new one once that is reached.
    at: u64,
    new_at: Option<u64>,
    kept: u64,
}

impl Rewriting {
    fn new_at(&mut self) -> Result<u64, CommitError> {
        if let Some(at) = self.new_at {
            return Ok(at);
        }
        self.committer.flush()?;
        let at = self.committer.end();
        self.new_at = Some(at);
        Ok(at)
    }

    /// Takes over one frame of the old log.
    fn frame(
        &mut self,
        (lsn, kind, payload): (u64, u8, &[u8]),
        plan: &Plan,
        bad: &BTreeSet<u64>,
        codecs: &CodecLookup,
    ) -> Result<(), CommitError> {
        if kind == BATCH_KIND {
            return Ok(());
        }
        if lsn >= self.at {
            self.new_at()?;
        } else if !matches!(kind, codec::ENQUEUE | codec::APPEND) {
            return Ok(());
        }
        let Ok(record) = codec::decode(kind, payload, codecs.as_ref()) else { return Ok(()) };
        if let Record::Page { page, .. } = &record {
            let records = plan.inline.get(&page.no).map(Vec::as_slice).unwrap_or_default();
            self.committer.write(records)?;
            self.kept += records.len() as u64;
            if bad.contains(&page.no) {
                return Ok(());
            }
        }
        self.kept += 1;
        self.committer.write_encoded(kind, payload)
    }
}

/// What a record of a snapshot is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Place(Place),
    Retained(String, String),
    Definition(String, String),
}

fn subject(record: &Record) -> Option<Subject> {
    Some(match record {
        Record::Queue(state) => Subject::Place((state.queue, 0)),
        Record::Shard(state) => Subject::Place((state.stream, state.shard)),
        Record::Retain { vhost, topic, .. } => Subject::Retained(vhost.to_string(), topic.to_string()),
        Record::Define { kind, key, .. } => Subject::Definition(kind.to_string(), key.to_string()),
        _ => return None,
    })
}

fn made_up_state(place: Place, is_stream: bool, live: Spans, next: u64, pages: Vec<Page>) -> Record {
    let (queue, shard) = place;
    if is_stream {
        let first = [live.first(), pages.first().map(|page| page.first)].into_iter().flatten().min();
        let first = first.unwrap_or(next);
        let state = ShardState { stream: queue, shard, first, next, live: live.runs(), pages };
        return Record::Shard(Box::new(state));
    }
    let pages = pages.into_iter().map(|page| (page, Vec::new())).collect();
    Record::Queue(Box::new(QueueState { queue, next, live: live.runs(), pages, ..QueueState::default() }))
}

/// Moves a file to the quarantine.
fn set_aside(
    disk: &dyn Disk,
    path: &Path,
    quarantine: &Path,
    outcome: &mut Repair,
) -> Result<(), StoreError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    disk.create_dir(quarantine).map_err(StoreError::io("create", quarantine))?;
    let to = quarantine.join(name);
    match disk.rename(path, &to) {
        Ok(()) => outcome.quarantined.push(to),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("move to the quarantine", path)(error)),
    }
    Ok(())
}

/// The new log takes the place of the old one. Can be begun again at any point.
fn exchange(
    disk: &dyn Disk,
    dir: &Path,
    quarantine: &Path,
    bad_pages: &BTreeSet<u64>,
    outcome: &mut Repair,
) -> Result<(), StoreError> {
    let shop = workshop(dir);
    let (snapshots, new_snapshots) = (snapshots::snapshots_dir(dir), snapshots::snapshots_dir(&shop));
    let list = |dir: &Path| disk.list(dir).map_err(StoreError::io("list", dir));
    let sync = |dir: &Path| disk.sync_dir(dir).map_err(StoreError::io("sync", dir));
    let cleared = list(&shop)?.iter().any(|name| name == CLEARED);
    if !cleared {
        let segments = list(dir)?;
        for name in segments.iter().filter(|name| matches!(role(name), FileRole::Segment(_))) {
            set_aside(disk, &dir.join(name), quarantine, outcome)?;
        }
        for (_, path) in snapshots::list(disk, dir)? {
            set_aside(disk, &path, &quarantine.join("snapshots"), outcome)?;
        }
        for no in bad_pages {
            let path = dir.join("pages").join(crate::pages::page_name(*no));
            set_aside(disk, &path, &quarantine.join("pages"), outcome)?;
        }
        sync(dir)?;
        disk.create(&shop.join(CLEARED)).map_err(StoreError::io("write to", &shop))?;
        sync(&shop)?;
    }
    let take = |from: &Path, to: &Path, name: &str| {
        disk.rename(&from.join(name), &to.join(name))
            .map_err(StoreError::io("move into place", &from.join(name)))
    };
    for name in list(&shop)?.iter().filter(|name| matches!(role(name), FileRole::Segment(_))) {
        take(&shop, dir, name)?;
    }
    disk.create_dir(&snapshots).map_err(StoreError::io("create", &snapshots))?;
    for name in list(&new_snapshots).unwrap_or_default().iter().filter(|name| name.ends_with(".snap")) {
        take(&new_snapshots, &snapshots, name)?;
    }
    sync(&snapshots)?;
    sync(dir)?;
    for name in [COMPLETE, CLEARED] {
        disk.remove(&shop.join(name)).map_err(StoreError::io("remove", &shop.join(name)))?;
        sync(&shop)?;
    }
    Ok(())
}

impl Wreck {
    /// Leaves out the segments that were given up already, and notes those that are missing at the beginning.
    fn begin_at(&mut self, dir: &Path, first_segment: u64) {
        self.segments.retain(|segment| segment.header.no >= first_segment);
        let number = |path: &Path| match role(path.file_name()?.to_str()?) {
            FileRole::Segment(no) => Some(no),
            _ => None,
        };
        self.lost.retain(|stretch| number(&stretch.path).is_none_or(|no| no >= first_segment));
        let first = self.segments.first().map_or(first_segment, |segment| segment.header.no);
        for no in (first_segment..first).take(1000) {
            let path = dir.join(segment_name(no));
            if !self.lost.iter().any(|stretch| stretch.path == path) {
                self.lost.push(Stretch { path, bytes: (0, 0), records: 0, what: "the file is missing" });
            }
        }
    }
}
