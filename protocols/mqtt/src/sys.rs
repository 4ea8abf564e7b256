//! `$SYS`: the broker's figures as retained messages, under mosquitto's names and in its wording.
//!
//! Owns: names, formats, averages, and that only what changed is told again. Refuses: to publish; whoever calls it
//! says what time it is and what the rest of the broker holds.

use crate::{config::MqttConfig, convert, statistics::Sums, topic};
use bytes::Bytes;
use model::{Millis, message::Message};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What the rest of the broker knows, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions, with or without a connection.
    pub sessions: u64,
    /// Sessions that ended because their time was over.
    pub expired: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Those of them that share.
    pub shared_subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Messages in queues, retained ones included.
    pub stored: u64,
    /// Bytes of the messages in queues.
    pub stored_bytes: u64,
    /// QoS 0 messages that a client was too slow for.
    pub dropped: u64,
}

/// The averages that `load/` tells: name and minutes.
const SPANS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// Milliseconds of a minute.
const MINUTE_MS: f64 = 60_000.0;

/// Something that `load/` tells: its value at the last report, and its rates per minute over each of [`SPANS`].
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    last: u64,
    rates: [f64; SPANS.len()],
}

/// Makes the report, time after time.
#[derive(Debug)]
pub struct SysReport {
    config: Arc<MqttConfig>,
    version: String,
    started: Millis,
    last: Option<Millis>,
    clients_max: u64,
    loads: FxHashMap<&'static str, Load>,
    told: FxHashMap<String, String>,
}

impl SysReport {
    /// A report of the doors that share `config`; `version` is the broker's name and version.
    pub fn new(config: Arc<MqttConfig>, version: String, now: Millis) -> Self {
        let (loads, told) = (FxHashMap::default(), FxHashMap::default());
        Self { config, version, started: now, last: None, clients_max: 0, loads, told }
    }

    /// What changed since the last call, as messages of QoS 0 to be retained.
    pub fn changes(&mut self, totals: &Totals, now: Millis) -> Vec<Arc<Message>> {
        let sums = self.config.counters.sums();
        let mut lines = self.gauges(totals, &sums, now);
        self.add_loads(totals, &sums, now, &mut lines);
        self.last = Some(now);
        let mut changes = Vec::new();
        for (name, text) in lines {
            if self.told.get(&name) == Some(&text) {
                continue;
            }
            changes.push(self.message(&name, &text, now));
            self.told.insert(name, text);
        }
        changes
    }

    fn message(&self, name: &str, text: &str, now: Millis) -> Arc<Message> {
        let key = topic::to_key(&format!("$SYS/broker/{name}"), self.config.plain_swap);
        let native = convert::bare(convert::flags(0, true));
        let body = Bytes::copy_from_slice(text.as_bytes());
        Arc::new(Message::new(self.config.exchange.clone(), key, native, body.into(), now))
    }

    fn gauges(&mut self, totals: &Totals, sums: &Sums, now: Millis) -> Vec<(String, String)> {
        let connected = sums.entered.saturating_sub(sums.left);
        let total = totals.sessions.max(connected);
        self.clients_max = self.clients_max.max(connected);
        let away = total - connected;
        let uptime_s = now.saturating_sub(self.started) / 1000;
        let numbers = [
            ("clients/connected", connected),
            ("clients/active", connected),
            ("clients/disconnected", away),
            ("clients/inactive", away),
            ("clients/expired", totals.expired),
            ("clients/maximum", self.clients_max),
            ("clients/total", total),
            ("messages/received", sums.messages_received),
            ("messages/sent", sums.messages_sent),
            ("messages/stored", totals.stored),
            ("store/messages/count", totals.stored),
            ("store/messages/bytes", totals.stored_bytes),
            ("bytes/received", sums.bytes_received),
            ("bytes/sent", sums.bytes_sent),
            ("publish/messages/received", sums.publishes_received),
            ("publish/messages/sent", sums.publishes_sent),
            ("publish/messages/dropped", totals.dropped),
            ("publish/bytes/received", sums.publish_bytes_received),
            ("publish/bytes/sent", sums.publish_bytes_sent),
            ("subscriptions/count", totals.subscriptions),
            ("shared_subscriptions/count", totals.shared_subscriptions),
            ("retained messages/count", totals.retained),
        ];
        let mut lines = vec![
            ("version".to_owned(), self.version.clone()),
            ("uptime".to_owned(), format!("{uptime_s} seconds")),
        ];
        lines.extend(numbers.map(|(name, number)| (name.to_owned(), number.to_string())));
        lines
    }

