//! The op that the connection waits for, and what the peer is told when it is done.
//!
//! While one is pending no input is consumed, so order holds over the whole connection.

use super::{Amqp091Session, io::Io};
use crate::codec::method::short;
use crate::errors::{AmqpError, Asked};
use amq_protocol::protocol::{AMQPClass, basic, channel, queue};
use model::{
    Name,
    command::{Op, Reply},
    ids::{ConsumerId, RequestId},
};

/// What to do with the answer.
#[derive(Debug)]
pub(crate) enum Then {
    /// Credentials were checked: tune.
    Authenticated,
    /// The vhost was entered: open-ok.
    Entered,
    /// Begin the next op of a method that takes two.
    Next(Box<(Op, Then)>),
    /// Send this method; `None` for nowait.
    Send(Option<Box<AMQPClass>>),
    /// queue.declare-ok, unless nowait.
    QueueDeclared {
        /// Nothing is to be sent.
        nowait: bool,
        /// The queue is this connection's own.
        exclusive: bool,
    },
    /// queue.purge-ok, unless nowait.
    Purged {
        /// Nothing is to be sent.
        nowait: bool,
    },
    /// queue.delete-ok, unless nowait.
    QueueDeleted {
        /// Nothing is to be sent.
        nowait: bool,
        /// Its name.
        name: Name,
    },
    /// basic.consume-ok, unless nowait.
    Consuming {
        /// The new consumer.
        consumer: ConsumerId,
        /// Its tag.
        tag: Name,
        /// Nothing is to be sent.
        nowait: bool,
    },
    /// basic.cancel-ok, unless nowait.
    Cancelled {
        /// The consumer.
        consumer: ConsumerId,
        /// Its tag.
        tag: Name,
        /// Nothing is to be sent.
        nowait: bool,
    },
    /// basic.get-ok or get-empty.
    Got,
    /// channel.close-ok.
    ChannelClosed,
    /// connection.close-ok.
    ConnectionClosed,
}

/// A wait for the replies to one or more consecutive requests.
#[derive(Debug)]
pub(crate) struct Pending {
    channel: u16,
    /// Class and method that asked, for the error.
    method: (u16, u16),
    first: u64,
    last: u64,
    awaited: u32,
    then: Then,
}

impl Amqp091Session {
    /// Begins an op without waiting for its reply.
    pub(crate) fn request(&mut self, op: Op, io: &mut Io<'_>) {
        self.last_request += 1;
        io.broker.request(RequestId(self.last_request), op);
    }

    /// Begins an op and waits for its reply.
    pub(crate) fn ask(&mut self, channel: u16, method: (u16, u16), op: Op, then: Then, io: &mut Io<'_>) {
        self.request(op, io);
        self.await_issued(channel, method, 1, then, io);
    }

    /// Waits for the replies to the last `count` requests; with none goes on at once.
    pub(crate) fn await_issued(
        &mut self,
        channel: u16,
        method: (u16, u16),
        count: u32,
        then: Then,
        io: &mut Io<'_>,
    ) {
        let last = self.last_request;
        let first = last.saturating_sub(u64::from(count)) + 1;
        let pending = Pending { channel, method, first, last, awaited: count, then };
        if count == 0 { self.answer(pending, Reply::Done, io) } else { self.pending = Some(pending) }
    }

    /// A reply came. Those that nobody waits for are dropped.
    pub(crate) fn on_reply(&mut self, request: RequestId, reply: Reply, io: &mut Io<'_>) {
        let Some(pending) = &mut self.pending else { return };
        if !(pending.first..=pending.last).contains(&request.0) {
            return;
        }
        pending.awaited = pending.awaited.saturating_sub(1);
        if pending.awaited == 0
            && let Some(pending) = self.pending.take()
        {
            self.answer(pending, reply, io);
        }
    }

    fn answer(&mut self, pending: Pending, reply: Reply, io: &mut Io<'_>) {
        let Pending { channel, method, then, .. } = pending;
        let result = match (then, reply) {
            (Then::ConnectionClosed, _) => {
                self.finish_close(io);
                Ok(())
            }
            // Whatever else was asked, the connection is on its way out.
            _ if !self.is_working() => Ok(()),
            (Then::ChannelClosed, _) => {
                io.send(channel, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
                Ok(())
            }
            (Then::Authenticated, reply) => {
                self.on_authenticated(reply, io);
                Ok(())
            }
            (Then::Entered, reply) => self.on_entered(reply, io),
            (Then::Cancelled { consumer, tag, nowait }, _) => {
                self.on_cancelled(channel, consumer, &tag, nowait, io);
                Ok(())
            }
            (Then::Consuming { consumer, tag, nowait }, reply) => {
                self.on_consuming(channel, consumer, &tag, nowait, reply, io)
            }
            (Then::Next(next), reply) if !matches!(reply, Reply::Failed(_)) => {
                let (op, then) = *next;
                self.ask(channel, method, op, then, io);
                Ok(())
            }
            (_, Reply::Failed(error)) => Err(AmqpError::from_broker(&error, Asked::Other)),
            (then, reply) => {
                self.answer_done(channel, then, reply, io);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.fail(channel, &error, method, io);
        }
    }

    /// Answers that only tell the peer what the broker said.
    fn answer_done(&mut self, channel: u16, then: Then, reply: Reply, io: &mut Io<'_>) {
        match (then, reply) {
            (Then::Send(Some(method)), _) => io.send(channel, *method),
            (Then::QueueDeclared { nowait, exclusive }, Reply::QueueDeclared { name, ready, consumers }) => {
                if exclusive {
                    self.exclusive_queues.insert(name.clone());
                }
                let message_count = u32::try_from(ready).unwrap_or(u32::MAX);
                let ok = queue::DeclareOk { queue: short(&name), message_count, consumer_count: consumers };
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.last_queue = name;
                }
                if !nowait {
                    io.send(channel, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
                }
            }
            (Then::Purged { nowait: false }, Reply::Count(count)) => {
                let message_count = u32::try_from(count).unwrap_or(u32::MAX);
                let ok = queue::PurgeOk { message_count };
                io.send(channel, AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)));
            }
            (Then::QueueDeleted { nowait, name }, reply) => {
                self.exclusive_queues.remove(&name);
                let count = if let Reply::Count(count) = reply { count } else { 0 };
                let ok = queue::DeleteOk { message_count: u32::try_from(count).unwrap_or(u32::MAX) };
                if !nowait {
                    io.send(channel, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(ok)));
                }
            }
            (Then::Got, Reply::Got { delivery: Some(delivery), remaining }) => {
                self.put_got(channel, &delivery, remaining, io);
            }
            (Then::Got, _) => {
                io.send(channel, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
            }
            _ => {}
        }
    }
}

impl Pending {
    /// It waits for consumer `id` to begin.
    pub(crate) fn begins(&self, id: ConsumerId) -> bool {
        matches!(&self.then, Then::Consuming { consumer, .. } if *consumer == id)
    }
}
