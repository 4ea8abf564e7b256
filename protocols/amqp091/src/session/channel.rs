//! One channel's state, and the methods of class channel.

use super::{
    Amqp091Session, confirm::Confirms, io::Io, pending::Then, publish::Incoming, tx::Transaction,
    unacked::Unacked,
};
use crate::{codec::method::short, errors::AmqpError};
use amq_protocol::protocol::{AMQPClass, channel};
use model::{
    Name,
    command::Op,
    delivery::Outcome,
    ids::{ConfirmToken, ConsumerId},
};
use rustc_hash::FxHashMap;

/// How publishes of a channel are answered.
#[derive(Debug)]
pub(crate) enum Mode {
    /// Not at all.
    Plain,
    /// With acks (confirm.select).
    Confirm(Confirms),
    /// With the commit (tx.select).
    Transaction(Transaction),
}

/// One open channel.
///
/// ```text
///  open --peer's close--> gone
///    \--our close--> closing: everything ignored --close-ok--> gone
/// ```
#[derive(Debug)]
pub(crate) struct Channel {
    /// We sent channel.close and wait for its close-ok.
    pub(crate) closing: bool,
    /// Queue declared last: what an empty queue name means.
    pub(crate) last_queue: Name,
    /// Exchange published to last, so that its name is not made anew for every message.
    pub(crate) last_exchange: Name,
    /// The publish whose content is coming in.
    pub(crate) incoming: Incoming,
    /// Delivery tag given last.
    pub(crate) last_tag: u64,
    /// Deliveries not answered.
    pub(crate) unacked: Unacked,
    /// Leases that each new consumer may hold (basic.qos global=false).
    pub(crate) prefetch: u32,
    /// The channel has a shared limit (basic.qos global=true).
    pub(crate) limited: bool,
    /// Consumers by tag.
    pub(crate) consumers: FxHashMap<Name, ConsumerId>,
    /// How publishes are answered.
    pub(crate) mode: Mode,
    /// Confirm tokens of this channel are above it; those of a former channel of the same number are not.
    pub(crate) token_base: u64,
    /// Publishes that asked for a confirm.
    pub(crate) tokens: u64,
    /// Has confirms to write at the end of the call.
    pub(crate) dirty: bool,
    /// Queue behind the direct reply-to consumer.
    pub(crate) reply_queue: Option<Name>,
    /// That consumer.
    pub(crate) reply_consumer: Option<ConsumerId>,
}

/// Low bits of a confirm token; the channel number stands above them.
const TOKEN_BITS: u32 = 48;

impl Channel {
    fn new(token_base: u64) -> Self {
        Self {
            closing: false,
            last_queue: Name::new(),
            last_exchange: Name::new(),
            incoming: Incoming::default(),
            last_tag: 0,
            unacked: Unacked::default(),
            prefetch: u32::MAX,
            limited: false,
            consumers: FxHashMap::default(),
            mode: Mode::Plain,
            token_base,
            tokens: 0,
            dirty: false,
            reply_queue: None,
            reply_consumer: None,
        }
    }

    /// The token for publish number `seq` of channel `number`.
    pub(crate) fn token(&self, number: u16, seq: u64) -> ConfirmToken {
        let low = (self.token_base + seq) & ((1 << TOKEN_BITS) - 1);
        ConfirmToken((u64::from(number) << TOKEN_BITS) | low)
    }

    /// The number of the publish behind `token`; `None` when it was a former channel's.
    pub(crate) fn seq(&self, token: ConfirmToken) -> Option<u64> {
        let low = token.0 & ((1 << TOKEN_BITS) - 1);
        low.checked_sub(self.token_base).filter(|seq| (1..=self.tokens).contains(seq))
    }

    /// The next delivery tag.
    pub(crate) fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }
}

/// The channel number behind a confirm token.
pub(crate) fn channel_of(token: ConfirmToken) -> u16 {
    (token.0 >> TOKEN_BITS) as u16
}

impl Amqp091Session {
    /// The open channel `number`. Errors: 504 when it is not open.
    pub(crate) fn channel(&mut self, number: u16) -> Result<&mut Channel, AmqpError> {
        self.channels.get_mut(&number).ok_or_else(not_open)
    }

