//! Field tables: [`model::value::Table`] to bytes and back, in order, with duplicates, to a limited depth.
//!
//! Scalars are read and written by `amq-protocol`. The walk over tables and arrays is our own: that crate sorts the
//! entries and recurses as deep as the bytes ask, which a peer could turn into a stack overflow.

use super::{Malformed, Reader, clip_short, put_long, put_short};
use amq_protocol::{
    frame::WriteContext,
    types::{AMQPValue, DecimalValue, generation::gen_value, parsing::parse_value},
};
use bytes::{BufMut, Bytes};
use model::{
    Name,
    limits::{TABLE_DEPTH_MAX, TABLE_ENTRIES_MAX},
    value::{Table, Value},
};

const BAD: Malformed = Malformed("malformed field table");
const DEEP: Malformed = Malformed("field table is nested too deeply");
const LONG: Malformed = Malformed("field table has too many entries");

/// One entry as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEntry<'a> {
    /// Name.
    pub(crate) name: &'a [u8],
    /// Type octet and value.
    pub(crate) value: &'a [u8],
    /// Name, type and value together.
    pub(crate) bytes: &'a [u8],
}

/// Walks a table's content entry by entry, checking structure and depth. Ends after the first error.
pub(crate) struct RawEntries<'a> {
    reader: Reader<'a>,
}

impl<'a> RawEntries<'a> {
    /// Over the content of a table (what follows its length).
    pub(crate) fn new(content: &'a [u8]) -> Self {
        Self { reader: Reader::new(content) }
    }

    fn entry(&mut self) -> Result<RawEntry<'a>, Malformed> {
        let before = self.reader.rest();
        let name = self.reader.short()?;
        let at_value = self.reader.rest();
        skip_value(&mut self.reader, 1)?;
        let after = self.reader.rest().len();
        let upto = |from: &'a [u8]| from.get(..from.len() - after).ok_or(BAD);
        Ok(RawEntry { name, value: upto(at_value)?, bytes: upto(before)? })
    }
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = Result<RawEntry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// Bytes of a value of a fixed-size type; `None` for sized and unknown types.
fn fixed_bytes(kind: u8) -> Option<usize> {
    Some(match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        _ => return None,
    })
}

fn skip_value(reader: &mut Reader<'_>, depth: usize) -> Result<(), Malformed> {
    if depth > TABLE_DEPTH_MAX {
        return Err(DEEP);
    }
    let kind = reader.u8()?;
    if let Some(size) = fixed_bytes(kind) {
        return reader.take(size).map(drop);
    }
    match kind {
        b'S' | b'x' => reader.long().map(drop),
        b'A' => {
            let mut inner = Reader::new(reader.long()?);
            while !inner.is_empty() {
                skip_value(&mut inner, depth + 1)?;
            }
            Ok(())
        }
        b'F' => {
            let mut inner = Reader::new(reader.long()?);
            while !inner.is_empty() {
                inner.short()?;
                skip_value(&mut inner, depth + 1)?;
            }
            Ok(())
        }
        _ => Err(BAD),
    }
}

/// The table of these bytes (what follows its length).
/// Errors: unknown types, cut values, names that are no text, more than the limits' entries or depth.
pub(crate) fn parse_table(content: &[u8]) -> Result<Table, Malformed> {
    table_at(content, 1)
}

/// The value of a raw entry.
pub(crate) fn parse_entry_value(entry: &RawEntry<'_>) -> Result<Value, Malformed> {
    value_at(&mut Reader::new(entry.value), 1)
}

fn table_at(content: &[u8], depth: usize) -> Result<Table, Malformed> {
    if depth > TABLE_DEPTH_MAX {
        return Err(DEEP);
    }
    let (mut reader, mut table) = (Reader::new(content), Table::new());
    while !reader.is_empty() {
        if table.len() >= TABLE_ENTRIES_MAX {
            return Err(LONG);
        }
        let name = Name::try_from(reader.short()?).map_err(|_| BAD)?;
        table.push(name, value_at(&mut reader, depth)?);
    }
    Ok(table)
}

fn value_at(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
    if depth > TABLE_DEPTH_MAX {
        return Err(DEEP);
    }
    match reader.rest().first() {
        Some(b'A') => {
            reader.u8()?;
            let (mut inner, mut items) = (Reader::new(reader.long()?), Vec::new());
            while !inner.is_empty() {
                if items.len() >= TABLE_ENTRIES_MAX {
                    return Err(LONG);
                }
                items.push(value_at(&mut inner, depth + 1)?);
            }
            Ok(Value::Array(items))
        }
        Some(b'F') => {
            reader.u8()?;
            Ok(Value::Table(table_at(reader.long()?, depth + 1)?))
        }
        _ => {
            let (rest, value) = parse_value(reader.rest()).map_err(|_| BAD)?;
            *reader = Reader::new(rest);
            scalar(value).ok_or(BAD)
        }
    }
}

