//! The driver: one connection's socket, session, buffers and mail, for every protocol and transport.
//!
//! Owns: reading, writing, back-pressure on the peer, timers, the order of closing.
//! Refuses: any word of a protocol, and any decision about messages.

use super::outbox::{Event, Outbox};
use super::port::Port;
use crate::runtime::presence::ConnectionStatus;
use bytes::BytesMut;
use model::{
    Millis, Name,
    command::Signal,
    delivery::{Confirm, Delivery},
    session::{Output, Session},
    wire::Wire,
};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

/// Read at once from a quiet connection, by way of the stack: it keeps no buffer.
const READ_BYTES_QUIET: usize = 4 * 1024;
/// Least room made for each read of a connection that is not quiet.
const READ_BYTES_MIN: usize = 8 * 1024;
/// A connection on which nothing happens for this long gives its buffers back.
const IDLE: Duration = Duration::from_secs(1);
/// Bytes of buffers that are not worth giving back.
const IDLE_BYTES: usize = 256;
/// Most room made for each read, for peers that fill it: fewer calls, and fewer frames cut in two.
const READ_BYTES_MAX: usize = 512 * 1024;
/// Reads from a connection that is taken over before it has to leave.
const TAKEOVER_READS_MAX: usize = 16;
/// Time for each: what lies in the socket may not have been noticed yet.
const TAKEOVER_READ: Duration = Duration::from_millis(5);
/// Unwritten output beyond which nothing more is read and no mail is taken: the peer does not take what it is sent.
/// Mail then waits in the outbox, where direct deliveries have their limit.
const WIRE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room that lasted a shorter time than this was too little, milliseconds.
const QUICK_MS: Millis = 20;
/// How long a closing connection may take to write its last words.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How often a connection that was stopped from reading looks whether it may go on.
const CONGESTION_POLL: Duration = Duration::from_millis(2);

/// More than a little is held for events that are long done.
fn held(events: &Vec<Event>) -> bool {
    events.capacity() * size_of::<Event>() > IDLE_BYTES
}

enum Step {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Mail,
    Tick,
    Shutdown,
}

/// A connection from its first byte to its last.
pub(crate) struct Connection<S> {
    stream: S,
    session: Box<dyn Session>,
    port: Port,
    outbox: Arc<Outbox>,
    input: BytesMut,
    output: Output,
    flushing: bool,
    mail_was_first: bool,
    read_bytes: usize,
    received_bytes: usize,
    room_made: Millis,
    /// Nothing happened since the timer was last looked at.
    idle: bool,
    deliveries: Vec<Delivery>,
    confirms: Vec<Confirm>,
    /// Bytes from the peer and to it since the beginning.
    traffic: (u64, u64),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over `stream`, entered in the broker under `port`'s id.
    pub(crate) fn new(stream: S, session: Box<dyn Session>, port: Port, outbox: Arc<Outbox>) -> Self {
        Self {
            stream,
            session,
            port,
            outbox,
            input: BytesMut::new(),
            output: Output::default(),
            flushing: false,
            mail_was_first: false,
            read_bytes: READ_BYTES_MIN,
            received_bytes: 0,
            room_made: 0,
            idle: false,
            deliveries: Vec::new(),
            confirms: Vec::new(),
            traffic: (0, 0),
        }
    }

