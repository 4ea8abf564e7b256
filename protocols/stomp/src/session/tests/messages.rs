//! SEND: what is declared, published, confirmed, and refused; transactions.

use super::*;
use model::definition::QueueDeclare;

fn declared(peer: &Peer) -> Vec<&QueueDeclare> {
    peer.broker
        .ops
        .iter()
        .filter_map(|op| if let Op::DeclareQueue(queue) = op { Some(queue) } else { None })
        .collect()
}

#[test]
fn send_declares_once_and_publishes() {
    let mut peer = Peer::connected("1.2");
    peer.check("SEND\ndestination:/queue/a%2Fb\nx:1\n\none\0SEND\ndestination:/queue/a%2Fb\n\ntwo\0", "");
    let queues = declared(&peer);
    assert_eq!(queues.len(), 1);
    assert_eq!((&*queues[0].name, queues[0].durable, queues[0].attach), ("a/b", true, true));
    let [one, two] = &peer.broker.published[..] else { panic!("two") };
    assert_eq!((&*one.message.exchange, &*one.message.routing_key), ("", "a/b"));
    assert_eq!(one.message.native.properties, "x:1\n");
    assert_eq!((&one.message.body.joined()[..], &two.message.body.joined()[..]), (&b"one"[..], &b"two"[..]));
    assert!(one.confirm.is_none() && !one.message.durable);
    peer.check("SEND\ndestination:/queue/t\npersistent:false\n\n\0", "");
    assert!(!declared(&peer)[1].durable);
}

#[test]
fn addresses() {
    let check = |destination: &str, exchange: &str, key: &str| {
        let mut peer = Peer::connected("1.2");
        peer.check(&format!("SEND\ndestination:{destination}\n\nx\0"), "");
        let message = &peer.broker.published[0].message;
        assert_eq!((&*message.exchange, &*message.routing_key), (exchange, key));
        assert_eq!(declared(&peer).len(), usize::from(!destination.starts_with("/")));
    };
    check("/amq/queue/q", "", "q");
    check("/reply-queue/a/b", "", "a/b");
    check("/topic/a.b", "amq.topic", "a.b");
    check("/exchange/x/k", "x", "k");
    check("/exchange/x", "x", "");
    check("plain", "", "plain");
}

#[test]
fn message_fields() {
    let mut peer = Peer::connected("1.2");
    peer.check(
        "SEND\ndestination:/topic/a\npersistent:true\npriority:7\nexpiration:500\nx-message-group:g\nuser-id:u\n\n\0",
        "",
    );
    let publish = &peer.broker.published[0];
    let message = &publish.message;
    assert_eq!((message.durable, message.priority, message.ttl_ms), (true, 7, Some(500)));
    assert_eq!(message.extra.as_ref().unwrap().group.as_deref(), Some("g"));
    assert!(publish.confirm.is_some());
    assert_eq!(message.envelope().user_id.as_deref(), Some("u"));
}

#[test]
fn send_faults() {
    let mut peer = Peer::connected("1.2");
    let missing = "\"SEND\" must include a 'destination' header\n";
    peer.check_error("SEND\n\n\0", "Missing destination", missing, false);
    let not_allowed = "'message-id' is not allowed on 'SEND'.\n";
    peer.check_error("SEND\ndestination:/topic/a\nmessage-id:1\n\n\0", "Invalid header", not_allowed, false);
    let invalid = "'/temp-queue/a' is not a valid destination for 'SEND'\n";
    peer.check_error("SEND\ndestination:/temp-queue/a\n\n\0", "Invalid destination", invalid, false);
    let priority = "'priority' must be a number in range, not '300'.\n";
    peer.check_error("SEND\ndestination:/topic/a\npriority:300\n\n\0", "Invalid header", priority, false);
    peer.broker.refuse = Some(("Publish x", refused(ErrorKind::NotFound, "no exchange 'x' in vhost '/'")));
    let body = "NOT_FOUND - no exchange 'x' in vhost '/'\n";
    peer.check_error("SEND\ndestination:/exchange/x\n\n\0", "not_found", body, true);
    let mut peer = Peer::connected("1.2");
    peer.broker.refuse = Some(("DeclareQueue", refused(ErrorKind::AccessRefused, "no")));
    peer.check_error("SEND\ndestination:/queue/a\n\n\0", "access_refused", "ACCESS_REFUSED - no\n", true);
    let mut peer = Peer::connected("1.2");
    let body = "PRECONDITION_FAILED - user_id property set to 'x' but authenticated user was 'u'\n";
    peer.check_error("SEND\ndestination:/topic/a\nuser-id:x\n\n\0", "precondition_failed", body, true);
}

