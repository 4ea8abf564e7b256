//! Records to frames.

use super::primitives::{VARINT_BYTES_MAX, bytes_max, put_bytes, put_u64, put_varint};
use super::{
    APPEND, COUNT, DEFINE, DELAY, DROP_QUEUE, DURABLE, ENQUEUE, EXTRA, LEASE, PAGE, PURGE, QUEUE, RETAIN,
    SETTLE, SHARD, TRIM, TTL, extra, state,
};
use crate::format::frame_bytes;
use crate::group::Group;
use model::message::Message;
use model::record::{Record, Target};

/// Appends one record to a group as one frame.
pub(crate) fn encode(record: &Record, group: &mut Group) {
    group.begin_frame(kind(record));
    let head = group.head();
    match record {
        Record::Enqueue { message, targets } => {
            put_varint(head, targets.len() as u64);
            targets.iter().for_each(|target| put_target(head, target));
            put_message_head(head, message);
            group.body(&message.body);
        }
        Record::Settle { queue, seqs } => {
            put_u64(head, queue.0);
            put_varint(head, seqs.len() as u64);
            let mut before = 0;
            for seq in seqs {
                put_varint(head, seq.wrapping_sub(before));
                before = *seq;
            }
        }
        Record::Purge { queue, through } => {
            put_u64(head, queue.0);
            put_varint(head, *through);
        }
        Record::Count { queue, seq, deliveries } => {
            put_u64(head, queue.0);
            put_varint(head, *seq);
            put_varint(head, u64::from(*deliveries));
        }
        Record::DropQueue(queue) => put_u64(head, queue.0),
        Record::Append { stream, shard, first_offset, at_ms, messages } => {
            put_u64(head, stream.0);
            put_varint(head, u64::from(*shard));
            put_varint(head, *first_offset);
            put_varint(head, *at_ms);
            put_varint(head, messages.len() as u64);
            messages.iter().for_each(|message| put_measured(group, message));
        }
        Record::Trim { stream, shard, first_offset } => {
            put_u64(head, stream.0);
            put_varint(head, u64::from(*shard));
            put_varint(head, *first_offset);
        }
        Record::Retain { vhost, topic, message } => {
            put_bytes(head, vhost.as_bytes());
            put_bytes(head, topic.as_bytes());
            head.push(u8::from(message.is_some()));
            if let Some(message) = message {
                put_message_head(head, message);
                group.body(&message.body);
            }
        }
        Record::Define { kind, key, value } => {
            put_bytes(head, kind.as_bytes());
            put_bytes(head, key.as_bytes());
            head.push(u8::from(value.is_some()));
            value.iter().for_each(|value| put_bytes(head, value));
        }
        Record::Page { queue, shard, page } => state::put_page_record(head, *queue, *shard, page),
        Record::Lease { queue, until_ms, taken } => state::put_lease(head, *queue, *until_ms, taken),
        Record::Queue(queue) => state::put_queue(head, queue),
        Record::Shard(shard) => state::put_shard(head, shard),
    }
    group.end_frame();
}

fn kind(record: &Record) -> u8 {
    match record {
        Record::Enqueue { .. } => ENQUEUE,
        Record::Settle { .. } => SETTLE,
        Record::Purge { .. } => PURGE,
        Record::Count { .. } => COUNT,
        Record::DropQueue(_) => DROP_QUEUE,
        Record::Append { .. } => APPEND,
        Record::Trim { .. } => TRIM,
        Record::Retain { .. } => RETAIN,
        Record::Define { .. } => DEFINE,
        Record::Page { .. } => PAGE,
        Record::Lease { .. } => LEASE,
        Record::Queue(_) => QUEUE,
        Record::Shard(_) => SHARD,
    }
}

fn put_target(out: &mut Vec<u8>, target: &Target) {
    put_u64(out, target.queue.0);
    put_varint(out, target.seq);
    put_varint(out, u64::from(target.via));
}

