//! Rates of the totals: what was counted between the last two looks.

use crate::runtime::totals::Tally;
use model::Millis;
use serde_json::{Map, Value as Json, json};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Between two looks.
pub(super) const PERIOD: Duration = Duration::from_secs(5);

/// The last two looks at the totals, the older first.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<[(Millis, Tally); 2]>);

impl Rates {
    /// Notes the totals at a moment.
    pub(super) fn sample(&self, now: Millis, totals: Tally) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [_, last] = *looks;
        *looks = [last, (now, totals)];
    }

    /// RabbitMQ's `message_stats`: totals as they are now, with the rates of the last period.
    pub(super) fn message_stats(&self, totals: &Tally) -> Json {
        let [(before, older), (after, newer)] = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = after.saturating_sub(before) as f64 / 1000.0;
        let mut stats = Map::new();
        let [now, newer, older] = [*totals, newer, older].map(named);
        for (((name, total), (_, newer)), (_, older)) in now.into_iter().zip(newer).zip(older) {
            let known = before > 0 && seconds > 0.0;
            let rate = if known { newer.saturating_sub(older) as f64 / seconds } else { 0.0 };
            stats.insert(name.to_owned(), json!(total));
            stats.insert(format!("{name}_details"), json!({ "rate": rate }));
        }
        Json::Object(stats)
    }
}

fn named(tally: Tally) -> [(&'static str, u64); 8] {
    let Tally {
        published, confirmed, delivered, delivered_unacked, redelivered, fetched, acknowledged, ..
    } = tally;
    [
        ("publish", published),
        ("confirm", confirmed),
        ("deliver", delivered),
        ("deliver_no_ack", delivered_unacked),
        ("get", fetched),
        ("deliver_get", delivered + delivered_unacked + fetched),
        ("redeliver", redelivered),
        ("ack", acknowledged),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_between_the_last_two_looks() {
        let rates = Rates::default();
        let tally = |published| Tally { published, ..Tally::default() };
        rates.sample(1_000, tally(100));
        assert_eq!(rates.message_stats(&tally(100)).get("publish_details"), Some(&json!({ "rate": 0.0 })));
        rates.sample(6_000, tally(150));
        let stats = rates.message_stats(&tally(160));
        assert_eq!(stats.get("publish"), Some(&json!(160)));
        assert_eq!(stats.get("publish_details"), Some(&json!({ "rate": 10.0 })));
    }
}
