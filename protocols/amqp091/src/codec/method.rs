//! Control methods, through `amq-protocol`: parsed after their tables were found harmless, and written.

use super::{Malformed, Reader, clip_short, hot::id, table};
use amq_protocol::{
    frame::{AMQPFrame, WriteContext, gen_frame},
    protocol::{AMQPClass, parse_class},
    types::ShortString,
};
use bytes::{BufMut, BytesMut};
use model::{Name, value::Table};

/// A control method, and what `amq-protocol` does not keep of it.
#[derive(Debug)]
pub(crate) struct Control {
    /// The method.
    pub(crate) method: AMQPClass,
    /// Its table (arguments or client properties) in order; empty where the method has none.
    pub(crate) arguments: Table,
}

/// Why a method was not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodError {
    /// No such class or method.
    Unknown,
    /// Its bytes do not follow the grammar.
    Malformed(Malformed),
}

impl From<Malformed> for MethodError {
    fn from(malformed: Malformed) -> Self {
        MethodError::Malformed(malformed)
    }
}

/// Parses a method payload from its class id on.
pub(crate) fn parse(payload: &[u8]) -> Result<Control, MethodError> {
    let mut reader = Reader::new(payload);
    let id = reader.u32()?;
    if !is_known(id) {
        return Err(MethodError::Unknown);
    }
    let arguments = match before_table(id) {
        None => Table::new(),
        Some((fixed, names, flags)) => {
            reader.take(fixed)?;
            (0..names).try_for_each(|_| reader.short().map(drop))?;
            reader.take(flags)?;
            table::parse_table(reader.long()?)?
        }
    };
    let (_, method) = parse_class(payload).map_err(|_| Malformed("malformed method"))?;
    Ok(Control { method, arguments })
}

/// Bytes, short strings and flag bytes that stand before a method's table.
fn before_table(method: u32) -> Option<(usize, usize, usize)> {
    const START_OK: u32 = id(10, 11);
    const EXCHANGE_DECLARE: u32 = id(40, 10);
    const EXCHANGE_BIND: u32 = id(40, 30);
    const EXCHANGE_UNBIND: u32 = id(40, 40);
    const QUEUE_DECLARE: u32 = id(50, 10);
    const QUEUE_BIND: u32 = id(50, 20);
    const QUEUE_UNBIND: u32 = id(50, 50);
    const CONSUME: u32 = id(60, 20);
    Some(match method {
        START_OK => (0, 0, 0),
        EXCHANGE_DECLARE => (2, 2, 1),
        EXCHANGE_BIND | EXCHANGE_UNBIND => (2, 3, 1),
        QUEUE_DECLARE => (2, 1, 1),
        QUEUE_BIND => (2, 3, 1),
        QUEUE_UNBIND => (2, 3, 0),
        CONSUME => (2, 2, 1),
        _ => return None,
    })
}

/// The methods of 0-9-1 and RabbitMQ's extensions that a client may send. `connection.start` is the server's and has
/// a table, so it must not get as far as the parser.
fn is_known(method: u32) -> bool {
    let (class, method) = (method >> 16, method & 0xffff);
    match class {
        10 => matches!(method, 11 | 21 | 31 | 40 | 50 | 51 | 70 | 71),
        20 => matches!(method, 10 | 20 | 21 | 40 | 41),
        30 => method == 10,
        40 => matches!(method, 10 | 20 | 30 | 40),
        50 => matches!(method, 10 | 20 | 30 | 40 | 50),
        60 => matches!(method, 10 | 20 | 30 | 40 | 70 | 80 | 90 | 100 | 110 | 120),
        85 => method == 10,
        90 => matches!(method, 10 | 20 | 30),
        _ => false,
    }
}

/// Appends a method frame. Short strings in `method` were made by [`short`].
pub(crate) fn put(out: &mut BytesMut, channel: u16, method: AMQPClass) {
    let frame = AMQPFrame::Method(channel, method);
    // Into a vector nothing can fail for want of room.
    if let Ok(written) = gen_frame(&frame)(WriteContext::from(Vec::with_capacity(64))) {
        out.put_slice(&written.into_inner().0);
    }
}

/// A short string of `text`, clipped to what one can hold.
pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_new(clip_short(text)).unwrap_or_default()
}

/// A short string of the peer's as a name.
pub(crate) fn name(text: &ShortString) -> Name {
    Name::from(text.as_str())
}
