//! From the data directory to running state: definitions first, then every worker's records in log order.

use super::sessions::{self, Sessions};
use crate::auth::account::Stored;
use crate::config::Config;
use crate::registry::{Behaviours, codec, kept_message_id};
use engine::topology::{Change, Definitions, settings::Durability};
use engine::worker::{Worker, WorkerLimits, command::WorkerCommand, effect::Effects};
use model::{Millis, Name, error::ErrorKind, ids::WorkerId, record::Record};
use rustc_hash::FxHashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{CodecLookup, LocalLog, LogOptions, Pages, Stage, StoreError, disk::RealDisk};

/// More workers than this there never were.
const WORKERS_HIGHEST: u16 = 256;

/// What a start begins with.
pub(crate) struct Recovered {
    /// Definitions with every durable thing in place.
    pub(crate) definitions: Definitions,
    /// Sessions that outlived their connections.
    pub(crate) sessions: Sessions,
    /// Users and permissions made at run time.
    pub(crate) users: Stored,
    /// In the order of their numbers.
    pub(crate) workers: Vec<RecoveredWorker>,
}

/// A worker with its content.
pub(crate) struct RecoveredWorker {
    pub(crate) worker: Worker,
    /// What came of the recovery, dead letters for example.
    pub(crate) effects: Effects,
    pub(crate) log: Arc<LocalLog>,
    pub(crate) pages: Pages,
}

/// Opens or makes the data directory. Blocking. Errors: one sentence that names the file and what to do.
pub(crate) fn recover(config: &Config, behaviours: Arc<Behaviours>) -> Result<Recovered, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis);
    let found = workers_found(config);
    let count = config.workers.max(found.iter().max().map_or(0, |highest| highest + 1));
    if count > config.workers {
        tracing::warn!(
            workers = config.workers,
            "the data directory holds the logs of {count} workers: so many run, whatever the setting workers says"
        );
    }
    if !found.is_empty() && !found.contains(&0) {
        return Err(gone(config, 0, "all definitions"));
    }
    let mut definitions = Definitions::new(count, behaviours);
    let mut sessions = Sessions::default();
    let mut users = Stored::default();
    // All definitions are in the first worker's log, perhaps behind the messages of their queues (log cleaning). They
    // are read first, so that messages need not be kept aside until their queues are known.
    let mut each = |_, record| {
        if let Record::Define { kind, key, value } = record {
            match users.restore(&kind, &key, value.as_deref()) {
                Ok(true) => {}
                Ok(false) => define(&mut definitions, &mut sessions, &kind, &key, value, &codecs()),
                Err(error) => tracing::error!(kind = &*kind, error, "a user's record is not readable"),
            }
        }
    };
    store::definitions(&log_dir(config, 0)?, &RealDisk, &codecs(), &mut each)
        .map_err(|error| error.to_string())?;
    let left_out = definitions.finish_restore().map_err(|error| match error.kind {
        ErrorKind::Unavailable => {
            format!("a worker's directory is missing in {}: {error}", config.data.display())
        }
        _ => format!("cannot recover the definitions: {error}"),
    })?;
    left_out.iter().for_each(|text| tracing::warn!(reason = &**text, "a binding was left out"));
    let mut workers = workers(config, count);
    let mut on_interval = 0;
    for Change::Worker(id, command) in definitions.drain_changes() {
        if !found.contains(&id.0) {
            return Err(gone(config, id.0, "the content of queues that are defined"));
        }
        if let WorkerCommand::CreateQueue { settings, .. } = &command {
            on_interval += usize::from(settings.durability == Some(Durability::Interval));
        }
        if let Some(worker) = workers.get_mut(usize::from(id.0)) {
            worker.apply(command, now, &mut Effects::default());
        }
    }
    warn_of_interval(config, on_interval);
    for vhost in config.vhosts.iter().map(String::as_str).chain(["/"]) {
        definitions.ensure_vhost(&Name::from(vhost));
    }
    let held: FxHashSet<Name> =
        sessions.kept().filter_map(|(slot, value)| kept_message_id(slot, value)).collect();
    workers.iter_mut().for_each(|worker| worker.expect_once(held.clone()));
    let workers = workers.into_iter().map(|worker| replay(config, worker, now)).collect::<Result<_, _>>()?;
    Ok(Recovered { definitions, sessions, users, workers })
}

fn workers(config: &Config, count: u16) -> Vec<Worker> {
    let limits = WorkerLimits { page_bytes: config.page_bytes, ..WorkerLimits::default() };
    let worker = |number| Worker::new(WorkerId(number), limits.clone());
    (0..count).map(|number| worker(number).with_durability(config.durability)).collect()
}

