//! From bytes to frames ("STOMP Frames"). It remembers how far it has looked, so that no byte is scanned twice however
//! the input is cut. Every limit is checked before what it limits is kept.
//!
//! ```text
//!            EOL, NUL skipped          line ... line, empty line          n bytes and NUL, or up to NUL
//!  Between ------------------> Head --------------------------> Body ------------------------------> Between
//! ```

use crate::{
    config::FrameLimits,
    escape::unescape,
    frame::{Command, Frame, Span, Spans},
    version::Version,
};
use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use model::Name;
use std::fmt;

/// Why the input cannot be a frame. All of these end the connection: there is no way to find the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// Command longer than [`FrameLimits::command_bytes_max`].
    CommandTooLong,
    /// Header line longer than [`FrameLimits::header_bytes_max`].
    HeaderTooLong,
    /// More than [`FrameLimits::headers_max`] headers.
    TooManyHeaders,
    /// Longer than [`FrameLimits::frame_bytes_max`].
    FrameTooLarge,
    /// A header line without a colon, or without a name.
    MalformedHeader,
    /// An escape that the version does not know.
    UnknownEscape,
    /// The head is not UTF-8.
    NotUtf8,
    /// `content-length` is no number.
    BadContentLength,
    /// The byte after `content-length` bytes is not NUL.
    NoNul,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::CommandTooLong => "The command is too long",
            ParseError::HeaderTooLong => "A header is too long",
            ParseError::TooManyHeaders => "There are too many headers",
            ParseError::FrameTooLarge => "The frame is too large",
            ParseError::MalformedHeader => "A header line is not of the form name:value",
            ParseError::UnknownEscape => "A header contains an escape sequence that is not defined",
            ParseError::NotUtf8 => "The headers are not UTF-8",
            ParseError::BadContentLength => "Specified content-length is not a valid integer",
            ParseError::NoNul => "content-length bytes were read and there was no trailing null byte",
        })
    }
}

impl std::error::Error for ParseError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Between,
    Head,
    /// Body of known length, or up to the first NUL.
    Body {
        start: usize,
        length: Option<usize>,
    },
}

/// The state of the scan. Offsets count from the first byte of the frame, which is the first byte of the input.
#[derive(Debug)]
pub(crate) struct Parser {
    phase: Phase,
    /// Start of the line being read.
    line: usize,
    /// Nothing of interest before this offset.
    scanned: usize,
    command_len: usize,
    spans: Spans,
}

impl Default for Parser {
    fn default() -> Self {
        Self { phase: Phase::Between, line: 0, scanned: 0, command_len: 0, spans: Spans::new() }
    }
}

impl Parser {
    /// Takes the next complete frame from `input`; `None` when more bytes are needed. `frame_bytes_max` is the limit
    /// that holds now. After an error the parser is not to be used again.
    pub(crate) fn next(
        &mut self,
        input: &mut BytesMut,
        version: Version,
        limits: &FrameLimits,
        frame_bytes_max: usize,
    ) -> Result<Option<Frame>, ParseError> {
        if self.phase == Phase::Between {
            let skip = input.iter().take_while(|byte| matches!(byte, 0 | b'\n' | b'\r')).count();
            input.advance(skip);
            if input.is_empty() {
                return Ok(None);
            }
            self.phase = Phase::Head;
        }
        if self.phase == Phase::Head {
            self.head(input, limits)?;
        }
        if let Phase::Body { start, length } = self.phase
            && let Some(end) = self.body_end(input, start, length, frame_bytes_max)?
        {
            return self.finish(input, start, end, version).map(Some);
        }
        if input.len() > frame_bytes_max { Err(ParseError::FrameTooLarge) } else { Ok(None) }
    }

