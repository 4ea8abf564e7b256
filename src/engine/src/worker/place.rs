//! A queue or a stream: what stands under one queue id.

use super::{
    effect::Effects,
    turn::{Schedule, Turn},
};
use crate::{queue::Queue, stream::Stream};

/// What a queue id stands for.
#[derive(Debug)]
pub(crate) enum Place {
    /// Competing consumers.
    Queue(Box<Queue>),
    /// Replayable records.
    Stream(Box<Stream>),
}

impl Place {
    pub(crate) fn schedule(&mut self) -> &mut Schedule {
        match self {
            Place::Queue(queue) => &mut queue.schedule,
            Place::Stream(stream) => &mut stream.schedule,
        }
    }

    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        match self {
            Place::Queue(queue) => queue.pump(turn, budget),
            Place::Stream(stream) => stream.pump(turn, budget),
        }
    }

    pub(crate) fn flush(&mut self, effects: &mut Effects) {
        match self {
            Place::Queue(queue) => queue.flush(effects),
            Place::Stream(stream) => stream.flush(effects),
        }
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>, budget: usize) -> usize {
        match self {
            Place::Queue(queue) => queue.tick(turn, budget),
            Place::Stream(stream) => stream.tick(turn, budget),
        }
    }

    pub(crate) fn wake(&mut self, key: u32) {
        match self {
            Place::Queue(queue) => queue.wake(key),
            Place::Stream(stream) => stream.wake(key),
        }
    }

    pub(crate) fn cancel(&mut self, key: u32, turn: &mut Turn<'_>) {
        match self {
            Place::Queue(queue) => queue.cancel(key, turn),
            Place::Stream(stream) => stream.cancel(key, turn),
        }
    }

    /// The connection of a consumer or getter is gone; `settle_down` follows when all of its holders left.
    pub(crate) fn leave(&mut self, key: u32, turn: &mut Turn<'_>) {
        match self {
            Place::Queue(queue) => queue.leave(key, turn),
            Place::Stream(stream) => stream.cancel(key, turn),
        }
    }

    /// A whole connection left.
    pub(crate) fn settle_down(&mut self, turn: &mut Turn<'_>) {
        if let Place::Queue(queue) = self {
            queue.enforce_length(turn);
        }
    }

    /// Bytes that it needs in the log.
    pub(crate) fn log_bytes(&self) -> u64 {
        match self {
            Place::Queue(queue) => queue.counts().log_bytes,
            Place::Stream(stream) => stream.log_bytes(),
        }
    }
}
