//! One connection on a thread of its own: publishes with a bounded number of messages unconfirmed, or takes a queue's
//! messages out in order. No task switches of the generator's own lie between a confirm and what is published next.

use crate::amqp::Confirms;
use crate::amqp::wire::{self, Connection, QueueKind, Seen, push_ack, walk};
use crate::feed::Feed;
use crate::latency::Latencies;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Silence after which a broker is taken to have stopped taking or handing out messages.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Most bytes that one write gathers.
const WRITE_BYTES: usize = 128 * 1024;

/// Messages that the draining consumer holds unacknowledged; it acknowledges with each read, all at once.
const PREFETCH: u16 = 1000;

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
    /// Adds what another connection did; the time counts once where it was the same.
    pub fn merge(&mut self, other: &Published, same_time: bool) {
        self.messages += other.messages;
        self.elapsed = if same_time { self.elapsed.max(other.elapsed) } else { self.elapsed + other.elapsed };
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

/// A connection in confirm mode with its books.
pub struct Publisher {
    stream: TcpStream,
    feed: Feed,
    confirms: Confirms,
    /// Messages published so far, which is also the tag of the last.
    sent: u64,
    confirmed: u64,
}

impl Publisher {
    /// Opens a connection whose publishes are confirmed, to a queue that it declares.
    pub async fn open(address: SocketAddr, queue: &str, kind: QueueKind) -> io::Result<Self> {
        let mut connection = Connection::open(address).await?;
        connection.declare(queue, kind).await?;
        connection.confirm().await?;
        let (stream, feed) = blocking(connection)?;
        Ok(Self { stream, feed, confirms: Confirms::default(), sent: 0, confirmed: 0 })
    }

    /// Publishes persistent messages until the plan is fulfilled, and waits for the last confirm. Each payload
    /// begins with its number, from 0 and over all calls.
    pub fn publish(&mut self, plan: &Plan) -> io::Result<Published> {
        let (template, payload_at) = wire::publish("", &plan.queue, true, plan.payload_bytes)?;
        let at_once = (WRITE_BYTES / template.len()).max(1) as u64;
        let mut out = Vec::with_capacity(at_once as usize * template.len());
        let begin = Instant::now();
        let last = self.sent.saturating_add(plan.messages);
        let mut done = Published::default();
        // When each message was written, from the first that is not confirmed.
        let mut written = VecDeque::<Instant>::new();
        loop {
            let over = begin.elapsed() >= plan.duration || self.sent >= last;
            if over && self.sent == self.confirmed {
                done.elapsed = begin.elapsed();
                return Ok(done);
            }
            let unconfirmed = self.sent - self.confirmed;
            let room = (plan.outstanding as u64).saturating_sub(unconfirmed).min(last - self.sent);
            let count = if over { 0 } else { room.min(at_once) };
            if count > 0 {
                out.clear();
                for number in self.sent..self.sent + count {
                    let at = out.len() + payload_at;
                    out.extend_from_slice(&template);
                    out[at..at + NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
                }
                written.resize(written.len() + count as usize, Instant::now());
                self.stream.write_all(&out).map_err(|error| silent(error, self.confirmed))?;
                self.sent += count;
            }
            if over || room == count {
                self.take_confirms(&mut written, &mut done)?;
            }
        }
    }

    /// Waits for confirms, at least one.
    fn take_confirms(&mut self, written: &mut VecDeque<Instant>, done: &mut Published) -> io::Result<()> {
        self.feed.fill_blocking(&mut self.stream).map_err(|error| silent(error, self.confirmed))?;
        let now = Instant::now();
        let before = self.confirms.all_to;
        while let Some((seen, used)) = walk(self.feed.pending()) {
            match seen {
                Seen::Confirmed(tag, multiple) => self.confirms.take(tag, multiple, |tag| {
                    self.confirmed += 1;
                    done.messages += 1;
                    let since = written.get((tag - before - 1) as usize).map(|at| now.duration_since(*at));
                    done.latencies.record(since.unwrap_or_default().as_nanos() as u64);
                }),
                Seen::Closed(why) => return Err(closed(why)),
                _ => {}
            }
            self.feed.consume(used);
        }
        written.drain(..(self.confirms.all_to - before) as usize);
        Ok(())
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

/// Waits until a queue has a message for a consumer, and gives it back.
pub async fn first_message(address: SocketAddr, queue: &str) -> io::Result<()> {
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

/// Opens a consumer with [`PREFETCH`].
pub async fn consumer(address: SocketAddr, queue: &str) -> io::Result<Connection> {
    let mut connection = Connection::open(address).await?;
    connection.consume(queue, Some(PREFETCH)).await?;
    Ok(connection)
}

/// Takes messages over a consumer's connection, until there were `messages` or time is up.
pub fn drain(consumer: Connection, messages: u64, duration: Duration) -> io::Result<Drained> {
    let begin = Instant::now();
    let (mut stream, mut feed) = blocking(consumer)?;
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
