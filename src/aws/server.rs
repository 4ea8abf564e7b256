//! HTTP/1.1: reads requests, finds whose they are, and writes answers the way the client's protocol wants them.

use super::context::{Answer, Context};
use super::{AwsDoor, events, kinesis, sns, sqs, sts};
use crate::net::http::{self, BodyError};
use aws_protocol::error::{ApiError, common};
use aws_protocol::json::Object;
use aws_protocol::route::{self, Call, Protocol, Refusal};
use aws_protocol::service::Service;
use aws_protocol::sigv4::{Claim, Request as SignedRequest};
use aws_protocol::{native, xml};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use model::Name;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Serves one connection until it ends or `shutdown`; says why it ended. `tls` decides the scheme of queue URLs.
pub(crate) async fn serve_connection<S>(
    stream: S,
    door: Arc<AwsDoor>,
    tls: bool,
    shutdown: CancellationToken,
) -> Name
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = move |request| {
        let door = Arc::clone(&door);
        async move { answer(&door, request, tls).await }
    };
    http::serve(stream, answer, shutdown).await
}

async fn answer(door: &AwsDoor, request: Request<Incoming>, tls: bool) -> Response<Full<Bytes>> {
    let request_id = native::uuid(&door.ids.next());
    let (head, body) = request.into_parts();
    let headers: Vec<(&str, &str)> =
        head.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let signed = |body| SignedRequest {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &headers,
        body,
    };
    let (service, protocol) = route::addressee(&signed(b""), None);
    let body = match read_body(body, door.config.body_bytes_max).await {
        Ok(body) => body,
        Err(error) => return refuse(&Refusal { service, protocol, error }, &request_id),
    };
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let scheme = if tls { "https" } else { "http" };
    match perform(door, &signed(&body), host, scheme).await {
        Ok(Done { service, protocol, operation, output }) => {
            accept(service, protocol, operation, output, &request_id)
        }
        Err(refusal) => refuse(&refusal, &request_id),
    }
}

async fn read_body(body: Incoming, max: usize) -> Result<Bytes, ApiError> {
    http::read_body(body, max).await.map_err(|error| match error {
        BodyError::TooLarge => {
            common::TOO_LARGE.error(format!("The request body is incomplete or longer than {max} bytes."))
        }
        BodyError::TimedOut => common::SERIALIZATION.error("The request body did not arrive in time."),
    })
}

struct Done {
    service: Service,
    protocol: Protocol,
    operation: &'static str,
    output: Option<String>,
}

async fn perform(
    door: &AwsDoor,
    request: &SignedRequest<'_>,
    host: &str,
    scheme: &'static str,
) -> Result<Done, Refusal> {
    let now = door.caller.now();
    let unclear = |error| {
        let (service, protocol) = route::addressee(request, None);
        Refusal { service, protocol, error }
    };
    let claim = Claim::read(request).map_err(unclear)?;
    let scope = claim.as_ref().map(|claim| claim.service.as_ref());
    let (service, protocol) = route::addressee(request, scope);
    let identity = door.identify(request, claim.as_ref(), protocol, now).map_err(|error| Refusal {
        service,
        protocol,
        error,
    })?;
    let Call { service, operation, protocol, input } = route::route(request, scope)?;
    if door.config.verify && scope.is_some_and(|scope| scope != service.signing_name()) {
        let text = format!("Credential should be scoped to correct service: '{}'.", service.signing_name());
        return Err(Refusal { service, protocol, error: common::SIGNATURE_MISMATCH.error(text) });
    }
    let place = door.home.place(&identity.account, &identity.region);
    let context = Context { door, identity, place, scheme, host, now };
    match dispatch(&context, service, operation, &input).await {
        Ok(output) => Ok(Done { service, protocol, operation, output }),
        Err(error) => Err(Refusal { service, protocol, error }),
    }
}

async fn dispatch(context: &Context<'_>, service: Service, operation: &'static str, input: &[u8]) -> Answer {
    match service {
        Service::Sqs => sqs::handle(context, operation, input).await,
        Service::Sns => sns::handle(context, operation, input).await,
        Service::Events => events::handle(context, operation, input).await,
        Service::Kinesis => kinesis::handle(context, operation, input).await,
        Service::Sts => sts::handle(context, operation),
    }
}

fn accept(
    service: Service,
    protocol: Protocol,
    operation: &str,
    output: Option<String>,
    request_id: &str,
) -> Response<Full<Bytes>> {
    match protocol {
        Protocol::Json { .. } => {
            response(StatusCode::OK, service.json_type(), request_id, output.unwrap_or_default())
        }
        Protocol::Query => {
            let tree = output.and_then(|json| serde_json::from_str(&json).ok());
            let body = xml::response(service, operation, tree.as_ref(), request_id);
            response(StatusCode::OK, "text/xml", request_id, body)
        }
    }
}

fn refuse(refusal: &Refusal, request_id: &str) -> Response<Full<Bytes>> {
    let Refusal { service, protocol, error } = refusal;
    let status = StatusCode::from_u16(error.code.status).unwrap_or(StatusCode::BAD_REQUEST);
    tracing::debug!(
        service = service.signing_name(),
        code = error.code.query,
        text = &*error.message,
        "refused"
    );
    let Protocol::Json { query_mode } = protocol else {
        return response(status, "text/xml", request_id, xml::error(*service, error, request_id));
    };
    let mut body = String::with_capacity(128);
    let mut object = Object::begin(&mut body);
    object.text("__type", &format!("{}{}", service.error_prefix(), error.code.shape));
    object.text("message", &error.message);
    object.end();
    let mut response = response(status, service.json_type(), request_id, body);
    let headers = response.headers_mut();
    headers.insert("x-amzn-errortype", HeaderValue::from_static(error.code.shape));
    if *query_mode
        && let Ok(value) = HeaderValue::from_str(&format!("{};{}", error.code.query, error.fault()))
    {
        headers.insert("x-amzn-query-error", value);
    }
    response
}

fn response(status: StatusCode, kind: &'static str, request_id: &str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
