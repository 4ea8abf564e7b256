//! Listening sockets: binds every door at once, accepts, wraps (TLS, WebSocket) and starts connections.

use super::connection::Connection;
use super::outbox::Outbox;
use super::port::Port;
use super::{tls, websocket};
use crate::config::{Anonymous, Config, Door, Protocol};
use crate::registry::Protocols;
use crate::runtime::shared::Shared;
use model::{Name, session::SessionSeed};
use std::net::SocketAddr;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long TLS and WebSocket handshakes may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Room for headers beside the largest body in a WebSocket message.
const WEBSOCKET_HEAD_BYTES: usize = 1024 * 1024;
/// Connections that may wait to be accepted; the system may allow less.
const ACCEPT_QUEUE: u32 = 4096;
/// Pause after a failed accept (too many open files), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound door.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The door as configured.
    pub(crate) door: Door,
    /// The address really bound (port 0 becomes one).
    pub(crate) address: SocketAddr,
    socket: TcpListener,
}

/// Binds every door. Errors: one sentence naming the door and what is wrong.
pub(crate) async fn bind(config: &Config) -> Result<Vec<Bound>, String> {
    let mut bound = Vec::new();
    for door in &config.doors {
        let socket = listen(door.address).map_err(|error| {
            format!("cannot listen on {} for {}: {error} (setting {})", door.address, door.name, door.key)
        })?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        bound.push(Bound { door: door.clone(), address, socket });
    }
    Ok(bound)
}

/// A listening socket whose queue holds a fleet that reconnects at once: what overflows it waits a second and more.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}

/// Everything that a new connection needs.
#[derive(Clone)]
pub(crate) struct Reception {
    /// Shared state.
    pub(crate) shared: Arc<Shared>,
    /// Makers of sessions, and the AWS door.
    pub(crate) protocols: Arc<Protocols>,
    /// TLS, when configured.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Most client connections.
    pub(crate) connections_max: usize,
    /// Largest message body.
    pub(crate) message_bytes_max: usize,
    /// MQTT without a name.
    pub(crate) mqtt_anonymous: Anonymous,
    /// Tasks to wait for at the end.
    pub(crate) tasks: TaskTracker,
    /// Says when to end.
    pub(crate) shutdown: CancellationToken,
}

impl Reception {
    /// Accepts at a door until shutdown.
    pub(crate) async fn accept(self, bound: Bound) {
        loop {
            let accepted = tokio::select! {
                accepted = bound.socket.accept() => accepted,
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &bound.door),
                Err(error) => {
                    tracing::error!(door = bound.door.key, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, door: &Door) {
        let open = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if open >= self.connections_max {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%peer, limit = self.connections_max, "connection refused: limits.connections is reached");
            return;
        }
        let (reception, door) = (self.clone(), door.clone());
        self.tasks.spawn(async move {
            let reason = reception.serve(stream, peer, &door).await;
            reception.shared.connections.fetch_sub(1, Ordering::Relaxed);
            match reason {
                Ok(reason) => tracing::debug!(%peer, door = door.key, reason = &*reason, "connection closed"),
                Err(error) => tracing::info!(%peer, door = door.key, error, "connection failed"),
            }
        });
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, door: &Door) -> Result<Name, String> {
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let local = stream.local_addr().map_err(|error| error.to_string())?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| error.to_string())?;
        let mut seed = SessionSeed {
            peer: peer.to_string().into(),
            local: local.to_string().into(),
            loopback: peer.ip().to_canonical().is_loopback(),
            tls: door.tls,
            certificate_name: None,
            random: u128::from_le_bytes(random),
        };
        if !door.tls {
            return self.unwrap_websocket(stream, seed, door).await;
        }
        let acceptor = self.tls.as_ref().ok_or("no certificate is configured")?;
        let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream))
            .await
            .map_err(|_| "TLS handshake timed out".to_owned())?
            .map_err(|error| format!("TLS handshake: {error}"))?;
        seed.certificate_name = tls::peer_name(&stream).map(Name::from);
        self.unwrap_websocket(stream, seed, door).await
    }

    async fn unwrap_websocket<S>(&self, stream: S, seed: SessionSeed, door: &Door) -> Result<Name, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !door.websocket {
            return Ok(self.run(stream, seed, door).await);
        }
        let (subprotocols, text): (&[&str], bool) = match door.protocol {
            Protocol::Mqtt => (&["mqtt", "mqttv3.1"], false),
            _ => (&["v12.stomp", "v11.stomp", "v10.stomp"], true),
        };
        let message_bytes_max = self.message_bytes_max + WEBSOCKET_HEAD_BYTES;
        let paths = &["/ws", "/mqtt", "/"];
        let options = websocket::Options { subprotocols, paths, message_bytes_max, text };
        let stream = tokio::time::timeout(HANDSHAKE, websocket::accept(stream, &options))
            .await
            .map_err(|_| "WebSocket handshake timed out".to_owned())?
            .map_err(|error| format!("WebSocket handshake: {error}"))?;
        Ok(self.run(stream, seed, door).await)
    }

    async fn run<S>(&self, stream: S, seed: SessionSeed, door: &Door) -> Name
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let anonymous = if door.protocol == Protocol::Mqtt { self.mqtt_anonymous } else { Anonymous::No };
        let now = self.shared.now();
        let session = match self.protocols.session(door.protocol, seed.clone(), now) {
            Some(session) => session,
            None => return self.protocols.serve_aws(stream, door.tls, self.shutdown.clone()).await,
        };
        let outbox = Arc::new(Outbox::default());
        let port = Port::new(self.shared.clone(), outbox.clone(), seed, anonymous);
        Connection::new(stream, session, port, outbox).run(self.shutdown.clone()).await
    }
}
