//! Tags of buses and rules, kept with the bus by ARN.

use super::{Bus, fail, invalid};
use crate::aws::context::{Answer, Context, texts};
use crate::aws::input::parse;
use aws_protocol::arn::Arn;
use aws_protocol::error::{ApiError, events};
use aws_protocol::json::{Object, push_list};
use model::command::Op;
use model::value::{Table, Value};
use serde::Deserialize;

const ARGUMENT: &str = "x-events-tags";
const TAGS_MAX: usize = 50;

/// A tag on the wire.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct TagInput {
    #[serde(rename = "ResourceARN", default)]
    arn: String,
    #[serde(rename = "Tags", default)]
    tags: Vec<Tag>,
    #[serde(rename = "TagKeys", default)]
    keys: Vec<String>,
}

/// Sets tags of `arn` in the arguments of a bus.
pub(super) fn set(arguments: &mut Table, arn: &str, tags: Vec<Tag>) {
    let mut all = arguments.get(ARGUMENT).and_then(Value::as_table).cloned().unwrap_or_default();
    let mut own = all.get(arn).and_then(Value::as_table).cloned().unwrap_or_default();
    tags.into_iter().for_each(|tag| own.set(&tag.key, Value::str(tag.value)));
    all.set(arn, Value::Table(own));
    arguments.set(ARGUMENT, Value::Table(all));
}

/// Adds tags to `arn`. The caller holds the definitions' lock.
pub(super) async fn add(context: &Context<'_>, bus: &Bus, arn: &str, tags: Vec<Tag>) -> Result<(), ApiError> {
    let mut changed = Table::new();
    if let Some(current) = bus.0.declare.arguments.get(ARGUMENT) {
        changed.push(ARGUMENT, current.clone());
    }
    set(&mut changed, arn, tags);
    keep(context, bus, changed).await
}

async fn keep(context: &Context<'_>, bus: &Bus, arguments: Table) -> Result<(), ApiError> {
    let op = Op::AlterExchange { name: bus.0.name.clone(), arguments };
    context.op(op).await.map(drop).map_err(|error| fail(&error))
}

/// The bus that an ARN of a bus or rule belongs to; rules must exist.
async fn bus_of(context: &Context<'_>, text: &str) -> Result<Bus, ApiError> {
    let missing = || events::NOT_FOUND.error(format!("Resource {text} does not exist."));
    let arn = Arn::parse(text).filter(|arn| arn.service == "events").ok_or_else(missing)?;
    let mut parts = arn.resource.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("event-bus"), Some(bus), None) => Bus::of(context, Some(bus)).await,
        (Some("rule"), Some(rule), None) => {
            let bus = Bus::of(context, None).await?;
            bus.rule(rule).map(|_| bus)
        }
        (Some("rule"), Some(bus), Some(rule)) => {
            let bus = Bus::of(context, Some(bus)).await?;
            bus.rule(rule).map(|_| bus)
        }
        _ => Err(missing()),
    }
}

fn tags_of<'a>(bus: &'a Bus, arn: &str) -> Vec<(&'a str, &'a str)> {
    let all = bus.0.declare.arguments.get(ARGUMENT).and_then(Value::as_table);
    texts(all.and_then(|all| all.get(arn)))
}

/// `TagResource`.
pub(super) async fn tag(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    let _alone = context.door.definitions.lock().await;
    let bus = bus_of(context, &input.arn).await?;
    if tags_of(&bus, &input.arn).len() + input.tags.len() > TAGS_MAX {
        return Err(invalid(format!("A resource may have {TAGS_MAX} tags.")));
    }
    add(context, &bus, &input.arn, input.tags).await?;
    Ok(Some("{}".to_owned()))
}

/// `UntagResource`.
pub(super) async fn untag(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    let _alone = context.door.definitions.lock().await;
    let bus = bus_of(context, &input.arn).await?;
    let mut all =
        bus.0.declare.arguments.get(ARGUMENT).and_then(Value::as_table).cloned().unwrap_or_default();
    let mut own = all.get(&input.arn).and_then(Value::as_table).cloned().unwrap_or_default();
    input.keys.iter().for_each(|key| own.remove(key));
    all.set(&input.arn, Value::Table(own));
    let mut changed = Table::new();
    changed.push(ARGUMENT, Value::Table(all));
    keep(context, &bus, changed).await?;
    Ok(Some("{}".to_owned()))
}

/// `ListTagsForResource`.
pub(super) async fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    let bus = bus_of(context, &input.arn).await?;
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    push_list(object.member("Tags"), tags_of(&bus, &input.arn), |out, (key, value)| {
        let mut tag = Object::begin(out);
        tag.text("Key", key).text("Value", value);
        tag.end();
    });
    object.end();
    Ok(Some(out))
}
