//! What durability costs, side by side: the bare disk and log, confirmed publishes, long queues over crashes and
//! restarts, write amplification. `benches/README.md` says what the numbers mean.

mod amplification;
mod backlog;
mod client;
mod confirms;
mod options;
mod raw;

use crate::amqp::wire::QueueKind;
use crate::brokers::{Broker, Kind};
use crate::process;
pub use options::{Options, parse};
use std::io;
use std::path::Path;
use tokio::runtime::Handle;

/// Queue that every measurement uses.
const QUEUE: &str = "compare.durable";

/// A broker and the kind of its queue.
#[derive(Clone, Debug)]
struct Subject {
    broker: Kind,
    queue: QueueKind,
}

impl Subject {
    fn name(&self) -> String {
        match (&self.broker, self.queue) {
            (Kind::Rabbitmq, QueueKind::Quorum) => "RabbitMQ quorum".into(),
            (Kind::Rabbitmq, _) => "RabbitMQ classic".into(),
            (broker, _) => broker.name().into(),
        }
    }

    /// A fresh broker that stores below `parent`.
    fn start(&self, parent: &Path) -> io::Result<Broker> {
        // Another process may take a port between its choice and its use.
        Broker::start_in(&self.broker, parent).or_else(|_| Broker::start_in(&self.broker, parent))
    }
}

/// CPU time since a moment, to tell what a measurement shared the machine with.
struct CpuSince {
    machine: Option<f64>,
    generator: Option<f64>,
    broker: Option<f64>,
}

impl CpuSince {
    fn now(broker: u32) -> Self {
        Self {
            machine: process::machine_cpu_seconds(),
            generator: process::cpu_seconds(std::process::id()),
            broker: process::cpu_seconds(broker),
        }
    }

    /// CPU seconds of the broker, and of everything but it and the generator, the kernel's threads among that.
    fn until_now(&self, broker: u32) -> Option<(f64, f64)> {
        let now = Self::now(broker);
        let spent = now.broker? - self.broker?;
        let others = now.machine? - self.machine? - spent - (now.generator? - self.generator?);
        Some((spent, others.max(0.0)))
    }
}

/// One line of a table.
fn print_row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn print_heading(title: &str, columns: &[&str]) {
    println!("\n### {title}\n");
    print_row(&columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>());
    println!("|{}", "---|".repeat(columns.len()));
}

/// A row that came to nothing, and why.
fn print_failure(cells: &[String], error: &io::Error) {
    let why: String = error.to_string().chars().filter(|c| *c != '|' && *c != '\n').take(100).collect();
    let mut all = cells.to_vec();
    all.push(if why.starts_with("skipped") { why } else { format!("failed: {why}") });
    print_row(&all);
}

/// Runs what is asked for and prints the tables. Blocks the calling thread.
pub fn run(options: &Options, runtime: &Handle) {
    let subjects = options.subjects();
    if options.wants("confirms") {
        confirms::run(options, &subjects, runtime);
    }
    if options.wants("amplification") {
        amplification::run(options, &subjects, runtime);
    }
    if options.wants("backlog") {
        backlog::run(options, &subjects, runtime);
    }
}
