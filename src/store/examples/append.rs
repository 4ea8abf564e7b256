//! Measures the log on the disk under a directory: `append [directory]`, the system's temporary one by default.
//!
//! Prints records per second for batches of several sizes, and the median time from append to confirm with one record
//! outstanding, beside the median of a bare 4 KiB overwrite and fdatasync in a file of written zeroes on the same disk.

use bytes::Bytes;
use model::envelope::Envelope;
use model::ids::QueueId;
use model::message::{Body, Message, Native, PropertyCodec};
use model::record::{Record, Target};
use std::error::Error;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use store::disk::RealDisk;
use store::{Batch, LocalLog, LogOptions, WorkerLog};

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

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = parent.join(format!("waystation-append-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let measured = measure(&dir);
    std::fs::remove_dir_all(&dir)?;
    measured
}

fn measure(dir: &Path) -> Outcome {
    println!("bare overwrite and fdatasync, 4 KiB: p50 {:?}", bare_sync(&dir.join("bare"))?);
    let codecs: store::CodecLookup =
        Arc::new(|tag| (tag == "none").then_some(&NO_CODEC as &'static dyn PropertyCodec));
    let options = LogOptions { first_segment_bytes: 64 * 1024 * 1024, ..LogOptions::default() };
    let log_dir = dir.join("log");
    let (log, _) =
        LocalLog::open(&log_dir, Arc::new(RealDisk), options.clone(), codecs.clone(), &mut |_, _, _| {})?;
    println!("append to confirm, 1 KiB, one outstanding: p50 {:?}", one_outstanding(&log)?);
    let mut appended = 2000;
    for (body_bytes, batch_records, batches) in
        [(16, 1000, 400), (1024, 1, 50_000), (1024, 100, 2000), (1024, 1000, 200), (65_536, 10, 300)]
    {
        let took = many(&log, body_bytes, batch_records, batches)?;
        let records = batch_records * batches;
        let rate = records as f64 / took.as_secs_f64();
        let bytes = rate * body_bytes as f64 / 1e6;
        println!(
            "{records} x {body_bytes} B in batches of {batch_records}: {rate:.0} records/s, {bytes:.0} MB/s"
        );
        appended += records as u64;
    }
    log.close();
    drop(log);
    let (begin, mut replayed) = (Instant::now(), 0u64);
    let (_log, recovery) =
        LocalLog::open(&log_dir, Arc::new(RealDisk), options, codecs, &mut |_, _, _| replayed += 1)?;
    println!(
        "start: {replayed} of {appended} records ({} MB) in {:?}",
        recovery.bytes / 1_000_000,
        begin.elapsed()
    );
    Ok(())
}

fn record(body: &Bytes, seq: u64) -> Record {
    let native = Native { codec: &NO_CODEC, properties: Bytes::from_static(b"\x10\x02") };
    let message = Message::new("".into(), "orders".into(), native, Body::from(body.clone()), 1);
    let target = Target { queue: QueueId(1), seq, via: 0 };
    Record::Enqueue { message: Arc::new(message), targets: vec![target] }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn bare_sync(path: &Path) -> Result<Duration, Box<dyn Error>> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(&vec![0; 8 * 1024 * 1024])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut times = Vec::new();
    for _ in 0..2000 {
        let begin = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(median(times))
}

fn batch(records: Vec<Record>, done: &Sender<()>) -> Batch {
    let done = done.clone();
    let on_durable: Box<dyn FnOnce() + Send> = Box::new(move || {
        // Nobody listens any more once something else failed.
        let _ = done.send(());
    });
    Batch { records, sync: true, on_durable: Some(on_durable) }
}

fn one_outstanding(log: &LocalLog) -> Result<Duration, Box<dyn Error>> {
    let body = Bytes::from(vec![7; 1024]);
    let (done, confirmed) = channel();
    let mut times = Vec::new();
    for seq in 0..2000 {
        let begin = Instant::now();
        log.append(batch(vec![record(&body, seq)], &done))?;
        confirmed.recv()?;
        times.push(begin.elapsed());
    }
    Ok(median(times))
}

fn many(
    log: &LocalLog,
    body_bytes: usize,
    batch_records: usize,
    batches: usize,
) -> Result<Duration, Box<dyn Error>> {
    const BACKLOG_BYTES_MAX: usize = 8 * 1024 * 1024;
    let body = Bytes::from(vec![7; body_bytes]);
    let (done, confirmed) = channel();
    let mut waiting = 0;
    let begin = Instant::now();
    for _ in 0..batches {
        let records = (0..batch_records as u64).map(|seq| record(&body, seq)).collect();
        log.append(batch(records, &done))?;
        clean(log);
        waiting += 1;
        while log.backlog_bytes() > BACKLOG_BYTES_MAX {
            confirmed.recv()?;
            waiting -= 1;
        }
    }
    for _ in 0..waiting {
        confirmed.recv()?;
    }
    Ok(begin.elapsed())
}

/// Everything but the last few segments is given up, as an owner with a short backlog would.
fn clean(log: &LocalLog) {
    if log.bytes() > 256 * 1024 * 1024
        && let Some(oldest) = log.oldest()
    {
        log.trim(oldest.end_lsn);
    }
}
