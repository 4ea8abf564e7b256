//! Class exchange: declare, delete, bind, unbind. Class access, which RabbitMQ answers and nobody needs.

use super::{Amqp091Session, io::Io, pending::Then};
use crate::{codec::method::name, errors::AmqpError};
use amq_protocol::{
    protocol::{AMQPClass, access, exchange},
    types::ShortString,
};
use model::{
    command::Op,
    definition::{BindingDefinition, Destination, ExchangeDeclare},
    value::Table,
};

impl Amqp091Session {
    /// A method of class exchange.
    pub(crate) fn on_exchange_method(
        &mut self,
        number: u16,
        method: exchange::AMQPMethod,
        arguments: Table,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let (id, nowait, op, ok) = match method {
            exchange::AMQPMethod::Declare(declare) => (
                10,
                declare.nowait,
                Op::DeclareExchange(ExchangeDeclare {
                    name: name(&declare.exchange),
                    kind: name(&declare.kind),
                    passive: declare.passive,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    arguments,
                }),
                exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}),
            ),
            exchange::AMQPMethod::Delete(delete) => (
                20,
                delete.nowait,
                Op::DeleteExchange { name: name(&delete.exchange), if_unused: delete.if_unused },
                exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}),
            ),
            exchange::AMQPMethod::Bind(bind) => (
                30,
                bind.nowait,
                Op::Bind(binding(&bind.source, &bind.destination, &bind.routing_key, arguments)),
                exchange::AMQPMethod::BindOk(exchange::BindOk {}),
            ),
            exchange::AMQPMethod::Unbind(unbind) => (
                40,
                unbind.nowait,
                Op::Unbind(binding(&unbind.source, &unbind.destination, &unbind.routing_key, arguments)),
                exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {}),
            ),
            _ => return Err(AmqpError::connection(503, "unimplemented method")),
        };
        let then = Then::Send((!nowait).then(|| Box::new(AMQPClass::Exchange(ok))));
        self.ask(number, (40, id), op, then, io);
        Ok(())
    }

    /// access.request: 0-9-1 dropped it, old clients still ask.
    pub(crate) fn on_access_method(number: u16, method: &access::AMQPMethod, io: &mut Io<'_>) {
        if let access::AMQPMethod::Request(_) = method {
            io.send(number, AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})));
        }
    }
}

fn binding(
    source: &ShortString,
    destination: &ShortString,
    key: &ShortString,
    arguments: Table,
) -> BindingDefinition {
    BindingDefinition {
        source: name(source),
        destination: Destination::Exchange(name(destination)),
        key: name(key),
        arguments,
    }
}
