//! The AMQP 0-9-1 load: one publisher to one queue, or through a fanout exchange to several, one consumer each.

pub mod wire;

use crate::feed::Feed;
use crate::latency::Latencies;
use crate::load::{Outcome, Run, Shape, collect};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use wire::{Connection, QueueKind, Seen, push_ack, walk};

/// Unacknowledged messages a consumer may hold, as typical clients set it.
const PREFETCH: u16 = 300;
const EXCHANGE: &str = "compare.fanout";

/// A row of the AMQP table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The load.
    pub shape: Shape,
    /// Consumers acknowledge every message; else the broker takes it as done when sent.
    pub manual_ack: bool,
    /// Messages are persistent where the queues are durable.
    pub queues: QueueKind,
}

/// Runs a row against the broker at `address`.
pub async fn run(address: SocketAddr, row: &Row) -> io::Result<Outcome> {
    let names: Vec<String> = (0..row.shape.copies).map(|n| format!("compare.{n}")).collect();
    let mut publisher = Connection::open(address).await?;
    let single = names.len() == 1;
    if !single {
        publisher.declare_fanout(EXCHANGE).await?;
    }
    let mut consumers = Vec::new();
    for name in &names {
        publisher.declare(name, row.queues).await?;
        if !single {
            publisher.bind(EXCHANGE, name).await?;
        }
        let mut consumer = Connection::open(address).await?;
        consumer.consume(name, row.manual_ack.then_some(PREFETCH)).await?;
        consumers.push(consumer);
    }
    if row.shape.confirmed {
        publisher.confirm().await?;
    }
    let run = Run::new(row.shape.clone());
    let mut receivers = JoinSet::new();
    for consumer in consumers {
        let (from, to) = consumer.stream.into_split();
        receivers.spawn(receive(run.clone(), from, to, consumer.feed, row.manual_ack));
    }
    let (exchange, key) = if single { ("", names[0].as_str()) } else { (EXCHANGE, "") };
    let persistent = row.queues != QueueKind::Transient;
    let template = wire::publish(exchange, key, persistent, row.shape.payload_bytes)?;
    let (from, to) = publisher.stream.into_split();
    receivers.spawn(count_confirms(run.clone(), from, publisher.feed));
    publish(&run, to, template).await?;
    let drained = run.drain().await;
    let outcome = run.outcome(collect(receivers).await);
    let mut cleaner = Connection::open(address).await?;
    for name in &names {
        cleaner.delete(name).await?;
    }
    drained.map(|()| outcome)
}

/// Publishes until time is up. Forgets its half so that the connection stays open until all is read.
async fn publish(run: &Run, mut to: OwnedWriteHalf, template: (Vec<u8>, usize)) -> io::Result<()> {
    let (template, payload_at) = template;
    let batch = run.shape.batch();
    let mut bytes = template.repeat(batch);
    let payload = payload_at..payload_at + run.shape.payload_bytes;
    while run.admit(batch).await {
        run.stamp(&mut bytes[payload.clone()]);
        to.write_all(&bytes).await?;
    }
    to.forget();
    Ok(())
}

/// Which of the publishes are confirmed: confirms may come out of order and cumulatively.
#[derive(Default)]
pub struct Confirms {
    /// Every tag up to here is.
    pub all_to: u64,
    /// Whether the ones after it are.
    beyond: VecDeque<bool>,
}

impl Confirms {
    /// Takes in one basic.ack and tells the tag of each publish that it newly confirmed.
    pub fn take(&mut self, tag: u64, multiple: bool, mut newly: impl FnMut(u64)) {
        let Some(place) = tag.checked_sub(self.all_to + 1).map(|place| place as usize) else { return };
        if self.beyond.len() <= place {
            self.beyond.resize(place + 1, false);
        }
        let from = if multiple { 0 } else { place };
        for (done, tag) in self.beyond.range_mut(from..=place).zip(self.all_to + 1 + from as u64..) {
            if !std::mem::replace(done, true) {
                newly(tag);
            }
        }
        while self.beyond.front() == Some(&true) {
            self.beyond.pop_front();
            self.all_to += 1;
        }
    }
}

/// Reads the publisher's side, which is only confirms.
async fn count_confirms(run: Arc<Run>, mut from: OwnedReadHalf, mut feed: Feed) -> io::Result<Latencies> {
    let mut confirms = Confirms::default();
    loop {
        let mut newly = 0;
        while let Some((seen, used)) = walk(feed.pending()) {
            match seen {
                Seen::Confirmed(tag, multiple) => confirms.take(tag, multiple, |_| newly += 1),
                Seen::Closed(why) => return Err(io::Error::other(String::from_utf8_lossy(why).into_owned())),
                _ => {}
            }
            feed.consume(used);
        }
        if newly > 0 {
            run.confirmed(newly);
        }
        tokio::select! {
            biased;
            filled = feed.fill(&mut from) => filled?,
            () = run.finished() => return Ok(Latencies::default()),
        }
    }
}

/// Reads one consumer's side until the run has ended.
async fn receive(
    run: Arc<Run>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut feed: Feed,
    manual_ack: bool,
) -> io::Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut acks = Vec::new();
    loop {
        let arrived = take_bodies(&run, &mut feed, manual_ack.then_some(&mut acks), &mut latencies)?;
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

fn take_bodies(
    run: &Run,
    feed: &mut Feed,
    mut acks: Option<&mut Vec<u8>>,
    latencies: &mut Latencies,
) -> io::Result<usize> {
    let mut arrived = 0;
    while let Some((seen, used)) = walk(feed.pending()) {
        match seen {
            Seen::Deliver(tag) => {
                if let Some(acks) = acks.as_deref_mut() {
                    push_ack(acks, tag, false);
                }
            }
            Seen::Body(body) => {
                arrived += 1;
                run.sample(body, latencies);
            }
            Seen::Closed(why) => return Err(io::Error::other(String::from_utf8_lossy(why).into_owned())),
            Seen::Confirmed(..) | Seen::Other => {}
        }
        feed.consume(used);
    }
    Ok(arrived)
}

#[cfg(test)]
mod tests {
    use super::Confirms;

    #[test]
    fn confirms_count_each_publish_once() {
        let mut confirms = Confirms::default();
        for (tag, multiple, expected) in [
            (2, false, vec![2]),
            (1, false, vec![1]),
            (4, false, vec![4]),
            (5, true, vec![3, 5]),
            (5, true, vec![]),
        ] {
            let mut newly = Vec::new();
            confirms.take(tag, multiple, |tag| newly.push(tag));
            assert_eq!(newly, expected, "{tag}");
        }
        assert_eq!((confirms.all_to, confirms.beyond.len()), (5, 0));
    }
}
