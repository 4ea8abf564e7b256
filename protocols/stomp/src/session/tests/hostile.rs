//! Any bytes in any chunks: no panic, and the same outcome.

use super::*;
use proptest::prelude::*;

/// Everything that is written for `chunks`, and whether the connection survives.
fn run(chunks: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut peer = Peer::connected("1.2");
    let mut written = Vec::new();
    for chunk in chunks {
        peer.input.extend_from_slice(chunk);
        peer.session.receive(&mut peer.input, 0, &mut peer.broker, &mut peer.out);
        while let Some((request, _)) = peer.broker.unanswered.pop() {
            peer.session.reply(request, Reply::Done, 0, &mut peer.broker, &mut peer.out);
            peer.session.receive(&mut peer.input, 0, &mut peer.broker, &mut peer.out);
        }
        written.extend_from_slice(&peer.out.wire.take());
    }
    (written, peer.is_closed())
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let command = prop_oneof![
        Just("SEND"),
        Just("SUBSCRIBE"),
        Just("UNSUBSCRIBE"),
        Just("ACK"),
        Just("NACK"),
        Just("BEGIN"),
        Just("COMMIT"),
        Just("ABORT"),
        Just("DISCONNECT"),
        Just("CONNECT"),
        Just("WHAT"),
    ];
    let header = prop_oneof![
        "destination:/(queue|topic|exchange|temp-queue|amq/queue)/[a-c%/]{0,3}",
        "(id|transaction|receipt|ack|message-id|content-length|prefetch-count):[a-c0-3]{0,2}",
        "(reply-to:/temp-queue/[ab]|ack:client|durable:true|persistent:true|user-id:u)",
        "[a-z\\\\]{1,4}:[a-z\\\\]{0,4}",
    ];
    (command, proptest::collection::vec(header, 0..5), "[a-z]{0,5}").prop_map(|(command, headers, body)| {
        let headers: String = headers.iter().map(|header| format!("{header}\n")).collect();
        format!("{command}\n{headers}\n{body}\0").into_bytes()
    })
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks(
        pieces in proptest::collection::vec(
            prop_oneof![4 => frame(), 1 => proptest::collection::vec(any::<u8>(), 0..30)], 0..12),
        cut in 1usize..50,
    ) {
        let bytes = pieces.concat();
        let chunks: Vec<&[u8]> = bytes.chunks(cut).collect();
        prop_assert_eq!(run(&chunks), run(&[&bytes]));
    }
}
