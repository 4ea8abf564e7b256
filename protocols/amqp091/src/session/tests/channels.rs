//! Channels, queues, exchanges, and every error text that the session itself makes.

use super::*;
use amq_protocol::protocol::{exchange, queue, tx};
use model::{
    command::{Signal, StreamPosition},
    definition::{BindingDefinition, Destination},
    error::ErrorKind,
};

/// One method on channel 1, and the close that it earns.
fn check(method: AMQPClass, expected: &str) {
    let mut client = Client::open();
    client.method(1, method);
    assert_eq!(client.close(), expected);
}

fn check_answer(method: AMQPClass, error: BrokerError, expected: &str) {
    let mut client = Client::open();
    client.broker.answers.push_back(Reply::Failed(error));
    client.method(1, method);
    assert_eq!(client.close(), expected);
}

fn declare(queue: &str) -> queue::Declare {
    queue::Declare { queue: queue.into(), ..queue::Declare::default() }
}

fn queue_declare(declare: queue::Declare) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(declare))
}

fn consume_with(arguments: FieldTable) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: "q".into(),
        arguments,
        ..basic::Consume::default()
    }))
}

fn argument(name: &str, value: AMQPValue) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(name.into(), value);
    table
}

#[test]
fn errors_of_the_session() {
    check(
        AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
        "connection 504 CHANNEL_ERROR - second 'channel.open' seen (20,10)",
    );
    check(
        AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active: false })),
        "connection 540 NOT_IMPLEMENTED - active=false (20,20)",
    );
    check(
        AMQPClass::Basic(basic::AMQPMethod::Recover(basic::Recover { requeue: false })),
        "connection 540 NOT_IMPLEMENTED - requeue=false (60,110)",
    );
    check(
        AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})),
        "connection 503 COMMAND_INVALID - unimplemented method (60,72)",
    );
    check(
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
        "connection 504 CHANNEL_ERROR - unexpected method in connection state running (10,51)",
    );
    check(
        AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge::default())),
        "channel 404 NOT_FOUND - no previously declared queue (50,30)",
    );
    check(
        queue_declare(declare("amq.foo")),
        "channel 403 ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*' (50,10)",
    );
    for (delivery_tag, multiple) in [(99, false), (0, false), (99, true)] {
        check(
            AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple })),
            &format!("channel 406 PRECONDITION_FAILED - unknown delivery tag {delivery_tag} (60,80)"),
        );
    }
    check(
        AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
        "channel 406 PRECONDITION_FAILED - channel is not transactional (90,20)",
    );
    check(
        consume_with(argument("x-priority", AMQPValue::LongString("high".into()))),
        "channel 406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \
         \"expected integer, got longstr\" (60,20)",
    );
}

#[test]
fn modes_exclude_each_other() {
    let select_tx = || AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}));
    let mut client = Client::open();
    client.select_confirms();
    client.method(1, select_tx());
    assert_eq!(
        client.close(),
        "channel 406 PRECONDITION_FAILED - cannot switch from confirm to tx mode (90,10)"
    );
    let mut client = Client::open();
    client.method(1, select_tx());
    client.select_confirms();
    assert_eq!(
        client.close(),
        "channel 406 PRECONDITION_FAILED - cannot switch from tx to confirm mode (85,10)"
    );
}

#[test]
fn prefetch_size_is_refused() {
    let mut client = Client::open();
    client.bytes(&[1, 0, 1, 0, 0, 0, 11, 0, 60, 0, 10, 0, 0, 0, 10, 0, 1, 0, 0xCE]);
    assert_eq!(client.close(), "connection 540 NOT_IMPLEMENTED - prefetch_size!=0 (10) (60,10)");
}

#[test]
fn channels_are_counted_and_must_be_open() {
    let mut client = Client::open();
    client.session.channel_max = 3;
    for number in 2..=4 {
        client.channel(number, channel::AMQPMethod::Open(channel::Open {}));
    }
    assert_eq!(
        client.close(),
        "connection 530 NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3) (0,0)"
    );
    let mut client = Client::open();
    client.method(2, queue_declare(declare("q")));
    assert_eq!(client.close(), "connection 504 CHANNEL_ERROR - expected 'channel.open' (50,10)");
    let mut client = Client::open();
    client.method(0, queue_declare(declare("q")));
    assert_eq!(
        client.close(),
        "connection 504 CHANNEL_ERROR - unexpected method in connection state running (50,10)"
    );
}

