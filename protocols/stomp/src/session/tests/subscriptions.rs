//! SUBSCRIBE, MESSAGE, ACK, NACK and UNSUBSCRIBE.

use super::*;
use model::{
    command::{Consume, StreamPosition},
    definition::{BindingDefinition, Destination as Target, QueueDeclare},
    envelope::Envelope,
    message::PropertyCodec,
    value::Value,
};

/// Subscribes, and gives what that came to.
fn subscribe(headers: &str) -> (Option<QueueDeclare>, Option<BindingDefinition>, Consume) {
    let mut peer = Peer::connected("1.2");
    peer.check(&format!("SUBSCRIBE\n{headers}receipt:1\n\n\0"), "RECEIPT\nreceipt-id:1\n\n\0\n");
    let (mut queue, mut binding, mut consume) = (None, None, None);
    for op in peer.broker.ops {
        match op {
            Op::DeclareQueue(declare) => queue = Some(declare),
            Op::Bind(bind) => binding = Some(bind),
            Op::Consume(wish) => consume = Some(wish),
            other => panic!("{other:?}"),
        }
    }
    (queue, binding, consume.unwrap())
}

#[test]
fn to_queues() {
    let (queue, binding, consume) =
        subscribe("id:1\ndestination:/queue/a\nack:client\nprefetch-count:5\nx-priority:3\n");
    let queue = queue.unwrap();
    assert_eq!((&*queue.name, queue.durable, queue.auto_delete, queue.attach), ("a", true, false, true));
    assert!(binding.is_none());
    assert_eq!((&*consume.queue, consume.credit, consume.priority), ("a", 5, 3));
    assert!(!consume.auto_ack);
    let (queue, _, consume) = subscribe("id:1\ndestination:/amq/queue/a\n");
    assert!(queue.is_none() && consume.auto_ack && consume.credit == u32::MAX);
}

#[test]
fn queue_arguments() {
    let (queue, _, _) =
        subscribe("id:1\ndestination:/queue/a\nx-message-ttl:100\nx-queue-type:quorum\nx-else:1\n");
    let arguments = queue.unwrap().arguments;
    assert_eq!(arguments.get("x-message-ttl"), Some(&Value::I64(100)));
    assert_eq!(arguments.str("x-queue-type"), Some("quorum"));
    assert_eq!(arguments.len(), 2);
}

#[test]
fn to_topics_and_exchanges() {
    let (queue, binding, consume) = subscribe("id:1\ndestination:/topic/a.*\n");
    let (queue, binding) = (queue.unwrap(), binding.unwrap());
    assert!(queue.name.starts_with("stomp-subscription-") && queue.name.len() == 19 + 22);
    assert_eq!((queue.durable, queue.auto_delete, queue.exclusive), (false, true, false));
    assert_eq!((&*binding.source, &*binding.key), ("amq.topic", "a.*"));
    assert_eq!(binding.destination, Target::Queue(queue.name.clone()));
    assert_eq!(consume.queue, queue.name);
    let (queue, binding, _) = subscribe("destination:/exchange/x/k\nx-queue-name:mine\n");
    let (queue, binding) = (queue.unwrap(), binding.unwrap());
    assert_eq!((&*queue.name, queue.auto_delete, queue.exclusive), ("mine", true, true));
    assert_eq!((&*binding.source, &*binding.key), ("x", "k"));
}

#[test]
fn durable_subscriptions_share_their_queue() {
    let name = |headers| subscribe(headers).0.unwrap().name;
    let first = name("id:1\ndestination:/topic/a\ndurable:true\nauto-delete:false\n");
    assert_eq!(first, name("destination:/topic/a\nid:1\npersistent:true\n"));
    assert_ne!(first, name("id:2\ndestination:/topic/a\ndurable:true\n"));
    let mut peer = Peer::connected("1.2");
    let missing = "Header 'id' is required for durable subscriptions";
    peer.check_error("SUBSCRIBE\ndestination:/topic/a\ndurable:true\n\n\0", "Missing Header", missing, false);
    peer.say("SUBSCRIBE\nid:1\ndestination:/topic/a\ndurable:true\n\n\0");
    peer.check("UNSUBSCRIBE\nid:1\ndurable:true\nreceipt:u\n\n\0", "RECEIPT\nreceipt-id:u\n\n\0\n");
    assert!(
        matches!(&peer.broker.ops[..], [.., Op::Cancel(_), Op::DeleteQueue { name, .. }] if *name == first)
    );
}

