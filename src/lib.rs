//! Waystation: one message broker, many protocols. This crate is the runtime around the pure parts: sockets, tasks,
//! configuration, the log's threads, and the AWS HTTP door.
//!
//! [`Server`] is the whole broker as a value: tests and benchmarks embed it, `main` runs it.

pub(crate) mod admin;
pub mod auth;
pub(crate) mod aws;
pub mod cli;
pub mod config;
pub mod import;
pub mod listeners;
pub(crate) mod net;
pub(crate) mod registry;
pub(crate) mod runtime;
mod server;

pub use server::Server;

/// Whether the TLS files, password files and access control lists that a valid configuration names can be used. Starts
/// and writes nothing.
pub fn check(config: &config::Config) -> Result<(), String> {
    let secured = config.doors.iter().filter_map(|door| door.rules.tls.as_ref());
    for files in config.tls.iter().chain(secured) {
        net::tls::acceptor(files).map_err(|error| error.to_string())?;
    }
    for door in &config.doors {
        if let Some(path) = &door.rules.password_file {
            auth::Reloadable::open(path, auth::password_file::PasswordFile::parse)?;
        }
        registry::check_files(door)?;
    }
    Ok(())
}

/// What `waystation repair DIR` does and prints, and why it could not finish. A broker starts on what it leaves.
pub fn repair(data: &std::path::Path) -> (String, Option<String>) {
    runtime::repair::repair(data)
}

/// What `waystation inspect DIR` prints: segments and records of every worker's log. Read-only.
pub fn inspect(data: &std::path::Path) -> Result<String, String> {
    runtime::inspection::inspect(data)
}
