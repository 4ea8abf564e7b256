//! The tables: Markdown, one line per row, every broker's numbers side by side.

use crate::load::Outcome;

/// One broker's run of one row.
#[derive(Clone, Default)]
pub struct Measured {
    /// What arrived and how fast.
    pub outcome: Outcome,
    /// CPU seconds of the broker during the run.
    pub cpu_seconds: Option<f64>,
    /// Peak resident bytes of the broker during the run.
    pub peak_rss_bytes: Option<u64>,
}

impl Measured {
    /// CPU seconds per million messages that arrived.
    fn cpu_per_million(&self) -> Option<f64> {
        (self.outcome.received > 0).then_some(())?;
        Some(self.cpu_seconds? * 1e6 / self.outcome.received as f64)
    }
}

/// A rate in the unit that suits it.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 1e6 => format!("{:.2} M/s", r / 1e6),
        r if r >= 1e4 => format!("{:.0} k/s", r / 1e3),
        r if r >= 1e3 => format!("{:.1} k/s", r / 1e3),
        r => format!("{r:.0} /s"),
    }
}

/// A time in the unit that suits it.
pub fn latency(nanos: Option<u64>) -> String {
    match nanos {
        None => "-".into(),
        Some(n) if n >= 10_000_000 => format!("{:.0} ms", n as f64 / 1e6),
        Some(n) if n >= 1_000_000 => format!("{:.1} ms", n as f64 / 1e6),
        Some(n) => format!("{:.0} us", n as f64 / 1e3),
    }
}

/// A number, or a dash where there is none.
pub fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

/// Heading of a table over these brokers; with two, ratios of the first to the second follow.
pub fn heading(brokers: &[&str]) -> String {
    let columns = ["msg/s", "p50", "p99", "CPU s/M", "peak MiB", "lost"];
    let mut names = vec!["row".to_owned()];
    for broker in brokers {
        names.extend(columns.iter().map(|column| format!("{broker} {column}")));
    }
    if brokers.len() == 2 {
        names.extend(["msg/s", "CPU", "RSS"].map(|column| format!("{column} {}/{}", brokers[0], brokers[1])));
    }
    format!("| {} |\n|{}\n", names.join(" | "), "---|".repeat(names.len()))
}

fn cells(result: &Result<Measured, String>) -> Vec<String> {
    match result {
        Err(error) => {
            let short: String = error.chars().filter(|c| *c != '|' && *c != '\n').take(60).collect();
            vec![format!("failed: {short}"), "-".into(), "-".into(), "-".into(), "-".into(), "-".into()]
        }
        Ok(measured) => vec![
            rate(measured.outcome.rate()),
            latency(measured.outcome.latencies.percentile(0.50)),
            latency(measured.outcome.latencies.percentile(0.99)),
            optional(measured.cpu_per_million(), 2),
            optional(measured.peak_rss_bytes.map(|bytes| bytes as f64 / 1048576.0), 0),
            measured.outcome.lost.to_string(),
        ],
    }
}

/// One line of the table.
pub fn line(row: &str, results: &[Result<Measured, String>]) -> String {
    let mut all = vec![row.to_owned()];
    all.extend(results.iter().flat_map(cells));
    if let [first, second] = results {
        let ratio = |of: fn(&Measured) -> Option<f64>| {
            let pair = first.as_ref().ok().and_then(of).zip(second.as_ref().ok().and_then(of));
            pair.filter(|(_, b)| *b > 0.0).map_or_else(|| "-".into(), |(a, b)| format!("{:.2}x", a / b))
        };
        all.push(ratio(|m| Some(m.outcome.rate())));
        all.push(ratio(Measured::cpu_per_million));
        all.push(ratio(|m| m.peak_rss_bytes.map(|bytes| bytes as f64)));
    }
    format!("| {} |", all.join(" | "))
}

/// Heading of the table of limits.
pub fn limits_heading() -> &'static str {
    "| AMQP frames | sink msg/s | relay msg/s | relay p50 | relay p99 |\n|---|---|---|---|---|\n"
}

/// One line of it.
pub fn limits_line(size: &str, sink: &Outcome, relay: &Outcome) -> String {
    let at = |share| latency(relay.latencies.percentile(share));
    format!("| {size} | {} | {} | {} | {} |", rate(sink.rate()), rate(relay.rate()), at(0.50), at(0.99))
}
