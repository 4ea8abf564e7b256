//! CONNECT and CONNACK, of all versions.
//!
//! CONNECT decides the version, so its refusals come in the form that the client can read: a CONNACK of either kind, or
//! just the end of the connection.

use super::{
    Reader, Version,
    properties::{self, Properties, allowed, id},
    put_binary, put_varint,
};
use crate::{
    errors::{Refusal, reason},
    topic,
};
use bytes::{BufMut, BytesMut};

/// A CONNECT packet.
#[derive(Clone, Debug)]
pub(crate) struct Connect<'a> {
    pub(crate) version: Version,
    /// A mosquitto bridge (high bit of the version): wants no echo of its own and the retain flag as published.
    pub(crate) bridge: bool,
    /// Clean session, clean start.
    pub(crate) clean: bool,
    /// Seconds; 0 is none.
    pub(crate) keep_alive_s: u16,
    /// Empty when the client leaves the choice to the server.
    pub(crate) client_id: &'a str,
    pub(crate) will: Option<Will<'a>>,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    pub(crate) settings: Settings,
}

/// What the properties of CONNECT say, or stand for when absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_max: u16,
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_max: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { session_expiry_s: 0, receive_max: u16::MAX, packet_bytes_max: u32::MAX, topic_alias_max: 0 }
    }
}

/// The will in a CONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Will<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) expiry_s: Option<u32>,
    /// Property section, checked.
    pub(crate) properties: &'a [u8],
}

/// Why and how a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Close without a word.
    Close(&'static str),
    /// CONNACK of 3.1 and 3.1.1 with a return code.
    Old(u8, &'static str),
    /// CONNACK of 5.0 with a reason code.
    Reason(u8, &'static str),
}

/// Reads the body of a CONNECT packet.
pub(crate) fn decode(body: &[u8]) -> Result<Connect<'_>, Rejected> {
    let mut reader = Reader::new(body);
    let close = |refusal: Refusal| Rejected::Close(refusal.why);
    let name = reader.binary().map_err(close)?;
    let level = reader.u8().map_err(close)?;
    let bridge = level & 0x80 != 0;
    let version = match (name, level & 0x7f) {
        (b"MQIsdp", 3) => Version::V31,
        (b"MQTT", 4) => Version::V311,
        (b"MQTT", 5) if !bridge => Version::V5,
        (b"MQIsdp" | b"MQTT", _) => {
            return Err(Rejected::Reason(reason::UNSUPPORTED_VERSION, "unsupported protocol version"));
        }
        _ => return Err(Rejected::Close("not MQTT")),
    };
    decode_rest(reader, version, bridge).map_err(|refusal| match (version, refusal.reason) {
        (Version::V5, Some(reason)) => Rejected::Reason(reason, refusal.why),
        (_, Some(reason::CLIENT_ID_INVALID)) => Rejected::Old(2, refusal.why),
        _ => Rejected::Close(refusal.why),
    })
}

fn decode_rest(mut reader: Reader<'_>, version: Version, bridge: bool) -> Result<Connect<'_>, Refusal> {
    let flags = reader.u8()?;
    if flags & 0x01 != 0 && version != Version::V31 {
        return Err(Refusal::malformed("reserved flag set in CONNECT"));
    }
    let (will_flag, will_qos, will_retain) = (flags & 0x04 != 0, flags >> 3 & 3, flags & 0x20 != 0);
    if will_qos == 3 || (!will_flag && (will_qos != 0 || will_retain)) {
        return Err(Refusal::malformed("wrong will flags in CONNECT"));
    }
    let (has_user, has_password, clean) = (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x02 != 0);
    if has_password && !has_user && version != Version::V5 {
        return Err(Refusal::malformed("password without user name"));
    }
    let keep_alive_s = reader.u16()?;
    let settings = decode_settings(reader.properties_of(version)?)?;
    let client_id = decode_client_id(&mut reader, version, clean)?;
    let will = if will_flag { Some(decode_will(&mut reader, version, will_qos, will_retain)?) } else { None };
    let user = if has_user { Some(reader.text()?) } else { None };
    let password = if has_password { Some(reader.binary()?) } else { None };
    if !reader.is_empty() {
        return Err(Refusal::malformed("bytes left over in CONNECT"));
    }
    Ok(Connect { version, bridge, clean, keep_alive_s, client_id, will, user, password, settings })
}

fn decode_client_id<'a>(reader: &mut Reader<'a>, version: Version, clean: bool) -> Result<&'a str, Refusal> {
    let invalid = Refusal::new(reason::CLIENT_ID_INVALID, "client identifier not valid");
    let bytes = reader.binary()?;
    let refusal = if version == Version::V5 { invalid } else { Refusal::malformed(invalid.why) };
    let client_id = topic::text(bytes).ok_or(refusal)?;
    // 3.1 knows no assigned identifiers, 3.1.1 only for clean sessions (3.1.1, 3.1.3.1).
    let must_name = version == Version::V31 || (version == Version::V311 && !clean);
    if client_id.is_empty() && must_name { Err(invalid) } else { Ok(client_id) }
}

