//! Deliveries, gets and the answers to them.

use super::*;
use model::message::{Death, DeathReason};

fn delivered(client: &mut Client) -> (basic::Deliver, BasicProperties, Vec<u8>) {
    let frames = client.frames();
    let AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) = &frames[0] else {
        panic!("{frames:?}");
    };
    let AMQPFrame::Header(1, header) = &frames[1] else { panic!("{frames:?}") };
    let body = frames[2..].iter().flat_map(|frame| match frame {
        AMQPFrame::Body(1, data) => data.clone(),
        other => panic!("{other:?}"),
    });
    (deliver.clone(), header.properties.clone(), body.collect())
}

fn block(properties: &BasicProperties) -> Vec<u8> {
    let header = AMQPContentHeader { class_id: 60, body_size: 0, properties: properties.clone() };
    let frame = encoded(&AMQPFrame::Header(1, header));
    frame[19..frame.len() - 1].to_vec()
}

fn consuming() -> Client {
    let mut client = Client::open();
    client.consume("t", false);
    client.frames();
    client
}

#[test]
fn properties_go_out_as_they_came_in() {
    let mut client = consuming();
    let mut headers = FieldTable::default();
    headers.insert("n".into(), AMQPValue::ShortInt(3));
    let properties = BasicProperties::default().with_headers(headers).with_expiration("9".into());
    let body = Bytes::from(vec![5; 300_000]);
    client.deliver(vec![delivery(1, 1, message(&block(&properties), body.clone().into()))]);
    let (deliver, found, found_body) = delivered(&mut client);
    assert_eq!((deliver.delivery_tag, deliver.redelivered), (1, false));
    assert_eq!((deliver.exchange.as_str(), deliver.routing_key.as_str()), ("ex", "a.b"));
    assert_eq!((found, found_body), (properties, body.to_vec()));
}

#[test]
fn deaths_and_counts_are_added() {
    let mut client = consuming();
    let mut headers = FieldTable::default();
    headers.insert("mine".into(), AMQPValue::LongLongInt(1));
    headers.insert("x-death".into(), AMQPValue::LongString("forged".into()));
    let properties = BasicProperties::default().with_headers(headers).with_expiration("9".into());
    let mut dead = message(&block(&properties), Body::new());
    let extra = dead.extra_mut();
    extra.first_death = Some(("q".into(), DeathReason::Expired, "ex".into()));
    extra.deaths.push(Death {
        queue: "q".into(),
        reason: DeathReason::Expired,
        count: 2,
        time_ms: 7000,
        exchange: "ex".into(),
        routing_keys: vec!["k".into()],
        original_ttl_ms: Some(9),
    });
    let mut delivery = delivery(1, 1, dead);
    (delivery.earlier_deliveries, delivery.redelivered) = (1, true);
    client.deliver(vec![delivery]);
    let (deliver, found, _) = delivered(&mut client);
    assert!(deliver.redelivered);
    assert_eq!(*found.expiration(), None);
    let headers = found.headers().as_ref().unwrap().inner();
    assert_eq!(headers["mine"], AMQPValue::LongLongInt(1));
    assert_eq!(headers["x-delivery-count"], AMQPValue::LongLongInt(1));
    assert_eq!(headers["x-first-death-queue"], AMQPValue::LongString("q".into()));
    assert_eq!(headers["x-last-death-reason"], AMQPValue::LongString("expired".into()));
    let AMQPValue::FieldArray(deaths) = &headers["x-death"] else { panic!("{headers:?}") };
    let AMQPValue::FieldTable(death) = &deaths.as_slice()[0] else { panic!("{headers:?}") };
    assert_eq!(death.inner()["count"], AMQPValue::LongLongInt(2));
    assert_eq!(death.inner()["time"], AMQPValue::Timestamp(7));
    assert_eq!(death.inner()["original-expiration"], AMQPValue::LongString("9".into()));
}

#[test]
fn properties_too_large_for_the_consumer_s_frames_lose_their_headers() {
    let mut client = Client::open_with(4096, 0, &ALL);
    client.consume("t", false);
    client.frames();
    let mut headers = FieldTable::default();
    headers.insert("big".into(), AMQPValue::LongString(vec![1; 5000].into()));
    let properties = BasicProperties::default().with_headers(headers).with_message_id("m".into());
    client.deliver(vec![delivery(
        1,
        1,
        message(&block(&properties), Body::from(Bytes::from(vec![1; 9000]))),
    )]);
    let (_, found, body) = delivered(&mut client);
    assert_eq!(found, BasicProperties::default().with_message_id("m".into()));
    assert_eq!(body.len(), 9000);
}

#[test]
fn answers_reach_the_leases() {
    let check = |method: basic::AMQPMethod, expected: &[(u32, u64, Outcome)]| {
        let mut client = consuming();
        client.deliver((11..=13).map(|seq| delivery(1, seq, message(&[0, 0], Body::new()))).collect());
        client.basic(method);
        assert_eq!(client.broker.settled, expected);
    };
    let ack = |delivery_tag, multiple| basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple });
    let nack = |delivery_tag, multiple, requeue| {
        basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue })
    };
    let back = Outcome::Requeue { failed: true };
    check(ack(2, false), &[(1, 12, Outcome::Ack)]);
    check(ack(2, true), &[(1, 11, Outcome::Ack), (1, 12, Outcome::Ack)]);
    check(ack(0, true), &[(1, 11, Outcome::Ack), (1, 12, Outcome::Ack), (1, 13, Outcome::Ack)]);
    check(nack(1, false, true), &[(1, 11, back)]);
    check(nack(2, true, false), &[(1, 11, Outcome::Reject), (1, 12, Outcome::Reject)]);
    check(
        basic::AMQPMethod::Reject(basic::Reject { delivery_tag: 3, requeue: false }),
        &[(1, 13, Outcome::Reject)],
    );
    check(
        basic::AMQPMethod::Recover(basic::Recover { requeue: true }),
        &[(1, 11, back), (1, 12, back), (1, 13, back)],
    );
    check(
        basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue: true }),
        &[(1, 11, back), (1, 12, back), (1, 13, back)],
    );
}

#[test]
fn get_shares_the_tags() {
    let mut client = consuming();
    client.deliver(vec![delivery(1, 1, message(&[0, 0], Body::new()))]);
    client.frames();
    let got = Box::new(delivery(0, 2, message(&[0, 0], Body::from(Bytes::from_static(b"abc")))));
    client.broker.answers.push_back(Reply::Got { delivery: Some(got), remaining: 4 });
    let get = || basic::AMQPMethod::Get(basic::Get { queue: "q".into(), no_ack: false });
    client.basic(get());
    let shown = client.shown();
    assert!(shown[0].contains("GetOk") && shown[0].contains("delivery_tag: 2"), "{shown:?}");
    assert!(shown[0].contains("message_count: 4"));
    client.basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 2, multiple: false }));
    assert_eq!(client.broker.settled, [(0, 2, Outcome::Ack)]);
    client.basic(get());
    assert!(client.shown()[0].contains("GetEmpty"));
}

#[test]
fn auto_ack_takes_tags_but_holds_nothing() {
    let mut client = Client::open();
    client.consume("t", true);
    client.frames();
    let mut free = delivery(1, 1, message(&[0, 0], Body::new()));
    free.lease = None;
    client.deliver(vec![free]);
    assert!(client.shown()[0].contains("delivery_tag: 1"));
    client.basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 1, multiple: false }));
    assert!(client.close().contains("unknown delivery tag 1"));
}
