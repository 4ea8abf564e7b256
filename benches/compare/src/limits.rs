//! What bounds any broker here: a sink that only reads shows how fast the generator can publish, a relay that
//! writes back what it read shows what the loopback and the receiving side allow.

use crate::amqp::wire::{self, Seen};
use crate::feed::Feed;
use crate::latency::Latencies;
use crate::load::{Outcome, Run, Shape};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Reads and drops.
    Sink,
    /// Reads and writes back.
    Relay,
}

/// Serves one connection on a thread of its own.
fn serve(limit: Limit) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut bytes = vec![0; 256 * 1024];
        loop {
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count if limit == Limit::Relay => stream.write_all(&bytes[..count])?,
                _ => {}
            }
        }
    });
    Ok(address)
}

/// Runs the publishing side against the sink, or both sides against the relay, with AMQP frames.
pub async fn run(limit: Limit, shape: &Shape) -> io::Result<Outcome> {
    let stream = TcpStream::connect(serve(limit)?).await?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.into_split();
    let run = Run::new(shape.clone());
    let receiver = run.clone();
    let receiving = tokio::spawn(async move {
        let (mut feed, mut latencies) = (Feed::new(512 * 1024), Latencies::default());
        loop {
            let mut arrived = 0;
            while let Some((seen, used)) = wire::walk(feed.pending()) {
                if let Seen::Body(body) = seen {
                    arrived += 1;
                    receiver.sample(body, &mut latencies);
                }
                feed.consume(used);
            }
            receiver.arrived(arrived);
            tokio::select! {
                biased;
                filled = feed.fill(&mut from) => if filled.is_err() { return latencies },
                () = receiver.finished() => return latencies,
            }
        }
    });
    let (template, payload_at) = wire::publish("", "compare.0", false, shape.payload_bytes)?;
    let mut bytes = template.repeat(shape.batch());
    while run.admit(shape.batch()).await {
        run.stamp(&mut bytes[payload_at..payload_at + shape.payload_bytes]);
        to.write_all(&bytes).await?;
        if limit == Limit::Sink {
            run.arrived(shape.batch());
        }
    }
    run.drain().await?;
    drop(to);
    Ok(run.outcome(receiving.await.unwrap_or_default()))
}
