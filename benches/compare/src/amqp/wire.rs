//! AMQP 0-9-1 as far as a load generator needs it: control methods through `amq-protocol`, one at a time, and
//! content pre-encoded once and walked by lengths.

use crate::feed::Feed;
use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{
    AMQPClass, BasicProperties, basic, channel, confirm, connection, exchange, queue,
};
use amq_protocol::types::{AMQPValue, FieldTable};
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The only channel in use.
pub const CHANNEL: u16 = 1;

/// Frame size that both brokers of the comparison offer.
const FRAME_BYTES_MAX: u32 = 131_072;

/// How a queue keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Gone with the broker.
    Transient,
    /// Durable, the broker's usual kind.
    Durable,
    /// RabbitMQ's replicated kind, here with one replica.
    Quorum,
}

/// A connection with channel 1 open.
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// What was read from it.
    pub feed: Feed,
}

fn failed(what: impl ToString) -> io::Error {
    io::Error::other(what.to_string())
}

/// One frame in wire form.
pub fn encode(frame: &AMQPFrame) -> io::Result<Vec<u8>> {
    let written = gen_frame(frame)(WriteContext::from(Vec::new())).map_err(failed)?;
    Ok(written.into_inner().0)
}

impl Connection {
    /// Connects, logs in as guest and opens the channel.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut this = Self { stream, feed: Feed::new(512 * 1024) };
        this.stream.write_all(b"AMQP\0\0\x09\x01").await?;
        this.receive(0).await?;
        let start = connection::StartOk {
            client_properties: FieldTable::default(),
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
        };
        this.call(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start))).await?;
        let tune = connection::TuneOk { channel_max: 16, frame_max: FRAME_BYTES_MAX, heartbeat: 0 };
        this.send(0, AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune))).await?;
        let open = connection::Open { virtual_host: "/".into() };
        this.call(0, AMQPClass::Connection(connection::AMQPMethod::Open(open))).await?;
        this.call(CHANNEL, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))).await?;
        Ok(this)
    }

    async fn send(&mut self, channel: u16, method: AMQPClass) -> io::Result<()> {
        self.stream.write_all(&encode(&AMQPFrame::Method(channel, method))?).await
    }

    async fn receive(&mut self, channel: u16) -> io::Result<AMQPClass> {
        loop {
            if let Ok((rest, frame)) = parse_frame(self.feed.pending()) {
                let used = self.feed.pending().len() - rest.len();
                self.feed.consume(used);
                match frame {
                    AMQPFrame::Method(on, method) if on == channel => return Ok(method),
                    AMQPFrame::Method(_, method) => return Err(failed(format!("unexpected {method:?}"))),
                    _ => continue,
                }
            }
            self.feed.fill(&mut self.stream).await?;
        }
    }

    async fn call(&mut self, channel: u16, method: AMQPClass) -> io::Result<AMQPClass> {
        self.send(channel, method).await?;
        let reply = self.receive(channel).await?;
        match reply {
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => Err(failed(close.reply_text)),
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => Err(failed(close.reply_text)),
            other => Ok(other),
        }
    }

    /// Declares a queue, emptied and deleted with the last connection that needs it by [`Connection::delete`].
    pub async fn declare(&mut self, name: &str, kind: QueueKind) -> io::Result<()> {
        self.declare_queue(name, kind, false).await.map(drop)
    }

    /// How many messages are ready in a queue that is there.
    pub async fn count(&mut self, name: &str, kind: QueueKind) -> io::Result<u64> {
        self.declare_queue(name, kind, true).await
    }

    async fn declare_queue(&mut self, name: &str, kind: QueueKind, passive: bool) -> io::Result<u64> {
        let mut arguments = FieldTable::default();
        if kind == QueueKind::Quorum {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        }
        let declare = queue::Declare {
            queue: name.into(),
            passive,
            durable: kind != QueueKind::Transient,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments,
        };
        match self.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => Ok(u64::from(ok.message_count)),
            other => Err(failed(format!("unexpected {other:?}"))),
        }
    }

    /// Deletes a queue.
    pub async fn delete(&mut self, name: &str) -> io::Result<()> {
        let delete = queue::Delete { queue: name.into(), if_unused: false, if_empty: false, nowait: false };
        self.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Delete(delete))).await.map(drop)
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&mut self, exchange: &str, name: &str) -> io::Result<()> {
        let bind = queue::Bind {
            queue: name.into(),
            exchange: exchange.into(),
            routing_key: "".into(),
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Bind(bind))).await.map(drop)
    }

    /// Declares a durable fanout exchange.
    pub async fn declare_fanout(&mut self, name: &str) -> io::Result<()> {
        let declare = exchange::Declare {
            exchange: name.into(),
            kind: "fanout".into(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.call(CHANNEL, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare))).await.map(drop)
    }

    /// Asks for publisher confirms.
    pub async fn confirm(&mut self) -> io::Result<()> {
        let select = confirm::Select { nowait: false };
        self.call(CHANNEL, AMQPClass::Confirm(confirm::AMQPMethod::Select(select))).await.map(drop)
    }

    /// Consumes; with a prefetch, messages are to be acknowledged.
    pub async fn consume(&mut self, name: &str, prefetch: Option<u16>) -> io::Result<()> {
        if let Some(prefetch_count) = prefetch {
            let qos = basic::Qos { prefetch_count, global: false };
            self.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Qos(qos))).await?;
        }
        let consume = basic::Consume {
            queue: name.into(),
            consumer_tag: "c".into(),
            no_local: false,
            no_ack: prefetch.is_none(),
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Consume(consume))).await.map(drop)
    }
}

