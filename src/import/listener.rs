//! A listener of mosquitto as one of ours.

use super::{Line, quoted};
use std::fmt::Write;

/// Options that belong together: those of one listener, or those before any.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    /// The line that began it; `None` for the options before any listener.
    head: Option<Line>,
    /// Its options in their order.
    pub(super) lines: Vec<Line>,
}

/// The TOML lines of one listener, as they come together.
struct Builder<'a> {
    text: String,
    place: String,
    notes: &'a mut Vec<String>,
}

impl Builder<'_> {
    fn set(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{name} = {value}");
    }

    fn note(&mut self, line: &Line, why: &str) {
        self.notes.push(format!("{}: {}: {why}", line.place, line.option));
    }

    /// Notes options that become nothing.
    fn lose(&mut self, lines: &[Line]) {
        for line in lines {
            let default = matches!(
                (line.option.as_str(), line.value.as_str()),
                ("max_qos", "2")
                    | ("allow_zero_length_clientid", "true")
                    | ("auto_id_prefix", "auto-")
                    | ("socket_domain", "")
                    | ("tls_version", "" | "tlsv1.2")
                    | ("tls_keyform", "" | "pem")
                    | ("use_username_as_clientid" | "proxy_protocol_v2_require_tls", "false")
            );
            if let Some(why) = loss(&line.option).filter(|_| !default) {
                self.note(line, why);
            }
        }
    }
}

/// Why an option of a listener becomes nothing; `None` for one that becomes something.
fn loss(option: &str) -> Option<&'static str> {
    Some(match option {
        "capath" => "name one file with all authorities (client_ca)",
        "crlfile" => "revoked certificates are not looked up",
        "ciphers" | "ciphers_tls1.3" | "tls_version" | "dhparamfile" => {
            "TLS 1.2 and 1.3 with the library's own choice of ciphers are spoken"
        }
        "tls_engine" | "tls_engine_kpass_sha1" | "tls_keyform" => "keys are read from PEM files only",
        "psk_hint" | "psk_file" => "TLS with pre-shared keys (PSK) is not spoken; use certificates",
        "bind_interface" | "socket_domain" => "name the address to listen on instead",
        "http_dir" => "no files are served over HTTP",
        "max_qos" => "all of QoS 0, 1 and 2 are always served",
        "max_topic_alias" => "ten topic aliases are allowed at every listener",
        "mount_point" => "topics are not prefixed by listener",
        "use_username_as_clientid" => "the client identifier is what the client says",
        "websockets_headers_size" => "headers of any reasonable size are read",
        "websockets_origin" => "the Origin header is not looked at",
        "proxy_protocol_v2_require_tls" => "what the load balancer says is taken as it is",
        "allow_zero_length_clientid" => "clients without an identifier are given one, as MQTT says",
        "auto_id_prefix" => "assigned client identifiers begin with auto-",
        "auth_plugin" | "auth_plugin_deny_special_chars" | "plugin" => "there are no plugins",
        _ => return None,
    })
}

impl Section {
    /// Begins with a `listener` line.
    pub(super) fn listener(line: &Line) -> Self {
        Self { head: Some(line.clone()), lines: Vec::new() }
    }

    fn line(&self, option: &str) -> Option<&Line> {
        self.lines.iter().rev().find(|line| line.option == option)
    }

    /// The value given last.
    fn value(&self, option: &str) -> Option<&str> {
        self.line(option).map(|line| line.value.as_str()).filter(|value| !value.is_empty())
    }

    /// The option was given.
    pub(super) fn has(&self, option: &str) -> bool {
        self.line(option).is_some()
    }

    fn is_on(&self, option: &str) -> bool {
        self.value(option) == Some("true")
    }

    /// Notes what becomes nothing of options that are no listener's own.
    pub(super) fn lose(&self, notes: &mut Vec<String>) {
        Builder { text: String::new(), place: String::new(), notes }.lose(&self.lines);
    }

