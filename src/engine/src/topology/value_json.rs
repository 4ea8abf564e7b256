//! Typed values as JSON and back, without loss: `{"t":"i32","v":1}`; a table is a list of `[name, value]` pairs.
//!
//! Floating point numbers are written as their bits, bytes as hexadecimal digits.

use bytes::Bytes;
use model::{
    Name,
    limits::{TABLE_DEPTH_MAX, TABLE_ENTRIES_MAX},
    value::{Table, Value},
};
use serde_json::{Value as Json, json};

/// Why JSON is not a typed value: a text for the operator.
pub type Malformed = &'static str;

/// A table as JSON.
pub fn table_to_json(table: &Table) -> Json {
    table.iter().map(|(name, value)| json!([&**name, value_to_json(value)])).collect()
}

/// A value as JSON.
pub fn value_to_json(value: &Value) -> Json {
    let (kind, json) = match value {
        Value::Null => ("null", Json::Null),
        Value::Bool(v) => ("bool", json!(v)),
        Value::I8(v) => ("i8", json!(v)),
        Value::U8(v) => ("u8", json!(v)),
        Value::I16(v) => ("i16", json!(v)),
        Value::U16(v) => ("u16", json!(v)),
        Value::I32(v) => ("i32", json!(v)),
        Value::U32(v) => ("u32", json!(v)),
        Value::I64(v) => ("i64", json!(v)),
        Value::U64(v) => ("u64", json!(v)),
        Value::F32(v) => ("f32", json!(v.to_bits())),
        Value::F64(v) => ("f64", json!(v.to_bits())),
        Value::Decimal { scale, value } => ("decimal", json!([scale, value])),
        Value::Timestamp(v) => ("timestamp", json!(v)),
        Value::Str(v) => ("str", json!(&**v)),
        Value::Bytes(v) => ("bytes", json!(to_hex(v))),
        Value::Array(values) => ("array", values.iter().map(value_to_json).collect()),
        Value::Table(table) => ("table", table_to_json(table)),
    };
    json!({ "t": kind, "v": json })
}

/// A table from JSON.
pub fn table_from_json(json: &Json) -> Result<Table, Malformed> {
    table_at(json, 0)
}

/// A value from JSON.
pub fn value_from_json(json: &Json) -> Result<Value, Malformed> {
    value_at(json, 0)
}

fn table_at(json: &Json, depth: usize) -> Result<Table, Malformed> {
    let entries = json.as_array().ok_or("a table is a list")?;
    entries.iter().map(|entry| entry_at(entry, depth)).collect::<Result<_, _>>().map(Table)
}

fn entry_at(json: &Json, depth: usize) -> Result<(Name, Value), Malformed> {
    let Some([Json::String(name), value]) = json.as_array().map(Vec::as_slice) else {
        return Err("a table entry is a pair of name and value");
    };
    Ok((name.as_str().into(), value_at(value, depth)?))
}

fn value_at(json: &Json, depth: usize) -> Result<Value, Malformed> {
    if depth > TABLE_DEPTH_MAX {
        return Err("nested too deep");
    }
    let kind = json.get("t").and_then(Json::as_str).ok_or("a value has a type")?;
    let value = json.get("v").ok_or("a value has a value")?;
    let value = match kind {
        "null" => Some(Value::Null),
        "bool" => value.as_bool().map(Value::Bool),
        "i8" => signed(value).map(Value::I8),
        "u8" => unsigned(value).map(Value::U8),
        "i16" => signed(value).map(Value::I16),
        "u16" => unsigned(value).map(Value::U16),
        "i32" => signed(value).map(Value::I32),
        "u32" => unsigned(value).map(Value::U32),
        "i64" => value.as_i64().map(Value::I64),
        "u64" => value.as_u64().map(Value::U64),
        "f32" => unsigned(value).map(|bits| Value::F32(f32::from_bits(bits))),
        "f64" => value.as_u64().map(|bits| Value::F64(f64::from_bits(bits))),
        "decimal" => decimal(value),
        "timestamp" => value.as_u64().map(Value::Timestamp),
        "str" => value.as_str().map(|text| Value::Str(text.into())),
        "bytes" => value.as_str().and_then(from_hex).map(Value::Bytes),
        "array" => {
            let values = value.as_array().ok_or("an array is a list")?;
            let values = values.iter().map(|value| value_at(value, depth + 1));
            Some(Value::Array(values.collect::<Result<_, _>>()?))
        }
        "table" => Some(Value::Table(table_at(value, depth + 1)?)),
        _ => return Err("unknown type of value"),
    };
    value.ok_or("a value is not of its type")
}

fn signed<T: TryFrom<i64>>(json: &Json) -> Option<T> {
    T::try_from(json.as_i64()?).ok()
}

fn unsigned<T: TryFrom<u64>>(json: &Json) -> Option<T> {
    T::try_from(json.as_u64()?).ok()
}

fn decimal(json: &Json) -> Option<Value> {
    let [scale, value] = json.as_array()?.as_slice() else { return None };
    Some(Value::Decimal { scale: unsigned(scale)?, value: signed(value)? })
}

fn to_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

fn from_hex(text: &str) -> Option<Bytes> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// True when tables and arrays nest within `TABLE_DEPTH_MAX` and have at most `TABLE_ENTRIES_MAX` entries each.
pub fn is_within_limits(table: &Table) -> bool {
    table_within(table, 0)
}

fn table_within(table: &Table, depth: usize) -> bool {
    table.len() <= TABLE_ENTRIES_MAX
        && depth <= TABLE_DEPTH_MAX
        && table.iter().all(|(_, value)| value_within(value, depth))
}

fn value_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(values) => {
            depth < TABLE_DEPTH_MAX
                && values.len() <= TABLE_ENTRIES_MAX
                && values.iter().all(|value| value_within(value, depth + 1))
        }
        Value::Table(table) => table_within(table, depth + 1),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i8>().prop_map(Value::I8),
            any::<u8>().prop_map(Value::U8),
            any::<i16>().prop_map(Value::I16),
            any::<u16>().prop_map(Value::U16),
            any::<i32>().prop_map(Value::I32),
            any::<u32>().prop_map(Value::U32),
            any::<i64>().prop_map(Value::I64),
            any::<u64>().prop_map(Value::U64),
            any::<f32>().prop_filter("equal to itself", |v| !v.is_nan()).prop_map(Value::F32),
            any::<f64>().prop_filter("equal to itself", |v| !v.is_nan()).prop_map(Value::F64),
            (any::<u8>(), any::<i32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
            any::<u64>().prop_map(Value::Timestamp),
            any::<String>().prop_map(Value::str),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|entries| {
                    Value::Table(Table(
                        entries.into_iter().map(|(name, value)| (name.into(), value)).collect(),
                    ))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn comes_back(value in value()) {
            let text = value_to_json(&value).to_string();
            let json: Json = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value_from_json(&json), Ok(value));
        }
    }

    #[test]
    fn deepest_table_comes_back_and_deeper_is_refused() {
        let nest = |depth: usize| {
            (0..depth).fold(Table::new(), |inner, _| Table(vec![("k".into(), Value::Table(inner))]))
        };
        let deepest = nest(TABLE_DEPTH_MAX);
        assert!(is_within_limits(&deepest) && !is_within_limits(&nest(TABLE_DEPTH_MAX + 1)));
        let text = table_to_json(&deepest).to_string();
        assert_eq!(table_from_json(&serde_json::from_str(&text).unwrap()), Ok(deepest));
        assert!(table_from_json(&table_to_json(&nest(TABLE_DEPTH_MAX + 2))).is_err());
    }
}