#[test]
fn broker_errors_are_mapped() {
    let error = |kind| BrokerError::new(kind, "why");
    let get = || AMQPClass::Basic(basic::AMQPMethod::Get(basic::Get { queue: "q".into(), no_ack: false }));
    check_answer(get(), error(ErrorKind::NotFound), "channel 404 NOT_FOUND - why (60,70)");
    check_answer(get(), error(ErrorKind::Locked), "channel 405 RESOURCE_LOCKED - why (60,70)");
    check_answer(get(), error(ErrorKind::NotImplemented), "connection 540 NOT_IMPLEMENTED - why (60,70)");
    let in_use = || error(ErrorKind::InUse);
    check_answer(consume_with(FieldTable::default()), in_use(), "channel 403 ACCESS_REFUSED - why (60,20)");
    let delete = queue::Delete { queue: "q".into(), if_unused: true, ..queue::Delete::default() };
    check_answer(
        AMQPClass::Queue(queue::AMQPMethod::Delete(delete)),
        in_use(),
        "channel 406 PRECONDITION_FAILED - why (50,40)",
    );
    let long = BrokerError::new(ErrorKind::NotFound, "x".repeat(400));
    let mut client = Client::open();
    client.broker.answers.push_back(Reply::Failed(long));
    client.method(1, get());
    assert!(client.close().len() < 300);
}

#[test]
fn a_closed_channel_is_deaf_until_close_ok_and_its_number_free_afterwards() {
    let mut client = Client::open();
    client.consume("t", false);
    client.deliver(vec![delivery(1, 5, message(&[0, 0], Body::new()))]);
    client.basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 9, multiple: false }));
    assert!(client.close().starts_with("channel 406"));
    assert_eq!(client.broker.settled, [(1, 5, Outcome::Requeue { failed: true })]);
    assert!(matches!(client.broker.ops.last(), Some(Op::Cancel(ConsumerId(1)))));
    client.publish(false, BasicProperties::default(), b"lost");
    client.method(1, queue_declare(declare("q")));
    // A delivery that was under way goes back.
    client.deliver(vec![delivery(1, 6, message(&[0, 0], Body::new()))]);
    assert_eq!(client.broker.settled.last(), Some(&(1, 6, Outcome::Requeue { failed: false })));
    assert!(client.frames().is_empty() && client.broker.published.is_empty());
    client.channel(1, channel::AMQPMethod::CloseOk(channel::CloseOk {}));
    client.channel(1, channel::AMQPMethod::Open(channel::Open {}));
    client.method(1, queue_declare(declare("q")));
    assert_eq!(client.frames().len(), 2);
}

#[test]
fn queue_names() {
    let mut client = Client::open();
    client.method(1, queue_declare(declare("")));
    let Some(Op::DeclareQueue(made)) = client.broker.ops.last().cloned() else { panic!() };
    assert!(made.name.starts_with("amq.gen-") && made.name.len() == 30);
    assert!(client.shown()[0].contains(&*made.name));
    let bind = queue::Bind { exchange: "amq.topic".into(), ..queue::Bind::default() };
    client.method(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    let Some(Op::Bind(binding)) = client.broker.ops.last() else { panic!() };
    let expected = BindingDefinition {
        source: "amq.topic".into(),
        destination: Destination::Queue(made.name.clone()),
        key: made.name,
        arguments: model::value::Table::new(),
    };
    assert_eq!(*binding, expected);
}

#[test]
fn nowait_says_nothing() {
    let mut client = Client::open();
    client.frames();
    client.method(1, queue_declare(queue::Declare { nowait: true, ..declare("q") }));
    let exchange = exchange::Declare {
        exchange: "e".into(),
        kind: "fanout".into(),
        nowait: true,
        ..exchange::Declare::default()
    };
    client.method(1, AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange)));
    client.basic(basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: "t".into(), nowait: true }));
    client.basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: "q".into(),
        nowait: true,
        ..basic::Consume::default()
    }));
    assert!(client.frames().is_empty());
    assert_eq!(client.broker.ops.len(), 3);
}

