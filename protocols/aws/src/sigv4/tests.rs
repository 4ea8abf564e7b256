//! Vectors: the published suite's first case, and requests signed by a real SDK.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use proptest::prelude::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: &str = "20261121T053000Z";

fn check(request: &Request<'_>, now: &str, service: &str) {
    let claim = Claim::read(request).unwrap().unwrap();
    assert_eq!(claim.access_key, "AKIDEXAMPLE");
    assert_eq!(claim.service, service);
    let now = time::parse_basic(now).unwrap();
    assert_eq!(claim.verify(request, SECRET, now), Ok(()));
    assert!(claim.verify(request, SECRET, now + SKEW_MS - 1).is_ok());
    assert_eq!(claim.verify(request, SECRET, now + SKEW_MS + 1).unwrap_err().code, &common::REQUEST_EXPIRED);
    assert_eq!(claim.verify(request, "other", now).unwrap_err().code, &common::SIGNATURE_MISMATCH);
    let changed = Request { method: "PUT", ..*request };
    assert_eq!(claim.verify(&changed, SECRET, now).unwrap_err().code, &common::SIGNATURE_MISMATCH);
}

#[test]
fn published_vanilla_case() {
    let headers = [
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
    ];
    let request = Request { method: "GET", path: "/", query: "", headers: &headers, body: b"" };
    check(&request, "20150830T123600Z", "service");
}

#[test]
fn json_request_of_an_sdk() {
    let headers = [
        ("host", "localhost:4566"),
        ("x-amz-target", "AmazonSQS.ListQueues"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-date", NOW),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/sqs/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature=867c71d5d8f0b40091d2feef071e2779cdf5ff1e9174355e2085d6df7ae99875",
        ),
    ];
    let request = Request { method: "POST", path: "/", query: "", headers: &headers, body: b"{}" };
    check(&request, NOW, "sqs");
}

#[test]
fn odd_path_and_headers_of_an_sdk() {
    let headers = [
        ("host", "localhost:4566"),
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("x-odd", "  a   b "),
        ("x-amz-date", NOW),
        ("x-amz-security-token", "tok/en+x="),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-west-1/sns/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-odd, \
             Signature=6b569935f625158d9ce8ad127aa8f55c0609fae914e4bcbc02123c206bb5f238",
        ),
    ];
    let body = b"Action=Publish&Message=h%C3%A9";
    check(&Request { method: "POST", path: "/a/../b//c", query: "", headers: &headers, body }, NOW, "sns");
}

#[test]
fn presigned_request_of_an_sdk() {
    let query = "Action=SendMessage&MessageBody=a%20b%2Bc&x=%C3%A9&X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIDEXAMPLE%2F20261121%2Fus-east-1%2Fsqs%2Faws4_request&X-Amz-Date=20261121T053000Z\
        &X-Amz-Expires=300&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=fdc9e462156390183f95913c255d32c585b2ddf9f8cdf9426345f9dee541fdb2";
    let headers = [("host", "localhost:4566")];
    let path = "/000000000000/my%20queue";
    let request = Request { method: "GET", path, query, headers: &headers, body: b"" };
    let claim = Claim::read(&request).unwrap().unwrap();
    let now = time::parse_basic(NOW).unwrap();
    assert_eq!(claim.verify(&request, SECRET, now), Ok(()));
    assert_eq!(claim.verify(&request, SECRET, now + 300_001).unwrap_err().code, &common::REQUEST_EXPIRED);
}

#[test]
fn incomplete_claims_say_so() {
    for authorization in
        ["Basic xyz", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=, Signature="]
    {
        let headers = [("authorization", authorization), ("x-amz-date", NOW)];
        let request = Request { method: "GET", path: "/", query: "", headers: &headers, body: b"" };
        assert_eq!(Claim::read(&request).unwrap_err().code, &common::INCOMPLETE_SIGNATURE, "{authorization}");
    }
    let none = Request { method: "GET", path: "/", query: "", headers: &[], body: b"" };
    assert_eq!(Claim::read(&none), Ok(None));
}

proptest! {
    #[test]
    fn never_panics(auth in ".{0,200}", path in ".{0,60}", query in "[X\\-AmzCredential=/&%0-9a-f]{0,200}", date in ".{0,20}") {
        let authorization = format!("AWS4-HMAC-SHA256 {auth}");
        let headers = [("authorization", authorization.as_str()), ("x-amz-date", date.as_str())];
        for headers in [&headers[..], &[]] {
            let request = Request { method: "POST", path: &path, query: &query, headers, body: b"x" };
            if let Ok(Some(claim)) = Claim::read(&request) {
                let _ = claim.verify(&request, SECRET, 0);
            }
        }
    }
}
