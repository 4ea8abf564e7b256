//! Configuration: one table of settings, each with its file key, flag, variable, default and help in one row.
//!
//! Raw text comes from three places (file, then `WAYSTATION_*` variables, then flags; later wins) and is validated
//! once into [`Config`]. Unknown keys are refused with the nearest known one.

use crate::auth::User;
use crate::listeners::Listener;
use engine::topology::settings::Durability;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// One setting, everywhere it can be set.
pub struct Setting {
    /// Dotted key in the file.
    pub key: &'static str,
    /// Flag without dashes; the variable is `WAYSTATION_` and this in capitals with underscores.
    pub flag: &'static str,
    /// Value when nobody says anything; empty is off or none.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
}

macro_rules! settings {
    ($($key:literal $flag:literal $default:literal $help:literal;)*) => {
        /// Every setting that has a single value.
        pub const SETTINGS: &[Setting] =
            &[$(Setting { key: $key, flag: $flag, default: $default, help: $help }),*];
    };
}

settings! {
    "data" "data" "./data" "directory of the log";
    "listen.amqp" "amqp-listen" "127.0.0.1:5672" "AMQP 0-9-1";
    "listen.amqps" "amqps-listen" "" "AMQP 0-9-1 over TLS";
    "listen.mqtt" "mqtt-listen" "127.0.0.1:1883" "MQTT";
    "listen.mqtts" "mqtts-listen" "" "MQTT over TLS";
    "listen.mqtt_ws" "mqtt-ws-listen" "127.0.0.1:15675" "MQTT over WebSocket";
    "listen.mqtt_wss" "mqtt-wss-listen" "" "MQTT over WebSocket and TLS";
    "listen.stomp" "stomp-listen" "127.0.0.1:61613" "STOMP";
    "listen.stomps" "stomps-listen" "" "STOMP over TLS";
    "listen.stomp_ws" "stomp-ws-listen" "127.0.0.1:15674" "STOMP over WebSocket";
    "listen.stomp_wss" "stomp-wss-listen" "" "STOMP over WebSocket and TLS";
    "listen.aws" "aws-listen" "127.0.0.1:4566" "SQS, SNS, EventBridge, Kinesis, STS";
    "listen.aws_tls" "aws-tls-listen" "" "the same over TLS";
    "listen.management" "management-listen" "127.0.0.1:15672" "management HTTP API";
    "listen.management_tls" "management-tls-listen" "" "management HTTP API over TLS";
    "tls.cert" "tls-cert" "" "certificate chain, PEM";
    "tls.key" "tls-key" "" "private key, PEM";
    "tls.client_ca" "tls-client-ca" "" "CA that client certificates must come from, PEM";
    "limits.message_bytes" "message-bytes-max" "16777216" "largest message body of AMQP, MQTT and STOMP";
    "limits.connections" "connections-max" "100000" "most client connections";
    "limits.memory_bytes" "memory-bytes-max" "0" "message bytes held before publishers wait; 0 is 40% of RAM";
    "log.segment_bytes" "log-segment-bytes" "67108864" "size of a log segment";
    "log.budget_bytes" "log-budget-bytes" "1073741824" "log size from which dead segments are cleaned";
    "log.snapshot_bytes" "log-snapshot-bytes" "134217728" "log between two snapshots of the state; at most budget / 4";
    "log.page_bytes" "log-page-bytes" "8388608" "size of the files that hold the middle of a long queue or stream";
    "durability" "durability" "always" "confirm messages when they are on the disk: always, or interval";
    "durability_interval_ms" "durability-interval-ms" "1000" "most that durability interval may lose, milliseconds";
    "workers" "workers" "0" "queue workers; 0 is half the cores";
    "aws.region" "aws-region" "us-east-1" "region of vhost /";
    "aws.account" "aws-account" "000000000000" "account of vhost /";
    "amqp.product" "amqp-product" "Waystation" "product name told to AMQP clients";
    "mqtt.anonymous" "mqtt-anonymous" "loopback" "MQTT without a user name: loopback, yes, no; any: whatever name";
    "mqtt.password_file" "mqtt-password-file" "" "users of MQTT, as mosquitto_passwd writes them";
    "mqtt.acl_file" "mqtt-acl-file" "" "who may publish and read which topics, as in mosquitto";
    "mqtt.inflight_max" "mqtt-inflight-max" "1000" "QoS 1 and 2 messages on their way to one client at once";
    "mqtt.keep_alive_max" "mqtt-keep-alive-max" "0" "longest keep-alive, seconds; 0 leaves it to the client";
    "mqtt.session_expiry_max" "mqtt-session-expiry-max" "0" "longest life of a session without its client, seconds; 0: ever";
    "mqtt.sys_interval" "mqtt-sys-interval" "10" "seconds between updates of $SYS; 0 is off";
    "log.level" "log-level" "info" "error, warn, info, debug or trace";
}

