//! The neutral envelope: what a message says about itself in words that every protocol can read.
//!
//! A protocol crate converts its own properties to this and this to its own properties; never to another protocol's.
//! The conversion table is docs/crossing.md.

use crate::{Millis, Name, value::Table};
use bytes::Bytes;

/// Everything about a message that can cross from one protocol to another, besides its body and routing key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// MIME type of the body.
    pub content_type: Option<Name>,
    /// MIME content encoding.
    pub content_encoding: Option<Name>,
    /// Correlation data; text in most protocols, any bytes in MQTT 5.
    pub correlation_id: Option<Bytes>,
    /// Where to answer, in the origin's own form of address.
    pub reply_to: Option<Name>,
    /// Time to live that the publisher asked for, milliseconds.
    pub ttl_ms: Option<u64>,
    /// Higher is more urgent; `None` when the publisher said nothing.
    pub priority: Option<u8>,
    /// The publisher's identity of the message.
    pub message_id: Option<Name>,
    /// When the publisher says it was made.
    pub timestamp_ms: Option<Millis>,
    /// Application's type name (AMQP `type`).
    pub kind: Option<Name>,
    /// Publishing user, as asserted by the publisher.
    pub user_id: Option<Name>,
    /// Publishing application.
    pub app_id: Option<Name>,
    /// The publisher asked for persistence (AMQP delivery mode 2, MQTT QoS 1 and 2, STOMP persistent:true).
    pub durable: bool,
    /// The publisher declared the body to be UTF-8 text (MQTT 5 payload format indicator 1, every SQS body).
    pub utf8_body: bool,
    /// Message group: SQS/SNS MessageGroupId.
    pub group: Option<Name>,
    /// Subject: SNS Subject, EventBridge detail-type.
    pub subject: Option<Name>,
    /// Application headers, attributes, user properties: ordered, typed.
    pub headers: Table,
}
