//! The arguments of `durable`.

use super::Subject;
use crate::amqp::wire::QueueKind;
use crate::brokers::Kind;
use std::path::PathBuf;
use std::time::Duration;

/// How to call it.
pub const HELP: &str = "compare durable [--quick] [--only confirms|amplification|backlog] [--rows TEXT] \
[--dir DIR] [--backlog MESSAGESxBYTES]... [--broker waystation[=PATH]|rabbitmq]...

  --quick      1 second a row instead of 5, backlogs of 1 million instead of 10
  --only       one table; confirms includes the bare disk and log
  --rows       only rows whose second column contains this
  --dir        where the brokers store; the system's temporary directory by default
  --backlog    this long queue, as 1000000x1024, instead of the usual ones; may be given again
  --broker     only this broker; may be given again
";

/// A queue to fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Messages.
    pub messages: u64,
    /// Bytes of each payload.
    pub bytes: usize,
}

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// How long a row publishes.
    pub duration: Duration,
    /// Messages of the row that fills a queue and drains it.
    pub fill_messages: u64,
    /// Long queues.
    pub backlogs: Vec<Length>,
    /// Where everything is stored.
    pub dir: PathBuf,
    only: Option<String>,
    rows: String,
    brokers: Vec<Kind>,
}

impl Options {
    /// Whether a table is to be made.
    pub fn wants(&self, table: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == table)
    }

    /// Whether a row of this name is to be made.
    pub fn wants_row(&self, name: &str) -> bool {
        name.contains(&self.rows)
    }

    /// The brokers with the queues that they are measured with.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let queues = |broker: &Kind| match broker {
            Kind::Rabbitmq => vec![QueueKind::Durable, QueueKind::Quorum],
            _ => vec![QueueKind::Durable],
        };
        let of = |broker: &Kind| {
            let broker = broker.clone();
            queues(&broker).into_iter().map(move |queue| Subject { broker: broker.clone(), queue })
        };
        self.brokers.iter().flat_map(of).collect()
    }
}

fn length(text: &str) -> Result<Length, String> {
    let both = text.split_once('x').and_then(|(n, bytes)| Some((n.parse().ok()?, bytes.parse().ok()?)));
    match both {
        Some((messages, bytes)) if messages > 0 && (8..=1 << 20).contains(&bytes) => {
            Ok(Length { messages, bytes })
        }
        _ => Err(format!("{text}: a backlog is MESSAGESxBYTES, with 8 to 1048576 bytes")),
    }
}

/// Understands the arguments behind `durable`; `broker` understands a broker's.
/// Errors: what is wrong, or the help.
pub fn parse(
    mut arguments: impl Iterator<Item = String>,
    broker: impl Fn(&str) -> Result<Kind, String>,
) -> Result<Options, String> {
    let (mut quick, mut backlogs, mut brokers) = (false, Vec::new(), Vec::new());
    let (mut only, mut rows, mut dir) = (None, String::new(), std::env::temp_dir());
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--quick" => quick = true,
            "--only" => only = Some(value()?),
            "--rows" => rows = value()?,
            "--dir" => dir = value()?.into(),
            "--backlog" => backlogs.push(length(&value()?)?),
            "--broker" => brokers.push(broker(&value()?)?),
            "-h" | "--help" => return Err(HELP.into()),
            _ => return Err(format!("unknown argument {flag}\n\n{HELP}")),
        }
    }
    if brokers.is_empty() {
        brokers = vec![broker("waystation")?, broker("rabbitmq")?];
        brokers.retain(Kind::installed);
    }
    if let Some(kind) = brokers.iter().find(|kind| !kind.installed() || **kind == Kind::Mosquitto) {
        return Err(format!("{} is not installed, or not measured here", kind.name()));
    }
    if backlogs.is_empty() {
        let millions: &[u64] = if quick { &[1] } else { &[1, 10] };
        backlogs = millions
            .iter()
            .flat_map(|n| [1024, 100].map(|bytes| (n * 1_000_000, bytes)))
            .map(|(messages, bytes)| Length { messages, bytes })
            .collect();
    }
    Ok(Options {
        duration: Duration::from_secs(if quick { 1 } else { 5 }),
        fill_messages: if quick { 200_000 } else { 1_000_000 },
        backlogs,
        dir,
        only,
        rows,
        brokers,
    })
}
