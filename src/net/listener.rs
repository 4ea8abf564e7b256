//! Listening sockets: binds every door at once, accepts, wraps (TLS, WebSocket) and starts connections.

use super::connection::Connection;
use super::outbox::Outbox;
use super::port::Port;
use super::{proxy, tls, websocket};
use crate::auth::admission::Admission;
use crate::config::{CertificateUser, Config, Door, Protocol};
use crate::registry::{Protocols, SessionMaker};
use crate::runtime::shared::Shared;
use model::{Name, session::SessionSeed};
use std::net::SocketAddr;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
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

/// A door with what its rules need.
pub(crate) struct Entrance {
    /// The door as configured.
    pub(crate) door: Door,
    /// TLS, when it speaks that.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Who may enter.
    pub(crate) admission: Arc<Admission>,
    /// Makes its sessions; `None` for HTTP.
    pub(crate) sessions: Option<SessionMaker>,
    /// Connections that are open here.
    pub(crate) open: AtomicUsize,
}

/// Everything that a new connection needs.
#[derive(Clone)]
pub(crate) struct Reception {
    /// Shared state.
    pub(crate) shared: Arc<Shared>,
    /// Makers of sessions, and the HTTP doors.
    pub(crate) protocols: Arc<Protocols>,
    /// Most client connections.
    pub(crate) connections_max: usize,
    /// Largest message body.
    pub(crate) message_bytes_max: usize,
    /// Tasks to wait for at the end.
    pub(crate) tasks: TaskTracker,
    /// Says when to end.
    pub(crate) shutdown: CancellationToken,
}

impl Reception {
    /// Accepts at a door until shutdown.
    pub(crate) async fn accept(self, bound: Bound, entrance: Arc<Entrance>) {
        loop {
            let accepted = tokio::select! {
                accepted = bound.socket.accept() => accepted,
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &entrance),
                Err(error) => {
                    tracing::error!(door = bound.door.key, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, entrance: &Arc<Entrance>) {
        let open = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if open >= self.connections_max {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%peer, limit = self.connections_max, "connection refused: limits.connections is reached");
            return;
        }
        let here = entrance.open.fetch_add(1, Ordering::Relaxed);
        if entrance.door.rules.connections_max.is_some_and(|max| here >= max) {
            entrance.open.fetch_sub(1, Ordering::Relaxed);
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            let door = entrance.door.address;
            tracing::warn!(%peer, %door, limit = here, "connection refused: connections_max of its listener is reached");
            return;
        }
        let (reception, entrance) = (self.clone(), entrance.clone());
        self.tasks.spawn(async move {
            let reason = reception.serve(stream, peer, &entrance).await;
            entrance.open.fetch_sub(1, Ordering::Relaxed);
            reception.shared.connections.fetch_sub(1, Ordering::Relaxed);
            let door = &entrance.door;
            match reason {
                Ok(reason) => tracing::debug!(%peer, door = door.key, reason = &*reason, "connection closed"),
                Err(error) => tracing::info!(%peer, door = door.key, error, "connection failed"),
            }
        });
    }

    async fn serve(
        &self,
        mut stream: TcpStream,
        mut peer: SocketAddr,
        entrance: &Entrance,
    ) -> Result<Name, String> {
        let door = &entrance.door;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut local = stream.local_addr().map_err(|error| error.to_string())?;
        let mut said = proxy::Header::default();
        if door.rules.proxy {
            said = tokio::time::timeout(HANDSHAKE, Box::pin(proxy::read(&mut stream)))
                .await
                .map_err(|_| "no PROXY header came in time".to_owned())?
                .map_err(|error| error.to_string())?;
            (peer, local) = said.addresses.unwrap_or((peer, local));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| error.to_string())?;
        let mut seed = SessionSeed {
            peer: peer.to_string().into(),
            local: local.to_string().into(),
            loopback: peer.ip().to_canonical().is_loopback(),
            tls: door.tls || said.tls,
            certificate_name: said.certificate_name.map(Name::from),
            random: u128::from_le_bytes(random),
        };
        if !door.tls {
            return self.unwrap_websocket(stream, seed, entrance).await;
        }
        let acceptor = entrance.tls.as_ref().ok_or("no certificate is configured")?;
        // What is rare is boxed below: the task of a plain connection is to be as small as that needs.
        let stream = tokio::time::timeout(HANDSHAKE, Box::pin(acceptor.accept(stream)))
            .await
            .map_err(|_| "TLS handshake timed out".to_owned())?
            .map_err(|error| format!("TLS handshake: {error}"))?;
        let whole = door.rules.certificate == CertificateUser::Subject;
        seed.certificate_name = tls::peer_name(&stream, whole).map(Name::from).or(seed.certificate_name);
        Box::pin(self.unwrap_websocket(stream, seed, entrance)).await
    }

    async fn unwrap_websocket<S>(
        &self,
        stream: S,
        seed: SessionSeed,
        entrance: &Entrance,
    ) -> Result<Name, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let door = &entrance.door;
        if !door.websocket {
            return Ok(self.run(stream, seed, entrance).await);
        }
        let (subprotocols, text): (&[&str], bool) = match door.protocol {
            Protocol::Mqtt => (&["mqtt", "mqttv3.1"], false),
            _ => (&["v12.stomp", "v11.stomp", "v10.stomp"], true),
        };
        let message_bytes_max = self.message_bytes_max + WEBSOCKET_HEAD_BYTES;
        let paths = &["/ws", "/mqtt", "/"];
        let options = websocket::Options { subprotocols, paths, message_bytes_max, text };
        let accept = Box::pin(websocket::accept(stream, &options));
        let stream = tokio::time::timeout(HANDSHAKE, accept)
            .await
            .map_err(|_| "WebSocket handshake timed out".to_owned())?
            .map_err(|error| format!("WebSocket handshake: {error}"))?;
        Ok(Box::pin(self.run(stream, seed, entrance)).await)
    }

    async fn run<S>(&self, stream: S, seed: SessionSeed, entrance: &Entrance) -> Name
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let now = self.shared.now();
        let Some(make) = &entrance.sessions else {
            let (protocol, shutdown) = (entrance.door.protocol, self.shutdown.clone());
            return Box::pin(self.protocols.serve_http(protocol, stream, seed, shutdown)).await;
        };
        let session = make(seed.clone(), now);
        let outbox = Arc::new(Outbox::default());
        let port = Port::new(self.shared.clone(), outbox.clone(), seed, entrance.admission.clone());
        let connection = Connection::new(stream, session, port, outbox);
        Box::pin(connection.run(self.shutdown.clone())).await
    }
}
