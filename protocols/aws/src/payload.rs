//! Which bodies SQS, SNS and EventBridge can carry as text, and what stands for those that they can not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Attribute that says how the body is encoded; its only value is [`BASE64`].
pub const ENCODING_ATTRIBUTE: &str = "waystation-encoding";
/// The body is base64 of the bytes meant.
pub const BASE64: &str = "base64";

/// True for what SQS takes: the characters of XML 1.0, `#x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | ...`.
pub fn is_text(text: &str) -> bool {
    !text.bytes().any(|byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
        && !text.contains(['\u{fffe}', '\u{ffff}'])
}

/// The body as text, when it is text that SQS can carry.
pub fn as_text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body).ok().filter(|text| is_text(text))
}

/// The body as text or as base64; true with the latter.
pub fn text_or_base64(body: &[u8]) -> (Cow<'_, str>, bool) {
    match as_text(body) {
        Some(text) => (Cow::Borrowed(text), false),
        None => (Cow::Owned(STANDARD.encode(body)), true),
    }
}

/// Base64 of bytes.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_is_what_xml_has() {
        for (body, text) in [
            (&b"plain\t\r\n"[..], true),
            ("é\u{10000}\u{fffd}".as_bytes(), true),
            (b"", true),
            (b"\0", false),
            (b"\x1f", false),
            ("\u{ffff}".as_bytes(), false),
            (b"\xff", false),
        ] {
            assert_eq!(as_text(body).is_some(), text, "{body:?}");
        }
        let (encoded, binary) = text_or_base64(b"\xff\0");
        assert!(binary);
        assert_eq!(decode(&encoded).unwrap(), b"\xff\0");
    }
}
