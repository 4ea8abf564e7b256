//! HTTP/1.1 over any stream: one connection served until it ends, and request bodies with their limits.
//!
//! Owns: time-outs and limits of requests. Refuses: what a path means; that is the doors' (`aws/`, `admin/`).

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::Name;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// How long a connection may take to send a request's head, idle time before it included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests in progress may go on at shutdown.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Longest head of a request; presigned requests carry whole messages in it.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Incomplete, or longer than allowed.
    TooLarge,
    /// It did not come in time.
    TimedOut,
}

/// Serves one connection until it ends or `shutdown`; says why it ended.
pub(crate) async fn serve<S, A, F>(stream: S, answer: A, shutdown: CancellationToken) -> Name
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // Long polls would hold the drain up for their whole wait; they are cut off after a grace.
            let _ = tokio::time::timeout(DRAIN_GRACE, connection.as_mut()).await;
            return Name::from_static("the broker is shutting down");
        }
    };
    match ended {
        Ok(()) => Name::from_static("closed by the client"),
        Err(error) => error.to_string().into(),
    }
}

/// All of a request's body, at most `max` bytes.
pub(crate) async fn read_body(body: Incoming, max: usize) -> Result<Bytes, BodyError> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::TimedOut),
    }
}
