//! The protocols and the AWS services: the only file that names them all.

use crate::admin::{self, AdminDoor};
use crate::auth::{Reload, Reloadable};
use crate::aws::{AwsDoor, SubscriptionFilter, serve_connection};
use crate::config::{Config, Door, Protocol};
use crate::runtime::sys_topics::Holdings;
use amqp091::{Amqp091Session, AmqpConfig};
use aws_protocol::arn::Home;
use aws_protocol::behaviour::{BUS_KIND, SNS_KIND, arguments};
use engine::filter::{EventPattern, EventPredicate};
use model::{
    Millis, Name,
    behaviour::{Behaviour, BehaviourFactory, Predicate},
    error::{BrokerError, ErrorKind},
    message::{Message, PropertyCodec},
    session::{Session, SessionSeed},
    value::Table,
};
use mqtt::{AccessLists, Acl, MqttConfig, MqttSession, SysReport, Totals};
use std::sync::Arc;
use stomp::{StompConfig, StompSession};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// The id of the message that a session keeps under a number, if that is what it is.
pub(crate) fn kept_message_id(slot: u32, value: &[u8]) -> Option<Name> {
    mqtt::kept_message_id(slot, value)
}

/// Every property codec, by the tag that it has in the log.
pub(crate) fn codec(tag: &str) -> Option<&'static dyn PropertyCodec> {
    let codecs: [&'static dyn PropertyCodec; 4] =
        [&amqp091::AMQP, &mqtt::MQTT, &stomp::STOMP, &aws_protocol::AWS];
    codecs.into_iter().find(|codec| codec.tag() == tag)
}

/// Room for headers beside the largest body of a STOMP frame.
const STOMP_HEAD_BYTES: usize = 64 * 1024;

/// Room for topic and properties beside the largest body of an MQTT packet.
const MQTT_HEAD_BYTES: usize = 256 * 1024;

/// Makes the session of a new connection, at a time.
pub(crate) type SessionMaker = Box<dyn Fn(SessionSeed, Millis) -> Box<dyn Session> + Send + Sync>;

impl AccessLists for Reloadable<Acl> {
    fn current(&self) -> Arc<Acl> {
        self.now()
    }
}

/// Whether the files that a door's rules name can be used. Errors: one that can not.
pub(crate) fn check_files(door: &Door) -> Result<(), String> {
    door.rules.acl_file.as_ref().map_or(Ok(()), |path| Reloadable::open(path, Acl::parse).map(drop))
}

/// Makers of sessions, and the HTTP doors.
pub(crate) struct Protocols {
    amqp: Arc<AmqpConfig>,
    mqtt: Arc<MqttConfig>,
    stomp: Arc<StompConfig>,
    aws: Arc<AwsDoor>,
    admin: Arc<AdminDoor>,
}

impl Protocols {
    /// The protocols as configured.
    pub(crate) fn new(config: &Config, aws: Arc<AwsDoor>, admin: Arc<AdminDoor>) -> Self {
        let amqp = AmqpConfig {
            product: Name::from(config.amqp_product.as_str()),
            max_message_bytes: config.message_bytes_max,
            external: config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
            ..AmqpConfig::default()
        };
        let mut stomp = StompConfig::default();
        // A frame is a body with its headers.
        stomp.frame.frame_bytes_max = config.message_bytes_max + STOMP_HEAD_BYTES;
        let defaults = MqttConfig::default();
        let packet_bytes_max = config.message_bytes_max + MQTT_HEAD_BYTES;
        let expiry_max_ms = config.mqtt_session_expiry_max_s.map(|max_s| max_s.saturating_mul(1000));
        let mqtt = MqttConfig {
            packet_bytes_max,
            held_bytes_max: defaults.held_bytes_max.max(packet_bytes_max),
            inflight_max: config.mqtt_inflight_max,
            keep_alive_max_s: config.mqtt_keep_alive_max_s,
            session_expiry_max_ms: expiry_max_ms.unwrap_or(defaults.session_expiry_max_ms),
            ..defaults
        };
        Self { amqp: Arc::new(amqp), mqtt: Arc::new(mqtt), stomp: Arc::new(stomp), aws, admin }
    }

    /// What makes the sessions of a door; `None` for what is no session protocol. Files that the door's rules name are
    /// added to `reloads`. Errors: one that can not be used.
    pub(crate) fn sessions(
        &self,
        door: &Door,
        reloads: &mut Vec<Arc<dyn Reload>>,
    ) -> Result<Option<SessionMaker>, String> {
        Ok(Some(match door.protocol {
            Protocol::Amqp => {
                let config = self.amqp.clone();
                Box::new(move |seed, _| Box::new(Amqp091Session::new(config.clone(), seed)))
            }
            Protocol::Mqtt => {
                let config = Arc::new(self.mqtt_of(door, reloads)?);
                Box::new(move |seed, _| Box::new(MqttSession::new(seed, config.clone())))
            }
            Protocol::Stomp => {
                let config = self.stomp.clone();
                Box::new(move |seed, now| Box::new(StompSession::new(config.clone(), seed, now)))
            }
            Protocol::Aws | Protocol::Management => return Ok(None),
        }))
    }

