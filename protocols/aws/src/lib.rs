//! The AWS dialects, sans-IO: how SQS, SNS, EventBridge, Kinesis and STS speak on the wire, and how their messages
//! are kept and converted.
//!
//! Owns: which service and operation a request means, SigV4 verification, the query/XML and JSON codecs, error
//! codes, ARNs, message attributes with their MD5 rules, receipt handles, sequence numbers and shard iterators, and
//! the transformations that SNS subscriptions and EventBridge rules ask for.
//! Refuses: sockets, clocks, randomness, and any knowledge of queues and exchanges, which the door in the root crate
//! has.

pub mod arn;
pub mod attributes;
pub mod behaviour;
pub mod convert;
pub mod error;
pub mod form;
pub mod json;
pub mod kinesis;
pub mod native;
pub mod payload;
pub mod query;
pub mod receipt;
pub mod route;
pub mod service;
pub mod sigv4;
pub mod time;
pub mod transform;
pub mod xml;

pub use behaviour::Behaviours;
pub use native::AWS;
