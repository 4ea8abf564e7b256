//! MQTT 3.1, 3.1.1 and 5.0 as a sans-IO [`model::session::Session`].
//!
//! Owns: the wire format of the three versions, the connection and session state that MQTT prescribes, the mapping
//! between topics and routing keys, and the reading of MQTT properties for other protocols.
//! Refuses: sockets, clocks, randomness, routing, storage, and the name of any other protocol.

mod acl;
mod codec;
mod config;
mod convert;
mod errors;
mod session;
mod statistics;
mod sys;
mod topic;

pub use acl::{AccessLists, Acl};
pub use config::MqttConfig;
pub use convert::{MQTT, MqttProperties};
pub use session::{MqttSession, kept_message_id};
pub use statistics::Counters;
pub use sys::{SysReport, Totals};
