//! Matchers: what a list in a pattern asks of one field.

use super::wildcard::Wildcard;
use core::net::IpAddr;
use model::value::Value;
use serde_json::{Map, Value as Json};

/// A field's value, or one element of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Str(&'a str),
    Number(Number),
    Bool(bool),
    Null,
}

/// Integers compare exactly, everything else as floating point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Number::Integer(v) => v as f64,
            Number::Float(v) => v,
        }
    }

    fn of(json: &serde_json::Number) -> Self {
        let integer = json.as_i64().map(i128::from).or_else(|| json.as_u64().map(i128::from));
        integer.map_or_else(|| Number::Float(json.as_f64().unwrap_or(f64::NAN)), Number::Integer)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Number::Integer(left), Number::Integer(right)) => left == right,
            _ => self.as_f64() == other.as_f64(),
        }
    }
}

impl<'a> Scalar<'a> {
    pub(super) fn of_json(json: &'a Json) -> Option<Self> {
        Some(match json {
            Json::Null => Scalar::Null,
            Json::Bool(v) => Scalar::Bool(*v),
            Json::Number(v) => Scalar::Number(Number::of(v)),
            Json::String(v) => Scalar::Str(v),
            Json::Array(_) | Json::Object(_) => return None,
        })
    }

    pub(super) fn of_value(value: &'a Value) -> Option<Self> {
        Some(match value {
            Value::Null => Scalar::Null,
            Value::Bool(v) => Scalar::Bool(*v),
            Value::Str(v) => Scalar::Str(v),
            Value::F32(v) => Scalar::Number(Number::Float(f64::from(*v))),
            Value::F64(v) => Scalar::Number(Number::Float(*v)),
            Value::Decimal { scale, value } => {
                Scalar::Number(Number::Float(f64::from(*value) / 10f64.powi(i32::from(*scale))))
            }
            Value::U64(v) | Value::Timestamp(v) => Scalar::Number(Number::Integer(i128::from(*v))),
            Value::Bytes(_) | Value::Array(_) | Value::Table(_) => return None,
            integer => Scalar::Number(Number::Integer(i128::from(integer.as_i64()?))),
        })
    }
}

/// One matcher of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Matcher {
    Text(String),
    Number(Number),
    Bool(bool),
    Null,
    Prefix(String),
    Suffix(String),
    PrefixIgnoringCase(String),
    SuffixIgnoringCase(String),
    EqualsIgnoringCase(String),
    Wildcard(Wildcard),
    Range { low: Option<(f64, bool)>, high: Option<(f64, bool)> },
    Cidr { network: IpAddr, bits: u32 },
    AnythingBut(Vec<Matcher>),
    Exists(bool),
}

impl Matcher {
    /// Whether it accepts a value that is there.
    pub(super) fn accepts(&self, value: Scalar<'_>) -> bool {
        match self {
            Matcher::Exists(wanted) => *wanted,
            Matcher::AnythingBut(refused) => !refused.iter().any(|matcher| matcher.accepts(value)),
            Matcher::Number(wanted) => value == Scalar::Number(*wanted),
            Matcher::Bool(wanted) => value == Scalar::Bool(*wanted),
            Matcher::Null => value == Scalar::Null,
            Matcher::Range { low, high } => match value {
                Scalar::Number(number) => within(number.as_f64(), *low, *high),
                _ => false,
            },
            _ => matches!(value, Scalar::Str(text) if self.accepts_text(text)),
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            Matcher::Text(wanted) => wanted == text,
            Matcher::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Matcher::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Matcher::EqualsIgnoringCase(wanted) => lower(text).eq(wanted.chars()),
            Matcher::PrefixIgnoringCase(prefix) => {
                let mut characters = lower(text);
                prefix.chars().all(|wanted| characters.next() == Some(wanted))
            }
            Matcher::SuffixIgnoringCase(suffix) => {
                let mut characters = text.chars().rev().flat_map(|c| c.to_lowercase().rev());
                suffix.chars().rev().all(|wanted| characters.next() == Some(wanted))
            }
            Matcher::Wildcard(wildcard) => wildcard.matches(text),
            Matcher::Cidr { network, bits } => {
                text.parse().is_ok_and(|address| contains(*network, *bits, address))
            }
            _ => false,
        }
    }

    /// Whether it accepts that there is no value.
    pub(super) fn accepts_absence(&self) -> bool {
        *self == Matcher::Exists(false)
    }

    /// Errors: the reason why it is not a matcher.
    pub(super) fn compile(json: &Json) -> Result<Self, String> {
        match json {
            Json::Object(members) => Matcher::compile_expression(members),
            scalar => literal(scalar),
        }
    }

    fn compile_expression(members: &Map<String, Json>) -> Result<Self, String> {
        let mut entries = members.iter();
        let (Some((word, operand)), None) = (entries.next(), entries.next()) else {
            return Err("Only one key allowed in match expression".into());
        };
        match word.as_str() {
            "exists" => {
                let reason = || "exists match pattern must be either true or false.".to_owned();
                operand.as_bool().map(Matcher::Exists).ok_or_else(reason)
            }
            "numeric" => range(operand),
            "cidr" => cidr(text(word, operand)?),
            "anything-but" => anything_but(operand).map(Matcher::AnythingBut),
            _ => {
                text_matcher(word, operand).unwrap_or_else(|| Err(format!("Unrecognized match type {word}")))
            }
        }
    }
}

/// True for the words that begin a match expression.
pub(super) fn is_match_word(word: &str) -> bool {
    let words =
        ["exists", "numeric", "cidr", "anything-but", "prefix", "suffix", "equals-ignore-case", "wildcard"];
    words.contains(&word)
}

