//! Definitions: equivalence, reserved names, exclusive queues, cascades, and what is written and restored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::topology::{settings::Durability, testing::*};
use model::{
    definition::{ExchangeDeclare, QueueDeclare},
    value::{Table, Value},
};

fn fails<T: std::fmt::Debug>(result: Result<T, BrokerError>, kind: ErrorKind, text: &str) {
    assert_eq!(result.unwrap_err(), BrokerError::new(kind, text));
}

fn with(name: &str, arguments: &[(&str, Value)]) -> QueueDeclare {
    let entries = arguments.iter().map(|(name, value)| (Name::from(*name), value.clone()));
    QueueDeclare { arguments: Table(entries.collect()), ..queue(name) }
}

fn check_argument(arguments: &[(&str, Value)], reason: &str) {
    let error = definitions().declare_queue(&root(), SOME, with("q", arguments)).unwrap_err();
    assert_eq!((error.kind, &*error.text), (ErrorKind::InvalidArgument, reason));
}

#[test]
fn refuses_arguments_in_rabbitmqs_words() {
    let of = |argument: &str, reason: &str| {
        format!("invalid arg '{argument}' for queue 'q' in vhost '/': {reason}")
    };
    let cases = [
        ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
        ("x-message-ttl", Value::str("a"), "\"expected integer, got longstr\""),
        ("x-expires", Value::I64(0), "{value_zero,0}"),
        ("x-overflow", Value::str("what"), "invalid_overflow"),
        ("x-durability", Value::str("what"), "invalid_durability"),
        ("x-dead-letter-routing-key", Value::str("k"), "routing_key_but_no_dlx_defined"),
        ("x-max-priority", Value::I32(256), "{max_value_exceeded,256}"),
        ("x-queue-type", Value::str("foo"), "\"unsupported queue type 'foo'\""),
        ("x-fifo", Value::str("yes"), "{unacceptable_type,longstr}"),
    ];
    for (argument, value, reason) in cases {
        check_argument(&[(argument, value)], &of(argument, reason));
    }
    let stream = ("x-queue-type", Value::str("stream"));
    check_argument(&[stream.clone(), ("x-max-age", Value::str("7"))], &of("x-max-age", "invalid_max_age"));
    check_argument(&[stream.clone(), ("x-shards", Value::I32(0))], &of("x-shards", "{value_zero,0}"));
    check_argument(
        &[stream, ("x-expires", Value::I32(1))],
        "invalid arg 'x-expires' for queue 'q' in vhost '/' of queue type stream",
    );
    let transient = QueueDeclare { durable: false, ..with("q", &[("x-queue-type", Value::str("quorum"))]) };
    fails(
        definitions().declare_queue(&root(), SOME, transient),
        ErrorKind::InvalidArgument,
        "invalid property 'non-durable' for queue 'q' in vhost '/'",
    );
}

#[test]
fn arguments_become_settings() {
    let settings = |arguments: &[(&str, Value)]| {
        let outcome = definitions().declare_queue(&root(), SOME, with("q", arguments)).unwrap();
        (*outcome.queue.unwrap().settings).clone()
    };
    let plain = settings(&[]);
    assert_eq!((plain.lease_ms, plain.shards, plain.delivery_limit), (30_000, 0, None));
    let quorum = ("x-queue-type", Value::str("quorum"));
    assert_eq!(settings(std::slice::from_ref(&quorum)).delivery_limit, Some(20));
    assert_eq!(settings(&[quorum, ("x-delivery-limit", Value::I32(-1))]).delivery_limit, None);
    let stream = ("x-queue-type", Value::str("stream"));
    let aged = settings(&[stream, ("x-max-age", Value::str("2h")), ("x-retention-ms", Value::I32(1000))]);
    assert_eq!((aged.shards, aged.max_age_ms, aged.message_ttl_ms), (1, Some(1000), None));
    let kept = settings(&[("x-message-ttl", Value::I32(5)), ("x-retention-ms", Value::I32(1000))]);
    assert_eq!(kept.message_ttl_ms, Some(5));
    assert!(settings(&[("x-dedup-scope", Value::str("group"))]).dedup_per_group);
    let lazy = settings(&[("x-durability", Value::str("interval"))]);
    assert_eq!((lazy.durability, kept.durability), (Some(Durability::Interval), None));
}

