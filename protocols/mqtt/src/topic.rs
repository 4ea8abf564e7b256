//! Topic names and filters: what is valid, what they are called in the core, and where the special ones lead.
//!
//! The core separates words by `.` and knows `*` and `#` as wildcards. On the way in `/` becomes `.`, `+` becomes `*`,
//! and `.`, `*` and `%` in a topic are written `%2E`, `%2A`, `%25`. On the way out that is undone, and `/`, `+` and `#` in a
//! routing key are written `%2F`, `%2B`, `%23`. A topic that says `%2F` or `%2B` means just that character of a key, so
//! that keys with a `/` or `+` come back the same too. With `plain_swap` nothing is escaped but what a topic can not hold.
//!
//! | topic | publish | subscribe |
//! |---|---|---|
//! | `$queue/NAME` | default exchange, key `NAME`; declared on first use | consumes the queue, competing |
//! | `$topic/NAME/REST` | exchange `NAME`, key `REST` in core form | refused |
//! | `$stream/NAME` | default exchange, key `NAME`, shard by client | refused |
//! | `$share/GROUP/FILTER` | a topic like any other | shared subscription |

use crate::{
    config::MqttConfig,
    errors::{Refusal, reason},
};
use model::{
    Name,
    limits::{NAME_BYTES_MAX, TOPIC_LEVELS_MAX},
};

/// The bytes as text that MQTT allows in names: UTF-8 without control characters and non-characters
/// (MQTT 5.0, 1.5.4).
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) || text.chars().all(is_allowed) {
        return Some(text);
    }
    None
}

fn is_allowed(character: char) -> bool {
    let code = u32::from(character);
    !character.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

/// A valid topic name (MQTT 5.0, 4.7). Errors are malformed packets.
pub(crate) fn check_name(bytes: &[u8]) -> Result<&str, Refusal> {
    let topic = text(bytes).ok_or(Refusal::malformed("topic name is not valid text"))?;
    if topic.is_empty() || bytes.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(Refusal::malformed("topic name is empty or has a wildcard"));
    }
    check_levels(bytes)?;
    Ok(topic)
}

/// A valid topic filter: wildcards stand alone in their level, `#` only at the end.
pub(crate) fn check_filter(bytes: &[u8]) -> Result<&str, Refusal> {
    let filter = text(bytes).ok_or(Refusal::malformed("topic filter is not valid text"))?;
    if filter.is_empty() {
        return Err(Refusal::malformed("topic filter is empty"));
    }
    check_levels(bytes)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let alone = level.len() == 1 || !level.contains(['+', '#']);
        if !alone || (level == "#" && levels.peek().is_some()) {
            return Err(Refusal::malformed("wildcard not allowed there"));
        }
    }
    Ok(filter)
}

fn check_levels(bytes: &[u8]) -> Result<(), Refusal> {
    let levels = bytes.iter().filter(|byte| **byte == b'/').count() + 1;
    if levels > TOPIC_LEVELS_MAX { Err(Refusal::malformed("too many topic levels")) } else { Ok(()) }
}

/// The core form of a topic name or filter.
pub(crate) fn to_key(topic: &str, plain_swap: bool) -> Name {
    let mut key = String::with_capacity(topic.len());
    let mut rest = topic;
    while let Some(at) = rest.find(['/', '+', '.', '*', '%']) {
        let (head, tail) = rest.split_at(at);
        key.push_str(head);
        let mut taken = 1;
        match tail.as_bytes() {
            [b'/', ..] => key.push('.'),
            [b'+', ..] => key.push('*'),
            [other, ..] if plain_swap => key.push(char::from(*other)),
            [b'.', ..] => key.push_str("%2E"),
            [b'*', ..] => key.push_str("%2A"),
            [b'%', b'2', b'F', ..] => {
                key.push('/');
                taken = 3;
            }
            [b'%', b'2', b'B', ..] => {
                key.push('+');
                taken = 3;
            }
            _ => key.push_str("%25"),
        }
        rest = tail.get(taken..).unwrap_or_default();
    }
    key.push_str(rest);
    key.into()
}

/// True when the topic of `key` is the key with `/` for `.`, and nothing else.
pub(crate) fn is_plain_key(key: &str, plain_swap: bool) -> bool {
    !key.bytes().any(|byte| matches!(byte, b'+' | b'#') || (!plain_swap && matches!(byte, b'%' | b'/')))
}

