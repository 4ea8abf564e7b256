//! A queue's arguments: which are known, what they may say, what they become in [`QueueSettings`], and when two
//! declarations are the same.
//!
//! | argument | kinds | meaning |
//! |---|---|---|
//! | `x-queue-type` | all | `classic` (default), `quorum`, `stream` |
//! | `x-message-ttl` | classic, quorum | ms, 0 delivers now or drops |
//! | `x-expires` | classic, quorum | ms, above 0: the queue goes when unused for so long |
//! | `x-max-length` | classic, quorum | ready messages |
//! | `x-max-length-bytes` | all | ready bytes of bodies; bytes kept of a stream |
//! | `x-overflow` | classic, quorum | `drop-head` (default), `reject-publish`, `reject-publish-dlx` |
//! | `x-dead-letter-exchange`, `x-dead-letter-routing-key` | classic, quorum | where dead letters go; the key needs the exchange |
//! | `x-dead-letter-strategy` | classic, quorum | `at-most-once`, `at-least-once`: taken, the source keeps a message until its targets have it anyway |
//! | `x-max-priority` | classic | 0 to 255 |
//! | `x-single-active-consumer` | classic, quorum | bool |
//! | `x-delivery-limit` | classic, quorum | failed deliveries before dead-lettering; -1 for none; 20 by default on quorum, none on classic |
//! | `x-max-age` | stream | `7D`: number and one of `Y M D h m s` |
//! | `x-queue-mode`, `x-queue-version`, `x-queue-leader-locator`, `x-queue-master-locator`, `x-quorum-initial-group-size`, `x-quorum-target-group-size`, `x-initial-cluster-size`, `x-stream-max-segment-size-bytes`, `x-stream-filter-size-bytes`, `x-max-in-memory-length`, `x-max-in-memory-bytes`, `x-consumer-timeout` | all | checked for their type and otherwise without effect |
//! | `x-delay-ms` | classic, quorum | core: delay of every message that asks for none |
//! | `x-lease-ms` | classic, quorum | core: deadline of a lease taken by receive, 30000 by default |
//! | `x-wait-ms` | classic, quorum | core: how long a receive waits, 0 by default |
//! | `x-fifo` | classic, quorum | core: bool, message groups in order and deduplication |
//! | `x-dedup-scope` | classic, quorum | core: `queue` (default) or `group` |
//! | `x-shards` | stream | core: 1 (default) to 10000 |
//! | `x-durability` | all | core: `always` or `interval`, when a publish is confirmed; as the broker says by default |
//! | `x-retention-ms` | all | core: message TTL, or max age of a stream; the lower of the two counts |
//!
//! Unknown arguments are kept and ignored. A redeclaration must repeat RabbitMQ's arguments; the core's own are
//! compared only where it names them, so that a client that cannot know them may still declare its queue.

use super::settings::{Durability, Overflow, QueueKind, QueueSettings};
use super::value_json::is_within_limits;
use model::{
    Name,
    definition::{ExchangeDeclare, QueueDeclare},
    error::{BrokerError, ErrorKind},
    value::{Table, Value},
};

/// Lease deadline where a queue names none.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// Failed deliveries where a quorum queue names no limit (RabbitMQ 4).
pub const QUORUM_DELIVERY_LIMIT: u32 = 20;
/// Most shards of a stream.
pub const SHARDS_MAX: u64 = 10_000;
/// Longest time to live, expiry, delay, lease and wait: RabbitMQ's ten years.
pub const TIMER_MS_MAX: u64 = 10 * 365 * 86_400 * 1000;

/// RabbitMQ's arguments: a redeclaration is compared by them.
const COMPARED: [&str; 25] = [
    "x-queue-type",
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-max-age",
    "x-queue-mode",
    "x-queue-version",
    "x-queue-leader-locator",
    "x-queue-master-locator",
    "x-quorum-initial-group-size",
    "x-quorum-target-group-size",
    "x-initial-cluster-size",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-consumer-timeout",
];

/// The core's own: compared where a redeclaration names them.
const COMPARED_WHEN_GIVEN: [&str; 8] = [
    "x-delay-ms",
    "x-lease-ms",
    "x-wait-ms",
    "x-fifo",
    "x-dedup-scope",
    "x-shards",
    "x-retention-ms",
    "x-durability",
];