#[test]
fn redeclares_only_the_same_queue() {
    let mut definitions = definitions();
    let ttl = |value| with("q", &[("x-message-ttl", value)]);
    declare(&mut definitions, "plain");
    definitions.declare_queue(&root(), SOME, ttl(Value::I32(1000))).unwrap();
    let mut again = |declare: QueueDeclare| definitions.declare_queue(&root(), OTHER, declare);
    assert!(again(ttl(Value::I64(1000))).unwrap().existed);
    assert!(again(QueueDeclare { attach: true, durable: false, ..ttl(Value::I64(1)) }).unwrap().existed);
    assert!(again(with("plain", &[("x-queue-type", Value::str("classic"))])).unwrap().existed);
    assert!(again(with("plain", &[("x-unknown", Value::I32(1))])).unwrap().existed);
    let of = |name: &str, argument: &str| {
        format!("inequivalent arg '{argument}' for queue '{name}' in vhost '/': ")
    };
    fails(
        again(QueueDeclare { durable: false, ..queue("plain") }),
        ErrorKind::Inequivalent,
        &(of("plain", "durable") + "received 'false' but current is 'true'"),
    );
    fails(
        again(with("plain", &[("x-message-ttl", Value::I32(1000))])),
        ErrorKind::Inequivalent,
        &(of("plain", "x-message-ttl") + "received the value '1000' of type 'signedint' but current is none"),
    );
    fails(
        again(ttl(Value::I32(2000))),
        ErrorKind::Inequivalent,
        &(of("q", "x-message-ttl") + "received '2000' but current is '1000'"),
    );
    fails(
        again(queue("q")),
        ErrorKind::Inequivalent,
        &(of("q", "x-message-ttl") + "received none but current is the value '1000' of type 'signedint'"),
    );
    fails(
        again(with("plain", &[("x-wait-ms", Value::I32(1))])),
        ErrorKind::Inequivalent,
        &(of("plain", "x-wait-ms") + "received the value '1' of type 'signedint' but current is none"),
    );
    fails(
        again(QueueDeclare { passive: true, ..queue("none") }),
        ErrorKind::NotFound,
        "no queue 'none' in vhost '/'",
    );
}

