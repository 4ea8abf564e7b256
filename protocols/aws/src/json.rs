//! Writing JSON fast: answers of the hot operations are written straight into one buffer, without a tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends lower-case hexadecimal.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(HEX.get(usize::from(nibble)).map(|digit| char::from(*digit)));
        }
    }
}

/// Appends `text` as a JSON string with its quotes. Runs without special characters are copied whole.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(control) => {
                out.push_str("\\u00");
                push_hex(out, &[u8::try_from(u32::from(control)).unwrap_or(0)]);
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends bytes as a JSON string of base64.
pub fn push_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// Appends a decimal number.
pub fn push_number(out: &mut String, number: u64) {
    use std::fmt::Write;
    let _ = write!(out, "{number}");
}

/// Writes one JSON object member by member.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    /// Opens an object; [`Object::end`] closes it.
    pub fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Begins member `name`; the caller writes its value into what is returned.
    pub fn member(&mut self, name: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        push_string(self.out, name);
        self.out.push(':');
        self.out
    }

    /// A member that is text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        push_string(self.member(name), value);
        self
    }

    /// A member that is text, when there is one.
    pub fn optional(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// A member that is a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        push_number(self.member(name), value);
        self
    }

    /// A member that is a number written as text, as SQS does with every attribute.
    pub fn number_text(&mut self, name: &str, value: u64) -> &mut Self {
        let out = self.member(name);
        out.push('"');
        push_number(out, value);
        out.push('"');
        self
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push('}');
    }
}

/// Writes `[item,item]`, each item by `write`.
pub fn push_list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_are_json(text in any::<String>()) {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn objects_and_lists() {
        let mut out = String::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "\u{1}\"").number("b", 7).optional("c", None).number_text("d", 8);
        push_list(object.member("e"), [1, 2], push_number);
        object.end();
        assert_eq!(out, r#"{"a":"\u0001\"","b":7,"d":"8","e":[1,2]}"#);
    }
}
