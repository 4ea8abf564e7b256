//! Message attributes of SQS and SNS: names, types, validation, and the MD5 that SDKs check.

use crate::{json, payload};
use md5::{Digest, Md5};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most attributes of one message.
pub const ATTRIBUTES_MAX: usize = 10;
/// Longest attribute name and type.
pub const NAME_BYTES_MAX: usize = 256;

/// A value: text for `String` and `Number`, bytes for `Binary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// `StringValue`.
    Text(Cow<'a, str>),
    /// `BinaryValue`.
    Binary(Cow<'a, [u8]>),
}

impl Content<'_> {
    /// The bytes of either.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Content::Text(text) => text.as_bytes(),
            Content::Binary(bytes) => bytes,
        }
    }
}

/// One message attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// `String`, `Number` or `Binary`, with an optional `.label`.
    pub data_type: Cow<'a, str>,
    /// Value.
    pub content: Content<'a>,
}

impl Attribute<'_> {
    /// What it adds to the size of a message.
    pub fn cost_bytes(&self) -> usize {
        self.name.len() + self.data_type.len() + self.content.bytes().len()
    }
}

/// The wire form of one attribute in a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttributeInput<'a> {
    #[serde(borrow, default)]
    data_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    string_value: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    binary_value: Option<Cow<'a, str>>,
}

impl AttributeInput<'_> {
    /// Bytes of type and value as they were sent.
    pub fn size(&self) -> usize {
        let parts = [&self.data_type, &self.string_value, &self.binary_value];
        parts.into_iter().flatten().map(|part| part.len()).sum()
    }
}

/// The wire form of all attributes; sorted by name, which the MD5 needs anyway.
pub type AttributesInput<'a> = BTreeMap<String, AttributeInput<'a>>;

/// Validates and reads the attributes of a request. Errors: AWS's sentence.
pub fn read<'a>(input: &'a AttributesInput<'a>) -> Result<Vec<Attribute<'a>>, String> {
    if input.len() > ATTRIBUTES_MAX {
        return Err(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [10].",
            input.len()
        ));
    }
    input.iter().map(|(name, value)| read_one(name, value)).collect()
}

fn read_one<'a>(name: &'a str, input: &'a AttributeInput<'a>) -> Result<Attribute<'a>, String> {
    if !is_name(name) {
        return Err(format!("The message attribute name '{name}' is not valid."));
    }
    let Some(data_type) = input.data_type.as_deref().filter(|data_type| !data_type.is_empty()) else {
        return Err(format!("The message attribute '{name}' must contain non-empty message attribute type."));
    };
    let kind = data_type.split('.').next().unwrap_or_default();
    let empty = || {
        format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{kind}'."
        )
    };
    let content = match kind {
        "String" | "Number" => {
            let text = input.string_value.as_deref().filter(|text| !text.is_empty()).ok_or_else(empty)?;
            if !payload::is_text(text) {
                return Err(format!("Invalid characters in the value of message attribute '{name}'."));
            }
            if kind == "Number" && text.trim().parse::<f64>().is_err() {
                return Err(format!(
                    "Can't cast the value of message (user) attribute '{name}' to a number."
                ));
            }
            Content::Text(Cow::Borrowed(text))
        }
        "Binary" => {
            let text = input.binary_value.as_deref().filter(|text| !text.is_empty()).ok_or_else(empty)?;
            Content::Binary(Cow::Owned(payload::decode(text).ok_or_else(empty)?))
        }
        _ => {
            return Err(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
            ));
        }
    };
    if data_type.len() > NAME_BYTES_MAX {
        return Err(format!("The type of message attribute '{name}' is longer than 256 bytes."));
    }
    Ok(Attribute { name: Cow::Borrowed(name), data_type: Cow::Borrowed(data_type), content })
}

/// "can contain the following characters: A-Za-z0-9_-. ... must not start with AWS. or Amazon. ... should not start
/// or end with a period".
pub fn is_name(name: &str) -> bool {
    let reserved =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !reserved("aws.")
        && !reserved("amazon.")
}

/// Hexadecimal MD5 of bytes.
pub fn md5_hex(out: &mut String, bytes: &[u8]) {
    json::push_hex(out, &Md5::digest(bytes));
}

/// `MD5OfMessageAttributes`: over the attributes sorted by name, each `len name, len type, 1|2, len value` with
/// big-endian 32-bit lengths. The caller passes them sorted.
pub fn md5_of(out: &mut String, attributes: &[Attribute<'_>]) {
    let mut hash = Md5::new();
    let mut field = |bytes: &[u8], transport: Option<u8>| {
        hash.update(transport.as_slice());
        hash.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(bytes);
    };
    for attribute in attributes {
        field(attribute.name.as_bytes(), None);
        field(attribute.data_type.as_bytes(), None);
        let transport = if matches!(attribute.content, Content::Text(_)) { 1 } else { 2 };
        field(attribute.content.bytes(), Some(transport));
    }
    json::push_hex(out, &hash.finalize());
}

/// True when a receive that asked for `names` wants `name`: exact, `All`, `.*`, or `prefix.*`.
pub fn wanted<T: AsRef<str>>(names: &[T], name: &str) -> bool {
    names.iter().map(AsRef::as_ref).any(|wish| {
        wish == name
            || wish == "All"
            || wish == ".*"
            || wish.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_json(text: &str) -> Result<String, String> {
        let input: AttributesInput<'_> = serde_json::from_str(text).unwrap();
        let mut md5 = String::new();
        md5_of(&mut md5, &read(&input)?);
        Ok(md5)
    }

    #[test]
    fn md5_of_known_attributes() {
        // The value that SDKs compute and compare for this attribute set.
        let md5 = read_json(r#"{"timestamp":{"DataType":"Number","StringValue":"1493147359900"}}"#);
        assert_eq!(md5.as_deref(), Ok("235c5c510d26fb653d073faed50ae77c"));
        let mut body = String::new();
        md5_hex(&mut body, b"hello");
        assert_eq!(body, "5d41402abc4b2a76b9719d911017c592");
    }

    #[test]
    fn refuses_what_aws_refuses() {
        for (json, text) in [
            (r#"{"aws.x":{"DataType":"String","StringValue":"v"}}"#, "name"),
            (r#"{"a..b":{"DataType":"String","StringValue":"v"}}"#, "name"),
            (r#"{"a":{"StringValue":"v"}}"#, "attribute type"),
            (r#"{"a":{"DataType":"Strin","StringValue":"v"}}"#, "supported type prefixes"),
            (r#"{"a":{"DataType":"String","StringValue":""}}"#, "non-empty"),
            (r#"{"a":{"DataType":"Number","StringValue":"x"}}"#, "cast"),
            (r#"{"a":{"DataType":"Binary","StringValue":"x"}}"#, "non-empty"),
        ] {
            assert!(read_json(json).unwrap_err().contains(text), "{json}");
        }
    }

    #[test]
    fn wishes_with_wildcards() {
        for (wish, name, yes) in [
            ("All", "a", true),
            (".*", "a", true),
            ("a.*", "a.b", true),
            ("a.*", "b", false),
            ("a", "a", true),
        ] {
            assert_eq!(wanted(&[wish], name), yes, "{wish}");
        }
    }
}