#[test]
fn keeps_reserved_names() {
    let mut definitions = definitions();
    let refused = ErrorKind::AccessRefused;
    let text = "queue name 'amq.foo' contains reserved prefix 'amq.*'";
    fails(definitions.declare_queue(&root(), SOME, queue("amq.foo")), refused, text);
    assert!(definitions.declare_queue(&root(), SOME, queue("amq.gen-0123456789abcdefghijkl")).is_ok());
    assert!(definitions.declare_queue(&root(), ConnectionId(0), queue("amq.foo")).is_ok());
    let text = "exchange name 'amq.foo' contains reserved prefix 'amq.*'";
    fails(definitions.declare_exchange(&root(), SOME, exchange("amq.foo", "direct")), refused, text);
    assert!(definitions.declare_exchange(&root(), SOME, exchange("amq.direct", "direct")).unwrap().existed);
    let text = "deletion of system exchange 'amq.direct' in vhost '/' not allowed";
    fails(definitions.delete_exchange(&root(), SOME, &"amq.direct".into(), false), refused, text);
    let text = "operation not permitted on the default exchange";
    fails(definitions.declare_exchange(&root(), SOME, exchange("", "direct")), refused, text);
    fails(definitions.bind(&root(), SOME, binding("", "q", "k", &[])), refused, text);
    fails(definitions.bind(&root(), SOME, binding("amq.direct", ">", "k", &[])), refused, text);
    let error = definitions.declare_queue(&root(), SOME, queue(&"n".repeat(256))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
}

#[test]
fn exchanges_are_compared_and_kinds_known() {
    let mut definitions = definitions();
    let mut declare = |of: ExchangeDeclare| definitions.declare_exchange(&root(), SOME, of);
    assert!(!declare(exchange("e", "topic")).unwrap().existed);
    assert!(!declare(exchange("s", "sns")).unwrap().existed);
    fails(declare(exchange("h", "x-unknown")), ErrorKind::Precondition, "unknown exchange type 'x-unknown'");
    fails(
        declare(exchange("e", "fanout")),
        ErrorKind::Inequivalent,
        "inequivalent arg 'type' for exchange 'e' in vhost '/': received 'fanout' but current is 'topic'",
    );
    fails(
        declare(ExchangeDeclare { passive: true, ..exchange("none", "topic") }),
        ErrorKind::NotFound,
        "no exchange 'none' in vhost '/'",
    );
    let alternate =
        ExchangeDeclare { arguments: args(&[("alternate-exchange", "a")]), ..exchange("e", "topic") };
    fails(
        declare(alternate),
        ErrorKind::Inequivalent,
        "inequivalent arg 'alternate-exchange' for exchange 'e' in vhost '/': received the value 'a' of type \
         'longstr' but current is none",
    );
    definitions.bind(&root(), SOME, binding("s", ">e", "", &[])).unwrap();
    fails(
        definitions.delete_exchange(&root(), SOME, &"s".into(), true),
        ErrorKind::InUse,
        "exchange 's' in vhost '/' in use",
    );
    assert!(definitions.delete_exchange(&root(), SOME, &"s".into(), false).unwrap().existed);
    assert!(!definitions.delete_exchange(&root(), SOME, &"s".into(), false).unwrap().existed);
}

#[test]
fn exclusive_queues_are_locked_and_go_with_their_connection() {
    let mut definitions = definitions();
    let own = QueueDeclare { exclusive: true, ..queue("mine") };
    let made = definitions.declare_queue(&root(), SOME, own.clone()).unwrap().queue.unwrap();
    declare(&mut definitions, "shared");
    changes(&mut definitions);
    let locked = made.locked();
    assert!(locked.text.starts_with("cannot obtain exclusive access to locked queue 'mine' in vhost '/'."));
    let passive = QueueDeclare { passive: true, ..queue("mine") };
    let bound = binding("amq.fanout", "mine", "", &[]);
    assert_eq!(definitions.declare_queue(&root(), OTHER, own), Err(locked.clone()));
    assert_eq!(definitions.declare_queue(&root(), OTHER, passive), Err(locked.clone()));
    assert_eq!(definitions.bind(&root(), OTHER, bound.clone()), Err(locked.clone()));
    assert_eq!(definitions.delete_queue(&root(), OTHER, &made.name, None), Err(locked.clone()));
    assert_eq!(definitions.declare_queue(&root(), SOME, queue("mine")), Err(locked.clone()));
    let taken = QueueDeclare { exclusive: true, ..queue("shared") };
    assert_eq!(definitions.declare_queue(&root(), SOME, taken).unwrap_err().kind, ErrorKind::Locked);
    assert_eq!(definitions.topology().accessible_queue("/", "mine", OTHER), Err(locked));
    definitions.bind(&root(), SOME, bound).unwrap();
    definitions.connection_closed(OTHER);
    assert!(changes(&mut definitions).is_empty());
    definitions.connection_closed(SOME);
    assert_eq!(changes(&mut definitions), [format!("delete {}", made.id)]);
    assert!(definitions.topology().queue("/", "mine").is_none());
    assert_eq!(definitions.topology().bindings("/").count(), 0);
}

#[test]
fn auto_delete_exchanges_go_with_their_last_binding() {
    let mut definitions = definitions();
    let auto = |name: &str| ExchangeDeclare { auto_delete: true, durable: false, ..exchange(name, "fanout") };
    declare(&mut definitions, "q");
    for (name, to) in [("a", ">b"), ("b", "q"), ("b", ">amq.fanout")] {
        definitions.declare_exchange(&root(), SOME, auto(name)).unwrap();
        if to == ">b" {
            definitions.declare_exchange(&root(), SOME, auto("b")).unwrap();
        }
        definitions.bind(&root(), SOME, binding(name, to, "", &[])).unwrap();
    }
    definitions.unbind(&root(), SOME, &binding("b", ">amq.fanout", "", &[])).unwrap();
    assert!(definitions.topology().exchange("/", "b").is_some());
    definitions.delete_queue(&root(), SOME, &"q".into(), None).unwrap();
    assert!(definitions.topology().exchange("/", "b").is_none());
    assert!(definitions.topology().exchange("/", "a").is_none());
    assert!(!definitions.unbind(&root(), SOME, &binding("b", "q", "", &[])).unwrap().existed);
}

#[test]
fn bindings_are_a_set_by_all_four_parts() {
    let mut definitions = definitions();
    declare(&mut definitions, "q");
    let mut bind = |arguments: &[(&str, &str)], key: &str| {
        definitions.bind(&root(), SOME, binding("amq.topic", "q", key, arguments)).unwrap().existed
    };
    assert!(!bind(&[("a", "1"), ("b", "2")], "k"));
    assert!(bind(&[("b", "2"), ("a", "1")], "k"));
    assert!(!bind(&[], "k") && !bind(&[], "l"));
    assert!(
        !definitions.unbind(&root(), SOME, &binding("amq.topic", "q", "k", &[("a", "1")])).unwrap().existed
    );
    assert_eq!(definitions.topology().bindings("/").count(), 3);
    let missing = definitions.bind(&root(), SOME, binding("amq.topic", "none", "k", &[]));
    fails(missing, ErrorKind::NotFound, "no queue 'none' in vhost '/'");
    let missing = definitions.bind(&root(), SOME, binding("none", "q", "k", &[]));
    fails(missing, ErrorKind::NotFound, "no exchange 'none' in vhost '/'");
    let bad = definitions.bind(&root(), SOME, binding("amq.fanout", "q", "", &[("bad", "")]));
    fails(bad, ErrorKind::InvalidArgument, "bad");
}

#[test]
fn alters_what_can_change() {
    let mut definitions = definitions();
    let id = declare(&mut definitions, "q");
    changes(&mut definitions);
    let mut alter = |name: &str, value| {
        definitions.alter_queue(&root(), SOME, &"q".into(), &Table(vec![(name.into(), value)]))
    };
    let altered = alter("x-lease-ms", Value::I32(5)).unwrap().queue.unwrap();
    assert_eq!((altered.id, altered.settings.lease_ms), (id, 5));
    assert_eq!(alter("x-lease-ms", Value::Null).unwrap().queue.unwrap().settings.lease_ms, 30_000);
    fails(
        alter("x-fifo", Value::Bool(true)),
        ErrorKind::Precondition,
        "'x-fifo' of queue 'q' in vhost '/' can not be changed",
    );
    assert_eq!(changes(&mut definitions).len(), 4);
    let arguments = args(&[("x-sns-display", "d")]);
    definitions.declare_exchange(&root(), SOME, exchange("t", "sns")).unwrap();
    definitions.bind(&root(), SOME, binding("t", "q", "", &[])).unwrap();
    definitions.alter_exchange(&root(), SOME, &"t".into(), &arguments).unwrap();
    let topic = definitions.topology().exchange("/", "t").unwrap();
    assert_eq!((topic.binding_count(), topic.declare.arguments.len()), (1, 1));
}

#[test]
fn writes_durable_things_only() {
    let mut definitions = definitions();
    declare(&mut definitions, "d");
    assert_eq!(changes(&mut definitions), ["+queue-numbers ", "+queue 1:/1:d", "create d"]);
    let passing = QueueDeclare { durable: false, ..queue("t") };
    definitions.declare_queue(&root(), SOME, passing).unwrap();
    definitions.bind(&root(), SOME, binding("amq.direct", "t", "k", &[])).unwrap();
    definitions.bind(&root(), SOME, binding("amq.direct", "d", "k", &[])).unwrap();
    let written = "+binding 1:/10:amq.direct5:queue1:d1:k0:";
    assert_eq!(changes(&mut definitions), ["create t", written]);
    let id = definitions.delete_queue(&root(), SOME, &"d".into(), None).unwrap().queue.unwrap().id;
    let erased = written.replace('+', "-");
    assert_eq!(changes(&mut definitions), [erased.as_str(), "-queue 1:/1:d", &format!("delete {id}")]);
}

#[test]
fn restores_what_was_written_in_any_order() {
    let mut before = empty();
    for vhost in ["/", "aws:1:x"] {
        let vhost = Name::from(vhost);
        before.ensure_vhost(&vhost);
        before.declare_exchange(&vhost, SOME, exchange("e", "headers")).unwrap();
        before.declare_queue(&vhost, SOME, with("q", &[("x-max-length", Value::I64(9))])).unwrap();
        before.bind(&vhost, SOME, binding("amq.topic", ">e", "a.#", &[])).unwrap();
        before.bind(&vhost, SOME, binding("e", "q", "", &[("h", "v")])).unwrap();
    }
    declare(&mut before, "gone");
    before.delete_queue(&root(), SOME, &"gone".into(), None).unwrap();
    let mut last = std::collections::HashMap::new();
    for Change::Worker(_, command) in before.drain_changes() {
        if let WorkerCommand::Define { kind, key, value, .. } = command {
            last.insert((kind, key), value);
        }
    }
    let mut after = empty();
    for ((kind, key), value) in last {
        assert!(after.restore(&kind, &key, value));
    }
    assert!(!after.restore(&"user".into(), &"u".into(), None));
    assert_eq!(after.finish_restore(), Ok(Vec::new()));
    assert_eq!(changes(&mut after), ["create q", "create q"]);
    for vhost in ["/", "aws:1:x"] {
        let (left, right) = (before.topology().vhost(vhost).unwrap(), after.topology().vhost(vhost).unwrap());
        assert!(left.queues().eq(right.queues()));
        assert!(left.exchanges().map(|e| &e.declare).eq(right.exchanges().map(|e| &e.declare)));
        assert!(left.bindings().map(|b| &b.definition).eq(right.bindings().map(|b| &b.definition)));
        assert!(right.bindings().all(|binding| binding.durable));
    }
    let (old, new) = (declare(&mut before, "next"), declare(&mut after, "next"));
    assert!(new.number() > old.number());
}

#[test]
fn restore_names_what_it_can_not_build() {
    let mut definitions = empty();
    let dangling = record::binding(
        "/",
        &crate::binding::Binding {
            definition: binding("amq.topic", "gone", "k", &[]),
            durable: true,
            target: crate::binding::BindingTarget::Queue(QueueId(1)),
            behaviour: model::behaviour::Behaviour::default(),
            headers: None,
        },
    );
    definitions.restore(&dangling.kind.into(), &dangling.key, Some(dangling.value));
    let vhost = record::vhost("/", &crate::topology::Description::default());
    definitions.restore(&vhost.kind.into(), &vhost.key, Some(vhost.value));
    assert_eq!(definitions.finish_restore().unwrap(), ["no queue 'gone' in vhost '/'"]);
    definitions.restore(&"queue".into(), &"k".into(), Some("{".into()));
    assert_eq!(definitions.finish_restore().unwrap_err().kind, ErrorKind::Internal);
    let far = r#"{"vhost":"/","name":"q","id":5066549580791809,"auto_delete":false,"arguments":[]}"#;
    definitions.restore(&"queue".into(), &"k".into(), Some(far.into()));
    assert_eq!(definitions.finish_restore().unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn vhosts_come_and_go() {
    let mut definitions = definitions();
    let version = definitions.topology().generation();
    assert!(definitions.ensure_vhost(&root()).existed);
    assert_eq!(definitions.topology().generation(), version);
    let names: Vec<&str> = definitions.topology().exchanges("/").map(|exchange| &*exchange.name).collect();
    assert_eq!(names.len(), 9);
    assert!(names.is_sorted());
    declare(&mut definitions, "q");
    definitions.bind(&root(), SOME, binding("amq.topic", "q", "k", &[])).unwrap();
    let kept = definitions.topology().clone();
    assert!(definitions.delete_vhost(&root()).existed);
    assert!(changes(&mut definitions).contains(&"-vhost 1:/".to_owned()));
    assert!(definitions.topology().vhost("/").is_none() && definitions.topology().queue_count() == 0);
    assert!(definitions.topology().generation() > version);
    assert_eq!((kept.queues("/").count(), kept.bindings("/").count()), (1, 1));
    let error = definitions.declare_queue(&root(), SOME, queue("q")).unwrap_err();
    assert_eq!(&*error.text, "vhost / not found");
}

#[test]
fn clients_make_vhosts_up_to_a_limit() {
    let mut definitions = definitions();
    let name = |number: usize| Name::from(format!("aws:{number}:x"));
    for number in 1..model::limits::VHOSTS_MAX {
        assert!(!definitions.admit_vhost(&name(number)).unwrap().existed);
    }
    let error = definitions.admit_vhost(&name(0)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
    assert_eq!(&*error.text, "vhost 'aws:0:x' refused: limit of 1024 vhosts is reached");
    assert!(definitions.admit_vhost(&name(1)).unwrap().existed);
    assert!(!definitions.ensure_vhost(&"configured".into()).existed);
}
