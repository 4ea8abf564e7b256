//! Reading operation inputs: one JSON form for all protocols, with the query protocol's texts for numbers.

use aws_protocol::error::{ApiError, common};
use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// Reads the input of an operation. Errors: `SerializationException`.
pub(super) fn parse<'a, T: Deserialize<'a>>(input: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(input)
        .map_err(|error| common::SERIALIZATION.error(format!("The request could not be read: {error}")))
}

struct Lenient;

impl de::Visitor<'_> for Lenient {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        i64::try_from(value).map(Some).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        if value.fract() == 0.0 && value.abs() < 9e15 {
            Ok(Some(value as i64))
        } else {
            Err(E::custom("not an integer"))
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        value.trim().parse().map(Some).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// An integer, also as text; null is none.
pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    deserializer.deserialize_any(Lenient)
}

/// A page of a list: the items after `token` (the last name seen), at most `max`, and the token of the next page.
pub(super) fn page<T: AsRef<str>>(
    items: Vec<T>,
    token: Option<&str>,
    max: usize,
) -> (Vec<T>, Option<String>) {
    let start = token.map_or(0, |last| items.partition_point(|item| item.as_ref() <= last));
    let more = items.len().saturating_sub(start) > max;
    let page: Vec<T> = items.into_iter().skip(start).take(max).collect();
    let next = page.last().filter(|_| more).map(|last| last.as_ref().to_owned());
    (page, next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Deserialize)]
    struct Input {
        #[serde(default, deserialize_with = "integer")]
        number: Option<i64>,
    }

    #[test]
    fn texts_are_numbers_too() {
        for (json, number) in [
            (r#"{"number":5}"#, Some(5)),
            (r#"{"number":"5"}"#, Some(5)),
            (r#"{"number":null}"#, None),
            ("{}", None),
        ] {
            let input: Input = parse(json.as_bytes()).unwrap();
            assert_eq!(input.number, number, "{json}");
        }
        assert!(parse::<Input>(br#"{"number":"x"}"#).is_err());
    }

    #[test]
    fn pages() {
        let names = || vec!["a", "b", "c"];
        assert_eq!(page(names(), None, 2), (vec!["a", "b"], Some("b".to_owned())));
        assert_eq!(page(names(), Some("b"), 2), (vec!["c"], None));
        assert_eq!(page(names(), None, 3), (names(), None));
    }
}
