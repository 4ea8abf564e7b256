//! Records as bytes and back. What is written once is read for ever: numbers and layouts below do not change; what
//! is new gets a new record kind or a new bit.
//!
//! ```text
//! v = LEB128 number   s = v length, bytes   [..] = only when its flag says so   {..}* = v count, then so many
//! kind  2 enqueue    {queue u64, seq v, via v}*  message
//!       3 settle     queue u64  {difference to the seq before, wrapping, v}*
//!       4 purge      queue u64  through v
//!       5 count      queue u64  seq v  deliveries v
//!       6 drop queue queue u64
//!       7 append     stream u64  shard v  first offset v  at v  {length u32, message}*
//!       8 trim       stream u64  shard v  first offset v
//!       9 retain     vhost s  topic s  0 | 1 message
//!      10 define     kind s  key s  0 | 1 value s
//!      11 page      queue u64  shard v  page
//!      12 lease     queue u64  until v  {seq v, deliveries v}*
//!      13 queue     queue u64  next v  spans  {seq v, failures v}*  {page, spans}*  {seq v, until v, deliveries v}*
//!                   {group s, id s, until v, identity s}*         (in snapshots only)
//!      14 shard     stream u64  shard v  first v  next v  spans  {page}*      (in snapshots only)
//! page    number v  file bytes v  first v  count v  body bytes v  cost bytes v  first time v  last time v
//! spans   {first v, last v}*
//! message flags u8 (1 durable, 2 ttl, 4 delay, 8 extra)  priority u8  published v  [ttl v]  [delay v]
//!         exchange s  routing key s  codec tag s  properties s  [extra]  body: all that follows
//! extra   flags u8 (1 group, 2 dedup, 4 message id, 8 hash, 16 first death, 32 trace, 64 sender)
//!         [group s] [dedup s] [message id s] [trace s] [sender s] [hash u128] [queue s reason u8 exchange s]
//!         {extra key s}*  {death}*
//! death   queue s  reason u8  count v  time v  exchange s  {routing key s}*  0 | 1 original ttl v
//! ```

mod decode;
mod encode;
mod extra;
mod primitives;
mod state;

pub(crate) use decode::{DecodeError, decode, decode_message};
pub(crate) use encode::{encode, encode_message, frame_bytes_max};

use crate::CodecLookup;
use bytes::Bytes;
use model::message::Message;
use std::sync::Arc;

/// A message in the layout that the log has for it, for definitions that contain one.
pub fn message_bytes(message: &Message) -> Bytes {
    encode_message(message).into()
}

/// Reads what [`message_bytes`] made. Errors: what is wrong with it.
pub fn message_from(encoded: &[u8], codecs: &CodecLookup) -> Result<Arc<Message>, String> {
    decode_message(encoded, codecs.as_ref()).map_err(|error| error.to_string())
}

pub(crate) const ENQUEUE: u8 = 2;
pub(crate) const SETTLE: u8 = 3;
pub(crate) const PURGE: u8 = 4;
pub(crate) const COUNT: u8 = 5;
pub(crate) const DROP_QUEUE: u8 = 6;
pub(crate) const APPEND: u8 = 7;
pub(crate) const TRIM: u8 = 8;
pub(crate) const RETAIN: u8 = 9;
pub(crate) const DEFINE: u8 = 10;
pub(crate) const PAGE: u8 = 11;
pub(crate) const LEASE: u8 = 12;
pub(crate) const QUEUE: u8 = 13;
pub(crate) const SHARD: u8 = 14;

const DURABLE: u8 = 1;
const TTL: u8 = 2;
const DELAY: u8 = 4;
const EXTRA: u8 = 8;

/// Names of the record kinds, for inspection.
pub(crate) fn kind_name(kind: u8) -> &'static str {
    match kind {
        ENQUEUE => "enqueue",
        SETTLE => "settle",
        PURGE => "purge",
        COUNT => "count",
        DROP_QUEUE => "drop-queue",
        APPEND => "append",
        TRIM => "trim",
        RETAIN => "retain",
        DEFINE => "define",
        PAGE => "page",
        LEASE => "lease",
        QUEUE => "queue",
        SHARD => "shard",
        _ => "unknown",
    }
}
