//! One client frame, complete: its text without escapes, where its headers lie in it, and its body.
//! Refuses to judge what the headers mean.

use bytes::Bytes;
use model::{Name, limits::COPY_OUT_BELOW_BYTES};
use smallvec::SmallVec;
use std::ops::Range;

/// The client commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// CONNECT, or STOMP as 1.1 also calls it.
    Connect,
    /// SEND
    Send,
    /// SUBSCRIBE
    Subscribe,
    /// UNSUBSCRIBE
    Unsubscribe,
    /// ACK
    Ack,
    /// NACK
    Nack,
    /// BEGIN
    Begin,
    /// COMMIT
    Commit,
    /// ABORT
    Abort,
    /// DISCONNECT
    Disconnect,
    /// Anything else.
    Unknown,
}

impl Command {
    /// The command named `text`; commands are case-sensitive.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "SEND" => Command::Send,
            "ACK" => Command::Ack,
            "NACK" => Command::Nack,
            "SUBSCRIBE" => Command::Subscribe,
            "UNSUBSCRIBE" => Command::Unsubscribe,
            "BEGIN" => Command::Begin,
            "COMMIT" => Command::Commit,
            "ABORT" => Command::Abort,
            "CONNECT" | "STOMP" => Command::Connect,
            "DISCONNECT" => Command::Disconnect,
            _ => Command::Unknown,
        }
    }
}

/// Where a header's name and value lie in the frame's text. Frames are far shorter than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) name: (u32, u32),
    pub(crate) value: (u32, u32),
}

/// Header positions of one frame; most frames have few.
pub(crate) type Spans = SmallVec<[Span; 12]>;

/// A complete frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) command_len: u32,
    pub(crate) text: Name,
    pub(crate) spans: Spans,
    pub(crate) body: Bytes,
}

fn range((start, end): (u32, u32)) -> Range<usize> {
    start as usize..end as usize
}

impl Frame {
    /// The command as sent.
    pub(crate) fn command_text(&self) -> &str {
        self.text.get(..self.command_len as usize).unwrap_or_default()
    }

    /// The command.
    pub(crate) fn command(&self) -> Command {
        Command::parse(self.command_text())
    }

    /// The headers in order, repeated ones included.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spans.iter().map(|span| (self.part(span.name), self.part(span.value)))
    }

    fn part(&self, place: (u32, u32)) -> &str {
        self.text.get(range(place)).unwrap_or_default()
    }

    /// The value of header `name`; of repeated ones the first ("Repeated Header Entries").
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let text = self.text.as_bytes();
        // Lengths tell most names apart before any byte is looked at.
        let named = |span: &&Span| {
            (span.name.1 - span.name.0) as usize == name.len()
                && text.get(range(span.name)) == Some(name.as_bytes())
        };
        self.spans.iter().find(named).map(|span| self.part(span.value))
    }

    /// A truth value: `true` or `false`, else as absent.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.header(name)?.parse().ok()
    }

    /// The body, copied out of the read buffer when it is so short that it would pin more than it is worth.
    pub(crate) fn body(&self) -> Bytes {
        if self.body.len() < COPY_OUT_BELOW_BYTES {
            Bytes::copy_from_slice(&self.body)
        } else {
            self.body.clone()
        }
    }

    /// Bytes of memory that keeping this frame costs, roughly.
    pub(crate) fn cost_bytes(&self) -> usize {
        self.text.len() + self.body.len() + self.spans.len() * size_of::<Span>() + size_of::<Self>()
    }

    /// The frame, no longer holding on to the read buffer unless its body is long.
    pub(crate) fn detach(mut self) -> Self {
        self.body = self.body();
        self.text = Name::from(self.text.to_string());
        self
    }

    /// The frame without header `name`.
    pub(crate) fn without(mut self, name: &str) -> Self {
        let text = self.text.as_bytes();
        self.spans.retain(|span| text.get(range(span.name)) != Some(name.as_bytes()));
        self
    }
}
