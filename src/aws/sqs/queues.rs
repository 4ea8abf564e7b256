//! Making, finding, describing and removing queues.

use super::attributes::{self, Attributes};
use super::{QueueInput, Target, fail, invalid, is_queue, missing, queue_url};
use crate::aws::context::{Answer, Context, unexpected};
use crate::aws::input::{integer, page, parse};
use aws_protocol::error::{ApiError, sqs};
use aws_protocol::json::{Object, push_list, push_string};
use model::command::{Op, QueueStatus, Reply};
use model::definition::QueueDeclare;
use model::value::{Table, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most queues of one page, and what a page has when the client does not say.
const PAGE_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput {
    queue_name: Option<String>,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default, alias = "tags")]
    tags: BTreeMap<String, String>,
}

/// `CreateQueue`.
pub(super) async fn create(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: CreateInput = parse(input)?;
    let name = input.queue_name.filter(|name| !name.is_empty()).ok_or_else(|| missing("QueueName"))?;
    let place = &context.place;
    let topology = context.topology();
    let fifo = name.ends_with(".fifo");
    let mut arguments = attributes::arguments(&input.attributes, &name, place, &topology)?;
    if let Some(queue) = topology.queue(&place.vhost, &name).filter(|queue| is_queue(queue)) {
        if let Some(different) = attributes::difference(&input.attributes, queue, place) {
            return Err(sqs::QUEUE_NAME_EXISTS.error(format!(
                "A queue already exists with the same name and a different value for attribute {different}"
            )));
        }
        return Ok(Some(url_answer(context, &name)));
    }
    check_name(&name)?;
    if fifo != (input.attributes.get("FifoQueue").map(String::as_str) == Some("true")) {
        return Err(invalid(
            &name,
            "QueueName",
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
             must end with .fifo suffix and be 1 to 80 in length.",
        ));
    }
    attributes::defaults(&mut arguments, fifo, context.now / 1000);
    if !input.tags.is_empty() {
        arguments.push(super::tags::ARGUMENT, super::tags::table(input.tags)?);
    }
    let declare = QueueDeclare {
        name: name.as_str().into(),
        durable: true,
        attach: true,
        arguments,
        ..QueueDeclare::default()
    };
    context.op(Op::DeclareQueue(declare)).await.map_err(|error| fail(&error))?;
    Ok(Some(url_answer(context, &name)))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let fit = (1..=80).contains(&name.len())
        && !stem.is_empty()
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if fit {
        return Ok(());
    }
    let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
    Err(invalid(name, "QueueName", reason))
}

