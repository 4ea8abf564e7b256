//! Frames to the client, with the headers in the order that clients match on. Each ends with NUL and LF.

use crate::{
    convert::{STOMP, put_envelope, put_header},
    destination::put_destination,
    error::Fault,
    escape::{escape, transcode_lines},
    subscription::Subscription,
    version::{SUPPORTED, Version},
};
use bytes::{BufMut, BytesMut};
use model::{delivery::Delivery, message::PropertyCodec, wire::Wire};

fn put_number(number: u64, out: &mut BytesMut) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// CONNECTED. Its headers are never escaped; ours have nothing to escape.
pub(crate) fn connected(wire: &mut Wire, version: Version, beat: (u64, u64), session: &str, server: &str) {
    let out = &mut wire.tail;
    out.put_slice(b"CONNECTED\nversion:");
    out.put_slice(version.as_str().as_bytes());
    out.put_slice(b"\nheart-beat:");
    put_number(beat.0, out);
    out.put_u8(b',');
    put_number(beat.1, out);
    out.put_slice(b"\nsession:");
    out.put_slice(session.as_bytes());
    if !server.is_empty() {
        out.put_slice(b"\nserver:");
        out.put_slice(server.as_bytes());
    }
    out.put_slice(b"\n\n\0\n");
}

/// RECEIPT.
pub(crate) fn receipt(wire: &mut Wire, version: Version, id: &str) {
    wire.tail.put_slice(b"RECEIPT\n");
    put_header("receipt-id", id, version, &mut wire.tail);
    wire.tail.put_slice(b"\n\0\n");
}

/// ERROR, about the frame that asked for `receipt` if it did; `subscription` names a subscription that the error is
/// about.
pub(crate) fn error(
    wire: &mut Wire,
    version: Version,
    fault: &Fault,
    receipt: Option<&str>,
    subscription: Option<&str>,
) {
    let out = &mut wire.tail;
    out.put_slice(b"ERROR\n");
    put_header("message", &fault.message, version, out);
    out.put_slice(b"content-type:text/plain\nversion:");
    out.put_slice(SUPPORTED.as_bytes());
    out.put_u8(b'\n');
    for (name, value) in [("subscription", subscription), ("receipt-id", receipt)] {
        if let Some(value) = value {
            put_header(name, value, version, out);
        }
    }
    out.put_slice(b"content-length:");
    put_number(fault.body.len() as u64, out);
    out.put_slice(b"\n\n");
    out.put_slice(fault.body.as_bytes());
    out.put_slice(b"\0\n");
}

/// Writes MESSAGE frames; keeps its scratch buffer between them.
#[derive(Debug, Default)]
pub(crate) struct MessageWriter {
    destination: Vec<u8>,
}

impl MessageWriter {
    /// One MESSAGE, number `tag` of the session.
    pub(crate) fn put(
        &mut self,
        wire: &mut Wire,
        version: Version,
        subscription: &Subscription,
        delivery: &Delivery,
        tag: u64,
        topic_exchange: &str,
    ) {
        let (out, message) = (&mut wire.tail, &*delivery.message);
        out.put_slice(&subscription.head);
        self.destination.clear();
        put_destination(&message.exchange, &message.routing_key, topic_exchange, &mut self.destination);
        escape(std::str::from_utf8(&self.destination).unwrap_or_default(), version, out);
        out.put_slice(b"\nmessage-id:");
        out.put_slice(&subscription.message_id);
        put_number(tag, out);
        out.put_slice(if delivery.redelivered { b"\nredelivered:true\n" } else { b"\nredelivered:false\n" });
        if !subscription.auto_ack && version == Version::V12 {
            out.put_slice(b"ack:");
            out.put_slice(&subscription.message_id);
            put_number(tag, out);
            out.put_u8(b'\n');
        }
        if message.native.codec.tag() == STOMP.tag() {
            transcode_lines(&message.native.properties, version, out);
        } else {
            put_envelope(message.envelope(), version, out);
        }
        put_broker_headers(delivery, version, out);
        out.put_slice(b"content-length:");
        put_number(message.body.len() as u64, out);
        out.put_slice(b"\n\n");
        message.body.pieces().iter().for_each(|piece| wire.put_body(piece));
        wire.put(b"\0\n");
    }
}

/// What the broker adds: where the message died first, and its offset in a stream.
fn put_broker_headers(delivery: &Delivery, version: Version, out: &mut BytesMut) {
    let extra = delivery.message.extra.as_deref();
    if let Some((queue, reason, exchange)) = extra.and_then(|extra| extra.first_death.as_ref()) {
        put_header("x-first-death-queue", queue, version, out);
        put_header("x-first-death-reason", reason.as_str(), version, out);
        put_header("x-first-death-exchange", exchange, version, out);
    }
    if let Some(offset) = delivery.offset {
        put_header("x-stream-offset", itoa::Buffer::new().format(offset), version, out);
    }
}
