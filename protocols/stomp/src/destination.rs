//! Destinations of the RabbitMQ dialect: what a `destination` header addresses, and the header that stands for an
//! exchange and a key. Components are %-encoded, so that a name may contain a slash.

use crate::error::Fault;
use bytes::BufMut;
use model::{Name, limits::NAME_BYTES_MAX};

/// Prefixes in the order in which the error text lists them.
const PREFIXES: [&str; 6] = [TEMP_QUEUE, "/exchange", "/topic", "/queue", "/amq/queue", REPLY_QUEUE];
/// Prefix that is an address only in `reply-to`.
pub(crate) const TEMP_QUEUE: &str = "/temp-queue";
/// Prefix of answers to `reply-to`.
pub(crate) const REPLY_QUEUE: &str = "/reply-queue";

/// What a destination header addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// `/queue/q`: the session declares it on first use.
    Queue(Name),
    /// `/amq/queue/q`: it must exist.
    AmqQueue(Name),
    /// `/topic/key`
    Topic(Name),
    /// `/exchange/name[/key]`
    Exchange {
        /// Exchange, never empty.
        name: Name,
        /// Routing key or binding pattern, empty when absent.
        key: Name,
    },
    /// `/reply-queue/q`, as `reply-to` gave it.
    ReplyQueue(Name),
    /// `/temp-queue/n`: the session's own reply queue `n`.
    TempQueue(Name),
}

