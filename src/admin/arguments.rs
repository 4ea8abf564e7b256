//! Typed tables as plain JSON and back, the way RabbitMQ's API shows them.

use super::request::{Refusal, bad_request};
use model::{
    Name,
    limits::{TABLE_DEPTH_MAX, TABLE_ENTRIES_MAX},
    value::{Table, Value},
};
use serde_json::{Map, Value as Json, json};

/// A table as a JSON object; of values of one name the first counts.
pub(super) fn to_json(table: &Table) -> Json {
    let mut object = Map::new();
    for (name, value) in table.iter() {
        object.entry(name.to_string()).or_insert_with(|| value_to_json(value));
    }
    Json::Object(object)
}

fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => json!(flag),
        Value::U64(number) | Value::Timestamp(number) => json!(number),
        Value::F32(number) => json!(number),
        Value::F64(number) => json!(number),
        Value::Decimal { scale, value } => json!(f64::from(*value) / 10f64.powi(i32::from(*scale))),
        Value::Str(text) => json!(&**text),
        Value::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::Array(values) => values.iter().map(value_to_json).collect(),
        Value::Table(table) => to_json(table),
        integer => json!(integer.as_i64()),
    }
}

/// A JSON object as a table: whole numbers become 64 bit, texts long strings.
/// Errors: 400 when it is no object, nested too deep or too long.
pub(super) fn from_json(json: &Json) -> Result<Table, Refusal> {
    match json {
        Json::Null => Ok(Table::new()),
        // An empty list is what Erlang makes of an empty object.
        Json::Array(none) if none.is_empty() => Ok(Table::new()),
        Json::Object(object) => table(object, 0),
        _ => Err(bad_request("arguments are not an object")),
    }
}

fn table(object: &Map<String, Json>, depth: usize) -> Result<Table, Refusal> {
    if depth > TABLE_DEPTH_MAX || object.len() > TABLE_ENTRIES_MAX {
        return Err(bad_request("too many values or nested too deep"));
    }
    let entries = object.iter().map(|(name, json)| Ok((Name::from(name.as_str()), value(json, depth)?)));
    Ok(Table(entries.collect::<Result<_, Refusal>>()?))
}

fn value(json: &Json, depth: usize) -> Result<Value, Refusal> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::I64(number),
            (None, Some(number)) => Value::U64(number),
            (None, None) => Value::F64(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::str(text.as_str()),
        Json::Array(values) => {
            if depth >= TABLE_DEPTH_MAX || values.len() > TABLE_ENTRIES_MAX {
                return Err(bad_request("too many values or nested too deep"));
            }
            Value::Array(values.iter().map(|one| value(one, depth + 1)).collect::<Result<_, Refusal>>()?)
        }
        Json::Object(object) => Value::Table(table(object, depth + 1)?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_json_comes_back() {
        let json = json!({ "a": 1, "b": "x", "c": [1, "2", { "d": true }], "e": 1.5, "f": null });
        assert_eq!(to_json(&from_json(&json).unwrap()), json);
        assert_eq!(from_json(&json!([])).unwrap(), Table::new());
        assert!(from_json(&json!([1])).is_err() && from_json(&json!("x")).is_err());
        let deep = (0..40).fold(json!({}), |inner, _| json!({ "k": inner }));
        assert!(from_json(&deep).is_err());
    }
}
