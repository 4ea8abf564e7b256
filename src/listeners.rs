//! `[[listeners]]` of the configuration: further doors, each with rules of its own.

use crate::config::{Anonymous, CertificateUser, Door, DoorRules, Protocol, TlsFiles};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

/// Most connections that one listener may be limited to.
const CONNECTIONS_HIGHEST: usize = 10_000_000;

/// A listener as the file says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// `amqp`, `mqtt`, `stomp` or `aws`.
    pub protocol: String,
    /// `host:port`.
    pub address: String,
    /// Over WebSocket.
    pub websocket: bool,
    /// Over TLS; also when `cert` is given.
    pub tls: bool,
    /// Certificate chain in place of `tls.cert`, PEM.
    pub cert: Option<PathBuf>,
    /// Private key in place of `tls.key`, PEM.
    pub key: Option<PathBuf>,
    /// CA that client certificates must come from in place of `tls.client_ca`, PEM.
    pub client_ca: Option<PathBuf>,
    /// Clients without a certificate may not enter.
    pub require_certificate: bool,
    /// `cn` or `subject` of the certificate is the user (MQTT).
    pub user_from_certificate: Option<String>,
    /// Every connection begins with a PROXY header, version 1 or 2, that names the client.
    pub proxy_protocol: bool,
    /// Most connections here.
    pub connections_max: Option<usize>,
    /// Largest packet, bytes (MQTT).
    pub packet_bytes_max: Option<usize>,
    /// As `mqtt.anonymous` (MQTT).
    pub anonymous: Option<String>,
    /// As `mqtt.password_file` (MQTT).
    pub password_file: Option<PathBuf>,
    /// As `mqtt.acl_file` (MQTT).
    pub acl_file: Option<PathBuf>,
}

impl Listener {
    /// The door that it makes; `tls` is the broker's own, `rules` what holds where this listener says nothing.
    /// Errors: what is wrong, beginning with the listener's address.
    pub(crate) fn door(&self, tls: Option<&TlsFiles>, rules: &DoorRules) -> Result<Door, String> {
        self.build(tls, rules).map_err(|what| format!("listeners: '{}': {what}", self.address))
    }

    fn build(&self, tls: Option<&TlsFiles>, rules: &DoorRules) -> Result<Door, String> {
        let (protocol, names) = match self.protocol.as_str() {
            "amqp" => (Protocol::Amqp, ["AMQP 0-9-1", "AMQP 0-9-1 over TLS", "", ""]),
            "mqtt" => {
                let websocket = ["MQTT over WebSocket", "MQTT over WebSocket and TLS"];
                (Protocol::Mqtt, ["MQTT", "MQTT over TLS", websocket[0], websocket[1]])
            }
            "stomp" => {
                let websocket = ["STOMP over WebSocket", "STOMP over WebSocket and TLS"];
                (Protocol::Stomp, ["STOMP", "STOMP over TLS", websocket[0], websocket[1]])
            }
            "aws" => (Protocol::Aws, ["AWS APIs", "AWS APIs over TLS", "", ""]),
            other => return Err(format!("protocol '{other}' is none of amqp, mqtt, stomp, aws")),
        };
        let secure = self.tls || self.cert.is_some();
        let kind = usize::from(secure) + 2 * usize::from(self.websocket);
        let name = names.get(kind).copied().filter(|name| !name.is_empty());
        let rules = self.rules(protocol, tls, rules, secure)?;
        Ok(Door {
            key: "listeners",
            name: name.ok_or("this protocol has no WebSocket form")?,
            address: self.socket_address()?,
            protocol,
            tls: secure,
            websocket: self.websocket,
            rules: Arc::new(rules),
        })
    }

    fn socket_address(&self) -> Result<SocketAddr, String> {
        let wrong = "not an address like 127.0.0.1:1883".to_owned();
        if let Ok(address) = self.address.parse() {
            return Ok(address);
        }
        // Names are looked up: mosquitto's files say localhost.
        self.address.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or(wrong)
    }

    fn rules(
        &self,
        protocol: Protocol,
        tls: Option<&TlsFiles>,
        broker: &DoorRules,
        secure: bool,
    ) -> Result<DoorRules, String> {
        let of_mqtt = [
            ("anonymous", self.anonymous.is_some()),
            ("password_file", self.password_file.is_some()),
            ("acl_file", self.acl_file.is_some()),
            ("packet_bytes_max", self.packet_bytes_max.is_some()),
            ("user_from_certificate", self.user_from_certificate.is_some()),
        ];
        if protocol != Protocol::Mqtt
            && let Some((name, _)) = of_mqtt.iter().find(|(_, given)| *given)
        {
            return Err(format!("{name} is for protocol mqtt only"));
        }
        if !secure && (self.key.is_some() || self.client_ca.is_some() || self.require_certificate) {
            return Err("key, client_ca and require_certificate need cert, or tls = true".to_owned());
        }
        let certificate = match self.user_from_certificate.as_deref() {
            None => CertificateUser::Configured,
            Some("cn") => CertificateUser::CommonName,
            Some("subject") => CertificateUser::Subject,
            Some(other) => return Err(format!("user_from_certificate: '{other}' is neither cn nor subject")),
        };
        let files = if secure { Some(self.tls_files(tls)?) } else { None };
        let shows = files.as_ref().is_some_and(|files| files.client_ca.is_some());
        if !shows && (self.require_certificate || certificate != CertificateUser::Configured) {
            return Err("certificates of clients need client_ca".to_owned());
        }
        if self.connections_max.is_some_and(|max| max == 0 || max > CONNECTIONS_HIGHEST) {
            return Err(format!("connections_max is not between 1 and {CONNECTIONS_HIGHEST}"));
        }
        if self.packet_bytes_max.is_some_and(|max| !(20..=268_435_461).contains(&max)) {
            return Err("packet_bytes_max is not between 20 and 268435461".to_owned());
        }
        Ok(DoorRules {
            tls: files,
            certificate,
            proxy: self.proxy_protocol,
            connections_max: self.connections_max,
            packet_bytes_max: self.packet_bytes_max,
            anonymous: match &self.anonymous {
                Some(text) => Anonymous::parse(text).ok_or("anonymous is none of loopback, yes, any, no")?,
                None => broker.anonymous,
            },
            password_file: self.password_file.clone().or_else(|| broker.password_file.clone()),
            acl_file: self.acl_file.clone().or_else(|| broker.acl_file.clone()),
        })
    }

    fn tls_files(&self, broker: Option<&TlsFiles>) -> Result<TlsFiles, String> {
        let client_ca = self.client_ca.clone();
        let require_certificate = self.require_certificate;
        match (&self.cert, &self.key, broker) {
            (Some(cert), Some(key), _) => {
                Ok(TlsFiles { cert: cert.clone(), key: key.clone(), client_ca, require_certificate })
            }
            (None, None, Some(tls)) => {
                let client_ca = client_ca.or_else(|| tls.client_ca.clone());
                Ok(TlsFiles { client_ca, require_certificate, ..tls.clone() })
            }
            (None, None, None) => Err("needs cert and key, here or in [tls]".to_owned()),
            _ => Err("cert and key belong together: set both".to_owned()),
        }
    }
}