/// A message alone, as [`super::decode_message`] reads it.
pub(crate) fn encode_message(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(message_bytes_max(message));
    put_message_head(&mut out, message);
    message.body.pieces().iter().for_each(|piece| out.extend_from_slice(piece));
    out
}

/// A message among others, behind its length.
fn put_measured(group: &mut Group, message: &Message) {
    let head = group.head();
    let at = head.len();
    head.extend_from_slice(&[0; 4]);
    put_message_head(head, message);
    let len = (head.len() - at - 4 + message.body.len()) as u32;
    if let Some(place) = head.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    group.body(&message.body);
}

/// All of a message but its body, which comes right behind.
fn put_message_head(out: &mut Vec<u8>, message: &Message) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(message.durable, DURABLE)
            | flag(message.ttl_ms.is_some(), TTL)
            | flag(message.delay_ms.is_some(), DELAY)
            | flag(message.extra.is_some(), EXTRA),
    );
    out.push(message.priority);
    put_varint(out, message.published_ms);
    message.ttl_ms.iter().for_each(|ttl_ms| put_varint(out, *ttl_ms));
    message.delay_ms.iter().for_each(|delay_ms| put_varint(out, *delay_ms));
    put_bytes(out, message.exchange.as_bytes());
    put_bytes(out, message.routing_key.as_bytes());
    put_bytes(out, message.native.codec.tag().as_bytes());
    put_bytes(out, &message.native.properties);
    message.extra.iter().for_each(|extra| extra::encode(extra, out));
}

/// An upper bound of what a record takes in the file, cheap to find.
pub(crate) fn frame_bytes_max(record: &Record) -> usize {
    let payload = match record {
        Record::Enqueue { message, targets } => {
            VARINT_BYTES_MAX
                + targets.len().saturating_mul(8 + 2 * VARINT_BYTES_MAX)
                + message_bytes_max(message)
        }
        Record::Settle { seqs, .. } => 8 + VARINT_BYTES_MAX + seqs.len().saturating_mul(VARINT_BYTES_MAX),
        Record::Purge { .. } | Record::Count { .. } | Record::DropQueue(_) | Record::Trim { .. } => {
            8 + 2 * VARINT_BYTES_MAX
        }
        Record::Append { messages, .. } => {
            let messages: usize = messages.iter().map(|message| 4 + message_bytes_max(message)).sum();
            8 + 4 * VARINT_BYTES_MAX + messages
        }
        Record::Retain { vhost, topic, message } => {
            let message = message.as_ref().map_or(0, |message| message_bytes_max(message));
            bytes_max(vhost.len()) + bytes_max(topic.len()) + 1 + message
        }
        Record::Define { kind, key, value } => {
            let value = value.as_ref().map_or(0, |value| bytes_max(value.len()));
            bytes_max(kind.len()) + bytes_max(key.len()) + 1 + value
        }
        Record::Page { .. } => 8 + VARINT_BYTES_MAX + state::PAGE_BYTES_MAX,
        Record::Lease { taken, .. } => 8 + (2 + 2 * taken.len()) * VARINT_BYTES_MAX,
        Record::Queue(queue) => state::queue_bytes_max(queue),
        Record::Shard(shard) => {
            let numbers = 5 + 2 * shard.live.len();
            8 + numbers * VARINT_BYTES_MAX + shard.pages.len() * state::PAGE_BYTES_MAX
        }
    };
    frame_bytes(payload)
}

fn message_bytes_max(message: &Message) -> usize {
    2 + 3 * VARINT_BYTES_MAX
        + bytes_max(message.exchange.len())
        + bytes_max(message.routing_key.len())
        + bytes_max(message.native.codec.tag().len())
        + bytes_max(message.native.properties.len())
        + message.extra.as_ref().map_or(0, |extra| extra::encoded_bytes_max(extra))
        + message.body.len()
}
