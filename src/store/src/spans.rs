//! A set of numbers that mostly lie in runs.

use model::record::Span;
use std::collections::BTreeMap;

/// Runs by their first number: the last number of each. Runs neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(BTreeMap<u64, u64>);

impl Spans {
    /// Of runs in any order.
    pub(crate) fn of(spans: &[Span]) -> Self {
        let mut all = Self::default();
        spans.iter().for_each(|(first, last)| all.insert(*first, *last));
        all
    }

    /// Adds all from `first` to `last`.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut from, mut to) = (first, last);
        if let Some((start, end)) =
            self.run_at_or_before(first).filter(|(_, end)| end.saturating_add(1) >= first)
        {
            (from, to) = (start, to.max(end));
        }
        while let Some((start, end)) = self.0.range(from..=to.saturating_add(1)).next().map(|(a, b)| (*a, *b))
        {
            self.0.remove(&start);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, number: u64) {
        let Some((start, end)) = self.run_at_or_before(number).filter(|(_, end)| *end >= number) else {
            return;
        };
        self.0.remove(&start);
        if start < number {
            self.0.insert(start, number - 1);
        }
        if end > number {
            self.0.insert(number + 1, end);
        }
    }

    fn run_at_or_before(&self, number: u64) -> Option<Span> {
        self.0.range(..=number).next_back().map(|(start, end)| (*start, *end))
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.run_at_or_before(number).is_some_and(|(_, end)| end >= number)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(first, _)| *first)
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, last)| *last)
    }

    /// Those that are not in `others`.
    pub(crate) fn without(&self, others: &Spans) -> Spans {
        let mut left = Spans::default();
        for (first, last) in &self.0 {
            let mut from = Some(*first);
            let begin = others.run_at_or_before(*first).map_or(*first, |(start, _)| start);
            for (start, end) in others.0.range(begin..=*last) {
                let Some(at) = from.filter(|at| end >= at) else { continue };
                if *start > at {
                    left.insert(at, start - 1);
                }
                from = end.checked_add(1);
            }
            if let Some(at) = from {
                left.insert(at, *last);
            }
        }
        left
    }

    /// The runs, ascending.
    pub(crate) fn runs(&self) -> Vec<Span> {
        self.0.iter().map(|(first, last)| (*first, *last)).collect()
    }

    /// The numbers, ascending.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..6), 1..60)) {
            let (mut spans, mut set) = (Spans::default(), BTreeSet::new());
            for (add, first, more) in steps {
                if add {
                    spans.insert(first, first + more);
                    set.extend(first..=first + more);
                } else {
                    spans.remove(first);
                    set.remove(&first);
                }
                prop_assert_eq!(spans.numbers().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
                prop_assert!(spans.runs().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                prop_assert_eq!(spans.contains(20), set.contains(&20));
                let others = Spans::of(&[(3, 5), (9, 9), (14, 30)]);
                let left: Vec<u64> = set.iter().copied().filter(|number| !others.contains(*number)).collect();
                prop_assert_eq!(spans.without(&others).numbers().collect::<Vec<_>>(), left);
            }
        }
    }
}
