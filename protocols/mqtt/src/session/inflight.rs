//! QoS 1 and 2 messages on their way to the client: packet identifiers, their phases, and the send quota.
//!
//! ```text
//!  QoS 1:  Sent ---PUBACK---> free
//!  QoS 2:  Sent ---PUBREC---> Released (kept by the broker, then PUBREL sent) ---PUBCOMP---> free
//!  resumed session:  Resumed ---redelivered---> Sent;  ---skipped by the queue---> free (QoS 1), Released (QoS 2)
//! ```
//! The lease ends with PUBACK or with PUBREL. A session that outlives its connection has PUBREL wait until the broker
//! keeps the identifier: after a crash it is PUBREL that goes out again then, and not the message. For what was only sent
//! there is no record: it is sent again, under the same identifier, because that follows from the number in the queue
//! where it can; so a receiver that has it knows it.

use super::OWN_QUEUE;
use crate::errors::Refusal;
use model::{delivery::Lease, ids::ConsumerId};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;

/// The consumer and lease to settle.
pub(crate) type Held = Option<(ConsumerId, Lease)>;

/// Where a packet identifier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// PUBLISH sent.
    Sent { qos: u8, held: Held },
    /// PUBREC received, as the `order`th; the lease is held until PUBREL is sent.
    Released { order: u64, held: Held },
    /// Sent in an earlier connection; its queue will hand out number `seq` again.
    Resumed { qos: u8, seq: u64 },
}

/// What is to be done about an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing more.
    Nothing,
    /// The message is through; its lease, if any, ends.
    Settle(Held),
    /// The message arrived: PUBREL goes out.
    Release,
}

/// Packet identifiers in use towards one client.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    last_id: u16,
    phases: FxHashMap<u16, Phase>,
    /// Number in the queue and packet identifier, ascending.
    resumed: VecDeque<(u64, u16)>,
    /// Numbers in the queue that were released before a crash: the queue may not know that they are settled.
    done: FxHashSet<u64>,
    releases: u64,
    quota: u16,
    quota_max: u16,
}

impl Inflight {
    /// A table with room for `quota` messages in flight.
    pub(crate) fn new(quota: u16) -> Self {
        Self { quota, quota_max: quota, ..Self::default() }
    }