/// The configuration, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Data directory.
    pub data: PathBuf,
    /// Listening doors in the order of [`SETTINGS`].
    pub doors: Vec<Door>,
    /// Certificate, key and client CA, when TLS is on.
    pub tls: Option<TlsFiles>,
    /// Largest message body, bytes.
    pub message_bytes_max: usize,
    /// Most client connections.
    pub connections_max: usize,
    /// Message bytes in memory before publishers wait.
    pub memory_bytes_max: u64,
    /// Log segment size, bytes.
    pub segment_bytes: u64,
    /// Log size above which cleaning begins, bytes.
    pub log_budget_bytes: u64,
    /// Log between two snapshots, bytes.
    pub snapshot_bytes: u64,
    /// Messages in one page file, bytes.
    pub page_bytes: u64,
    /// When messages are confirmed.
    pub durability: Durability,
    /// Between two syncs of what nobody waits for, milliseconds.
    pub durability_interval_ms: u64,
    /// Queue workers.
    pub workers: u16,
    /// AWS region of the default vhost.
    pub aws_region: String,
    /// AWS account of the default vhost.
    pub aws_account: String,
    /// AWS access keys; none accepts any key on loopback.
    pub aws_keys: Vec<AwsKey>,
    /// Product name in AMQP server properties.
    pub amqp_product: String,
    /// QoS 1 and 2 messages on their way to one MQTT client at once.
    pub mqtt_inflight_max: u16,
    /// Longest keep-alive of MQTT clients, seconds; `None` leaves it to them.
    pub mqtt_keep_alive_max_s: Option<u16>,
    /// Longest life of an MQTT session without its client, seconds; `None` for ever.
    pub mqtt_session_expiry_max_s: Option<u64>,
    /// Seconds between updates of `$SYS`; 0 for none.
    pub mqtt_sys_interval_s: u64,
    /// Users besides the built-in guest, or instead of it when any is configured.
    pub users: Vec<User>,
    /// Virtual hosts that exist.
    pub vhosts: Vec<String>,
    /// Log level.
    pub log_level: tracing::Level,
}

/// What is spoken at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp,
    /// MQTT 3.1, 3.1.1, 5.0.
    Mqtt,
    /// STOMP 1.0, 1.1, 1.2.
    Stomp,
    /// The AWS APIs.
    Aws,
    /// The management HTTP API.
    Management,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// File key, for messages.
    pub key: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// What.
    pub protocol: Protocol,
    /// Over TLS.
    pub tls: bool,
    /// Over WebSocket.
    pub websocket: bool,
    /// Who may enter, and how.
    pub rules: Arc<DoorRules>,
}

/// What may differ from door to door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorRules {
    /// Certificate, key and client CA.
    pub tls: Option<TlsFiles>,
    /// What a client's certificate is good for.
    pub certificate: CertificateUser,
    /// Connections begin with a PROXY header.
    pub proxy: bool,
    /// Most connections here.
    pub connections_max: Option<usize>,
    /// Largest MQTT packet, bytes.
    pub packet_bytes_max: Option<usize>,
    /// Who may use MQTT without a name.
    pub anonymous: Anonymous,
    /// Users of MQTT, in place of the broker's.
    pub password_file: Option<PathBuf>,
    /// Who may publish and read which MQTT topics.
    pub acl_file: Option<PathBuf>,
}

