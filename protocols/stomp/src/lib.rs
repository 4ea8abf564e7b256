//! STOMP 1.0, 1.1 and 1.2 in RabbitMQ's dialect, sans-IO.
//!
//! Owns: frames and their parser, destinations, header conversion, and [`StompSession`], the protocol as a state
//! machine over [`model::session::Session`]. Refuses: sockets, clocks, randomness, and other protocols.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod config;
mod convert;
mod destination;
mod error;
mod escape;
mod frame;
mod heartbeat;
mod parser;
mod receipts;
mod session;
mod subscription;
mod version;
mod writer;

pub use config::{FrameLimits, StompConfig};
pub use convert::{STOMP, StompProperties};
pub use session::StompSession;
pub use version::Version;
