//! What a stream drops: by length and by age, from its oldest end. Records of the tail go one by one, those in pages
//! with their whole page.

use super::{Stream, shard::Shard};
use crate::worker::{effect::Effects, turn::Turn};
use model::{Millis, record::Record};

impl Stream {
    /// Drops the oldest records while there are too many bytes; the newest of each shard stays.
    pub(super) fn trim_to_length(&mut self, effects: &mut Effects) {
        let Some(max_bytes) = self.settings.max_length_bytes else { return };
        if self.bytes <= max_bytes {
            return;
        }
        let share = max_bytes / self.shards.len().max(1) as u64;
        for number in (0u32..).take(self.shards.len()) {
            self.trim_shard(number, effects, |shard| shard.bytes() > share && shard.can_spare());
        }
    }

    /// Drops the oldest records of a shard while `is_too_much` says so; returns in how many steps.
    fn trim_shard(
        &mut self,
        number: u32,
        effects: &mut Effects,
        mut is_too_much: impl FnMut(&Shard) -> bool,
    ) -> usize {
        let dropped = self.with_shard(number, |shard| {
            let mut dropped = 0;
            while is_too_much(shard) && shard.drop_oldest(&mut effects.dead_pages) {
                dropped += 1;
            }
            (dropped, shard.first())
        });
        let Some((dropped, first_offset)) = dropped else { return 0 };
        if dropped > 0 && self.settings.durable {
            effects.records.push(Record::Trim { stream: self.id, shard: number, first_offset });
        }
        dropped
    }

    /// Drops up to `budget` records and pages that are too old, and returns how many.
    pub(super) fn drop_old(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        let Some(max_age_ms) = self.settings.max_age_ms else { return 0 };
        let (mut done, now) = (0, turn.now);
        let is_old =
            |shard: &Shard| shard.oldest_ms().is_some_and(|oldest| oldest.saturating_add(max_age_ms) <= now);
        // Records of this turn must be in the log before a trim that covers them.
        self.flush(turn.effects);
        for number in (0u32..).take(self.shards.len()) {
            let mut left = budget.saturating_sub(done);
            done += self.trim_shard(number, turn.effects, |shard| {
                let goes = left > 0 && is_old(shard);
                left = left.saturating_sub(1);
                goes
            });
        }
        self.arm();
        done
    }

    /// Asks to be looked after when the oldest record is too old.
    pub(super) fn arm(&mut self) {
        let Some(max_age_ms) = self.settings.max_age_ms else { return };
        let oldest: Option<Millis> = self.shards.iter().filter_map(Shard::oldest_ms).min();
        if let Some(oldest) = oldest {
            self.schedule.at(oldest.saturating_add(max_age_ms));
        }
    }
}
