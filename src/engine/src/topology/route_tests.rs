//! Routing: kinds, cycles, alternates, behaviours, sessions, and when a result may be cached.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::topology::{Definitions, testing::*};
use model::definition::ExchangeDeclare;

/// Declares, binds, and routes; queues are named by letters.
struct Setup {
    definitions: Definitions,
    route: Route,
}

impl Setup {
    fn new(queues: &[&str]) -> Self {
        let mut definitions = definitions();
        queues.iter().for_each(|name| {
            declare(&mut definitions, name);
        });
        Self { definitions, route: Route::default() }
    }

    fn exchange(&mut self, name: &str, kind: &str, arguments: &[(&str, &str)]) {
        let declare = ExchangeDeclare { arguments: args(arguments), ..exchange(name, kind) };
        self.definitions.declare_exchange(&root(), SOME, declare).unwrap();
    }

    fn bind(&mut self, source: &str, to: &str, key: &str, arguments: &[(&str, &str)]) {
        self.definitions.bind(&root(), SOME, binding(source, to, key, arguments)).unwrap();
    }

    /// Every leg as `body@exchange:queues`, body only where it is not the published message; and whether cacheable.
    fn route(&mut self, message: Message) -> (String, bool) {
        let topology = self.definitions.topology();
        topology.route(&root(), &Arc::new(message), OTHER, &mut self.route).unwrap();
        let name = |(id, via): &(QueueId, u32)| {
            let name = &topology.queue_by_id(*id).unwrap().name;
            if *via == 0 { name.to_string() } else { format!("{name}/{via}") }
        };
        let leg = |leg: &Leg| {
            let queues: Vec<String> = leg.queues.iter().map(name).collect();
            let direct: Vec<String> =
                leg.direct.iter().map(|subscriber| format!("!{}", subscriber.via)).collect();
            let what = leg.message.as_ref().map(|message| {
                format!("{}@{}:", String::from_utf8_lossy(&message.body.joined()), message.exchange)
            });
            let mut places = queues;
            places.sort();
            places.extend(direct);
            what.unwrap_or_default() + &places.join(" ")
        };
        let legs: Vec<String> = self.route.legs.iter().map(leg).filter(|leg| !leg.is_empty()).collect();
        (legs.join(", "), self.route.cacheable)
    }

    fn check(&mut self, exchange: &str, key: &str, expected: &str) {
        assert_eq!(self.route(message(exchange, key)).0, expected, "{exchange} {key}");
    }
}

#[test]
fn kinds() {
    let mut setup = Setup::new(&["a", "b", "c"]);
    setup.bind("amq.direct", "a", "k", &[]);
    setup.bind("amq.direct", "b", "k", &[]);
    setup.bind("amq.direct", "b", "l", &[]);
    setup.bind("amq.fanout", "a", "x", &[]);
    setup.bind("amq.fanout", "a", "y", &[]);
    setup.bind("amq.topic", "a", "*.x", &[]);
    setup.bind("amq.topic", "a", "#", &[]);
    setup.bind("amq.topic", "c", "$s.#", &[]);
    setup.bind("amq.headers", "a", "", &[("h", "v")]);
    setup.bind("amq.headers", "b", "", &[("h", "w")]);
    setup.check("", "a", "a");
    setup.check("", "none", "");
    setup.check("amq.direct", "k", "a b");
    setup.check("amq.direct", "m", "");
    setup.check("amq.fanout", "z", "a");
    setup.check("amq.topic", "$s.x", "a c");
    setup.check("amq.headers", "z", "a");
    assert_eq!(setup.route(message("amq.topic", "q.x")), ("a".into(), true));
    assert_eq!(setup.route(message("amq.headers", "")), ("a".into(), false));
    assert_eq!(setup.route(message("amq.match", "")), (String::new(), true));
}

#[test]
fn further_keys_reach_each_queue_once() {
    let mut setup = Setup::new(&["a", "b"]);
    setup.bind("amq.direct", "a", "k", &[]);
    setup.bind("amq.direct", "a", "l", &[]);
    let mut sent = message("amq.direct", "k");
    sent.extra_mut().extra_keys = vec!["l".into()];
    assert_eq!(setup.route(sent), ("a".into(), false));
    let mut sent = message("", "a");
    sent.extra_mut().extra_keys = vec!["b".into(), "a".into()];
    assert_eq!(setup.route(sent), ("a b".into(), false));
}

#[test]
fn refuses_what_is_not_there_or_internal() {
    let mut setup = Setup::new(&["a"]);
    let topology = setup.definitions.topology();
    let mut to = |exchange: &str, publisher| {
        let sent = Arc::new(message(exchange, "k"));
        topology.route(&root(), &sent, publisher, &mut setup.route).map_err(|error| error.text.to_string())
    };
    assert_eq!(to("none", SOME), Err("no exchange 'none' in vhost '/'".into()));
    let internal = "cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'";
    assert_eq!(to("amq.rabbitmq.trace", SOME), Err(internal.into()));
    assert_eq!(to("amq.rabbitmq.trace", ConnectionId(0)), Ok(()));
}

