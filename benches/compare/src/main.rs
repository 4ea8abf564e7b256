//! Whole brokers side by side: starts each, drives it with the same load, prints what came out and what it cost.
//! `--help` says how; `benches/README.md` says what the numbers mean.

mod amqp;
mod brokers;
mod durable;
mod feed;
mod latency;
mod limits;
mod load;
mod mqtt;
mod process;
mod report;
mod rows;

use brokers::{Broker, Kind};
use limits::Limit;
use load::Shape;
use report::Measured;
use rows::{Load, Row};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "compare [--quick] [--seconds S] [--rounds N] [--only amqp|mqtt|limits] [--rows TEXT] \
[--broker waystation[=PATH]|rabbitmq|mosquitto]...

  --quick      1 second a row instead of 4, one round
  --seconds    how long a row publishes
  --rounds     runs of each row per broker, taking turns; the median by rate is printed
  --only       one table
  --rows       only rows whose name contains this
  --broker     only this broker; may be given again. Default: all that are installed

compare durable --help: what durability costs
";

/// What to do.
struct Options {
    duration: Duration,
    rounds: usize,
    only: Option<String>,
    rows: String,
    brokers: Vec<Kind>,
}

fn waystation(path: Option<&str>) -> Kind {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/waystation");
    Kind::Waystation(PathBuf::from(path.unwrap_or(built)))
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        duration: Duration::from_secs(4),
        rounds: 1,
        only: None,
        rows: String::new(),
        brokers: Vec::new(),
    };
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--quick" => options.duration = Duration::from_secs(1),
            "--seconds" => {
                let seconds: f64 = value()?.parse().map_err(|_| "--seconds takes a number")?;
                options.duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
            }
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds takes a number")?,
            "--only" => options.only = Some(value()?),
            "--rows" => options.rows = value()?,
            "--broker" => options.brokers.push(broker(&value()?)?),
            "-h" | "--help" => return Err(HELP.into()),
            _ => return Err(format!("unknown argument {flag}\n\n{HELP}")),
        }
    }
    if options.brokers.is_empty() {
        options.brokers = vec![waystation(None), Kind::Rabbitmq, Kind::Mosquitto];
        options.brokers.retain(Kind::installed);
    }
    match options.brokers.iter().find(|kind| !kind.installed()) {
        Some(kind) => Err(format!("{} is not installed", kind.name())),
        None => Ok(options),
    }
}

fn broker(text: &str) -> Result<Kind, String> {
    match text.split_once('=') {
        None if text == "waystation" => Ok(waystation(None)),
        Some(("waystation", path)) => Ok(waystation(Some(path))),
        None if text == "rabbitmq" => Ok(Kind::Rabbitmq),
        None if text == "mosquitto" => Ok(Kind::Mosquitto),
        _ => Err(format!("unknown broker {text}")),
    }
}

async fn measure(broker: &Broker, load: &Load) -> io::Result<Measured> {
    process::reset_peak_rss(broker.pid);
    let before = process::cpu_seconds(broker.pid);
    let outcome = match load {
        Load::Amqp(row) => amqp::run(broker.amqp, row).await?,
        Load::Mqtt(row) => mqtt::run(broker.mqtt, row).await?,
    };
    let cpu_seconds = process::cpu_seconds(broker.pid).zip(before).map(|(after, before)| after - before);
    Ok(Measured { outcome, cpu_seconds, peak_rss_bytes: process::peak_rss_bytes(broker.pid) })
}

/// Runs a row on every broker, a fresh one each time, in turns; the median of the rounds counts.
async fn compare(row: &Row, brokers: &[Kind], rounds: usize) -> Vec<Result<Measured, String>> {
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); brokers.len()];
    let mut errors = vec![String::new(); brokers.len()];
    for _ in 0..rounds {
        for (place, kind) in brokers.iter().enumerate() {
            // Another process may take a port between its choice and its use.
            let started = Broker::start(kind).or_else(|_| Broker::start(kind));
            let result = match started {
                Ok(broker) => measure(&broker, &row.load).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(result) => measured[place].push(result),
                Err(error) => errors[place] = error.to_string(),
            }
        }
    }
    let median = |(mut runs, error): (Vec<Measured>, String)| {
        runs.sort_by(|a, b| a.outcome.rate().total_cmp(&b.outcome.rate()));
        runs.get(runs.len() / 2).cloned().ok_or(error)
    };
    measured.into_iter().zip(errors).map(median).collect()
}

async fn table(title: &str, rows: Vec<Row>, brokers: &[Kind], options: &Options) {
    let names: Vec<&str> = brokers.iter().map(Kind::name).collect();
    println!("\n### {title}\n\n{}", report::heading(&names).trim_end());
    for row in rows.iter().filter(|row| row.name.contains(&options.rows)) {
        println!("{}", report::line(&row.name, &compare(row, brokers, options.rounds).await));
    }
}

async fn print_limits(duration: Duration) {
    println!("\n### Limits of the generator\n\n{}", report::limits_heading().trim_end());
    for (bytes, size) in rows::SIZES {
        let shape = Shape::new(1, 1, bytes, duration.min(Duration::from_secs(2)));
        let both =
            async { Ok((limits::run(Limit::Sink, &shape).await?, limits::run(Limit::Relay, &shape).await?)) };
        match both.await {
            Ok((sink, relay)) => println!("{}", report::limits_line(size, &sink, &relay)),
            Err::<_, io::Error>(error) => println!("| {size} | failed: {error} |"),
        }
    }
}

/// A fan-out to a thousand needs more open files than many systems allow by default; brokers inherit it.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map(|most| most.min(65_536)).or(Some(65_536));
    let _ = setrlimit(Resource::Nofile, limit);
}

fn or_exit<T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|text| {
        eprintln!("{text}");
        std::process::exit(2)
    })
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    raise_open_files();
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "durable").is_some() {
        let options = or_exit(durable::parse(arguments, broker));
        let runtime = tokio::runtime::Handle::current();
        if let Err(error) = tokio::task::spawn_blocking(move || durable::run(&options, &runtime)).await {
            or_exit::<()>(Err(error.to_string()));
        }
        return;
    }
    let options = or_exit(parse(arguments));
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let speaking = |shut_out: Kind| -> Vec<Kind> {
        options.brokers.iter().filter(|kind| **kind != shut_out).cloned().collect()
    };
    if wanted("limits") {
        print_limits(options.duration).await;
    }
    if wanted("amqp") {
        let brokers = speaking(Kind::Mosquitto);
        table("AMQP 0-9-1", rows::amqp(options.duration), &brokers, &options).await;
    }
    if wanted("mqtt") {
        let brokers = speaking(Kind::Rabbitmq);
        table("MQTT 3.1.1", rows::mqtt(options.duration), &brokers, &options).await;
    }
}
