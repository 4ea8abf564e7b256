//! What every load has in common: the workload's description, the window that keeps publishers from running
//! ahead of the receivers, the stamps in the payloads, and the outcome.

use crate::latency::Latencies;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Silence after which messages in flight count as lost, so that a broker that drops does not stop the load.
const GIVE_UP: Duration = Duration::from_millis(1500);

/// Size of one publish write, about: large enough that the generator's system calls do not count.
const WRITE_BYTES: usize = 64 * 1024;

/// Length of the stamp at the start of a payload; also the smallest payload.
pub const STAMP_BYTES: usize = 16;

/// Marks a payload that carries its time of sending.
const STAMP_MARK: u64 = 0x7761_7973_7461_6d70;

/// One row of the comparison, without what is particular to a protocol.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Publishing connections.
    pub publishers: usize,
    /// Copies of each message that are to arrive.
    pub copies: usize,
    /// Payload size.
    pub payload_bytes: usize,
    /// How long publishers publish.
    pub duration: Duration,
    /// Most messages in flight, over all publishers: not arrived or, where asked for, not confirmed.
    pub window: usize,
    /// The broker confirms every publish, and the run lasts until it did.
    pub confirmed: bool,
}

impl Shape {
    /// A window that bounds messages and bytes in flight, and the messages of one write.
    pub fn new(publishers: usize, copies: usize, payload_bytes: usize, duration: Duration) -> Self {
        let by_count = (20_000 / copies).clamp(20, 2000);
        let by_bytes = (8 * 1024 * 1024 / (payload_bytes * copies)).max(16);
        Self { publishers, copies, payload_bytes, duration, window: by_count.min(by_bytes), confirmed: false }
    }

    /// Messages of one write: a part of the publisher's share of the window, limited in bytes.
    pub fn batch(&self) -> usize {
        let share = self.window / self.publishers / 4;
        share.min(WRITE_BYTES / (self.payload_bytes + 64)).max(1)
    }
}

/// What a run came to.
#[derive(Clone, Default)]
pub struct Outcome {
    /// Copies that arrived.
    pub received: u64,
    /// Copies that did not.
    pub lost: u64,
    /// From the first publish to the last arrival.
    pub elapsed: Duration,
    /// From write to arrival, sampled: the first message of each write.
    pub latencies: Latencies,
}