/// What a client's certificate, once it is verified, is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUser {
    /// Its common name may be that of a configured user.
    Configured,
    /// Its common name is the user, whoever that is.
    CommonName,
    /// Its subject is the user, whoever that is.
    Subject,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// CA for client certificates.
    pub client_ca: Option<PathBuf>,
    /// Clients must show one.
    pub require_certificate: bool,
}

/// An AWS access key.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKey {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Account that it acts for.
    pub account: Option<String>,
}

impl std::fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AwsKey({}, ***)", self.id)
    }
}

/// Who may enter without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Peers on loopback.
    Loopback,
    /// Everyone.
    Yes,
    /// Everyone, and with any name and password too.
    Any,
    /// Nobody.
    No,
}

impl Anonymous {
    /// Reads the word of the configuration.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "loopback" => Self::Loopback,
            "yes" | "true" => Self::Yes,
            "any" => Self::Any,
            "no" | "false" => Self::No,
            _ => return None,
        })
    }
}

/// What was said, before validation.
#[derive(Debug, Default)]
pub struct Raw {
    values: BTreeMap<&'static str, String>,
    users: Vec<User>,
    aws_keys: Vec<AwsKey>,
    vhosts: Vec<String>,
    listeners: Vec<Listener>,
}

impl Raw {
    /// Sets `key` (dotted) from any source; `origin` is named in the error.
    pub fn set(&mut self, key: &str, value: String, origin: &str) -> Result<(), String> {
        match SETTINGS.iter().find(|setting| setting.key == key) {
            Some(setting) => {
                self.values.insert(setting.key, value);
                Ok(())
            }
            None if LISTS.contains(&key) => Err(format!("{origin}: {key} must be a list")),
            None => Err(unknown(key, origin, SETTINGS.iter().map(|s| s.key).chain(LISTS.iter().copied()))),
        }
    }

