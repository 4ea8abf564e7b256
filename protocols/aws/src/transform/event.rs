//! EventBridge events: the envelope that a bus puts around every message that is none yet.

use super::{message_id, subject, with_content};
use crate::arn::Place;
use crate::json::{self, Object, push_string};
use crate::native::{self, EVENT, TEXT, View};
use crate::{convert, payload, time};
use model::behaviour::Transform;
use model::message::Message;
use model::{Millis, Name};
use serde::de::IgnoredAny;
use std::sync::Arc;

/// Source of wrapped messages: this, then the exchange that they were published to.
pub const SOURCE_PREFIX: &str = "waystation.";

/// The members of an event besides `version`.
#[derive(Debug)]
pub struct Event<'a> {
    /// `id`.
    pub id: &'a str,
    /// `detail-type`.
    pub detail_type: &'a str,
    /// `source`.
    pub source: &'a str,
    /// `account` and `region`.
    pub place: &'a Place,
    /// `time`.
    pub time_ms: Millis,
    /// `resources`.
    pub resources: &'a [String],
    /// `detail`: a JSON object, written as it is.
    pub detail: &'a str,
}

impl Event<'_> {
    /// The event as JSON, members in AWS's order.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.detail.len() + 256);
        let mut object = Object::begin(&mut out);
        object
            .text("version", "0")
            .text("id", self.id)
            .text("detail-type", self.detail_type)
            .text("source", self.source)
            .text("account", &self.place.account)
            .text("time", &time::iso(self.time_ms, false))
            .text("region", &self.place.region);
        json::push_list(object.member("resources"), self.resources, |out, resource| {
            push_string(out, resource)
        });
        object.member("detail").push_str(self.detail);
        object.end();
        out
    }
}

/// True when `text` is a JSON object.
pub fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// What a bus does to every message that enters it.
#[derive(Debug)]
pub struct EventEnvelope {
    /// Account and region of the bus.
    pub place: Place,
    /// Name of the bus.
    pub bus: Name,
}

impl Transform for EventEnvelope {
    fn apply(&self, message: &Arc<Message>) -> Option<Arc<Message>> {
        if native::is_aws(&message.native) && View::of(&message.native.properties).has(EVENT) {
            return Some(Arc::clone(message));
        }
        let id = message_id(message);
        let origin = [&message.exchange, &self.bus].into_iter().find(|name| !name.is_empty())?;
        let detail_type = subject(message).unwrap_or(&message.routing_key);
        let detail_type = if detail_type.is_empty() { origin } else { detail_type };
        let body = message.body.joined();
        let detail = match payload::as_text(&body).filter(|text| is_object(text)) {
            Some(object) => object.to_owned(),
            None => foreign_detail(message, &body),
        };
        let event = Event {
            id: &native::uuid(&id),
            detail_type,
            source: &format!("{SOURCE_PREFIX}{origin}"),
            place: &self.place,
            time_ms: message.published_ms,
            resources: &[],
            detail: &detail,
        };
        let native = native::encode(TEXT | EVENT, &id, |writer| {
            writer.system(native::SUBJECT, detail_type.as_bytes());
        });
        Some(Arc::new(with_content(message, native, event.to_json())))
    }
}

/// `{"body":...,"headers":{...}}` for a body that is no JSON object; `"encoding":"base64"` when it is no text.
fn foreign_detail(message: &Message, body: &[u8]) -> String {
    let (text, binary) = payload::text_or_base64(body);
    let mut out = String::with_capacity(text.len() + 64);
    let mut object = Object::begin(&mut out);
    object.text("body", &text).optional("encoding", binary.then_some(payload::BASE64));
    let headers = convert::table_to_json(&message.envelope().headers, 0);
    object.member("headers").push_str(&headers.to_string());
    object.end();
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::arn::Home;
    use crate::transform::samples;

    fn wrap(message: Message) -> serde_json::Value {
        let home = Home { account: "000000000000".into(), region: "us-east-1".into() };
        let bus = EventEnvelope { place: home.place_of("/"), bus: "default".into() };
        samples::json(&bus.apply(&Arc::new(message)).unwrap())
    }

    #[test]
    fn objects_become_the_detail() {
        let event = wrap(samples::aws(TEXT, r#"{"a":{"b":1}}"#));
        assert_eq!(event["detail"]["a"]["b"], 1);
        assert_eq!(event["source"], "waystation.ex");
        assert_eq!(event["detail-type"], "key");
        assert_eq!(event["time"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn anything_else_becomes_a_body() {
        for body in ["plain", "[1]", "{\"a\":1} x", "", "3"] {
            assert_eq!(wrap(samples::aws(TEXT, body))["detail"]["body"], *body);
        }
    }

    #[test]
    fn events_stay_as_they_are() {
        assert_eq!(wrap(samples::aws(TEXT | EVENT, r#"{"already":"event"}"#))["already"], "event");
    }
}
