//! The hand-written codec against `amq-protocol`, in both directions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{
    Reader, hot,
    method::{self, MethodError},
    properties::Properties,
    table::{parse_table, put_table},
};
use crate::frame;
use amq_protocol::{
    frame::{AMQPFrame, WriteContext, gen_frame, parse_frame},
    protocol::{AMQPClass, BasicProperties, basic, queue},
    types::{AMQPValue, FieldArray, FieldTable},
};
use bytes::{Bytes, BytesMut};
use model::{
    message::Body,
    value::{Table, Value},
    wire::Wire,
};
use proptest::{collection::vec, prelude::*};

fn generated(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

fn payload(frame: &[u8]) -> &[u8] {
    &frame[frame::HEAD_BYTES..frame.len() - 1]
}

fn parsed(bytes: &[u8]) -> Vec<AMQPFrame> {
    let (mut rest, mut frames) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).unwrap();
        frames.push(frame);
        rest = after;
    }
    frames
}

fn name() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-zäß.#*]{0,40}").unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        (-1e6f32..1e6).prop_map(Value::F32),
        (-1e9f64..1e9).prop_map(Value::F64),
        (any::<u8>(), any::<i32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        any::<u64>().prop_map(Value::Timestamp),
        name().prop_map(Value::str),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((name(), inner), 0..4).prop_map(|entries| Value::Table(table_of(entries))),
        ]
    })
}

fn table_of(entries: Vec<(String, Value)>) -> Table {
    let mut table = Table::new();
    entries.into_iter().for_each(|(name, value)| table.push(name, value));
    table
}

fn oracle_value(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(v) => AMQPValue::Boolean(*v),
        Value::I8(v) => AMQPValue::ShortShortInt(*v),
        Value::U8(v) => AMQPValue::ShortShortUInt(*v),
        Value::I16(v) => AMQPValue::ShortInt(*v),
        Value::U16(v) => AMQPValue::ShortUInt(*v),
        Value::I32(v) => AMQPValue::LongInt(*v),
        Value::U32(v) => AMQPValue::LongUInt(*v),
        Value::I64(v) => AMQPValue::LongLongInt(*v),
        Value::U64(v) => AMQPValue::LongLongInt(v.cast_signed()),
        Value::F32(v) => AMQPValue::Float(*v),
        Value::F64(v) => AMQPValue::Double(*v),
        Value::Decimal { scale, value } => AMQPValue::DecimalValue(amq_protocol::types::DecimalValue {
            scale: *scale,
            value: value.cast_unsigned(),
        }),
        Value::Timestamp(v) => AMQPValue::Timestamp(*v),
        Value::Str(v) => AMQPValue::LongString(v.as_bytes().as_ref().into()),
        Value::Bytes(v) => AMQPValue::ByteArray(v.as_ref().into()),
        Value::Array(items) => {
            AMQPValue::FieldArray(FieldArray::from(items.iter().map(oracle_value).collect::<Vec<_>>()))
        }
        Value::Table(table) => AMQPValue::FieldTable(oracle_table(table)),
    }
}

fn oracle_table(table: &Table) -> FieldTable {
    let mut out = FieldTable::default();
    table.iter().for_each(|(name, value)| _ = out.insert((&**name).into(), oracle_value(value)));
    out
}

fn properties() -> impl Strategy<Value = BasicProperties> {
    let texts = vec(proptest::option::of(name()), 10);
    let numbers = (any::<Option<u8>>(), any::<Option<u8>>(), any::<Option<u64>>());
    let headers = proptest::option::of(vec((name(), value()), 0..5));
    (texts, numbers, headers).prop_map(|(texts, (mode, priority, timestamp), headers)| {
        let mut p = BasicProperties::default();
        let text = |at: usize| texts[at].as_deref().map(Into::into);
        if let Some(v) = text(0) {
            p = p.with_content_type(v);
        }
        if let Some(v) = text(1) {
            p = p.with_content_encoding(v);
        }
        if let Some(v) = headers {
            p = p.with_headers(oracle_table(&table_of(v)));
        }
        if let Some(v) = mode {
            p = p.with_delivery_mode(v);
        }
        if let Some(v) = priority {
            p = p.with_priority(v);
        }
        if let Some(v) = text(2) {
            p = p.with_correlation_id(v);
        }
        if let Some(v) = text(3) {
            p = p.with_reply_to(v);
        }
        if let Some(v) = text(4) {
            p = p.with_expiration(v);
        }
        if let Some(v) = text(5) {
            p = p.with_message_id(v);
        }
        if let Some(v) = timestamp {
            p = p.with_timestamp(v);
        }
        if let Some(v) = text(6) {
            p = p.with_type(v);
        }
        if let Some(v) = text(7) {
            p = p.with_user_id(v);
        }
        if let Some(v) = text(8) {
            p = p.with_app_id(v);
        }
        if let Some(v) = text(9) {
            p = p.with_cluster_id(v);
        }
        p
    })
}