/// The topic of a routing key; what [`to_key`] did is undone.
pub(crate) fn from_key(key: &str, plain_swap: bool) -> String {
    let mut topic = String::with_capacity(key.len() + 8);
    let mut rest = key;
    while let Some(at) = rest.find(['.', '*', '/', '+', '#', '%']) {
        let (head, tail) = rest.split_at(at);
        topic.push_str(head);
        let mut taken = 1;
        match tail.as_bytes() {
            [b'.', ..] => topic.push('/'),
            [b'+', ..] => topic.push_str("%2B"),
            [b'#', ..] => topic.push_str("%23"),
            [other, ..] if plain_swap => topic.push(char::from(*other)),
            [b'/', ..] => topic.push_str("%2F"),
            [b'%', b'2', code @ (b'E' | b'A' | b'5'), ..] => {
                topic.push(match code {
                    b'E' => '.',
                    b'A' => '*',
                    _ => '%',
                });
                taken = 3;
            }
            [other, ..] => topic.push(char::from(*other)),
            [] => {}
        }
        rest = tail.get(taken..).unwrap_or_default();
    }
    topic.push_str(rest);
    topic
}

/// What kind of place a topic names, as far as publishing to it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An exchange.
    Exchange,
    /// A queue, to be declared when it is not there.
    Queue,
    /// A stream, to be sharded by client.
    Stream,
}

/// Where a publish goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) exchange: Name,
    pub(crate) key: Name,
    pub(crate) place: Place,
}

/// The address of a checked topic. Errors: a special topic without a usable name, as a reason code.
pub(crate) fn address(topic: &str, config: &MqttConfig) -> Result<Address, u8> {
    let named = |name: &str| {
        let usable = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if usable { Ok(Name::from(name)) } else { Err(reason::TOPIC_INVALID) }
    };
    if let Some(special) = topic.strip_prefix('$') {
        if let Some(queue) = special.strip_prefix("queue/") {
            return Ok(Address { exchange: Name::new(), key: named(queue)?, place: Place::Queue });
        }
        if let Some(stream) = special.strip_prefix("stream/") {
            return Ok(Address { exchange: Name::new(), key: named(stream)?, place: Place::Stream });
        }
        if let Some(target) = special.strip_prefix("topic/") {
            let (exchange, rest) = target.split_once('/').unwrap_or((target, ""));
            let key = to_key(rest, config.plain_swap);
            return Ok(Address { exchange: named(exchange)?, key, place: Place::Exchange });
        }
        // Only the broker speaks there; mosquitto refuses it too.
        if special == "SYS" || special.starts_with("SYS/") {
            return Err(reason::NOT_AUTHORIZED);
        }
    }
    let key = to_key(topic, config.plain_swap);
    Ok(Address { exchange: config.exchange.clone(), key, place: Place::Exchange })
}

/// What a subscription takes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// The topic space.
    Topic {
        /// Filter in core form.
        filter: Name,
        /// Group of a shared subscription.
        share: Option<Name>,
    },
    /// A queue.
    Queue(Name),
}

/// The source of a checked filter. `Ok(Err(code))` refuses this subscription alone; an error ends the connection.
pub(crate) fn source(
    filter: &str,
    no_local: bool,
    config: &MqttConfig,
) -> Result<Result<Source, u8>, Refusal> {
    let Some(special) = filter.strip_prefix('$') else { return Ok(plain_source(filter, config)) };
    if let Some(queue) = special.strip_prefix("queue/") {
        let usable = !queue.is_empty() && queue.len() <= NAME_BYTES_MAX && !queue.contains(['+', '#']);
        return Ok(if usable { Ok(Source::Queue(queue.into())) } else { Err(reason::FILTER_INVALID) });
    }
    if special.starts_with("topic/") || special.starts_with("stream/") {
        return Ok(Err(reason::FILTER_INVALID));
    }
    if special != "share" && !special.starts_with("share/") {
        return Ok(plain_source(filter, config));
    }
    let (group, shared) = special
        .strip_prefix("share/")
        .and_then(|rest| rest.split_once('/'))
        .filter(|(group, shared)| !group.is_empty() && !group.contains('+') && !shared.is_empty())
        .ok_or(Refusal::protocol("wrong shared subscription"))?;
    if no_local {
        return Err(Refusal::protocol("no local on a shared subscription"));
    }
    let nested =
        ["$queue/", "$topic/", "$stream/", "$share/"].iter().any(|prefix| shared.starts_with(prefix));
    if nested {
        return Ok(Err(reason::FILTER_INVALID));
    }
    Ok(Ok(Source::Topic { filter: to_key(shared, config.plain_swap), share: Some(group.into()) }))
}

