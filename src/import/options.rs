//! What becomes of each option of mosquitto 2.

/// What becomes of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The broker does so anyway.
    Same,
    /// A setting of the whole broker.
    Broker(&'static str, String),
    /// Something about listeners.
    Listener,
    /// Nothing, and why.
    Lost(&'static str),
}

/// Options that mosquitto has per listener in any case.
const ONE_LISTENER: &[&str] = &[
    "bind_interface",
    "cafile",
    "capath",
    "certfile",
    "ciphers",
    "ciphers_tls1.3",
    "crlfile",
    "dhparamfile",
    "http_dir",
    "keyfile",
    "max_connections",
    "max_qos",
    "max_topic_alias",
    "mount_point",
    "protocol",
    "psk_hint",
    "require_certificate",
    "socket_domain",
    "tls_engine",
    "tls_engine_kpass_sha1",
    "tls_keyform",
    "tls_version",
    "use_identity_as_username",
    "use_subject_as_username",
    "use_username_as_clientid",
    "websockets_headers_size",
    "websockets_origin",
    "enable_proxy_protocol",
    "proxy_protocol_v2_require_tls",
    "port",
    "bind_address",
];

/// Options that are one listener's only with `per_listener_settings true`.
const SECURITY: &[&str] = &[
    "acl_file",
    "allow_anonymous",
    "allow_zero_length_clientid",
    "auto_id_prefix",
    "password_file",
    "psk_file",
    "auth_plugin",
    "auth_plugin_deny_special_chars",
    "plugin",
];

/// The option belongs to the listener before it, whatever `per_listener_settings` says.
pub(super) fn of_one_listener(option: &str) -> bool {
    ONE_LISTENER.contains(&option)
}

/// The option may follow `connection`.
pub(super) fn of_bridge(option: &str) -> bool {
    const OPTIONS: &[&str] = &[
        "address",
        "addresses",
        "cleansession",
        "clientid",
        "keepalive_interval",
        "local_cleansession",
        "local_clientid",
        "local_password",
        "local_username",
        "notification_topic",
        "notifications",
        "notifications_local_only",
        "password",
        "remote_clientid",
        "remote_password",
        "remote_username",
        "restart_timeout",
        "round_robin",
        "start_type",
        "threshold",
        "topic",
        "try_private",
        "username",
        "idle_timeout",
    ];
    option.starts_with("bridge_") || OPTIONS.contains(&option)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// What becomes of `option value`.
pub(super) fn fate(option: &str, value: &str) -> Fate {
    if ONE_LISTENER.contains(&option) || SECURITY.contains(&option) {
        return Fate::Listener;
    }
    match (option, value) {
        ("max_packet_size", _) => Fate::Listener,
        ("per_listener_settings", _) | ("persistence" | "retain_available" | "set_tcp_nodelay", "true") => {
            Fate::Same
        }
        ("sys_interval", _) => match number(value) {
            Some(seconds) => Fate::Broker("mqtt.sys_interval", seconds.min(86_400).to_string()),
            None => Fate::Lost("not a number"),
        },
        ("message_size_limit", "0") => Fate::Broker("limits.message_bytes", "267386880".to_owned()),
        ("message_size_limit", _) => match number(value) {
            Some(bytes) => Fate::Broker("limits.message_bytes", bytes.clamp(1, 255 << 20).to_string()),
            None => Fate::Lost("not a number"),
        },
        ("max_inflight_messages", _) => match number(value) {
            Some(0) => Fate::Broker("mqtt.inflight_max", "65535".to_owned()),
            Some(count) => Fate::Broker("mqtt.inflight_max", count.min(65_535).to_string()),
            None => Fate::Lost("not a number"),
        },
        ("max_keepalive", _) => match number(value) {
            Some(0 | 65_535) => Fate::Same,
            Some(seconds) => Fate::Broker("mqtt.keep_alive_max", seconds.min(65_535).to_string()),
            None => Fate::Lost("not a number"),
        },
        ("persistent_client_expiration", _) => match expiration(value) {
            Some(seconds) => Fate::Broker("mqtt.session_expiry_max", seconds.to_string()),
            None => Fate::Lost("not a number of hours, days, weeks, months or years like 14d"),
        },
        ("log_type", "debug" | "all" | "subscribe" | "unsubscribe" | "websockets") => {
            Fate::Broker("log.level", "\"debug\"".to_owned())
        }
        ("log_type", "error" | "warning" | "notice" | "information") => Fate::Same,
        _ => Fate::Lost(loss(option)),
    }
}

/// Seconds of `14d` and the like.
fn expiration(text: &str) -> Option<u64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "m" => 30 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    number(count)?.checked_mul(seconds)
}

/// Why an option becomes nothing.
fn loss(option: &str) -> &'static str {
    match option {
        "persistence" => "what is durable is always on disk here; QoS 0 and clean sessions never are",
        "persistence_location" => "name a new folder with data; mosquitto.db is not read",
        "persistence_file" | "autosave_interval" | "autosave_on_changes" => {
            "everything is written to a log as it happens; there is nothing to save now and then"
        }
        "max_queued_messages" | "max_queued_bytes" => {
            "a session's queue is limited by memory and disk only, and publishers wait when they run out"
        }
        "max_inflight_bytes" => "messages in flight are limited by number (max_inflight_messages) only",
        "queue_qos0_messages" => "QoS 0 is not kept for clients that are away",
        "upgrade_outgoing_qos" => "the lower QoS of message and subscription is used, as MQTT says",
        "retain_available" => "retained messages can not be switched off",
        "check_retain_source" => "retained messages are looked at on delivery, not who published them",
        "memory_limit" => "limits.memory_bytes is about messages held in memory; choose it yourself",
        "user" | "pid_file" => "the broker runs as whoever starts it; see to it where you start it",
        "log_dest"
        | "log_facility"
        | "log_timestamp"
        | "log_timestamp_format"
        | "websockets_log_level"
        | "connection_messages" => "the log goes to standard output; log.level says how much",
        "clientid_prefixes" => "client identifiers are not restricted; use an access list with %c",
        "set_tcp_nodelay" => "small packets are always sent at once",
        "bridge_attempt_unsubscribe" | "bridge_protocol_version" | "bridge_outgoing_retain" => {
            "there are no bridges yet"
        }
        "plugin_opt_config_file" | "auth_opt" => "there are no plugins",
        _ if option.starts_with("auth_opt_") || option.starts_with("plugin_opt_") => "there are no plugins",
        _ => "not known",
    }
}
