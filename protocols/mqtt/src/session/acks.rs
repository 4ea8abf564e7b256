//! Acknowledgements owed to the client for its publishes, given in the order in which the publishes came
//! (MQTT 5.0, 4.6), however their confirms arrive.

use crate::{
    codec::{
        Version,
        acks::{self, first},
    },
    errors::{is_final, reason},
};
use bytes::BytesMut;
use model::{delivery::Confirm, ids::ConfirmToken};
use std::collections::VecDeque;

/// "Packet identifier not found": the one error that PUBCOMP can tell.
const PUBCOMP_FAILED: u8 = 0x92;

#[derive(Clone, Copy, Debug)]
struct Owed {
    packet_id: u16,
    /// PUBCOMP rather than PUBACK.
    release: bool,
    done: bool,
    code: u8,
}

/// What is owed, oldest first. The token of a confirm is the number of its entry since the connection began.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    first: u64,
    owed: VecDeque<Owed>,
}

impl Acks {
    /// How many are owed.
    pub(crate) fn len(&self) -> usize {
        self.owed.len()
    }

    /// Owes an acknowledgement; the token is for its confirm.
    pub(crate) fn owe(&mut self, packet_id: u16, release: bool) -> ConfirmToken {
        self.owed.push_back(Owed { packet_id, release, done: false, code: reason::SUCCESS });
        ConfirmToken(self.first + self.owed.len() as u64 - 1)
    }

    fn entry(&mut self, token: ConfirmToken) -> Option<&mut Owed> {
        let index = token.0.checked_sub(self.first)?;
        self.owed.get_mut(usize::try_from(index).ok()?)
    }

    /// The code to give, at once when `done`, else when the confirm comes.
    pub(crate) fn decide(&mut self, token: ConfirmToken, code: u8, done: bool) {
        if let Some(owed) = self.entry(token) {
            owed.code = code;
            owed.done = done;
        }
    }

    /// Takes confirms; those of unknown tokens are ignored.
    pub(crate) fn confirm(&mut self, confirms: &[Confirm]) {
        for confirm in confirms {
            if let Some(owed) = self.entry(confirm.token) {
                owed.done = true;
                if !confirm.accepted {
                    owed.code = reason::QUOTA_EXCEEDED;
                }
            }
        }
    }

    /// Packet identifiers whose PUBCOMP is owed.
    pub(crate) fn releases(&self) -> impl Iterator<Item = u16> + '_ {
        self.owed.iter().filter(|owed| owed.release).map(|owed| owed.packet_id)
    }

    /// Writes what is due, and puts the identifiers that PUBCOMP went out for in `completed`. Gives the number of
    /// packets written.
    pub(crate) fn flush(&mut self, out: &mut BytesMut, version: Version, completed: &mut Vec<u16>) -> u32 {
        let mut sent = 0;
        while let Some(owed) = self.owed.front().copied().filter(|owed| owed.done) {
            self.owed.pop_front();
            self.first += 1;
            if owed.release {
                let code = if is_final(owed.code) { reason::SUCCESS } else { PUBCOMP_FAILED };
                acks::put(out, first::PUBCOMP, version, owed.packet_id, code);
                completed.push(owed.packet_id);
                sent += 1;
            } else if version == Version::V5 || is_final(owed.code) {
                acks::put(out, first::PUBACK, version, owed.packet_id, owed.code);
                sent += 1;
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn keeps_the_order_of_publishes() {
        let mut owed = Acks::default();
        let (mut out, mut completed) = (BytesMut::new(), Vec::new());
        let (a, b) = (owed.owe(1, false), owed.owe(2, true));
        owed.decide(b, 0, true);
        owed.flush(&mut out, Version::V5, &mut completed);
        assert!(out.is_empty());
        owed.confirm(&[
            Confirm { token: a, accepted: false },
            Confirm { token: ConfirmToken(99), accepted: true },
        ]);
        owed.flush(&mut out, Version::V5, &mut completed);
        assert_eq!(&out[..], &[0x40, 3, 0, 1, 0x97, 0x70, 2, 0, 2]);
        assert_eq!(completed, [2]);
        let c = owed.owe(3, false);
        assert_eq!(c, ConfirmToken(2));
        owed.confirm(&[Confirm { token: a, accepted: true }]);
        owed.decide(c, 0x97, true);
        out.clear();
        owed.flush(&mut out, Version::V311, &mut completed);
        assert!(out.is_empty() && owed.len() == 0);
    }
}
