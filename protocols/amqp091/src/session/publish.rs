//! basic.publish and the content behind it, from frames to a [`Message`] on its way.
//!
//! Key, properties and a small body are gathered in a buffer that the channel keeps, and leave it as one block of
//! their own, so that a queued message does not pin the read buffer. Larger bodies stay slices of the read buffer.

use super::{
    Amqp091Session,
    channel::Mode,
    inspect::{Facts, Publisher, inspect},
    io::Io,
};
use crate::{
    codec::{Malformed, Reader, hot},
    convert::AMQP,
    errors::{AmqpError, Asked},
    frame::{FrameHead, HEAD_BYTES},
};
use bytes::{Buf, Bytes, BytesMut};
use model::{
    Millis, Name,
    command::Publish,
    ids::ConfirmToken,
    limits::COPY_OUT_BELOW_BYTES,
    message::{Body, Message, Native},
};
use std::sync::Arc;

const NOT_A_HEADER: &str = "expected content header for class 60, got non content header frame instead";
const NOT_A_BODY: &str = "expected content body, got non content body frame instead";
const NO_TEXT: Malformed = Malformed("name is not UTF-8");

/// What a channel expects next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// A method.
    #[default]
    Method,
    /// The content header of a publish.
    Header,
    /// So many more bytes of its body.
    Body(u64),
}

/// A publish whose content is coming in.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    stage: Stage,
    exchange: Name,
    mandatory: bool,
    /// Key, then properties, then the body when it is small. Kept from message to message.
    staged: Vec<u8>,
    key_bytes: usize,
    property_bytes: usize,
    facts: Facts,
    /// The body is below [`COPY_OUT_BELOW_BYTES`] and goes into `staged`.
    small: bool,
    /// The body when it is not small.
    body: Body,
    /// Small pieces of a large body, joined so that a rope's pieces are never tiny.
    pieces: BytesMut,
}

impl Incoming {
    /// Between two publishes, when methods may come.
    pub(crate) fn is_idle(&self) -> bool {
        self.stage == Stage::Method
    }

    /// Errors: 505 when content is due, not a method.
    pub(crate) fn check_idle(&self) -> Result<(), AmqpError> {
        match self.stage {
            Stage::Method => Ok(()),
            Stage::Header => Err(unexpected(NOT_A_HEADER)),
            Stage::Body(_) => Err(unexpected(NOT_A_BODY)),
        }
    }

    /// Takes the next `size` bytes of the body off `input`.
    fn add_piece(&mut self, size: usize, input: &mut BytesMut) {
        if self.small || size < COPY_OUT_BELOW_BYTES {
            let piece = input.get(..size).unwrap_or_default();
            if self.small {
                self.staged.extend_from_slice(piece)
            } else {
                self.pieces.extend_from_slice(piece)
            }
            input.advance(size);
            return;
        }
        self.body.push(self.pieces.split().freeze());
        self.body.push(input.split_to(size).freeze());
    }

    /// The finished message; ready for the next publish.
    fn finish(&mut self, now: Millis) -> Result<Message, AmqpError> {
        self.stage = Stage::Method;
        let block = Bytes::copy_from_slice(&self.staged);
        let properties_end = self.key_bytes + self.property_bytes;
        let key = Name::try_from(block.slice(..self.key_bytes)).map_err(|_| NO_TEXT)?;
        let properties = block.slice(self.key_bytes..properties_end);
        let body = if self.small {
            Body::from(block.slice(properties_end..))
        } else {
            self.body.push(self.pieces.split().freeze());
            std::mem::take(&mut self.body)
        };
        let native = Native { codec: &AMQP, properties };
        let facts = std::mem::take(&mut self.facts);
        let mut message = Message::new(std::mem::take(&mut self.exchange), key, native, body, now);
        message.durable = facts.durable;
        message.priority = facts.priority;
        message.ttl_ms = facts.ttl_ms;
        message.extra = facts.extra;
        Ok(message)
    }
}

impl Amqp091Session {
    /// basic.publish: remembers the address until the content is there.
    pub(crate) fn on_publish(&mut self, number: u16, mut reader: Reader<'_>) -> Result<(), AmqpError> {
        let channel = self.channel(number)?;
        let publish = hot::parse_publish(&mut reader)?;
        if publish.immediate {
            return Err(AmqpError::connection(540, "immediate=true"));
        }
        if channel.last_exchange.as_bytes() != publish.exchange {
            channel.last_exchange = Name::try_from(publish.exchange).map_err(|_| NO_TEXT)?;
        }
        let incoming = &mut channel.incoming;
        incoming.exchange = channel.last_exchange.clone();
        incoming.mandatory = publish.mandatory;
        incoming.staged.clear();
        incoming.staged.extend_from_slice(publish.key);
        incoming.key_bytes = publish.key.len();
        incoming.stage = Stage::Header;
        Ok(())
    }