fn url_answer(context: &Context<'_>, name: &str) -> String {
    let mut out = String::with_capacity(128);
    let mut object = Object::begin(&mut out);
    object.text("QueueUrl", &queue_url(context, &context.place, name));
    object.end();
    out
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UrlInput {
    queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

/// `GetQueueUrl`.
pub(super) fn url(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: UrlInput = parse(input)?;
    let name = input.queue_name.ok_or_else(|| missing("QueueName"))?;
    let place = context.place_of_account(input.owner.as_deref());
    let target = Target::named(context, place, &name)?;
    let mut out = String::with_capacity(128);
    let mut object = Object::begin(&mut out);
    object.text("QueueUrl", &queue_url(context, &target.place, &name));
    object.end();
    Ok(Some(out))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    queue_name_prefix: Option<String>,
    queue_url: Option<String>,
    next_token: Option<String>,
    #[serde(default, deserialize_with = "integer")]
    max_results: Option<i64>,
}

/// `ListQueues`.
pub(super) fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ListInput = parse(input)?;
    let prefix = input.queue_name_prefix.as_deref().unwrap_or_default();
    let topology = context.topology();
    let queues = topology.queues(&context.place.vhost).filter(|queue| is_queue(queue));
    let names = queues.map(|queue| &*queue.name).filter(|name| name.starts_with(prefix)).collect();
    answer_list(context, "QueueUrls", names, &input)
}

/// `ListDeadLetterSourceQueues`.
pub(super) fn dead_letter_sources(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: ListInput = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    let topology = context.topology();
    let sources = topology.queues(&target.place.vhost).filter(|queue| {
        let settings = &queue.settings;
        settings.dead_letter_exchange.as_deref() == Some("")
            && settings.dead_letter_key.as_ref() == Some(target.name())
    });
    answer_list(context, "queueUrls", sources.map(|queue| &*queue.name).collect(), &input)
}

fn answer_list(context: &Context<'_>, member: &str, names: Vec<&str>, input: &ListInput) -> Answer {
    let max = super::within(input.max_results, "MaxResults", 1, PAGE_MAX as i64)?;
    let max = max.and_then(|max| usize::try_from(max).ok()).unwrap_or(PAGE_MAX);
    let (names, next) = page(names, input.next_token.as_deref(), max);
    let mut out = String::with_capacity(32 + names.len() * 64);
    let mut object = Object::begin(&mut out);
    if !names.is_empty() {
        push_list(object.member(member), names, |out, name| {
            push_string(out, &queue_url(context, &context.place, name));
        });
    }
    object.optional("NextToken", next.as_deref().filter(|_| input.max_results.is_some()));
    object.end();
    Ok(Some(out))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributesInput {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Vec<String>,
}

/// `GetQueueAttributes`.
pub(super) async fn attributes(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: AttributesInput = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    let unknown = |name: &&String| *name != "All" && !attributes::names().any(|known| known == *name);
    if let Some(name) = input.attribute_names.iter().find(unknown) {
        return Err(sqs::INVALID_ATTRIBUTE_NAME.error(format!("Unknown Attribute {name}.")));
    }
    let op = Op::Status(target.name().clone());
    let reply = context.caller().op(&target.place.vhost, op).await.map_err(|error| fail(&error))?;
    let Reply::Status(status) = reply else { return Err(unexpected()) };
    let wanted = |name: &str| input.attribute_names.iter().any(|wish| wish == "All" || wish == name);
    let mut out = String::with_capacity(512);
    let mut object = Object::begin(&mut out);
    if !input.attribute_names.is_empty() {
        let mut list = Object::begin(object.member("Attributes"));
        for name in attributes::names().filter(|name| wanted(name)) {
            let value =
                count(&status, name).or_else(|| attributes::value(&target.queue, &target.place, name));
            list.optional(name, value.as_deref());
        }
        list.end();
    }
    object.end();
    Ok(Some(out))
}

fn count(status: &QueueStatus, name: &str) -> Option<String> {
    let count = match name {
        "ApproximateNumberOfMessages" => status.ready,
        "ApproximateNumberOfMessagesNotVisible" => status.leased,
        "ApproximateNumberOfMessagesDelayed" => status.delayed,
        _ => return None,
    };
    Some(count.to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetInput {
    queue_url: Option<String>,
    #[serde(default)]
    attributes: Attributes,
}

/// `SetQueueAttributes`.
pub(super) async fn set_attributes(context: &Context<'_>, input: &[u8]) -> Answer {
    let mut input: SetInput = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    if let Some(fifo) = input.attributes.remove("FifoQueue")
        && (fifo == "true") != target.queue.settings.fifo
    {
        return Err(sqs::INVALID_ATTRIBUTE_VALUE.error("FifoQueue can not be changed."));
    }
    let topology = context.topology();
    let mut arguments = attributes::arguments(&input.attributes, target.name(), &target.place, &topology)?;
    arguments.push(attributes::MODIFIED, Value::str((context.now / 1000).to_string()));
    alter(context, &target, arguments).await
}

/// Changes arguments of a queue.
pub(super) async fn alter(context: &Context<'_>, target: &Target, arguments: Table) -> Answer {
    let op = Op::AlterQueue { name: target.name().clone(), arguments };
    context.caller().op(&target.place.vhost, op).await.map_err(|error| fail(&error))?;
    Ok(None)
}

/// `PurgeQueue`.
pub(super) async fn purge(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: QueueInput<'_> = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    let op = Op::PurgeQueue(target.name().clone());
    context.caller().op(&target.place.vhost, op).await.map_err(|error| fail(&error))?;
    Ok(None)
}

/// `DeleteQueue`.
pub(super) async fn delete(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: QueueInput<'_> = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    let op = Op::DeleteQueue { name: target.name().clone(), if_unused: false, if_empty: false };
    context.caller().op(&target.place.vhost, op).await.map_err(|error| fail(&error))?;
    Ok(None)
}