/// One message as it is published: method, header and body frame. Also says where the payload starts.
pub fn publish(exchange: &str, key: &str, persistent: bool, payload: usize) -> io::Result<(Vec<u8>, usize)> {
    let method = basic::Publish {
        exchange: exchange.into(),
        routing_key: key.into(),
        mandatory: false,
        immediate: false,
    };
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: payload as u64,
        properties: BasicProperties::default().with_delivery_mode(if persistent { 2 } else { 1 }),
    };
    let mut bytes =
        encode(&AMQPFrame::Method(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Publish(method))))?;
    bytes.extend(encode(&AMQPFrame::Header(CHANNEL, header))?);
    let start = bytes.len() + 7;
    bytes.extend(encode(&AMQPFrame::Body(CHANNEL, vec![b'x'; payload]))?);
    Ok((bytes, start))
}

/// A frame as the walker sees it.
pub enum Seen<'a> {
    /// basic.deliver and its delivery tag.
    Deliver(u64),
    /// basic.ack from the broker: tag, multiple.
    Confirmed(u64, bool),
    /// A body; every message of the load is one body frame.
    Body(&'a [u8]),
    /// channel.close or connection.close, as it came.
    Closed(&'a [u8]),
    /// Anything else.
    Other,
}

/// The first whole frame in `bytes` and its length.
pub fn walk(bytes: &[u8]) -> Option<(Seen<'_>, usize)> {
    let size = u32::from_be_bytes(bytes.get(3..7)?.try_into().ok()?) as usize;
    bytes.get(7 + size)?;
    let payload = &bytes[7..7 + size];
    let number =
        |at: usize| payload.get(at..at + 8).map(|b| b.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)));
    let seen = match (bytes[0], payload) {
        (3, _) => Seen::Body(payload),
        (1, [0, 60, 0, 60, tag_len, ..]) => Seen::Deliver(number(5 + usize::from(*tag_len))?),
        (1, [0, 60, 0, 80, .., multiple]) => Seen::Confirmed(number(4)?, *multiple & 1 == 1),
        (1, [0, 20, 0, 40, ..] | [0, 10, 0, 50, ..]) => Seen::Closed(payload),
        _ => Seen::Other,
    };
    Some((seen, 8 + size))
}

/// Appends the frame of one basic.ack; with `multiple`, of all up to this tag.
pub fn push_ack(out: &mut Vec<u8>, tag: u64, multiple: bool) {
    out.extend_from_slice(&[1, 0, CHANNEL as u8, 0, 0, 0, 13, 0, 60, 0, 80]);
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&[u8::from(multiple), 0xce]);
}
