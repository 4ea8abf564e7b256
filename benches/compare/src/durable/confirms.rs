//! Confirmed persistent publishes with few and many unconfirmed, beside what the disk and the bare log can do.

use super::client::{Plan, Published, Publisher, rate};
use super::raw::{self, BareFile, BareLog};
use super::{CpuSince, Options, QUEUE, Subject, print_failure, print_heading, print_row};
use crate::brokers::Broker;
use crate::report;
use std::io;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;

/// Connections, and messages unconfirmed on each.
const LOADS: [(usize, usize); 4] = [(1, 1), (1, 100), (1, 1000), (10, 100)];

/// The disk or the log alone and the broker take turns, so that both see the same machine: turns of a row.
const TURNS: u32 = 5;

/// Between two turns, so that what the one left to be done in the background does not burden the other.
const PAUSE: Duration = Duration::from_millis(300);

/// Measures each load on a fresh broker, and prints the table.
pub fn run(options: &Options, subjects: &[Subject], runtime: &Handle) {
    print_heading(
        "Confirmed persistent publishes, 1 KiB",
        &[
            "broker",
            "connections x unconfirmed",
            "confirms/s",
            "p50",
            "p99",
            "bare",
            "bare rate",
            "bare p50",
            "bare p99",
            "p50 / bare",
            "rate / bare",
            "CPU s/M",
            "others' CPU s",
        ],
    );
    for subject in subjects {
        for (connections, outstanding) in LOADS {
            let name = format!("{connections} x {outstanding}");
            if !options.wants_row(&name) {
                continue;
            }
            let cells = [subject.name(), name];
            match measure(options, subject, (connections, outstanding), runtime) {
                Ok(measured) => print_measured(&cells, &measured),
                Err(error) => print_failure(&cells, &error),
            }
        }
    }
}

/// What a row is compared with: one synced append where there is one at a time, else the log.
enum Bare {
    File(BareFile),
    Log(BareLog),
}

impl Bare {
    fn run(&mut self, duration: Duration) -> io::Result<()> {
        match self {
            Bare::File(file) => file.run(duration),
            Bare::Log(log) => log.run(duration),
        }
    }
}

struct Measured {
    published: Published,
    bare: Bare,
    broker_cpu: Option<f64>,
    others_cpu: Option<f64>,
}

fn measure(
    options: &Options,
    subject: &Subject,
    (connections, outstanding): (usize, usize),
    runtime: &Handle,
) -> io::Result<Measured> {
    let alone = connections * outstanding == 1;
    let mut bare = match alone {
        true => Bare::File(BareFile::new(&options.dir)?),
        false => Bare::Log(BareLog::new(&options.dir)?),
    };
    let broker = subject.start(&options.dir)?;
    let open = || runtime.block_on(Publisher::open(broker.amqp, QUEUE, subject.queue));
    let mut publishers = (0..connections).map(|_| open()).collect::<io::Result<Vec<_>>>()?;
    let turn = options.duration / TURNS;
    let plan = Plan {
        queue: QUEUE.into(),
        payload_bytes: raw::BYTES,
        outstanding,
        messages: u64::MAX,
        duration: turn,
    };
    let mut published = Published::default();
    let (mut broker_cpu, mut others_cpu) = (Some(0.0), Some(0.0));
    for _ in 0..TURNS {
        bare.run(turn)?;
        thread::sleep(PAUSE);
        let (part, cpu) = one_turn(&broker, &mut publishers, &plan)?;
        published.merge(&part, false);
        broker_cpu = broker_cpu.zip(cpu).map(|(sum, (own, _))| sum + own);
        others_cpu = others_cpu.zip(cpu).map(|(sum, (_, others))| sum + others);
        thread::sleep(PAUSE);
    }
    Ok(Measured { published, bare, broker_cpu, others_cpu })
}

type Turn = (Published, Option<(f64, f64)>);

fn one_turn(broker: &Broker, publishers: &mut [Publisher], plan: &Plan) -> io::Result<Turn> {
    let before = CpuSince::now(broker.pid);
    let parts: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            publishers.iter_mut().map(|publisher| scope.spawn(|| publisher.publish(plan))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let cpu = before.until_now(broker.pid);
    let mut all = Published::default();
    for part in parts {
        all.merge(&part.map_err(|_| io::Error::other("a publisher panicked"))??, true);
    }
    Ok((all, cpu))
}

fn print_measured(cells: &[String], measured: &Measured) {
    let Measured { published, bare, broker_cpu, others_cpu } = measured;
    let confirms = rate(published.messages, published.elapsed);
    let percentile = |share| published.latencies.percentile(share);
    let mut all = cells.to_vec();
    all.extend([report::rate(confirms), report::latency(percentile(0.5)), report::latency(percentile(0.99))]);
    match bare {
        Bare::File(file) => {
            let bare = |share| file.latencies.percentile(share);
            let ratio = percentile(0.5).zip(bare(0.5)).map(|(ours, bare)| ours as f64 / bare as f64);
            let syncs = file.latencies.mean().map_or(0.0, |mean| 1e9 / mean);
            all.extend([
                "append, fdatasync".into(),
                report::rate(syncs),
                report::latency(bare(0.5)),
                report::latency(bare(0.99)),
                report::optional(ratio, 2),
                report::optional(Some(confirms / syncs), 2),
            ]);
        }
        Bare::Log(log) => all.extend([
            "log, 1000 a commit".into(),
            report::rate(log.rate()),
            "-".into(),
            "-".into(),
            "-".into(),
            report::optional(Some(confirms / log.rate()), 2),
        ]),
    }
    let per_million = broker_cpu.map(|own| own * 1e6 / published.messages.max(1) as f64);
    all.extend([report::optional(per_million, 2), report::optional(*others_cpu, 1)]);
    print_row(&all);
}
