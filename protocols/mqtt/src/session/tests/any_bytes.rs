//! Whatever comes, in whatever pieces: no panic, no surprise.

use super::*;
use proptest::prelude::*;

/// Packets of a 5.0 client that is in, all answered without a wait.
const CONVERSATION: &[&str] = &[
    r#"82 [ 0001 [ 0b 05 ] s"a/+" 02 s"$share/g/b" 01 s"$queue/q" 01 ]"#,
    r#"30 [ s"a/b" [ 02 0000000a 23 0001 26 s"k" s"v" ] "hello" ]"#,
    r#"32 [ s"" 0002 [ 23 0001 ] "x" ]"#,
    r#"34 [ s"$queue/new" 0003 [ 01 01 08 s"r" 09 0001 ff ] "y" ]"#,
    "62 02 0003",
    "62 03 0009 92",
    "50 02 0004",
    "40 03 0001 10",
    "70 02 0001",
    "c0 00",
    r#"a2 [ 0005 [] s"a/+" s"nothing" s"$queue/q" ]"#,
    "e0 [ 04 [ 1f 0000 ] ]",
];

/// The same for 3.1.1.
const OLD_CONVERSATION: &[&str] = &[
    r#"82 [ 0001 s"a/+" 02 s"$share/g/b" 01 ]"#,
    r#"30 [ s"a/b" "hello" ]"#,
    r#"32 [ s"c" 0002 "x" ]"#,
    r#"34 [ s"$queue/new" 0003 "y" ]"#,
    "62 02 0003",
    "50 02 0004",
    "c0 00",
    r#"a2 [ 0005 s"a/+" s"nothing" ]"#,
    "e0 00",
];

fn conversation(old: bool) -> (Vec<u8>, &'static [&'static str]) {
    let (connect, packets) = if old { (V4, OLD_CONVERSATION) } else { (V5, CONVERSATION) };
    let whole = std::iter::once(&connect).chain(packets).flat_map(|packet| bytes_of(packet)).collect();
    (whole, packets)
}

/// What a client is sent when its bytes come in pieces that end at `cuts`.
fn run(bytes: &[u8], cuts: &[usize]) -> (Bytes, bool, usize, usize) {
    let mut client = Client::new(MqttConfig::default());
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    for end in ends {
        client.feed(&bytes[from..end]);
        from = end;
    }
    let out = client.out.wire.take();
    let closed = client.out.close.is_some();
    client.session.closed(client.now, &mut client.broker);
    (out, closed, client.broker.published.len(), client.broker.ops.len())
}

#[test]
fn the_conversations_go_to_their_end() {
    for old in [false, true] {
        let (bytes, _) = conversation(old);
        let (out, closed, published, _) = run(&bytes, &[]);
        assert!(closed && published == 3, "{}", hex(&out));
        assert!(!hex(&out).contains("e0 01"), "{}", hex(&out));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0..4usize) {
        let mut client = Client::new(MqttConfig::default());
        match start {
            0 => {}
            1 => { client.send(V5_KEPT); }
            2 => { client.send(V4); }
            _ => client.feed(&[&bytes_of("10"), &[bytes.len().min(127) as u8][..], &bytes_of(r#"s"MQTT" 05"#)].concat()),
        }
        client.feed(&bytes);
        client.session.closed(client.now, &mut client.broker);
    }

    #[test]
    fn any_chunking_is_the_same(old: bool, cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
        let (bytes, _) = conversation(old);
        prop_assert_eq!(run(&bytes, &cuts), run(&bytes, &[]));
    }

    #[test]
    fn mutated_packets(
        old: bool,
        at in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let (_, packets) = conversation(old);
        let connect = if old { V4 } else { V5_KEPT };
        let mut packet = bytes_of(packets[at.index(packets.len())]);
        for (place, byte, how) in changes {
            let place = place.index(packet.len().max(1));
            match how {
                0 if place < packet.len() => packet[place] = byte,
                1 if place < packet.len() => { packet.remove(place); }
                _ => packet.insert(place, byte),
            }
        }
        let mut client = Client::new(MqttConfig::default());
        client.send(connect);
        client.deliver(1, 0, Some(1), &message(2)).deliver(1, 0, Some(2), &message(1));
        client.feed(&packet);
        client.feed(&packet);
        client.session.closed(client.now, &mut client.broker);
        let mut connect = bytes_of(connect);
        let place = at.index(connect.len());
        connect[place] = packet.first().copied().unwrap_or_default();
        Client::new(MqttConfig::default()).feed(&connect);
    }
}
