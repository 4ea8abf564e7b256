//! One connection on a thread of its own: publishes with a bounded number of messages unconfirmed, or takes a queue's
//! messages out in order. No task switches of the generator's own lie between a confirm and what is published next.

use crate::amqp::Confirms;
use crate::amqp::wire::{self, Connection, QueueKind, Seen, push_ack, walk};
use crate::feed::Feed;
use crate::latency::Latencies;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Silence after which a broker is taken to have stopped taking or handing out messages.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Most bytes that one write gathers.
const WRITE_BYTES: usize = 128 * 1024;

/// Messages that the draining consumer holds unacknowledged; it acknowledges with each read, all at once.
pub const PREFETCH: u16 = 1000;

/// Length of the number that every payload begins with.
const NUMBER_BYTES: usize = 8;

/// What one publisher is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The queue.
    pub queue: String,
    /// Size of each message's payload, at least [`NUMBER_BYTES`].
    pub payload_bytes: usize,
    /// Messages unconfirmed at most.
    pub outstanding: usize,
    /// Messages to publish at most.
    pub messages: u64,
    /// Time to publish at most.
    pub duration: Duration,
}

/// What came of a plan.
#[derive(Clone, Default)]
pub struct Published {
    /// Messages confirmed, which is all that were published.
    pub messages: u64,
    /// From the first write to the last confirm.
    pub elapsed: Duration,
    /// From the write of a message to the arrival of its confirm.
    pub latencies: Latencies,
}

/// Messages per second.
pub fn rate(messages: u64, elapsed: Duration) -> f64 {
    messages as f64 / elapsed.as_secs_f64().max(1e-9)
}

impl Published {
    /// Adds what another connection did in the same time.
    pub fn merge(&mut self, other: &Published) {
        self.messages += other.messages;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latencies.merge(&other.latencies);
    }
}

/// The socket of a connection that is set up, for the calling thread.
fn blocking(connection: Connection) -> io::Result<(TcpStream, Feed)> {
    let stream = connection.stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok((stream, connection.feed))
}

fn silent(error: io::Error, done: u64) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::other(format!("nothing for {} s after {done} messages", SILENCE_MAX.as_secs()))
        }
        _ => error,
    }
}

fn closed(why: &[u8]) -> io::Error {
    io::Error::other(String::from_utf8_lossy(why).into_owned())
}

/// Publishes persistent messages over a connection that is in confirm mode. Each payload begins with its number,
/// from 0.
pub fn publish(connection: Connection, plan: &Plan) -> io::Result<Published> {
    let (mut stream, mut feed) = blocking(connection)?;
    let (template, payload_at) = wire::publish("", &plan.queue, true, plan.payload_bytes)?;
    let at_once = (WRITE_BYTES / template.len()).max(1);
    let begin = Instant::now();
    let mut out = Vec::with_capacity(at_once * template.len());
    let (mut sent, mut done) = (0u64, Published::default());
    let mut confirms = Confirms::default();
    // When each message was written, from the first that is not confirmed.
    let (mut written, mut first) = (VecDeque::<Instant>::new(), 1u64);
    loop {
        let over = begin.elapsed() >= plan.duration || sent >= plan.messages;
        let room = (plan.outstanding as u64).saturating_sub(sent - done.messages).min(plan.messages - sent);
        if over && sent == done.messages {
            done.elapsed = begin.elapsed();
            return Ok(done);
        }
        let count = if over { 0 } else { room.min(at_once as u64) };
        if count > 0 {
            out.clear();
            for number in sent..sent + count {
                let at = out.len() + payload_at;
                out.extend_from_slice(&template);
                out[at..at + NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
            }
            written.resize(written.len() + count as usize, Instant::now());
            stream.write_all(&out).map_err(|error| silent(error, done.messages))?;
            sent += count;
        }
        if room > count && !over {
            continue;
        }
        feed.fill_blocking(&mut stream).map_err(|error| silent(error, done.messages))?;
        let now = Instant::now();
        while let Some((seen, used)) = walk(feed.pending()) {
            match seen {
                Seen::Confirmed(tag, multiple) => confirms.take(tag, multiple, |tag| {
                    done.messages += 1;
                    let since = written.get((tag - first) as usize).map(|at| now.duration_since(*at));
                    done.latencies.record(since.unwrap_or_default().as_nanos() as u64);
                }),
                Seen::Closed(why) => return Err(closed(why)),
                _ => {}
            }
            feed.consume(used);
        }
        written.drain(..(confirms.all_to + 1 - first) as usize);
        first = confirms.all_to + 1;
    }
}

/// What came out of a queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// Messages that arrived.
    pub messages: u64,
    /// Of those, the ones that did not follow the one before by its number.
    pub disorder: u64,
    /// From the request to the last arrival.
    pub elapsed: Duration,
}

/// Opens a connection whose publishes are confirmed, to a queue that it declares.
pub async fn publisher(
    address: std::net::SocketAddr,
    queue: &str,
    kind: QueueKind,
) -> io::Result<Connection> {
    let mut connection = Connection::open(address).await?;
    connection.declare(queue, kind).await?;
    connection.confirm().await?;
    Ok(connection)
}

/// Waits until a queue has a message for a consumer, and gives it back.
pub async fn first_message(address: std::net::SocketAddr, queue: &str) -> io::Result<()> {
    let mut connection = Connection::open(address).await?;
    connection.consume(queue, Some(1)).await?;
    let (mut stream, mut feed) = (connection.stream, connection.feed);
    loop {
        while let Some((seen, used)) = walk(feed.pending()) {
            match seen {
                Seen::Body(_) => return Ok(()),
                Seen::Closed(why) => return Err(closed(why)),
                _ => feed.consume(used),
            }
        }
        feed.fill(&mut stream).await?;
    }
}

/// Takes messages over a connection that consumes with [`PREFETCH`], until there were `messages` or time is up.
pub fn drain(connection: Connection, messages: u64, duration: Duration) -> io::Result<Drained> {
    let begin = Instant::now();
    let (mut stream, mut feed) = blocking(connection)?;
    let (mut drained, mut expected) = (Drained::default(), 0u64);
    let mut acks = Vec::new();
    while drained.messages < messages && begin.elapsed() < duration {
        feed.fill_blocking(&mut stream).map_err(|error| silent(error, drained.messages))?;
        let before = drained.messages;
        while let Some((seen, used)) = walk(feed.pending()) {
            match seen {
                Seen::Body(body) => {
                    let number =
                        body.iter().take(NUMBER_BYTES).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                    drained.disorder += u64::from(number != expected);
                    expected = number + 1;
                    drained.messages += 1;
                }
                Seen::Closed(why) => return Err(closed(why)),
                _ => {}
            }
            feed.consume(used);
        }
        if drained.messages > before {
            // Delivery tags count from 1.
            acks.clear();
            push_ack(&mut acks, drained.messages, true);
            stream.write_all(&acks).map_err(|error| silent(error, drained.messages))?;
        }
    }
    drained.elapsed = begin.elapsed();
    Ok(drained)
}
