//! Waystation: one message broker, many protocols. This crate is the runtime around the pure parts: sockets, tasks,
//! configuration, the log's threads, and the AWS HTTP door.
//!
//! [`Server`] is the whole broker as a value: tests and benchmarks embed it, `main` runs it.

pub mod auth;
pub(crate) mod aws;
pub mod cli;
pub mod config;
pub(crate) mod net;
pub(crate) mod registry;
pub(crate) mod runtime;
mod server;

pub use server::Server;

/// Whether the TLS files that a valid configuration names can be used. Starts and writes nothing.
pub fn check(config: &config::Config) -> Result<(), String> {
    config.tls.as_ref().map_or(Ok(()), |files| net::tls::acceptor(files).map(drop)).map_err(|e| e.to_string())
}

/// What `waystation inspect DIR` prints: segments and records of every worker's log. Read-only.
pub fn inspect(data: &std::path::Path) -> Result<String, String> {
    runtime::inspection::inspect(data)
}
