//! The canonical request: one text that signer and verifier must agree on byte for byte.

use super::{Request, sha256_hex};
use crate::form;

/// "Step 1: create a canonical request". `presigned` leaves `X-Amz-Signature` out of the query.
pub(super) fn request(request: &Request<'_>, signed_headers: &str, presigned: bool) -> String {
    let mut out = String::with_capacity(512);
    out.push_str(request.method);
    out.push('\n');
    path(&mut out, request.path);
    out.push('\n');
    query(&mut out, request.query, presigned);
    out.push('\n');
    headers(&mut out, request, signed_headers);
    out.push('\n');
    out.push_str(signed_headers);
    out.push('\n');
    match request.header("x-amz-content-sha256") {
        // Only a hash that really is the body's may stand for it.
        Some("UNSIGNED-PAYLOAD") => out.push_str("UNSIGNED-PAYLOAD"),
        _ => out.push_str(&sha256_hex(request.body)),
    }
    out
}

/// Dot segments removed, then (every service but S3) encoded once more than it was sent.
fn path(out: &mut String, raw: &str) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    for segment in &segments {
        out.push('/');
        form::encode_into(out, segment.as_bytes(), false);
    }
    if segments.is_empty() || raw.ends_with('/') {
        out.push('/');
    }
}

/// Sorted by encoded name, then value; every part re-encoded the strict way.
fn query(out: &mut String, raw: &str, presigned: bool) {
    let encode = |text: &str| {
        let mut encoded = String::with_capacity(text.len());
        form::encode_into(&mut encoded, form::decode(text, false).as_bytes(), false);
        encoded
    };
    let mut pairs: Vec<(String, String)> = form::raw_pairs(raw)
        .filter(|(name, _)| !(presigned && *name == "X-Amz-Signature"))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

/// `name:value\n` each, runs of spaces in values made one, repeated headers joined by commas.
fn headers(out: &mut String, request: &Request<'_>, signed_headers: &str) {
    for name in signed_headers.split(';') {
        out.push_str(name);
        out.push(':');
        let values = request.headers.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value);
        for (index, value) in values.enumerate() {
            if index > 0 {
                out.push(',');
            }
            for (index, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(word);
            }
        }
        out.push('\n');
    }
}
