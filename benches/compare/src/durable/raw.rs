//! What the disk and the bare log can do, in the directory where the brokers store, in turns with what
//! is compared with it.

use crate::latency::Latencies;
use bytes::Bytes;
use model::envelope::Envelope;
use model::ids::QueueId;
use model::message::{Body, Message, Native, PropertyCodec};
use model::record::{Record, Target};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
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

/// A directory below where the brokers store, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path, name: &str) -> io::Result<Self> {
        let dir = parent.join(format!("waystation-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of written zeroes, overwritten in order.
pub struct BareFile {
    file: File,
    at: usize,
    /// Of each 1 KiB append and its fdatasync.
    pub latencies: Latencies,
    _scratch: Scratch,
}

impl BareFile {
    /// Writes the zeroes and syncs them.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let scratch = Scratch::new(parent, "bare")?;
        let mut file = File::create(scratch.0.join("zeroed"))?;
        file.write_all(&vec![0; ZEROED_BYTES])?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, at: 0, latencies: Latencies::default(), _scratch: scratch })
    }

    /// Appends and syncs for `duration`.
    pub fn run(&mut self, duration: Duration) -> io::Result<()> {
        let started = Instant::now();
        while started.elapsed() < duration {
            if self.at + BYTES > ZEROED_BYTES {
                self.at = 0;
                self.file.seek(SeekFrom::Start(0))?;
            }
            self.at += BYTES;
            let begin = Instant::now();
            self.file.write_all(&[1; BYTES])?;
            self.file.sync_data()?;
            self.latencies.record(begin.elapsed().as_nanos() as u64);
        }
        Ok(())
    }
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

/// The broker's log without the broker.
pub struct BareLog {
    log: LocalLog,
    body: Bytes,
    /// Records committed.
    pub records: u64,
    /// The time that took.
    pub elapsed: Duration,
    _scratch: Scratch,
}

impl BareLog {
    /// A new log.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let scratch = Scratch::new(parent, "log")?;
        let codecs: store::CodecLookup =
            Arc::new(|tag| (tag == "none").then_some(&NO_CODEC as &'static dyn PropertyCodec));
        let options = LogOptions::default();
        let opened =
            LocalLog::open(&scratch.0.join("log"), Arc::new(RealDisk), options, codecs, &mut |_, _, _| {});
        let (log, _) = opened.map_err(|error| io::Error::other(error.to_string()))?;
        let body = Bytes::from(vec![7; BYTES]);
        Ok(Self { log, body, records: 0, elapsed: Duration::ZERO, _scratch: scratch })
    }

    /// Commits for `duration`, one commit at a time; the records of the next are made while it is synced.
    pub fn run(&mut self, duration: Duration) -> io::Result<()> {
        let (done, confirmed) = channel();
        let make = |from: u64| -> Vec<Record> {
            (from..from + COMMIT_RECORDS).map(|seq| record(&self.body, seq)).collect()
        };
        let mut next = make(self.records);
        let begin = Instant::now();
        while begin.elapsed() < duration {
            let done = done.clone();
            let on_durable: Box<dyn FnOnce() + Send> = Box::new(move || {
                // Nobody listens any more once something else failed.
                let _ = done.send(());
            });
            let batch = Batch { records: next, sync: true, on_durable: Some(on_durable) };
            self.log.append(batch).map_err(|error| io::Error::other(error.to_string()))?;
            self.records += COMMIT_RECORDS;
            next = make(self.records);
            confirmed.recv_timeout(Duration::from_secs(60)).map_err(io::Error::other)?;
        }
        self.elapsed += begin.elapsed();
        Ok(())
    }

    /// Records per second.
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}
