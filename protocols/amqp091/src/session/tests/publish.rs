//! Publishing: content, confirms, returns, transactions.

use super::*;
use amq_protocol::{protocol::tx, types::FieldArray};
use model::ids::ConfirmToken;

fn headers(name: &str, value: AMQPValue) -> BasicProperties {
    let mut table = FieldTable::default();
    table.insert(name.into(), value);
    BasicProperties::default().with_headers(table)
}

fn keys(keys: &[&str]) -> AMQPValue {
    let keys: Vec<_> = keys.iter().map(|key| AMQPValue::LongString((*key).into())).collect();
    AMQPValue::FieldArray(FieldArray::from(keys))
}

/// Methods with their payload, shortened for comparison.
fn summary(client: &mut Client) -> Vec<String> {
    let frames = client.frames();
    frames
        .iter()
        .map(|frame| match frame {
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(ack))) => {
                format!("ack {}{}", ack.delivery_tag, if ack.multiple { "+" } else { "" })
            }
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Nack(nack))) => {
                format!("nack {}", nack.delivery_tag)
            }
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Return(back))) => {
                format!("return {} {}", back.reply_code, back.routing_key)
            }
            AMQPFrame::Header(1, header) => format!("header {}", header.body_size),
            AMQPFrame::Body(1, body) => format!("body {}", body.len()),
            AMQPFrame::Method(1, AMQPClass::Tx(method)) => format!("{method:?}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn contents_arrive_whole() {
    for length in [0, 1, 1023, 1024, 131_064, 131_065, 400_000] {
        let mut client = Client::open();
        let body: Vec<u8> = (0..length).map(|at: usize| at as u8).collect();
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_priority(7).with_expiration("60000".into());
        client.publish(false, properties, &body);
        let publish = &client.broker.published[0];
        let message = &publish.message;
        assert_eq!((&*message.exchange, &*message.routing_key), ("ex", "a.b"));
        assert_eq!(message.body.joined(), body);
        assert!(message.durable && publish.confirm.is_none());
        assert_eq!((message.priority, message.ttl_ms), (7, Some(60_000)));
        assert!(client.session.channels[&1].incoming.is_idle());
    }
}

#[test]
fn tiny_frames_do_not_make_a_tiny_pieced_rope() {
    let mut client = Client::open();
    client.basic(basic::AMQPMethod::Publish(basic::Publish::default()));
    let header = AMQPContentHeader { class_id: 60, body_size: 5000, properties: BasicProperties::default() };
    client.frame(&AMQPFrame::Header(1, header));
    for at in 0..5000 {
        client.frame(&AMQPFrame::Body(1, vec![at as u8]));
    }
    let message = &client.broker.published[0].message;
    assert_eq!((message.body.len(), message.body.pieces().len()), (5000, 1));
}

#[test]
fn errors_of_properties() {
    let check = |properties: BasicProperties, text: &str| {
        let mut client = Client::open();
        client.publish(false, properties, b"x");
        assert_eq!(client.close(), format!("channel 406 PRECONDITION_FAILED - {text} (60,40)"));
        assert!(client.broker.published.is_empty());
    };
    let with = BasicProperties::default;
    check(
        with().with_user_id("bob".into()),
        "user_id property set to 'bob' but authenticated user was 'guest'",
    );
    check(with().with_expiration("abc".into()), "invalid expiration 'abc': no_integer");
    check(with().with_delivery_mode(3), "invalid message: {delivery_mode_unknown,3}");
    check(
        headers("CC", AMQPValue::LongString("k".into())),
        "invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
    );
    check(with().with_reply_to("amq.rabbitmq.reply-to".into()), "fast reply consumer does not exist");
}

#[test]
fn errors_of_publishing() {
    let mut client = Client::open();
    client.basic(basic::AMQPMethod::Publish(basic::Publish { immediate: true, ..Default::default() }));
    assert_eq!(client.close(), "connection 540 NOT_IMPLEMENTED - immediate=true (60,40)");

    let mut client = Client::open();
    client.basic(basic::AMQPMethod::Publish(basic::Publish::default()));
    let header =
        AMQPContentHeader { class_id: 60, body_size: 1 << 40, properties: BasicProperties::default() };
    client.frame(&AMQPFrame::Header(1, header));
    assert_eq!(
        client.close(),
        "channel 406 PRECONDITION_FAILED - message size 1099511627776 is larger than configured max size 16777216 (60,40)"
    );

    let mut client = Client::open();
    client.broker.routed.push_back(Err(BrokerError::not_found("exchange", "ex", "/")));
    client.publish(false, BasicProperties::default(), b"x");
    assert_eq!(client.close(), "channel 404 NOT_FOUND - no exchange 'ex' in vhost '/' (60,40)");
}

#[test]
fn frames_out_of_turn() {
    let check = |frames: &[AMQPFrame], text: &str| {
        let mut client = Client::open();
        frames.iter().for_each(|frame| client.frame(frame));
        assert!(client.close().starts_with(&format!("connection {text}")), "{text}");
    };
    let publish =
        || AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish::default())));
    let header = |class_id, body_size| {
        AMQPFrame::Header(1, AMQPContentHeader { class_id, body_size, properties: Default::default() })
    };
    let body = || AMQPFrame::Body(1, vec![1, 2]);
    check(&[body()], "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead");
    check(&[header(60, 1)], "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead");
    check(
        &[publish(), body()],
        "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
    );
    check(&[publish(), header(50, 1)], "505 UNEXPECTED_FRAME");
    check(&[publish(), publish()], "505 UNEXPECTED_FRAME");
    check(&[publish(), header(60, 1), body()], "501 FRAME_ERROR");
    check(&[publish(), header(60, 1), header(60, 1)], "505 UNEXPECTED_FRAME");
}

