//! Subscriptions of every kind.

use super::*;
use model::definition::SendRetained;

fn ops(client: &Client) -> Vec<String> {
    client.broker.ops.iter().skip(2).map(describe).collect()
}

fn describe(op: &Op) -> String {
    match op {
        Op::Subscribe { subscription: s, retained } => {
            format!(
                "subscribe {} via {} reliable {} share {:?} {retained:?}",
                s.filter, s.via, s.reliable, s.share
            )
        }
        Op::Unsubscribe { filter, share } => format!("unsubscribe {filter} {share:?}"),
        Op::Consume(c) => {
            format!("consume {} as {} auto {} group {:?}", c.queue, c.consumer, c.auto_ack, c.group)
        }
        Op::Cancel(consumer) => format!("cancel {consumer}"),
        Op::DeclareQueue(declare) => format!("declare {}", declare.name),
        Op::Keep { slot, value } => format!("keep {slot} {}", value.is_some()),
        Op::GroupCredit { credit, .. } => format!("group credit {credit}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn refuses_wrong_subscriptions() {
    for (packet, reason) in [
        ("82 [ 0001 [] ]", "81"),
        (r#"82 [ 0001 [] s"a" 03 ]"#, "81"),
        (r#"82 [ 0001 [] s"a" 30 ]"#, "81"),
        (r#"82 [ 0001 [] s"a" 40 ]"#, "81"),
        (r#"82 [ 0000 [] s"a" 00 ]"#, "81"),
        (r#"82 [ 0001 [] s"" 00 ]"#, "81"),
        (r#"82 [ 0001 [] s"a#" 00 ]"#, "81"),
        (r#"82 [ 0001 [] s"a" ]"#, "81"),
        (r#"82 [ 0001 [] s"$share/#/x" 00 ]"#, "81"),
        (r#"82 [ 0001 [] s"$share/+/x" 00 ]"#, "82"),
        (r#"82 [ 0001 [] s"$share/g" 00 ]"#, "82"),
        (r#"82 [ 0001 [] s"$share/g/" 00 ]"#, "82"),
        (r#"82 [ 0001 [] s"$share/g/x" 04 ]"#, "82"),
        (r#"82 [ 0001 [ 0b 00 ] s"a" 00 ]"#, "81"),
        (r#"82 [ 0001 [ 0b 01 0b 01 ] s"a" 00 ]"#, "82"),
        (r#"82 [ 0001 [ 23 0001 ] s"a" 00 ]"#, "81"),
        ("a2 [ 0001 [] ]", "81"),
        (r#"a2 [ 0000 [] s"a" ]"#, "81"),
        (r#"a2 [ 0001 [ 0b 01 ] s"a" ]"#, "81"),
    ] {
        refused_v5(packet, reason);
    }
    for packet in [r#"82 [ 0001 s"a" 03 ]"#, r#"82 [ 0001 s"a" 04 ]"#, "82 [ 0001 ]", r#"82 [ 0001 s"" 00 ]"#]
    {
        refused_v4(packet);
    }
}

#[test]
fn subscribes_in_core_form() {
    let mut client = Client::connected(V5);
    client.send(r#"82 [ 0001 [ 0b 8001 ] s"a.b/+/#" 02 s"q" 20 s"denied" 01 s"$topic/x" 00 ] c0 00"#);
    client.expect("90 [ 0001 [] 02 00 87 8f ] d0 00");
    assert_eq!(
        ops(&client),
        [
            "consume own as 1 auto false group None",
            "subscribe a%2Eb.*.# via 1 reliable true share None Always",
            "subscribe q via 2 reliable false share None Never",
            "subscribe denied via 3 reliable true share None Always",
        ]
    );
    client.send(r#"a2 [ 0002 [] s"a.b/+/#" s"q" s"denied" ]"#).expect("b0 [ 0002 [] 00 00 11 ]");
    let mut client = Client::connected(V4);
    client.send(r#"82 [ 0001 s"denied" 01 s"a" 01 ]"#).expect("90 [ 0001 80 01 ]");
    client.send(r#"a2 [ 0002 s"nothing" ]"#).expect("b0 [ 0002 ]");
    let mut client = Client::connected(r#"10 [ s"MQIsdp" 03 02 0000 s"c" ]"#);
    client.send(r#"82 [ 0001 s"denied" 01 ]"#).expect("90 [ 0001 01 ]");
}

#[test]
fn retain_handling() {
    let mut client = Client::connected(V5);
    client.broker.retained = vec![message(1)];
    client.send(r#"82 [ 0001 [ 0b 05 ] s"a/b" 11 ]"#);
    client.expect(r#"90 [ 0001 [] 01 ] 33 [ s"a/b" 0001 [ 0b 05 ] "x" ]"#);
    client.broker.retained.clear();
    client.send(r#"82 [ 0002 [] s"a/b" 10 s"a/b" 20 s"a/b" 00 ]"#).expect("90 [ 0002 [] 00 00 00 ]");
    let asked: Vec<_> = client
        .broker
        .ops
        .iter()
        .filter_map(|op| if let Op::Subscribe { retained, .. } = op { Some(*retained) } else { None })
        .collect();
    use SendRetained::*;
    assert_eq!(asked, [IfNew, Never, Never, Always]);
    // retained messages have no lease to settle
    client.send("40 02 0001").expect("");
    assert!(client.broker.settled.is_empty());
}

#[test]
fn shared_subscriptions_consume_their_group() {
    for connect in [V5, V4] {
        let mut client = Client::connected(connect);
        let section = if connect == V5 { "[]" } else { "" };
        client
            .send(&format!(r#"82 [ 0001 {section} s"$share/g/a/+" 01 ]"#))
            .expect(&format!("90 [ 0001 {section} 01 ]"));
        client.deliver(2, 77, Some(9), &message(2)).expect(&format!(r#"32 [ s"a/b" 0001 {section} "x" ]"#));
        client.send("40 02 0001");
        assert_eq!(client.broker.settled, [(ConsumerId(2), 9, Outcome::Ack)]);
        client.send(&format!(r#"a2 [ 0002 {section} s"$share/g/a/+" ]"#));
        assert_eq!(
            ops(&client),
            [
                r#"subscribe a.* via 1 reliable true share Some("g") Never"#,
                "group credit 1000",
                "consume group-g as 2 auto false group Some(0)",
                "cancel 2",
                r#"unsubscribe a.* Some("g")"#,
            ]
        );
    }
}

#[test]
fn queues_are_consumed() {
    let mut client = Client::connected(V5_KEPT);
    client.send(r#"82 [ 0001 [] s"$queue/o.p/q" 01 s"$queue/denied" 01 s"$queue/+" 00 ]"#);
    client.expect("90 [ 0001 [] 01 87 8f ]");
    // a transient message of a queue is acknowledged all the same
    client.deliver(2, 0, Some(4), &message(0)).expect(r#"32 [ s"$queue/o.p/q" 0001 [] "x" ]"#);
    let (state, ..) = client.close();
    let mut client = Client::resumed_with(V5_KEPT, state, vec![], client.broker.kept);
    assert_eq!(
        ops(&client),
        [
            "consume own as 1 auto false group None",
            "declare o.p/q",
            "group credit 1000",
            "consume o.p/q as 2 auto false group Some(0)",
        ]
    );
    client.out.wire.take();
    client.send(r#"82 [ 0001 [] s"$queue/o.p/q" 00 ]"#).expect("90 [ 0001 [] 00 ]");
    client.send(r#"a2 [ 0001 [] s"$queue/o.p/q" ]"#).expect("b0 [ 0001 [] 00 ]");
    assert_eq!(
        ops(&client)[4..],
        [
            "declare o.p/q",
            "cancel 2",
            "consume o.p/q as 2 auto true group None",
            "keep 0 true",
            "cancel 2",
            "keep 0 false",
        ]
    );
}

#[test]
fn takes_up_shared_subscriptions() {
    let mut shared = subscription("a.*", 3, 1);
    shared.share = Some("g".into());
    let mut client = Client::resumed(V5_KEPT, Bytes::new(), vec![subscription("b", 1, 1), shared]);
    assert_eq!(
        ops(&client),
        [
            r#"subscribe a.* via 3 reliable true share Some("g") Never"#,
            "consume own as 1 auto false group None",
            "group credit 1000",
            "consume group-g as 4 auto false group Some(0)",
        ]
    );
    client.out.wire.take();
    client.deliver(4, 1, Some(1), &message(1)).expect(r#"32 [ s"a/b" 0001 [] "x" ]"#);
}

#[test]
fn bounds_subscriptions() {
    let config = MqttConfig { subscriptions_max: 1, ..MqttConfig::default() };
    let start = format!("> {V5}\n< {V5_IN}");
    let first = r#"82 [ 0001 [] s"a" 00 s"b" 00 ]"#;
    let second = r#"82 [ 0002 [] s"c" 00 ]"#;
    check_with(
        config,
        &format!("{start}\n> {first}\n< 90 [ 0001 [] 00 97 ]\n> {second}\n< 90 [ 0002 [] 97 ]"),
    );
}

#[test]
fn a_cancelled_queue_ends_its_subscription() {
    let mut client = Client::connected(V5);
    client.send(r#"82 [ 0001 [] s"$queue/q" 01 ]"#).expect("90 [ 0001 [] 01 ]");
    client.signal(Signal::ConsumerCancelled(ConsumerId(2))).expect("");
    client.send(r#"a2 [ 0002 [] s"$queue/q" ]"#).expect("b0 [ 0002 [] 11 ]");
}