impl Destination {
    /// Reads a destination header. Errors are `Invalid destination` and `Unknown destination`, which leave the
    /// connection open.
    pub(crate) fn parse(header: &str) -> Result<Self, Fault> {
        let of = |prefix: &str| {
            header.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(rest) = of("/queue") {
            return simple("queue", rest).map(Destination::Queue);
        }
        if let Some(rest) = of("/topic") {
            return simple("topic", rest).map(Destination::Topic);
        }
        if let Some(rest) = of("/exchange") {
            return exchange(rest);
        }
        if let Some(rest) = of("/amq/queue") {
            return simple("amqqueue", rest).map(Destination::AmqQueue);
        }
        if let Some(rest) = of(REPLY_QUEUE) {
            // The name of a reply queue may contain slashes.
            let name = rest.strip_prefix('/').filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
            return name
                .map(|name| Destination::ReplyQueue(name.into()))
                .ok_or_else(|| invalid("reply_queue", rest));
        }
        if let Some(rest) = of(TEMP_QUEUE) {
            return simple("temp_queue", rest).map(Destination::TempQueue);
        }
        if header.is_empty() {
            return Err(Fault::open("Invalid destination", "Destination cannot be blank"));
        }
        if header.contains('/') {
            Err(unknown(header))
        } else {
            simple("queue", header).map(Destination::Queue)
        }
    }

    /// Exchange and routing key that it stands for; `topic_exchange` is behind `/topic`.
    pub(crate) fn address(&self, topic_exchange: &Name) -> (Name, Name) {
        match self {
            Destination::Topic(key) => (topic_exchange.clone(), key.clone()),
            Destination::Exchange { name, key } => (name.clone(), key.clone()),
            Destination::Queue(name)
            | Destination::AmqQueue(name)
            | Destination::ReplyQueue(name)
            | Destination::TempQueue(name) => (Name::new(), name.clone()),
        }
    }
}

fn invalid(kind: &str, content: &str) -> Fault {
    Fault::open("Invalid destination", format!("'{content}' is not a valid {kind} destination\n"))
}

fn unknown(header: &str) -> Fault {
    Fault::open(
        "Unknown destination",
        format!(
            "'{header}' is not a valid destination.\nValid destination types are: {}.\n",
            PREFIXES.join(", ")
        ),
    )
}

fn simple(kind: &str, rest: &str) -> Result<Name, Fault> {
    let content = rest.strip_prefix('/').unwrap_or(rest);
    if content.is_empty() || content.contains('/') {
        return Err(invalid(kind, rest));
    }
    component(content).ok_or_else(|| invalid(kind, rest))
}

fn exchange(rest: &str) -> Result<Destination, Fault> {
    let bad = || invalid("exchange", rest);
    let mut parts = rest.strip_prefix('/').unwrap_or_default().split('/');
    // The default exchange has no name, and is reached through /queue.
    let name = parts.next().filter(|name| !name.is_empty()).and_then(component).ok_or_else(bad)?;
    let key = parts.next().map_or(Some(Name::new()), component).ok_or_else(bad)?;
    if parts.next().is_some() { Err(bad()) } else { Ok(Destination::Exchange { name, key }) }
}

/// One component without its %XX. What only looks like an escape stands for itself. `None` when it is too long or
/// does not decode to UTF-8.
fn component(text: &str) -> Option<Name> {
    if !text.contains('%') {
        return (text.len() <= NAME_BYTES_MAX).then(|| text.into());
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *byte == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        let decoded = hex.filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match decoded.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                out.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    let text = String::from_utf8(out).ok()?;
    (text.len() <= NAME_BYTES_MAX).then(|| text.into())
}

fn put_component(text: &str, out: &mut impl BufMut) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let special = |byte: &u8| matches!(byte, b'/' | b'%' | 0..32 | 127..);
    if !text.bytes().any(|byte| special(&byte)) {
        return out.put_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        if special(&byte) {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.put_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.put_u8(byte);
        }
    }
}

/// Appends the destination of a message that was published to `exchange` with `key`. A colon is left to the header
/// escapes of the caller.
pub(crate) fn put_destination(exchange: &str, key: &str, topic_exchange: &str, out: &mut impl BufMut) {
    if exchange.is_empty() {
        out.put_slice(b"/queue/");
        put_component(key, out);
    } else if exchange == topic_exchange {
        out.put_slice(b"/topic/");
        put_component(key, out);
    } else {
        out.put_slice(b"/exchange/");
        put_component(exchange, out);
        if !key.is_empty() {
            out.put_u8(b'/');
            put_component(key, out);
        }
    }
}

/// True for a `reply-to` that is a destination already; others are names of queues.
pub(crate) fn is_destination(text: &str) -> bool {
    PREFIXES.iter().any(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn name(text: &'static str) -> Name {
        Name::from_static(text)
    }

    #[test]
    fn parses() {
        let check = |header, expected| assert_eq!(Destination::parse(header).unwrap(), expected);
        check("/queue/a", Destination::Queue(name("a")));
        check("/queue/a%2Fb%25", Destination::Queue(name("a/b%")));
        check("/queue/100%", Destination::Queue(name("100%")));
        check("a", Destination::Queue(name("a")));
        check("/amq/queue/a", Destination::AmqQueue(name("a")));
        check("/topic/a.*.%23", Destination::Topic(name("a.*.#")));
        check("/exchange/x", Destination::Exchange { name: name("x"), key: name("") });
        check("/exchange/x/k", Destination::Exchange { name: name("x"), key: name("k") });
        check("/reply-queue/a/b", Destination::ReplyQueue(name("a/b")));
        check("/temp-queue/foo", Destination::TempQueue(name("foo")));
    }

    #[test]
    fn refuses() {
        let check = |header, message, body: &str| {
            let fault = Destination::parse(header).unwrap_err();
            assert_eq!((fault.message.as_ref(), fault.body.as_str(), fault.close), (message, body, false));
        };
        check("/queue/bah/baz", "Invalid destination", "'/bah/baz' is not a valid queue destination\n");
        check("/queue", "Invalid destination", "'' is not a valid queue destination\n");
        check("/topic/", "Invalid destination", "'/' is not a valid topic destination\n");
        check("/exchange//foo", "Invalid destination", "'//foo' is not a valid exchange destination\n");
        check("/exchange/a/b/c", "Invalid destination", "'/a/b/c' is not a valid exchange destination\n");
        check("/queue/%FF", "Invalid destination", "'/%FF' is not a valid queue destination\n");
        check(
            "/bah",
            "Unknown destination",
            "'/bah' is not a valid destination.\nValid destination types are: /temp-queue, /exchange, /topic, /queue, \
             /amq/queue, /reply-queue.\n",
        );
        assert!(Destination::parse(&format!("/queue/{}", "x".repeat(256))).is_err());
    }

    fn shown(exchange: &str, key: &str) -> String {
        let mut out = Vec::new();
        put_destination(exchange, key, "amq.topic", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shows() {
        assert_eq!(shown("", "a/b"), "/queue/a%2Fb");
        assert_eq!(shown("amq.topic", "a.b"), "/topic/a.b");
        assert_eq!(shown("x", ""), "/exchange/x");
        assert_eq!(shown("x y", "é%"), "/exchange/x y/%C3%A9%25");
    }

    proptest! {
        #[test]
        fn round_trips(text in "\\PC{1,40}") {
            let parsed = Destination::parse(&shown("", &text)).unwrap();
            prop_assert_eq!(parsed, Destination::Queue(text.into()));
        }

        #[test]
        fn never_panics(text in "(/(queue|topic|exchange|amq/queue|temp-queue|reply-queue))?\\PC{0,20}") {
            let _ = Destination::parse(&text);
        }
    }
}
