//! Tests of the worker through its commands, one file per theme.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod consumers;
mod dead_letters;
mod epochs;
mod fifo;
mod handles;
mod limits;
mod model;
mod paging;
mod properties;
mod recovery;
mod streams;
