//! AMQP 0-9-1 in RabbitMQ's dialect: one connection as a state machine, and the codec of its message properties.
//!
//! Owns: frames, methods, content headers, channels, delivery tags, confirms, reply codes and texts, SASL mechanisms.
//! Refuses: sockets, clocks, randomness, routing, queues, permissions, and every other protocol. What the broker
//! knows, the session asks of [`model::session::Broker`].

mod codec;
mod config;
mod convert;
mod errors;
mod frame;
pub mod plain;
mod session;

pub use config::AmqpConfig;
pub use convert::{AMQP, AmqpProperties};
pub use session::Amqp091Session;
