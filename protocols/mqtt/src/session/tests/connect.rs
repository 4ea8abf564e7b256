//! CONNECT to CONNACK, time-outs, wills, takeover, and how connections end.

use super::*;

#[test]
fn welcomes_byte_for_byte() {
    check(&format!("> {V5}\n< {V5_IN}\n> c0 00\n< d0 00"));
    check(&format!("> {V4}\n< {V4_IN}\n> e0 00\n<\n! closed"));
    check(
        r#"> 10 [ s"MQIsdp" 03 02 003c s"c" ]
           < 20 02 00 00"#,
    );
    check(
        r#"> 10 [ s"MQTT" 05 02 0000 [] s"" ]
           < 20 [ 00 00 [ 22 000a 12 s"auto-01234567-89AB-CDEF-0123-456789ABCDEF" 27 001e8480 21 0014 ] ]"#,
    );
}

#[test]
fn rejects_byte_for_byte() {
    for (connect, connack) in [
        (r#"10 [ s"MQTT" 02 02 0000 s"c" ]"#, "20 03 00 84 00"),
        (r#"10 [ s"MQTT" 06 02 0000 [] s"c" ]"#, "20 03 00 84 00"),
        (r#"10 [ s"MQIsdp" 06 02 0000 s"c" ]"#, "20 03 00 84 00"),
        (r#"10 [ s"XXXX" 04 02 0000 s"c" ]"#, ""),
        (r#"10 [ s"MQIsdp" 03 02 0000 s"" ]"#, "20 02 00 02"),
        (r#"10 [ s"MQTT" 04 00 0000 s"" ]"#, "20 02 00 02"),
        // password without user name, reserved flag, will flags without will
        (r#"10 [ s"MQTT" 04 42 0000 s"c" s"p" ]"#, ""),
        (r#"10 [ s"MQTT" 04 03 0000 s"c" ]"#, ""),
        (r#"10 [ s"MQTT" 04 22 0000 s"c" ]"#, ""),
        (r#"10 [ s"MQTT" 05 03 0000 [] s"c" ]"#, "20 03 00 81 00"),
        (r#"10 [ s"MQTT" 05 22 0000 [] s"c" ]"#, "20 03 00 81 00"),
        (r#"10 [ s"MQTT" 05 0a 0000 [] s"c" ]"#, "20 03 00 81 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [] s"c" 00 ]"#, "20 03 00 81 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [] 0001 00 ]"#, "20 03 00 85 00"),
        // properties: unknown method, data without method, receive max 0, twice, not allowed, cut off
        (r#"10 [ s"MQTT" 05 02 0000 [ 15 s"x" ] s"c" ]"#, "20 03 00 8c 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [ 16 s"x" ] s"c" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [ 21 0000 ] s"c" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [ 27 00000000 ] s"c" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [ 17 02 ] s"c" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [ 22 0001 22 0001 ] s"c" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [ 23 0001 ] s"c" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 02 0000 [ 22 00 ] s"c" ]"#, "20 03 00 81 00"),
        (r#"10 [ s"MQTT" 05 06 0000 [] s"c" [ 01 02 ] s"t" s"w" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 06 0000 [] s"c" [ 23 0001 ] s"t" s"w" ]"#, "20 03 00 82 00"),
        (r#"10 [ s"MQTT" 05 82 0000 [] s"c" s"denied" ]"#, "20 03 00 87 00"),
        (r#"10 [ s"MQTT" 04 82 0000 s"c" s"denied" ]"#, "20 02 00 05"),
        // not a CONNECT, not even a packet
        ("c0 00", ""),
        ("11 00", ""),
        ("10 ff ff ff ff 01", ""),
    ] {
        check(&format!("> {connect}\n< {connack}\n! closed"));
    }
}

#[test]
fn takes_odd_but_legal_logins() {
    for connect in [
        r#"10 [ s"MQTT" 04 82 0000 s"c" s"" ]"#,
        r#"10 [ s"MQTT" 04 c2 0000 s"c" s"u" 0003 00ff00 ]"#,
        r#"10 [ s"MQTT" 84 02 0000 s"c" ]"#,
        r#"10 [ s"MQTT" 04 02 0000 s"" ]"#,
    ] {
        check(&format!("> {connect}\n< {V4_IN}"));
    }
    check(&format!("> {}\n< {V5_IN}", r#"10 [ s"MQTT" 05 42 0000 [] s"c" s"p" ]"#));
}

#[test]
fn ends_second_connects_and_foreign_packets() {
    check(&format!("> {V5}\n< {V5_IN}\n> {V5}\n<\n! closed"));
    check(&format!("> {V4}\n< {V4_IN}\n> {V4}\n<\n! closed"));
    for packet in ["20 02 00 00", "90 03 00 01 00", "b0 02 00 01", "d0 00", "f0 00", "f1 00"] {
        refused_v5(packet, "82");
        refused_v4(packet);
    }
    for packet in ["c1 00", "e1 00", "41 02 00 01", "60 02 00 01", "80 00", "a0 00", "c0 01 00"] {
        refused_v5(packet, "81");
        refused_v4(packet);
    }
    refused_v4("e0 01 00");
    check(&format!("> {V5}\n< {V5_IN}\n> c0 80 80 80 80 00\n<\n! closed"));
}

#[test]
fn refuses_large_packets() {
    let config = MqttConfig { packet_bytes_max: 64, ..MqttConfig::default() };
    let welcome = "20 0e 00 00 0b 22 000a 27 00000040 21 0014";
    check_with(config, &format!("> {V5}\n< {welcome}\n> 30 7f\n< e0 01 95\n! closed"));
}

#[test]
fn keeps_time() {
    check("@ 9999\n@ 10000\n<\n! closed");
    let connect = r#"10 [ s"MQTT" 05 02 000a [] s"c" ]"#;
    check(&format!(
        "> {connect}\n< {V5_IN}\n@ 14999\n<\n> c0 00\n< d0 00\n@ 14999\n<\n@ 1\n< e0 01 8d\n! closed"
    ));
    check(&format!("> {V5}\n< {V5_IN}\n@ 99999999\n<"));
    let config = MqttConfig { keep_alive_max_s: Some(60), ..MqttConfig::default() };
    let told = "20 [ 00 00 [ 22 000a 13 003c 27 001e8480 21 0014 ] ]";
    check_with(config.clone(), &format!("> {V5}\n< {told}\n@ 90000\n< e0 01 8d\n! closed"));
    check_with(config, &format!("> {V4}\n< 20 02 00 02\n! closed"));
}

#[test]
fn caps_session_expiry_and_says_so() {
    let config = MqttConfig { session_expiry_max_ms: 60_000, ..MqttConfig::default() };
    let told = "20 [ 00 00 [ 22 000a 11 0000003c 27 001e8480 21 0014 ] ]";
    check_with(config, &format!("> {V5_KEPT}\n< {told}"));
}

#[test]
fn leaves_with_the_expiry_that_holds() {
    let mut client = Client::connected(V5_KEPT);
    assert_eq!(client.send("e0 00").close().1, 3_600_000);
    let mut client = Client::connected(V5_KEPT);
    assert_eq!(client.send("e0 [ 00 [ 11 00000001 ] ]").close().1, 1000);
    let mut client = Client::connected(r#"10 [ s"MQTT" 05 00 0000 [ 11 ffffffff ] s"c" ]"#);
    assert_eq!(client.close().1, u64::MAX);
    let mut client = Client::connected(r#"10 [ s"MQTT" 04 00 0000 s"c" ]"#);
    assert_eq!(client.close().1, u64::MAX);
    let mut client = Client::connected(V4);
    assert_eq!(client.close().1, 0);
    refused_v5("e0 [ 00 [ 11 00000001 ] ]", "82");
    refused_v5("e0 [ 00 [ 23 0001 ] ]", "82");
    refused_v5("e0 [ 01 ]", "82");
    refused_v5("e0 [ 00 [ 11 00 ] ]", "81");
}

const WILL_V5: &str =
    r#"10 [ s"MQTT" 05 2c 0000 [ 11 0000000a ] s"c" [ 18 00000005 03 s"t" ] s"w/t" s"bye" ]"#;

#[test]
fn wills_go_or_stay() {
    // (how it ends, published at once, delayed)
    for (connect, packet, at_once, delayed) in [
        (WILL_V5, "", 0, Some(5000)),
        (WILL_V5, "e0 00", 0, None),
        (WILL_V5, "e0 01 04", 0, Some(5000)),
        (WILL_V5, "e0 [ 04 [ 11 00000002 ] ]", 0, Some(2000)),
        (WILL_V5, "e0 [ 04 [ 11 00000000 ] ]", 1, None),
        (WILL_V5, "c1 00", 0, Some(5000)),
        (r#"10 [ s"MQTT" 04 26 0000 s"c" s"w/t" s"bye" ]"#, "", 1, None),
        (r#"10 [ s"MQTT" 04 26 0000 s"c" s"w/t" s"bye" ]"#, "e0 00", 0, None),
    ] {
        let mut client = Client::connected(connect);
        client.send(packet);
        assert_eq!(client.close().2, delayed, "{packet}");
        assert_eq!(client.broker.published.len(), at_once, "{packet}");
        if at_once > 0 {
            assert!(client.broker.published[0].retain);
            assert_eq!(&client.last_published().routing_key[..], "w.t");
            assert_eq!(&client.last_published().body.joined()[..], b"bye");
        }
    }
}

#[test]
fn is_taken_over_and_shut_down() {
    Client::connected(V5).signal(Signal::TakenOver).expect("e0 01 8e").expect_closed();
    Client::connected(V4).signal(Signal::TakenOver).expect("").expect_closed();
    Client::connected(V5).signal(Signal::Shutdown(name("bye"))).expect("e0 01 8b").expect_closed();
    Client::connected(V5).signal(Signal::ConsumerCancelled(ConsumerId(1))).expect("e0 01 98").expect_closed();
}

#[test]
fn passwords_and_vhost_reach_the_broker() {
    let client = Client::connected(r#"10 [ s"MQTT" 05 c2 0000 [] s"c" s"u" 0002 00ff ]"#);
    let Op::Login { credentials: Credentials::Password { user, password }, vhost, client: id } =
        &client.broker.ops[0]
    else {
        panic!("{:?}", client.broker.ops[0]);
    };
    assert_eq!((&user[..], &password[..], &vhost[..], &id[..]), ("u", &[0, 255][..], "/", "c"));
}

#[test]
fn authentication_needs_a_method() {
    for packet in ["f0 00", "f0 01 18", r#"f0 [ 19 [ 15 s"x" ] ]"#, r#"f0 [ 18 [ 15 s"x" 16 0001 00 ] ]"#] {
        refused_v5(packet, "82");
    }
    let scram = r#"10 [ s"MQTT" 05 02 0000 [ 15 s"SCRAM-SHA-256" 16 s"n,,n=u,r=x" ] s"c" ]"#;
    check(&format!("> {scram}\n< 20 03 00 8c 00\n! closed"));
}

#[test]
fn what_follows_a_refused_connect_is_not_read() {
    let mut client = Client::new(MqttConfig::default());
    client.send(r#"10 [ s"MQTT" 05 03 0000 [] s"c" ] 30 [ s"a" [] "x" ] c0 00"#);
    client.expect("20 03 00 81 00").expect_closed();
    let mut client = Client::new(MqttConfig::default());
    client.send(r#"10 [ s"MQTT" 05 82 0000 [] s"c" s"denied" ] 30 [ s"a" [] "x" ] c0 00"#);
    client.expect("20 03 00 87 00").expect_closed();
    assert!(client.broker.published.is_empty());
}

#[test]
fn nothing_is_sent_before_connack() {
    let mut client = Client::new(MqttConfig::default());
    client.input.extend_from_slice(&bytes_of(&format!(r#"{V5} c0 00 30 [ s"a" [] "x" ]"#)));
    client.session.receive(&mut client.input, client.now, &mut client.broker, &mut client.out);
    assert!(client.out.wire.is_empty() && client.broker.published.is_empty());
    client.feed(&[]);
    client.expect(&format!("{V5_IN} d0 00"));
    assert_eq!(client.broker.published.len(), 1);
}
