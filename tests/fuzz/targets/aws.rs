//! HTTP requests as the AWS door reads them, and everything opaque that clients hand back: handles, iterators, filter
//! policies, event patterns, ARNs, and the stored form of attributes.
#![no_main]

use aws_protocol::{arn, attributes, form, kinesis, native, payload, receipt, route, sigv4, time, xml};
use engine::filter::{EventPattern, SnsPolicy, SnsScope};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    opaque(data);
    let text = String::from_utf8_lossy(data);
    strings(&text);
    request(&text);
});

fn opaque(data: &[u8]) {
    let view = native::View::of(data);
    for attribute in view.attributes() {
        let _ = attribute.cost_bytes();
    }
    let _ = view.system_text("SenderId");
    let (body, _) = payload::text_or_base64(data);
    assert!(payload::is_text(&body));
}

fn strings(text: &str) {
    if let Some(handle) = receipt::Receipt::parse(text) {
        let mut again = String::new();
        handle.push(&mut again);
        assert_eq!(receipt::Receipt::parse(&again), Some(handle));
    }
    let _ = kinesis::ShardIterator::parse(text);
    let _ = kinesis::parse_sequence_number(text);
    let _ = kinesis::parse_shard_id(text);
    let _ = arn::Arn::parse(text);
    let _ = arn::queue_of_url(text);
    let _ = (time::parse_iso(text), time::parse_basic(text));
    let _ = payload::decode(text);
    let _ = form::parse(text);
    if let Ok(input) = serde_json::from_str(text) {
        let input: attributes::AttributesInput<'_> = input;
        let _ = attributes::read(&input);
    }
    for scope in [SnsScope::Attributes, SnsScope::Body] {
        let _ = SnsPolicy::compile(text, scope);
    }
    // The pattern on the first line, an event on the others.
    let (pattern, event) = text.split_once('\n').unwrap_or((text, "{}"));
    if let (Ok(pattern), Ok(event)) = (EventPattern::compile(pattern), serde_json::from_str(event)) {
        let _ = pattern.matches(&event);
    }
    let mut out = String::new();
    xml::push_text(&mut out, text);
}

/// Method, path, query and headers by line, an empty line, a body.
fn request(text: &str) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (path, query) = lines.next().unwrap_or_default().split_once('?').unwrap_or_default();
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let request = sigv4::Request { method: "POST", path, query, headers: &headers, body: body.as_bytes() };
    let claim = sigv4::Claim::read(&request);
    let scope = claim.as_ref().ok().and_then(Option::as_ref).map(|claim| claim.service.to_string());
    if let Ok(Some(claim)) = &claim {
        let _ = claim.verify(&request, "secret", 1_700_000_000_000);
    }
    let _ = route::addressee(&request, scope.as_deref());
    match route::route(&request, scope.as_deref()) {
        Ok(call) => drop(serde_json::from_slice::<serde_json::Value>(&call.input)),
        Err(refusal) => drop(xml::error(refusal.service, &refusal.error, "id")),
    }
}
