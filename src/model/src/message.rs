//! The message: immutable once published, shared by `Arc`, native properties kept verbatim beside a lazy envelope.

use crate::{Millis, Name, envelope::Envelope, value::Value};
use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;
use std::fmt;
use std::sync::OnceLock;

/// Reads the properties that a protocol stored verbatim. One static value per protocol, listed by the registry.
pub trait PropertyCodec: Send + Sync {
    /// Short stable tag written to the log, for example `amqp`.
    fn tag(&self) -> &'static str;

    /// The envelope that `properties` (bytes this codec's own session stored) stand for. Never fails: what can not
    /// be read is left out.
    fn envelope(&self, properties: &Bytes) -> Envelope;

    /// What the publisher was told that its message is known by, as far as the properties say: opaque to the broker,
    /// handed back to a publisher that repeats itself ([`crate::command::Op::FindDuplicate`]).
    fn identity(&self, properties: &Bytes) -> Bytes {
        let _ = properties;
        Bytes::new()
    }

    /// The same properties with a header set; as they are where a protocol has no such thing.
    fn with_header(&self, properties: &Bytes, name: &str, value: &Value) -> Bytes {
        let _ = (name, value);
        properties.clone()
    }
}

/// Properties exactly as the origin encoded them. The same protocol out hands them back untouched.
#[derive(Clone)]
pub struct Native {
    /// Who can read `properties`.
    pub codec: &'static dyn PropertyCodec,
    /// The origin's own encoding; what is in it is that protocol's business.
    pub properties: Bytes,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{} B]", self.codec.tag(), self.properties.len())
    }
}

/// A body: one slice of a read buffer, or a short rope of them. Multi-frame bodies are never joined on the hot path.
#[derive(Clone, Debug, Default)]
pub struct Body(SmallVec<[Bytes; 1]>);

impl Body {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece at the end; empty pieces are left out.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.0.push(piece);
        }
    }

    /// Total length in bytes.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// True when there is no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pieces in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.0
    }

    /// The body as one slice; copies only when it is a rope.
    pub fn joined(&self) -> Bytes {
        match self.0.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut out = BytesMut::with_capacity(self.len());
                many.iter().for_each(|piece| out.extend_from_slice(piece));
                out.freeze()
            }
        }
    }

    /// The pieces of `range_len` bytes from `start`, without copying; shorter when the body ends before.
    pub fn slice(&self, start: usize, range_len: usize) -> Body {
        let (mut skip, mut left, mut out) = (start, range_len, Body::new());
        for piece in &self.0 {
            let mut rest = piece.clone();
            let skipped = skip.min(rest.len());
            rest.advance(skipped);
            skip -= skipped;
            rest.truncate(left);
            left -= rest.len();
            out.push(rest);
        }
        out
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Body::new();
        body.push(bytes);
        body
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.joined() == other.joined()
    }
}

/// Why a message was dead-lettered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// Rejected or nacked without requeue.
    Rejected,
    /// Time to live ran out.
    Expired,
    /// Pushed out by a length limit.
    MaxLength,
    /// Delivered too often.
    DeliveryLimit,
}

impl DeathReason {
    /// The word used in `x-death`.
    pub fn as_str(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLength => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// One entry of a message's dead-letter history: one per (queue, reason), newest first in [`Extra::deaths`].
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// The queue that it died in.
    pub queue: Name,
    /// Why.
    pub reason: DeathReason,
    /// How often it died there for that reason.
    pub count: u64,
    /// Last time.
    pub time_ms: Millis,
    /// Exchange that it had been published to.
    pub exchange: Name,
    /// Routing keys that it had been published with.
    pub routing_keys: Vec<Name>,
    /// Time to live it carried, when that was removed.
    pub original_ttl_ms: Option<u64>,
}

/// What only some messages carry; boxed so that the others do not pay for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// Message group (FIFO ordering unit).
    pub group: Option<Name>,
    /// Deduplication id (FIFO, five minutes).
    pub dedup: Option<Name>,
    /// Identity assigned by the broker at the door, where the protocol reports one (SQS MessageId).
    pub message_id: Option<Name>,
    /// Further routing keys to route by (AMQP CC and BCC).
    pub extra_keys: Vec<Name>,
    /// Partition key of a stream where it is not the routing key.
    pub partition_key: Option<Name>,
    /// Explicit hash key of a stream: where in its key space the record goes, whatever the partition key.
    pub explicit_hash: Option<u128>,
    /// Dead-letter history, newest first.
    pub deaths: Vec<Death>,
    /// First death, kept when the list is pruned.
    pub first_death: Option<(Name, DeathReason, Name)>,
    /// Tracing header carried as it came (SQS AWSTraceHeader).
    pub trace: Option<Name>,
    /// Who sent it, where the protocol reports it (SQS SenderId).
    pub sender: Option<Name>,
}

/// An immutable message. Made by a session (or by a transformation), shared by `Arc` ever after.
#[derive(Debug)]
pub struct Message {
    /// Exchange it was published to; empty is the default exchange.
    pub exchange: Name,
    /// Routing key, in core form (words separated by `.`; see docs/crossing.md for how each door spells it).
    pub routing_key: Name,
    /// Properties verbatim.
    pub native: Native,
    /// The payload.
    pub body: Body,
    /// Worth an fdatasync in a durable queue; also what makes it QoS 1 at an MQTT door.
    pub durable: bool,
    /// 0 when the publisher said nothing.
    pub priority: u8,
    /// Time to live from publication, milliseconds, as asked by the publisher.
    pub ttl_ms: Option<u64>,
    /// Not deliverable before this many milliseconds after publication.
    pub delay_ms: Option<u64>,
    /// When the broker took it in.
    pub published_ms: Millis,
    /// The rare rest.
    pub extra: Option<Box<Extra>>,
    envelope: OnceLock<Box<Envelope>>,
}

impl Message {
    /// A transient message with the given address, properties and body; other fields are set by the caller.
    pub fn new(exchange: Name, routing_key: Name, native: Native, body: Body, published_ms: Millis) -> Self {
        Self {
            exchange,
            routing_key,
            native,
            body,
            durable: false,
            priority: 0,
            ttl_ms: None,
            delay_ms: None,
            published_ms,
            extra: None,
            envelope: OnceLock::new(),
        }
    }

    /// The neutral envelope, converted from the native properties on first use.
    pub fn envelope(&self) -> &Envelope {
        self.envelope.get_or_init(|| Box::new(self.native.codec.envelope(&self.native.properties)))
    }

    /// What a stream shards it by: the partition key if it has one of its own, else the routing key.
    pub fn partition_key(&self) -> &Name {
        self.extra.as_ref().and_then(|extra| extra.partition_key.as_ref()).unwrap_or(&self.routing_key)
    }

    /// The rare rest, made when absent. For whoever builds a message before it is shared.
    pub fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Bytes this message costs a queue: body, properties, key and a fixed overhead.
    pub fn cost_bytes(&self) -> usize {
        self.body.len() + self.native.properties.len() + self.routing_key.len() + 160
    }

    /// A copy with the same content (bodies shared) that can be changed before it is shared again.
    pub fn derive(&self) -> Message {
        Message {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
            native: self.native.clone(),
            body: self.body.clone(),
            durable: self.durable,
            priority: self.priority,
            ttl_ms: self.ttl_ms,
            delay_ms: self.delay_ms,
            published_ms: self.published_ms,
            extra: self.extra.clone(),
            envelope: OnceLock::new(),
        }
    }
}
