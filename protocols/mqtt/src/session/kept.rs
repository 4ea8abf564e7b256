//! Messages and subscriptions as bytes that the broker keeps for a session, one by one ([`model::command::Op::Keep`]) or in
//! the blob of its state.
//!
//! ```text
//! message: | flags u8: 1 retain, 2 declare, 4 durable | published u64 | time to live u64, all ones for none      |
//!          | exchange, key, partition key (empty for none): each u16 + bytes | properties, body: each u32 + bytes |
//! queues:  | options u8, subscription id u32, name u16 + bytes | ...                                            |
//! ```

use super::publish::Ready;
use crate::{
    codec::{Reader, Version, put_binary, subscribe::Options},
    convert::{self, MQTT},
    errors::Refusal,
};
use bytes::{BufMut, Bytes, BytesMut};
use model::{
    Name,
    message::{Message, Native},
};
use std::sync::Arc;

const RETAIN: u8 = 1;
const DECLARE: u8 = 2;
const DURABLE: u8 = 4;
const NO_TTL: u64 = u64::MAX;

/// Where the subscriptions to queues are kept; other slots are packet identifiers, which are never 0.
pub(super) const QUEUES: u16 = 0;

/// A subscription to a queue.
pub(super) type QueueTerms = (Name, Options, Option<u32>);

fn put_long(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

/// Appends a message. One of another protocol is kept as what it is to MQTT.
pub(super) fn put_message(ready: &Ready, out: &mut BytesMut) {
    let Ready { message, retain, declare, .. } = ready;
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.put_u8(flag(*retain, RETAIN) | flag(*declare, DECLARE) | flag(message.durable, DURABLE));
    out.put_u64(message.published_ms);
    out.put_u64(message.ttl_ms.unwrap_or(NO_TTL));
    put_binary(out, message.exchange.as_bytes());
    put_binary(out, message.routing_key.as_bytes());
    let partition_key = message.extra.as_ref().and_then(|extra| extra.partition_key.as_deref());
    put_binary(out, partition_key.unwrap_or_default().as_bytes());
    let origin = convert::origin(message);
    let mut scratch = BytesMut::new();
    let properties = convert::forwarded(message, origin, &mut scratch);
    out.put_u32(properties.len() as u32 + 1);
    out.put_u8(convert::flags(origin.qos, origin.retain));
    out.put_slice(properties);
    put_long(out, &message.body.joined());
}

/// Reads what [`put_message`] wrote.
pub(super) fn read_message(reader: &mut Reader<'_>) -> Result<Ready, Refusal> {
    let flags = reader.u8()?;
    let (published_ms, ttl_ms) = (reader.u64()?, reader.u64()?);
    let name = |reader: &mut Reader<'_>| reader.text().map(Name::from);
    let (exchange, key, partition_key) = (name(reader)?, name(reader)?, name(reader)?);
    let native = Native { codec: &MQTT, properties: read_long(reader)? };
    let body = read_long(reader)?;
    let mut message = Message::new(exchange, key, native, body.into(), published_ms);
    message.durable = flags & DURABLE != 0;
    message.ttl_ms = Some(ttl_ms).filter(|ttl| *ttl != NO_TTL);
    if !partition_key.is_empty() {
        message.extra_mut().partition_key = Some(partition_key);
    }
    Ok(Ready {
        message: Arc::new(message),
        retain: flags & RETAIN != 0,
        declare: flags & DECLARE != 0,
        token: None,
    })
}

fn read_long(reader: &mut Reader<'_>) -> Result<Bytes, Refusal> {
    let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    Ok(Bytes::copy_from_slice(reader.take(length)?))
}

/// A message to be kept.
pub(super) fn message(ready: &Ready) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + ready.message.cost_bytes());
    put_message(ready, &mut out);
    out.freeze()
}

/// The subscriptions to queues, to be kept; `None` when there are none.
pub(super) fn queues(queues: &[QueueTerms]) -> Option<Bytes> {
    let mut out = BytesMut::new();
    for (name, options, subscription_id) in queues {
        out.put_u8(options.encode());
        out.put_u32(subscription_id.unwrap_or(0));
        put_binary(&mut out, name.as_bytes());
    }
    (!out.is_empty()).then(|| out.freeze())
}

/// Reads what [`queues`] made.
pub(super) fn read_queues(bytes: &[u8]) -> Result<Vec<QueueTerms>, Refusal> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while !reader.is_empty() {
        let options = Options::decode(reader.u8()?, Version::V5)?;
        let subscription_id = Some(reader.u32()?).filter(|id| *id != 0);
        found.push((reader.text()?.into(), options, subscription_id));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_come_back() {
        let native = Native { codec: &MQTT, properties: Bytes::from_static(&[5, 1, 1]) };
        let mut original =
            Message::new("x".into(), "a.b".into(), native, Bytes::from_static(b"body").into(), 7);
        original.durable = true;
        original.ttl_ms = Some(9);
        original.extra_mut().partition_key = Some("k".into());
        let ready = Ready { message: Arc::new(original), retain: true, declare: true, token: None };
        let bytes = message(&ready);
        let back = read_message(&mut Reader::new(&bytes)).unwrap();
        let (old, new) = (&ready.message, &back.message);
        assert!(back.retain && back.declare && new.durable);
        assert_eq!(
            (&new.exchange, &new.routing_key, &new.body),
            (&old.exchange, &old.routing_key, &old.body)
        );
        assert_eq!((new.published_ms, new.ttl_ms, &new.extra), (7, Some(9), &old.extra));
        assert_eq!(new.native.properties, old.native.properties);
    }

    #[test]
    fn queues_come_back() {
        let options = Options { qos: 2, no_local: true, retain_as_published: true, retain_handling: 2 };
        let terms = [("orders".into(), options, Some(9)), ("b".into(), Options::default(), None)];
        assert_eq!(read_queues(&queues(&terms).unwrap()).unwrap(), terms);
        assert_eq!(queues(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_message(&mut Reader::new(&bytes));
            let _ = read_queues(&bytes);
        }
    }
}
