//! Payloads to records. What is read is copied out of the read buffer once per message, so that a queued message
//! pins nothing but itself.

use super::primitives::Reader;
use super::{
    APPEND, COUNT, DEFINE, DELAY, DROP_QUEUE, DURABLE, ENQUEUE, EXTRA, LEASE, PAGE, PURGE, QUEUE, RETAIN,
    SETTLE, SHARD, TRIM, TTL, extra, state,
};
use bytes::Bytes;
use model::ids::QueueId;
use model::message::{Body, Message, Native, PropertyCodec};
use model::record::{Record, Target};
use std::fmt;
use std::sync::Arc;

/// Why a payload whose checksum was right is no record to this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// A record kind of a later release.
    UnknownKind(u8),
    /// Properties of a protocol that this build does not have.
    UnknownCodec(String),
    /// Makes no sense.
    Malformed(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownKind(kind) => write!(f, "record kind {kind}"),
            DecodeError::UnknownCodec(tag) => write!(f, "properties of protocol '{tag}'"),
            DecodeError::Malformed(what) => write!(f, "a record that makes no sense ({what})"),
        }
    }
}

/// Who reads which properties.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'static dyn PropertyCodec>;

/// Reads one record.
pub(crate) fn decode(kind: u8, payload: &[u8], codecs: Lookup<'_>) -> Result<Record, DecodeError> {
    let reader = &mut Reader::borrowed(payload);
    let record = match kind {
        ENQUEUE => {
            let targets = targets(reader)?;
            Record::Enqueue { message: decode_message(reader.rest(), codecs)?, targets }
        }
        SETTLE => settle(reader)?,
        PURGE => Record::Purge { queue: QueueId(reader.u64()?), through: reader.varint()? },
        COUNT => Record::Count {
            queue: QueueId(reader.u64()?),
            seq: reader.varint()?,
            deliveries: reader.varint_u32()?,
        },
        DROP_QUEUE => Record::DropQueue(QueueId(reader.u64()?)),
        APPEND => append(reader, codecs)?,
        TRIM => Record::Trim {
            stream: QueueId(reader.u64()?),
            shard: reader.varint_u32()?,
            first_offset: reader.varint()?,
        },
        RETAIN => {
            let (vhost, topic) = (reader.name()?, reader.name()?);
            let message = if reader.flag()? { Some(decode_message(reader.rest(), codecs)?) } else { None };
            Record::Retain { vhost, topic, message }
        }
        DEFINE => Record::Define {
            kind: reader.name()?,
            key: reader.name()?,
            value: if reader.flag()? { Some(reader.bytes()?) } else { None },
        },
        PAGE => state::page_record(reader)?,
        LEASE => state::lease(reader)?,
        QUEUE => Record::Queue(Box::new(state::queue(reader)?)),
        SHARD => Record::Shard(Box::new(state::shard(reader)?)),
        other => return Err(DecodeError::UnknownKind(other)),
    };
    reader.end()?;
    Ok(record)
}

fn targets(reader: &mut Reader<'_>) -> Result<Vec<Target>, DecodeError> {
    let target = |reader: &mut Reader<'_>| {
        Ok(Target { queue: QueueId(reader.u64()?), seq: reader.varint()?, via: reader.varint_u32()? })
    };
    (0..reader.count(10)?).map(|_| target(reader)).collect()
}

fn settle(reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let queue = QueueId(reader.u64()?);
    let count = reader.count(1)?;
    let mut seqs = Vec::with_capacity(count);
    let mut seq = 0u64;
    for _ in 0..count {
        seq = seq.wrapping_add(reader.varint()?);
        seqs.push(seq);
    }
    Ok(Record::Settle { queue, seqs })
}

fn append(reader: &mut Reader<'_>, codecs: Lookup<'_>) -> Result<Record, DecodeError> {
    let (stream, shard) = (QueueId(reader.u64()?), reader.varint_u32()?);
    let (first_offset, at_ms) = (reader.varint()?, reader.varint()?);
    let messages = (0..reader.count(4)?)
        .map(|_| {
            let len = reader.u32()? as usize;
            decode_message(reader.take(len)?, codecs)
        })
        .collect::<Result<_, _>>()?;
    Ok(Record::Append { stream, shard, first_offset, at_ms, messages })
}

/// Reads a message that takes all of `encoded`.
pub(crate) fn decode_message(encoded: &[u8], codecs: Lookup<'_>) -> Result<Arc<Message>, DecodeError> {
    let owner = Bytes::copy_from_slice(encoded);
    let reader = &mut Reader::owned(&owner);
    let flags = reader.u8()?;
    if flags & !(DURABLE | TTL | DELAY | EXTRA) != 0 {
        return Err(DecodeError::Malformed("unknown message flag"));
    }
    let priority = reader.u8()?;
    let published_ms = reader.varint()?;
    let ttl_ms = if flags & TTL != 0 { Some(reader.varint()?) } else { None };
    let delay_ms = if flags & DELAY != 0 { Some(reader.varint()?) } else { None };
    let (exchange, routing_key) = (reader.name()?, reader.name()?);
    let tag = reader.str()?;
    let codec = codecs(tag).ok_or_else(|| DecodeError::UnknownCodec(tag.to_owned()))?;
    let native = Native { codec, properties: reader.bytes()? };
    let extra = if flags & EXTRA != 0 { Some(Box::new(extra::decode(reader)?)) } else { None };
    let body = Body::from(reader.rest_bytes());
    let mut message = Message::new(exchange, routing_key, native, body, published_ms);
    message.durable = flags & DURABLE != 0;
    message.priority = priority;
    message.ttl_ms = ttl_ms;
    message.delay_ms = delay_ms;
    message.extra = extra;
    Ok(Arc::new(message))
}
