//! From the protocol header to open-ok, closes, heartbeats.

use super::*;
use model::{command::Signal, error::ErrorKind};

fn greeted(able: &[&str]) -> Client {
    let mut client = Client::fresh(AmqpConfig::default());
    client.bytes(b"AMQP\0\0\x09\x01");
    client.start_ok("PLAIN", b"\0guest\0wrong", able);
    client
}

#[test]
fn header_negotiation() {
    let check = |bytes: &[u8], expected: &[u8], closes: bool| {
        let mut client = Client::fresh(AmqpConfig::default());
        client.bytes(bytes);
        let found = client.out.wire.take();
        assert_eq!(&found[..expected.len().min(found.len())], expected);
        assert_eq!(client.out.close.is_some(), closes);
    };
    check(b"AMQP", b"", false);
    check(b"AMQP\0\0\x09\x01", &[1, 0, 0], false);
    check(b"AMQP\x01\x01\x00\x09", &[1, 0, 0], false);
    check(b"AMQP\x03\x01\x00\x00", b"AMQP\0\0\x09\x01", true);
    check(b"GET / HTTP/1.1\r\n", b"AMQP\0\0\x09\x01", true);
}

#[test]
fn start_says_who_we_are() {
    let mut client = Client::fresh(AmqpConfig::default());
    client.bytes(b"AMQP\0\0\x09\x01");
    let frames = client.frames();
    let AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Start(start))) = &frames[0] else {
        panic!("{frames:?}");
    };
    assert_eq!(start.mechanisms.as_bytes(), b"PLAIN AMQPLAIN");
    let properties = start.server_properties.inner();
    assert_eq!(properties["product"], AMQPValue::LongString("Waystation".into()));
    assert!(matches!(properties["capabilities"], AMQPValue::FieldTable(_)));
}

#[test]
fn login_asks_twice() {
    let mut client = greeted(&ALL);
    client.tune_ok(10, 4096, 0);
    client.connection(connection::AMQPMethod::Open(connection::Open { virtual_host: "v".into() }));
    let vhosts: Vec<String> = client
        .broker
        .ops
        .iter()
        .map(|op| if let Op::Login { vhost, .. } = op { vhost.to_string() } else { panic!("{op:?}") })
        .collect();
    assert_eq!(vhosts, ["", "v"]);
    assert!(client.shown().last().unwrap().contains("OpenOk"));
}

#[test]
fn refused_login() {
    let text = "connection 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                For details see the broker logfile. (0,0)";
    let refused = Reply::Failed(BrokerError::new(ErrorKind::AccessRefused, "no"));
    let mut client = Client::fresh(AmqpConfig::default());
    client.broker.answers.push_back(refused.clone());
    client.bytes(b"AMQP\0\0\x09\x01");
    client.start_ok("PLAIN", b"\0guest\0wrong", &ALL);
    assert_eq!(client.close(), text);

    let mut client = Client::fresh(AmqpConfig::default());
    client.broker.answers.push_back(refused);
    client.bytes(b"AMQP\0\0\x09\x01");
    client.frames();
    client.start_ok("PLAIN", b"\0guest\0wrong", &[]);
    assert!(client.frames().is_empty() && client.out.close.is_none());
    assert_eq!(client.session.next_tick(), Some(4000));
    client.tick(4000);
    assert!(client.out.close.is_some());
}

#[test]
fn refused_vhost_is_530() {
    let check = |kind, text: &str| {
        let mut client = greeted(&ALL);
        client.tune_ok(10, 131_072, 0);
        client.broker.answers.push_back(Reply::Failed(BrokerError::new(kind, text)));
        client.connection(connection::AMQPMethod::Open(connection::Open { virtual_host: "nope".into() }));
        assert_eq!(client.close(), format!("connection 530 NOT_ALLOWED - {text} (10,40)"));
        client.connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
        assert!(client.out.close.is_some());
    };
    check(ErrorKind::NotFound, "vhost nope not found");
    check(ErrorKind::AccessRefused, "access to vhost 'nope' refused for user 'guest'");
}

