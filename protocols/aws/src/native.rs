//! How a message that came through an AWS door keeps its properties: verbatim, in one small block.
//!
//! ```text
//! byte 0      version, 1
//! byte 1      flags: 1 the body is SQS text, 2 the body came as base64 and was decoded, 4 the body is an event
//! bytes 2-17  message id (UUID bytes)
//! then, to the end, records:
//!   kind u8 (1 text attribute, 2 binary attribute, 3 system)
//!   name length u16, name, type length u16, type, value length u32, value   (all big-endian)
//! ```

use crate::attributes::{Attribute, Content};
use crate::convert;
use bytes::{BufMut, Bytes, BytesMut};
use model::envelope::Envelope;
use model::message::{Native, PropertyCodec};
use std::borrow::Cow;

/// The body is text that SQS can carry.
pub const TEXT: u8 = 1;
/// The body came as base64 (attribute `waystation-encoding`) and was decoded.
pub const DECODED: u8 = 2;
/// The body is a complete EventBridge event.
pub const EVENT: u8 = 4;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 18;

/// System record: SNS Subject or EventBridge detail-type.
pub const SUBJECT: &str = "Subject";
/// System record: message group.
pub const GROUP: &str = "MessageGroupId";
/// System record: sequence number of a FIFO message, 8 bytes big-endian.
pub const SEQUENCE: &str = "SequenceNumber";
/// System record: the body for SQS subscribers of an SNS message published with `MessageStructure=json`.
pub const SQS_BODY: &str = "sqs";

/// The codec of [`AWS`].
#[derive(Debug)]
pub struct AwsProperties;

/// Reads the properties of messages that came through an AWS door.
pub static AWS: AwsProperties = AwsProperties;

impl PropertyCodec for AwsProperties {
    fn tag(&self) -> &'static str {
        "aws"
    }

    fn envelope(&self, properties: &Bytes) -> Envelope {
        convert::envelope(&View::of(properties))
    }

    /// The message id, 16 bytes, and the sequence number where there is one, 8 bytes.
    fn identity(&self, properties: &Bytes) -> Bytes {
        let view = View::of(properties);
        let mut identity = view.id.to_vec();
        identity.extend_from_slice(view.system(SEQUENCE).unwrap_or_default());
        identity.into()
    }
}

/// True when `native` was written here.
pub fn is_aws(native: &Native) -> bool {
    native.codec.tag() == AWS.tag()
}

/// Writes native properties at the end of a buffer.
#[derive(Debug)]
pub struct Writer<'a>(&'a mut BytesMut);

impl<'a> Writer<'a> {
    /// Begins with flags and message id.
    pub fn begin(out: &'a mut BytesMut, flags: u8, id: &[u8; 16]) -> Self {
        out.put_u8(VERSION);
        out.put_u8(flags);
        out.put_slice(id);
        Self(out)
    }

    /// Adds a message attribute.
    pub fn attribute(&mut self, attribute: &Attribute<'_>) -> &mut Self {
        let kind = if matches!(attribute.content, Content::Text(_)) { 1 } else { 2 };
        self.record(kind, &attribute.name, &attribute.data_type, attribute.content.bytes())
    }

    /// Adds a system record.
    pub fn system(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.record(3, name, "", value)
    }

    /// Adds a system record of text when there is one.
    pub fn optional(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.system(name, value.as_bytes());
        }
        self
    }

    fn record(&mut self, kind: u8, name: &str, data_type: &str, value: &[u8]) -> &mut Self {
        let lengths = (u16::try_from(name.len()), u16::try_from(data_type.len()), u32::try_from(value.len()));
        // Doors check these lengths long before; a record that does not fit is left out rather than cut.
        if let (Ok(name_len), Ok(type_len), Ok(value_len)) = lengths {
            self.0.put_u8(kind);
            self.0.put_u16(name_len);
            self.0.put_slice(name.as_bytes());
            self.0.put_u16(type_len);
            self.0.put_slice(data_type.as_bytes());
            self.0.put_u32(value_len);
            self.0.put_slice(value);
        }
        self
    }
}

