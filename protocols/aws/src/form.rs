//! `application/x-www-form-urlencoded` and query strings: decoding, and the raw pairs that signatures need.

use std::borrow::Cow;

/// Most parameters of one request; the rest is an error.
pub const PARAMETERS_MAX: usize = 4096;

/// Raw `name`, `value` pairs of a query string or form, in order, not decoded.
pub fn raw_pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decoded pairs; `None` when there are more than [`PARAMETERS_MAX`].
pub fn parse(text: &str) -> Option<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    let mut pairs = Vec::new();
    for (name, value) in raw_pairs(text) {
        if pairs.len() == PARAMETERS_MAX {
            return None;
        }
        pairs.push((decode(name, true), decode(value, true)));
    }
    Some(pairs)
}

/// The first decoded value of `name` in a query string.
pub fn value<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    raw_pairs(text).find(|(key, _)| *key == name).map(|(_, value)| decode(value, true))
}

/// Percent-decodes; `plus` reads `+` as a space. Malformed escapes stay as they are, bytes that are not UTF-8 become
/// U+FFFD.
pub fn decode(text: &str, plus: bool) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || (plus && byte == b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(first),
            },
            (b'+', _) if plus => out.push(b' '),
            _ => out.push(first),
        }
    }
    Cow::Owned(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Percent-encodes everything but RFC 3986's unreserved characters (and `/` when `keep_slash`).
pub fn encode_into(out: &mut String, bytes: &[u8], keep_slash: bool) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(HEX.get(usize::from(byte >> 4)));
            out.extend(HEX.get(usize::from(byte & 15)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes() {
        for (raw, plain) in [
            ("a%20b+c", "a b c"),
            ("%C3%A9", "é"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode(raw, true), plain);
        }
        assert_eq!(value("a=1&b=x%3D", "b").as_deref(), Some("x="));
        assert!(parse(&"a&".repeat(PARAMETERS_MAX + 1)).is_none());
    }

    proptest! {
        #[test]
        fn encoding_round_trips(text in ".*") {
            let mut encoded = String::new();
            encode_into(&mut encoded, text.as_bytes(), false);
            prop_assert_eq!(decode(&encoded, true), text);
        }

        #[test]
        fn never_panics(text in "[%+&=0-9a-fé]*") {
            let _ = parse(&text);
        }
    }
}
