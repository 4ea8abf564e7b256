//! The MQTT 3.1.1 load: publishers and subscribers on one topic, at QoS 0 or 1.

pub mod wire;

use crate::feed::Feed;
use crate::latency::Latencies;
use crate::load::{Outcome, Run, Shape, collect};
use mqttbytes::QoS;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use wire::{Connection, walk};

const TOPIC: &str = "compare/load";

/// A row of the MQTT table: `shape.copies` subscribers.
#[derive(Clone, Debug)]
pub struct Row {
    /// The load.
    pub shape: Shape,
    /// Of publishers and subscribers.
    pub qos: QoS,
}

/// Runs a row against the broker at `address`.
pub async fn run(address: SocketAddr, row: &Row) -> io::Result<Outcome> {
    // A thousand subscribers need not a large buffer each: there, packets are small.
    let read_bytes = if row.shape.copies > 16 { 32 * 1024 } else { 512 * 1024 };
    let mut subscribers = Vec::new();
    for number in 0..row.shape.copies {
        let mut subscriber = Connection::open(address, &format!("sub{number}"), read_bytes).await?;
        subscriber.subscribe(TOPIC, row.qos).await?;
        subscribers.push(subscriber);
    }
    let mut publishers = Vec::new();
    for number in 0..row.shape.publishers {
        publishers.push(Connection::open(address, &format!("pub{number}"), 16 * 1024).await?);
    }
    let run = Run::new(row.shape.clone());
    let mut receivers = JoinSet::new();
    for subscriber in subscribers {
        let (from, to) = subscriber.stream.into_split();
        receivers.spawn(receive(run.clone(), from, to, subscriber.feed));
    }
    let mut senders = JoinSet::new();
    for publisher in publishers {
        let (from, to) = publisher.stream.into_split();
        receivers.spawn(count_acks(run.clone(), from, publisher.feed));
        senders.spawn(publish(run.clone(), to, row.qos));
    }
    while let Some(sender) = senders.join_next().await {
        sender.map_err(io::Error::other)??;
    }
    run.drain().await?;
    Ok(run.outcome(collect(receivers).await))
}

/// Publishes until time is up. Forgets its half so that the connection stays open until all is read.
async fn publish(run: Arc<Run>, mut to: OwnedWriteHalf, qos: QoS) -> io::Result<()> {
    let (template, id_at, payload_at) = wire::publish(TOPIC, qos, run.shape.payload_bytes)?;
    let batch = run.shape.batch();
    let mut bytes = template.repeat(batch);
    let payload = payload_at..payload_at + run.shape.payload_bytes;
    let mut id = 0u16;
    while run.admit(batch).await {
        run.stamp(&mut bytes[payload.clone()]);
        if qos == QoS::AtLeastOnce {
            for packet in bytes.chunks_exact_mut(template.len()) {
                // The window is far below 65535 packets, so an id is free again when its turn comes.
                id = id.checked_add(1).unwrap_or(1);
                packet[id_at..id_at + 2].copy_from_slice(&id.to_be_bytes());
            }
        }
        to.write_all(&bytes).await?;
    }
    to.forget();
    Ok(())
}

/// Reads a publisher's side, which is only PUBACKs.
async fn count_acks(run: Arc<Run>, mut from: OwnedReadHalf, mut feed: Feed) -> io::Result<Latencies> {
    loop {
        let mut acks = 0;
        while let Some((packet, used)) = walk(feed.pending()) {
            acks += usize::from(packet.kind == 0x40);
            feed.consume(used);
        }
        if acks > 0 {
            run.confirmed(acks);
        }
        tokio::select! {
            biased;
            filled = feed.fill(&mut from) => filled?,
            () = run.finished() => return Ok(Latencies::default()),
        }
    }
}

/// Reads one subscriber's side until the run has ended.
async fn receive(
    run: Arc<Run>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut feed: Feed,
) -> io::Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut acks = Vec::new();
    loop {
        let mut arrived = 0;
        while let Some((packet, used)) = walk(feed.pending()) {
            if let Some((id, payload)) = packet.published() {
                arrived += 1;
                run.sample(payload, &mut latencies);
                if let Some([high, low]) = id {
                    acks.extend_from_slice(&[0x40, 2, high, low]);
                }
            }
            feed.consume(used);
        }
        run.arrived(arrived);
        if !acks.is_empty() {
            to.write_all(&acks).await?;
            acks.clear();
        }
        tokio::select! {
            biased;
            filled = feed.fill(&mut from) => filled?,
            () = run.finished() => return Ok(latencies),
        }
    }
}