    /// Host and port; `None` for a socket of the file system.
    fn address(&self, local_only: bool) -> Option<String> {
        let given = self.head.as_ref().map(|head| head.value.as_str());
        let mut words = given.unwrap_or_default().split_whitespace();
        let port = words.next().or_else(|| self.value("port")).unwrap_or("1883");
        if port == "0" {
            return None;
        }
        let everywhere = if local_only { "127.0.0.1" } else { "0.0.0.0" };
        let host = words.next().or_else(|| self.value("bind_address")).unwrap_or(everywhere);
        Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }

    /// The listener as TOML; what can not be carried over goes to `notes`. `None` when all of it can not.
    /// `general` holds the options of all listeners.
    pub(super) fn toml(&self, general: &Self, local_only: bool, notes: &mut Vec<String>) -> Option<String> {
        let place =
            self.head.as_ref().map_or("listener".to_owned(), |head| format!("{}: listener", head.place));
        let mut out = Builder { text: "\n[[listeners]]\nprotocol = \"mqtt\"\n".to_owned(), place, notes };
        out.lose(&self.lines);
        let Some(address) = self.address(local_only) else {
            out.notes
                .push(format!("{}: sockets of the file system are not listened on; left out", out.place));
            return None;
        };
        if self.has("psk_hint") || (self.has("psk_file") && !self.has("certfile")) {
            out.notes
                .push(format!("{}: left out, as it would be open without its pre-shared keys", out.place));
            return None;
        }
        match self.value("protocol") {
            None | Some("mqtt") => {}
            Some("websockets") => out.set("websocket", true),
            Some(other) => {
                out.notes.push(format!("{}: protocol {other} is not spoken; left out", out.place));
                return None;
            }
        }
        out.set("address", quoted(&address));
        self.put_tls(&mut out);
        self.put_limits(general, &mut out);
        self.put_entry(general, local_only, &mut out);
        Some(out.text)
    }

    fn put_tls(&self, out: &mut Builder<'_>) {
        let (Some(cert), Some(key)) = (self.value("certfile"), self.value("keyfile")) else { return };
        out.set("cert", quoted(cert));
        out.set("key", quoted(key));
        let (name, subject) = (self.is_on("use_identity_as_username"), self.is_on("use_subject_as_username"));
        let required = self.is_on("require_certificate");
        if !(required || name || subject) {
            return;
        }
        match self.value("cafile") {
            Some(file) => out.set("client_ca", quoted(file)),
            None => {
                out.notes.push(format!(
                    "{}: clients' certificates need cafile; nobody can enter before",
                    out.place
                ));
                return out.set("anonymous", quoted("no"));
            }
        }
        if required {
            out.set("require_certificate", true);
        }
        if name || subject {
            out.set("user_from_certificate", quoted(if subject { "subject" } else { "cn" }));
        }
    }

    fn put_limits(&self, general: &Self, out: &mut Builder<'_>) {
        let number = |option: &str| {
            let value = self.value(option).or_else(|| general.value(option));
            value.and_then(|value| value.parse::<i64>().ok()).filter(|number| *number > 0)
        };
        if let Some(max) = number("max_connections") {
            out.set("connections_max", max);
        }
        if let Some(max) = number("max_packet_size") {
            out.set("packet_bytes_max", max.clamp(20, 268_435_461));
        }
        if let Some("true" | "1" | "2") = self.value("enable_proxy_protocol") {
            out.set("proxy_protocol", true);
        }
    }

    fn put_entry(&self, general: &Self, local_only: bool, out: &mut Builder<'_>) {
        let value = |option: &str| self.value(option).or_else(|| general.value(option));
        let passwords = value("password_file");
        let open = value("allow_anonymous").map_or(local_only, |text| text == "true");
        if !out.text.contains("\nanonymous = ") {
            let word = match (open, passwords) {
                (true, Some(_)) => "yes",
                (true, None) => "any",
                (false, _) => "no",
            };
            out.set("anonymous", quoted(word));
        }
        if !open && passwords.is_none() && !out.text.contains("user_from_certificate") {
            out.notes.push(format!(
                "{}: mosquitto lets nobody in here (no password_file, allow_anonymous is false); users of this \
                 broker's configuration may enter",
                out.place
            ));
        }
        if let Some(file) = passwords {
            out.set("password_file", quoted(file));
        }
        if let Some(file) = value("acl_file") {
            out.set("acl_file", quoted(file));
        }
    }
}
