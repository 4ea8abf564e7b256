//! MQTT 3.1.1 as far as a load generator needs it: frames made by `mqttbytes`, incoming ones walked by lengths.

use crate::feed::Feed;
use bytes::BytesMut;
use mqttbytes::QoS;
use mqttbytes::v4::{Connect, Publish, Subscribe};
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A connection past CONNACK.
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// What was read from it.
    pub feed: Feed,
}

fn failed(error: mqttbytes::Error) -> io::Error {
    io::Error::other(format!("{error:?}"))
}

impl Connection {
    /// Connects with a clean session.
    pub async fn open(address: SocketAddr, client: &str, read_bytes: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut this = Self { stream, feed: Feed::new(read_bytes) };
        let mut connect = Connect::new(client);
        connect.keep_alive = 0;
        connect.clean_session = true;
        let mut bytes = BytesMut::new();
        connect.write(&mut bytes).map_err(failed)?;
        this.call(&bytes, 0x20).await?;
        Ok(this)
    }

    /// Subscribes to one filter.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> io::Result<()> {
        let mut subscribe = Subscribe::new(filter, qos);
        subscribe.pkid = 1;
        let mut bytes = BytesMut::new();
        subscribe.write(&mut bytes).map_err(failed)?;
        self.call(&bytes, 0x90).await
    }

    async fn call(&mut self, bytes: &[u8], answer: u8) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        loop {
            if let Some((frame, used)) = walk(self.feed.pending()) {
                let refused = frame.kind != answer || frame.body.last().is_none_or(|code| *code >= 0x80);
                let refused = refused || (answer == 0x20 && frame.body.last() != Some(&0));
                self.feed.consume(used);
                return if refused { Err(io::Error::other("refused by the broker")) } else { Ok(()) };
            }
            self.feed.fill(&mut self.stream).await?;
        }
    }
}

/// One PUBLISH; where its packet id is (QoS 1), and where its payload starts.
pub fn publish(topic: &str, qos: QoS, payload: usize) -> io::Result<(Vec<u8>, usize, usize)> {
    let mut publish = Publish::new(topic, qos, vec![b'x'; payload]);
    publish.pkid = u16::from(qos != QoS::AtMostOnce);
    let mut bytes = BytesMut::new();
    publish.write(&mut bytes).map_err(failed)?;
    let payload_at = bytes.len() - payload;
    Ok((bytes.to_vec(), payload_at - 2, payload_at))
}

/// A packet as the walker sees it.
pub struct Packet<'a> {
    /// First byte.
    pub kind: u8,
    /// Everything after the fixed header.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Packet id (QoS 1) and payload of a PUBLISH.
    pub fn published(&self) -> Option<(Option<[u8; 2]>, &'a [u8])> {
        if self.kind >> 4 != 3 {
            return None;
        }
        let topic = usize::from(u16::from_be_bytes(self.body.get(..2)?.try_into().ok()?));
        let rest = self.body.get(2 + topic..)?;
        match self.kind >> 1 & 3 {
            0 => Some((None, rest)),
            _ => Some((Some(rest.get(..2)?.try_into().ok()?), rest.get(2..)?)),
        }
    }
}

/// The first whole packet in `bytes` and its length.
pub fn walk(bytes: &[u8]) -> Option<(Packet<'_>, usize)> {
    let (mut length, mut at) = (0usize, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte < 0x80 || at > 4 {
            break;
        }
    }
    Some((Packet { kind: bytes[0], body: bytes.get(at..at + length)? }, at + length))
}