/// Says aloud what an operator gave up.
fn warn_of_interval(config: &Config, queues: usize) {
    let what = match (config.durability, queues) {
        (Durability::Interval, _) => "durability = interval".to_owned(),
        (Durability::Always, 0) => return,
        (Durability::Always, queues) => format!("x-durability = interval on {queues} queues"),
    };
    tracing::warn!(
        "{what}: messages are confirmed before they are on the disk. A crash loses confirmed messages, of the machine \
         those of the last {} ms",
        sync_interval(config).as_millis()
    );
}

/// How long what nobody waits for may stay unsynced.
fn sync_interval(config: &Config) -> Duration {
    let interval = Duration::from_millis(config.durability_interval_ms);
    match config.durability {
        Durability::Interval => interval,
        Durability::Always => interval.min(LogOptions::default().settle_after),
    }
}

fn dir_name(number: u16) -> String {
    format!("worker-{number:02}")
}

/// Numbers of the workers that have a directory.
fn workers_found(config: &Config) -> Vec<u16> {
    // One that can not be read is told of when it is to be used.
    let entries = std::fs::read_dir(&config.data).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter_map(|name| {
        let number = name.strip_prefix("worker-")?.parse().ok()?;
        (number < WORKERS_HIGHEST && name == dir_name(number)).then_some(number)
    });
    numbers.collect()
}

fn gone(config: &Config, number: u16, what: &str) -> String {
    format!(
        "{} is missing, and with it {what}. Restore the data directory from a copy; or make an empty directory in its \
         place to give that up",
        config.data.join(dir_name(number)).display()
    )
}

fn log_dir(config: &Config, number: u16) -> Result<PathBuf, String> {
    let dir = config.data.join(dir_name(number));
    std::fs::create_dir_all(&dir).map_err(|error| {
        format!("cannot write to the data directory {}: {error} (setting data)", dir.display())
    })?;
    Ok(dir)
}

fn codecs() -> CodecLookup {
    Arc::new(codec)
}

fn define(
    definitions: &mut Definitions,
    sessions: &mut Sessions,
    kind: &Name,
    key: &Name,
    value: Option<bytes::Bytes>,
    codecs: &CodecLookup,
) {
    if kind == sessions::RECORD_KIND {
        if let Err(error) = sessions.restore(key, value.as_deref(), codecs) {
            tracing::error!(
                session = &**key,
                error,
                "a session's record is not readable; the session is lost"
            );
        }
    } else if kind == sessions::KEPT_KIND {
        if let Err(error) = sessions.restore_kept(key, value) {
            tracing::error!(key = &**key, error, "what a session kept is not readable");
        }
    } else {
        definitions.restore(kind, key, value);
    }
}

/// Opens a worker's log and gives the worker back what it held.
fn replay(config: &Config, mut worker: Worker, now: Millis) -> Result<RecoveredWorker, String> {
    let number = worker.id().0;
    let options = LogOptions {
        segment_bytes: config.segment_bytes,
        settle_after: sync_interval(config),
        ..LogOptions::default()
    };
    let started = std::time::Instant::now();
    let mut each = |stage, _, record: Record| match stage {
        Stage::Content => worker.replay_content(&record),
        Stage::Snapshot | Stage::Log => worker.replay(&record),
    };
    let dir = log_dir(config, number)?;
    let (log, recovery) = LocalLog::open(&dir, Arc::new(RealDisk), options, codecs(), &mut each)
        .map_err(|error| error.to_string())?;
    if let Some((queue, (first, last))) = worker.missing().into_iter().next() {
        return Err(format!(
            "{} is damaged: a snapshot says that messages {first} to {last} of {queue} are there, but the log does \
             not hold them. Restore the data directory from a copy, or save what is left: waystation repair {}",
            dir.display(),
            config.data.display()
        ));
    }
    let pages = pages(&dir, &worker).map_err(|error| error.to_string())?;
    let mut effects = Effects::default();
    worker.recovered(now, &mut effects);
    if recovery.records > 0 || recovery.snapshot.is_some() {
        tracing::info!(
            worker = number,
            records = recovery.records,
            bytes = recovery.bytes,
            ms = started.elapsed().as_millis() as u64,
            "recovered"
        );
    }
    Ok(RecoveredWorker { worker, effects, log: Arc::new(log), pages })
}

/// The worker's page files: those that it refers to, checked, and no others.
fn pages(dir: &Path, worker: &Worker) -> Result<Pages, StoreError> {
    let pages = Pages::open(&dir.join("pages"), Arc::new(RealDisk), codecs())?;
    let mut needed = FxHashSet::default();
    for page in worker.pages() {
        pages.check(&page)?;
        pages.reserve(page.no);
        needed.insert(page.no);
    }
    pages.retain(&|no| needed.contains(&no));
    Ok(pages)
}