    /// True when another QoS 1 or 2 message may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.quota > 0
    }

    /// The identifier given out last; the next one follows it.
    pub(crate) fn last_id(&self) -> u16 {
        self.last_id
    }

    /// All identifiers in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, Phase)> + '_ {
        self.phases.iter().map(|(id, phase)| (*id, *phase))
    }

    /// Takes an identifier for a message about to be sent; `None` when there is no room.
    pub(crate) fn begin(&mut self, qos: u8, held: Held) -> Option<u16> {
        let quota = self.quota.checked_sub(1)?;
        let id = self.usual_id(held).or_else(|| self.free_id())?;
        self.quota = quota;
        self.phases.insert(id, Phase::Sent { qos, held });
        Some(id)
    }

    /// The identifier that a message of the session's own queue gets by its number, if it is free.
    fn usual_id(&mut self, held: Held) -> Option<u16> {
        let (_, lease) = held.filter(|(consumer, _)| *consumer == OWN_QUEUE)?;
        let id = u16::try_from(lease.seq % u64::from(u16::MAX)).ok()?.checked_add(1)?;
        if self.phases.contains_key(&id) {
            return None;
        }
        self.last_id = id;
        Some(id)
    }

    fn free_id(&mut self) -> Option<u16> {
        for _ in 0..u16::MAX {
            self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
            if !self.phases.contains_key(&self.last_id) {
                return Some(self.last_id);
            }
        }
        None
    }

    /// Takes up what an earlier connection left: in the order of the queue for what was sent, in the order of
    /// sending for what was released.
    pub(crate) fn resume(&mut self, last_id: u16, left: &[(u16, Phase)]) {
        self.last_id = last_id;
        for (id, phase) in left.iter().filter(|(id, _)| *id != 0) {
            let phase = match *phase {
                Phase::Released { .. } => self.next_release(None),
                other => other,
            };
            self.phases.insert(*id, phase);
            if let Phase::Resumed { seq, .. } = phase {
                self.resumed.push_back((seq, *id));
            }
        }
        self.resumed.make_contiguous().sort_unstable();
    }

    /// Takes up an identifier that the broker kept as released, with the number of its message in the queue. To be
    /// called in the order of release.
    pub(crate) fn resume_released(&mut self, id: u16, seq: Option<u64>) {
        let released = self.next_release(None);
        self.phases.insert(id, released);
        self.done.extend(seq);
    }

    /// True for a message that the client has; asked once for each that the session's own queue hands out.
    pub(crate) fn is_done(&mut self, seq: u64) -> bool {
        !self.done.is_empty() && self.done.remove(&seq)
    }

    /// What is to be kept of a released identifier: order, and number in the session's own queue.
    pub(crate) fn release_of(&self, id: u16) -> Option<(u64, Option<u64>)> {
        let Some(Phase::Released { order, held }) = self.phases.get(&id) else { return None };
        Some((*order, held.filter(|(consumer, _)| *consumer == OWN_QUEUE).map(|(_, lease)| lease.seq)))
    }

    /// PUBREL goes out: gives the lease to settle. `None` when the identifier is not released (any more).
    pub(crate) fn release(&mut self, id: u16) -> Option<Held> {
        match self.phases.get_mut(&id) {
            Some(Phase::Released { held, .. }) => Some(held.take()),
            _ => None,
        }
    }

    fn next_release(&mut self, held: Held) -> Phase {
        self.releases += 1;
        Phase::Released { order: self.releases, held }
    }

    /// Identifiers that are released, oldest first.
    pub(crate) fn released(&self) -> Vec<u16> {
        let mut ids: Vec<(u64, u16)> = self
            .iter()
            .filter_map(
                |(id, phase)| {
                    if let Phase::Released { order, .. } = phase { Some((order, id)) } else { None }
                },
            )
            .collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// The queue hands out number `seq`: the identifier and QoS that it had in an earlier connection. What the queue
    /// passed over is gone (expired, purged); of that, the identifiers that need a PUBREL are put in `skipped`, so
    /// that the client lets go of them.
    pub(crate) fn recall(&mut self, seq: u64, skipped: &mut Vec<u16>) -> Option<(u16, u8)> {
        while let Some((first, id)) = self.resumed.front().copied() {
            if first > seq {
                return None;
            }
            self.resumed.pop_front();
            let Some(Phase::Resumed { qos, .. }) = self.phases.get(&id).copied() else { continue };
            if first == seq {
                return Some((id, qos));
            }
            self.phases.remove(&id);
            if qos == 2 {
                let released = self.next_release(None);
                self.phases.insert(id, released);
                skipped.push(id);
            }
        }
        None
    }

    /// A recalled message is about to be sent again. False when there is no room for it.
    pub(crate) fn begin_again(&mut self, id: u16, qos: u8, held: Held) -> bool {
        let Some(quota) = self.quota.checked_sub(1) else { return false };
        self.quota = quota;
        self.phases.insert(id, Phase::Sent { qos, held });
        true
    }

    /// A recalled message is not sent after all; its identifier is free.
    pub(crate) fn forget(&mut self, id: u16) {
        self.phases.remove(&id);
    }

    fn end(&mut self, id: u16) {
        self.phases.remove(&id);
        self.quota = self.quota.saturating_add(1).min(self.quota_max);
    }

    /// PUBACK. Unsolicited ones are ignored. Errors: the message is not QoS 1.
    pub(crate) fn acknowledge(&mut self, id: u16) -> Result<Answer, Refusal> {
        match self.phases.get(&id) {
            Some(Phase::Sent { qos: 1, held }) => {
                let held = *held;
                self.end(id);
                Ok(Answer::Settle(held))
            }
            Some(Phase::Sent { .. } | Phase::Released { .. }) => Err(Refusal::protocol("PUBACK for QoS 2")),
            Some(Phase::Resumed { .. }) | None => Ok(Answer::Nothing),
        }
    }

    /// PUBREC. Errors: the message is not QoS 2.
    pub(crate) fn received(&mut self, id: u16, refused: bool) -> Result<Answer, Refusal> {
        match self.phases.get(&id).copied() {
            Some(Phase::Sent { qos: 2, held }) if refused => {
                self.end(id);
                Ok(Answer::Settle(held))
            }
            Some(Phase::Sent { qos: 2, held }) => {
                let released = self.next_release(held);
                self.phases.insert(id, released);
                Ok(Answer::Release)
            }
            Some(Phase::Sent { .. }) => Err(Refusal::protocol("PUBREC for QoS 1")),
            _ if refused => Ok(Answer::Nothing),
            _ => Ok(Answer::Release),
        }
    }

    /// PUBCOMP. Unsolicited ones are ignored. Errors: the message was not released.
    pub(crate) fn complete(&mut self, id: u16) -> Result<Answer, Refusal> {
        match self.phases.get(&id).copied() {
            Some(Phase::Released { held, .. }) => {
                self.end(id);
                Ok(Answer::Settle(held))
            }
            Some(Phase::Sent { .. }) => Err(Refusal::protocol("PUBCOMP without PUBREL")),
            _ => Ok(Answer::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use model::ids::QueueId;

    fn held(seq: u64) -> Held {
        Some((ConsumerId(1), Lease { queue: QueueId(1), seq }))
    }

    #[test]
    fn quota_opens_with_the_end_of_the_exchange() {
        let mut inflight = Inflight::new(1);
        assert_eq!(inflight.begin(2, held(0)), Some(1));
        assert_eq!(inflight.begin(1, held(2)), None);
        assert_eq!((inflight.release(1), inflight.release_of(1)), (None, None));
        assert_eq!(inflight.received(1, false), Ok(Answer::Release));
        assert_eq!(inflight.release_of(1), Some((1, Some(0))));
        assert_eq!((inflight.release(1), inflight.release(1)), (Some(held(0)), Some(None)));
        assert!(!inflight.has_room());
        assert_eq!(inflight.complete(1), Ok(Answer::Settle(None)));
        assert_eq!(inflight.begin(1, held(1)), Some(2));
        assert!(inflight.received(2, false).is_err());
        assert_eq!(inflight.acknowledge(2), Ok(Answer::Settle(held(1))));
        assert_eq!(inflight.acknowledge(2), Ok(Answer::Nothing));
        assert!(inflight.has_room());
    }

    #[test]
    fn recalls_in_queue_order() {
        let mut inflight = Inflight::new(10);
        let left = [
            (3, Phase::Resumed { qos: 1, seq: 30 }),
            (1, Phase::Resumed { qos: 2, seq: 10 }),
            (2, Phase::Resumed { qos: 1, seq: 20 }),
            (9, Phase::Released { order: 0, held: None }),
        ];
        inflight.resume(9, &left);
        let mut skipped = Vec::new();
        assert_eq!(inflight.recall(5, &mut skipped), None);
        assert_eq!(inflight.recall(20, &mut skipped), Some((2, 1)));
        assert_eq!(skipped, [1]);
        assert_eq!(inflight.released(), [9, 1]);
        assert_eq!(inflight.recall(31, &mut skipped), None);
        assert_eq!(inflight.begin(1, None), Some(10));
        assert_eq!(inflight.iter().count(), 4);
    }

    #[test]
    fn identifiers_wrap_past_those_in_use() {
        let mut inflight = Inflight::new(10);
        inflight.resume(u16::MAX - 1, &[(1, Phase::Released { order: 0, held: None })]);
        assert_eq!(inflight.begin(1, None), Some(u16::MAX));
        assert_eq!(inflight.begin(1, None), Some(2));
    }

    #[test]
    fn identifiers_follow_numbers_of_the_own_queue() {
        let mut inflight = Inflight::new(10);
        assert_eq!(inflight.begin(1, held(6)), Some(7));
        assert_eq!(inflight.begin(1, held(65_535 + 6)), Some(8));
        assert_eq!(inflight.begin(1, held(65_534)), Some(u16::MAX));
        assert_eq!(inflight.begin(1, None), Some(1));
    }
}
