//! From the data directory to running state: definitions first, then every worker's records in log order.

use super::sessions::{self, Sessions};
use crate::config::Config;
use crate::registry::{Behaviours, codec};
use engine::topology::{Change, Definitions};
use engine::worker::{Worker, WorkerLimits, effect::Effects};
use model::{
    Millis, Name,
    ids::{Lsn, WorkerId},
    record::Record,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Batch, LocalLog, LogOptions, WorkerLog, disk::RealDisk};

/// What a start begins with.
pub(crate) struct Recovered {
    /// Definitions with every durable thing in place.
    pub(crate) definitions: Definitions,
    /// Sessions that outlived their connections.
    pub(crate) sessions: Sessions,
    /// Workers with their content, and their logs.
    pub(crate) workers: Vec<(Worker, Arc<LocalLog>)>,
}

/// Opens or makes the data directory. Blocking. Errors: one sentence that names the file and what to do.
pub(crate) fn recover(config: &Config, behaviours: Arc<Behaviours>) -> Result<Recovered, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis);
    let mut definitions = Definitions::new(config.workers, behaviours);
    let mut sessions = Sessions::default();
    let mut logs = Vec::new();
    for number in 0..config.workers {
        // A queue's definition may stand behind its messages (log cleaning): keep them until all are known.
        let mut records = Vec::new();
        let mut each = |lsn, record| match record {
            Record::Define { kind, key, value } => {
                define(&mut definitions, &mut sessions, &kind, &key, value, now)
            }
            other => records.push((lsn, other)),
        };
        let log = open(config, number, &mut each)?;
        logs.push((log, records));
    }
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
    let mut recovered = Vec::new();
    for (mut worker, (log, records)) in workers.into_iter().zip(logs) {
        replay(&mut worker, &log, records, now)?;
        recovered.push((worker, Arc::new(log)));
    }
    Ok(Recovered { definitions, sessions, workers: recovered })
}

fn workers(count: u16) -> Vec<Worker> {
    (0..count).map(|number| Worker::new(WorkerId(number), WorkerLimits::default())).collect()
}

fn open(config: &Config, number: u16, each: &mut dyn FnMut(Lsn, Record)) -> Result<LocalLog, String> {
    let dir: PathBuf = config.data.join(format!("worker-{number:02}"));
    std::fs::create_dir_all(&dir).map_err(|error| {
        format!("cannot write to the data directory {}: {error} (setting data)", dir.display())
    })?;
    let options = LogOptions { segment_bytes: config.segment_bytes, ..LogOptions::default() };
    let started = std::time::Instant::now();
    let (log, recovery) = LocalLog::open(&dir, Arc::new(RealDisk), options, Arc::new(codec), each)
        .map_err(|error| error.to_string())?;
    if recovery.records > 0 {
        tracing::info!(
            worker = number,
            records = recovery.records,
            bytes = recovery.bytes,
            ms = started.elapsed().as_millis() as u64,
            "recovered"
        );
    }
    Ok(log)
}

fn define(
    definitions: &mut Definitions,
    sessions: &mut Sessions,
    kind: &Name,
    key: &Name,
    value: Option<bytes::Bytes>,
    now: Millis,
) {
    if kind == sessions::RECORD_KIND {
        if let Err(error) = sessions.restore(key, value.as_deref(), now) {
            tracing::error!(
                session = &**key,
                error,
                "a session's record is not readable; the session is lost"
            );
        }
    } else {
        definitions.restore(kind, key, value);
    }
}

fn replay(
    worker: &mut Worker,
    log: &LocalLog,
    records: Vec<(Lsn, Record)>,
    now: Millis,
) -> Result<(), String> {
    for (lsn, record) in &records {
        worker.replay(record, *lsn);
    }
    let mut effects = Effects::default();
    worker.recovered(now, &mut effects);
    worker.pump(now, &mut effects);
    let batch = Batch { records: std::mem::take(&mut effects.records), sync: false, on_durable: None };
    log.append(batch).map_err(|error| error.to_string())
}
