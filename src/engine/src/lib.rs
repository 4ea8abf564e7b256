//! The pure broker: routing, queues, streams and leases as deterministic state machines over (command, now).
//!
//! Owns: exchange kinds, bindings, the subscription tree, filters, queue and stream engines, the worker, retained
//! messages, the definitions and their validation.
//! Refuses: sockets, files, clocks, executors, locks, randomness, and the name of any protocol.

pub mod binding;
pub mod exchange;
pub mod filter;
pub mod pattern;
pub(crate) mod queue;
pub(crate) mod retained;
pub mod stream;
pub mod subscription;
pub mod topology;
pub mod worker;
