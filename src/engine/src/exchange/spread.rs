//! Exchanges that give each message to one of their bindings: `x-consistent-hash`, `x-modulus-hash`, `x-random`.
//!
//! Consistent hashing is weighted rendezvous: every binding draws a number out of the message's key and its own name,
//! scaled by its weight, and the highest wins. A binding that comes or goes moves only its own share of the keys. The
//! draw is the same after a restart and in every version, so it uses no hasher of a library.

use crate::binding::{Binding, BindingId};
use model::{
    Name,
    definition::{Destination, ExchangeDeclare},
    error::{BrokerError, ErrorKind},
    message::Message,
    value::{Table, Value},
};
use std::borrow::Cow;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

const HEADER: &str = "hash-header";
const PROPERTY: &str = "hash-property";

/// What of a message is hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum HashOf {
    /// The routing key.
    #[default]
    Key,
    /// A header's value.
    Header(Name),
    /// The correlation id.
    CorrelationId,
    /// The message id.
    MessageId,
    /// The timestamp.
    Timestamp,
}

impl HashOf {
    /// Reads `hash-header` and `hash-property`; what is wrong with them counts as absent, [`check`] has refused it.
    pub(crate) fn of(arguments: &Table) -> Self {
        match (arguments.str(HEADER), arguments.str(PROPERTY)) {
            (Some(header), _) => HashOf::Header(header.into()),
            (None, Some("correlation_id")) => HashOf::CorrelationId,
            (None, Some("message_id")) => HashOf::MessageId,
            (None, Some("timestamp")) => HashOf::Timestamp,
            (None, _) => HashOf::Key,
        }
    }

    fn bytes<'a>(&self, message: &'a Message) -> Cow<'a, [u8]> {
        let text = |text: &'a Option<Name>| text.as_ref().map_or(&[][..], |text| text.as_bytes());
        match self {
            HashOf::Key => Cow::Borrowed(message.routing_key.as_bytes()),
            HashOf::Header(name) => match message.envelope().headers.get(name) {
                None => Cow::Borrowed(&[]),
                Some(value) => value.to_text().map_or_else(
                    || crate::topology::value_json::value_to_json(value).to_string().into_bytes().into(),
                    |text| text.as_bytes().to_vec().into(),
                ),
            },
            HashOf::CorrelationId => {
                Cow::Borrowed(message.envelope().correlation_id.as_deref().unwrap_or_default())
            }
            HashOf::MessageId => Cow::Borrowed(text(&message.envelope().message_id)),
            HashOf::Timestamp => {
                Cow::Owned(message.envelope().timestamp_ms.unwrap_or_default().to_be_bytes().to_vec())
            }
        }
    }
}

/// Whether the arguments of an `x-consistent-hash` exchange make sense.
/// Errors: `InvalidArgument` in RabbitMQ's words.
pub(crate) fn check(declare: &ExchangeDeclare) -> Result<(), BrokerError> {
    let invalid = |text: String| Err(BrokerError::new(ErrorKind::InvalidArgument, text));
    let given = |name| declare.arguments.get(name);
    match (given(HEADER), given(PROPERTY)) {
        (Some(_), Some(_)) => invalid("hash-header and hash-property are mutually exclusive".into()),
        (Some(Value::Str(_)), None) => Ok(()),
        (Some(_), None) => invalid("'hash-header' must be a text".into()),
        (None, Some(_)) if HashOf::of(&declare.arguments) == HashOf::Key => {
            let asked = declare.arguments.get(PROPERTY).and_then(Value::to_text).unwrap_or_default();
            invalid(format!("Unsupported property: {asked}"))
        }
        _ => Ok(()),
    }
}

/// The weight that a binding key of an `x-consistent-hash` exchange stands for.
/// Errors: `InvalidArgument` in RabbitMQ's words.
pub(crate) fn weight(key: &str) -> Result<u32, BrokerError> {
    let invalid = |text: String| BrokerError::new(ErrorKind::InvalidArgument, text);
    let number: i64 = key
        .parse()
        .map_err(|_| invalid(format!("The binding key must be an integer: <<{}>>", quoted(key))))?;
    match u32::try_from(number) {
        Ok(0) | Err(_) if number < 1 => Err(invalid("The binding key must be greater than 0".into())),
        Ok(weight) => Ok(weight),
        Err(_) => Err(invalid(format!("The binding key is greater than {}", u32::MAX))),
    }
}