fn plain_source(filter: &str, config: &MqttConfig) -> Result<Source, u8> {
    Ok(Source::Topic { filter: to_key(filter, config.plain_swap), share: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(topic: &str, key: &str) {
        assert_eq!(to_key(topic, false), key);
        assert_eq!(from_key(key, false), topic);
    }

    #[test]
    fn swaps_and_escapes() {
        check("a/b/c", "a.b.c");
        check("/a//b/", ".a..b.");
        check("a.b/c*d/100%", "a%2Eb.c%2Ad.100%25");
        check("x/%2F", "x./");
        check("%252F%2E", "%25252F%252E");
        check("grün/€", "grün.€");
        assert_eq!(from_key("a/b.c#d+e", false), "a%2Fb/c%23d%2Be");
        assert_eq!(to_key("+/a/#", false), "*.a.#");
        assert_eq!(to_key("a.b/+", true), "a.b.*");
        assert_eq!(from_key("a.b/c", true), "a/b/c");
    }

    #[test]
    fn checks_filters() {
        for good in ["#", "+", "a/+/b/#", "/", "//+", "$SYS/#", "a b"] {
            assert!(check_filter(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "a#", "#/a", "a+/b", "a/#/b", "\u{1}", "\u{85}", "\u{ffff}", "\0"] {
            assert_eq!(check_filter(bad.as_bytes()).unwrap_err().reason, Some(0x81), "{bad}");
        }
        assert!(check_name("\u{2a6d4}".as_bytes()).is_ok());
        assert!(check_name(&[0xed, 0xa0, 0x80]).is_err());
        assert!(check_name("/".repeat(TOPIC_LEVELS_MAX - 1).as_bytes()).is_ok());
        assert!(check_name("/".repeat(TOPIC_LEVELS_MAX).as_bytes()).is_err());
    }

    #[test]
    fn knows_special_topics() {
        let config = MqttConfig::default();
        let at = |topic: &str| address(topic, &config).map(|a| (a.exchange, a.key, a.place));
        assert_eq!(at("a/b"), Ok(("amq.topic".into(), "a.b".into(), Place::Exchange)));
        assert_eq!(at("$queue/a/b.c"), Ok(("".into(), "a/b.c".into(), Place::Queue)));
        assert_eq!(at("$topic/x/a/b"), Ok(("x".into(), "a.b".into(), Place::Exchange)));
        assert_eq!(at("$topic/x"), Ok(("x".into(), "".into(), Place::Exchange)));
        assert_eq!(at("$stream/s"), Ok(("".into(), "s".into(), Place::Stream)));
        assert_eq!(at("$queue/"), Err(0x90));
        assert_eq!((at("$SYS/broker/uptime"), at("$SYS")), (Err(0x87), Err(0x87)));
        assert!(at("$SYSTEM/x").is_ok());
        let from = |filter: &str| source(filter, false, &config).map_err(|refusal| refusal.reason);
        let shared = Source::Topic { filter: "a.*".into(), share: Some("g".into()) };
        assert_eq!(from("$share/g/a/+"), Ok(Ok(shared)));
        assert_eq!(from("$queue/q"), Ok(Ok(Source::Queue("q".into()))));
        assert_eq!(from("$queue/+"), Ok(Err(0x8f)));
        for wrong in ["$share/+/x", "$share/g", "$share/g/", "$share", "$share//x"] {
            assert_eq!(from(wrong), Err(Some(0x82)), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn topics_come_back(topic in "[a%/.*2EFB5A+#]{0,12}|\\PC{0,20}") {
            let topic = topic.replace(['+', '#'], "x");
            prop_assert_eq!(from_key(&to_key(&topic, false), false), topic);
        }

        #[test]
        fn keys_come_back(key in "[a./+\u{e9}]{0,12}") {
            prop_assert_eq!(&to_key(&from_key(&key, false), false)[..], &key[..]);
        }

        #[test]
        fn plain_keys_differ_in_separators_only(key in "[a.%/+#*2E]{0,12}", plain_swap: bool) {
            if is_plain_key(&key, plain_swap) {
                prop_assert_eq!(from_key(&key, plain_swap), key.replace('.', "/"));
            }
        }
    }
}
