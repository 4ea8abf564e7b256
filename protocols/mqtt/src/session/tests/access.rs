//! Access control lists: publishing, subscribing, delivery, wills, and a list that changes.

use super::*;
use crate::{AccessLists, Acl};
use std::sync::atomic::{AtomicBool, Ordering};

/// Two lists, the second one in force once switched.
#[derive(Debug)]
struct Lists {
    lists: [Arc<Acl>; 2],
    switched: AtomicBool,
}

impl AccessLists for Lists {
    fn current(&self) -> Arc<Acl> {
        self.lists[usize::from(self.switched.load(Ordering::Relaxed))].clone()
    }
}

fn client(connect: &str, first: &str, second: &str) -> (Client, Arc<Lists>) {
    let lists = [first, second].map(|text| Arc::new(Acl::parse(text).unwrap()));
    let lists = Arc::new(Lists { lists, switched: AtomicBool::new(false) });
    let mut client = Client::new(MqttConfig { access: Some(lists.clone()), ..MqttConfig::default() });
    client.send(connect);
    assert_eq!(client.out.wire.take().first(), Some(&0x20));
    (client, lists)
}

#[test]
fn publishing() {
    let (mut new, _) = client(V5, "topic write a/b", "");
    new.send(r#"32 [ s"a/b" 0001 [] "x" ]"#).expect("40 02 0001");
    new.send(r#"32 [ s"a/c" 0002 [] "x" ]"#).expect("40 03 0002 87");
    new.send(r#"34 [ s"a/c" 0003 [] "x" ]"#).expect("50 03 0003 87");
    new.send(r#"30 [ s"a/c" [] "x" ]"#).expect("");
    new.send(r#"32 [ s"$queue/a" 0004 [] "x" ]"#).expect("40 03 0004 87");
    assert_eq!(new.broker.published.len(), 1);
    let (mut old, _) = client(V4, "topic write a/b", "");
    old.send(r#"32 [ s"a/c" 0002 "x" ]"#).expect("40 02 0002");
    old.send(r#"34 [ s"a/c" 0003 "x" ]"#).expect("50 02 0003");
    old.send("62 02 0003").expect("70 02 0003");
    assert!(old.broker.published.is_empty());
}

#[test]
fn subscribing() {
    let (mut new, _) = client(V5, "topic read a/+\ntopic read $queue/q", "");
    let subscribe =
        r#"82 [ 0001 [] s"a/#" 00 s"b/#" 00 s"$share/g/a/b" 00 s"$share/g/b" 00 s"$queue/r" 00 ]"#;
    new.send(subscribe).expect("90 [ 0001 [] 00 87 00 87 87 ]");
    let (mut old, _) = client(V4, "topic read a/+", "");
    old.send(r#"82 [ 0001 s"a/#" 00 s"b/#" 00 ]"#).expect("90 04 0001 00 80");
    // What breaks the rules is told so whether it is allowed or not.
    new.send(r#"82 [ 0002 [] s"$share/+/b" 00 ]"#).expect("e0 01 82").expect_closed();
}

#[test]
fn delivery_and_retained() {
    let (mut reader, lists) = client(V5, "topic read a/#", "topic deny a/b\ntopic read #");
    reader.broker.retained = vec![keyed(0, "a.b"), keyed(0, "b.c")];
    reader.send("82 [ 0001 [] 0001 23 01 ]");
    reader.expect(r#"90 04 0001 [] 01 31 [ s"a/b" [] "x" ]"#);
    reader.deliver(1, 1, Some(1), &keyed(1, "b.c")).expect("");
    assert_eq!(reader.broker.settled, [(ConsumerId(1), 1, Outcome::Ack)]);
    reader.deliver(1, 1, None, &keyed(0, "a.b")).expect(r#"30 [ s"a/b" [] "x" ]"#);
    lists.switched.store(true, Ordering::Relaxed);
    reader.deliver(1, 1, None, &keyed(0, "a.b")).expect("");
    reader.deliver(1, 1, None, &keyed(0, "b.c")).expect(r#"30 [ s"b/c" [] "x" ]"#);
}

#[test]
fn a_new_list_is_obeyed_by_who_is_in() {
    let (mut writer, lists) = client(V5, "topic write a/b", "topic write a/c");
    writer.send(r#"32 [ s"a/b" 0001 [ 23 0001 ] "x" ]"#).expect("40 02 0001");
    lists.switched.store(true, Ordering::Relaxed);
    writer.send(r#"32 [ s"a/b" 0002 [] "x" ]"#).expect("40 03 0002 87");
    writer.send(r#"32 [ s"" 0003 [ 23 0001 ] "x" ]"#).expect("40 03 0003 87");
    writer.send(r#"32 [ s"a/c" 0004 [] "x" ]"#).expect("40 02 0004");
}

#[test]
fn wills() {
    for (list, published) in [("topic write w/t", 1), ("topic write w", 0)] {
        let (mut gone, _) = client(r#"10 [ s"MQTT" 04 26 0000 s"c" s"w/t" s"bye" ]"#, list, "");
        gone.close();
        assert_eq!(gone.broker.published.len(), published, "{list}");
    }
}

#[test]
fn names_decide() {
    let list = "user guest\ntopic write u\npattern write %c/%u";
    // The fake broker calls everyone guest; who did not say a name has none here.
    let (mut named, _) = client(r#"10 [ s"MQTT" 05 c2 0000 [] s"c" s"u" s"p" ]"#, list, "");
    named.send(r#"32 [ s"u" 0001 [] "x" ]"#).expect("40 02 0001");
    named.send(r#"32 [ s"c/guest" 0002 [] "x" ]"#).expect("40 02 0002");
    let (mut nameless, _) = client(V5, list, "");
    nameless.send(r#"32 [ s"u" 0001 [] "x" ]"#).expect("40 03 0001 87");
    nameless.send(r#"32 [ s"c/" 0002 [] "x" ]"#).expect("40 03 0002 87");
}
