//! Bytes and what they mean: primitive reads, tables, properties, the hot methods by hand, the rest through
//! `amq-protocol`. Knows no connection state.

pub(crate) mod hot;
pub(crate) mod method;
pub(crate) mod properties;
mod reader;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub(crate) use reader::{Malformed, Reader, clip_short, put_long, put_short};
