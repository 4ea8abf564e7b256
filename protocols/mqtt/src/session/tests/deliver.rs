//! From the broker to the client.

use super::*;
use crate::session::state::State;
use model::delivery::VIA_RETAINED;

/// A client that takes up a session with subscription 1 of `qos`, CONNACK and all read away.
fn subscriber(connect: &str, qos: u8) -> Client {
    let state = State::default().encode();
    let mut client = Client::resumed(connect, state, vec![subscription("#", 1, qos)]);
    client.out.wire.take();
    client
}

/// What the broker has of a session when it comes back from a crash: all but the last words.
fn after_crash(client: &Client, qos: u8) -> Client {
    let kept = client.broker.kept.clone();
    let mut next = Client::new(MqttConfig::default());
    (next.now, next.broker.present, next.broker.kept) = (client.now + 5000, true, kept);
    next.broker.subscriptions = vec![subscription("#", 1, qos)];
    next.send(V5_KEPT);
    next
}

#[test]
fn delivers_at_the_lower_qos() {
    for (subscribed, published, expected) in [
        (2, 0, r#"30 [ s"a/b" [] "x" ]"#),
        (2, 1, r#"32 [ s"a/b" 0001 [] "x" ]"#),
        (2, 2, r#"34 [ s"a/b" 0001 [] "x" ]"#),
        (1, 2, r#"32 [ s"a/b" 0001 [] "x" ]"#),
        (0, 2, r#"30 [ s"a/b" [] "x" ]"#),
    ] {
        let mut client = subscriber(V5_KEPT, subscribed);
        client.deliver(1, 1, Some(1), &message(published)).expect(expected);
        let settled = usize::from(subscribed.min(published) == 0);
        assert_eq!(client.broker.settled.len(), settled);
    }
    subscriber(V4, 2).deliver(1, 1, None, &message(2)).expect(r#"30 [ s"a/b" "x" ]"#);
    subscriber(V4, 2).deliver(1, 1, Some(1), &message(2)).expect(r#"34 [ s"a/b" 0001 "x" ]"#);
    subscriber(V5, 2).deliver(1, 0, Some(1), &message(1)).expect(r#"32 [ s"a/b" 0001 [] "x" ]"#);
    // for a subscription that is gone
    let mut client = subscriber(V5, 2);
    client.deliver(1, 9, Some(1), &message(1)).expect("");
    assert_eq!(client.broker.settled, [(ConsumerId(1), 1, Outcome::Ack)]);
}

#[test]
fn settles_with_the_acknowledgement() {
    let mut client = subscriber(V5_KEPT, 2);
    client.deliver(1, 1, Some(1), &message(1)).deliver(1, 1, Some(2), &message(2)).out.wire.take();
    client.send("40 02 0001").expect("");
    client.send("50 02 0002").expect("62 02 0002");
    client.send("70 02 0002").expect("");
    let consumer = ConsumerId(1);
    assert_eq!(client.broker.settled, [(consumer, 1, Outcome::Ack), (consumer, 2, Outcome::Ack)]);
    client.deliver(1, 1, Some(3), &message(1)).deliver(1, 1, Some(4), &message(2)).out.wire.take();
    client.send("40 03 0003 80").expect("").send("50 04 0004 80 00").expect("");
    assert_eq!(client.broker.settled[2..], [(consumer, 3, Outcome::Reject), (consumer, 4, Outcome::Reject)]);
}

#[test]
fn unsolicited_acknowledgements() {
    let start = format!("> {V5}\n< {V5_IN}");
    for (packet, answer) in [
        ("62 02 0009", "70 02 0009"),
        ("50 02 0009", "62 02 0009"),
        ("50 03 0009 80", ""),
        ("40 02 0009", ""),
        ("70 02 0009", ""),
        (r#"40 [ 0009 00 [ 1f s"why" 26 s"k" s"v" ] ]"#, ""),
    ] {
        check(&format!("{start}\n> {packet}\n< {answer}\n> c0 00\n< d0 00"));
    }
    for packet in ["40 02 0000", "62 02 0000", "40 03 0001 01", "62 03 0001 80", "70 03 0001 10"] {
        refused_v5(packet, "82");
    }
    refused_v5("40 [ 0001 00 [ 23 0001 ] ]", "82");
    refused_v5("40 [ 0001 00 05 ]", "81");
    refused_v5("40 01 00", "81");
    refused_v4("40 03 0001 00");
    for (qos, wrong) in [(1, "50 02 0001"), (1, "70 02 0001"), (2, "40 02 0001"), (2, "70 02 0001")] {
        let mut client = subscriber(V5_KEPT, 2);
        client.deliver(1, 1, Some(1), &message(qos)).out.wire.take();
        client.send(wrong).expect("e0 01 82").expect_closed();
        let mut client = subscriber(V4, 2);
        client.deliver(1, 1, Some(1), &message(qos)).out.wire.take();
        client.send(wrong).expect("").expect_closed();
    }
}

#[test]
fn receive_maximum_holds_back() {
    let connect = r#"10 [ s"MQTT" 05 00 0000 [ 21 0001 11 0000000a ] s"c" ]"#;
    let mut client = subscriber(connect, 2);
    client.deliver(1, 1, Some(1), &message(2)).expect(r#"34 [ s"a/b" 0001 [] "x" ]"#);
    client.deliver(1, 1, Some(2), &message(1)).deliver(1, 1, Some(3), &message(1)).expect("");
    client.deliver(1, 1, None, &message(0)).expect(r#"30 [ s"a/b" [] "x" ]"#);
    client.send("50 02 0001").expect("62 02 0001");
    client.send("70 02 0001").expect(r#"32 [ s"a/b" 0002 [] "x" ]"#);
    client.send("40 02 0002").expect(r#"32 [ s"a/b" 0003 [] "x" ]"#);
    let credit = client.broker.ops.iter().find_map(|op| match op {
        Op::Consume(consume) => Some(consume.credit),
        _ => None,
    });
    assert_eq!(credit, Some(1));
}

#[test]
fn resumes_where_it_left() {
    let mut client = subscriber(V5_KEPT, 2);
    for (seq, qos) in [(1, 1), (2, 2), (3, 2), (4, 1)] {
        client.deliver(1, 1, Some(seq), &message(qos));
    }
    client.send("50 02 0003").out.wire.take();
    let (state, ..) = client.close();
    let mut client = Client::resumed(V5_KEPT, state, vec![subscription("#", 1, 2)]);
    client.expect("20 0e 01 00 0b 22 000a 27 001e8480 21 0014 62 02 0003");
    client.deliver(1, 1, Some(1), &message(1)).expect(r#"3a [ s"a/b" 0001 [] "x" ]"#);
    // number 2 is gone from the queue: the client may let go of its identifier
    client.deliver(1, 1, Some(4), &message(1)).expect(r#"62 02 0002 3a [ s"a/b" 0004 [] "x" ]"#);
    client.deliver(1, 1, Some(5), &message(1)).expect(r#"32 [ s"a/b" 0005 [] "x" ]"#);
    client.send("70 02 0003 70 02 0002 40 02 0001 40 02 0004 40 02 0005").expect("");
    assert_eq!(client.broker.settled.len(), 3);
}

#[test]
fn a_crash_repeats_pubrel_and_not_the_message() {
    let mut client = subscriber(V5_KEPT, 2);
    for seq in 1..=4 {
        client.deliver(1, 1, Some(seq), &message(2));
    }
    client.send("50 02 0003 50 02 0002 50 02 0001").out.wire.take();
    assert_eq!((client.broker.kept.len(), client.broker.settled.len()), (3, 3));
    client.send("70 02 0001");
    assert_eq!(client.broker.kept.len(), 3);
    client.pass(1000).expect("");
    assert_eq!(client.broker.kept.len(), 2);
    let mut client = after_crash(&client, 2);
    client.expect("20 0e 01 00 0b 22 000a 27 001e8480 21 0014 62 02 0003 62 02 0002");
    // the queue does not know yet that these are settled
    client.deliver(1, 1, Some(2), &message(2)).deliver(1, 1, Some(3), &message(2)).expect("");
    client.deliver(1, 1, Some(4), &message(2)).expect(r#"3c [ s"a/b" 0004 [] "x" ]"#);
    assert_eq!(client.broker.settled.len(), 2);
    client.send("70 02 0002 70 02 0003").pass(999);
    assert_eq!(client.broker.kept.len(), 2);
    // forgotten with the connection at the latest, and what is in use again is not
    client.deliver(1, 1, Some(65_535 + 2), &message(2)).send("50 02 0002").close();
    assert_eq!(client.broker.kept.len(), 1);
}

#[test]
fn messages_from_before_a_crash_may_be_duplicates() {
    let client = subscriber(V5_KEPT, 1);
    let mut client = after_crash(&client, 1);
    client.out.wire.take();
    client.deliver(1, 1, Some(7), &message(1)).expect(r#"3a [ s"a/b" 0007 [] "x" ]"#);
    let mut young = message(1).derive();
    young.published_ms = client.now;
    client.deliver(1, 1, Some(8), &Arc::new(young)).expect(r#"32 [ s"a/b" 0008 [] "x" ]"#);
    client.deliver(1, 1, Some(9), &message(0)).expect(r#"30 [ s"a/b" [] "x" ]"#);
}

#[test]
fn retained_messages_in_the_queue_come_after_the_suback() {
    let mut client = Client::connected(V5_KEPT);
    client.feed_only(r#"82 [ 0001 [] s"a/b" 01 ]"#);
    client.deliver(1, 1 | VIA_RETAINED, Some(1), &message(1)).expect("");
    client.feed(&[]);
    client.expect(r#"90 [ 0001 [] 01 ] 33 [ s"a/b" 0001 [] "x" ]"#);
    client.deliver(1, 1 | VIA_RETAINED, Some(2), &message(2)).expect(r#"33 [ s"a/b" 0002 [] "x" ]"#);
    assert!(client.broker.settled.is_empty());
}

#[test]
fn forwards_properties_and_patches_expiry() {
    let mut publisher = Client::connected(V5);
    let section = r#"01 01 02 0000000a 03 s"t" 08 s"r" 09 0001 ff 26 s"b" s"1" 26 s"a" s"2" 26 s"b" s"3""#;
    publisher.send(&format!(r#"30 [ s"a/b" [ {section} ] "x" ]"#));
    let message = publisher.broker.published[0].message.clone();
    let mut client = subscriber(V5_KEPT, 1);
    client.now += 3999;
    let section = r#"02 00000007 01 01 03 s"t" 08 s"r" 09 0001 ff 26 s"b" s"1" 26 s"a" s"2" 26 s"b" s"3""#;
    client.deliver(1, 1, None, &message).expect(&format!(r#"30 [ s"a/b" [ {section} ] "x" ]"#));
    client.now += 7000;
    client.deliver(1, 1, Some(1), &message).expect("");
    assert_eq!(client.broker.settled, [(ConsumerId(1), 1, Outcome::Reject)]);
    subscriber(V4, 1).deliver(1, 1, None, &message).expect(r#"30 [ s"a/b" "x" ]"#);
}

#[test]
fn adds_subscription_identifiers() {
    let mut client = Client::connected(V5_KEPT);
    client.send(r#"82 [ 0001 [ 0b 8101 ] s"a/+" 01 ]"#).expect("90 [ 0001 [] 01 ]");
    client.deliver(1, 1, Some(1), &message(1)).expect(r#"32 [ s"a/b" 0001 [ 0b 8101 ] "x" ]"#);
}

#[test]
fn drops_what_is_too_large() {
    let connect = r#"10 [ s"MQTT" 05 00 0000 [ 27 00000009 ] s"c" ]"#;
    let mut client = subscriber(connect, 1);
    client.deliver(1, 1, Some(1), &message(0)).expect(r#"30 [ s"a/b" [] "x" ]"#);
    client.deliver(1, 1, Some(2), &message(1)).expect("");
    assert_eq!(client.broker.settled[1], (ConsumerId(1), 2, Outcome::Reject));
    client.deliver(1, 1, Some(3), &keyed(1, "a")).expect(r#"32 [ s"a" 0003 [] "x" ]"#);
}

#[test]
fn assigns_topic_aliases() {
    let connect = r#"10 [ s"MQTT" 05 00 0000 [ 22 0001 ] s"c" ]"#;
    let mut client = subscriber(connect, 0);
    client.deliver(1, 1, None, &message(0)).expect(r#"30 [ s"a/b" [ 23 0001 ] "x" ]"#);
    client.deliver(1, 1, None, &message(0)).expect(r#"30 [ s"" [ 23 0001 ] "x" ]"#);
    client.deliver(1, 1, None, &keyed(0, "c")).expect(r#"30 [ s"c" [] "x" ]"#);
}

#[test]
fn retain_flag_only_as_published() {
    let mut publisher = Client::connected(V5);
    publisher.send(r#"31 [ s"a/b" [] "x" ]"#);
    let message = publisher.broker.published[0].message.clone();
    let mut client = Client::connected(V5);
    client.send(r#"82 [ 0001 [] s"a/b" 00 s"a/+" 08 ]"#).expect("90 [ 0001 [] 00 00 ]");
    client.deliver(1, 1, None, &message).expect(r#"30 [ s"a/b" [] "x" ]"#);
    client.deliver(1, 2, None, &message).expect(r#"31 [ s"a/b" [] "x" ]"#);
}

#[test]
fn converts_messages_of_other_protocols() {
    use model::{envelope::Envelope, message::Native, message::PropertyCodec, value::Value};
    struct Foreign;
    impl PropertyCodec for Foreign {
        fn tag(&self) -> &'static str {
            "foreign"
        }
        fn envelope(&self, _: &Bytes) -> Envelope {
            let mut envelope = Envelope { content_type: Some("t".into()), ..Envelope::default() };
            envelope.headers.push("n", Value::I64(5));
            envelope
        }
    }
    static FOREIGN: Foreign = Foreign;
    let native = Native { codec: &FOREIGN, properties: Bytes::new() };
    let mut message = Message::new("x".into(), "k/1.z".into(), native, Bytes::from_static(b"x").into(), 0);
    message.durable = true;
    let message = Arc::new(message);
    let mut client = subscriber(V5, 2);
    let section = r#"03 s"t" 26 s"n" s"5""#;
    client.deliver(1, 1, Some(1), &message).expect(&format!(r#"32 [ s"k%2F1/z" 0001 [ {section} ] "x" ]"#));
    subscriber(V4, 1).deliver(1, 1, Some(1), &message).expect(r#"32 [ s"k%2F1/z" 0001 "x" ]"#);
}

#[test]
fn long_bodies_keep_their_place() {
    let body = Bytes::from(vec![7; 10_000]);
    let native = convert::bare(0);
    let message = Arc::new(Message::new("".into(), "a".into(), native, body.clone().into(), 0));
    let mut client = subscriber(V4, 0);
    client.deliver(1, 1, None, &message).deliver(1, 1, None, &keyed(0, "b"));
    let out = client.out.wire.take();
    assert_eq!(out[..6], bytes_of("30 93 4e 0001 61")[..]);
    assert_eq!(out[6..10_006], body[..]);
    assert_eq!(out[10_006..], bytes_of(r#"30 [ s"b" "x" ]"#)[..]);
}
