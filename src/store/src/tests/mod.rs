//! Tests of the store as a whole: round trips, crashes, damage, the writer thread, the real disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bank;
mod crash;
mod damage;
mod real;
mod round_trip;
mod stale;
mod state;
mod thread;

use crate::commit::Committer;
use crate::disk::SimDisk;
use crate::error::StoreError;
use crate::log::open_committer;
use crate::options::{CodecLookup, LogOptions};
use crate::recovery::Recovery;
use crate::snapshots;
use bytes::Bytes;
use model::envelope::Envelope;
use model::ids::{Lsn, QueueId};
use model::message::{Body, Message, Native, PropertyCodec};
use model::record::{Record, Target};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct TestCodec;

impl PropertyCodec for TestCodec {
    fn tag(&self) -> &'static str {
        "test"
    }

    fn envelope(&self, _properties: &Bytes) -> Envelope {
        Envelope::default()
    }
}

pub(crate) static TEST_CODEC: TestCodec = TestCodec;

pub(crate) fn codecs() -> CodecLookup {
    Arc::new(|tag| (tag == "test").then_some(&TEST_CODEC as &'static dyn PropertyCodec))
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/log")
}

/// Small segments, so that a short run sees many; no threads besides the caller's.
pub(crate) fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 16 * 1024,
        first_segment_bytes: 8 * 1024,
        prepare_spares: false,
        commit_bytes_max: 6 * 1024,
        ..LogOptions::default()
    }
}

/// The record numbered `id`: its content follows from the number.
pub(crate) fn numbered(id: u64) -> Record {
    numbered_in(id, 0)
}

/// The same, written in a later generation of the log: differs, but not in length.
pub(crate) fn numbered_in(id: u64, generation: u32) -> Record {
    let target = Target { queue: QueueId(id), seq: id, via: generation };
    Record::Enqueue { message: Arc::new(message_of(id)), targets: vec![target] }
}

/// The message numbered `id`.
pub(crate) fn message_of(id: u64) -> Message {
    let size = (id.wrapping_mul(0x9e37_79b9) % 3000) as usize;
    let native = Native { codec: &TEST_CODEC, properties: Bytes::from(vec![id as u8; (id % 7) as usize]) };
    let body = Body::from(Bytes::from(vec![(id * 31) as u8; size]));
    let mut message = Message::new("x".into(), format!("key.{id}").into(), native, body, id);
    message.durable = true;
    message
}

pub(crate) fn target_of(record: &Record) -> Target {
    let Record::Enqueue { targets, .. } = record else { panic!("not written by this test: {record:?}") };
    targets[0]
}

/// The number of a record that `numbered` made; panics when it differs in any way.
pub(crate) fn number_of(record: &Record) -> u64 {
    let Target { seq: id, via: generation, .. } = target_of(record);
    assert_eq!(fingerprint(record), fingerprint(&numbered_in(id, generation)));
    id
}

pub(crate) fn message_fingerprint(message: &Message) -> String {
    let Message {
        exchange,
        routing_key,
        native,
        body,
        durable,
        priority,
        ttl_ms,
        delay_ms,
        published_ms,
        extra,
        ..
    } = message;
    let properties = (native.codec.tag(), &native.properties);
    let address = (exchange, routing_key, properties, body.joined());
    format!("{address:?} {:?}", (durable, priority, ttl_ms, delay_ms, published_ms, extra))
}

/// Everything about a record as text, whatever pieces its bodies are in.
pub(crate) fn fingerprint(record: &Record) -> String {
    match record {
        Record::Enqueue { message, targets } => {
            format!("enqueue {targets:?} {}", message_fingerprint(message))
        }
        Record::Append { stream, shard, first_offset, at_ms, messages } => {
            let messages: Vec<String> = messages.iter().map(|message| message_fingerprint(message)).collect();
            format!("append {stream} {shard} {first_offset} {at_ms} {messages:?}")
        }
        Record::Retain { vhost, topic, message } => {
            format!(
                "retain {vhost:?} {topic:?} {:?}",
                message.as_ref().map(|message| message_fingerprint(message))
            )
        }
        other => format!("{other:?}"),
    }
}

/// Opens the log on a simulated disk without a thread; gives what was replayed.
pub(crate) fn open(
    disk: &SimDisk,
    options: LogOptions,
) -> Result<(Committer, Recovery, Vec<Record>), StoreError> {
    let mut records = Vec::new();
    let each = &mut |_, _, record| records.push(record);
    let (committer, recovery) = open_committer(&dir(), Arc::new(disk.clone()), options, &codecs(), each)?;
    Ok((committer, recovery, records))
}

/// Puts a snapshot, as the log does.
pub(crate) fn put_snapshot(committer: &Committer, at: Lsn, records: &[Record]) -> Result<(), StoreError> {
    let Committer { disk, dir, header, shared, .. } = committer;
    snapshots::put(disk.as_ref(), dir, header.log_id, at, records)?;
    shared.note_snapshot(disk.as_ref(), dir, at);
    Ok(())
}

/// Two empty snapshots, so that what ends at `below` can be trimmed.
pub(crate) fn two_snapshots(committer: &Committer, below: Lsn) {
    // A batch frame stands there: nothing else begins between the two.
    for at in [below, Lsn(below.0 + 8)] {
        put_snapshot(committer, at, &[]).unwrap();
    }
}

pub(crate) fn segment_path(no: u64) -> PathBuf {
    Path::new("/log").join(crate::segment::segment_name(no))
}
