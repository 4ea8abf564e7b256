//! Typed values: header tables, arguments and attributes of every protocol, without loss.

use crate::Name;
use bytes::Bytes;

/// One typed value. The variants are the union of what the protocols can say, so that a table can cross and return.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// Signed 8 bit.
    I8(i8),
    /// Unsigned 8 bit.
    U8(u8),
    /// Signed 16 bit.
    I16(i16),
    /// Unsigned 16 bit.
    U16(u16),
    /// Signed 32 bit.
    I32(i32),
    /// Unsigned 32 bit.
    U32(u32),
    /// Signed 64 bit.
    I64(i64),
    /// Unsigned 64 bit.
    U64(u64),
    /// 32 bit floating point.
    F32(f32),
    /// 64 bit floating point.
    F64(f64),
    /// `value / 10^scale`.
    Decimal {
        /// Decimal places.
        scale: u8,
        /// Unscaled value.
        value: i32,
    },
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    /// Text.
    Str(Name),
    /// Bytes that are not text.
    Bytes(Bytes),
    /// A sequence.
    Array(Vec<Value>),
    /// A nested table.
    Table(Table),
}

impl Value {
    /// Text from anything string-like.
    pub fn str(text: impl Into<Name>) -> Self {
        Value::Str(text.into())
    }

    /// The value as text if it is text.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Str(text) = self { Some(text) } else { None }
    }

    /// The value as an integer if it is any integer type that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::I8(v) => Some(i64::from(*v)),
            Value::U8(v) => Some(i64::from(*v)),
            Value::I16(v) => Some(i64::from(*v)),
            Value::U16(v) => Some(i64::from(*v)),
            Value::I32(v) => Some(i64::from(*v)),
            Value::U32(v) => Some(i64::from(*v)),
            Value::I64(v) => Some(*v),
            Value::U64(v) => i64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// The value as a truth value if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(v) = self { Some(*v) } else { None }
    }

    /// The value as a table if it is one.
    pub fn as_table(&self) -> Option<&Table> {
        if let Value::Table(v) = self { Some(v) } else { None }
    }

    /// Scalars as the text that a protocol with text-only headers shows; `None` for arrays, tables and bytes.
    pub fn to_text(&self) -> Option<Name> {
        Some(match self {
            Value::Null => Name::new(),
            Value::Bool(v) => v.to_string().into(),
            Value::F32(v) => v.to_string().into(),
            Value::F64(v) => v.to_string().into(),
            Value::U64(v) => v.to_string().into(),
            Value::Timestamp(v) => v.to_string().into(),
            Value::Decimal { scale, value } => {
                (f64::from(*value) / 10f64.powi(i32::from(*scale))).to_string().into()
            }
            Value::Str(text) => text.clone(),
            Value::Bytes(_) | Value::Array(_) | Value::Table(_) => return None,
            integer => integer.as_i64()?.to_string().into(),
        })
    }
}

/// An ordered list of named values. Order and duplicates are kept (MQTT 5 user properties need both).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(pub Vec<(Name, Value)>);

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// The first value named `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The first value named `name` if it is text.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// Appends, keeping earlier values of the same name.
    pub fn push(&mut self, name: impl Into<Name>, value: Value) {
        self.0.push((name.into(), value));
    }

    /// Replaces every value named `name` by one.
    pub fn set(&mut self, name: &str, value: Value) {
        self.remove(name);
        self.push(name, value);
    }

    /// Removes every value named `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    /// True when there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Name, Value)> {
        self.0.iter()
    }
}
