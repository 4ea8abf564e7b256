//! Whose turn it is among the consumers of a queue: higher priorities first, round robin within. Consumers that can
//! not take are left out until they can, so that a choice costs O(1) however many wait.

use std::collections::VecDeque;

/// Consumers that may be able to take, by descending priority.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    levels: Vec<(i32, VecDeque<u32>)>,
}

impl Rotation {
    /// Adds a consumer behind the others of its priority.
    pub(crate) fn push(&mut self, priority: i32, holder: u32) {
        let place = self.levels.partition_point(|(level, _)| *level > priority);
        match self.levels.get_mut(place) {
            Some((level, line)) if *level == priority => line.push_back(holder),
            _ => self.levels.insert(place, (priority, VecDeque::from([holder]))),
        }
    }

    /// Takes a consumer out.
    pub(crate) fn remove(&mut self, priority: i32, holder: u32) {
        self.levels.retain_mut(|(level, line)| {
            if *level == priority {
                line.retain(|other| *other != holder);
            }
            !line.is_empty()
        });
    }

    /// The next consumer that can take; it goes to the end of its line. Those that cannot drop out.
    pub(crate) fn next(&mut self, mut can_take: impl FnMut(u32) -> bool) -> Option<u32> {
        for (_, line) in &mut self.levels {
            while let Some(holder) = line.front().copied() {
                if can_take(holder) {
                    if line.len() > 1 {
                        line.rotate_left(1);
                    }
                    return Some(holder);
                }
                line.pop_front();
            }
        }
        None
    }
}
