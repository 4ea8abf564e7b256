//! Messages as operators write and read them: properties as a plain table, without a connection.

use crate::{
    codec::{
        properties::Properties,
        table::{parse_table, put_entries},
    },
    convert::{AMQP, delivered_properties, goes_verbatim},
    errors::{AmqpError, Asked},
    session::inspect::{Publisher, inspect},
};
use bytes::Bytes;
use model::{
    Millis, Name,
    delivery::Delivery,
    error::BrokerError,
    message::{Body, Message, Native},
    value::{Table, Value},
};

/// The properties of a message as an AMQP consumer would get them: only those that are set, in the order of the
/// specification backwards, as RabbitMQ lists them.
pub fn properties(delivery: &Delivery) -> Table {
    let mut own = Vec::new();
    let block = if goes_verbatim(delivery) {
        delivery.message.native.properties.as_ref()
    } else {
        delivered_properties(delivery, &mut own);
        &own
    };
    let properties = Properties::parse(block).unwrap_or_default();
    let mut table = Table::new();
    let mut text = |name: &str, bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            let value = Name::try_from(bytes).map(Value::Str);
            table.push(name, value.unwrap_or_else(|_| Value::Bytes(Bytes::copy_from_slice(bytes))));
        }
    };
    text("cluster_id", properties.cluster_id);
    text("app_id", properties.app_id);
    text("user_id", properties.user_id);
    text("type", properties.kind);
    text("message_id", properties.message_id);
    text("expiration", properties.expiration);
    text("reply_to", properties.reply_to);
    text("correlation_id", properties.correlation_id);
    text("content_encoding", properties.content_encoding);
    text("content_type", properties.content_type);
    if let Some(seconds) = properties.timestamp {
        table.push("timestamp", Value::U64(seconds));
    }
    let octets = [("priority", properties.priority), ("delivery_mode", properties.delivery_mode)];
    for (name, octet) in octets {
        if let Some(octet) = octet {
            table.push(name, Value::U8(octet));
        }
    }
    if let Some(headers) = properties.headers {
        table.push("headers", Value::Table(parse_table(headers).unwrap_or_default()));
    }
    table
}

/// A message with these properties, as if `user` published it. Properties of unknown names are passed over.
/// Errors: reply code and text as `channel.close` has them.
pub fn message(
    (exchange, key): (Name, Name),
    table: &Table,
    body: Bytes,
    user: &str,
    now: Millis,
) -> Result<Message, String> {
    let text = |name: &str| table.str(name).map(str::as_bytes).filter(|text| text.len() <= 255);
    let octet =
        |name: &str| table.get(name).and_then(Value::as_i64).and_then(|number| u8::try_from(number).ok());
    let mut headers = Vec::new();
    let own = table.get("headers").and_then(Value::as_table);
    own.iter().for_each(|own| put_entries(&mut headers, own));
    let properties = Properties {
        content_type: text("content_type"),
        content_encoding: text("content_encoding"),
        headers: own.map(|_| headers.as_slice()),
        delivery_mode: octet("delivery_mode"),
        priority: octet("priority"),
        correlation_id: text("correlation_id"),
        reply_to: text("reply_to"),
        expiration: text("expiration"),
        message_id: text("message_id"),
        timestamp: table
            .get("timestamp")
            .and_then(Value::as_i64)
            .and_then(|number| u64::try_from(number).ok()),
        kind: text("type"),
        user_id: text("user_id"),
        app_id: text("app_id"),
        cluster_id: text("cluster_id"),
    };
    let mut block = Vec::new();
    properties.put(&mut block);
    let facts = inspect(&block, Publisher { user, reply_queue: None }).map_err(|error| close_text(&error))?;
    let native = Native { codec: &AMQP, properties: facts.rewritten.unwrap_or(block).into() };
    let mut message = Message::new(exchange, key, native, Body::from(body), now);
    message.durable = facts.durable;
    message.priority = facts.priority;
    message.ttl_ms = facts.ttl_ms;
    message.extra = facts.extra;
    Ok(message)
}

/// What the broker refused, as `channel.close` or `connection.close` would say it: code, name and text.
pub fn refusal(error: &BrokerError) -> String {
    close_text(&AmqpError::from_broker(error, Asked::Other))
}

fn close_text(error: &AmqpError) -> String {
    format!("{} {}", error.code, error.text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::ids::ConsumerId;
    use std::sync::Arc;

    fn delivered(message: Message) -> Table {
        properties(&Delivery {
            consumer: ConsumerId(0),
            via: 0,
            message: Arc::new(message),
            lease: None,
            redelivered: false,
            earlier_deliveries: 0,
            first_delivery_ms: 0,
            offset: None,
        })
    }

    #[test]
    fn properties_come_back_as_they_were_written() {
        let mut headers = Table::new();
        headers.push("a", Value::I64(1));
        let mut table = Table::new();
        table.push("type", Value::str("t"));
        table.push("expiration", Value::str("100"));
        table.push("content_type", Value::str("text/plain"));
        table.push("timestamp", Value::U64(123));
        table.push("priority", Value::U8(3));
        table.push("delivery_mode", Value::U8(2));
        table.push("headers", Value::Table(headers));
        let address = || (Name::from_static("e"), Name::from_static("k"));
        let message = message(address(), &table, Bytes::from_static(b"x"), "u", 0).unwrap();
        assert_eq!((message.durable, message.priority, message.ttl_ms), (true, 3, Some(100)));
        assert_eq!(delivered(message), table);
        table.set("expiration", Value::str("abc"));
        let refused = super::message(address(), &table, Bytes::new(), "u", 0).unwrap_err();
        assert_eq!(refused, "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer");
    }
}