    fn mqtt_of(&self, door: &Door, reloads: &mut Vec<Arc<dyn Reload>>) -> Result<MqttConfig, String> {
        let mut config = MqttConfig::clone(&self.mqtt);
        if let Some(max) = door.rules.packet_bytes_max {
            config.packet_bytes_max = max.min(config.packet_bytes_max);
        }
        if let Some(path) = &door.rules.acl_file {
            let acl = Arc::new(Reloadable::open(path, Acl::parse)?);
            reloads.push(acl.clone());
            config.access = Some(acl);
        }
        Ok(config)
    }

    /// The virtual host of `$SYS`, and what words its messages.
    pub(crate) fn sys_report(
        &self,
        now: Millis,
    ) -> (Name, impl FnMut(&Holdings, Millis) -> Vec<Arc<Message>> + Send + use<>) {
        let version = format!("waystation version {}", env!("CARGO_PKG_VERSION"));
        let mut report = SysReport::new(self.mqtt.clone(), version, now);
        let words = move |holdings: &Holdings, now: Millis| {
            let Holdings { census, retained, queued, queued_bytes, dropped } = *holdings;
            let totals = Totals {
                sessions: census.sessions,
                expired: census.expired,
                subscriptions: census.subscriptions,
                shared_subscriptions: census.shared_subscriptions,
                retained,
                stored: queued + retained,
                stored_bytes: queued_bytes,
                dropped,
            };
            report.changes(&totals, now)
        };
        (self.mqtt.vhost.clone(), words)
    }

    /// Serves a connection of a door that speaks HTTP.
    pub(crate) async fn serve_http<S>(
        &self,
        protocol: Protocol,
        stream: S,
        seed: SessionSeed,
        shutdown: CancellationToken,
    ) -> Name
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match protocol {
            Protocol::Management => admin::serve(stream, self.admin.clone(), seed, shutdown).await,
            _ => serve_connection(stream, self.aws.clone(), seed.tls, shutdown).await,
        }
    }
}

/// Compiles what bindings and exchanges of the protocols' own kinds do to messages: the predicate is the engine's
/// matcher, the transformation the protocol's.
pub(crate) struct Behaviours {
    aws: aws_protocol::Behaviours,
}

impl Behaviours {
    /// The factory of one broker.
    pub(crate) fn new(config: &Config) -> Self {
        let home = Home { account: config.aws_account.clone(), region: config.aws_region.clone() };
        Self { aws: aws_protocol::Behaviours { home } }
    }
}

impl BehaviourFactory for Behaviours {
    fn binding(
        &self,
        vhost: &str,
        kind: &str,
        source: &Name,
        table: &Table,
    ) -> Result<Behaviour, BrokerError> {
        let behaviour = self.aws.binding(vhost, kind, source, table)?.unwrap_or_default();
        let invalid = |reason: String| BrokerError::new(ErrorKind::InvalidArgument, reason);
        let predicate: Option<Arc<dyn Predicate>> = match kind {
            SNS_KIND => match table.str(arguments::FILTER_POLICY) {
                Some(policy) => {
                    let scope = table.str(arguments::FILTER_SCOPE);
                    Some(Arc::new(SubscriptionFilter::compile(policy, scope).map_err(invalid)?))
                }
                None => None,
            },
            BUS_KIND => match table.str(arguments::EVENT_PATTERN) {
                Some(pattern) => {
                    Some(Arc::new(EventPredicate(EventPattern::compile(pattern).map_err(invalid)?)))
                }
                None => None,
            },
            _ => None,
        };
        Ok(Behaviour { predicate, ..behaviour })
    }

    fn exchange(
        &self,
        vhost: &str,
        kind: &str,
        name: &Name,
        _arguments: &Table,
    ) -> Result<Behaviour, BrokerError> {
        Ok(self.aws.exchange(vhost, kind, name).unwrap_or_default())
    }

    fn knows_kind(&self, kind: &str) -> bool {
        self.aws.knows_kind(kind)
    }
}

/// The cluster's name and the RabbitMQ version that AMQP clients are told, for what else tells them so.
pub(crate) fn identity() -> (String, String) {
    let AmqpConfig { cluster_name, version, .. } = AmqpConfig::default();
    (cluster_name.to_string(), version.to_string())
}