#[test]
fn stream_offsets() {
    let check = |text: &str, expected| {
        let (_, _, consume) =
            subscribe(&format!("destination:/amq/queue/s\nack:client\nx-stream-offset:{text}\n"));
        assert_eq!(consume.from, Some(expected));
    };
    check("first", StreamPosition::First);
    check("last", StreamPosition::Last);
    check("next", StreamPosition::Next);
    check("offset=5", StreamPosition::Offset(5));
    check("timestamp=5", StreamPosition::Time(5000));
}

#[test]
fn subscribe_faults() {
    let mut peer = Peer::connected("1.2");
    let missing = "\"SUBSCRIBE\" must include a 'destination' header\n";
    peer.check_error("SUBSCRIBE\nid:1\n\n\0", "Missing destination", missing, false);
    let id = "SUBSCRIBE 'id' may not start with /temp-queue/\n";
    peer.check_error("SUBSCRIBE\nid:/temp-queue/1\ndestination:/queue/a\n\n\0", "Invalid id", id, false);
    let ack = "'ack' must be auto, client or client-individual, not 'x'.\n";
    peer.check_error("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:x\n\n\0", "Invalid header", ack, false);
    let nothing =
        "UNSUBSCRIBE must refer to an existing subscription.\nSubscription to \"id='1'\" not found.\n";
    peer.check_error("UNSUBSCRIBE\nid:1\n\n\0", "No subscription found", nothing, false);
    let neither = "UNSUBSCRIBE must include a 'destination' or 'id' header\n";
    peer.check_error("UNSUBSCRIBE\n\n\0", "Missing destination or id", neither, false);
    peer.say("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\0");
    let twice = "A subscription identified by 'T_1' already exists.";
    let subscribe = "SUBSCRIBE\nid:1\ndestination:/queue/b\n\n\0";
    peer.check_error(subscribe, "Duplicated subscription identifier", twice, true);
    let mut peer = Peer::connected("1.2");
    peer.broker.refuse = Some(("Consume", refused(ErrorKind::NotFound, "no queue 'a' in vhost '/'")));
    let body = "NOT_FOUND - no queue 'a' in vhost '/'\n";
    peer.check_error("SUBSCRIBE\ndestination:/amq/queue/a\n\n\0", "not_found", body, true);
}

#[test]
fn message_frames() {
    let check = |version, subscribe: &str, delivered: Message, expected: &str| {
        let mut peer = Peer::connected(version);
        peer.say(&format!("SUBSCRIBE\n{subscribe}\n\0"));
        let seq = (!subscribe.contains("auto")).then_some(9);
        assert_eq!(peer.deliver(1, seq, delivered), expected);
    };
    let lines = "content-type:text/plain\nx\\cy:a\\nb\n";
    check(
        "1.2",
        "id:i:1\ndestination:/queue/a\nack:client\n",
        message("", "a", lines, "hi"),
        "MESSAGE\nsubscription:i\\c1\ndestination:/queue/a\nmessage-id:T_i\\c1@@S@@1\nredelivered:false\n\
         ack:T_i\\c1@@S@@1\ncontent-type:text/plain\nx\\cy:a\\nb\ncontent-length:2\n\nhi\0\n",
    );
    check(
        "1.1",
        "destination:/exchange/x\nack:client\n",
        message("amq.topic", "a:b", "", ""),
        "MESSAGE\ndestination:/topic/a\\cb\nmessage-id:Q_/exchange/x@@S@@1\nredelivered:false\ncontent-length:0\n\n\0\n",
    );
    check(
        "1.0",
        "id:1\ndestination:/queue/a\nack:auto\n",
        message("x", "k", lines, ""),
        "MESSAGE\nsubscription:1\ndestination:/exchange/x/k\nmessage-id:T_1@@S@@1\nredelivered:false\n\
         content-type:text/plain\nx:y:a\\nb\ncontent-length:0\n\n\0\n",
    );
}

struct Foreign;

impl PropertyCodec for Foreign {
    fn tag(&self) -> &'static str {
        "foreign"
    }

    fn envelope(&self, properties: &Bytes) -> Envelope {
        let mut envelope = Envelope { durable: true, priority: Some(3), ..Envelope::default() };
        envelope.headers.push("n", Value::I64(-1));
        envelope.headers.push("raw", Value::Bytes(properties.clone()));
        envelope
    }
}

