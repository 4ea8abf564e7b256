//! What a request asks for: told by target header, action parameter, credential scope and path, as AWS does.

use crate::error::{ApiError, common};
use crate::service::{SERVICES, Service};
use crate::sigv4::Request;
use crate::{arn, form, query};
use std::borrow::Cow;

/// The protocol that the client speaks and wants its answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0 or 1.1.
    Json {
        /// The client sent `x-amzn-query-mode: true` and wants query error codes in a header.
        query_mode: bool,
    },
    /// Query parameters in, XML out.
    Query,
}

/// One call.
#[derive(Debug)]
pub struct Call<'a> {
    /// Service.
    pub service: Service,
    /// Operation, by the model's own name.
    pub operation: &'static str,
    /// How to answer.
    pub protocol: Protocol,
    /// Input as JSON, whatever the protocol was.
    pub input: Cow<'a, [u8]>,
}

/// A call that can not be made: the error and how to say it.
#[derive(Debug)]
pub struct Refusal {
    /// Service, as far as it is known.
    pub service: Service,
    /// How to answer.
    pub protocol: Protocol,
    /// Why not.
    pub error: ApiError,
}

/// Whom a request is for and how to answer it, as far as that shows before its body is read.
pub fn addressee(request: &Request<'_>, scope: Option<&str>) -> (Service, Protocol) {
    let scoped = scope.and_then(Service::of_signing_name);
    match request.header("x-amz-target") {
        Some(target) => {
            let prefix = target.split('.').next().unwrap_or_default();
            (Service::of_target(prefix).or(scoped).unwrap_or(Service::Sqs), json_protocol(request))
        }
        None => (scoped.unwrap_or(Service::Sqs), Protocol::Query),
    }
}

fn json_protocol(request: &Request<'_>) -> Protocol {
    let query_mode =
        request.header("x-amzn-query-mode").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Protocol::Json { query_mode }
}

/// Reads a request. `scope` is the service of its credential scope, if it is signed.
/// Errors: `UnknownOperation`, `Serialization`.
pub fn route<'a>(request: &Request<'a>, scope: Option<&str>) -> Result<Call<'a>, Refusal> {
    match request.header("x-amz-target") {
        Some(target) => by_target(request, target),
        None => by_action(request, scope),
    }
}

fn by_target<'a>(request: &Request<'a>, target: &str) -> Result<Call<'a>, Refusal> {
    let protocol = json_protocol(request);
    let (prefix, name) = target.split_once('.').unwrap_or((target, ""));
    let service = Service::of_target(prefix);
    let refuse = |error| Refusal { service: service.unwrap_or(Service::Sqs), protocol, error };
    let operation = service.and_then(|service| Some((service, service.operation(name)?)));
    let Some((service, operation)) = operation else {
        return Err(refuse(common::UNKNOWN_OPERATION.error(format!("Unknown operation {target}."))));
    };
    if request.header("content-type").is_some_and(|kind| kind.contains("cbor")) {
        return Err(refuse(common::SERIALIZATION.error(
            "The CBOR protocol is not supported yet; have the client speak JSON (AWS_CBOR_DISABLE=1).",
        )));
    }
    let input = if request.body.is_empty() { b"{}" } else { request.body };
    Ok(Call { service, operation, protocol, input: Cow::Borrowed(input) })
}