    /// Reads a TOML file's text.
    pub fn read_toml(&mut self, text: &str, origin: &str) -> Result<(), String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("{origin}: line {}: {}", before.matches('\n').count() + 1, error.message())
        })?;
        self.read_table("", table, origin)
    }

    fn read_table(&mut self, prefix: &str, table: toml::Table, origin: &str) -> Result<(), String> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            let problem = |error: toml::de::Error| format!("{origin}: {key}: {}", error.message());
            match value {
                toml::Value::Array(_) if key == "users" => self.users = value.try_into().map_err(problem)?,
                toml::Value::Array(_) if key == "aws.keys" => {
                    self.aws_keys = value.try_into().map_err(problem)?
                }
                toml::Value::Array(_) if key == "listeners" => {
                    self.listeners = value.try_into().map_err(problem)?
                }
                toml::Value::Array(_) if key == "vhosts" => {
                    self.vhosts = value.try_into().map_err(problem)?
                }
                toml::Value::Table(inner) if !LISTS.contains(&key.as_str()) => {
                    self.read_table(&key, inner, origin)?
                }
                toml::Value::String(text) => self.set(&key, text, origin)?,
                other => self.set(&key, other.to_string(), origin)?,
            }
        }
        Ok(())
    }

    fn text(&self, key: &'static str) -> &str {
        let default = || SETTINGS.iter().find(|s| s.key == key).map_or("", |s| s.default);
        self.values.get(key).map_or_else(default, String::as_str)
    }

    fn number<N: std::str::FromStr>(&self, key: &'static str) -> Result<N, String> {
        let text = self.text(key);
        text.parse().map_err(|_| format!("{key}: '{text}' is not a whole number in range"))
    }

    fn number_in(&self, key: &'static str, range: RangeInclusive<u64>) -> Result<u64, String> {
        let number = self.number(key)?;
        if range.contains(&number) {
            return Ok(number);
        }
        Err(format!("{key}: {number} is not between {} and {}", range.start(), range.end()))
    }

    /// Checks everything and fills in what depends on the machine.
    pub fn validate(self) -> Result<Config, String> {
        let tls = self.tls_files()?;
        let doors = self.doors(tls.as_ref())?;
        if let Some(door) = doors.iter().find(|door| door.tls && door.rules.tls.is_none()) {
            return Err(format!("{} needs tls.cert and tls.key", door.key));
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = match self.number_in("workers", 0..=256)? {
            0 => (cores / 2).clamp(1, 16) as u16,
            some => some as u16,
        };
        let memory_bytes_max = match self.number("limits.memory_bytes")? {
            0 => ram_bytes() / 10 * 4,
            some => some,
        };
        if self.text("data").is_empty() {
            return Err("data: name a directory".to_owned());
        }
        Ok(Config {
            data: self.text("data").into(),
            tls,
            message_bytes_max: self.number_in("limits.message_bytes", 1..=MESSAGE_BYTES_HIGHEST)? as usize,
            connections_max: self.number_in("limits.connections", 1..=CONNECTIONS_HIGHEST)? as usize,
            memory_bytes_max,
            segment_bytes: self.number_in("log.segment_bytes", 1 << 20..=1 << 30)?,
            log_budget_bytes: self.number("log.budget_bytes")?,
            snapshot_bytes: self.number_in("log.snapshot_bytes", 1 << 20..=1 << 40)?,
            page_bytes: self.number_in("log.page_bytes", 1 << 16..=1 << 30)?,
            durability: self.durability()?,
            durability_interval_ms: self
                .number_in("durability_interval_ms", 1..=DURABILITY_INTERVAL_HIGHEST)?,
            workers,
            aws_region: self.text("aws.region").to_owned(),
            aws_account: self.account()?,
            amqp_product: self.text("amqp.product").to_owned(),
            mqtt_inflight_max: self.number_in("mqtt.inflight_max", 1..=65_535)? as u16,
            mqtt_keep_alive_max_s: Some(self.number_in("mqtt.keep_alive_max", 0..=65_535)? as u16)
                .filter(|max| *max > 0),
            mqtt_session_expiry_max_s: Some(self.number_in("mqtt.session_expiry_max", 0..=1 << 40)?)
                .filter(|max| *max > 0),
            mqtt_sys_interval_s: self.number_in("mqtt.sys_interval", 0..=86_400)?,
            log_level: self.text("log.level").parse().map_err(|_| {
                format!("log.level: '{}' is none of error, warn, info, debug, trace", self.text("log.level"))
            })?,
            doors,
            aws_keys: self.aws_keys,
            users: self.users,
            vhosts: self.vhosts,
        })
    }

    fn account(&self) -> Result<String, String> {
        let account = self.text("aws.account");
        if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(account.to_owned());
        }
        Err(format!("aws.account: '{account}' is not 12 digits"))
    }

    fn durability(&self) -> Result<Durability, String> {
        match self.text("durability") {
            "always" => Ok(Durability::Always),
            "interval" => Ok(Durability::Interval),
            other => Err(format!("durability: '{other}' is none of always, interval")),
        }
    }

    fn anonymous(&self) -> Result<Anonymous, String> {
        let text = self.text("mqtt.anonymous");
        Anonymous::parse(text)
            .ok_or_else(|| format!("mqtt.anonymous: '{text}' is none of loopback, yes, any, no"))
    }

    fn file(&self, key: &'static str) -> Option<PathBuf> {
        Some(self.text(key)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    fn tls_files(&self) -> Result<Option<TlsFiles>, String> {
        match (self.file("tls.cert"), self.file("tls.key")) {
            (Some(cert), Some(key)) => {
                let client_ca = self.file("tls.client_ca");
                Ok(Some(TlsFiles { cert, key, client_ca, require_certificate: false }))
            }
            (None, None) => Ok(None),
            _ => Err("tls.cert and tls.key belong together: set both".to_owned()),
        }
    }

    fn doors(&self, tls: Option<&TlsFiles>) -> Result<Vec<Door>, String> {
        let rules = DoorRules {
            tls: tls.cloned(),
            certificate: CertificateUser::Configured,
            proxy: false,
            connections_max: None,
            packet_bytes_max: None,
            anonymous: self.anonymous()?,
            password_file: self.file("mqtt.password_file"),
            acl_file: self.file("mqtt.acl_file"),
        };
        let shared = Arc::new(rules.clone());
        let mut doors = Vec::new();
        for setting in SETTINGS {
            let Some(name) = setting.key.strip_prefix("listen.") else { continue };
            let text = self.text(setting.key);
            if text.is_empty() || text == "off" {
                continue;
            }
            let address = text.parse().map_err(|_| {
                format!("{}: '{text}' is not an address like 127.0.0.1:5672 (or \"off\")", setting.key)
            })?;
            let protocol = match name.get(..3) {
                Some("amq") => Protocol::Amqp,
                Some("mqt") => Protocol::Mqtt,
                Some("sto") => Protocol::Stomp,
                Some("man") => Protocol::Management,
                _ => Protocol::Aws,
            };
            doors.push(Door {
                key: setting.key,
                name: setting.help,
                address,
                protocol,
                tls: matches!(
                    name,
                    "amqps" | "mqtts" | "mqtt_wss" | "stomps" | "stomp_wss" | "aws_tls" | "management_tls"
                ),
                websocket: name.contains("_ws"),
                rules: shared.clone(),
            });
        }
        for listener in &self.listeners {
            doors.push(listener.door(tls, &rules)?);
        }
        Ok(doors)
    }
}

/// Highest limit for a message body: what one MQTT packet (256 MiB) can carry beside its head.
const MESSAGE_BYTES_HIGHEST: u64 = 255 << 20;
/// Highest limit for connections; the system's limit for open files is reached long before.
const CONNECTIONS_HIGHEST: u64 = 10_000_000;
/// An hour.
const DURABILITY_INTERVAL_HIGHEST: u64 = 3_600_000;

/// Keys of the file that hold lists.
const LISTS: &[&str] = &["users", "aws.keys", "vhosts", "listeners"];

/// The sentence for an unknown name, with the nearest known one.
pub fn unknown<'a>(name: &str, origin: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.min_by_key(|candidate| distance(name, candidate)).unwrap_or_default();
    format!("{origin}: unknown setting '{name}'; did you mean '{nearest}'?")
}