fn scalar(value: AMQPValue) -> Option<Value> {
    Some(match value {
        AMQPValue::Boolean(v) => Value::Bool(v),
        AMQPValue::ShortShortInt(v) => Value::I8(v),
        AMQPValue::ShortShortUInt(v) => Value::U8(v),
        AMQPValue::ShortInt(v) => Value::I16(v),
        AMQPValue::ShortUInt(v) => Value::U16(v),
        AMQPValue::LongInt(v) => Value::I32(v),
        AMQPValue::LongUInt(v) => Value::U32(v),
        AMQPValue::LongLongInt(v) => Value::I64(v),
        AMQPValue::Float(v) => Value::F32(v),
        AMQPValue::Double(v) => Value::F64(v),
        AMQPValue::DecimalValue(v) => Value::Decimal { scale: v.scale, value: v.value.cast_signed() },
        AMQPValue::ShortString(v) => Value::str(v.as_str()),
        AMQPValue::LongString(v) => match Name::try_from(v.as_bytes()) {
            Ok(text) => Value::Str(text),
            Err(_) => Value::Bytes(Bytes::copy_from_slice(v.as_bytes())),
        },
        AMQPValue::Timestamp(v) => Value::Timestamp(v),
        AMQPValue::ByteArray(v) => Value::Bytes(Bytes::copy_from_slice(v.as_slice())),
        AMQPValue::Void => Value::Null,
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => return None,
    })
}

/// Appends a table with its length.
pub(crate) fn put_table(out: &mut Vec<u8>, table: &Table) {
    with_length(out, |out| put_entries(out, table));
}

/// Appends the entries of a table, without a length.
pub(crate) fn put_entries(out: &mut Vec<u8>, table: &Table) {
    for (name, value) in table.iter() {
        put_entry(out, name, value);
    }
}

/// Appends one entry.
pub(crate) fn put_entry(out: &mut Vec<u8>, name: &str, value: &Value) {
    put_short(out, clip_short(name).as_bytes());
    put_value(out, value);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Str(text) => {
            out.put_u8(b'S');
            put_long(out, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.put_u8(b'x');
            put_long(out, bytes);
        }
        Value::Array(items) => {
            out.put_u8(b'A');
            with_length(out, |out| items.iter().for_each(|item| put_value(out, item)));
        }
        Value::Table(table) => {
            out.put_u8(b'F');
            put_table(out, table);
        }
        other => put_scalar(out, other),
    }
}

fn put_scalar(out: &mut Vec<u8>, value: &Value) {
    let value = match value {
        Value::Bool(v) => AMQPValue::Boolean(*v),
        Value::I8(v) => AMQPValue::ShortShortInt(*v),
        Value::U8(v) => AMQPValue::ShortShortUInt(*v),
        Value::I16(v) => AMQPValue::ShortInt(*v),
        Value::U16(v) => AMQPValue::ShortUInt(*v),
        Value::I32(v) => AMQPValue::LongInt(*v),
        Value::U32(v) => AMQPValue::LongUInt(*v),
        Value::I64(v) => AMQPValue::LongLongInt(*v),
        // The wire has no unsigned 64 bit: what does not fit the signed one goes as text.
        Value::U64(v) => match i64::try_from(*v) {
            Ok(v) => AMQPValue::LongLongInt(v),
            Err(_) => AMQPValue::LongString(v.to_string().into_bytes().into()),
        },
        Value::F32(v) => AMQPValue::Float(*v),
        Value::F64(v) => AMQPValue::Double(*v),
        Value::Decimal { scale, value } => {
            AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: value.cast_unsigned() })
        }
        Value::Timestamp(v) => AMQPValue::Timestamp(*v),
        Value::Null | Value::Str(_) | Value::Bytes(_) | Value::Array(_) | Value::Table(_) => AMQPValue::Void,
    };
    match gen_value(&value)(WriteContext::from(Vec::with_capacity(16))) {
        Ok(written) => out.put_slice(&written.into_inner().0),
        // A vector takes everything; a void keeps the table well formed even so.
        Err(_) => out.put_u8(b'V'),
    }
}

fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.put_u32(0);
    write(out);
    let size = (out.len() - at - 4) as u32;
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&size.to_be_bytes());
    }
}

/// RabbitMQ's word for the type of a value on the wire, used in its error texts.
pub(crate) fn kind_word(kind: u8) -> &'static str {
    match kind {
        b't' => "bool",
        b'b' => "byte",
        b'B' => "unsignedbyte",
        b's' | b'U' => "short",
        b'u' => "unsignedshort",
        b'I' => "signedint",
        b'i' => "unsignedint",
        b'l' | b'L' => "long",
        b'f' => "float",
        b'd' => "double",
        b'D' => "decimal",
        b'S' => "longstr",
        b'A' => "array",
        b'T' => "timestamp",
        b'F' => "table",
        b'x' => "binary",
        _ => "void",
    }
}

/// RabbitMQ's word for the type of a value.
pub(crate) fn value_word(value: &Value) -> &'static str {
    kind_word(match value {
        Value::Bool(_) => b't',
        Value::I8(_) => b'b',
        Value::U8(_) => b'B',
        Value::I16(_) => b's',
        Value::U16(_) => b'u',
        Value::I32(_) => b'I',
        Value::U32(_) => b'i',
        Value::I64(_) | Value::U64(_) => b'l',
        Value::F32(_) => b'f',
        Value::F64(_) => b'd',
        Value::Decimal { .. } => b'D',
        Value::Str(_) => b'S',
        Value::Array(_) => b'A',
        Value::Timestamp(_) => b'T',
        Value::Table(_) => b'F',
        Value::Bytes(_) => b'x',
        Value::Null => b'V',
    })
}