#[test]
fn tune_out_of_bounds_drops_the_socket() {
    for (channel_max, frame_max) in [(3000, 131_072), (10, 0), (10, 4095), (10, 131_073)] {
        let mut client = greeted(&ALL);
        client.frames();
        client.tune_ok(channel_max, frame_max, 0);
        assert!(client.frames().is_empty());
        assert!(client.out.close.is_some(), "{channel_max} {frame_max}");
    }
}

#[test]
fn heartbeats_both_ways() {
    let mut client = Client::open_with(131_072, 10, &ALL);
    assert_eq!(client.session.next_tick(), Some(6000));
    client.tick(6000);
    assert_eq!(client.frames(), [AMQPFrame::Heartbeat]);
    client.frame(&AMQPFrame::Heartbeat);
    assert_eq!(client.session.next_tick(), Some(11_000));
    client.tick(11_000);
    client.tick(25_999);
    assert!(client.out.close.is_none());
    client.tick(26_000);
    assert!(client.out.close.unwrap().contains("missed heartbeats"));
}

#[test]
fn silence_before_open_is_not_endless() {
    let mut client = Client::fresh(AmqpConfig::default());
    assert_eq!(client.session.next_tick(), Some(0));
    client.tick(1000);
    assert_eq!(client.session.next_tick(), Some(11_000));
    client.tick(11_000);
    assert!(client.out.close.is_some());
}

#[test]
fn client_close_waits_for_its_consumers_and_exclusive_queues() {
    let mut client = Client::open();
    client.method(
        1,
        AMQPClass::Queue(amq_protocol::protocol::queue::AMQPMethod::Declare(
            amq_protocol::protocol::queue::Declare {
                queue: "mine".into(),
                exclusive: true,
                ..Default::default()
            },
        )),
    );
    client.consume("t", false);
    client.deliver(vec![delivery(1, 7, message(&[0, 0], Body::new()))]);
    client.frames();
    client.broker.ops.clear();
    client.answering = false;
    client.connection(connection::AMQPMethod::Close(connection::Close {
        reply_code: 200,
        ..connection::Close::default()
    }));
    assert!(matches!(client.broker.ops[..], [Op::Cancel(_), Op::DeleteQueue { .. }]));
    assert_eq!(client.broker.settled, [(1, 7, Outcome::Requeue { failed: true })]);
    assert!(client.frames().is_empty() && client.out.close.is_none());
    client.answering = true;
    client.drive();
    assert!(client.shown()[0].contains("CloseOk"));
    assert!(client.out.close.is_some());
}

#[test]
fn shutdown_and_blocked() {
    let mut client = Client::open();
    let signal = |client: &mut Client, signal| {
        client.session.signal(signal, client.now, &mut client.broker, &mut client.out);
    };
    signal(&mut client, Signal::Blocked("low on memory".into()));
    assert!(client.shown()[0].contains("low on memory"));
    signal(&mut client, Signal::Unblocked);
    assert!(client.shown()[0].contains("Unblocked"));
    signal(&mut client, Signal::Shutdown("broker forced connection closure with reason 'shutdown'".into()));
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(client.close(), format!("connection 320 {text} (0,0)"));
    client.deliver(vec![delivery(1, 7, message(&[0, 0], Body::new()))]);
    assert!(client.frames().is_empty());
    client.tick(client.now + 10_000);
    assert!(client.out.close.is_some());
}

#[test]
fn update_secret_is_taken() {
    let mut client = Client::open();
    client.connection(connection::AMQPMethod::UpdateSecret(connection::UpdateSecret {
        new_secret: "x".into(),
        reason: "y".into(),
    }));
    assert!(client.shown()[0].contains("UpdateSecretOk"));
}
