//! Whole files in, whole configurations out, which have to be valid.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::config::{Anonymous, CertificateUser, Config, Raw};

fn import(text: &str) -> (Imported, Config) {
    let lines: Vec<Line> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let (option, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            Line {
                place: format!("m:{}", index + 1),
                option: option.to_owned(),
                value: value.trim().to_owned(),
            }
        })
        .collect();
    let imported = convert(&lines);
    let mut raw = Raw::default();
    raw.read_toml(&imported.toml, "made").unwrap();
    let config = raw.validate().unwrap_or_else(|error| panic!("{error}:\n{}", imported.toml));
    (imported, config)
}

fn mqtt(config: &Config) -> Vec<&crate::config::Door> {
    config.doors.iter().filter(|door| door.protocol == crate::config::Protocol::Mqtt).collect()
}

#[test]
fn nothing_is_loopback_and_open() {
    let (imported, config) = import("");
    let doors = mqtt(&config);
    assert_eq!((doors.len(), doors[0].address), (1, "127.0.0.1:1883".parse().unwrap()));
    assert_eq!(doors[0].rules.anonymous, Anonymous::Any);
    assert!(imported.notes.is_empty(), "{:?}", imported.notes);
}

#[test]
fn a_usual_file() {
    let (imported, config) = import(
        "persistence true
         sys_interval 30
         message_size_limit 1000
         max_inflight_messages 50
         max_keepalive 600
         persistent_client_expiration 14d
         max_packet_size 2000
         password_file /etc/mosquitto/my passwords
         acl_file /etc/mosquitto/acl
         listener 1883
         listener 8883 ::1
         cafile /ca.pem
         certfile /cert.pem
         keyfile /key.pem
         require_certificate true
         use_identity_as_username true
         max_connections 10
         listener 9001 127.0.0.1
         protocol websockets",
    );
    assert!(imported.notes.is_empty(), "{:?}", imported.notes);
    assert_eq!(
        (config.mqtt_sys_interval_s, config.message_bytes_max, config.mqtt_inflight_max),
        (30, 1000, 50)
    );
    assert_eq!(config.mqtt_keep_alive_max_s, Some(600));
    assert_eq!(config.mqtt_session_expiry_max_s, Some(14 * 86_400));
    let doors = mqtt(&config);
    assert_eq!(
        doors.iter().map(|door| (door.address.to_string(), door.tls, door.websocket)).collect::<Vec<_>>(),
        [
            ("0.0.0.0:1883".to_owned(), false, false),
            ("[::1]:8883".to_owned(), true, false),
            ("127.0.0.1:9001".to_owned(), false, true)
        ]
    );
    for door in &doors {
        assert_eq!(door.rules.password_file.as_deref(), Some(Path::new("/etc/mosquitto/my passwords")));
        assert_eq!(door.rules.acl_file.as_deref(), Some(Path::new("/etc/mosquitto/acl")));
        assert_eq!((door.rules.anonymous, door.rules.packet_bytes_max), (Anonymous::No, Some(2000)));
    }
    let secure = &doors[1].rules;
    let files = secure.tls.as_ref().unwrap();
    assert_eq!((files.client_ca.as_deref(), files.require_certificate), (Some(Path::new("/ca.pem")), true));
    assert_eq!((secure.certificate, secure.connections_max), (CertificateUser::CommonName, Some(10)));
    assert_eq!(doors[0].rules.connections_max, None);
}

#[test]
fn settings_of_each_listener() {
    let text = "per_listener_settings true
                allow_anonymous true
                port 1884
                listener 1885 127.0.0.1
                password_file /p
                allow_anonymous true
                listener 1886 127.0.0.1";
    let (imported, config) = import(text);
    let rules: Vec<_> = mqtt(&config)
        .iter()
        .map(|door| (door.address.port(), door.rules.anonymous, door.rules.password_file.is_some()))
        .collect();
    let expected =
        [(1884, Anonymous::Any, false), (1885, Anonymous::Yes, true), (1886, Anonymous::No, false)];
    assert_eq!(rules, expected);
    assert_eq!(imported.notes.len(), 1);
    assert!(
        imported.notes[0].starts_with("m:7: listener: mosquitto lets nobody in here"),
        "{:?}",
        imported.notes
    );
}

#[test]
fn says_what_it_leaves_out() {
    let (imported, config) = import(
        "persistence false
         user mosquitto
         allow_anonymous true
         psk_file /psk
         nonsense 1
         listener 8884
         psk_hint here
         listener 0 /run/mqtt.sock
         listener 1883 127.0.0.1
         max_qos 1
         crlfile /crl
         connection cloud
         address example.org:8883
         topic # out 1
         bridge_cafile /ca
         listener 1999 127.0.0.1",
    );
    let expected = [
        "m:1: persistence: what is durable",
        "m:2: user: the broker runs as",
        "m:5: nonsense: not known",
        "m:12: connection: there are no bridges yet",
        "m:4: psk_file: TLS with pre-shared keys (PSK) is not spoken",
        "m:7: psk_hint: TLS with pre-shared keys (PSK) is not spoken",
        "m:6: listener: left out, as it would be open without",
        "m:8: listener: sockets of the file system",
        "m:10: max_qos: all of QoS",
        "m:11: crlfile: revoked certificates",
    ];
    assert_eq!(imported.notes.len(), expected.len(), "{:#?}", imported.notes);
    for (note, expected) in imported.notes.iter().zip(expected) {
        assert!(note.starts_with(expected), "{note}\n{expected}");
    }
    let ports: Vec<u16> = mqtt(&config).iter().map(|door| door.address.port()).collect();
    assert_eq!(ports, [1883, 1999]);
}
