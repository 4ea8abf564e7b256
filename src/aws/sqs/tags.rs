//! Tags of queues: kept with the queue, read by nobody here.

use super::{QueueInput, Target, queues};
use crate::aws::context::{Answer, Context, texts};
use crate::aws::input::parse;
use aws_protocol::error::{ApiError, sqs};
use aws_protocol::json::Object;
use model::value::{Table, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The argument that keeps them.
pub(super) const ARGUMENT: &str = "x-sqs-tags";
/// Most tags of one queue.
const TAGS_MAX: usize = 50;

/// Tags as an argument. Errors: more than fifty.
pub(super) fn table(tags: BTreeMap<String, String>) -> Result<Value, ApiError> {
    if tags.len() > TAGS_MAX {
        return Err(sqs::INVALID_PARAMETER.error(format!("Too many tags: the maximum is {TAGS_MAX}.")));
    }
    let mut table = Table::new();
    tags.into_iter().for_each(|(key, value)| table.push(key, Value::str(value)));
    Ok(Value::Table(table))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagInput {
    queue_url: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

/// `TagQueue`.
pub(super) async fn tag(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    change(context, input.queue_url.as_deref(), |tags| tags.extend(input.tags)).await
}

/// `UntagQueue`.
pub(super) async fn untag(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    change(context, input.queue_url.as_deref(), |tags| tags.retain(|key, _| !input.tag_keys.contains(key)))
        .await
}

async fn change(
    context: &Context<'_>,
    url: Option<&str>,
    edit: impl FnOnce(&mut BTreeMap<String, String>),
) -> Answer {
    let _alone = context.door.definitions.lock().await;
    let target = Target::of(context, url)?;
    let mut tags = texts(target.queue.declare.arguments.get(ARGUMENT))
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    edit(&mut tags);
    let mut arguments = Table::new();
    arguments.push(ARGUMENT, table(tags)?);
    queues::alter(context, &target, arguments).await
}

/// `ListQueueTags`.
pub(super) fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: QueueInput<'_> = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    let tags = texts(target.queue.declare.arguments.get(ARGUMENT));
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    if !tags.is_empty() {
        let mut list = Object::begin(object.member("Tags"));
        for (key, value) in tags {
            list.text(key, value);
        }
        list.end();
    }
    object.end();
    Ok(Some(out))
}
