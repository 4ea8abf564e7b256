//! What a queue or stream needs from its worker while it does something.

use super::{WorkerLimits, connections::Connections, effect::Effects};
use model::Millis;

/// The worker's side of one step.
pub(crate) struct Turn<'a> {
    pub(crate) now: Millis,
    pub(crate) effects: &'a mut Effects,
    pub(crate) connections: &'a mut Connections,
    pub(crate) limits: &'a WorkerLimits,
    /// What is logged now belongs to this epoch.
    pub(crate) epoch: u32,
    /// Memory is short: queues keep little of what is not needed soon.
    pub(crate) pressed: bool,
}

/// The worker's side of a step, from the worker's parts.
pub(crate) fn turn<'a>(
    now: Millis,
    effects: &'a mut Effects,
    connections: &'a mut Connections,
    limits: &'a WorkerLimits,
    (epoch, pressed): (u32, bool),
) -> Turn<'a> {
    Turn { now, effects, connections, limits, epoch, pressed }
}

/// When a queue or stream wants the worker's attention.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// It is on the list of those to pump at the end of the turn.
    pub(crate) dirty: bool,
    /// The time under which it stands among the worker's timers.
    pub(crate) armed: Millis,
    /// The earliest time that it asked for since it was armed.
    wish: Millis,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { dirty: false, armed: Millis::MAX, wish: Millis::MAX }
    }
}

impl Schedule {
    /// Asks for a tick at this time or before.
    pub(crate) fn at(&mut self, time: Millis) {
        self.wish = self.wish.min(time);
    }

    /// The time to be armed for, when that is earlier than what it is armed for now.
    pub(crate) fn take_wish(&mut self) -> Option<Millis> {
        let wish = std::mem::replace(&mut self.wish, Millis::MAX);
        (wish < self.armed).then_some(wish)
    }
}