#[test]
fn receipts_follow_confirms_in_order() {
    let mut peer = Peer::connected("1.1");
    peer.broker.confirms_later = true;
    peer.check(
        "SEND\ndestination:/topic/a\nreceipt:r\\c1\n\n\0SEND\ndestination:/topic/a\nreceipt:r2\n\n\0",
        "",
    );
    peer.check("BEGIN\ntransaction:t\nreceipt:r3\n\n\0", "");
    assert_eq!(peer.confirm(1, true), "");
    assert_eq!(
        peer.confirm(0, true),
        "RECEIPT\nreceipt-id:r\\c1\n\n\0\nRECEIPT\nreceipt-id:r2\n\n\0\nRECEIPT\nreceipt-id:r3\n\n\0\n"
    );
}

#[test]
fn a_refused_message_is_an_error_and_no_receipt() {
    let mut peer = Peer::connected("1.2");
    peer.broker.confirms_later = true;
    peer.check("SEND\ndestination:/topic/a\nreceipt:1\n\n\0", "");
    let answer = peer.confirm(0, false);
    assert!(answer.contains("message:Message rejected\n") && answer.contains("receipt-id:1\n"), "{answer}");
    assert!(!peer.is_closed());
}

#[test]
fn too_many_unconfirmed_stop_the_reading() {
    let mut peer = Peer::connected("1.2");
    peer.session.config = Arc::new(StompConfig { unconfirmed_max: 2, ..StompConfig::default() });
    peer.broker.confirms_later = true;
    peer.check(&"SEND\ndestination:/topic/a\npersistent:true\n\n\0".repeat(3), "");
    assert_eq!(peer.broker.published.len(), 2);
    peer.confirm(0, true);
    peer.check("", "");
    assert_eq!(peer.broker.published.len(), 3);
}

#[test]
fn reply_queues() {
    let mut peer = Peer::connected("1.2");
    let send = "SEND\ndestination:/topic/a\nreply-to:/temp-queue/foo\n\nx\0";
    peer.check(&send.repeat(2), "");
    let [Op::DeclareQueue(queue), Op::Consume(consume)] = &peer.broker.ops[..] else { panic!("ops") };
    assert!(queue.exclusive && queue.auto_delete && queue.name.starts_with("stomp.gen-"));
    assert!(consume.auto_ack && consume.queue == queue.name);
    let expected = format!("reply-to:/reply-queue/{}\n", queue.name);
    let consumer = consume.consumer.0;
    assert_eq!(peer.broker.published[1].message.native.properties, expected);
    assert_eq!(peer.broker.published[0].message.envelope().reply_to.as_deref(), Some(&*queue.name));
    assert_eq!(
        peer.deliver(consumer, None, message("", "q", "", "hi")),
        "MESSAGE\nsubscription:/temp-queue/foo\ndestination:/queue/q\nmessage-id:T_/temp-queue/foo@@S@@1\n\
         redelivered:false\ncontent-length:2\n\nhi\0\n"
    );
}

#[test]
fn transactions() {
    let mut peer = Peer::connected("1.2");
    peer.broker.confirms_later = true;
    let send = "SEND\ndestination:/queue/a\ntransaction:t\nreceipt:s\nx:1\n\none\0";
    peer.check(&format!("BEGIN\ntransaction:t\n\n\0{send}"), "");
    assert!(peer.broker.published.is_empty() && peer.broker.ops.is_empty());
    peer.check("COMMIT\ntransaction:t\nreceipt:c\n\n\0", "");
    assert_eq!(peer.broker.published[0].message.native.properties, "receipt:s\nx:1\n");
    assert_eq!(peer.confirm(0, true), "RECEIPT\nreceipt-id:s\n\n\0\nRECEIPT\nreceipt-id:c\n\n\0\n");
    let again = "Invalid transaction identifier: \"t\"\n";
    peer.check_error("COMMIT\ntransaction:t\n\n\0", "Bad transaction", again, false);
    let late = send.replace("receipt:s\n", "");
    peer.check_error(&late, "Bad transaction", again, false);
}

#[test]
fn transaction_limits() {
    let mut peer = Peer::connected("1.2");
    let config = StompConfig { transactions_max: 1, transaction_actions_max: 1, ..StompConfig::default() };
    peer.session.config = Arc::new(config);
    let send = "SEND\ndestination:/queue/a\ntransaction:t\n\none\0";
    peer.check(&format!("BEGIN\ntransaction:t\n\n\0{send}"), "");
    let body = "Too many actions in transaction (limit 1)";
    peer.check_error(send, "Transaction too large", body, false);
    let body = "Too many concurrent transactions (limit 1)";
    peer.check_error("BEGIN\ntransaction:u\n\n\0", "Transaction limit exceeded", body, false);
    peer.check("ABORT\ntransaction:t\nreceipt:a\n\n\0", "RECEIPT\nreceipt-id:a\n\n\0\n");
    assert!(peer.broker.published.is_empty());
    peer.check_error(
        "BEGIN\n\n\0",
        "Missing transaction",
        "\"BEGIN\" must include a 'transaction' header\n",
        false,
    );
}
