//! From the client to the broker.

use super::*;

#[test]
fn refuses_wrong_publishes() {
    for (packet, reason) in [
        (r#"30 [ s"" [] ]"#, "81"),
        (r#"30 [ s"a/+" [] ]"#, "81"),
        ("30 [ 0001 23 [] ]", "81"),
        ("30 [ 0001 00 [] ]", "81"),
        ("30 [ 0001 1f [] ]", "81"),
        ("30 [ 0002 c29f [] ]", "81"),
        ("30 [ 0003 eda080 [] ]", "81"),
        ("30 [ 0003 efbfbf [] ]", "81"),
        (r#"38 [ s"a" [] ]"#, "81"),
        (r#"36 [ s"a" 0001 [] ]"#, "81"),
        (r#"32 [ s"a" 0000 [] ]"#, "82"),
        (r#"30 [ s"a" [ 23 000b ] ]"#, "94"),
        (r#"30 [ s"a" [ 23 0000 ] ]"#, "82"),
        (r#"30 [ s"" [ 23 0001 ] ]"#, "82"),
        (r#"30 [ s"a" [ 01 02 ] ]"#, "82"),
        (r#"30 [ s"a" [ 08 s"r/+" ] ]"#, "82"),
        (r#"30 [ s"a" [ 0b 01 ] ]"#, "82"),
        (r#"30 [ s"a" [ 03 s"t" 03 s"t" ] ]"#, "82"),
        (r#"30 [ s"a" [ 03 00 ] ]"#, "81"),
        (r#"30 [ s"a" [ 01 01 ] ff ]"#, "99"),
        (r#"30 [ s"a" 09 ]"#, "81"),
    ] {
        refused_v5(packet, reason);
    }
    for packet in
        [r#"30 [ s"" ]"#, r#"30 [ s"a/#" ]"#, r#"36 [ s"a" 0001 ]"#, r#"32 [ s"a" 0000 ]"#, "30 [ 00 ]"]
    {
        refused_v4(packet);
    }
}

#[test]
fn acknowledges_what_the_broker_says() {
    let mut client = Client::connected(V5);
    client.send(r#"30 [ s"a" [] "x" ]"#).expect("");
    client.send(r#"32 [ s"a" 0007 [] "x" ]"#).expect("40 02 0007");
    client.send(r#"32 [ s"denied" 0007 [] ]"#).expect("40 03 0007 87");
    client.send(r#"32 [ s"$queue/" 0007 [] ]"#).expect("40 03 0007 90");
    client.send(r#"32 [ s"a" 0007 [ 01 01 ] ff ]"#).expect("40 03 0007 99");
    client.send(r#"34 [ s"a" 0007 [ 01 01 ] ff ]"#).expect("50 03 0007 99");
    client.broker.routed.destinations = 0;
    client.send(r#"32 [ s"a" 0008 [] ]"#).expect("40 03 0008 10");
    client.send(r#"32 [ 0004 f0aa9b94 0008 [ 02 00000000 ] ]"#).expect("40 03 0008 10");
    client.send(r#"34 [ s"a" 0008 [] ]"#).expect("50 02 0008");
    let mut client = Client::connected(V4);
    client.broker.routed.destinations = 0;
    client.send(r#"32 [ s"denied" 0007 ]"#).expect("40 02 0007");
    client.send(r#"32 [ s"a" 0008 ]"#).expect("40 02 0008");
}

#[test]
fn waits_for_confirms_and_keeps_their_order() {
    let mut client = Client::connected(V5);
    client.broker.routed.pending = true;
    client.send(r#"32 [ s"a" 0001 [] ] 32 [ s"a" 0002 [] ]"#).expect("");
    client.broker.routed = Routed { destinations: 0, pending: false };
    client.send(r#"32 [ s"a" 0003 [] ]"#).expect("");
    assert_eq!(client.broker.published[0].confirm, Some(ConfirmToken(0)));
    client.confirm(1, false).expect("");
    client.confirm(0, true).expect("40 02 0001 40 03 0002 97 40 03 0003 10");
    // a 3.x client is left to try again
    let mut client = Client::connected(V4);
    client.broker.routed.pending = true;
    client.send(r#"32 [ s"a" 0001 ]"#).confirm(0, false).expect("");
}

#[test]
fn qos_2_is_published_at_pubrel() {
    let mut client = Client::connected(V5);
    client.send(r#"34 [ s"a" 0001 [] "old" ]"#).expect("50 02 0001");
    client.send(r#"34 [ s"a" 0001 [] "new" ]"#).expect("50 02 0001");
    assert!(client.broker.published.is_empty());
    client.broker.routed.pending = true;
    client.send("62 02 0001").expect("");
    assert_eq!(&client.last_published().body.joined()[..], b"new");
    assert!(client.last_published().durable);
    client.confirm(0, true).expect("70 02 0001");
    client.send("62 02 0001").expect("70 02 0001");
    assert_eq!(client.broker.published.len(), 1);
}

#[test]
fn unreleased_qos_2_outlives_the_connection_once() {
    let mut client = Client::connected(V5_KEPT);
    client.send(r#"34 [ s"a" 0005 [] "x" ]"#).expect("50 02 0005");
    let (state, ..) = client.close();
    assert!(client.broker.published.is_empty());
    let kept = client.broker.kept;
    let resumed = || {
        let mut client = Client::resumed_with(V5_KEPT, state.clone(), vec![], kept.clone());
        client.expect("20 0e 01 00 0b 22 000a 27 001e8480 21 0014");
        client
    };
    let mut client = resumed();
    client.broker.routed.pending = true;
    client.send(r#"3c [ s"a" 0005 [] "x" ]"#).expect("50 02 0005");
    client.send("62 02 0005").expect("");
    assert_eq!(client.broker.kept.len(), 1);
    client.confirm(0, true).expect("70 02 0005");
    assert_eq!((client.broker.published.len(), client.broker.kept.len()), (1, 0));
    // only released
    let mut client = resumed();
    client.send("62 02 0005").expect("70 02 0005").send("62 02 0005").expect("70 02 0005");
    assert_eq!(&client.last_published().body.joined()[..], b"x");
    assert_eq!(client.broker.published.len(), 1);
    // another message in its place
    let mut client = resumed();
    client.send(r#"34 [ s"a" 0005 [] "y" ]"#).expect("50 02 0005").send("62 02 0005").expect("70 02 0005");
    assert_eq!(&client.last_published().body.joined()[..], b"y");
    // released, and gone before the confirm
    let mut client = resumed();
    client.broker.routed.pending = true;
    client.send("62 02 0005").expect("").close();
    assert_eq!((client.broker.published.len(), client.broker.kept.len()), (1, 0));
    // a session that ends with its connection keeps nothing
    let mut client = Client::connected(V5);
    client.send(r#"34 [ s"a" 0005 [] "x" ]"#);
    client.close();
    assert!(client.broker.published.is_empty() && client.broker.kept.is_empty());
}

#[test]
fn aliases_stand_for_topics() {
    let mut client = Client::connected(V5);
    client.send(r#"30 [ s"a/b" [ 23 000a ] ]"#).send(r#"30 [ s"c" [] ]"#).send(r#"30 [ s"" [ 23 000a ] ]"#);
    assert_eq!(&client.last_published().routing_key[..], "a.b");
    client.send(r#"30 [ s"d" [ 23 000a ] ]"#).send(r#"30 [ s"" [ 23 000a ] ]"#);
    assert_eq!(&client.last_published().routing_key[..], "d");
}

#[test]
fn messages_carry_what_was_published() {
    let mut client = Client::connected(V5);
    let section = r#"01 01 02 0000000a 03 s"t" 23 0001 26 s"k" s"v""#;
    client.send(&format!(r#"33 [ s"a.b/c" 0001 [ {section} ] "body" ]"#)).expect("40 02 0001");
    assert!(client.broker.published[0].retain);
    let message = client.last_published();
    assert_eq!((&message.exchange[..], &message.routing_key[..]), ("amq.topic", "a%2Eb.c"));
    assert_eq!(message.native.properties[..], bytes_of(r#"05 01 01 03 s"t" 26 s"k" s"v""#)[..]);
    assert_eq!(&message.body.joined()[..], b"body");
    assert_eq!((message.durable, message.ttl_ms), (true, Some(10_000)));
    // a long body is a slice of the packet, properties or not
    for section in [r#"[]"#, r#"[ 03 s"t" ]"#] {
        let body = "z".repeat(5000);
        client.send(&format!(r#"30 [ s"a" {section} "{body}" ]"#));
        assert_eq!(&client.last_published().body.joined()[..], body.as_bytes());
        assert_eq!(
            client.last_published().native.properties.len(),
            1 + section.len().saturating_sub(2).min(4)
        );
    }
}

#[test]
fn special_topics_lead_elsewhere() {
    let mut client = Client::connected(V5);
    client.send(r#"30 [ s"$topic/alerts/a/b" [] ]"#);
    assert_eq!(&client.last_published().exchange[..], "alerts");
    assert_eq!(&client.last_published().routing_key[..], "a.b");
    client.send(r#"30 [ s"$stream/clicks" [] ]"#);
    assert_eq!(client.last_published().partition_key(), "c");
    client.send(r#"30 [ s"$stream/clicks" [ 26 s"partition-key" s"other" ] ]"#);
    assert_eq!(client.last_published().partition_key(), "other");
    assert_eq!(&client.last_published().routing_key[..], "clicks");
}

#[test]
fn queues_are_declared_on_first_use() {
    let mut client = Client::connected(V5);
    client.broker.routed.destinations = 0;
    client.send(r#"32 [ s"$queue/orders" 0001 [] ] c0 00"#).expect("40 02 0001 d0 00");
    let declared: Vec<_> = client.broker.ops.iter().filter(|op| matches!(op, Op::DeclareQueue(_))).collect();
    let [Op::DeclareQueue(declare)] = declared[..] else { panic!("{declared:?}") };
    assert!(declare.name == "orders" && declare.durable && declare.attach);
    assert_eq!(client.broker.published.len(), 2);
    assert_eq!(&client.last_published().routing_key[..], "orders");
    client.send(r#"32 [ s"$queue/orders" 0002 [] ]"#).expect("40 02 0002");
    assert_eq!(client.broker.published.len(), 3);
}

#[test]
fn bounds_what_waits() {
    let config = MqttConfig { held_bytes_max: 300, unconfirmed_max: 1, ..MqttConfig::default() };
    let start = format!("> {V5}\n< {V5_IN}");
    let held = r#"34 [ s"a" 0001 [] ]"#;
    let more = r#"34 [ s"a" 0002 [] ]"#;
    check_with(config.clone(), &format!("{start}\n> {held}\n< 50 02 0001\n> {more}\n< e0 01 93\n! closed"));
    let mut client = Client::new(config);
    client.send(V5).expect(V5_IN);
    client.broker.routed.pending = true;
    client.send(r#"32 [ s"a" 0001 [] ] 32 [ s"a" 0002 [] ]"#).expect("e0 01 93").expect_closed();
}