    /// Serves the peer until either side ends it. Returns why, for the log.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Name {
        let reason = self.serve(&shutdown).await;
        let now = self.port.now();
        self.port.begin_turn();
        self.session.closed(now, &mut self.port);
        self.port.end_turn();
        self.port.disconnect(now);
        // The broker is told first: who takes a session over does not wait for a peer that no longer listens.
        if let Some(reason) = self.output.close.take() {
            self.last_words().await;
            return reason;
        }
        reason
    }

    async fn serve(&mut self, shutdown: &CancellationToken) -> Name {
        let mut sleep = pin!(tokio::time::sleep(Duration::from_secs(3600)));
        let mut told = false;
        let mut events = Vec::new();
        loop {
            if self.output.close.is_some() {
                return Name::new();
            }
            let congested = self.port.congested();
            self.arm(sleep.as_mut(), congested, held(&events));
            let step = self.step(sleep.as_mut(), congested, (!told).then_some(shutdown)).await;
            let was_idle = std::mem::replace(&mut self.idle, matches!(step, Step::Tick));
            match step {
                Step::Read(Ok(0)) => return "the peer closed the connection".into(),
                Step::Read(Ok(count)) => {
                    self.received_bytes += count;
                    self.traffic.0 += count as u64;
                    self.receive();
                }
                Step::Wrote(Ok(count)) => self.wrote(count),
                Step::Read(Err(error)) | Step::Wrote(Err(error)) => return error.to_string().into(),
                Step::Mail => {
                    self.outbox.swap(&mut events);
                    if events.iter().any(|event| matches!(event, Event::Signal(Signal::TakenOver))) {
                        self.read_what_came().await;
                    }
                    self.mail(&mut events);
                }
                Step::Tick => {
                    self.turn(|session, now, port, out| session.tick(now, port, out));
                    if was_idle {
                        self.give_back();
                        events = Vec::new();
                    }
                }
                Step::Shutdown => {
                    told = true;
                    let signal =
                        Signal::Shutdown("broker forced connection closure with reason 'shutdown'".into());
                    self.turn(|session, now, port, out| session.signal(signal, now, port, out));
                }
            }
        }
    }

    /// Sets the timer: to the session's next tick, or soon when reading waits for room.
    fn arm(&self, sleep: Pin<&mut Sleep>, congested: bool, events_held: bool) {
        let now = self.port.now();
        let wait = match self.session.next_tick() {
            Some(at) => Duration::from_millis(at.saturating_sub(now)),
            None => Duration::from_secs(3600),
        };
        let wait = if congested { wait.min(CONGESTION_POLL) } else { wait };
        let holding = events_held || self.input.capacity() + self.output.wire.tail.capacity() > IDLE_BYTES;
        let wait = if holding { wait.min(IDLE) } else { wait };
        let deadline = Instant::now() + wait;
        let current = sleep.deadline();
        // Moving a timer costs more than firing one a little early: only do so when it matters.
        if deadline + Duration::from_millis(1) < current || current + Duration::from_millis(50) < deadline {
            sleep.reset(deadline);
        }
    }

    async fn step(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        congested: bool,
        shutdown: Option<&CancellationToken>,
    ) -> Step {
        let outbox = self.outbox.clone();
        let stuck = self.output.wire.len() >= WIRE_BYTES_MAX;
        let may_read = !congested && !stuck;
        let mut mail =
            pin!(async { if stuck { outbox.notified_urgently().await } else { outbox.notified().await } });
        let mut cancelled = pin!(async {
            match shutdown {
                Some(token) => token.cancelled().await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.poll_write(cx) {
                return Poll::Ready(Step::Wrote(result));
            }
            // Mail and socket take turns, so that neither starves the other.
            let mail_first = !self.mail_was_first;
            if mail_first && mail.as_mut().poll(cx).is_ready() {
                self.mail_was_first = true;
                return Poll::Ready(Step::Mail);
            }
            if may_read && let Poll::Ready(result) = self.poll_read(cx) {
                self.mail_was_first = false;
                return Poll::Ready(Step::Read(result));
            }
            self.mail_was_first = false;
            if !mail_first && mail.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Step::Mail);
            }
            if sleep.as_mut().poll(cx).is_ready() {
                sleep.as_mut().reset(Instant::now() + Duration::from_secs(3600));
                return Poll::Ready(Step::Tick);
            }
            if cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Step::Shutdown);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what there is. A quiet connection's few bytes come by way of the stack, so that it keeps no buffer while
    /// nothing comes.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read_bytes > READ_BYTES_MIN || !self.input.is_empty() {
            self.make_room();
            return tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input);
        }
        let mut bytes = [0; READ_BYTES_QUIET];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        let read = read.filled();
        if self.input.capacity() < read.len() {
            self.input = BytesMut::from(read);
        } else {
            self.input.extend_from_slice(read);
        }
        if read.len() == READ_BYTES_QUIET {
            // It is quiet no longer.
            self.read_bytes = READ_BYTES_MIN * 2;
            self.room_made = self.port.now();
        }
        Poll::Ready(Ok(read.len()))
    }

    /// Gives back buffers that are empty.
    fn give_back(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
        if self.output.wire.is_empty() {
            self.output.wire = Wire::new();
        }
        self.deliveries = Vec::new();
        self.confirms = Vec::new();
        self.outbox.give_back();
    }

    /// Makes room to read into once what there is runs out: twice as much for a peer that filled it at once, less for one
    /// that took its time. A frame cut in two is copied when the room is made, so busy peers get much.
    fn make_room(&mut self) {
        if self.input.capacity() - self.input.len() >= READ_BYTES_MIN / 2 {
            return;
        }
        let now = self.port.now();
        let quick = now.saturating_sub(self.room_made) < QUICK_MS;
        if quick && self.received_bytes >= self.read_bytes / 2 {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        } else if !quick {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
        self.room_made = now;
        self.received_bytes = 0;
        self.input.reserve(self.read_bytes);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.output.wire.is_empty() {
            let mut slices = [IoSlice::new(&[]); 64];
            let count = self.output.wire.io_slices(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        if self.flushing
            && let Poll::Ready(result) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            self.flushing = false;
            if let Err(error) = result {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }

    fn wrote(&mut self, count: usize) {
        self.traffic.1 += count as u64;
        self.output.wire.advance(count);
        self.flushing = true;
        if self.output.wire.is_empty() {
            self.port.drained();
        }
    }

    fn turn(&mut self, call: impl FnOnce(&mut dyn Session, Millis, &mut Port, &mut Output)) {
        let now = self.port.now();
        self.port.begin_turn();
        call(self.session.as_mut(), now, &mut self.port, &mut self.output);
        self.settle_replies(now);
        self.port.end_turn();
    }

    fn receive(&mut self) {
        let now = self.port.now();
        self.port.begin_turn();
        self.session.receive(&mut self.input, now, &mut self.port, &mut self.output);
        self.settle_replies(now);
        self.port.end_turn();
    }

    /// Feeds back what the port could answer itself, and lets the session go on parsing after each answer.
    fn settle_replies(&mut self, now: Millis) {
        while let Some((request, reply)) = self.port.next_local_reply() {
            self.session.reply(request, reply, now, &mut self.port, &mut self.output);
            self.receive_rest(now);
        }
    }

    fn receive_rest(&mut self, now: Millis) {
        if self.output.close.is_none() && !self.input.is_empty() {
            self.session.receive(&mut self.input, now, &mut self.port, &mut self.output);
        }
    }

    /// Takes in what the peer sent before it opened the connection that takes over: a DISCONNECT that waits here was
    /// meant, and so were acknowledgements. Bounded in count and time.
    async fn read_what_came(&mut self) {
        for _ in 0..TAKEOVER_READS_MAX {
            self.input.reserve(READ_BYTES_MAX);
            let read = self.stream.read_buf(&mut self.input);
            match tokio::time::timeout(TAKEOVER_READ, read).await {
                Ok(Ok(count)) if count > 0 => self.receive(),
                _ => return,
            }
            if self.output.close.is_some() {
                return;
            }
        }
    }

    fn mail(&mut self, events: &mut Vec<Event>) {
        let now = self.port.now();
        self.port.begin_turn();
        for event in events.drain(..) {
            match event {
                Event::Delivery(delivery) => {
                    self.pass_confirms(now);
                    self.port.count_delivery(&delivery);
                    self.deliveries.push(delivery);
                }
                Event::Confirm(confirm) => {
                    self.pass_deliveries(now);
                    self.confirms.extend(self.port.confirmed(confirm));
                }
                Event::Window(worker, bytes) => self.port.delivered(worker, bytes),
                Event::Reply(request, reply) => {
                    self.pass(now);
                    self.port.count_reply(&reply);
                    self.session.reply(request, *reply, now, &mut self.port, &mut self.output);
                    self.receive_rest(now);
                }
                Event::Signal(signal) => {
                    self.pass(now);
                    if let Signal::ConsumerCancelled(consumer) = signal {
                        self.port.forget_consumer(consumer);
                    }
                    self.session.signal(signal, now, &mut self.port, &mut self.output);
                }
                Event::Inspect(asker) => drop(asker.send(self.status())),
            }
        }
        self.pass(now);
        // A session may have stopped parsing until a confirm came.
        self.receive_rest(now);
        self.settle_replies(now);
        self.port.end_turn();
        if self.output.wire.is_empty() {
            self.port.drained();
        }
    }

    fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            session: self.session.status(),
            consumers: self.port.consumers(),
            received_bytes: self.traffic.0,
            sent_bytes: self.traffic.1,
            blocked: self.port.is_blocked(),
        }
    }

    fn pass(&mut self, now: Millis) {
        self.pass_deliveries(now);
        self.pass_confirms(now);
    }

    fn pass_deliveries(&mut self, now: Millis) {
        if !self.deliveries.is_empty() {
            self.session.deliver(&mut self.deliveries, now, &mut self.port, &mut self.output);
            self.deliveries.clear();
        }
    }

    fn pass_confirms(&mut self, now: Millis) {
        if !self.confirms.is_empty() {
            self.session.confirm(&self.confirms, now, &mut self.port, &mut self.output);
            self.confirms.clear();
        }
    }

    /// Writes what is left, within reason, and closes.
    async fn last_words(&mut self) {
        self.input.clear();
        let write = async {
            while !self.output.wire.is_empty() || self.flushing {
                match poll_fn(|cx| self.poll_write_or_flushed(cx)).await {
                    Ok(count) => self.wrote_last(count),
                    Err(_) => return,
                }
            }
            let _ = self.stream.shutdown().await;
            // Unread input would turn our close into a reset that can destroy the last words on their way.
            while matches!(self.stream.read_buf(&mut self.input).await, Ok(count) if count > 0) {
                self.input.clear();
            }
        };
        if tokio::time::timeout(LAST_WORDS, write).await.is_err() {
            tracing::debug!("a closing peer did not take its last bytes");
        }
    }

    fn poll_write_or_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.poll_write(cx) {
            Poll::Pending if self.output.wire.is_empty() && !self.flushing => Poll::Ready(Ok(0)),
            other => other,
        }
    }

    fn wrote_last(&mut self, count: usize) {
        self.output.wire.advance(count);
        self.flushing |= count > 0;
    }
}
