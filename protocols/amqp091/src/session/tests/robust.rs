//! Any bytes, in any pieces.

use super::*;
use proptest::{collection::vec, prelude::*};

/// A client's life as one run of bytes.
fn script() -> Vec<u8> {
    let mut headers = FieldTable::default();
    headers.insert("h".into(), AMQPValue::LongString("v".into()));
    let publish = |size: usize| {
        let properties = BasicProperties::default().with_headers(headers.clone());
        [
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish::default()))),
            AMQPFrame::Header(1, AMQPContentHeader { class_id: 60, body_size: size as u64, properties }),
            AMQPFrame::Body(1, vec![7; size]),
        ]
    };
    let method = |class| AMQPFrame::Method(1, class);
    let declare = amq_protocol::protocol::queue::Declare { queue: "q".into(), ..Default::default() };
    let mut frames = vec![
        method(AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }))),
        method(AMQPClass::Queue(amq_protocol::protocol::queue::AMQPMethod::Declare(declare))),
    ];
    frames.extend(publish(10));
    frames.extend(publish(3000));
    frames.push(AMQPFrame::Heartbeat);
    frames.push(method(AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close::default()))));
    frames.iter().flat_map(encoded).collect()
}

fn played(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<AMQPFrame>, Vec<Bytes>) {
    let mut client = Client::open();
    pieces.for_each(|piece| client.bytes(&piece));
    let bodies = client.broker.published.iter().map(|publish| publish.message.body.joined()).collect();
    (client.frames(), bodies)
}

proptest! {
    #[test]
    fn chunking_changes_nothing(cuts in vec(1usize..400, 1..60)) {
        let script = script();
        let whole = played(std::iter::once(script.clone()));
        let (mut rest, mut pieces) = (&script[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(played(pieces.into_iter()), whole);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let mut client = Client::fresh(AmqpConfig::default());
        client.bytes(&bytes);
        let mut client = Client::open();
        client.bytes(&bytes);
    }

    /// Frames that are well formed on the outside reach the method and content parsers.
    #[test]
    fn random_payloads_never_panic(frames in vec((prop::sample::select(vec![1u8, 2, 3, 8]), 0u16..3,
            prop::sample::select(vec![10u16, 20, 40, 50, 60, 85, 90]), 0u16..122, vec(any::<u8>(), 0..60)), 1..12)) {
        let mut client = Client::open();
        for (kind, channel, class, method, rest) in frames {
            let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), &rest].concat();
            let mut frame = vec![kind];
            frame.extend(channel.to_be_bytes());
            frame.extend((payload.len() as u32).to_be_bytes());
            frame.extend(payload);
            frame.push(0xCE);
            client.bytes(&frame);
        }
        client.frames();
    }

    /// One byte of a valid life changed.
    #[test]
    fn damaged_scripts_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut script = script();
        let at = at.index(script.len());
        script[at] = byte;
        let mut client = Client::open();
        client.bytes(&script);
        client.frames();
    }
}
