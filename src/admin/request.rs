//! A request as the paths see it, and what they answer.

use crate::auth::rights::{Access, Rights};
use crate::auth::{Users, account::Account};
use hyper::{Method, StatusCode};
use model::{
    Name,
    error::{BrokerError, ErrorKind},
};
use serde_json::{Map, Value as Json, json};

/// Most segments of a path.
const SEGMENTS_MAX: usize = 12;
/// Most parameters of a query.
const PARAMETERS_MAX: usize = 32;

/// A request whose sender is known.
pub(super) struct Request {
    /// Method; HEAD comes as GET.
    pub(super) method: Method,
    /// Decoded segments of the path.
    pub(super) path: Vec<String>,
    /// Decoded parameters.
    pub(super) query: Vec<(String, String)>,
    /// Body; `Null` when there is none.
    pub(super) body: Json,
    /// Header `X-Reason`.
    pub(super) reason: Option<String>,
    /// Who asks.
    pub(super) user: Account,
}

/// What goes back.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// 200 with JSON.
    Json(Json),
    /// 200 with Prometheus text.
    Text(String),
    /// 201.
    Created,
    /// 201 with a `location`.
    CreatedAt(String),
    /// 204.
    NoContent,
    /// A health check that failed: 503.
    Unhealthy(Json),
}

/// Why not.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    /// Status code.
    pub(super) status: StatusCode,
    /// RabbitMQ's word for it; empty goes without a body.
    pub(super) error: &'static str,
    /// Its sentence.
    pub(super) reason: Json,
}

/// What every path gives.
pub(super) type Outcome = Result<Answer, Refusal>;

fn refusal(status: StatusCode, error: &'static str, reason: impl Into<Json>) -> Refusal {
    Refusal { status, error, reason: reason.into() }
}

/// 404 for a path or a thing in it.
pub(super) fn not_found() -> Refusal {
    refusal(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
}

/// 404 for something that a request needs.
pub(super) fn missing(reason: impl Into<Json>) -> Refusal {
    refusal(StatusCode::NOT_FOUND, "not_found", reason)
}

/// 400.
pub(super) fn bad_request(reason: impl Into<Json>) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, "bad_request", reason)
}

/// 400 of a listing.
pub(super) fn bad_page(error: &'static str, reason: String) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, error, reason)
}

/// 401 for somebody who is known and may not.
pub(super) fn not_authorised(reason: impl Into<Json>) -> Refusal {
    refusal(StatusCode::UNAUTHORIZED, "not_authorised", reason)
}

/// 401 for somebody who is not known.
pub(super) fn login_failed() -> Refusal {
    refusal(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed")
}

/// 401 for nobody.
pub(super) fn anonymous() -> Refusal {
    refusal(StatusCode::UNAUTHORIZED, "", Json::Null)
}

/// 405.
pub(super) fn not_allowed() -> Refusal {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "", Json::Null)
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        let text = error.text.to_string();
        match error.kind {
            ErrorKind::NotFound => missing(text),
            ErrorKind::AccessRefused => not_authorised(text),
            ErrorKind::Unavailable => refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text),
            ErrorKind::Internal => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", text),
            _ => bad_request(text),
        }
    }
}

/// `%XX` as bytes. Errors: 400 for what is not UTF-8 afterwards.
pub(super) fn decode(text: &str, plus_is_space: bool) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match pair.and_then(|[high, low]| Some(hex(*high)? << 4 | hex(*low)?)) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *first == b'+' && plus_is_space { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| bad_request("path or query is not UTF-8"))
}

/// A path's segments. Errors: 400, and 404 for too many.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    // A slash at the end changes nothing, but a name may be empty: `/bindings/%2F/e//q/x`.
    let segments = match segments.as_slice() {
        [rest @ .., ""] => rest,
        all => all,
    };
    if segments.len() > SEGMENTS_MAX {
        return Err(not_found());
    }
    segments.iter().map(|segment| decode(segment, false)).collect()
}

/// A query's parameters. Errors: 400.
pub(super) fn parameters(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX);
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

