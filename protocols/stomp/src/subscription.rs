//! What a SUBSCRIBE asks for, read from its headers: the queue to declare, the binding, the consumer, and how its
//! messages are to be shown. Refuses to talk to the broker.

use crate::{
    config::StompConfig,
    convert::put_header,
    destination::{Destination, TEMP_QUEUE},
    error::Fault,
    escape::escape,
    frame::Frame,
    version::Version,
};
use bytes::Bytes;
use model::{
    Millis, Name,
    command::StreamPosition,
    definition::{BindingDefinition, Destination as Target, QueueDeclare},
    ids::ConsumerId,
    limits::NAME_BYTES_MAX,
    value::{Table, Value},
};

/// A subscription that is there.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) consumer: ConsumerId,
    /// `T_<id>`, or `Q_<destination>` for one without id.
    pub(crate) tag: Name,
    pub(crate) auto_ack: bool,
    /// An ACK covers all earlier messages too.
    pub(crate) cumulative: bool,
    /// How errors call it.
    pub(crate) description: Name,
    /// The queue behind it.
    pub(crate) queue: Name,
    /// On `/topic`: UNSUBSCRIBE with `durable:true` deletes the queue.
    pub(crate) deletable: bool,
    /// A MESSAGE up to its destination.
    pub(crate) head: Bytes,
    /// The `message-id` up to its number.
    pub(crate) message_id: Bytes,
}

/// What separates the parts of a message id.
pub(crate) const ID_SEPARATOR: &str = "@@";

/// How a subscription is called: by `id`, else by destination.
pub(crate) struct Label {
    pub(crate) tag: Name,
    pub(crate) id: Option<Name>,
    pub(crate) description: Name,
}

impl Label {
    /// The label that a SUBSCRIBE or UNSUBSCRIBE gives.
    pub(crate) fn of(frame: &Frame) -> Result<Self, Fault> {
        let command = frame.command_text();
        if let Some(id) = frame.header("id") {
            if id.strip_prefix(TEMP_QUEUE).is_some_and(|rest| rest.starts_with('/')) {
                let body = format!("{command} 'id' may not start with {TEMP_QUEUE}/\n");
                return Err(Fault::open("Invalid id", body));
            }
            return Ok(Self::by_id(id));
        }
        let Some(destination) = frame.header("destination") else {
            let body = format!("{command} must include a 'destination' or 'id' header\n");
            return Err(Fault::open("Missing destination or id", body));
        };
        let description = format!("destination='{destination}'").into();
        Ok(Self { tag: format!("Q_{destination}").into(), id: None, description })
    }

    /// The label of a subscription with an id.
    pub(crate) fn by_id(id: &str) -> Self {
        Self { tag: format!("T_{id}").into(), id: Some(id.into()), description: format!("id='{id}'").into() }
    }

    /// The parts of a MESSAGE that are the same for all of its messages.
    pub(crate) fn message_parts(&self, version: Version, session: &str) -> (Bytes, Bytes) {
        let mut head = b"MESSAGE\n".to_vec();
        if let Some(id) = &self.id {
            put_header("subscription", id, version, &mut head);
        }
        head.extend_from_slice(b"destination:");
        let mut message_id = Vec::new();
        escape(&format!("{}{ID_SEPARATOR}{session}{ID_SEPARATOR}", self.tag), version, &mut message_id);
        (head.into(), message_id.into())
    }
}

/// `durable:true`, or its alias.
pub(crate) fn is_durable(frame: &Frame) -> bool {
    frame.flag("durable").or_else(|| frame.flag("persistent")).unwrap_or(false)
}

/// Acknowledgement mode as (auto, cumulative).
pub(crate) fn ack_mode(frame: &Frame) -> Result<(bool, bool), Fault> {
    match frame.header("ack") {
        None | Some("auto") => Ok((true, false)),
        Some("client") => Ok((false, true)),
        Some("client-individual") => Ok((false, false)),
        Some(other) => Err(Fault::invalid_header("ack", other, "auto, client or client-individual")),
    }
}

/// A number in header `name`.
pub(crate) fn number<T: std::str::FromStr>(frame: &Frame, name: &'static str) -> Result<Option<T>, Fault> {
    let Some(text) = frame.header(name) else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| Fault::invalid_header(name, text, "a number in range"))
}

/// `prefetch-count`; 0 and absence are no limit.
pub(crate) fn credit(frame: &Frame) -> Result<u32, Fault> {
    Ok(number::<u32>(frame, "prefetch-count")?.filter(|count| *count > 0).unwrap_or(u32::MAX))
}

