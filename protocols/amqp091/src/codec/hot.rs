//! The methods and frames of the data path, by hand on borrowed bytes: nothing here allocates.

use super::{Malformed, Reader, clip_short, put_short};
use crate::frame::{BODY, END, HEADER, METHOD, OVERHEAD_BYTES, put_frame};
use bytes::{BufMut, BytesMut};
use model::{message::Body, wire::Wire};

/// Class and method id as one number, as they stand first in a payload.
pub(crate) const fn id(class: u16, method: u16) -> u32 {
    ((class as u32) << 16) | method as u32
}

/// basic.publish
pub(crate) const PUBLISH: u32 = id(60, 40);
/// basic.ack
pub(crate) const ACK: u32 = id(60, 80);
/// basic.reject
pub(crate) const REJECT: u32 = id(60, 90);
/// basic.nack
pub(crate) const NACK: u32 = id(60, 120);
const RETURN: u32 = id(60, 50);
const DELIVER: u32 = id(60, 60);
const GET_OK: u32 = id(60, 71);

/// basic.publish
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    /// Exchange.
    pub(crate) exchange: &'a [u8],
    /// Routing key.
    pub(crate) key: &'a [u8],
    /// Return it when it goes nowhere.
    pub(crate) mandatory: bool,
    /// Return it when no consumer takes it at once.
    pub(crate) immediate: bool,
}

/// Reads what follows the ids of basic.publish.
pub(crate) fn parse_publish<'a>(reader: &mut Reader<'a>) -> Result<Publish<'a>, Malformed> {
    reader.u16()?;
    let (exchange, key, bits) = (reader.short()?, reader.short()?, reader.u8()?);
    Ok(Publish { exchange, key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 })
}

/// basic.ack, basic.nack and basic.reject in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// Delivery tag.
    pub(crate) tag: u64,
    /// All up to the tag too.
    pub(crate) multiple: bool,
    /// For nack and reject: back to the queue.
    pub(crate) requeue: bool,
}

/// Reads what follows the ids of the settling method `id`.
pub(crate) fn parse_settlement(id: u32, reader: &mut Reader<'_>) -> Result<Settlement, Malformed> {
    let (tag, bits) = (reader.u64()?, reader.u8()?);
    Ok(match id {
        REJECT => Settlement { tag, multiple: false, requeue: bits & 1 != 0 },
        _ => Settlement { tag, multiple: bits & 1 != 0, requeue: bits & 2 != 0 },
    })
}

/// Class, body size and properties of a content header payload.
pub(crate) fn parse_content_header(payload: &[u8]) -> Result<(u16, u64, &[u8]), Malformed> {
    let mut reader = Reader::new(payload);
    let class = reader.u16()?;
    // Weight: unused since 0-8, any value accepted.
    reader.u16()?;
    Ok((class, reader.u64()?, reader.rest()))
}

fn put_name(out: &mut BytesMut, name: &str) {
    put_short(out, clip_short(name).as_bytes());
}

/// Appends basic.ack.
pub(crate) fn put_ack(out: &mut BytesMut, channel: u16, tag: u64, multiple: bool) {
    put_frame(out, METHOD, channel, |out| {
        out.put_u32(ACK);
        out.put_u64(tag);
        out.put_u8(u8::from(multiple));
    });
}

/// Appends basic.nack for one publish.
pub(crate) fn put_nack(out: &mut BytesMut, channel: u16, tag: u64) {
    put_frame(out, METHOD, channel, |out| {
        out.put_u32(NACK);
        out.put_u64(tag);
        out.put_u8(0);
    });
}

/// What basic.deliver and basic.get-ok say of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handout<'a> {
    /// Delivery tag.
    pub(crate) tag: u64,
    /// Seen before.
    pub(crate) redelivered: bool,
    /// Exchange.
    pub(crate) exchange: &'a str,
    /// Routing key; clipped to 255 bytes where another protocol allowed more.
    pub(crate) key: &'a str,
}

impl Handout<'_> {
    fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.tag);
        out.put_u8(u8::from(self.redelivered));
        put_name(out, self.exchange);
        put_name(out, self.key);
    }
}

/// Appends basic.deliver.
pub(crate) fn put_deliver(out: &mut BytesMut, channel: u16, consumer_tag: &str, handout: &Handout<'_>) {
    put_frame(out, METHOD, channel, |out| {
        out.put_u32(DELIVER);
        put_name(out, consumer_tag);
        handout.put(out);
    });
}

/// Appends basic.get-ok.
pub(crate) fn put_get_ok(out: &mut BytesMut, channel: u16, handout: &Handout<'_>, remaining: u32) {
    put_frame(out, METHOD, channel, |out| {
        out.put_u32(GET_OK);
        handout.put(out);
        out.put_u32(remaining);
    });
}

/// Appends basic.return 312.
pub(crate) fn put_return(out: &mut BytesMut, channel: u16, exchange: &str, key: &str) {
    put_frame(out, METHOD, channel, |out| {
        out.put_u32(RETURN);
        out.put_u16(312);
        put_name(out, "NO_ROUTE");
        put_name(out, exchange);
        put_name(out, key);
    });
}

/// Appends content header and body, the body in frames of at most `frame_max` bytes.
pub(crate) fn put_content(wire: &mut Wire, channel: u16, properties: &[u8], body: &Body, frame_max: u32) {
    let size = body.len();
    put_frame(&mut wire.tail, HEADER, channel, |out| {
        out.put_u16(60);
        out.put_u16(0);
        out.put_u64(size as u64);
        out.put_slice(properties);
    });
    let most = (frame_max as usize).saturating_sub(OVERHEAD_BYTES).max(1);
    if size <= most {
        if size > 0 {
            put_body_frame(wire, channel, body, size);
        }
        return;
    }
    let mut at = 0;
    while at < size {
        let step = most.min(size - at);
        put_body_frame(wire, channel, &body.slice(at, step), step);
        at += step;
    }
}

fn put_body_frame(wire: &mut Wire, channel: u16, body: &Body, size: usize) {
    wire.tail.put_u8(BODY);
    wire.tail.put_u16(channel);
    wire.tail.put_u32(size as u32);
    body.pieces().iter().for_each(|piece| wire.put_body(piece));
    wire.tail.put_u8(END);
}
