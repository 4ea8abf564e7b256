//! What the broker keeps for a session one by one, through a crash too ([`model::command::Op::Keep`]).
//!
//! ```text
//! slot 0          subscriptions to queues: | options u8, subscription id u32, name u16 + bytes | ...
//! slot 1..=65535  packet identifier of a QoS 2 message from the client that is not released:
//!                 | flags u8: 1 retain, 2 declare, 4 durable | published u64 | time to live u64, all ones for none
//!                 | exchange, key, partition key, message id (both empty for none): each u16 + bytes
//!                 | properties, body: each u32 + bytes
//! slot 65536 + n  packet identifier n of a QoS 2 message to the client that was released:
//!                 | order among the released ones u64 | number in the session's queue u64, all ones for none
//! ```

use super::publish::Ready;
use crate::{
    codec::{Reader, Version, put_binary, subscribe::Options},
    convert::MQTT,
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

/// Where the subscriptions to queues are kept.
pub(super) const QUEUES: u32 = 0;
const RELEASED: u32 = 0x1_0000;
const NO_SEQ: u64 = u64::MAX;

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The subscriptions to queues.
    Queues,
    /// A message from the client.
    Message(u16),
    /// An identifier towards the client.
    Released(u16),
}

impl Slot {
    /// Which slot a number is; `None` for a number that this version does not use.
    pub(super) fn of(number: u32) -> Option<Self> {
        let id = (number & 0xffff) as u16;
        match number & !0xffff {
            0 if id == 0 => Some(Self::Queues),
            0 => Some(Self::Message(id)),
            RELEASED if id != 0 => Some(Self::Released(id)),
            _ => None,
        }
    }
}

/// Where a released identifier is kept.
pub(super) fn released_slot(packet_id: u16) -> u32 {
    RELEASED | u32::from(packet_id)
}

/// A subscription to a queue.
pub(super) type QueueTerms = (Name, Options, Option<u32>);

fn put_long(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

fn put_message(ready: &Ready, out: &mut BytesMut) {
    let Ready { message, retain, declare, .. } = ready;
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.put_u8(flag(*retain, RETAIN) | flag(*declare, DECLARE) | flag(message.durable, DURABLE));
    out.put_u64(message.published_ms);
    out.put_u64(message.ttl_ms.unwrap_or(NO_TTL));
    put_binary(out, message.exchange.as_bytes());
    put_binary(out, message.routing_key.as_bytes());
    let partition_key = message.extra.as_ref().and_then(|extra| extra.partition_key.as_deref());
    put_binary(out, partition_key.unwrap_or_default().as_bytes());
    let message_id = message.extra.as_ref().and_then(|extra| extra.message_id.as_deref());
    put_binary(out, message_id.unwrap_or_default().as_bytes());
    put_long(out, &message.native.properties);
    put_long(out, &message.body.joined());
}

/// Reads what [`message`] made.
pub(super) fn read_message(bytes: &[u8]) -> Result<Ready, Refusal> {
    let reader = &mut Reader::new(bytes);
    let flags = reader.u8()?;
    let (published_ms, ttl_ms) = (reader.u64()?, reader.u64()?);
    let name = |reader: &mut Reader<'_>| reader.text().map(Name::from);
    let (exchange, key, partition_key) = (name(reader)?, name(reader)?, name(reader)?);
    let message_id = name(reader)?;
    let native = Native { codec: &MQTT, properties: read_long(reader)? };
    let body = read_long(reader)?;
    let mut message = Message::new(exchange, key, native, body.into(), published_ms);
    message.durable = flags & DURABLE != 0;
    message.ttl_ms = Some(ttl_ms).filter(|ttl| *ttl != NO_TTL);
    if !partition_key.is_empty() {
        message.extra_mut().partition_key = Some(partition_key);
    }
    if !message_id.is_empty() {
        message.extra_mut().message_id = Some(message_id);
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

/// The id of the message that is kept in this slot, if it is one: what tells after a crash whether it was published.
pub fn kept_message_id(slot: u32, value: &[u8]) -> Option<Name> {
    let Some(Slot::Message(_)) = Slot::of(slot) else { return None };
    read_message(value).ok()?.message.extra.as_ref()?.message_id.clone()
}

/// A released identifier: its place in the order of release, and the number of its message in the session's queue.
pub(super) fn released(order: u64, seq: Option<u64>) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    out.put_u64(order);
    out.put_u64(seq.unwrap_or(NO_SEQ));
    out.freeze()
}

/// Reads what [`released`] made.
pub(super) fn read_released(bytes: &[u8]) -> Result<(u64, Option<u64>), Refusal> {
    let mut reader = Reader::new(bytes);
    Ok((reader.u64()?, Some(reader.u64()?).filter(|seq| *seq != NO_SEQ)))
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
        original.extra_mut().message_id = Some("id".into());
        let ready = Ready { message: Arc::new(original), retain: true, declare: true, token: None };
        let bytes = message(&ready);
        let back = read_message(&bytes).unwrap();
        assert_eq!(kept_message_id(7, &bytes).as_deref(), Some("id"));
        assert_eq!(
            (kept_message_id(QUEUES, &bytes), kept_message_id(released_slot(7), &bytes)),
            (None, None)
        );
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
    fn released_identifiers_come_back() {
        assert_eq!(Slot::of(released_slot(u16::MAX)), Some(Slot::Released(u16::MAX)));
        assert_eq!((Slot::of(released_slot(0)), Slot::of(1 << 20)), (None, None));
        for seq in [Some(5), None] {
            assert_eq!(read_released(&released(3, seq)).unwrap(), (3, seq));
        }
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
            let _ = read_message(&bytes);
            let _ = read_released(&bytes);
            let _ = read_queues(&bytes);
        }
    }
}