const NOT_FOR_QUORUM: [&str; 2] = ["x-max-priority", "x-shards"];
const NOT_FOR_CLASSIC: [&str; 2] = ["x-max-age", "x-shards"];
const NOT_FOR_STREAM: [&str; 14] = [
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-delay-ms",
    "x-lease-ms",
    "x-wait-ms",
    "x-fifo",
];

/// The settings that a declaration asks for.
/// Errors: `InvalidArgument` in RabbitMQ's words.
pub fn settings(vhost: &str, declare: &QueueDeclare) -> Result<QueueSettings, BrokerError> {
    let args = Args { table: &declare.arguments, name: &declare.name, vhost };
    if !is_within_limits(args.table) {
        return Err(BrokerError::new(
            ErrorKind::InvalidArgument,
            format!(
                "arguments of queue '{}' in vhost '{vhost}' are too many or nested too deep",
                declare.name
            ),
        ));
    }
    let kind = args.kind()?;
    args.check_kind(kind, declare)?;
    args.check_ignored()?;
    let retention = args.number("x-retention-ms", u64::MAX)?;
    let lower = |own: Option<u64>| own.into_iter().chain(retention).min();
    let expires_ms = args.number("x-expires", TIMER_MS_MAX)?;
    if expires_ms == Some(0) {
        return Err(args.invalid("x-expires", "{value_zero,0}"));
    }
    let (dead_letter_exchange, dead_letter_key) = args.dead_letter()?;
    let stream = kind == QueueKind::Stream;
    Ok(QueueSettings {
        kind,
        // An exclusive queue ends with its connection, so before any restart.
        durable: declare.durable && !declare.exclusive,
        durability: args.durability()?,
        exclusive: declare.exclusive,
        auto_delete: declare.auto_delete,
        message_ttl_ms: lower(args.number("x-message-ttl", TIMER_MS_MAX)?).filter(|_| !stream),
        expires_ms,
        max_length: args.number("x-max-length", u64::MAX)?,
        max_length_bytes: args.number("x-max-length-bytes", u64::MAX)?,
        overflow: args.overflow()?,
        dead_letter_exchange,
        dead_letter_key,
        max_priority: args.priority()?,
        single_active_consumer: args.flag("x-single-active-consumer")?,
        delivery_limit: args.delivery_limit(kind)?,
        delay_ms: args.number("x-delay-ms", TIMER_MS_MAX)?.unwrap_or(0),
        lease_ms: args.number("x-lease-ms", TIMER_MS_MAX)?.unwrap_or(LEASE_MS_DEFAULT),
        wait_ms: args.number("x-wait-ms", TIMER_MS_MAX)?.unwrap_or(0),
        fifo: args.flag("x-fifo")?,
        dedup_per_group: args.word("x-dedup-scope", &["queue", "group"], "invalid_dedup_scope")?
            == Some("group"),
        shards: args.shards(stream)?,
        max_age_ms: lower(args.max_age()?).filter(|_| stream),
    })
}

/// Whether queues of this kind take the argument.
pub(crate) fn suits(argument: &str, kind: QueueKind) -> bool {
    let refused = match kind {
        QueueKind::Classic => NOT_FOR_CLASSIC.as_slice(),
        QueueKind::Quorum => NOT_FOR_QUORUM.as_slice(),
        QueueKind::Stream => NOT_FOR_STREAM.as_slice(),
    };
    !refused.contains(&argument)
}

/// An age like `7D` in milliseconds: a number and a unit.
pub(crate) fn age_ms(text: &str) -> Option<u64> {
    let (at, unit) = text.char_indices().next_back()?;
    let seconds: u64 = match unit {
        'Y' => 365 * 86_400,
        'M' => 30 * 86_400,
        'D' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let count = text.get(..at).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    count.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1_000)
}

/// Arguments of one queue, with what its errors must say.
struct Args<'a> {
    table: &'a Table,
    name: &'a str,
    vhost: &'a str,
}