#[test]
fn foreign_messages() {
    let mut peer = Peer::connected("1.2");
    peer.say("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\0");
    let native = Native { codec: &Foreign, properties: Bytes::from_static(&[0, 255]) };
    let large = Bytes::from(vec![b'x'; 5000]);
    let mut foreign = Message::new("".into(), "a".into(), native, large.into(), 0);
    foreign.extra_mut().first_death = Some(("q".into(), model::message::DeathReason::Expired, "".into()));
    let text = peer.deliver(1, None, foreign);
    let (head, body) = text.split_once("\n\n").unwrap();
    assert!(head.ends_with(
        "redelivered:false\npersistent:true\npriority:3\nn:-1\nraw:AP8=\nx-first-death-queue:q\n\
         x-first-death-reason:expired\nx-first-death-exchange:\ncontent-length:5000"
    ));
    assert_eq!(body.len(), 5002);
}

/// Subscribes with `ack` on two ids, delivers messages 1 to 4 in turn, and says `text`.
fn settled(version: &str, ack: &str, text: &str) -> (String, Vec<(u64, Outcome)>) {
    let mut peer = Peer::connected(version);
    for id in 1..=2 {
        peer.say(&format!("SUBSCRIBE\nid:{id}\ndestination:/queue/a\nack:{ack}\n\n\0"));
    }
    for seq in 1..=4 {
        peer.deliver(if seq % 2 == 1 { 1 } else { 2 }, Some(seq), message("", "a", "", ""));
    }
    let text = text.replace("@S@", &format!("@@{}@@", peer.session.session_id));
    (peer.say(&text), peer.broker.settled)
}

#[test]
fn settling() {
    let check = |version, ack, text, expected: &[(u64, Outcome)]| {
        assert_eq!(settled(version, ack, text), (String::new(), expected.to_vec()), "{text}");
    };
    let requeue = Outcome::Requeue { failed: true };
    check("1.2", "client-individual", "ACK\nid:T_1@S@3\n\n\0", &[(3, Outcome::Ack)]);
    check("1.2", "client-individual", "NACK\nid:T_2@S@2\n\n\0", &[(2, requeue)]);
    check("1.2", "client-individual", "NACK\nid:T_2@S@2\nrequeue:false\n\n\0", &[(2, Outcome::Reject)]);
    check(
        "1.2",
        "client",
        "ACK\nid:T_1@S@3\n\n\0",
        &[(1, Outcome::Ack), (2, Outcome::Ack), (3, Outcome::Ack)],
    );
    check("1.1", "client", "NACK\nsubscription:2\nmessage-id:T_2@S@2\n\n\0", &[(1, requeue), (2, requeue)]);
    check("1.0", "client", "ACK\nmessage-id: T_1@S@1\n\n\0", &[(1, Outcome::Ack)]);
    let transaction = "BEGIN\ntransaction:t\n\n\0ACK\nid:T_1@S@1\ntransaction:t\n\n\0";
    check("1.2", "client", transaction, &[]);
    check("1.2", "client", &format!("{transaction}COMMIT\ntransaction:t\n\n\0"), &[(1, Outcome::Ack)]);
}

#[test]
fn settling_faults() {
    let check = |version, text, message, body| {
        assert_eq!(settled(version, "client", text), (error(message, body), vec![]), "{text}");
    };
    let (missing, invalid) = ("Missing header", "Invalid header");
    check("1.2", "ACK\nmessage-id:1\n\n\0", missing, "\"ACK\" must include the \"id\" header\n");
    check("1.1", "NACK\nid:1\n\n\0", missing, "\"NACK\" must include the \"message-id\" header\n");
    check("1.2", "ACK\nid:1\n\n\0", invalid, "\"ACK\" must include a valid \"id\" header\n");
    check("1.2", "ACK\nid:T_1@@other@@1\n\n\0", invalid, "\"ACK\" must include a valid \"id\" header\n");
    check("1.2", "ACK\nid:T_1@S@99\n\n\0", "Message not found", "unknown delivery tag 99\n");
    check("1.2", "ACK\nid:T_2@S@1\n\n\0", "Message not found", "unknown delivery tag 1\n");
}

#[test]
fn end_of_a_subscription() {
    let mut peer = Peer::connected("1.2");
    peer.say("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client\n\n\0");
    let signal = Signal::ConsumerCancelled(ConsumerId(1));
    peer.session.signal(signal, 0, &mut peer.broker, &mut peer.out);
    let told = peer.heard();
    assert!(
        told.starts_with("ERROR\nmessage:Server cancelled subscription\n")
            && told.contains("subscription:1\n")
    );
    assert!(!peer.is_closed());
    assert_eq!(peer.deliver(1, Some(5), message("", "a", "", "")), "");
    assert_eq!(peer.broker.settled, [(5, Outcome::Requeue { failed: false })]);
    peer.check("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:1\n\n\0", "RECEIPT\nreceipt-id:1\n\n\0\n");
}
