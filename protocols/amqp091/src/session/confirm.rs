//! Publisher confirms of one channel: sequence numbers out, as few ack frames as the order allows back.

use crate::codec::hot;
use bytes::BytesMut;
use std::collections::VecDeque;

/// Publishes of a channel in confirm mode that were not answered yet.
///
/// `first` is the lowest number not settled, `settled` says of it and its successors whether they are. What became
/// settled since the last flush waits in `acked` and `nacked`.
#[derive(Debug)]
pub(crate) struct Confirms {
    first: u64,
    settled: VecDeque<bool>,
    acked: Vec<u64>,
    nacked: Vec<u64>,
}

impl Confirms {
    /// Numbers begin at 1.
    pub(crate) fn new() -> Self {
        Self { first: 1, settled: VecDeque::new(), acked: Vec::new(), nacked: Vec::new() }
    }

    /// Gives the next publish its number.
    pub(crate) fn publish(&mut self) -> u64 {
        self.settled.push_back(false);
        self.first + self.settled.len() as u64 - 1
    }

    /// Publishes that wait for their answer, and settled ones behind them.
    pub(crate) fn waiting(&self) -> usize {
        self.settled.len()
    }

    /// Publish `seq` is safe, or was refused. Unknown and repeated numbers are ignored.
    pub(crate) fn settle(&mut self, seq: u64, accepted: bool) {
        let at = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(slot) = at.and_then(|at| self.settled.get_mut(at)) else { return };
        if std::mem::replace(slot, true) {
            return;
        }
        if accepted {
            self.acked.push(seq)
        } else {
            self.nacked.push(seq)
        }
        while self.settled.front() == Some(&true) {
            self.settled.pop_front();
            self.first += 1;
        }
    }

    /// Writes what became settled: nacks first, since a `multiple` ack covers everything below it that is still
    /// unanswered; then one ack for the prefix without a gap; then those beyond the gap one by one.
    pub(crate) fn flush(&mut self, channel: u16, out: &mut BytesMut) {
        for seq in self.nacked.drain(..) {
            hot::put_nack(out, channel, seq);
        }
        let (mut count, mut highest) = (0u32, 0);
        self.acked.retain(|&seq| {
            let in_prefix = seq < self.first;
            if in_prefix {
                count += 1;
                highest = highest.max(seq);
            }
            !in_prefix
        });
        if count > 0 {
            hot::put_ack(out, channel, highest, count > 1);
        }
        for seq in self.acked.drain(..) {
            hot::put_ack(out, channel, seq, false);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    /// What the frames say, as `a3`, `a*3` (multiple), `n3`.
    fn flushed(confirms: &mut Confirms) -> String {
        let mut out = BytesMut::new();
        confirms.flush(1, &mut out);
        let words = out.chunks(21).map(|frame| {
            let tag = u64::from_be_bytes(frame[11..19].try_into().unwrap());
            let word = if frame[10] == 120 { "n" } else { "a" };
            format!("{word}{}{tag}", if frame[19] & 1 == 1 { "*" } else { "" })
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn check(published: u64, turns: &[(&[(u64, bool)], &str)]) {
        let mut confirms = Confirms::new();
        (0..published).for_each(|_| _ = confirms.publish());
        for (settled, expected) in turns {
            settled.iter().for_each(|&(seq, accepted)| confirms.settle(seq, accepted));
            assert_eq!(flushed(&mut confirms), *expected);
        }
    }

    #[test]
    fn coalesces_what_is_contiguous() {
        check(1, &[(&[(1, true)], "a1"), (&[(1, true), (9, true)], "")]);
        check(3, &[(&[(1, true), (2, true), (3, true)], "a*3")]);
        check(3, &[(&[(3, true)], "a3"), (&[(1, true), (2, true)], "a*2")]);
        check(3, &[(&[(2, true)], "a2"), (&[(1, true)], "a1"), (&[(3, true)], "a3")]);
        check(3, &[(&[(1, true), (2, false), (3, true)], "n2 a*3")]);
        check(3, &[(&[(1, true), (3, true)], "a1 a3"), (&[(2, false)], "n2")]);
    }

    proptest! {
        #[test]
        fn every_publish_is_answered_once(order in Just((1..=40u64).collect::<Vec<_>>()).prop_shuffle(),
                                          nack in proptest::collection::vec(any::<bool>(), 40),
                                          turn in 1usize..9) {
            let mut confirms = Confirms::new();
            (0..40).for_each(|_| _ = confirms.publish());
            let mut open: std::collections::BTreeSet<u64> = (1..=40).collect();
            for chunk in order.chunks(turn) {
                chunk.iter().for_each(|&seq| confirms.settle(seq, !nack[seq as usize - 1]));
                for word in flushed(&mut confirms).split_whitespace() {
                    let tag: u64 = word.trim_start_matches(['a', 'n', '*']).parse().unwrap();
                    prop_assert!(open.contains(&tag));
                    let below: Vec<u64> = if word.contains('*') { open.range(..=tag).copied().collect() } else { vec![tag] };
                    for seq in below {
                        prop_assert_eq!(nack[seq as usize - 1], word.starts_with('n'));
                        open.remove(&seq);
                    }
                }
            }
            prop_assert!(open.is_empty());
        }
    }
}
