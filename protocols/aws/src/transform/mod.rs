//! Messages made of messages: SNS notifications, EventBridge events, inputs of rule targets.
//!
//! Deterministic: ids come from the message, times from when it was taken in.

pub mod event;
pub mod notification;
pub mod path;
pub mod target;

use crate::native::{self, View};
use bytes::Bytes;
use md5::{Digest, Md5};
use model::message::{Body, Message, Native};

/// The id of a message: the one it got at an AWS door, else one derived from its content.
pub fn message_id(message: &Message) -> [u8; 16] {
    if native::is_aws(&message.native) {
        let id = View::of(&message.native.properties).id;
        if id != [0; 16] {
            return id;
        }
    }
    let mut hash = Md5::new();
    hash.update(message.published_ms.to_be_bytes());
    hash.update(message.exchange.as_bytes());
    hash.update([0]);
    hash.update(message.routing_key.as_bytes());
    hash.update([0]);
    hash.update(&message.native.properties);
    message.body.pieces().iter().for_each(|piece| hash.update(piece));
    native::as_uuid(hash.finalize().into())
}

/// `message` with other properties and another body, everything about its handling kept.
fn with_content(message: &Message, native: Native, body: impl Into<Bytes>) -> Message {
    let mut derived = message.derive();
    derived.native = native;
    derived.body = Body::from(body.into());
    derived
}

/// The subject of a message: SNS Subject, AMQP header and the like.
fn subject(message: &Message) -> Option<&str> {
    message.envelope().subject.as_deref().filter(|subject| !subject.is_empty())
}

#[cfg(test)]
pub(crate) mod samples {
    //! Messages for tests.
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::Name;
    use std::sync::Arc;

    /// A message of an AWS door.
    pub(crate) fn aws(flags: u8, body: &str) -> Message {
        let native = native::encode(flags, &[1; 16], |_| {});
        Message::new("ex".into(), Name::from("key"), native, Body::from(Bytes::from(body.to_owned())), 1_000)
    }

    /// The body of a transformed message as JSON.
    pub(crate) fn json(message: &Arc<Message>) -> serde_json::Value {
        serde_json::from_slice(&message.body.joined()).unwrap()
    }
}