impl Request {
    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that says `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameter(name) == Some("true")
    }

    /// The body's members; none when there is no body. Errors: 400 when it is no object.
    pub(super) fn members(&self) -> Result<Members<'_>, Refusal> {
        members(&self.body)
    }

    /// The user has one of these tags, or is an administrator.
    pub(super) fn has_tag(&self, tags: &[&str]) -> bool {
        self.user.tags.iter().any(|tag| tag == "administrator" || tags.contains(&tag.as_str()))
    }

    /// Errors: 401 for all but administrators.
    pub(super) fn check_administrator(&self) -> Result<(), Refusal> {
        if self.has_tag(&[]) { Ok(()) } else { Err(not_authorised("Not administrator user")) }
    }

    /// Errors: 401 for those who may not see everything.
    pub(super) fn check_monitor(&self) -> Result<(), Refusal> {
        if self.has_tag(&["monitoring"]) { Ok(()) } else { Err(not_authorised("Not monitor user")) }
    }

    /// Errors: 401 for those who may not change policies.
    pub(super) fn check_policymaker(&self) -> Result<(), Refusal> {
        let text = "User not authorised to access object";
        if self.has_tag(&["policymaker"]) { Ok(()) } else { Err(not_authorised(text)) }
    }

    /// Whether things of a virtual host are shown to the user.
    pub(super) fn sees(&self, users: &Users, vhost: &Name) -> bool {
        self.has_tag(&["monitoring"]) || users.rights(&self.user.name, vhost).is_some()
    }

    /// What the user may do in a virtual host. Errors: 401 when it may not enter.
    pub(super) fn rights(&self, users: &Users, vhost: &Name) -> Result<Rights, Refusal> {
        let refused = || not_authorised("User not authorised to access virtual host");
        users.rights(&self.user.name, vhost).ok_or_else(refused)
    }

    /// Errors: 401 where the user may not do this to a queue or exchange.
    pub(super) fn check(
        &self,
        users: &Users,
        access: Access,
        (what, name): (&str, &str),
        vhost: &Name,
    ) -> Result<(), Refusal> {
        self.rights(users, vhost)?.check(access, what, name, vhost)?;
        Ok(())
    }
}

/// Members of a JSON object, with RabbitMQ's refusals.
#[derive(Clone, Copy)]
pub(super) struct Members<'a>(Option<&'a Map<String, Json>>);

/// The members of `json`; `Null` and an empty list have none. Errors: 400 for anything else than an object.
pub(super) fn members(json: &Json) -> Result<Members<'_>, Refusal> {
    match json {
        Json::Null => Ok(Members(None)),
        Json::Array(none) if none.is_empty() => Ok(Members(None)),
        Json::Object(object) => Ok(Members(Some(object))),
        _ => Err(bad_request("not_json")),
    }
}

impl<'a> Members<'a> {
    /// One member.
    pub(super) fn get(&self, name: &str) -> Option<&'a Json> {
        self.0?.get(name)
    }

    /// Errors: 400 naming all that are missing.
    pub(super) fn require(&self, names: &[&str]) -> Result<(), Refusal> {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| self.get(name).is_none())
            .map(|name| format!("{{key_missing,{name}}}"))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(bad_request(format!("[{}]", missing.join(",\n ")))) }
    }

    /// A text; `None` when absent. Errors: 400 for another type.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(bad_request(json!(["not_string", other]))),
        }
    }

    /// A truth value; `None` when absent. Errors: 400 for another type.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(Json::String(word)) if word == "true" || word == "false" => Ok(Some(word == "true")),
            Some(other) => Err(bad_request(json!(["not_boolean", other]))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded() {
        assert_eq!(segments("/api/queues/%2F/a%20b").unwrap(), ["api", "queues", "/", "a b"]);
        assert_eq!(
            segments("/api/bindings/%2F/e//q/x/").unwrap(),
            ["api", "bindings", "/", "e", "", "q", "x"]
        );
        assert_eq!(decode("100%", false).unwrap(), "100%");
        assert!(segments("/%FF").is_err() && segments(&"/a".repeat(20)).is_err());
        let expected = [("name", "a b"), ("use_regex", "true")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(parameters("name=a+b&use_regex=true").unwrap(), expected);
    }

    #[test]
    fn members_are_refused_in_rabbitmqs_words() {
        let body = json!({ "durable": "yes", "text": 1 });
        let members = members(&body).unwrap();
        assert_eq!(members.flag("durable"), Err(bad_request(json!(["not_boolean", "yes"]))));
        assert_eq!(
            members.require(&["durable", "a", "b"]),
            Err(bad_request("[{key_missing,a},\n {key_missing,b}]"))
        );
        assert!(members.text("text").is_err() && members.text("absent").unwrap().is_none());
    }
}