#[test]
fn input_waits_for_the_reply() {
    let mut client = Client::open();
    client.frames();
    client.answering = false;
    client.method(1, queue_declare(declare("a")));
    client.method(1, queue_declare(declare("b")));
    assert_eq!(client.broker.ops.len(), 1);
    client.answering = true;
    client.drive();
    assert_eq!(client.broker.ops.len(), 2);
    let shown = client.shown();
    assert!(shown[0].contains("\"a\"") && shown[1].contains("\"b\""));
}

#[test]
fn consumers() {
    let mut client = Client::open();
    client.frames();
    client.basic(basic::AMQPMethod::Qos(basic::Qos { prefetch_count: 7, global: false }));
    let arguments = argument("x-stream-offset", AMQPValue::Timestamp(9));
    client.method(1, consume_with(arguments));
    let Some(Op::Consume(consume)) = client.broker.ops.last().cloned() else { panic!() };
    assert_eq!((consume.credit, consume.group), (7, Some(1)));
    assert_eq!(consume.from, Some(StreamPosition::Time(9000)));
    let shown = client.shown();
    assert!(shown[0].contains("QosOk") && shown[1].contains("ConsumeOk") && shown[1].contains("amq.ctag-"));
    client.session.signal(
        Signal::ConsumerCancelled(consume.consumer),
        client.now,
        &mut client.broker,
        &mut client.out,
    );
    assert!(client.shown()[0].contains("Cancel(Cancel"));
    client.consume("t", true);
    client.frames();
    client.consume("t", true);
    assert_eq!(client.close(), "connection 530 NOT_ALLOWED - attempt to reuse consumer tag 't' (60,20)");
}

#[test]
fn cancel_of_an_unknown_tag_succeeds() {
    let mut client = Client::open();
    client.frames();
    client.basic(basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: "t".into(), nowait: false }));
    assert!(client.shown()[0].contains("CancelOk"));
    assert!(client.broker.ops.is_empty());
}

#[test]
fn direct_reply_to() {
    let consume = |no_ack| {
        AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
            queue: "amq.rabbitmq.reply-to".into(),
            consumer_tag: "r".into(),
            no_ack,
            ..basic::Consume::default()
        }))
    };
    check(consume(false), "channel 406 PRECONDITION_FAILED - reply consumer cannot acknowledge (60,20)");
    let mut client = Client::open();
    client.answering = false;
    client.method(1, consume(true));
    let [Op::DeclareQueue(declared)] = &client.broker.ops[..] else { panic!("{:?}", client.broker.ops) };
    let queue = declared.name.clone();
    assert!(queue.starts_with("amq.rabbitmq.reply-to.") && declared.auto_delete && !declared.exclusive);
    client.answering = true;
    client.drive();
    assert!(matches!(client.broker.ops.last(), Some(Op::Consume(consume)) if consume.queue == queue));
    assert!(client.shown().last().unwrap().contains("ConsumeOk"));
    client.publish(false, BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into()), b"?");
    let sent = &client.broker.published[0].message;
    assert_eq!(sent.envelope().reply_to.as_deref(), Some(&*queue));
    client.method(1, queue_declare(declare("amq.rabbitmq.reply-to")));
    assert!(client.shown().last().unwrap().contains("consumer_count: 1"));
    client.basic(basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: "r".into(), nowait: false }));
    client.method(1, consume(true));
    assert!(client.shown().last().unwrap().contains("ConsumeOk"));
    let again = AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
        queue: "amq.direct.reply-to".into(),
        no_ack: true,
        ..basic::Consume::default()
    }));
    client.method(1, again);
    assert_eq!(client.close(), "channel 406 PRECONDITION_FAILED - reply consumer already set (60,20)");
}