proptest! {
    #[test]
    fn publish_reads_what_the_oracle_writes(exchange in name(), key in name(), mandatory: bool, immediate: bool) {
        let method = basic::Publish {
            exchange: exchange.as_str().into(), routing_key: key.as_str().into(), mandatory, immediate,
        };
        let frame = generated(&AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(method))));
        let mut reader = Reader::new(payload(&frame));
        prop_assert_eq!(reader.u32().unwrap(), hot::PUBLISH);
        let found = hot::parse_publish(&mut reader).unwrap();
        prop_assert_eq!(found, hot::Publish { exchange: exchange.as_bytes(), key: key.as_bytes(), mandatory, immediate });
    }

    #[test]
    fn settlements_read_what_the_oracle_writes(tag: u64, multiple: bool, requeue: bool) {
        let cases = [
            (hot::ACK, basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple }), (multiple, false)),
            (hot::NACK, basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple, requeue }), (multiple, requeue)),
            (hot::REJECT, basic::AMQPMethod::Reject(basic::Reject { delivery_tag: tag, requeue }), (false, requeue)),
        ];
        for (id, method, (multiple, requeue)) in cases {
            let frame = generated(&AMQPFrame::Method(1, AMQPClass::Basic(method)));
            let mut reader = Reader::new(payload(&frame));
            prop_assert_eq!(reader.u32().unwrap(), id);
            prop_assert_eq!(hot::parse_settlement(id, &mut reader).unwrap(), hot::Settlement { tag, multiple, requeue });
        }
    }

    #[test]
    fn the_oracle_reads_what_is_written(tag: u64, redelivered: bool, exchange in name(), key in name(),
                                        consumer in name(), remaining: u32, multiple: bool) {
        let mut out = BytesMut::new();
        let handout = hot::Handout { tag, redelivered, exchange: &exchange, key: &key };
        hot::put_deliver(&mut out, 7, &consumer, &handout);
        hot::put_get_ok(&mut out, 7, &handout, remaining);
        hot::put_return(&mut out, 7, &exchange, &key);
        hot::put_ack(&mut out, 7, tag, multiple);
        hot::put_nack(&mut out, 7, tag);
        let (exchange, routing_key) = (exchange.as_str().into(), key.as_str().into());
        let (exchange, routing_key): (amq_protocol::types::ShortString, amq_protocol::types::ShortString) = (exchange, routing_key);
        let expected = [
            basic::AMQPMethod::Deliver(basic::Deliver {
                consumer_tag: consumer.as_str().into(), delivery_tag: tag, redelivered,
                exchange: exchange.clone(), routing_key: routing_key.clone(),
            }),
            basic::AMQPMethod::GetOk(basic::GetOk {
                delivery_tag: tag, redelivered, exchange: exchange.clone(),
                routing_key: routing_key.clone(), message_count: remaining,
            }),
            basic::AMQPMethod::Return(basic::Return {
                reply_code: 312, reply_text: "NO_ROUTE".into(), exchange, routing_key,
            }),
            basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple }),
            basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple: false, requeue: false }),
        ];
        let expected: Vec<_> = expected.into_iter().map(|m| AMQPFrame::Method(7, AMQPClass::Basic(m))).collect();
        prop_assert_eq!(parsed(&out), expected);
    }

    #[test]
    fn properties_agree_and_survive(properties in properties(), size: u64) {
        let header = amq_protocol::frame::AMQPContentHeader { class_id: 60, body_size: size, properties: properties.clone() };
        let frame = generated(&AMQPFrame::Header(3, header));
        let (class, found_size, block) = hot::parse_content_header(payload(&frame)).unwrap();
        prop_assert_eq!((class, found_size), (60, size));
        let found = Properties::parse(block).unwrap();
        let text = |v: &Option<amq_protocol::types::ShortString>| v.as_ref().map(|v| v.as_str().as_bytes().to_vec());
        prop_assert_eq!(found.content_type.map(<[u8]>::to_vec), text(properties.content_type()));
        prop_assert_eq!(found.reply_to.map(<[u8]>::to_vec), text(properties.reply_to()));
        prop_assert_eq!(found.cluster_id.map(<[u8]>::to_vec), text(properties.cluster_id()));
        prop_assert_eq!(found.delivery_mode, *properties.delivery_mode());
        prop_assert_eq!(found.timestamp, *properties.timestamp());
        let headers = found.headers.map(|content| oracle_table(&parse_table(content).unwrap()));
        prop_assert_eq!(&headers, properties.headers());
        let mut again = Vec::new();
        found.put(&mut again);
        prop_assert_eq!(&again[..], block);
    }

    #[test]
    fn tables_agree_and_survive(entries in vec((name(), value()), 0..6)) {
        let table = table_of(entries);
        let mut bytes = Vec::new();
        put_table(&mut bytes, &table);
        prop_assert_eq!(&parse_table(&bytes[4..]).unwrap(), &table);
        let (rest, found) = amq_protocol::types::parsing::parse_field_table(&bytes[..]).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(found, oracle_table(&table));
    }

    #[test]
    fn bodies_are_cut_into_frames(pieces in vec(1usize..5000, 0..5), frame_max in 4096u32..9000) {
        let mut body = Body::new();
        pieces.iter().enumerate().for_each(|(at, &len)| body.push(Bytes::from(vec![at as u8; len])));
        let mut wire = Wire::new();
        hot::put_content(&mut wire, 9, &[0, 0], &body, frame_max);
        let bytes = wire.take();
        let mut joined = Vec::new();
        for frame in parsed(&bytes) {
            match frame {
                AMQPFrame::Header(9, header) => prop_assert_eq!(header.body_size, body.len() as u64),
                AMQPFrame::Body(9, data) => {
                    prop_assert!(!data.is_empty() && data.len() + 8 <= frame_max as usize);
                    joined.extend(data);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(&joined[..], &body.joined()[..]);
    }

    #[test]
    fn no_bytes_hurt_the_parsers(bytes in vec(any::<u8>(), 0..300), class in 0u16..100, method in 0u16..130) {
        let _ = Properties::parse(&bytes);
        let _ = parse_table(&bytes);
        let _ = hot::parse_content_header(&bytes);
        let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
        payload.extend(&bytes);
        let _ = method::parse(&payload);
    }
}

/// `depth` arrays, one in the other.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(vec![b'V'], |inner, _| {
        let mut outer = vec![b'A'];
        outer.extend((inner.len() as u32).to_be_bytes());
        outer.extend(inner);
        outer
    })
}

#[test]
fn nesting_is_limited_before_anything_recurses() {
    let arguments = |depth: usize| {
        let mut table = vec![1, b'a'];
        table.extend(nested(depth));
        let mut payload = vec![0, 50, 0, 10, 0, 0, 1, b'q', 0];
        payload.extend((table.len() as u32).to_be_bytes());
        payload.extend(table);
        payload
    };
    assert!(method::parse(&arguments(20)).is_ok());
    assert!(matches!(method::parse(&arguments(20_000)), Err(MethodError::Malformed(_))));
}

#[test]
fn methods_that_a_client_must_not_send_are_unknown() {
    for (class, id) in [(10u16, 10u16), (60, 60), (50, 11), (99, 1)] {
        let payload = [class.to_be_bytes(), id.to_be_bytes(), [0, 0]].concat();
        assert_eq!(method::parse(&payload).unwrap_err(), MethodError::Unknown);
    }
    let declare = queue::Declare { queue: "q".into(), ..queue::Declare::default() };
    let method = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
    let frame = generated(&AMQPFrame::Method(1, method.clone()));
    assert_eq!(method::parse(payload(&frame)).unwrap().method, method);
}