/// `x-stream-offset`: `first`, `last`, `next`, `offset=n` or `timestamp=seconds`.
pub(crate) fn stream_position(frame: &Frame) -> Result<Option<StreamPosition>, Fault> {
    const HEADER: &str = "x-stream-offset";
    let Some(text) = frame.header(HEADER) else { return Ok(None) };
    let position = match text.split_once('=') {
        None if text == "first" => Some(StreamPosition::First),
        None if text == "last" => Some(StreamPosition::Last),
        None if text == "next" => Some(StreamPosition::Next),
        Some(("offset", number)) => number.parse().ok().map(StreamPosition::Offset),
        Some(("timestamp", seconds)) => {
            seconds.parse::<Millis>().ok().map(|at| StreamPosition::Time(at.saturating_mul(1000)))
        }
        _ => None,
    };
    let wanted = "first, last, next, offset=<number> or timestamp=<seconds>";
    position.map(Some).ok_or_else(|| Fault::invalid_header(HEADER, text, wanted))
}

/// Consumer arguments, for the stream engine and for listings.
pub(crate) fn consumer_arguments(frame: &Frame) -> Table {
    let mut arguments = Table::new();
    if let Some(filter) = frame.header("x-stream-filter") {
        let filters = filter.split(',').map(|one| Value::str(one.trim())).collect();
        arguments.push("x-stream-filter", Value::Array(filters));
    }
    if let Some(flag) = frame.flag("x-stream-match-unfiltered") {
        arguments.push("x-stream-match-unfiltered", Value::Bool(flag));
    }
    if let Some(offset) = frame.header("x-stream-offset") {
        arguments.push("x-stream-offset", Value::str(offset));
    }
    arguments
}

/// Queue arguments that SEND and SUBSCRIBE may carry, by type.
fn queue_arguments(frame: &Frame) -> Result<Table, Fault> {
    const NUMBERS: [&str; 8] = [
        "x-message-ttl",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
        "x-delivery-limit",
        "x-stream-max-segment-size-bytes",
        "x-stream-filter-size-bytes",
    ];
    const TEXTS: [&str; 6] = [
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-queue-type",
        "x-max-age",
        "x-overflow",
        "x-queue-mode",
    ];
    let mut arguments = Table::new();
    for (name, value) in frame.headers().filter(|(name, _)| name.starts_with("x-")) {
        if arguments.get(name).is_some() {
            continue;
        }
        if NUMBERS.contains(&name) {
            let number = value.trim().parse().map_err(|_| Fault::invalid_header(name, value, "a number"))?;
            arguments.push(name, Value::I64(number));
        } else if TEXTS.contains(&name) {
            arguments.push(name, Value::str(value));
        } else if name == "x-single-active-consumer"
            && let Ok(flag) = value.parse()
        {
            arguments.push(name, Value::Bool(flag));
        }
    }
    Ok(arguments)
}

/// The queue behind `/queue/<name>`, as a SEND or a SUBSCRIBE declares it. `persistent:false` makes it transient:
/// a quirk of RabbitMQ's that is kept.
pub(crate) fn plain_queue(frame: &Frame, name: Name, config: &StompConfig) -> Result<QueueDeclare, Fault> {
    let durable = frame.flag("durable").or_else(|| frame.flag("persistent"));
    Ok(QueueDeclare {
        name,
        passive: false,
        durable: durable.unwrap_or(true),
        exclusive: frame.flag("exclusive").unwrap_or(false),
        auto_delete: frame.flag("auto-delete").unwrap_or(false),
        arguments: queue_arguments(frame)?,
        attach: config.attach,
    })
}

/// Queue and binding of a subscription to an exchange or a topic. `fresh` names a queue that need not be found
/// again, `derived` the one of a durable subscription.
pub(crate) fn bound_queue(
    frame: &Frame,
    destination: &Destination,
    config: &StompConfig,
    fresh: impl FnOnce() -> Name,
    derived: impl FnOnce() -> Name,
) -> Result<(QueueDeclare, BindingDefinition), Fault> {
    let durable = is_durable(frame);
    let name = match frame.header("x-queue-name") {
        Some(name) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
            return Err(Fault::invalid_header("x-queue-name", name, "a name of at most 255 bytes"));
        }
        Some(name) => name.into(),
        None if durable => derived(),
        None => fresh(),
    };
    let of_exchange = matches!(destination, Destination::Exchange { .. });
    let declare = QueueDeclare {
        name: name.clone(),
        passive: false,
        durable,
        exclusive: frame.flag("exclusive").unwrap_or(of_exchange && !durable),
        auto_delete: frame.flag("auto-delete").unwrap_or(!durable),
        arguments: queue_arguments(frame)?,
        attach: config.attach,
    };
    let (source, key) = destination.address(&config.topic_exchange);
    let binding =
        BindingDefinition { source, destination: Target::Queue(name), key, arguments: Table::new() };
    Ok((declare, binding))
}