/// A text as Erlang shows a binary.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\"{text}\"") }
}

/// The binding that `message` goes to.
pub(crate) fn consistent<'a>(
    bindings: impl Iterator<Item = (&'a BindingId, &'a Arc<Binding>)>,
    by: &HashOf,
    message: &Message,
) -> Option<&'a Arc<Binding>> {
    let key = hash(&by.bytes(message));
    let scored = bindings.map(|(id, binding)| (score(key, id), binding));
    scored.max_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, binding)| binding)
}

/// The binding of an `x-modulus-hash` exchange that a key goes to, out of `count`; 0 when there is none.
pub(crate) fn modulus(key: &str, count: usize) -> usize {
    mix(hash(key.as_bytes())).checked_rem(count as u64).unwrap_or(0) as usize
}

fn score(key: u64, id: &BindingId) -> f64 {
    let (kind, name) = match &id.destination {
        Destination::Queue(name) => (1, name),
        Destination::Exchange(name) => (2, name),
    };
    let drawn = mix(key ^ mix(hash(name.as_bytes()) ^ kind) ^ hash(id.arguments.as_bytes()).rotate_left(17));
    // 53 bits make a number between 0 and 1, neither included.
    let between = ((drawn >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(weight(&id.key).unwrap_or(1)) / -between.ln()
}

/// Draws for an `x-random` exchange. The engine has no randomness: a counter goes through a mixing function.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draw(Arc<AtomicU64>);

impl Draw {
    /// A number below `count`; 0 when that is 0.
    pub(crate) fn below(&self, count: usize) -> usize {
        let drawn = mix(self.0.fetch_add(1, Ordering::Relaxed));
        drawn.checked_rem(count as u64).unwrap_or(0) as usize
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Every input bit reaches every output bit.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn id(queue: &str, weight: &str) -> BindingId {
        BindingId {
            key: weight.into(),
            destination: Destination::Queue(queue.into()),
            arguments: Name::new(),
        }
    }

    fn winners(ids: &[BindingId], keys: u32) -> Vec<usize> {
        let best = |key: u64| {
            let scores = ids.iter().map(|id| score(key, id)).enumerate();
            scores.max_by(|left, right| left.1.total_cmp(&right.1)).unwrap().0
        };
        (0..keys).map(|key| best(hash(format!("key.{key}").as_bytes()))).collect()
    }

    #[test]
    fn keys_spread_by_weight() {
        let won = winners(&[id("a", "1"), id("b", "1"), id("c", "2")], 10_000);
        for (binding, share) in [(0, 2_500), (1, 2_500), (2, 5_000)] {
            let count = won.iter().filter(|winner| **winner == binding).count();
            assert!(count.abs_diff(share) < 250, "{binding}: {count}");
        }
    }

    #[test]
    fn a_new_binding_only_takes() {
        let (before, after) = (["a", "b", "c"], ["a", "b", "c", "d"]);
        let of = |names: &[&str]| winners(&names.iter().map(|name| id(name, "3")).collect::<Vec<_>>(), 2_000);
        let moved = of(&before).into_iter().zip(of(&after)).filter(|(old, new)| old != new);
        assert!(moved.into_iter().all(|(_, new)| new == 3));
    }

    #[test]
    fn draws_spread() {
        let draw = Draw::default();
        let mut counts = [0; 4];
        (0..4_000).for_each(|_| counts[draw.below(4)] += 1);
        assert!(counts.iter().all(|count: &i32| count.abs_diff(1_000) < 150), "{counts:?}");
        assert_eq!(draw.below(0), 0);
    }

    fn check_weight(key: &str, expected: Result<u32, &str>) {
        assert_eq!(weight(key).map_err(|error| error.text), expected.map_err(Name::from));
    }

    #[test]
    fn weights() {
        check_weight("7", Ok(7));
        check_weight("0", Err("The binding key must be greater than 0"));
        check_weight("-3", Err("The binding key must be greater than 0"));
        check_weight("abc", Err("The binding key must be an integer: <<\"abc\">>"));
        check_weight("", Err("The binding key must be an integer: <<>>"));
        check_weight("4294967296", Err("The binding key is greater than 4294967295"));
    }
}
