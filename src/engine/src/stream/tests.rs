//! Streams whose records lie in pages, step by step and at random, against a naive model and their own log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod model;
mod pages;
mod properties;

use crate::{
    topology::settings::{QueueKind, QueueSettings},
    worker::WorkerLimits,
};

/// A durable stream.
fn settings(shards: u32) -> QueueSettings {
    QueueSettings { kind: QueueKind::Stream, durable: true, shards, ..Default::default() }
}

/// Pages of four records.
fn small_pages() -> WorkerLimits {
    WorkerLimits { page_messages: 4, ..Default::default() }
}