#[test]
fn carbon_copies() {
    let mut client = Client::open();
    client.publish(false, headers("BCC", keys(&["hidden"])), b"x");
    let message = &client.broker.published[0].message;
    assert_eq!(message.extra.as_ref().unwrap().extra_keys, ["hidden"]);
    assert!(message.envelope().headers.is_empty());
    client.publish(false, headers("CC", keys(&["k1", "k2"])), b"x");
    let message = &client.broker.published[1].message;
    assert_eq!(message.extra.as_ref().unwrap().extra_keys, ["k1", "k2"]);
    assert_eq!(message.envelope().headers.len(), 1);
}

fn routed(destinations: u32, pending: bool) -> Result<Routed, BrokerError> {
    Ok(Routed { destinations, pending })
}

#[test]
fn confirms_follow_the_broker() {
    let mut client = Client::open();
    client.select_confirms();
    client.frames();
    (0..3).for_each(|_| client.publish(false, BasicProperties::default(), b"x"));
    let tokens: Vec<_> = client.broker.published.iter().map(|p| p.confirm.unwrap()).collect();
    let of = |at: usize, accepted| Confirm { token: tokens[at], accepted };
    assert!(client.frames().is_empty());
    client.confirm(&[of(0, true), of(1, true)]);
    assert_eq!(summary(&mut client), ["ack 2+"]);
    client.confirm(&[of(2, false)]);
    assert_eq!(summary(&mut client), ["nack 3"]);
    client.confirm(&[of(2, true), Confirm { token: ConfirmToken(u64::MAX), accepted: true }]);
    assert!(client.frames().is_empty());
}

#[test]
fn returns_come_before_acks_and_acks_are_gathered_per_read() {
    let mut client = Client::open();
    client.select_confirms();
    client.frames();
    client.broker.routed.push_back(routed(0, false));
    client.publish(true, BasicProperties::default(), b"abc");
    assert_eq!(summary(&mut client), ["return 312 a.b", "header 3", "body 3", "ack 1"]);
    client.broker.routed.extend([routed(1, false), routed(1, false)]);
    let one = [
        AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish::default()))),
        AMQPFrame::Header(
            1,
            AMQPContentHeader { class_id: 60, body_size: 0, properties: BasicProperties::default() },
        ),
    ];
    let bytes: Vec<u8> = one.iter().chain(&one).flat_map(encoded).collect();
    client.bytes(&bytes);
    assert_eq!(summary(&mut client), ["ack 3+"]);
}

#[test]
fn confirms_of_a_former_channel_are_not_the_new_one_s() {
    let mut client = Client::open();
    client.select_confirms();
    client.publish(false, BasicProperties::default(), b"x");
    let old = client.broker.published[0].confirm.unwrap();
    client.channel(1, channel::AMQPMethod::Close(channel::Close::default()));
    client.channel(1, channel::AMQPMethod::Open(channel::Open {}));
    client.select_confirms();
    client.publish(false, BasicProperties::default(), b"x");
    client.frames();
    client.confirm(&[Confirm { token: old, accepted: true }]);
    assert!(client.frames().is_empty());
    let new = client.broker.published[1].confirm.unwrap();
    client.confirm(&[Confirm { token: new, accepted: true }]);
    assert_eq!(summary(&mut client), ["ack 1"]);
}

#[test]
fn transactions() {
    let tx = |method| AMQPClass::Tx(method);
    let mut client = Client::open();
    client.method(1, tx(tx::AMQPMethod::Select(tx::Select {})));
    client.consume("t", false);
    client.deliver(vec![
        delivery(1, 1, message(&[0, 0], Body::new())),
        delivery(1, 2, message(&[0, 0], Body::new())),
    ]);
    let ack = |multiple| basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 2, multiple });
    client.basic(ack(true));
    client.publish(false, BasicProperties::default(), b"x");
    assert!(client.broker.published.is_empty() && client.broker.settled.is_empty());
    client.method(1, tx(tx::AMQPMethod::Rollback(tx::Rollback {})));
    client.basic(ack(false));
    client.publish(false, BasicProperties::default(), b"y");
    client.frames();
    client.method(1, tx(tx::AMQPMethod::Commit(tx::Commit {})));
    assert_eq!(client.broker.settled, [(1, 2, Outcome::Ack)]);
    assert_eq!(client.broker.published.len(), 1);
    assert!(client.frames().is_empty());
    let token = client.broker.published[0].confirm.unwrap();
    client.confirm(&[Confirm { token, accepted: true }]);
    assert_eq!(summary(&mut client), ["CommitOk(CommitOk)"]);
    client.method(1, tx(tx::AMQPMethod::Commit(tx::Commit {})));
    assert_eq!(summary(&mut client), ["CommitOk(CommitOk)"]);
}