fn by_action<'a>(request: &Request<'a>, scope: Option<&str>) -> Result<Call<'a>, Refusal> {
    let scoped = scope.and_then(Service::of_signing_name);
    let refuse = |service: Option<Service>, error| Refusal {
        service: service.unwrap_or(Service::Sqs),
        protocol: Protocol::Query,
        error,
    };
    let Ok(body) = std::str::from_utf8(request.body) else {
        return Err(refuse(scoped, common::SERIALIZATION.error("The request body is not UTF-8.")));
    };
    let parameters = match (request.query.is_empty(), body.is_empty()) {
        (false, true) => Cow::Borrowed(request.query),
        (false, false) => Cow::Owned(format!("{}&{body}", request.query)),
        (true, _) => Cow::Borrowed(body),
    };
    let action = form::value(&parameters, "Action").unwrap_or_default();
    let version = form::value(&parameters, "Version");
    let by_version = match version.as_deref() {
        Some("2012-11-05") => Some(Service::Sqs),
        Some("2010-03-31") => Some(Service::Sns),
        Some("2011-06-15") => Some(Service::Sts),
        _ => None,
    };
    let by_name = || SERVICES.into_iter().find(|service| service.operation(&action).is_some());
    let service = scoped.or(by_version).or_else(by_name).filter(|service| !service.namespace().is_empty());
    let operation = service.and_then(|service| Some((service, service.operation(&action)?)));
    let Some((service, operation)) = operation else {
        let text = if action.is_empty() {
            "Neither an X-Amz-Target header nor an Action parameter says what to do.".to_owned()
        } else {
            format!("The action {action} is not valid for this web service.")
        };
        return Err(refuse(service, common::UNKNOWN_OPERATION.error(text)));
    };
    let Some(mut input) = query::to_json(service, &parameters) else {
        return Err(refuse(
            Some(service),
            common::SERIALIZATION.error("The request has too many parameters."),
        ));
    };
    if let (Service::Sqs, Some(members)) = (service, input.as_object_mut())
        && !members.contains_key("QueueUrl")
        && arn::queue_of_url(request.path).is_some()
    {
        members.insert("QueueUrl".to_owned(), form::decode(request.path, false).into());
    }
    Ok(Call {
        service,
        operation,
        protocol: Protocol::Query,
        input: Cow::Owned(input.to_string().into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn check(headers: &[(&str, &str)], path: &str, query: &str, body: &str, scope: Option<&str>) -> String {
        let request = Request { method: "POST", path, query, headers, body: body.as_bytes() };
        match route(&request, scope) {
            Ok(call) => format!(
                "{} {} {}",
                call.service.signing_name(),
                call.operation,
                String::from_utf8(call.input.into_owned()).unwrap()
            ),
            Err(refusal) => refusal.error.code.shape.to_owned(),
        }
    }

    #[test]
    fn tells_services_apart() {
        let target = |value: &'static str| [("x-amz-target", value)];
        assert_eq!(check(&target("AmazonSQS.ListQueues"), "/", "", "", None), "sqs ListQueues {}");
        assert_eq!(
            check(&target("Kinesis_20131202.ListStreams"), "/", "", "{\"a\":1}", None),
            "kinesis ListStreams {\"a\":1}"
        );
        assert_eq!(check(&target("AmazonSQS.Nope"), "/", "", "", None), "UnknownOperationException");
        assert_eq!(
            check(&[], "/", "", "Action=TagResource&X=1", Some("sns")),
            "sns TagResource {\"X\":\"1\"}"
        );
        assert_eq!(check(&[], "/", "", "Action=ListTopics", None), "sns ListTopics {}");
        assert_eq!(
            check(&[], "/000000000000/q", "Action=DeleteQueue", "", None),
            "sqs DeleteQueue {\"QueueUrl\":\"/000000000000/q\"}"
        );
        assert_eq!(
            check(&[], "/", "", "Action=AddPermission&Version=2010-03-31", None),
            "sns AddPermission {}"
        );
        assert_eq!(check(&[], "/", "", "", None), "UnknownOperationException");
        assert_eq!(check(&[], "/", "", "Action=PutEvents", Some("events")), "UnknownOperationException");
    }

    proptest! {
        #[test]
        fn never_panics(target in prop::option::of(".{0,40}"), path in ".{0,40}", body in prop::collection::vec(any::<u8>(), 0..80)) {
            let headers: Vec<_> = target.iter().map(|target| ("x-amz-target", target.as_str())).collect();
            let request = Request { method: "GET", path: &path, query: "Action=SendMessage", headers: &headers, body: &body };
            let _ = route(&request, Some("sqs"));
        }
    }
}
