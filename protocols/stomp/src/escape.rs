//! Header escapes ("Value Encoding"). What STOMP 1.0 cannot say, or no version can (NUL), never reaches the wire raw:
//! a value may not end its line, let alone its frame.

use crate::version::Version;
use bytes::BufMut;
use memchr::memchr;

/// An escape that the version does not define; the specification calls it a fatal error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownEscape;

/// Appends `text` without its escapes.
pub(crate) fn unescape(text: &str, version: Version, out: &mut String) -> Result<(), UnknownEscape> {
    if version == Version::V10 {
        out.push_str(text);
        return Ok(());
    }
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        out.push(match chars.next() {
            Some('n') => '\n',
            Some('c') => ':',
            Some('\\') => '\\',
            Some('r') if version == Version::V12 => '\r',
            _ => return Err(UnknownEscape),
        });
        rest = chars.as_str();
    }
    out.push_str(rest);
    Ok(())
}

/// What a byte becomes in a header of `version`, when it does not stand for itself.
fn replacement(byte: u8, version: Version) -> Option<&'static [u8]> {
    match (byte, version) {
        (0, _) => Some(b""),
        (b'\n', _) => Some(b"\\n"),
        (b'\r', Version::V10 | Version::V12) => Some(b"\\r"),
        (b'\\', Version::V11 | Version::V12) => Some(b"\\\\"),
        (b':', Version::V11 | Version::V12) => Some(b"\\c"),
        _ => None,
    }
}

/// Appends `text` as a header name or value.
pub(crate) fn escape(text: &str, version: Version, out: &mut impl BufMut) {
    let mut rest = text.as_bytes();
    // Without early exit this is one vector instruction per few dozen bytes; hardly any header needs more.
    if !rest.iter().fold(false, |found, byte| found | matches!(byte, 0 | b'\n' | b'\r' | b'\\' | b':')) {
        return out.put_slice(rest);
    }
    while let Some((at, with)) =
        rest.iter().enumerate().find_map(|(at, byte)| replacement(*byte, version).map(|with| (at, with)))
    {
        let (before, after) = rest.split_at(at);
        out.put_slice(before);
        out.put_slice(with);
        rest = after.get(1..).unwrap_or_default();
    }
    out.put_slice(rest);
}

/// Appends header lines that are escaped as 1.2 wants them (`name:value LF`, trusted to be well-formed) as `version`
/// wants them. In nearly all cases that is a copy.
pub(crate) fn transcode_lines(lines: &[u8], version: Version, out: &mut impl BufMut) {
    if version == Version::V12 || memchr(b'\\', lines).is_none() {
        out.put_slice(lines);
        return;
    }
    let mut plain = String::new();
    for (name, value) in lines_of(lines) {
        for (part, end) in [(name, b':'), (value, b'\n')] {
            plain.clear();
            if unescape(part, Version::V12, &mut plain).is_ok() {
                escape(&plain, version, out);
            }
            out.put_u8(end);
        }
    }
}

/// The still escaped names and values of a block of header lines. Ends early where the block is damaged.
pub(crate) fn lines_of(lines: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = std::str::from_utf8(lines).unwrap_or_default();
    std::iter::from_fn(move || {
        let (line, after) = rest.split_once('\n')?;
        rest = after;
        line.split_once(':')
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Version::{V10, V11, V12};

    fn check(plain: &str, version: Version, wire: &str) {
        let mut out = Vec::new();
        escape(plain, version, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), wire, "{plain:?} {version:?}");
        let mut back = String::new();
        if version != V10 {
            unescape(wire, version, &mut back).unwrap();
            assert_eq!(back, plain);
        }
    }

    #[test]
    fn table() {
        check("k:a\nb\\", V12, "k\\ca\\nb\\\\");
        check("k:a\nb\\", V11, "k\\ca\\nb\\\\");
        check("k:a\nb\\\r", V10, "k:a\\nb\\\\r");
        check("a\rb", V12, "a\\rb");
        check("a\rb", V11, "a\rb");
        check("", V12, "");
        check("é✓", V11, "é✓");
    }

    #[test]
    fn nul_is_dropped() {
        let mut out = Vec::new();
        escape("a\0b", V12, &mut out);
        assert_eq!(out, b"ab");
    }

    #[test]
    fn unknown_escapes() {
        let check = |wire, version, ok| {
            assert_eq!(unescape(wire, version, &mut String::new()).is_ok(), ok, "{wire} {version:?}");
        };
        check("a\\tb", V12, false);
        check("a\\", V12, false);
        check("a\\r", V11, false);
        check("a\\r", V12, true);
        check("a\\t", V10, true);
        check("a\\é", V11, false);
    }

    #[test]
    fn transcodes() {
        let check = |version, expected: &str| {
            let mut out = Vec::new();
            transcode_lines(b"x\\cy:a\\nb\\\\\\r\nq:r\n", version, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(V12, "x\\cy:a\\nb\\\\\\r\nq:r\n");
        check(V11, "x\\cy:a\\nb\\\\\r\nq:r\n");
        check(V10, "x:y:a\\nb\\\\r\nq:r\n");
    }
}
