//! Tags of streams: kept with the stream, read by nobody here.

use super::{fail, stream};
use crate::aws::context::{Answer, Context, texts};
use crate::aws::input::{integer, page, parse};
use aws_protocol::error::{ApiError, kinesis};
use aws_protocol::json::{Object, push_list};
use model::command::Op;
use model::value::{Table, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The argument that keeps them.
pub(super) const ARGUMENT: &str = "x-kinesis-tags";
const TAGS_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    tag_keys: Option<Vec<String>>,
    exclusive_start_tag_key: Option<String>,
    #[serde(default, deserialize_with = "integer")]
    limit: Option<i64>,
}

/// Tags as an argument. Errors: more than fifty.
pub(super) fn table(tags: BTreeMap<String, String>) -> Result<Value, ApiError> {
    if tags.len() > TAGS_MAX {
        return Err(kinesis::INVALID_ARGUMENT.error(format!("A stream may have {TAGS_MAX} tags.")));
    }
    let mut table = Table::new();
    tags.into_iter().for_each(|(key, value)| table.push(key, Value::str(value)));
    Ok(Value::Table(table))
}

/// `AddTagsToStream`.
pub(super) async fn add(context: &Context<'_>, input: &[u8]) -> Answer {
    change(context, &parse(input)?).await
}

/// `RemoveTagsFromStream`.
pub(super) async fn remove(context: &Context<'_>, input: &[u8]) -> Answer {
    change(context, &parse(input)?).await
}

async fn change(context: &Context<'_>, input: &Input) -> Answer {
    let _alone = context.door.definitions.lock().await;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let mut tags: BTreeMap<String, String> = texts(stream.declare.arguments.get(ARGUMENT))
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    tags.extend(input.tags.clone());
    tags.retain(|key, _| !input.tag_keys.iter().flatten().any(|removed| removed == key));
    let mut arguments = Table::new();
    arguments.push(ARGUMENT, table(tags)?);
    let op = Op::AlterQueue { name: stream.name.clone(), arguments };
    context.op(op).await.map_err(|error| fail(&error))?;
    Ok(None)
}

/// `ListTagsForStream`.
pub(super) fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: Input = parse(input)?;
    let stream = stream(context, input.stream_name.as_deref(), input.stream_arn.as_deref())?;
    let tags = texts(stream.declare.arguments.get(ARGUMENT));
    let max = usize::try_from(input.limit.unwrap_or(50).clamp(1, 50)).unwrap_or(1);
    let keys = tags.iter().map(|(key, _)| *key).collect();
    let (keys, next) = page(keys, input.exclusive_start_tag_key.as_deref(), max);
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    push_list(
        object.member("Tags"),
        tags.iter().filter(|(key, _)| keys.contains(key)),
        |out, (key, value)| {
            let mut tag = Object::begin(out);
            tag.text("Key", key).text("Value", value);
            tag.end();
        },
    );
    object.member("HasMoreTags").push_str(if next.is_some() { "true" } else { "false" });
    object.end();
    Ok(Some(out))
}