/// Native properties in a block of their own.
pub fn encode(flags: u8, id: &[u8; 16], write: impl FnOnce(&mut Writer<'_>)) -> Native {
    let mut block = BytesMut::with_capacity(64);
    write(&mut Writer::begin(&mut block, flags, id));
    Native { codec: &AWS, properties: block.freeze() }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A message attribute.
    Attribute(Attribute<'a>),
    /// Name and value of a system record.
    System(&'a str, &'a [u8]),
}

/// Native properties, read in place. Whatever can not be read is not there.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// [`TEXT`], [`DECODED`], [`EVENT`].
    pub flags: u8,
    /// Message id; all zero when there is none.
    pub id: [u8; 16],
    records: &'a [u8],
}

impl<'a> View<'a> {
    /// The view of `properties`.
    pub fn of(properties: &'a [u8]) -> Self {
        let nothing = Self { flags: 0, id: [0; 16], records: &[] };
        let Some((header, records)) = properties.split_first_chunk::<HEADER_BYTES>() else { return nothing };
        let [version, flags, id @ ..] = *header;
        if version != VERSION {
            return nothing;
        }
        Self { flags, id, records }
    }

    /// True when `flag` is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// All records in order.
    pub fn records(&self) -> Records<'a> {
        Records(self.records)
    }

    /// The message attributes in order.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        self.records().filter_map(|record| match record {
            Record::Attribute(attribute) => Some(attribute),
            Record::System(..) => None,
        })
    }

    /// The system record called `name`.
    pub fn system(&self, name: &str) -> Option<&'a [u8]> {
        self.records().find_map(|record| match record {
            Record::System(key, value) if key == name => Some(value),
            _ => None,
        })
    }

    /// The system record called `name` as text.
    pub fn system_text(&self, name: &str) -> Option<&'a str> {
        self.system(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// Iterates over records; ends at the first that can not be read.
#[derive(Clone, Debug)]
pub struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn length(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length(2)?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn read(&mut self) -> Option<Record<'a>> {
        let kind = *self.take(1)?.first()?;
        let (name, data_type) = (self.text()?, self.text()?);
        let length = self.length(4)?;
        let value = self.take(length)?;
        let content = match kind {
            1 => Content::Text(Cow::Borrowed(std::str::from_utf8(value).ok()?)),
            2 => Content::Binary(Cow::Borrowed(value)),
            _ => return Some(Record::System(name, value)),
        };
        Some(Record::Attribute(Attribute { name: name.into(), data_type: data_type.into(), content }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read();
        if record.is_none() {
            self.0 = &[];
        }
        record
    }
}

/// A message id as text: `xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx`.
pub fn uuid(id: &[u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (index, byte) in id.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        crate::json::push_hex(&mut out, &[*byte]);
    }
    out
}

/// Marks 16 bytes as a version 4 UUID.
pub fn as_uuid(mut id: [u8; 16]) -> [u8; 16] {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(name: &'static str, value: &'static str) -> Attribute<'static> {
        Attribute { name: name.into(), data_type: "String".into(), content: Content::Text(value.into()) }
    }

    #[test]
    fn writes_and_reads_back() {
        let binary = Attribute {
            name: "b".into(),
            data_type: "Binary.png".into(),
            content: Content::Binary(Cow::Borrowed(&[0, 255])),
        };
        let native = encode(TEXT | EVENT, &[7; 16], |writer| {
            writer
                .attribute(&text("a", "1"))
                .optional(SUBJECT, Some("s"))
                .optional(GROUP, None)
                .attribute(&binary);
        });
        let view = View::of(&native.properties);
        assert!(view.has(TEXT) && view.has(EVENT) && !view.has(DECODED));
        assert_eq!(view.attributes().collect::<Vec<_>>(), [text("a", "1"), binary]);
        assert_eq!(view.system_text(SUBJECT), Some("s"));
        assert_eq!(view.system_text(GROUP), None);
        assert_eq!(uuid(&as_uuid([0xff; 16])), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), lie in any::<bool>()) {
            if let (true, Some(first)) = (lie, bytes.first_mut()) {
                *first = VERSION;
            }
            View::of(&bytes).records().for_each(drop);
            AWS.envelope(&Bytes::from(bytes));
        }
    }
}
