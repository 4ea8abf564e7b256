//! Long queues: filling, memory, a crash and a restart, a stop and a restart, draining.

use super::client::{Drained, Plan, Published, Publisher, consumer, drain, first_message, rate};
use super::options::Length;
use super::{CpuSince, Options, QUEUE, Subject, print_failure, print_heading, print_row};
use crate::amqp::wire::Connection;
use crate::brokers::Broker;
use crate::{process, report};
use std::io;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Messages unconfirmed while the queue is filled.
const OUTSTANDING: usize = 2000;

/// How long filling may take, starting again and finding the first message, and stopping.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// How long a queue is drained: the rate shows before all is out.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// How long a full queue is left alone before its memory is read and before the crash.
const SETTLE: Duration = Duration::from_secs(2);

/// Room on the disk that is left to others.
const SPARE_BYTES: u64 = 2 << 30;

/// Fills, kills, stops and drains each length on each broker, and prints the table.
pub fn run(options: &Options, subjects: &[Subject], runtime: &Handle) {
    print_heading(
        "Long queues",
        &[
            "broker",
            "backlog",
            "filling msg/s",
            "RSS MiB",
            "peak MiB",
            "on disk MiB",
            "killed: ready",
            "first message",
            "missing",
            "RSS MiB",
            "stop took",
            "stopped: ready",
            "first message",
            "draining msg/s",
            "out of order",
            "others' CPU s",
        ],
    );
    for length in &options.backlogs {
        for subject in subjects {
            let size = if length.bytes == 1024 { "1 KiB".into() } else { format!("{} B", length.bytes) };
            let cells = [subject.name(), format!("{} x {size}", length.messages)];
            if !options.wants_row(&cells[1]) {
                continue;
            }
            match measure(options, subject, *length, runtime) {
                Ok(measured) => print_measured(&cells, &measured, *length),
                Err(error) => print_failure(&cells, &error),
            }
        }
    }
}

/// From the start of the program.
struct Restart {
    /// Until the first connection was through its handshake.
    ready: Duration,
    /// Until the first message of the queue arrived.
    first: Duration,
}

struct Measured {
    filled: Published,
    rss_bytes: Option<u64>,
    peak_rss_bytes: Option<u64>,
    stored_bytes: u64,
    killed: Restart,
    found: u64,
    recovered_rss_bytes: Option<u64>,
    stop: Duration,
    stopped: Restart,
    drained: Drained,
    others: Option<f64>,
}

/// No broker took more than twice its messages on the disk, with 200 bytes of its own each.
fn check_room(options: &Options, length: Length) -> io::Result<()> {
    let needed = length.messages * (length.bytes as u64 + 200) * 2 + SPARE_BYTES;
    let room = rustix::fs::statvfs(&options.dir)?;
    let free = room.f_bavail * room.f_frsize;
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    if free < needed {
        let why = format!("skipped: {:.0} GiB free of {:.0} GiB needed", gib(free), gib(needed));
        return Err(io::Error::other(why));
    }
    Ok(())
}

fn measure(options: &Options, subject: &Subject, length: Length, runtime: &Handle) -> io::Result<Measured> {
    check_room(options, length)?;
    let mut broker = subject.start(&options.dir)?;
    let cpu = CpuSince::now(broker.pid);
    let mut publisher = runtime.block_on(Publisher::open(broker.amqp, QUEUE, subject.queue))?;
    let plan = Plan {
        queue: QUEUE.into(),
        payload_bytes: length.bytes,
        outstanding: OUTSTANDING,
        messages: length.messages,
        duration: PATIENCE,
    };
    let filled = publisher.publish(&plan)?;
    let mut others = cpu.until_now(broker.pid).map(|(_, others)| others);
    std::thread::sleep(SETTLE);
    let (rss_bytes, peak_rss_bytes) = (process::rss_bytes(broker.pid), process::peak_rss_bytes(broker.pid));
    let stored_bytes = broker.stored_bytes();
    broker.kill()?;
    let killed = restart(&mut broker, runtime)?;
    std::thread::sleep(SETTLE);
    let recovered_rss_bytes = process::rss_bytes(broker.pid);
    let found = runtime.block_on(count(&broker, subject))?;
    let begin = Instant::now();
    broker.stop(PATIENCE)?;
    let stop = begin.elapsed();
    let stopped = restart(&mut broker, runtime)?;
    std::thread::sleep(SETTLE);
    let cpu = CpuSince::now(broker.pid);
    let consumer = runtime.block_on(consumer(broker.amqp, QUEUE))?;
    let drained = drain(consumer, found, DRAIN_MAX)?;
    others = others.zip(cpu.until_now(broker.pid)).map(|(filling, (_, draining))| filling + draining);
    Ok(Measured {
        filled,
        rss_bytes,
        peak_rss_bytes,
        stored_bytes,
        killed,
        found,
        recovered_rss_bytes,
        stop,
        stopped,
        drained,
        others,
    })
}

async fn count(broker: &Broker, subject: &Subject) -> io::Result<u64> {
    Connection::open(broker.amqp).await?.count(QUEUE, subject.queue).await
}

fn restart(broker: &mut Broker, runtime: &Handle) -> io::Result<Restart> {
    let begin = broker.restart(PATIENCE)?;
    let timely = |what| io::Error::other(format!("{what} took more than {PATIENCE:?}"));
    runtime.block_on(async {
        // A door may be open before there is anybody behind it.
        let open = tokio::time::timeout(PATIENCE, Connection::open(broker.amqp)).await;
        open.map_err(|_| timely("the handshake"))??;
        let ready = begin.elapsed();
        let first = tokio::time::timeout(PATIENCE, first_message(broker.amqp, QUEUE)).await;
        first.map_err(|_| timely("the first message"))??;
        Ok(Restart { ready, first: begin.elapsed() })
    })
}

fn print_measured(cells: &[String], measured: &Measured, length: Length) {
    let mib = |bytes: Option<u64>| report::optional(bytes.map(|bytes| bytes as f64 / 1048576.0), 0);
    let took = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let mut all = cells.to_vec();
    all.extend([
        report::rate(rate(measured.filled.messages, measured.filled.elapsed)),
        mib(measured.rss_bytes),
        mib(measured.peak_rss_bytes),
        mib(Some(measured.stored_bytes)),
        took(measured.killed.ready),
        took(measured.killed.first),
        (length.messages as i64 - measured.found as i64).to_string(),
        mib(measured.recovered_rss_bytes),
        took(measured.stop),
        took(measured.stopped.ready),
        took(measured.stopped.first),
        report::rate(rate(measured.drained.messages, measured.drained.elapsed)),
        measured.drained.disorder.to_string(),
        report::optional(measured.others, 1),
    ]);
    print_row(&all);
}