    /// Methods of class channel that make or end one; the rest comes through [`Self::on_channel_method`].
    pub(crate) fn open_channel(&mut self, number: u16, io: &mut Io<'_>) -> Result<(), AmqpError> {
        if self.channels.contains_key(&number) {
            return Err(AmqpError::connection(504, "second 'channel.open' seen"));
        }
        let (open, most) = (self.channels.len(), usize::from(self.channel_max));
        if most > 0 && open >= most {
            let text =
                format!("number of channels opened ({open}) has reached the negotiated channel_max ({most})");
            // As with RabbitMQ, it is no method's fault.
            self.fail_connection(&AmqpError::connection(530, text), (0, 0), io);
            return Ok(());
        }
        self.channels.insert(number, Channel::new(self.token_high));
        io.send(number, AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})));
        Ok(())
    }

    /// A method of class channel on a channel that exists.
    pub(crate) fn on_channel_method(
        &mut self,
        number: u16,
        method: channel::AMQPMethod,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        match method {
            channel::AMQPMethod::Open(_) => self.open_channel(number, io),
            channel::AMQPMethod::Flow(flow) if !flow.active => {
                Err(AmqpError::connection(540, "active=false"))
            }
            channel::AMQPMethod::Flow(_) => {
                let ok = channel::FlowOk { active: true };
                io.send(number, AMQPClass::Channel(channel::AMQPMethod::FlowOk(ok)));
                Ok(())
            }
            channel::AMQPMethod::Close(_) => {
                self.close_channel(number, io);
                Ok(())
            }
            channel::AMQPMethod::FlowOk(_) | channel::AMQPMethod::CloseOk(_) => Ok(()),
            _ => Err(AmqpError::connection(503, "unimplemented method")),
        }
    }

    /// The peer closes a channel: close-ok goes out once its consumers are gone from their queues, so that an
    /// auto-delete queue is gone too.
    fn close_channel(&mut self, number: u16, io: &mut Io<'_>) {
        let cancels = self.release_channel(number, io);
        self.channels.remove(&number);
        self.await_issued(number, (20, 40), cancels, Then::ChannelClosed, io);
    }

    /// We close a channel: from now on everything on it is ignored until its close-ok.
    pub(crate) fn fail_channel(
        &mut self,
        number: u16,
        error: &AmqpError,
        (class_id, method_id): (u16, u16),
        io: &mut Io<'_>,
    ) {
        self.flush_confirms(io);
        self.release_channel(number, io);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.closing = true;
        }
        let close =
            channel::Close { reply_code: error.code, reply_text: short(&error.text), class_id, method_id };
        io.send(number, AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    }

    /// Lets go of what the channel holds: cancels its consumers, then gives its leases back to their queues in order
    /// (after the cancels, so that none of them is delivered here again). Returns how many requests that took.
    pub(crate) fn release_channel(&mut self, number: u16, io: &mut Io<'_>) -> u32 {
        let Some(channel) = self.channels.get_mut(&number) else { return 0 };
        self.token_high = self.token_high.max(channel.token_base + channel.tokens);
        channel.incoming = Incoming::default();
        let mut ops: Vec<Op> = channel.consumers.drain().map(|(_, id)| Op::Cancel(id)).collect();
        if std::mem::take(&mut channel.limited) {
            ops.push(Op::GroupCredit { group: number, credit: u32::MAX });
        }
        let mut held = channel.unacked.take_all();
        if let Mode::Transaction(transaction) = &mut channel.mode {
            held.extend(transaction.rollback());
            held.sort_unstable_by_key(|(tag, _)| *tag);
        }
        let requests = ops.len() as u32;
        for op in ops {
            if let Op::Cancel(id) = &op {
                self.consumers.remove(id);
            }
            self.request(op, io);
        }
        for (_, held) in held {
            io.broker.settle(held.consumer, held.lease, Outcome::Requeue { failed: true });
        }
        requests
    }
}

/// 504: spec 1.5.2, a method on a channel that is not open.
pub(crate) fn not_open() -> AmqpError {
    AmqpError::connection(504, "expected 'channel.open'")
}
