//! What the disk and the bare log can do, in the directory where the brokers store, next to each measurement that is
//! compared with it.

use crate::latency::Latencies;
use bytes::Bytes;
use model::envelope::Envelope;
use model::ids::QueueId;
use model::message::{Body, Message, Native, PropertyCodec};
use model::record::{Record, Target};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use store::disk::RealDisk;
use store::{Batch, LocalLog, LogOptions, WorkerLog};

/// Size of what is appended: payload of a log record, or the whole of a bare append.
pub const BYTES: usize = 1024;

/// Records of one commit of the log.
const COMMIT_RECORDS: u64 = 1000;

/// Length of the file of written zeroes.
const ZEROED_BYTES: usize = 64 * 1024 * 1024;

/// What one look came to.
#[derive(Clone, Default)]
pub struct Raw {
    /// A 1 KiB append in a file of written zeroes and its fdatasync.
    pub sync: Latencies,
    /// Records per second of the bare log, commit by commit.
    pub log_rate: f64,
}

/// Measures both, each for `duration`, below `parent`.
pub fn measure(parent: &Path, duration: Duration) -> io::Result<Raw> {
    let dir = parent.join(format!("waystation-raw-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let measured = bare_sync(&dir.join("zeroed"), duration)
        .and_then(|sync| Ok(Raw { sync, log_rate: log_rate(&dir.join("log"), duration)? }));
    fs::remove_dir_all(&dir)?;
    measured
}

fn bare_sync(path: &Path, duration: Duration) -> io::Result<Latencies> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; ZEROED_BYTES])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut latencies = Latencies::default();
    let started = Instant::now();
    for _ in 0..ZEROED_BYTES / BYTES {
        let begin = Instant::now();
        file.write_all(&[1; BYTES])?;
        file.sync_data()?;
        latencies.record(begin.elapsed().as_nanos() as u64);
        if started.elapsed() > duration {
            break;
        }
    }
    Ok(latencies)
}

struct NoCodec;

impl PropertyCodec for NoCodec {
    fn tag(&self) -> &'static str {
        "none"
    }

    fn envelope(&self, _properties: &Bytes) -> Envelope {
        Envelope::default()
    }
}

static NO_CODEC: NoCodec = NoCodec;

fn record(body: &Bytes, seq: u64) -> Record {
    let native = Native { codec: &NO_CODEC, properties: Bytes::from_static(b"\x10\x02") };
    let message = Message::new("".into(), "orders".into(), native, Body::from(body.clone()), 1);
    let target = Target { queue: QueueId(1), seq, via: 0 };
    Record::Enqueue { message: Arc::new(message), targets: vec![target] }
}

/// One commit at a time; the records of the next are made while it is written and synced.
fn log_rate(dir: &Path, duration: Duration) -> io::Result<f64> {
    let codecs: store::CodecLookup =
        Arc::new(|tag| (tag == "none").then_some(&NO_CODEC as &'static dyn PropertyCodec));
    let opened = LocalLog::open(dir, Arc::new(RealDisk), LogOptions::default(), codecs, &mut |_, _, _| {});
    let (log, _) = opened.map_err(|error| io::Error::other(error.to_string()))?;
    let body = Bytes::from(vec![7; BYTES]);
    let (done, confirmed) = channel();
    let make = |commit: u64| -> Vec<Record> {
        (0..COMMIT_RECORDS).map(|place| record(&body, commit * COMMIT_RECORDS + place)).collect()
    };
    let (mut commits, mut next) = (0, make(0));
    let begin = Instant::now();
    while begin.elapsed() < duration {
        let done = done.clone();
        let on_durable: Box<dyn FnOnce() + Send> = Box::new(move || {
            // Nobody listens any more once something else failed.
            let _ = done.send(());
        });
        let batch = Batch { records: next, sync: true, on_durable: Some(on_durable) };
        log.append(batch).map_err(|error| io::Error::other(error.to_string()))?;
        commits += 1;
        next = make(commits);
        confirmed.recv_timeout(Duration::from_secs(60)).map_err(io::Error::other)?;
    }
    Ok((commits * COMMIT_RECORDS) as f64 / begin.elapsed().as_secs_f64())
}
