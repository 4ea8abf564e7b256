//! The network: listeners, TLS, WebSocket, and the one driver that serves every session protocol.
//!
//! Owns: sockets. Refuses: protocols' words and messages' fates. Nothing outside this folder (and the HTTP door in
//! `aws/`) touches TCP or TLS.

pub(crate) mod access;
pub(crate) mod connection;
pub(crate) mod http;
pub(crate) mod listener;
pub(crate) mod outbox;
pub(crate) mod port;
pub(crate) mod proxy;
mod subject;
pub(crate) mod tls;
pub(crate) mod websocket;