fn lower(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

fn literal(json: &Json) -> Result<Matcher, String> {
    Ok(match json {
        Json::String(text) => Matcher::Text(text.clone()),
        Json::Number(number) => Matcher::Number(Number::of(number)),
        Json::Bool(wanted) => Matcher::Bool(*wanted),
        Json::Null => Matcher::Null,
        Json::Array(_) | Json::Object(_) => {
            return Err("Match value must be String, number, true, false, or null".into());
        }
    })
}

fn text<'a>(word: &str, operand: &'a Json) -> Result<&'a str, String> {
    operand.as_str().ok_or_else(|| format!("{word} match pattern must be a string"))
}

/// Matchers whose operand is a text; `None` for other words.
fn text_matcher(word: &str, operand: &Json) -> Option<Result<Matcher, String>> {
    let ignoring_case =
        operand.get("equals-ignore-case").filter(|_| operand.as_object().is_some_and(|o| o.len() == 1));
    let lowered = |operand| text(word, operand).map(|text| lower(text).collect::<String>());
    let plain = || text(word, operand).map(str::to_owned);
    Some(match (word, ignoring_case) {
        ("prefix", Some(operand)) => lowered(operand).map(Matcher::PrefixIgnoringCase),
        ("suffix", Some(operand)) => lowered(operand).map(Matcher::SuffixIgnoringCase),
        ("prefix", None) => plain().map(Matcher::Prefix),
        ("suffix", None) => plain().map(Matcher::Suffix),
        ("equals-ignore-case", _) => lowered(operand).map(Matcher::EqualsIgnoringCase),
        ("wildcard", _) => text(word, operand).and_then(Wildcard::compile).map(Matcher::Wildcard),
        _ => return None,
    })
}

fn anything_but(operand: &Json) -> Result<Vec<Matcher>, String> {
    let values = |list: &[Json]| -> Result<Vec<Matcher>, String> {
        let value = |json: &Json| match json {
            Json::String(_) | Json::Number(_) => literal(json),
            _ => Err("Inside anything but list, start|null|boolean is not supported.".to_owned()),
        };
        list.iter().map(value).collect()
    };
    let refused = match operand {
        Json::Object(members) => {
            let mut entries = members.iter();
            let (Some((word, operand)), None) = (entries.next(), entries.next()) else {
                return Err("Only one key allowed in match expression".into());
            };
            let operands = operand.as_array().map_or(std::slice::from_ref(operand), Vec::as_slice);
            let unknown = || Err(format!("Unsupported anything-but pattern: {word}"));
            operands.iter().map(|one| text_matcher(word, one).unwrap_or_else(unknown)).collect()
        }
        Json::Array(list) => values(list),
        Json::String(_) | Json::Number(_) => values(std::slice::from_ref(operand)),
        _ => Err("Value of anything-but must be an array or single string/number value.".into()),
    }?;
    if refused.is_empty() { Err("Empty arrays are not allowed".into()) } else { Ok(refused) }
}

/// `["=", 5]`, `[">", 0]`, `[">=", 0, "<", 5]`.
fn range(operand: &Json) -> Result<Matcher, String> {
    let parts = operand.as_array().ok_or("Value of numeric must be an array.")?;
    let (pairs, rest) = parts.as_chunks::<2>();
    let (mut low, mut high) = (None, None);
    for [word, bound] in pairs {
        let word = word.as_str().unwrap_or_default();
        let bound = bound.as_f64().ok_or_else(|| format!("Value of {word} must be numeric"))?;
        match (word, low, high) {
            ("=", None, None) => (low, high) = (Some((bound, true)), Some((bound, true))),
            (">" | ">=", None, None) => low = Some((bound, word == ">=")),
            ("<" | "<=", _, None) => high = Some((bound, word == "<=")),
            ("=" | "<" | "<=" | ">" | ">=", ..) => {
                return Err("Too many elements in numeric expression".into());
            }
            _ => return Err(format!("Unrecognized numeric range operator: {word}")),
        }
    }
    if !rest.is_empty() || pairs.is_empty() {
        return Err("Invalid member in numeric match".into());
    }
    match (low, high) {
        (Some((bottom, closed_bottom)), Some((top, closed_top)))
            if bottom > top || (bottom == top && !(closed_bottom && closed_top)) =>
        {
            Err("Bottom must be less than top".into())
        }
        _ => Ok(Matcher::Range { low, high }),
    }
}

fn within(value: f64, low: Option<(f64, bool)>, high: Option<(f64, bool)>) -> bool {
    let above = low.is_none_or(|(bound, closed)| value > bound || (closed && value == bound));
    let below = high.is_none_or(|(bound, closed)| value < bound || (closed && value == bound));
    above && below
}

fn cidr(text: &str) -> Result<Matcher, String> {
    let malformed = || format!("Malformed CIDR, IP address must be formatted correctly: {text}");
    let (address, bits) =
        text.split_once('/').ok_or_else(|| "Malformed CIDR, one '/' required".to_owned())?;
    let network: IpAddr = address.parse().map_err(|_| malformed())?;
    let max = if network.is_ipv4() { 32 } else { 128 };
    let bits: u32 = bits
        .parse()
        .ok()
        .filter(|bits| *bits <= max)
        .ok_or_else(|| format!("Malformed CIDR, mask bits must be between 0 and {max}"))?;
    Ok(Matcher::Cidr { network, bits })
}

fn contains(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differing = u32::from(network) ^ u32::from(address);
            differing.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differing = u128::from(network) ^ u128::from(address);
            differing.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}
