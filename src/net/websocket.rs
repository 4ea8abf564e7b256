//! WebSocket (RFC 6455) as a byte stream: what the peer's messages carry, joined, and what is written, as messages.
//!
//! Owns: the handshake, the choice between text and binary, pings and the closing handshake (done by the library).
//! Refuses: to know where a protocol's frames begin or end.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream, ready};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::{
    Error, Message, Utf8Bytes,
    error::ProtocolError,
    handshake::server::{Callback, ErrorResponse, Request, Response},
    http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    protocol::WebSocketConfig,
};

/// Most bytes of one message that we send; longer output goes as several.
const SEND_MAX: usize = 1024 * 1024;

/// What the door speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// Subprotocols that are echoed; the peer's first one among them is chosen.
    pub(crate) subprotocols: &'a [&'a str],
    /// Paths that are served.
    pub(crate) paths: &'a [&'a str],
    /// Largest message that a peer may send.
    pub(crate) message_bytes_max: usize,
    /// Text messages are taken, and sent wherever the bytes are UTF-8; otherwise all is binary and text is an error.
    pub(crate) text: bool,
}

struct Handshake<'a>(Options<'a>);

impl Callback for Handshake<'_> {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let Handshake(options) = self;
        if !options.paths.contains(&request.uri().path()) {
            let mut refusal = ErrorResponse::new(Some("there is no such path here\n".to_owned()));
            *refusal.status_mut() = StatusCode::NOT_FOUND;
            return Err(refusal);
        }
        let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
        let chosen = offered
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(','))
            .find(|name| options.subprotocols.contains(&name.trim()));
        // A peer that offers none, or none of ours, is served all the same: it is for the peer to mind.
        if let Some(chosen) = chosen.and_then(|name| HeaderValue::from_str(name.trim()).ok()) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        Ok(response)
    }
}

/// Does the server's side of the handshake. Errors: the peer went, spoke no WebSocket, or asked for an unknown path.
pub(crate) async fn accept<S>(stream: S, options: &Options<'_>) -> io::Result<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let max = Some(options.message_bytes_max);
    let config = WebSocketConfig::default().max_message_size(max).max_frame_size(max);
    let inner =
        accept_hdr_async_with_config(stream, Handshake(*options), Some(config)).await.map_err(to_io)?;
    Ok(WebSocketStream { inner, text: options.text, unread: Bytes::new(), ended: false })
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// A WebSocket connection that reads and writes like a socket.
pub(crate) struct WebSocketStream<S> {
    inner: tokio_tungstenite::WebSocketStream<S>,
    text: bool,
    unread: Bytes,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// The payload of the next message that has one; empty at the end.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(Bytes::new()));
            }
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(payload))) if !payload.is_empty() => return Poll::Ready(Ok(payload)),
                Some(Ok(Message::Text(_))) if !self.text => {
                    let text = "this protocol needs binary WebSocket messages";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Text(payload))) if !payload.is_empty() => {
                    return Poll::Ready(Ok(payload.into()));
                }
                // Empty messages say nothing. Pings are answered, and a close is, while we go on polling.
                Some(Ok(_)) => {}
                None
                | Some(Err(
                    Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                )) => self.ended = true,
                Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
            }
        }
    }

    /// The message for `bytes`, and how many of them it takes: a character that is cut at the end waits for its rest.
    fn message(&self, mut bytes: Bytes) -> (Message, usize) {
        if self.text {
            if let Err(error) = std::str::from_utf8(&bytes)
                && error.error_len().is_none()
                && error.valid_up_to() > 0
            {
                bytes.truncate(error.valid_up_to());
            }
            if let Ok(text) = Utf8Bytes::try_from(bytes.clone()) {
                return (Message::Text(text), bytes.len());
            }
        }
        let length = bytes.len();
        (Message::Binary(bytes), length)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.unread.is_empty() {
            this.unread = ready!(this.poll_payload(cx))?;
        }
        let count = this.unread.len().min(buffer.remaining());
        buffer.put_slice(this.unread.get(..count).unwrap_or_default());
        this.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// One message for all slices, so that a frame whose body is a slice of its own arrives whole.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_ready(cx)).map_err(to_io)?;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut bytes = BytesMut::with_capacity(total.min(SEND_MAX));
        for slice in slices {
            let room = SEND_MAX - bytes.len();
            bytes.extend_from_slice(slice.get(..room.min(slice.len())).unwrap_or_default());
        }
        let (message, count) = this.message(bytes.freeze());
        Pin::new(&mut this.inner).start_send(message).map_err(to_io)?;
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_flush(cx)) {
            Err(Error::ConnectionClosed | Error::AlreadyClosed) | Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(to_io(error))),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_close(cx)) {
            Err(Error::ConnectionClosed | Error::AlreadyClosed) | Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(to_io(error))),
        }
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