fn decode_settings(section: &[u8]) -> Result<Settings, Refusal> {
    let mut settings = Settings::default();
    let (mut method, mut data) = (false, false);
    let mut properties = Properties::new(section, allowed::CONNECT);
    while let Some(property) = properties.next()? {
        let number = property.value.number();
        match property.id {
            id::SESSION_EXPIRY => settings.session_expiry_s = number,
            id::RECEIVE_MAX => settings.receive_max = u16::try_from(number).unwrap_or(u16::MAX),
            id::PACKET_BYTES_MAX => settings.packet_bytes_max = number,
            id::TOPIC_ALIAS_MAX => settings.topic_alias_max = u16::try_from(number).unwrap_or(u16::MAX),
            id::AUTH_METHOD => method = true,
            id::AUTH_DATA => data = true,
            // No reason strings are ever sent, and no response information: nothing to remember.
            _ => {}
        }
    }
    match (method, data) {
        (false, true) => Err(Refusal::protocol("authentication data without method")),
        (true, _) => Err(Refusal::new(reason::BAD_AUTH_METHOD, "unknown authentication method")),
        _ => Ok(settings),
    }
}

fn decode_will<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    qos: u8,
    retain: bool,
) -> Result<Will<'a>, Refusal> {
    let properties = reader.properties_of(version)?;
    let (mut delay_s, mut expiry_s, mut utf8) = (0, None, false);
    let mut each = Properties::new(properties, allowed::WILL);
    while let Some(property) = each.next()? {
        let number = property.value.number();
        match property.id {
            id::WILL_DELAY => delay_s = number,
            id::MESSAGE_EXPIRY => expiry_s = Some(number),
            id::PAYLOAD_FORMAT => utf8 = number == 1,
            _ => {}
        }
    }
    let topic = topic::check_name(reader.binary()?)?;
    let payload = reader.binary()?;
    if utf8 && std::str::from_utf8(payload).is_err() {
        return Err(Refusal::new(reason::PAYLOAD_FORMAT_INVALID, "will payload is not UTF-8"));
    }
    Ok(Will { topic, payload, qos, retain, delay_s, expiry_s, properties })
}

/// What a 5.0 CONNACK of success tells the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Welcome<'a> {
    pub(crate) session_present: bool,
    pub(crate) topic_alias_max: u16,
    pub(crate) keep_alive_s: Option<u16>,
    pub(crate) assigned_client_id: Option<&'a str>,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) packet_bytes_max: u32,
    pub(crate) receive_max: u16,
}

/// Appends a CONNACK of success. The order of properties is mosquitto's; flags that only repeat defaults are left out.
pub(crate) fn put_welcome(out: &mut BytesMut, version: Version, welcome: Welcome<'_>) {
    if version != Version::V5 {
        // 3.1 has no session present flag.
        let present = welcome.session_present && version == Version::V311;
        out.put_slice(&[0x20, 0x02, u8::from(present), 0]);
        return;
    }
    let mut section = BytesMut::new();
    properties::put_u16(&mut section, id::TOPIC_ALIAS_MAX, welcome.topic_alias_max);
    if let Some(seconds) = welcome.keep_alive_s {
        properties::put_u16(&mut section, id::SERVER_KEEP_ALIVE, seconds);
    }
    if let Some(client_id) = welcome.assigned_client_id {
        section.put_u8(id::ASSIGNED_CLIENT_ID);
        put_binary(&mut section, client_id.as_bytes());
    }
    if let Some(seconds) = welcome.session_expiry_s {
        properties::put_u32(&mut section, id::SESSION_EXPIRY, seconds);
    }
    properties::put_u32(&mut section, id::PACKET_BYTES_MAX, welcome.packet_bytes_max);
    properties::put_u16(&mut section, id::RECEIVE_MAX, welcome.receive_max);
    out.put_u8(0x20);
    put_varint(out, 2 + super::varint_len(section.len()) + section.len());
    out.put_slice(&[u8::from(welcome.session_present), 0]);
    put_varint(out, section.len());
    out.put_slice(&section);
}

/// Appends the CONNACK of a refusal, if it has one.
pub(crate) fn put_rejected(out: &mut BytesMut, rejected: Rejected) {
    match rejected {
        Rejected::Close(_) => {}
        Rejected::Old(code, _) => out.put_slice(&[0x20, 0x02, 0, code]),
        Rejected::Reason(reason, _) => out.put_slice(&[0x20, 0x03, 0, reason, 0]),
    }
}