#[test]
fn cycles_are_followed_once() {
    let mut setup = Setup::new(&["a", "b"]);
    setup.exchange("one", "fanout", &[]);
    setup.exchange("two", "fanout", &[]);
    setup.bind("one", ">two", "", &[]);
    setup.bind("two", ">one", "", &[]);
    setup.bind("one", "a", "", &[]);
    setup.bind("two", "b", "", &[]);
    assert_eq!(setup.route(message("one", "")), ("a b".into(), true));
    setup.check("two", "", "a b");
    setup.bind("one", ">two", "", &[("mark", "m")]);
    setup.bind("two", ">one", "", &[("mark", "n")]);
    setup.check("one", "", "a b, m@two:b");
}

#[test]
fn too_many_exchanges_are_an_error() {
    let mut setup = Setup::new(&["a"]);
    for n in 0..ROUTE_HOPS_MAX {
        setup.exchange(&format!("e{n}"), "fanout", &[]);
        setup.bind("amq.fanout", &format!(">e{n}"), "", &[]);
    }
    let sent = Arc::new(message("amq.fanout", ""));
    let error = setup.definitions.topology().route(&root(), &sent, SOME, &mut setup.route).unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
}

#[test]
fn alternates_take_what_matches_nothing() {
    let mut setup = Setup::new(&["a", "b"]);
    setup.exchange("alternate", "fanout", &[]);
    setup.exchange("main", "direct", &[("alternate-exchange", "alternate")]);
    setup.exchange("loop", "direct", &[("alternate-exchange", "loop")]);
    setup.exchange("lost", "direct", &[("alternate-exchange", "none")]);
    setup.bind("main", "a", "k", &[]);
    setup.bind("alternate", "b", "", &[]);
    setup.check("main", "k", "a");
    setup.check("main", "other", "b");
    setup.check("loop", "k", "");
    setup.check("lost", "k", "");
}

#[test]
fn behaviours_filter_and_transform() {
    let mut setup = Setup::new(&["a", "b", "c"]);
    setup.exchange("news", "sns", &[]);
    setup.exchange("bus", "sns", &[("mark", "event")]);
    setup.bind("news", "a", "", &[("only", "yes")]);
    setup.bind("news", "b", "", &[("mark", "note")]);
    setup.bind("news", "c", "", &[("mark", "drop")]);
    assert_eq!(setup.route(message("news", "yes")), ("a, note@news:b".into(), false));
    assert_eq!(setup.route(message("news", "no")), ("note@news:b".into(), false));
    setup.bind("news", ">bus", "", &[]);
    setup.bind("bus", "c", "", &[]);
    setup.check("news", "no", "note@news:b, event@bus:c");
    setup.bind("bus", ">amq.fanout", "", &[("mark", "again")]);
    setup.bind("amq.fanout", "a", "", &[]);
    setup.check("bus", "", "event@bus:c, again@amq.fanout:a");
}

#[test]
fn sessions_take_messages_by_queue_or_directly() {
    let mut setup = Setup::new(&["session", "group"]);
    let queue = |setup: &Setup, name: &str| setup.definitions.topology().queue("/", name).unwrap().id;
    let (session, group) = (queue(&setup, "session"), queue(&setup, "group"));
    let mut subscribe = |filter: &str, owner: &str, subscriber| {
        setup.definitions.subscribe(&root(), &filter.into(), &owner.into(), subscriber).unwrap()
    };
    assert!(!subscribe("a.*", "s1", subscriber(SOME, 1, Some(session), false)));
    assert!(subscribe("a.*", "s1", subscriber(SOME, 2, Some(session), false)));
    assert!(!subscribe("#", "s1", subscriber(SOME, 3, None, false)));
    assert!(!setup.definitions.subscribe_queue(&root(), &"a.#".into(), group, 9).unwrap());
    let sent = |durable| {
        let mut sent = message("amq.topic", "a.b");
        sent.durable = durable;
        sent
    };
    assert_eq!(setup.route(sent(false)), ("group/9 !2 !3".into(), true));
    assert_eq!(setup.route(sent(true)), ("group/9 session/2 !3".into(), true));
    setup.check("amq.topic", "$a.b", "");
    let mut crossing = sent(false);
    crossing.extra_mut().extra_keys = vec!["a.c".into(), "x".into()];
    assert_eq!(setup.route(crossing).0, "group/9 !2 !3");
    let own = subscriber(OTHER, 4, None, true);
    setup.definitions.subscribe(&root(), &"a.b".into(), &"s2".into(), own).unwrap();
    assert_eq!(setup.route(sent(false)), ("group/9 !2 !3".into(), false));
    setup.definitions.queue_ended(group);
    assert!(setup.definitions.unsubscribe(&root(), &"#".into(), &"s1".into()));
    assert!(!setup.definitions.unsubscribe(&root(), &"#".into(), &"s1".into()));
    assert_eq!(setup.route(sent(false)).0, "!2");
}

#[test]
fn a_large_fanout_reaches_everyone_once() {
    let mut setup = Setup::new(&[]);
    for n in 0..2000 {
        let name = format!("q{n}");
        declare(&mut setup.definitions, &name);
        setup.bind("amq.fanout", &name, "", &[]);
        setup.bind("amq.fanout", &name, "again", &[]);
    }
    setup.route(message("amq.fanout", ""));
    assert_eq!(setup.route.destinations(), 2000);
    assert!(setup.route.legs[0].queues.is_sorted());
}