    /// The content header of a publish.
    pub(crate) fn on_content_header(
        &mut self,
        number: u16,
        payload: &[u8],
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let most = self.config.max_message_bytes as u64;
        let channel = self.channels.get_mut(&number).ok_or_else(super::channel::not_open)?;
        match channel.incoming.stage {
            Stage::Header => {}
            Stage::Method => return Err(unexpected("expected method frame, got non method frame instead")),
            Stage::Body(_) => {
                return Err(unexpected(NOT_A_BODY));
            }
        }
        let (class, size, properties) = hot::parse_content_header(payload)?;
        if class != 60 {
            return Err(unexpected(&format!(
                "expected content header for class 60, got one for class {class} instead"
            )));
        }
        if size > most {
            return Err(AmqpError::precondition(format!(
                "message size {size} is larger than configured max size {most}"
            )));
        }
        let publisher = Publisher { user: &self.user, reply_queue: channel.reply_queue.as_ref() };
        let incoming = &mut channel.incoming;
        incoming.facts = inspect(properties, publisher)?;
        let rewritten = incoming.facts.rewritten.take();
        let properties = rewritten.as_deref().unwrap_or(properties);
        incoming.staged.extend_from_slice(properties);
        incoming.property_bytes = properties.len();
        incoming.small = size < COPY_OUT_BELOW_BYTES as u64;
        incoming.stage = Stage::Body(size);
        if size == 0 { self.complete(number, io) } else { Ok(()) }
    }

    /// A body frame; takes it off `input` without copying when it is large.
    pub(crate) fn on_content_body(
        &mut self,
        head: FrameHead,
        input: &mut BytesMut,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let channel = self.channel(head.channel)?;
        let incoming = &mut channel.incoming;
        let left = match incoming.stage {
            Stage::Body(left) => left,
            Stage::Method => return Err(unexpected("expected method frame, got non method frame instead")),
            Stage::Header => {
                return Err(unexpected(NOT_A_HEADER));
            }
        };
        let Some(left) = left.checked_sub(head.size as u64) else {
            return Err(AmqpError::connection(501, "content body is larger than its header said"));
        };
        input.advance(HEAD_BYTES);
        incoming.add_piece(head.size, input);
        input.advance(1);
        incoming.stage = Stage::Body(left);
        if left == 0 { self.complete(head.channel, io) } else { Ok(()) }
    }

    /// All of a publish is here.
    fn complete(&mut self, number: u16, io: &mut Io<'_>) -> Result<(), AmqpError> {
        let most_bytes = self.config.max_transaction_bytes;
        let channel = self.channel(number)?;
        let mandatory = channel.incoming.mandatory;
        let message = Arc::new(channel.incoming.finish(io.now)?);
        let token = match &mut channel.mode {
            Mode::Plain => None,
            Mode::Transaction(transaction) => return transaction.publish(message, mandatory, most_bytes),
            Mode::Confirm(confirms) => {
                let seq = confirms.publish();
                channel.tokens = seq;
                Some(channel.token(number, seq))
            }
        };
        let pending = self.route(number, message, mandatory, token, io)?;
        if let (Some(token), false) = (token, pending) {
            self.on_confirm(token, true, io);
        }
        Ok(())
    }

    /// Hands a message to the broker; returns it to the peer when it went nowhere and was mandatory. True when a
    /// confirm will follow.
    pub(crate) fn route(
        &mut self,
        number: u16,
        message: Arc<Message>,
        mandatory: bool,
        confirm: Option<ConfirmToken>,
        io: &mut Io<'_>,
    ) -> Result<bool, AmqpError> {
        let returned = mandatory.then(|| Arc::clone(&message));
        let routed = io
            .broker
            .publish(Publish { message, confirm, retain: false })
            .map_err(|error| AmqpError::from_broker(&error, Asked::Other))?;
        if let (Some(message), 0) = (returned, routed.destinations) {
            let wire = &mut io.out.wire;
            hot::put_return(&mut wire.tail, number, &message.exchange, &message.routing_key);
            hot::put_content(wire, number, &message.native.properties, &message.body, self.frame_max);
        }
        Ok(routed.pending)
    }
}

fn unexpected(text: &str) -> AmqpError {
    AmqpError::connection(505, text)
}
