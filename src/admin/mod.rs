//! The management door: RabbitMQ's HTTP API, definitions, health and metrics, on one port.
//!
//! Owns: paths, RabbitMQ's field names and status codes, who may see and change what. Refuses: how the broker works (it is
//! told through [`Caller`]); pages for browsers. What is not here answers 404, never a success that is none.

mod arguments;
mod bindings;
mod connections;
mod definitions;
mod exchanges;
mod health;
mod listing;
mod messages;
mod metrics;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod queues;
mod rates;
mod request;
mod routes;
mod server;
mod users;
mod vhosts;

pub(crate) use server::serve;

use crate::config::{Config, Door, Protocol};
use crate::runtime::caller::Caller;
use crate::runtime::shared::Shared;
use engine::topology::Topology;
use rates::Rates;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What all connections of the door share.
pub(crate) struct AdminDoor {
    shared: Arc<Shared>,
    caller: Caller,
    rates: Rates,
    /// Name of this node, as RabbitMQ's tools want one.
    node: String,
    /// Product name.
    product: String,
    /// The RabbitMQ version that clients are to see.
    version: String,
    /// Name of the cluster.
    cluster: String,
    /// Where the data is.
    data: PathBuf,
    connections_max: usize,
    doors: Vec<(Door, SocketAddr)>,
}

impl AdminDoor {
    /// A door to the broker behind `caller`, whose doors are `doors`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        config: &Config,
        doors: Vec<(Door, SocketAddr)>,
    ) -> Self {
        let (cluster, version) = crate::registry::identity();
        Self {
            shared,
            caller,
            rates: Rates::default(),
            node: format!("{cluster}@localhost"),
            product: config.amqp_product.clone(),
            version,
            cluster,
            data: config.data.clone(),
            connections_max: config.connections_max,
            doors,
        }
    }

    /// Looks at the totals now and then, for rates. Ends with the runtime.
    pub(crate) async fn sample(self: Arc<Self>) {
        loop {
            self.rates.sample(self.shared.now(), self.shared.totals.read());
            tokio::time::sleep(rates::PERIOD).await;
        }
    }

    fn topology(&self) -> Arc<Topology> {
        self.caller.topology()
    }
}

/// RabbitMQ's name of what is spoken at a door.
fn protocol_name(door: &Door) -> &'static str {
    match (door.protocol, door.websocket, door.tls) {
        (Protocol::Amqp, _, false) => "amqp",
        (Protocol::Amqp, _, true) => "amqp/ssl",
        (Protocol::Mqtt, false, false) => "mqtt",
        (Protocol::Mqtt, false, true) => "mqtt/ssl",
        (Protocol::Mqtt, true, false) => "http/web-mqtt",
        (Protocol::Mqtt, true, true) => "https/web-mqtt",
        (Protocol::Stomp, false, false) => "stomp",
        (Protocol::Stomp, false, true) => "stomp/ssl",
        (Protocol::Stomp, true, false) => "http/web-stomp",
        (Protocol::Stomp, true, true) => "https/web-stomp",
        (Protocol::Management, _, false) => "http",
        (Protocol::Management, _, true) => "https",
        (Protocol::Aws, _, false) => "http/aws",
        (Protocol::Aws, _, true) => "https/aws",
    }
}
