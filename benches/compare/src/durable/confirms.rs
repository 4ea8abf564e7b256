//! Confirmed persistent publishes with few and many unconfirmed, beside what the disk and the bare log can do.

use super::client::{Plan, Published, publish, publisher, rate};
use super::raw::{self, Raw};
use super::{CpuSince, Options, QUEUE, Subject, print_failure, print_heading, print_row};
use crate::report;
use std::io;
use std::thread;
use tokio::runtime::Handle;

/// Connections, and messages unconfirmed on each.
const LOADS: [(usize, usize); 4] = [(1, 1), (1, 100), (1, 1000), (10, 100)];

/// Measures the bare disk and log before each broker, and each load on a fresh broker; prints both tables.
pub fn run(options: &Options, subjects: &[Subject], runtime: &Handle) {
    let columns = ["before", "append + fdatasync p50", "p99", "syncs/s", "log, 1000 a commit", "MB/s"];
    print_heading("Bare disk and log, 1 KiB", &columns);
    let mut rows = Vec::new();
    for subject in subjects {
        match raw::measure(&options.dir, options.duration) {
            Ok(raw) => {
                print_raw(subject, &raw);
                rows.extend(
                    LOADS.map(|load| (subject, load, measure(options, subject, load, runtime), raw.clone())),
                );
            }
            Err(error) => print_failure(&[subject.name()], &error),
        }
    }
    let columns = [
        "broker",
        "connections x unconfirmed",
        "confirms/s",
        "p50",
        "p99",
        "p50 / fdatasync",
        "rate / bare log",
        "CPU s/M",
        "others' CPU s",
    ];
    print_heading("Confirmed persistent publishes, 1 KiB", &columns);
    for (subject, load, measured, raw) in rows {
        print_confirms(subject, load, measured, &raw);
    }
}

fn print_raw(subject: &Subject, raw: &Raw) {
    let (p50, p99) = (raw.sync.percentile(0.5), raw.sync.percentile(0.99));
    print_row(&[
        subject.name(),
        report::latency(p50),
        report::latency(p99),
        report::rate(raw.sync.mean().map_or(0.0, |mean| 1e9 / mean)),
        report::rate(raw.log_rate),
        format!("{:.0}", raw.log_rate * raw::BYTES as f64 / 1e6),
    ]);
}

struct Measured {
    published: Published,
    cpu: Option<(f64, f64)>,
}

fn measure(
    options: &Options,
    subject: &Subject,
    (connections, outstanding): (usize, usize),
    runtime: &Handle,
) -> io::Result<Measured> {
    let broker = subject.start(&options.dir)?;
    let open = || runtime.block_on(publisher(broker.amqp, QUEUE, subject.queue));
    let ready = (0..connections).map(|_| open()).collect::<io::Result<Vec<_>>>()?;
    let plan = Plan {
        queue: QUEUE.into(),
        payload_bytes: raw::BYTES,
        outstanding,
        messages: u64::MAX,
        duration: options.duration,
    };
    let before = CpuSince::now(broker.pid);
    let publishers: Vec<_> = ready
        .into_iter()
        .map(|connection| {
            let plan = plan.clone();
            thread::spawn(move || publish(connection, &plan))
        })
        .collect();
    let mut published = Published::default();
    for publisher in publishers {
        let part = publisher.join().map_err(|_| io::Error::other("a publisher panicked"))??;
        published.merge(&part);
    }
    Ok(Measured { published, cpu: before.until_now(broker.pid) })
}

fn print_confirms(
    subject: &Subject,
    (connections, outstanding): (usize, usize),
    measured: io::Result<Measured>,
    raw: &Raw,
) {
    let mut cells = vec![subject.name(), format!("{connections} x {outstanding}")];
    let Measured { published, cpu } = match measured {
        Ok(measured) => measured,
        Err(error) => return print_failure(&cells, &error),
    };
    let confirms = rate(published.messages, published.elapsed);
    let (p50, p99) = (published.latencies.percentile(0.5), published.latencies.percentile(0.99));
    let beside_sync = p50.zip(raw.sync.percentile(0.5)).map(|(ours, bare)| ours as f64 / bare as f64);
    cells.extend([
        report::rate(confirms),
        report::latency(p50),
        report::latency(p99),
        report::optional(beside_sync, 2),
        report::optional(Some(confirms / raw.log_rate), 2),
        report::optional(cpu.map(|(own, _)| own * 1e6 / published.messages.max(1) as f64), 2),
        report::optional(cpu.map(|(_, others)| others), 1),
    ]);
    print_row(&cells);
}