    /// Exponentially weighted rates per minute, as load averages are made.
    fn add_loads(&mut self, totals: &Totals, sums: &Sums, now: Millis, lines: &mut Vec<(String, String)>) {
        let values = [
            ("messages/received", sums.messages_received),
            ("messages/sent", sums.messages_sent),
            ("publish/received", sums.publishes_received),
            ("publish/sent", sums.publishes_sent),
            ("publish/dropped", totals.dropped),
            ("bytes/received", sums.bytes_received),
            ("bytes/sent", sums.bytes_sent),
            ("sockets", sums.sockets),
            ("connections", sums.connects),
        ];
        let elapsed = self.last.map_or(0.0, |last| now.saturating_sub(last) as f64 / MINUTE_MS);
        for (name, value) in values {
            let load = self.loads.entry(name).or_default();
            let count = value.saturating_sub(std::mem::replace(&mut load.last, value));
            for ((span, minutes), rate) in SPANS.iter().zip(&mut load.rates) {
                if elapsed > 0.0 {
                    let current = count as f64 / elapsed;
                    *rate = current + (-elapsed / minutes).exp() * (*rate - current);
                }
                lines.push((format!("load/{name}/{span}"), format!("{rate:.2}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::statistics::Tally;

    fn told(report: &mut SysReport, totals: &Totals, now: Millis) -> FxHashMap<String, String> {
        let text = |message: &Arc<Message>| {
            (
                topic::from_key(&message.routing_key, false),
                String::from_utf8(message.body.joined().to_vec()).unwrap(),
            )
        };
        report.changes(totals, now).iter().map(text).collect()
    }

    #[test]
    fn tells_everything_once_and_then_what_changed() {
        let config = Arc::new(MqttConfig::default());
        let mut report = SysReport::new(config.clone(), "broker 1".to_owned(), 5000);
        let totals = Totals { sessions: 3, retained: 7, ..Totals::default() };
        let first = told(&mut report, &totals, 5000);
        assert_eq!(first["$SYS/broker/version"], "broker 1");
        assert_eq!(first["$SYS/broker/uptime"], "0 seconds");
        assert_eq!(first["$SYS/broker/retained messages/count"], "7");
        assert_eq!(first["$SYS/broker/load/bytes/sent/15min"], "0.00");
        config.counters.add(&mut Tally { entered: 2, messages_received: 100, ..Tally::default() });
        let second = told(&mut report, &totals, 15_000);
        assert_eq!(second["$SYS/broker/uptime"], "10 seconds");
        assert_eq!(second["$SYS/broker/clients/connected"], "2");
        assert_eq!(second["$SYS/broker/clients/disconnected"], "1");
        // 100 in ten seconds are 600 a minute: 600 * (1 - exp(-1/6)).
        assert_eq!(second["$SYS/broker/load/messages/received/1min"], "92.11");
        assert!(!second.contains_key("$SYS/broker/version"));
        config.counters.add(&mut Tally { left: 2, ..Tally::default() });
        let third = told(&mut report, &totals, 75_000);
        assert_eq!(third["$SYS/broker/load/messages/received/1min"], "33.89");
        assert_eq!(third["$SYS/broker/clients/connected"], "0");
        assert!(!third.contains_key("$SYS/broker/clients/maximum"));
    }
}