impl<'a> Args<'a> {
    fn invalid(&self, argument: &str, reason: &str) -> BrokerError {
        let text =
            format!("invalid arg '{argument}' for queue '{}' in vhost '{}': {reason}", self.name, self.vhost);
        BrokerError::new(ErrorKind::InvalidArgument, text)
    }

    fn wrong_type(&self, argument: &str, expected: &str, got: &Value) -> BrokerError {
        self.invalid(argument, &format!("\"expected {expected}, got {}\"", type_word(got)))
    }

    /// A number from 0 to `max`.
    fn number(&self, argument: &str, max: u64) -> Result<Option<u64>, BrokerError> {
        let Some(value) = self.table.get(argument) else { return Ok(None) };
        let number = match value {
            Value::U64(number) => *number,
            value => {
                let number = value.as_i64().ok_or_else(|| self.wrong_type(argument, "integer", value))?;
                let negative = || self.invalid(argument, &format!("{{value_negative,{number}}}"));
                u64::try_from(number).map_err(|_| negative())?
            }
        };
        if number > max {
            return Err(self.invalid(argument, &format!("{{value_too_large,{number}}}")));
        }
        Ok(Some(number))
    }

    fn text(&self, argument: &str) -> Result<Option<&'a Name>, BrokerError> {
        match self.table.get(argument) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(other) => Err(self.unacceptable(argument, other)),
        }
    }

    /// A name that is no text is refused in other words than other texts.
    fn name(&self, argument: &str) -> Result<Option<&'a Name>, BrokerError> {
        let given = self.table.get(argument);
        let Some(wrong) = given.filter(|value| !matches!(value, Value::Str(_))) else {
            return self.text(argument);
        };
        Err(wrong_name_type(argument, wrong, "queue", self.name, self.vhost))
    }

    fn unacceptable(&self, argument: &str, got: &Value) -> BrokerError {
        self.invalid(argument, &format!("{{unacceptable_type,{}}}", type_word(got)))
    }

    fn word(&self, argument: &str, words: &[&str], otherwise: &str) -> Result<Option<&'a str>, BrokerError> {
        match self.text(argument)? {
            Some(word) if !words.contains(&&**word) => Err(self.invalid(argument, otherwise)),
            word => Ok(word.map(|word| &**word)),
        }
    }

    fn flag(&self, argument: &str) -> Result<bool, BrokerError> {
        match self.table.get(argument) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.unacceptable(argument, other)),
        }
    }

    fn durability(&self) -> Result<Option<Durability>, BrokerError> {
        let word = self.word("x-durability", &["always", "interval"], "invalid_durability")?;
        Ok(word.map(|word| if word == "interval" { Durability::Interval } else { Durability::Always }))
    }

    fn kind(&self) -> Result<QueueKind, BrokerError> {
        Ok(match self.text("x-queue-type")?.map(|kind| &**kind) {
            None | Some("classic") => QueueKind::Classic,
            Some("quorum") => QueueKind::Quorum,
            Some("stream") => QueueKind::Stream,
            Some(other) => {
                return Err(self.invalid("x-queue-type", &format!("\"unsupported queue type '{other}'\"")));
            }
        })
    }

    fn check_kind(&self, kind: QueueKind, declare: &QueueDeclare) -> Result<(), BrokerError> {
        let (word, refused) = match kind {
            QueueKind::Classic => ("classic", NOT_FOR_CLASSIC.as_slice()),
            QueueKind::Quorum => ("quorum", NOT_FOR_QUORUM.as_slice()),
            QueueKind::Stream => ("stream", NOT_FOR_STREAM.as_slice()),
        };
        if let Some(argument) = refused.iter().find(|argument| self.table.get(argument).is_some()) {
            let text = format!(
                "invalid arg '{argument}' for queue '{}' in vhost '{}' of queue type {word}",
                self.name, self.vhost
            );
            return Err(BrokerError::new(ErrorKind::InvalidArgument, text));
        }
        let properties = [
            (!declare.durable, "non-durable"),
            (declare.exclusive, "exclusive-owner"),
            (declare.auto_delete, "auto-delete"),
        ];
        let wrong = properties.iter().find(|(wrong, _)| *wrong && kind != QueueKind::Classic);
        wrong.map_or(Ok(()), |(_, property)| {
            let text =
                format!("invalid property '{property}' for queue '{}' in vhost '{}'", self.name, self.vhost);
            Err(BrokerError::new(ErrorKind::InvalidArgument, text))
        })
    }

    fn check_ignored(&self) -> Result<(), BrokerError> {
        let numbers = [
            "x-quorum-initial-group-size",
            "x-quorum-target-group-size",
            "x-initial-cluster-size",
            "x-stream-max-segment-size-bytes",
            "x-stream-filter-size-bytes",
            "x-max-in-memory-length",
            "x-max-in-memory-bytes",
            "x-consumer-timeout",
        ];
        numbers.iter().try_for_each(|argument| self.number(argument, u64::MAX).map(drop))?;
        self.text("x-queue-leader-locator")?;
        self.text("x-queue-master-locator")?;
        let mode = self.text("x-queue-mode")?.map_or("default", |mode| mode);
        let unsupported = format!("\"unsupported queue mode '{mode}'\"");
        self.word("x-queue-mode", &["default", "lazy"], &unsupported)?;
        self.word("x-dead-letter-strategy", &["at-most-once", "at-least-once"], "invalid_dlx_strategy")?;
        match self.number("x-queue-version", u64::MAX)? {
            None | Some(1 | 2) => Ok(()),
            Some(_) => Err(self.invalid("x-queue-version", "unsupported_queue_version")),
        }
    }

    fn overflow(&self) -> Result<Overflow, BrokerError> {
        let words = ["drop-head", "reject-publish", "reject-publish-dlx"];
        Ok(match self.word("x-overflow", &words, "invalid_overflow")? {
            Some("reject-publish") => Overflow::RejectPublish,
            Some("reject-publish-dlx") => Overflow::RejectPublishDeadLetter,
            _ => Overflow::DropHead,
        })
    }

    fn dead_letter(&self) -> Result<(Option<Name>, Option<Name>), BrokerError> {
        let exchange = self.name("x-dead-letter-exchange")?;
        let key = self.text("x-dead-letter-routing-key")?;
        if key.is_some() && exchange.is_none() {
            return Err(self.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
        }
        Ok((exchange.cloned(), key.cloned()))
    }

    fn priority(&self) -> Result<Option<u8>, BrokerError> {
        let Some(priority) = self.number("x-max-priority", u64::MAX)? else { return Ok(None) };
        let max = u8::try_from(priority);
        max.map(Some)
            .map_err(|_| self.invalid("x-max-priority", &format!("{{max_value_exceeded,{priority}}}")))
    }

    fn delivery_limit(&self, kind: QueueKind) -> Result<Option<u32>, BrokerError> {
        match self.table.get("x-delivery-limit") {
            None => Ok((kind == QueueKind::Quorum).then_some(QUORUM_DELIVERY_LIMIT)),
            Some(value) if value.as_i64() == Some(-1) => Ok(None),
            Some(_) => {
                let limit = self.number("x-delivery-limit", u64::from(u32::MAX))?;
                Ok(limit.and_then(|limit| u32::try_from(limit).ok()))
            }
        }
    }

    fn shards(&self, stream: bool) -> Result<u32, BrokerError> {
        match self.number("x-shards", SHARDS_MAX)? {
            Some(0) => Err(self.invalid("x-shards", "{value_zero,0}")),
            Some(shards) => Ok(u32::try_from(shards).unwrap_or(1)),
            None => Ok(u32::from(stream)),
        }
    }

    fn max_age(&self) -> Result<Option<u64>, BrokerError> {
        let Some(text) = self.text("x-max-age")? else { return Ok(None) };
        age_ms(text).map(Some).ok_or_else(|| self.invalid("x-max-age", "invalid_max_age"))
    }
}