impl Outcome {
    /// Copies that arrived per second.
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Shared by the publishers and receivers of one run.
pub struct Run {
    /// What is run.
    pub shape: Shape,
    started: Instant,
    room: Semaphore,
    unconfirmed: Semaphore,
    finished: watch::Sender<bool>,
    published: AtomicU64,
    received: AtomicU64,
    released: AtomicU64,
    confirmed: AtomicU64,
    last_nanos: AtomicU64,
}

impl Run {
    /// The clock starts now.
    pub fn new(shape: Shape) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            room: Semaphore::new(shape.window),
            unconfirmed: Semaphore::new(shape.window),
            finished: watch::Sender::new(false),
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            released: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            last_nanos: AtomicU64::new(0),
            shape,
        })
    }

    /// Nanoseconds since the start; never 0.
    pub fn now_nanos(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64 + 1
    }

    /// The time to publish is over.
    pub fn over(&self) -> bool {
        self.started.elapsed() >= self.shape.duration
    }

    /// Waits until `count` more messages may be in flight, and counts them as published. False when time is up.
    pub async fn admit(&self, count: usize) -> bool {
        loop {
            if self.over() {
                return false;
            }
            let before = self.received.load(Relaxed);
            match tokio::time::timeout(GIVE_UP, self.room.acquire_many(count as u32)).await {
                Ok(Ok(permit)) => permit.forget(),
                Ok(Err(_)) => return false,
                // Nothing arrived for long: what is in flight was dropped and is not waited for.
                Err(_) if self.received.load(Relaxed) == before => {}
                Err(_) => continue,
            }
            if self.shape.confirmed {
                match tokio::time::timeout(GIVE_UP * 4, self.unconfirmed.acquire_many(count as u32)).await {
                    Ok(Ok(permit)) => permit.forget(),
                    _ => return false,
                }
            }
            self.published.fetch_add(count as u64, Relaxed);
            return true;
        }
    }

    /// Counts arrivals and makes room for as many.
    pub fn arrived(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.last_nanos.fetch_max(self.now_nanos(), Relaxed);
        let total = self.received.fetch_add(count as u64, Relaxed) + count as u64;
        let whole = total / self.shape.copies as u64;
        let before = self.released.fetch_max(whole, Relaxed);
        if whole > before {
            self.room.add_permits((whole - before) as usize);
        }
    }

    /// Counts confirms and makes room for as many publishes.
    pub fn confirmed(&self, count: usize) {
        self.last_nanos.fetch_max(self.now_nanos(), Relaxed);
        self.confirmed.fetch_add(count as u64, Relaxed);
        self.unconfirmed.add_permits(count);
    }

    /// All published messages have arrived, as often as they should, and are confirmed.
    fn complete(&self) -> bool {
        let published = self.published.load(Relaxed);
        self.received.load(Relaxed) >= published * self.shape.copies as u64 && self.all_confirmed()
    }

    fn all_confirmed(&self) -> bool {
        !self.shape.confirmed || self.confirmed.load(Relaxed) >= self.published.load(Relaxed)
    }

    /// Waits for what is still in flight, while anything arrives at all, and ends the run. A broker that leaves a
    /// publish without its confirm fails the row.
    pub async fn drain(&self) -> io::Result<()> {
        let counted = || self.received.load(Relaxed) + self.confirmed.load(Relaxed);
        let mut seen = (counted(), Instant::now());
        while !self.complete() && seen.1.elapsed() < GIVE_UP * 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if counted() != seen.0 {
                seen = (counted(), Instant::now());
            }
        }
        self.finished.send_replace(true);
        if self.all_confirmed() { Ok(()) } else { Err(io::Error::other("not every publish was confirmed")) }
    }

    /// Returns when the run has ended.
    pub async fn finished(&self) {
        let _ = self.finished.subscribe().wait_for(|finished| *finished).await;
    }

    /// The end of the run.
    pub fn outcome(&self, latencies: Latencies) -> Outcome {
        let (published, received) = (self.published.load(Relaxed), self.received.load(Relaxed));
        Outcome {
            received,
            lost: (published * self.shape.copies as u64).saturating_sub(received),
            elapsed: Duration::from_nanos(self.last_nanos.load(Relaxed)),
            latencies,
        }
    }

    /// Writes the time into the start of a payload.
    pub fn stamp(&self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&STAMP_MARK.to_be_bytes());
        payload[8..STAMP_BYTES].copy_from_slice(&self.now_nanos().to_be_bytes());
    }

    /// Records how long ago a payload was stamped, if it was.
    pub fn sample(&self, payload: &[u8], latencies: &mut Latencies) {
        let Some((mark, stamp)) = payload.get(..STAMP_BYTES).map(|bytes| bytes.split_at(8)) else { return };
        if mark == STAMP_MARK.to_be_bytes() {
            let sent = stamp.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            latencies.record(self.now_nanos().saturating_sub(sent));
        }
    }
}

/// Ends the receivers of a run and adds up what they sampled.
pub async fn collect(mut receivers: JoinSet<io::Result<Latencies>>) -> Latencies {
    let mut all = Latencies::default();
    while let Some(result) = receivers.join_next().await {
        match result {
            Ok(Ok(latencies)) => all.merge(&latencies),
            Ok(Err(error)) => eprintln!("a receiver ended early: {error}"),
            Err(error) => eprintln!("a receiver failed: {error}"),
        }
    }
    all
}
