//! Class basic but for messages and their answers: qos, consume, cancel, get.

use super::{Amqp091Session, deliver::Consumer, inspect::REPLY_TO, io::Io, pending::Then};
use crate::{
    codec::{
        method::{name, short},
        table::value_word,
    },
    errors::{AmqpError, Asked},
};
use amq_protocol::protocol::{AMQPClass, basic};
use model::{
    Millis, Name,
    command::{Consume, Op, Reply, StreamPosition},
    definition::QueueDeclare,
    ids::ConsumerId,
    limits::CONSUMERS_PER_CONNECTION_MAX,
    value::{Table, Value},
};

/// LavinMQ's name for [`REPLY_TO`].
const REPLY_TO_ALIAS: &str = "amq.direct.reply-to";

impl Amqp091Session {
    /// A method of class basic that is not on the data path.
    pub(crate) fn on_basic_method(
        &mut self,
        number: u16,
        method: basic::AMQPMethod,
        arguments: Table,
        prefetch_bytes: u32,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        match method {
            basic::AMQPMethod::Qos(qos) => self.on_qos(number, &qos, prefetch_bytes, io),
            basic::AMQPMethod::Consume(consume) => self.on_consume(number, &consume, arguments, io),
            basic::AMQPMethod::Cancel(cancel) => self.on_cancel(number, &cancel, io),
            basic::AMQPMethod::Get(get) => {
                let queue = self.channel(number)?.queue_name(&get.queue)?;
                self.ask(number, (60, 70), Op::Get { queue, auto_ack: get.no_ack }, Then::Got, io);
                Ok(())
            }
            basic::AMQPMethod::Recover(recover) => self.on_recover(number, recover.requeue, true, io),
            basic::AMQPMethod::RecoverAsync(recover) => self.on_recover(number, recover.requeue, false, io),
            _ => Err(AmqpError::connection(503, "unimplemented method")),
        }
    }

