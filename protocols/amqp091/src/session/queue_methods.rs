//! Class queue: declare, bind, unbind, purge, delete.

use super::{Amqp091Session, channel::Channel, inspect::REPLY_TO, io::Io, pending::Then};
use crate::{codec::method, errors::AmqpError};
use amq_protocol::{
    protocol::{AMQPClass, queue},
    types::ShortString,
};
use model::{
    Name,
    command::Op,
    definition::{BindingDefinition, Destination, QueueDeclare},
    value::Table,
};

impl Channel {
    /// The queue of that name; an empty name means the one declared last on this channel.
    /// Errors: 404 when there was none.
    pub(crate) fn queue_name(&self, name: &ShortString) -> Result<Name, AmqpError> {
        if !name.as_str().is_empty() {
            return Ok(method::name(name));
        }
        if self.last_queue.is_empty() {
            return Err(AmqpError::channel(404, "no previously declared queue"));
        }
        Ok(self.last_queue.clone())
    }
}

impl Amqp091Session {
    /// A method of class queue.
    pub(crate) fn on_queue_method(
        &mut self,
        number: u16,
        method: queue::AMQPMethod,
        arguments: Table,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        match method {
            queue::AMQPMethod::Declare(declare) => self.declare_queue(number, &declare, arguments, io),
            queue::AMQPMethod::Bind(bind) => {
                let binding =
                    self.queue_binding(number, (&bind.queue, &bind.exchange, &bind.routing_key), arguments)?;
                let ok = AMQPClass::Queue(queue::AMQPMethod::BindOk(queue::BindOk {}));
                let then = Then::Send((!bind.nowait).then(|| Box::new(ok)));
                self.ask(number, (50, 20), Op::Bind(binding), then, io);
                Ok(())
            }
            queue::AMQPMethod::Unbind(unbind) => {
                let binding = self.queue_binding(
                    number,
                    (&unbind.queue, &unbind.exchange, &unbind.routing_key),
                    arguments,
                )?;
                let ok = AMQPClass::Queue(queue::AMQPMethod::UnbindOk(queue::UnbindOk {}));
                self.ask(number, (50, 50), Op::Unbind(binding), Then::Send(Some(Box::new(ok))), io);
                Ok(())
            }
            queue::AMQPMethod::Purge(purge) => {
                let name = self.channel(number)?.queue_name(&purge.queue)?;
                let then = Then::Purged { nowait: purge.nowait };
                self.ask(number, (50, 30), Op::PurgeQueue(name), then, io);
                Ok(())
            }
            queue::AMQPMethod::Delete(delete) => {
                let name = self.channel(number)?.queue_name(&delete.queue)?;
                let then = Then::QueueDeleted { nowait: delete.nowait, name: name.clone() };
                let op = Op::DeleteQueue { name, if_unused: delete.if_unused, if_empty: delete.if_empty };
                self.ask(number, (50, 40), op, then, io);
                Ok(())
            }
            _ => Err(AmqpError::connection(503, "unimplemented method")),
        }
    }

    fn declare_queue(
        &mut self,
        number: u16,
        declare: &queue::Declare,
        arguments: Table,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let asked = declare.queue.as_str();
        if asked == REPLY_TO {
            if !declare.nowait {
                let ok =
                    queue::DeclareOk { queue: method::short(REPLY_TO), message_count: 0, consumer_count: 1 };
                io.send(number, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
            }
            return Ok(());
        }
        // Whether an asker still waits is all that one may want to know of its reply queue.
        let passive = declare.passive || asked.starts_with(REPLY_TO);
        if asked.starts_with("amq.") && !passive {
            return Err(AmqpError::channel(
                403,
                format!("queue name '{asked}' contains reserved prefix 'amq.*'"),
            ));
        }
        let name = match asked {
            "" if !passive => self.names.make("amq.gen-"),
            _ => method::name(&declare.queue),
        };
        let op = Op::DeclareQueue(QueueDeclare {
            name,
            passive,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments,
            attach: false,
        });
        let then = Then::QueueDeclared { nowait: declare.nowait, exclusive: declare.exclusive && !passive };
        self.ask(number, (50, 10), op, then, io);
        Ok(())
    }

    fn queue_binding(
        &mut self,
        number: u16,
        (queue, exchange, key): (&ShortString, &ShortString, &ShortString),
        arguments: Table,
    ) -> Result<BindingDefinition, AmqpError> {
        let name = self.channel(number)?.queue_name(queue)?;
        // Spec 1.7.2.3 "routing-key": with both empty, the key is the name of the queue declared last.
        let both_empty = queue.as_str().is_empty() && key.as_str().is_empty();
        let key = if both_empty { name.clone() } else { method::name(key) };
        Ok(BindingDefinition {
            source: method::name(exchange),
            destination: Destination::Queue(name),
            key,
            arguments,
        })
    }
}
