//! Tests of the parser: each case whole, byte by byte, and in any chunks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;

const LIMITS: FrameLimits = FrameLimits {
    frame_bytes_max: 4096,
    login_frame_bytes_max: 4096,
    headers_max: 4,
    header_bytes_max: 64,
    command_bytes_max: 16,
};

/// Frames found in `chunks`, one line each, and the error that ended it.
fn parse(chunks: &[&[u8]], version: Version) -> (Vec<String>, Option<ParseError>) {
    let (mut parser, mut input, mut found) = (Parser::default(), BytesMut::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match parser.next(&mut input, version, &LIMITS, LIMITS.frame_bytes_max) {
                Ok(Some(frame)) => found.push(show(&frame)),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn show(frame: &Frame) -> String {
    let headers: Vec<_> = frame.headers().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}|{}|{}", frame.command_text(), headers.join(","), String::from_utf8_lossy(&frame.body))
}

fn check(bytes: &[u8], version: Version, expected: &[&str], error: Option<ParseError>) {
    let whole = parse(&[bytes], version);
    assert_eq!(whole, (expected.iter().map(ToString::to_string).collect(), error));
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(parse(&single, version), whole, "byte by byte");
}

#[test]
fn frames() {
    use Version::{V10, V11, V12};
    check(b"SEND\ndestination:/queue/a\n\nhello\0", V12, &["SEND|destination=/queue/a|hello"], None);
    check(b"\0\n\r\nSEND\r\na:b:c\r\n\r\nx\0\n\nACK\nid:1\n\n\0", V12, &["SEND|a=b:c|x", "ACK|id=1|"], None);
    check(b"SEND\ncontent-length:3\n\na\0b\0", V12, &["SEND|content-length=3|a\0b"], None);
    check(b"SEND\na: b \n\n\0", V10, &["SEND|a=b |"], None);
    check(b"SEND\na: b \n\n\0", V11, &["SEND|a= b |"], None);
    check(b"SEND\nk\\cy:a\\nb\\\\\n\n\0", V11, &["SEND|k:y=a\nb\\|"], None);
    check(b"SEND\nk\\cy:a\\nb\n\n\0", V10, &["SEND|k\\cy=a\\nb|"], None);
    check(b"CONNECT\nlogin:a\\tb\n\n\0", V12, &["CONNECT|login=a\\tb|"], None);
    check(b"SEND\na:\n\n", V12, &[], None);
}

#[test]
fn errors() {
    use ParseError as E;
    let v = Version::V12;
    check(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", v, &[], Some(E::CommandTooLong));
    check(format!("SEND\na:{}", "x".repeat(100)).as_bytes(), v, &[], Some(E::HeaderTooLong));
    check(b"SEND\na:1\nb:1\nc:1\nd:1\ne:1\n", v, &[], Some(E::TooManyHeaders));
    check(b"SEND\nabc\n", v, &[], Some(E::MalformedHeader));
    check(b"SEND\n:abc\n", v, &[], Some(E::MalformedHeader));
    check(b"SEND\na:\\t\n\n\0", v, &[], Some(E::UnknownEscape));
    check(b"SEND\na:\\r\n\n\0", Version::V11, &[], Some(E::UnknownEscape));
    check(b"SEND\na:\xff\n\n\0", v, &[], Some(E::NotUtf8));
    check(b"SEND\ncontent-length:abc\n\n", v, &[], Some(E::BadContentLength));
    check(b"SEND\ncontent-length:-1\n\n", v, &[], Some(E::BadContentLength));
    check(b"SEND\ncontent-length:9999999999999999999999\n\n", v, &[], Some(E::FrameTooLarge));
    check(b"SEND\ncontent-length:5000\n\n", v, &[], Some(E::FrameTooLarge));
    check(b"SEND\ncontent-length:2\n\nabc\0", v, &[], Some(E::NoNul));
    check(format!("SEND\n\n{}", "x".repeat(5000)).as_bytes(), v, &[], Some(E::FrameTooLarge));
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same(
        pieces in proptest::collection::vec(prop_oneof![
            Just(b"SEND\ndestination:/queue/a\n\nbody\0".to_vec()),
            Just(b"SEND\ncontent-length:4\n\n\0\0\0\0\0\n".to_vec()),
            Just(b"\n\r\n".to_vec()),
            Just(b"X\r\na\\cb:c\r\n\r\n\0".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
        ], 0..8),
        cuts in proptest::collection::vec(1usize..30, 1..20),
    ) {
        let bytes = pieces.concat();
        let whole = parse(&[&bytes], Version::V12);
        let (mut chunks, mut rest, mut cut) = (Vec::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(parse(&chunks, Version::V12), whole);
    }
}
