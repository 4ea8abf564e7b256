//! The vocabulary of Waystation: what the engine, the store, the protocols and the runtime say to each other.
//!
//! Owns: message, envelope, typed values, destinations and their settings, commands, replies, deliveries, the
//! [`session::Session`] and [`session::Broker`] ports, log records, errors and limits.
//! Refuses: sockets, files, clocks, executors, locks, and the name of any protocol.

pub mod behaviour;
pub mod command;
pub mod definition;
pub mod delivery;
pub mod envelope;
pub mod error;
pub mod ids;
pub mod limits;
pub mod message;
pub mod record;
pub mod session;
pub mod status;
pub mod value;
pub mod wire;

pub use bytestring::ByteString as Name;

/// Milliseconds since the Unix epoch. Time is data here: whoever calls passes it in, never decreasing.
pub type Millis = u64;