/// Whether a redeclaration means the queue that exists.
/// Errors: `Inequivalent` in RabbitMQ's words.
pub(crate) fn check_queue(
    vhost: &str,
    current: &QueueDeclare,
    wanted: &QueueDeclare,
) -> Result<(), BrokerError> {
    let of = Of { what: "queue", name: &current.name, vhost };
    of.same("durable", wanted.durable, current.durable)?;
    of.same("auto_delete", wanted.auto_delete, current.auto_delete)?;
    COMPARED.iter().try_for_each(|argument| {
        let (current, wanted) = (current.arguments.get(argument), wanted.arguments.get(argument));
        let classic = |value: Option<&Value>| value.is_none_or(|value| value.as_str() == Some("classic"));
        if *argument == "x-queue-type" && classic(current) && classic(wanted) {
            return Ok(());
        }
        of.same_argument(argument, wanted, current)
    })?;
    let given = COMPARED_WHEN_GIVEN.iter().filter_map(|name| Some((name, wanted.arguments.get(name)?)));
    given
        .into_iter()
        .try_for_each(|(name, value)| of.same_argument(name, Some(value), current.arguments.get(name)))
}

/// Whether a redeclaration means the exchange that exists.
/// Errors: `Inequivalent` in RabbitMQ's words.
pub(crate) fn check_exchange(
    vhost: &str,
    current: &ExchangeDeclare,
    wanted: &ExchangeDeclare,
) -> Result<(), BrokerError> {
    let of = Of { what: "exchange", name: &current.name, vhost };
    of.same("type", &wanted.kind, &current.kind)?;
    of.same("durable", wanted.durable, current.durable)?;
    of.same("auto_delete", wanted.auto_delete, current.auto_delete)?;
    of.same("internal", wanted.internal, current.internal)?;
    let alternate = "alternate-exchange";
    of.same_argument(alternate, wanted.arguments.get(alternate), current.arguments.get(alternate))
}