    /// Reads lines up to the empty one.
    fn head(&mut self, input: &[u8], limits: &FrameLimits) -> Result<(), ParseError> {
        loop {
            let found = memchr(b'\n', input.get(self.scanned..).unwrap_or_default());
            let end = found.map_or(input.len(), |at| self.scanned + at);
            let line = input.get(self.line..end).unwrap_or_default();
            self.check_line(line.len(), limits)?;
            if found.is_none() {
                self.scanned = end;
                return Ok(());
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.line == 0 {
                self.command_len = line.len();
            } else if line.is_empty() {
                self.phase = Phase::Body { start: end + 1, length: self.content_length(input)? };
                self.scanned = end + 1;
                return Ok(());
            } else {
                self.header(line, limits)?;
            }
            self.line = end + 1;
            self.scanned = end + 1;
        }
    }

    fn check_line(&self, length: usize, limits: &FrameLimits) -> Result<(), ParseError> {
        // One more byte for a carriage return.
        if self.line == 0 && length > limits.command_bytes_max + 1 {
            return Err(ParseError::CommandTooLong);
        }
        if length > limits.header_bytes_max + 1 { Err(ParseError::HeaderTooLong) } else { Ok(()) }
    }

    fn header(&mut self, line: &[u8], limits: &FrameLimits) -> Result<(), ParseError> {
        if self.spans.len() >= limits.headers_max {
            return Err(ParseError::TooManyHeaders);
        }
        let colon = memchr(b':', line).filter(|at| *at > 0).ok_or(ParseError::MalformedHeader)?;
        let at = |offset: usize| u32::try_from(self.line + offset).map_err(|_| ParseError::FrameTooLarge);
        self.spans.push(Span { name: (at(0)?, at(colon)?), value: (at(colon + 1)?, at(line.len())?) });
        Ok(())
    }

    /// The first `content-length` among the headers. Neither its name nor a number needs escapes.
    fn content_length(&self, input: &[u8]) -> Result<Option<usize>, ParseError> {
        let part = |(start, end): (u32, u32)| input.get(start as usize..end as usize).unwrap_or_default();
        let Some(span) = self.spans.iter().find(|span| part(span.name) == b"content-length") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(part(span.value)).map_err(|_| ParseError::BadContentLength)?.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseError::BadContentLength);
        }
        // A number too large for us is still a number.
        text.parse().map(Some).map_err(|_| ParseError::FrameTooLarge)
    }

    /// Offset of the NUL that ends the frame, once it is there.
    fn body_end(
        &mut self,
        input: &[u8],
        start: usize,
        length: Option<usize>,
        frame_bytes_max: usize,
    ) -> Result<Option<usize>, ParseError> {
        let Some(length) = length else {
            let found = memchr(0, input.get(self.scanned..).unwrap_or_default());
            let end = found.map_or(input.len(), |at| self.scanned + at);
            self.scanned = end;
            return if end > frame_bytes_max {
                Err(ParseError::FrameTooLarge)
            } else {
                Ok(found.map(|_| end))
            };
        };
        let end = start.saturating_add(length);
        if end > frame_bytes_max {
            return Err(ParseError::FrameTooLarge);
        }
        match input.get(end) {
            None => Ok(None),
            Some(0) => Ok(Some(end)),
            Some(_) => Err(ParseError::NoNul),
        }
    }

    /// Cuts the frame out of the input and gets ready for the next one.
    fn finish(
        &mut self,
        input: &mut BytesMut,
        start: usize,
        end: usize,
        version: Version,
    ) -> Result<Frame, ParseError> {
        let done = std::mem::take(self);
        let text = input.split_to(start).freeze();
        let body = input.split_to(end.saturating_sub(start)).freeze();
        input.advance(1);
        let escaped = memchr(b'\\', &text).is_some();
        let mut frame = Frame {
            command_len: u32::try_from(done.command_len).unwrap_or_default(),
            text: Name::try_from(text).map_err(|_| ParseError::NotUtf8)?,
            spans: done.spans,
            body,
        };
        match (frame.command(), version) {
            // "C style string literal escapes are used ... in all frames except the CONNECT and CONNECTED frames".
            (Command::Connect, _) => {}
            (_, Version::V10) => trim_values(&mut frame),
            _ if escaped => frame = unescaped(&frame, version)?,
            _ => {}
        }
        Ok(frame)
    }
}

/// STOMP 1.0 pads header values as its clients like; only the left side is known to be padding.
fn trim_values(frame: &mut Frame) {
    let text = frame.text.as_bytes();
    for span in &mut frame.spans {
        let value = text.get(span.value.0 as usize..span.value.1 as usize).unwrap_or_default();
        let spaces = value.iter().take_while(|byte| **byte == b' ').count();
        span.value.0 += u32::try_from(spaces).unwrap_or_default();
    }
}

/// The same frame with its escapes resolved; the few frames that have any are rebuilt.
fn unescaped(frame: &Frame, version: Version) -> Result<Frame, ParseError> {
    let mut text = String::with_capacity(frame.text.len());
    text.push_str(frame.command_text());
    let mut spans = Spans::with_capacity(frame.spans.len());
    // The text only shrinks, and its offsets fitted before.
    let at = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
    for (name, value) in frame.headers() {
        let start = at(&text);
        unescape(name, version, &mut text).map_err(|_| ParseError::UnknownEscape)?;
        let middle = at(&text);
        unescape(value, version, &mut text).map_err(|_| ParseError::UnknownEscape)?;
        spans.push(Span { name: (start, middle), value: (middle, at(&text)) });
    }
    Ok(Frame {
        command_len: frame.command_len,
        text: Name::from(text),
        spans,
        body: Bytes::clone(&frame.body),
    })
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
