//! The codec against another implementation, where that one is right.

use super::*;
use crate::codec::{
    Version, acks,
    fixed::{self, kind},
    publish::{self, Outgoing, TopicText},
    subscribe,
};
use model::{message::Body, wire::Wire};
use mqttbytes::{QoS, v4, v5};
use proptest::prelude::*;

fn qos_of(level: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(level)]
}

fn body_of(packet: &[u8]) -> (u8, &[u8]) {
    let fixed = fixed::peek(packet, usize::MAX).unwrap().unwrap();
    (fixed.flags, &packet[fixed.header_len..])
}

proptest! {
    #[test]
    fn publishes(
        topic in "[a-z/]{1,20}",
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        qos in 0..3u8,
        id in 1..=u16::MAX,
        retain: bool,
        expiry in proptest::option::of(any::<u32>()),
    ) {
        let mut old = v4::Publish::new(&topic[..], qos_of(qos), payload.clone());
        (old.pkid, old.retain) = (if qos == 0 { 0 } else { id }, retain);
        let mut theirs = BytesMut::new();
        old.write(&mut theirs).unwrap();
        let (flags, body) = body_of(&theirs);
        let ours = publish::decode(flags, body, Version::V311).unwrap();
        prop_assert_eq!((ours.topic, ours.payload, ours.retain), (topic.as_bytes(), &payload[..], retain));
        prop_assert_eq!((ours.qos, ours.packet_id), (qos, old.pkid));

        let outgoing = |version| Outgoing {
            version, duplicate: false, qos, retain, topic: TopicText::Plain(&topic), packet_id: id,
            forwarded: &[], expiry_s: expiry, alias: None, subscription_id: None,
        };
        let body = Body::from(Bytes::from(payload.clone()));
        let mut wire = Wire::new();
        outgoing(Version::V311).put(&mut wire, &body);
        prop_assert_eq!(&wire.take()[..], &theirs[..]);
        outgoing(Version::V5).put(&mut wire, &body);
        let mut bytes = BytesMut::from(&wire.take()[..]);
        prop_assert_eq!(outgoing(Version::V5).packet_len(payload.len()), Some(bytes.len()));
        let v5::Packet::Publish(new) = v5::read(&mut bytes, 1 << 20).unwrap() else { panic!() };
        prop_assert_eq!((&new.topic, &new.payload[..]), (&topic, &payload[..]));
        prop_assert_eq!(new.properties.and_then(|properties| properties.message_expiry_interval), expiry);
    }

    #[test]
    fn acknowledgements(id in 1..=u16::MAX, codes in proptest::collection::vec(0..3u8, 1..5)) {
        let mut out = BytesMut::new();
        acks::put(&mut out, acks::first::PUBACK, Version::V311, id, 0);
        prop_assert_eq!(acks::decode(kind::PUBACK, body_of(&out).1, Version::V5).unwrap().packet_id, id);
        let v4::Packet::PubAck(ack) = v4::read(&mut out, 100).unwrap() else { panic!() };
        prop_assert_eq!(ack.pkid, id);
        subscribe::put_suback(&mut out, Version::V311, id, &codes);
        let v4::Packet::SubAck(ack) = v4::read(&mut out, 100).unwrap() else { panic!() };
        let granted: Vec<_> = codes.iter().map(|code| v4::SubscribeReasonCode::Success(qos_of(*code))).collect();
        prop_assert_eq!((ack.pkid, ack.return_codes), (id, granted));
        subscribe::put_suback(&mut out, Version::V5, id, &codes);
        let v5::Packet::SubAck(ack) = v5::read(&mut out, 100).unwrap() else { panic!() };
        prop_assert_eq!((ack.pkid, ack.return_codes.len()), (id, codes.len()));
    }

    #[test]
    fn subscriptions_and_connects(
        id in 1..=u16::MAX,
        filters in proptest::collection::vec(("[a-z/]{1,9}", 0..3u8), 1..5),
        client_id in "[a-z]{1,9}",
        clean: bool,
        keep_alive_s: u16,
    ) {
        let mut theirs = v4::Subscribe::new_many(
            filters.iter().map(|(path, qos)| v4::SubscribeFilter::new(path.clone(), qos_of(*qos))),
        );
        theirs.pkid = id;
        let mut out = BytesMut::new();
        theirs.write(&mut out).unwrap();
        let mut ours = subscribe::Subscribe::decode(body_of(&out).1, Version::V311).unwrap();
        prop_assert_eq!(ours.packet_id, id);
        for (path, qos) in &filters {
            let (filter, options) = ours.next().unwrap().unwrap();
            prop_assert_eq!((filter, options.qos), (path.as_bytes(), *qos));
        }
        prop_assert!(ours.next().unwrap().is_none());

        let mut theirs = v4::Connect::new(&client_id[..]);
        (theirs.clean_session, theirs.keep_alive) = (clean, keep_alive_s);
        theirs.last_will = Some(v4::LastWill::new("w", "bye", QoS::AtLeastOnce, true));
        theirs.set_login("u", "p");
        out.clear();
        theirs.write(&mut out).unwrap();
        let ours = codec::connect::decode(body_of(&out).1).unwrap();
        prop_assert_eq!((ours.client_id, ours.clean, ours.keep_alive_s), (&client_id[..], clean, keep_alive_s));
        prop_assert_eq!((ours.user, ours.password), (Some("u"), Some(&b"p"[..])));
        let will = ours.will.unwrap();
        prop_assert_eq!((will.topic, will.payload, will.qos, will.retain), ("w", &b"bye"[..], 1, true));
    }
}
