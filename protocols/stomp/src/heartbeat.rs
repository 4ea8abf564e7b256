//! Heart-beats ("Heart-beating"): when ours are due, and when the client has been silent for too long.

use model::Millis;

/// Longest interval that is honoured: a day.
const INTERVAL_MS_MAX: u64 = 86_400_000;
/// A silent client gets this many of its intervals before it is given up; networks and schedulers are late.
const GRACE: u64 = 2;

/// The beats of one connection. An interval of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    send_ms: u64,
    receive_ms: u64,
    next_send: Millis,
    heard: Millis,
}

/// Whole seconds, but not less than one, as RabbitMQ rounds.
fn rounded(interval_ms: u64) -> u64 {
    if interval_ms == 0 { 0 } else { (interval_ms / 1000 * 1000).clamp(1000, INTERVAL_MS_MAX) }
}

impl Heartbeat {
    /// Reads a `heart-beat` header: what the client can send, and what it wants. `None` when it is malformed.
    pub(crate) fn parse(header: Option<&str>) -> Option<Self> {
        let Some(header) = header else { return Some(Self::default()) };
        let (sends, wants) = header.split_once(',')?;
        let receive_ms = rounded(sends.trim().parse().ok()?);
        let send_ms = rounded(wants.trim().parse().ok()?);
        Some(Self { send_ms, receive_ms, next_send: 0, heard: 0 })
    }

    /// What CONNECTED answers: what we send, and what we want.
    pub(crate) fn answer(&self) -> (u64, u64) {
        (self.send_ms, self.receive_ms)
    }

    /// The beats begin.
    pub(crate) fn start(&mut self, now: Millis) {
        self.heard = now;
        self.next_send = now + self.send_ms / 2;
    }

    /// Something came from the client.
    pub(crate) fn heard(&mut self, now: Millis) {
        self.heard = now;
    }

    /// True when one of ours is due; the next is then due after half of the interval, regardless of other traffic.
    pub(crate) fn beat(&mut self, now: Millis) -> bool {
        let due = self.send_ms > 0 && now >= self.next_send;
        if due {
            self.next_send = now + self.send_ms / 2;
        }
        due
    }

    fn deadline(&self) -> Option<Millis> {
        (self.receive_ms > 0).then(|| self.heard + GRACE * self.receive_ms)
    }

    /// True when the client has been silent for too long.
    pub(crate) fn is_silent(&self, now: Millis) -> bool {
        self.deadline().is_some_and(|deadline| now > deadline)
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Option<Millis> {
        let send = (self.send_ms > 0).then_some(self.next_send);
        let receive = self.deadline().map(|deadline| deadline + 1);
        send.into_iter().chain(receive).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn negotiates() {
        let check = |header, expected| {
            assert_eq!(Heartbeat::parse(header).map(|beat| beat.answer()), expected, "{header:?}");
        };
        check(None, Some((0, 0)));
        check(Some("0,0"), Some((0, 0)));
        check(Some("500,1999"), Some((1000, 1000)));
        check(Some("10000, 5000"), Some((5000, 10_000)));
        check(Some("99999999999,0"), Some((0, INTERVAL_MS_MAX)));
        check(Some("1"), None);
        check(Some("-1,0"), None);
        check(Some("a,b"), None);
    }

    #[test]
    fn beats_and_silence() {
        let mut beat = Heartbeat::parse(Some("1000,2000")).unwrap();
        beat.start(0);
        assert_eq!(beat.next(), Some(1000));
        assert!(!beat.beat(999) && beat.beat(1000) && !beat.beat(1500) && beat.beat(2000));
        assert!(!beat.is_silent(2000) && beat.is_silent(2001));
        beat.heard(1500);
        assert!(!beat.is_silent(3500));
    }
}
