//! The subject of a certificate as text (RFC 4514, as mosquitto's `use_subject_as_username` has it): last name first,
//! parts joined by commas, what is special or not ASCII escaped.

use super::tls::{expect, subject, tag, value};
use std::fmt::Write;

/// Ids of attributes that have a short name.
const NAMES: [(&[u8], &str); 14] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// The subject of a certificate; `None` when it can not be read or holds something without a name here.
pub(crate) fn distinguished_name(certificate: &[u8]) -> Option<String> {
    let mut rest = subject(certificate)?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (mut attributes, after) = expect(rest, tag::SET)?;
        rest = after;
        let mut joined = Vec::new();
        while !attributes.is_empty() {
            let (attribute, after) = expect(attributes, tag::SEQUENCE)?;
            attributes = after;
            joined.push(part(attribute)?);
        }
        parts.push(joined.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|text| !text.is_empty())
}

fn part(attribute: &[u8]) -> Option<String> {
    let (id, text) = expect(attribute, tag::OBJECT_IDENTIFIER)?;
    let (_, name) = NAMES.iter().find(|(known, _)| *known == id)?;
    let (tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING, text, _) = value(text)? else {
        return None;
    };
    Some(format!("{name}={}", escaped(text)))
}

fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, byte) in text.iter().enumerate() {
        let (first, last) = (index == 0, index + 1 == text.len());
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(*byte)]),
            b' ' if first || last => out.push_str("\\ "),
            b'#' if first => out.push_str("\\#"),
            0x20..0x7f => out.push(char::from(*byte)),
            // Writing to a string does not fail.
            _ => drop(write!(out, "\\{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(escaped(b" a,b #c "), "\\ a\\,b #c\\ ");
        assert_eq!(escaped("#m\u{fc}ller+<x>".as_bytes()), "\\#m\\C3\\BCller\\+\\<x\\>");
    }
}
