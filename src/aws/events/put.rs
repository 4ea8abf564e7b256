//! `PutEvents` and `TestEventPattern`.

use super::rules::bad_pattern;
use super::{Bus, invalid};
use crate::aws::context::{Answer, Context};
use crate::aws::input::parse;
use aws_protocol::error::{ApiError, common};
use aws_protocol::json::{Object, push_list};
use aws_protocol::transform::event::{Event, is_object};
use aws_protocol::{native, time};
use bytes::Bytes;
use engine::filter::EventPattern;
use model::Millis;
use model::message::Message;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Most entries of one request.
const ENTRIES_MAX: usize = 10;
/// Most bytes of all entries together.
const BYTES_MAX: usize = 1_048_576;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(default)]
    time: Option<serde_json::Value>,
    #[serde(borrow, default)]
    source: Option<Cow<'a, str>>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(borrow, default)]
    detail_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    detail: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_bus_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    trace_header: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutInput<'a> {
    #[serde(borrow, default)]
    entries: Vec<Entry<'a>>,
}

/// Code and sentence of an entry that failed.
type Failure = (&'static str, String);

/// `PutEvents`.
pub(super) async fn put_events(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: PutInput<'_> = parse(input)?;
    if input.entries.is_empty() || input.entries.len() > ENTRIES_MAX {
        return Err(invalid(format!(
            "1 validation error detected: Value '[{} entries]' at 'entries' failed to satisfy constraint: \
             Member must have length between 1 and {ENTRIES_MAX}",
            input.entries.len()
        )));
    }
    if input.entries.iter().map(Entry::size).sum::<usize>() > BYTES_MAX {
        return Err(invalid("Total size of the entries in the request is over the limit."));
    }
    let mut messages = Vec::with_capacity(input.entries.len());
    let mut results: Vec<Result<String, Failure>> = Vec::with_capacity(input.entries.len());
    for entry in &input.entries {
        results.push(build(context, entry).await.map(|(message, id)| {
            messages.push(message);
            id
        }));
    }
    let mut published = context.caller().publish(&context.place.vhost, messages).await.into_iter();
    for result in results.iter_mut().filter(|result| result.is_ok()) {
        if let Some(Err(error)) = published.next() {
            *result = Err(("InternalFailure", error.text.to_string()));
        }
    }
    Ok(Some(answer(&results)))
}

fn answer(results: &[Result<String, Failure>]) -> String {
    let mut out = String::with_capacity(64 + results.len() * 64);
    let mut object = Object::begin(&mut out);
    object.number("FailedEntryCount", results.iter().filter(|result| result.is_err()).count() as u64);
    push_list(object.member("Entries"), results, |out, result| {
        let mut entry = Object::begin(out);
        match result {
            Ok(id) => entry.text("EventId", id),
            Err((code, text)) => entry.text("ErrorCode", code).text("ErrorMessage", text),
        };
        entry.end();
    });
    object.end();
    out
}

impl Entry<'_> {
    /// "the time is 14 bytes if given, then the UTF-8 lengths of Source, DetailType, Detail and every resource".
    fn size(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail];
        let resources = self.resources.iter().map(String::len).sum::<usize>();
        let texts = texts.into_iter().flatten().map(|text| text.len()).sum::<usize>();
        texts + resources + if self.time.is_some() { 14 } else { 0 }
    }

    fn time_ms(&self, now: Millis) -> Millis {
        match &self.time {
            Some(serde_json::Value::Number(seconds)) => seconds
                .as_f64()
                .filter(|seconds| *seconds >= 0.0)
                .map_or(now, |seconds| (seconds * 1000.0) as Millis),
            Some(serde_json::Value::String(text)) => time::parse_iso(text).unwrap_or(now),
            _ => now,
        }
    }
}

fn required<'a>(value: Option<&'a Cow<'_, str>>, name: &str) -> Result<&'a str, Failure> {
    let value = value.map(|value| value.as_ref()).filter(|value: &&str| !value.is_empty());
    let text = || format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
    value.ok_or_else(|| ("InvalidArgument", text()))
}

async fn build(context: &Context<'_>, entry: &Entry<'_>) -> Result<(Arc<Message>, String), Failure> {
    let source = required(entry.source.as_ref(), "Source")?;
    let detail_type = required(entry.detail_type.as_ref(), "DetailType")?;
    let detail = required(entry.detail.as_ref(), "Detail")?;
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSourceException", format!("Not authorized for the source {source}.")));
    }
    if !is_object(detail) {
        return Err(("MalformedDetail", "Detail is malformed.".to_owned()));
    }
    let bus = Bus::of(context, entry.event_bus_name.as_deref()).await;
    let bus = bus.map_err(|error| (error.code.shape, error.message.into_owned()))?;
    let id = context.door.ids.next();
    let id_text = native::uuid(&id);
    let event = Event {
        id: &id_text,
        detail_type,
        source,
        place: &context.place,
        time_ms: entry.time_ms(context.now),
        resources: &entry.resources,
        detail,
    };
    let native = native::encode(native::TEXT | native::EVENT, &id, |writer| {
        writer.system(native::SUBJECT, detail_type.as_bytes());
    });
    let mut message = context.message(bus.name(), detail_type, native, Bytes::from(event.to_json()));
    if let Some(trace) = entry.trace_header.as_deref() {
        message.extra_mut().trace = Some(trace.into());
    }
    Ok((Arc::new(message), id_text))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TestInput {
    #[serde(default)]
    event_pattern: String,
    #[serde(default)]
    event: String,
}

/// `TestEventPattern`.
pub(super) fn test_pattern(input: &[u8]) -> Answer {
    let input: TestInput = parse(input)?;
    let pattern = EventPattern::compile(&input.event_pattern).map_err(|reason| bad_pattern(&reason))?;
    let event: serde_json::Value = serde_json::from_str(&input.event).map_err(|_| malformed())?;
    let required = ["id", "account", "source", "time", "region", "resources", "detail-type"];
    if !required.iter().all(|name| event.get(name).is_some()) {
        return Err(malformed());
    }
    Ok(Some(format!("{{\"Result\":{}}}", pattern.matches(&event))))
}

fn malformed() -> ApiError {
    common::VALIDATION.error("Parameter Event is not valid.")
}