    /// RabbitMQ's reading of `global`: false is each new consumer's own limit, true one that the channel shares.
    fn on_qos(
        &mut self,
        number: u16,
        qos: &basic::Qos,
        prefetch_bytes: u32,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        if prefetch_bytes != 0 {
            return Err(AmqpError::connection(540, format!("prefetch_size!=0 ({prefetch_bytes})")));
        }
        let credit = if qos.prefetch_count == 0 { u32::MAX } else { u32::from(qos.prefetch_count) };
        let channel = self.channel(number)?;
        let ok = AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {}));
        if qos.global {
            channel.limited = true;
            let op = Op::GroupCredit { group: number, credit };
            self.ask(number, (60, 10), op, Then::Send(Some(Box::new(ok))), io);
        } else {
            channel.prefetch = credit;
            io.send(number, ok);
        }
        Ok(())
    }

    fn on_consume(
        &mut self,
        number: u16,
        consume: &basic::Consume,
        arguments: Table,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let open = self.consumers.len();
        let channel = self.channel(number)?;
        let replies = matches!(consume.queue.as_str(), REPLY_TO | REPLY_TO_ALIAS);
        let asked_tag = name(&consume.consumer_tag);
        if channel.consumers.contains_key(&asked_tag) {
            return Err(AmqpError::connection(530, format!("attempt to reuse consumer tag '{asked_tag}'")));
        }
        if open >= CONSUMERS_PER_CONNECTION_MAX {
            let text =
                format!("connection has reached its limit of {CONSUMERS_PER_CONNECTION_MAX} consumers");
            return Err(AmqpError::connection(506, text));
        }
        let credit = if consume.no_ack { u32::MAX } else { channel.prefetch };
        let queue = if replies {
            self.reply_queue(number, consume.no_ack)?
        } else {
            channel.queue_name(&consume.queue)?
        };
        let priority = self.priority(&queue, &arguments)?;
        let from = self.stream_position(&queue, &arguments, io.now)?;
        let tag = if asked_tag.is_empty() { self.names.make("amq.ctag-") } else { asked_tag };
        let consumer = self.add_consumer(number, tag.clone());
        let then = Then::Consuming { consumer, tag, nowait: consume.nowait };
        let op = Op::Consume(Consume {
            queue: queue.clone(),
            consumer,
            auto_ack: consume.no_ack,
            credit,
            group: Some(number),
            exclusive: consume.exclusive,
            priority,
            from,
            arguments,
        });
        if replies {
            self.channel(number)?.reply_consumer = Some(consumer);
            // Not exclusive: whoever is to answer may ask whether the queue is still there.
            let declare = QueueDeclare { name: queue, auto_delete: true, ..QueueDeclare::default() };
            let then = Then::Next(Box::new((op, then)));
            self.ask(number, (60, 20), Op::DeclareQueue(declare), then, io);
        } else {
            self.ask(number, (60, 20), op, then, io);
        }
        Ok(())
    }

    fn add_consumer(&mut self, number: u16, tag: Name) -> ConsumerId {
        self.last_consumer = self.last_consumer.wrapping_add(1).max(1);
        let id = ConsumerId(self.last_consumer);
        self.consumers.insert(id, Consumer { channel: number, tag: tag.clone() });
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.consumers.insert(tag, id);
        }
        id
    }

    /// Forgets a consumer; gives back what it was.
    pub(crate) fn remove_consumer(&mut self, id: ConsumerId) -> Option<Consumer> {
        let consumer = self.consumers.remove(&id)?;
        if let Some(channel) = self.channels.get_mut(&consumer.channel) {
            channel.consumers.remove(&consumer.tag);
            if channel.reply_consumer == Some(id) {
                (channel.reply_consumer, channel.reply_queue) = (None, None);
            }
        }
        Some(consumer)
    }

    /// Direct reply-to: the name of a queue of the channel's own, which goes with its consumer.
    fn reply_queue(&mut self, number: u16, no_ack: bool) -> Result<Name, AmqpError> {
        if !no_ack {
            return Err(AmqpError::precondition("reply consumer cannot acknowledge"));
        }
        if self.channel(number)?.reply_queue.is_some() {
            return Err(AmqpError::precondition("reply consumer already set"));
        }
        let name = self.names.make(&format!("{REPLY_TO}."));
        self.channel(number)?.reply_queue = Some(name.clone());
        Ok(name)
    }

    /// The answer to a consume.
    pub(crate) fn on_consuming(
        &mut self,
        number: u16,
        id: ConsumerId,
        tag: &Name,
        nowait: bool,
        reply: Reply,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        if let Reply::Failed(error) = reply {
            self.remove_consumer(id);
            return Err(AmqpError::from_broker(&error, Asked::Consume));
        }
        if !nowait {
            let ok = basic::ConsumeOk { consumer_tag: short(tag) };
            io.send(number, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        if !self.consumers.contains_key(&id) {
            self.push_cancel(number, tag, io);
        }
        Ok(())
    }

    /// An unknown tag is answered like a known one.
    fn on_cancel(&mut self, number: u16, cancel: &basic::Cancel, io: &mut Io<'_>) -> Result<(), AmqpError> {
        let tag = name(&cancel.consumer_tag);
        match self.channel(number)?.consumers.get(&tag).copied() {
            Some(consumer) => {
                let then = Then::Cancelled { consumer, tag, nowait: cancel.nowait };
                self.ask(number, (60, 30), Op::Cancel(consumer), then, io);
            }
            None if cancel.nowait => {}
            None => send_cancel_ok(number, &tag, io),
        }
        Ok(())
    }

    /// The consumer is gone: deliveries up to here were its own.
    pub(crate) fn on_cancelled(
        &mut self,
        number: u16,
        id: ConsumerId,
        tag: &Name,
        nowait: bool,
        io: &mut Io<'_>,
    ) {
        self.remove_consumer(id);
        if !nowait {
            send_cancel_ok(number, tag, io);
        }
    }

    /// The broker ended a consumer.
    pub(crate) fn on_consumer_gone(&mut self, id: ConsumerId, io: &mut Io<'_>) {
        if let Some(consumer) = self.remove_consumer(id) {
            let waits = self.pending.as_ref().is_some_and(|pending| pending.begins(id));
            if !waits {
                self.push_cancel(consumer.channel, &consumer.tag, io);
            }
        }
    }

    fn push_cancel(&mut self, number: u16, tag: &Name, io: &mut Io<'_>) {
        if self.peer.consumer_cancel_notify {
            let cancel = basic::Cancel { consumer_tag: short(tag), nowait: true };
            io.send(number, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
        }
    }

    fn invalid_argument(&self, argument: &str, queue: &str, why: &str) -> AmqpError {
        let vhost = &self.vhost;
        AmqpError::precondition(format!(
            "invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}': {why}"
        ))
    }

    fn priority(&self, queue: &str, arguments: &Table) -> Result<i32, AmqpError> {
        let Some(value) = arguments.get("x-priority") else { return Ok(0) };
        let bounds = i64::from(i32::MIN)..=i64::from(i32::MAX);
        let number = value.as_i64().map(|number| number.clamp(*bounds.start(), *bounds.end()));
        number.and_then(|number| i32::try_from(number).ok()).ok_or_else(|| {
            let why = format!("\"expected integer, got {}\"", value_word(value));
            self.invalid_argument("x-priority", queue, &why)
        })
    }

    fn stream_position(
        &self,
        queue: &str,
        arguments: &Table,
        now: Millis,
    ) -> Result<Option<StreamPosition>, AmqpError> {
        let Some(value) = arguments.get("x-stream-offset") else { return Ok(None) };
        let position = match value {
            Value::Str(text) => match &**text {
                "first" => Some(StreamPosition::First),
                "last" => Some(StreamPosition::Last),
                "next" => Some(StreamPosition::Next),
                interval => interval_ms(interval).map(|ms| StreamPosition::Time(now.saturating_sub(ms))),
            },
            Value::Timestamp(seconds) => Some(StreamPosition::Time(seconds.saturating_mul(1000))),
            number => {
                number.as_i64().and_then(|offset| u64::try_from(offset).ok()).map(StreamPosition::Offset)
            }
        };
        position.map(Some).ok_or_else(|| {
            let why = format!("\"invalid offset of type {}\"", value_word(value));
            self.invalid_argument("x-stream-offset", queue, &why)
        })
    }
}

fn send_cancel_ok(number: u16, tag: &Name, io: &mut Io<'_>) {
    let ok = basic::CancelOk { consumer_tag: short(tag) };
    io.send(number, AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)));
}

/// RabbitMQ's interval form: digits and one of `Y M D h m s`.
fn interval_ms(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s: u64 = match unit {
        "Y" => 365 * 86_400,
        "M" => 30 * 86_400,
        "D" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_s * 1000)
}
