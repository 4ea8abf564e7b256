//! From the data directory to running state: definitions first, then every worker's records in log order.

use super::sessions::{self, Sessions};
use crate::config::Config;
use crate::registry::{Behaviours, codec, kept_message_id};
use engine::topology::{Change, Definitions};
use engine::worker::{Worker, WorkerLimits, effect::Effects};
use model::{Millis, Name, ids::WorkerId, record::Record};
use rustc_hash::FxHashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{CodecLookup, LocalLog, LogOptions, Stage, disk::RealDisk};

/// What a start begins with.
pub(crate) struct Recovered {
    /// Definitions with every durable thing in place.
    pub(crate) definitions: Definitions,
    /// Sessions that outlived their connections.
    pub(crate) sessions: Sessions,
    /// Workers with their content, what came of it (dead letters, for example), and their logs.
    pub(crate) workers: Vec<(Worker, Effects, Arc<LocalLog>)>,
}

/// Opens or makes the data directory. Blocking. Errors: one sentence that names the file and what to do.
pub(crate) fn recover(config: &Config, behaviours: Arc<Behaviours>) -> Result<Recovered, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis);
    let mut definitions = Definitions::new(config.workers, behaviours);
    let mut sessions = Sessions::default();
    // All definitions are in the first worker's log, perhaps behind the messages of their queues (log cleaning). They
    // are read first, so that messages need not be kept aside until their queues are known.
    let mut each = |_, record| {
        if let Record::Define { kind, key, value } = record {
            define(&mut definitions, &mut sessions, &kind, &key, value, &codecs());
        }
    };
    store::definitions(&log_dir(config, 0)?, &RealDisk, &codecs(), &mut each)
        .map_err(|error| error.to_string())?;
    let left_out =
        definitions.finish_restore().map_err(|error| format!("cannot recover the definitions: {error}"))?;
    left_out.iter().for_each(|text| tracing::warn!(reason = &**text, "a binding was left out"));
    let mut workers = workers(config.workers);
    for Change::Worker(worker, command) in definitions.drain_changes() {
        if let Some(worker) = workers.get_mut(usize::from(worker.0)) {
            worker.apply(command, now, &mut Effects::default());
        }
    }
    for vhost in config.vhosts.iter().map(String::as_str).chain(["/"]) {
        definitions.ensure_vhost(&Name::from(vhost));
    }
    let held: FxHashSet<Name> =
        sessions.kept().filter_map(|(slot, value)| kept_message_id(slot, value)).collect();
    let mut recovered = Vec::new();
    for mut worker in workers {
        worker.expect_once(held.clone());
        let (log, effects) = replay(config, &mut worker, now)?;
        recovered.push((worker, effects, Arc::new(log)));
    }
    Ok(Recovered { definitions, sessions, workers: recovered })
}

fn workers(count: u16) -> Vec<Worker> {
    (0..count).map(|number| Worker::new(WorkerId(number), WorkerLimits::default())).collect()
}

fn log_dir(config: &Config, number: u16) -> Result<PathBuf, String> {
    let dir = config.data.join(format!("worker-{number:02}"));
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
fn replay(config: &Config, worker: &mut Worker, now: Millis) -> Result<(LocalLog, Effects), String> {
    let number = worker.id().0;
    let options = LogOptions { segment_bytes: config.segment_bytes, ..LogOptions::default() };
    let started = std::time::Instant::now();
    let mut each = |stage, _, record: Record| match stage {
        Stage::Content => worker.replay_content(&record),
        Stage::Snapshot | Stage::Log => worker.replay(&record),
    };
    let dir = log_dir(config, number)?;
    let (log, recovery) = LocalLog::open(&dir, Arc::new(RealDisk), options, codecs(), &mut each)
        .map_err(|error| error.to_string())?;
    if let Some((queue, (first, last))) = worker.missing().first() {
        return Err(format!(
            "the log in {} is damaged: messages {first} to {last} of {queue} are in none of its files; \
             `waystation repair {}` keeps what is left",
            dir.display(),
            config.data.display()
        ));
    }
    let mut effects = Effects::default();
    worker.recovered(now, &mut effects);
    if recovery.records > 0 {
        tracing::info!(
            worker = number,
            records = recovery.records,
            bytes = recovery.bytes,
            ms = started.elapsed().as_millis() as u64,
            "recovered"
        );
    }
    Ok((log, effects))
}
