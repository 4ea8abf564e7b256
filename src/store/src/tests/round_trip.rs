//! What goes in comes out.

use super::{TEST_CODEC, codecs, fingerprint, open, small};
use crate::codec;
use crate::disk::SimDisk;
use bytes::Bytes;
use model::Name;
use model::ids::QueueId;
use model::message::{Body, Death, DeathReason, Extra, Message, Native};
use model::record::{Record, Target};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::sync::Arc;

fn name() -> impl Strategy<Value = Name> {
    "\\PC{0,20}".prop_map(Name::from)
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn reason() -> impl Strategy<Value = DeathReason> {
    use DeathReason::{DeliveryLimit, Expired, MaxLength, Rejected};
    prop_oneof![Just(Rejected), Just(Expired), Just(MaxLength), Just(DeliveryLimit)]
}

fn death() -> impl Strategy<Value = Death> {
    (name(), reason(), any::<u64>(), any::<u64>(), name(), vec(name(), 0..3), option::of(any::<u64>()))
        .prop_map(|(queue, reason, count, time_ms, exchange, routing_keys, original_ttl_ms)| Death {
            queue,
            reason,
            count,
            time_ms,
            exchange,
            routing_keys,
            original_ttl_ms,
        })
}

fn extra() -> impl Strategy<Value = Extra> {
    let texts = vec(option::of(name()), 6);
    let first = option::of((name(), reason(), name()));
    (texts, vec(name(), 0..3), option::of(any::<u128>()), vec(death(), 0..3), first).prop_map(
        |(mut texts, extra_keys, explicit_hash, deaths, first_death)| {
            let mut text = || texts.pop().flatten();
            Extra {
                group: text(),
                dedup: text(),
                message_id: text(),
                trace: text(),
                sender: text(),
                partition_key: text(),
                extra_keys,
                explicit_hash,
                deaths,
                first_death,
            }
        },
    )
}

fn message() -> impl Strategy<Value = Arc<Message>> {
    let piece = prop_oneof![8 => bytes(300), 1 => bytes(9000)];
    let times = (any::<u64>(), option::of(any::<u64>()), option::of(any::<u64>()));
    let rest = (any::<bool>(), any::<u8>(), option::of(extra().prop_map(Box::new)));
    (name(), name(), bytes(60), vec(piece, 0..4), times, rest).prop_map(
        |(
            exchange,
            key,
            properties,
            pieces,
            (published_ms, ttl_ms, delay_ms),
            (durable, priority, extra),
        )| {
            let mut body = Body::new();
            pieces.into_iter().for_each(|piece| body.push(piece));
            let native = Native { codec: &TEST_CODEC, properties };
            let mut message = Message::new(exchange, key, native, body, published_ms);
            (message.ttl_ms, message.delay_ms, message.extra) = (ttl_ms, delay_ms, extra);
            (message.durable, message.priority) = (durable, priority);
            Arc::new(message)
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let target = (any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(queue, seq, via)| Target {
        queue: QueueId(queue),
        seq,
        via,
    });
    let queue = || any::<u64>().prop_map(QueueId);
    prop_oneof![
        (message(), vec(target, 0..5)).prop_map(|(message, targets)| Record::Enqueue { message, targets }),
        (queue(), vec(any::<u64>(), 0..20)).prop_map(|(queue, seqs)| Record::Settle { queue, seqs }),
        (queue(), any::<u64>()).prop_map(|(queue, through)| Record::Purge { queue, through }),
        (queue(), any::<u64>(), any::<u32>()).prop_map(|(queue, seq, deliveries)| Record::Count {
            queue,
            seq,
            deliveries
        }),
        queue().prop_map(Record::DropQueue),
        (queue(), any::<u32>(), any::<u64>(), any::<u64>(), vec(message(), 0..4)).prop_map(
            |(stream, shard, first_offset, at_ms, messages)| Record::Append {
                stream,
                shard,
                first_offset,
                at_ms,
                messages
            }
        ),
        (queue(), any::<u32>(), any::<u64>()).prop_map(|(stream, shard, first_offset)| Record::Trim {
            stream,
            shard,
            first_offset
        }),
        (name(), name(), option::of(message())).prop_map(|(vhost, topic, message)| Record::Retain {
            vhost,
            topic,
            message
        }),
        (name(), name(), option::of(bytes(500))).prop_map(|(kind, key, value)| Record::Define {
            kind,
            key,
            value
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_back_as_written(records in vec(record(), 0..12)) {
        let disk = SimDisk::new(1);
        let (mut committer, _, _) = open(&disk, small()).unwrap();
        committer.write(&records).unwrap();
        committer.sync().unwrap();
        drop(committer);
        let (_, recovery, found) = open(&disk, small()).unwrap();
        prop_assert_eq!(recovery.torn, None);
        let prints = |records: &[Record]| records.iter().map(fingerprint).collect::<Vec<_>>();
        prop_assert_eq!(prints(&found), prints(&records));
    }

    #[test]
    fn a_record_fits_its_bound(record in record()) {
        let disk = SimDisk::new(1);
        let (mut committer, _, _) = open(&disk, small()).unwrap();
        let mark = committer.group.len();
        committer.write(std::slice::from_ref(&record)).unwrap();
        let taken = committer.group.len() - mark - crate::format::BATCH_FRAME_BYTES;
        prop_assert!(taken <= codec::frame_bytes_max(&record));
    }

    #[test]
    fn any_bytes_decode_or_fail(kind in 0u8..12, payload in vec(any::<u8>(), 0..200)) {
        let _ = codec::decode(kind, &payload, codecs().as_ref());
    }
}
