//! HTTP/1.1 for the management door: who asks, what is asked, and the answer on the wire.

use super::AdminDoor;
use super::request::{
    self, Answer, Outcome, Refusal, Request, anonymous, bad_request, login_failed, not_authorised, not_found,
};
use super::routes;
use crate::auth::account::Account;
use crate::config::Anonymous;
use crate::net::http;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use hyper::{Method, Response, StatusCode};
use model::{Name, command::Credentials, session::SessionSeed};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Largest request body: definitions of a large broker.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Tags of which one is needed to be let in.
const TAGS: [&str; 3] = ["monitoring", "policymaker", "management"];

/// Serves one connection until it ends or `shutdown`; says why it ended.
pub(crate) async fn serve<S>(
    stream: S,
    door: Arc<AdminDoor>,
    seed: SessionSeed,
    shutdown: CancellationToken,
) -> Name
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seed = Arc::new(seed);
    let answer = move |request: hyper::Request<Incoming>| {
        let (door, seed) = (door.clone(), seed.clone());
        async move { respond(answer(&door, request, &seed).await) }
    };
    http::serve(stream, answer, shutdown).await
}

async fn answer(door: &AdminDoor, request: hyper::Request<Incoming>, seed: &SessionSeed) -> Outcome {
    let (head, body) = request.into_parts();
    let path = request::segments(head.uri.path())?;
    let method = if head.method == Method::HEAD { Method::GET } else { head.method };
    // What orchestrators and Prometheus ask has no secrets, and they have no password.
    if let Some(open) = routes::open(door, &method, &path, head.uri.query().unwrap_or_default()).await {
        return open;
    }
    if path.first().is_none_or(|first| first != "api") {
        return Err(not_found());
    }
    let user = authenticate(door, &head.headers, seed)?;
    let body = http::read_body(body, BODY_BYTES_MAX).await.map_err(|_| bad_request("body is too long"))?;
    let body = body.trim_ascii();
    let body = if body.is_empty() { Ok(Json::Null) } else { serde_json::from_slice(body) };
    let definitions = path.get(1).is_some_and(|second| second == "definitions");
    let unreadable = if definitions { "failed_to_parse_json" } else { "not_json" };
    let request = Request {
        method,
        query: request::parameters(head.uri.query().unwrap_or_default())?,
        body: body.map_err(|_| bad_request(unreadable))?,
        reason: head.headers.get("x-reason").and_then(|reason| reason.to_str().ok()).map(str::to_owned),
        user,
        path,
    };
    routes::answer(door, &request).await
}

/// Who sends these headers. Errors: 401.
fn authenticate(door: &AdminDoor, headers: &HeaderMap, seed: &SessionSeed) -> Result<Account, Refusal> {
    let header = headers.get(AUTHORIZATION).ok_or_else(anonymous)?;
    let encoded = header.to_str().ok().and_then(|text| text.strip_prefix("Basic "));
    let decoded = encoded.and_then(|text| BASE64.decode(text.trim()).ok()).ok_or_else(login_failed)?;
    let colon = decoded.iter().position(|byte| *byte == b':').ok_or_else(login_failed)?;
    let (user, password) = decoded.split_at(colon);
    let user = Name::try_from(user).map_err(|_| login_failed())?;
    let password = Bytes::copy_from_slice(password.get(1..).unwrap_or_default());
    let credentials = Credentials::Password { user, password };
    let users = &door.shared.users;
    let name = users.enter(&credentials, &Name::new(), seed, Anonymous::No, |_| false).map_err(|_| {
        tracing::warn!(peer = &*seed.peer, ?credentials, "login to the management API refused");
        login_failed()
    })?;
    let account = users.account(&name).ok_or_else(login_failed)?;
    let let_in = |tag: &String| tag == "administrator" || TAGS.contains(&tag.as_str());
    if account.tags.iter().any(let_in) { Ok(account) } else { Err(not_authorised("Not management user")) }
}

fn respond(outcome: Outcome) -> Response<Full<Bytes>> {
    let mut response = match outcome {
        Ok(Answer::Json(json)) => with_json(StatusCode::OK, &json),
        Ok(Answer::Text(text)) => {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Ok(Answer::Created) => bare(StatusCode::CREATED),
        Ok(Answer::CreatedAt(location)) => {
            let mut response = bare(StatusCode::CREATED);
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        Ok(Answer::NoContent) => bare(StatusCode::NO_CONTENT),
        Ok(Answer::Unhealthy(json)) => with_json(StatusCode::SERVICE_UNAVAILABLE, &json),
        Err(refusal) => refuse(&refusal),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn refuse(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut response = match refusal.error {
        "" => bare(refusal.status),
        error => with_json(refusal.status, &json!({ "error": error, "reason": refusal.reason })),
    };
    let headers = response.headers_mut();
    match (refusal.status, refusal.error) {
        (StatusCode::UNAUTHORIZED, "" | "not_authorized") => {
            let realm = HeaderValue::from_static("Basic realm=\"Waystation Management\"");
            headers.insert(WWW_AUTHENTICATE, realm);
        }
        (StatusCode::METHOD_NOT_ALLOWED, _) => {
            headers.insert(ALLOW, HeaderValue::from_static("HEAD, GET, PUT, POST, DELETE"));
        }
        _ => {}
    }
    response
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn with_json(status: StatusCode, json: &Json) -> Response<Full<Bytes>> {
    let mut response = bare(status);
    *response.body_mut() = Full::new(Bytes::from(json.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