struct Of<'a> {
    what: &'a str,
    name: &'a str,
    vhost: &'a str,
}

impl Of<'_> {
    fn inequivalent(&self, argument: &str, difference: &str) -> BrokerError {
        let Of { what, name, vhost } = self;
        let text =
            format!("inequivalent arg '{argument}' for {what} '{name}' in vhost '{vhost}': {difference}");
        BrokerError::new(ErrorKind::Inequivalent, text)
    }

    fn same<T: PartialEq + std::fmt::Display>(
        &self,
        argument: &str,
        wanted: T,
        current: T,
    ) -> Result<(), BrokerError> {
        if wanted == current {
            return Ok(());
        }
        Err(self.inequivalent(argument, &format!("received '{wanted}' but current is '{current}'")))
    }

    fn same_argument(
        &self,
        argument: &str,
        wanted: Option<&Value>,
        current: Option<&Value>,
    ) -> Result<(), BrokerError> {
        let described =
            |value: &Value| format!("the value '{}' of type '{}'", shown(value), type_word(value));
        let difference = match (wanted, current) {
            (None, None) => return Ok(()),
            (Some(wanted), Some(current)) if equal(wanted, current) => return Ok(()),
            (Some(wanted), Some(current)) => {
                format!("received '{}' but current is '{}'", shown(wanted), shown(current))
            }
            (Some(wanted), None) => format!("received {} but current is none", described(wanted)),
            (None, Some(current)) => format!("received none but current is {}", described(current)),
        };
        Err(self.inequivalent(argument, &difference))
    }
}

/// `InvalidArgument`: a name was expected of an argument of `what`.
pub(crate) fn wrong_name_type(
    argument: &str,
    got: &Value,
    what: &str,
    name: &str,
    vhost: &str,
) -> BrokerError {
    let kind = type_word(got);
    let text = format!("invalid type '{kind}' for arg '{argument}' in {what} '{name}' in vhost '{vhost}'");
    BrokerError::new(ErrorKind::InvalidArgument, text)
}

fn equal(left: &Value, right: &Value) -> bool {
    left == right || left.as_i64().is_some_and(|number| right.as_i64() == Some(number))
}

/// A value as RabbitMQ's texts show it.
pub(crate) fn shown(value: &Value) -> String {
    value.to_text().map_or_else(|| super::value_json::value_to_json(value).to_string(), String::from)
}

/// The word by which RabbitMQ's texts call a type.
pub(crate) fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "void",
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) | Value::U64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::Timestamp(_) => "timestamp",
        Value::Str(_) => "longstr",
        Value::Bytes(_) => "binary",
        Value::Array(_) => "array",
        Value::Table(_) => "table",
    }
}