/// Edit distance (Levenshtein), for names of settings.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Physical memory; 4 GiB when the system does not say.
fn ram_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or(4u64 << 20) * 1024
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(toml: &str) -> Result<Config, String> {
        let mut raw = Raw::default();
        raw.read_toml(toml, "test.toml")?;
        raw.validate()
    }

    #[test]
    fn defaults_are_valid_and_on_loopback() {
        let config = check("").unwrap();
        assert!(config.doors.iter().all(|door| door.address.ip().is_loopback() && !door.tls));
        assert_eq!(config.doors.len(), 7);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let error = check("[listen]\nampq = \"127.0.0.1:1\"").unwrap_err();
        assert_eq!(error, "test.toml: unknown setting 'listen.ampq'; did you mean 'listen.amqp'?");
        assert!(check("[listen]\namqp = \"here\"").unwrap_err().contains("not an address"));
        assert!(check("[listen]\namqps = \"127.0.0.1:1\"").unwrap_err().contains("tls.cert"));
        assert!(check("[[users]]\nname = \"a\"\npasswrd = \"b\"").unwrap_err().contains("passwrd"));
        assert!(check("workers = -1").unwrap_err().contains("workers"));
        assert_eq!(check("workers = 257").unwrap_err(), "workers: 257 is not between 0 and 256");
        assert_eq!(check("users = 3").unwrap_err(), "test.toml: users must be a list");
        assert_eq!(check("[aws.keys]\nid = \"k\"").unwrap_err(), "test.toml: aws.keys must be a list");
        assert!(check("data = \"d\"\nbroken").unwrap_err().starts_with("test.toml: line 2: "));
        assert!(check("data = \"\"").unwrap_err().contains("name a directory"));
    }

    #[test]
    fn reads_lists_and_tables() {
        let config = check(
            "vhosts = [\"/\", \"b\"]\n[[users]]\nname = \"a\"\npassword = \"b\"\n\
             [[aws.keys]]\nid = \"k\"\nsecret = \"s\"\n[limits]\nmessage_bytes = 10",
        )
        .unwrap();
        assert_eq!((config.users.len(), config.aws_keys.len(), config.vhosts.len()), (1, 1, 2));
        assert_eq!(config.message_bytes_max, 10);
    }
}
