//! Making, listing, describing, tagging and removing topics.

use super::subscriptions::subscriptions_of;
use super::{Topic, fail, invalid, is_topic};
use crate::aws::context::{Answer, Context, texts};
use crate::aws::input::{page, parse};
use aws_protocol::behaviour::SNS_KIND;
use aws_protocol::error::{ApiError, sns};
use aws_protocol::json::{Object, push_list};
use model::command::Op;
use model::definition::ExchangeDeclare;
use model::value::{Table, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Topics, subscriptions or tags of one page.
pub(super) const PAGE: usize = 100;
const TAGS: &str = "x-sns-tags";
const TAGS_MAX: usize = 50;
/// Attributes that clients may set; all are kept as text, the empty text removes one.
const SETTABLE: [&str; 13] = [
    "ArchivePolicy",
    "ContentBasedDeduplication",
    "DataProtectionPolicy",
    "DeliveryPolicy",
    "DisplayName",
    "FifoThroughputScope",
    "FifoTopic",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "Policy",
    "SignatureVersion",
    "TracingConfig",
    "SQSSuccessFeedbackSampleRate",
];

/// The argument that keeps attribute `name`.
pub(super) fn argument(name: &str) -> String {
    format!("x-sns-{name}")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput {
    #[serde(default)]
    name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// `CreateTopic`.
pub(super) async fn create(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: CreateInput = parse(input)?;
    check_name(&input.name)?;
    let fifo = input.name.ends_with(".fifo");
    if fifo != (input.attributes.get("FifoTopic").map(String::as_str) == Some("true")) {
        return Err(invalid("Topic Name", "fifo topics, and only those, have names that end with .fifo"));
    }
    if let Some(exchange) = context.topology().exchange(&context.place.vhost, &input.name) {
        let same = |name: &str, value: &str| exchange.declare.arguments.str(&argument(name)) == Some(value);
        if !is_topic(exchange) || !input.attributes.iter().all(|(name, value)| same(name, value)) {
            return Err(invalid("Attributes", "Topic already exists with different attributes"));
        }
        return Ok(Some(arn_answer(context, &input.name)));
    }
    let mut arguments = Table::new();
    for (name, value) in &input.attributes {
        keep(&mut arguments, name, value)?;
    }
    if !input.tags.is_empty() {
        let tags = input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        arguments.push(TAGS, tag_table(tags)?);
    }
    let declare = ExchangeDeclare {
        name: input.name.as_str().into(),
        kind: SNS_KIND.into(),
        durable: true,
        arguments,
        ..ExchangeDeclare::default()
    };
    context.op(Op::DeclareExchange(declare)).await.map_err(|error| fail(&error))?;
    Ok(Some(arn_answer(context, &input.name)))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let fit = (1..=256).contains(&stem.len())
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if fit { Ok(()) } else { Err(sns::INVALID_PARAMETER.error("Invalid parameter: Topic Name")) }
}

fn keep(arguments: &mut Table, name: &str, value: &str) -> Result<(), ApiError> {
    if !SETTABLE.contains(&name) {
        return Err(sns::INVALID_PARAMETER.error("Invalid parameter: AttributeName"));
    }
    arguments.push(argument(name), if value.is_empty() { Value::Null } else { Value::str(value) });
    Ok(())
}

fn arn_answer(context: &Context<'_>, name: &str) -> String {
    let mut out = String::with_capacity(96);
    let mut object = Object::begin(&mut out);
    object.text("TopicArn", &context.place.arn("sns", name));
    object.end();
    out
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TopicInput {
    topic_arn: Option<String>,
    attribute_name: Option<String>,
    attribute_value: Option<String>,
    next_token: Option<String>,
}

/// `DeleteTopic`. An absent topic is success.
pub(super) async fn delete(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TopicInput = parse(input)?;
    let topic = match Topic::of(context, input.topic_arn.as_deref()) {
        Err(error) if error.code == &sns::NOT_FOUND => return Ok(None),
        topic => topic?,
    };
    let op = Op::DeleteExchange { name: topic.exchange.name.clone(), if_unused: false };
    context.caller().op(&topic.place.vhost, op).await.map_err(|error| fail(&error))?;
    Ok(None)
}

/// `ListTopics`.
pub(super) fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TopicInput = parse(input)?;
    let topology = context.topology();
    let topics = topology.exchanges(&context.place.vhost).filter(|exchange| is_topic(exchange));
    let (names, next) = page(topics.map(|topic| &*topic.name).collect(), input.next_token.as_deref(), PAGE);
    let mut out = String::with_capacity(32 + names.len() * 96);
    let mut object = Object::begin(&mut out);
    push_list(object.member("Topics"), names, |out, name| {
        let mut topic = Object::begin(out);
        topic.text("TopicArn", &context.place.arn("sns", name));
        topic.end();
    });
    object.optional("NextToken", next.as_deref());
    object.end();
    Ok(Some(out))
}

/// `GetTopicAttributes`.
pub(super) fn attributes(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TopicInput = parse(input)?;
    let topic = Topic::of(context, input.topic_arn.as_deref())?;
    let mut out = String::with_capacity(1024);
    let mut object = Object::begin(&mut out);
    let mut list = Object::begin(object.member("Attributes"));
    list.text("TopicArn", &topic.arn())
        .text("Owner", &topic.place.account)
        .number_text("SubscriptionsConfirmed", subscriptions_of(&topic.exchange).count() as u64)
        .text("SubscriptionsPending", "0")
        .text("SubscriptionsDeleted", "0");
    let defaults = [("DisplayName", String::new()), ("Policy", default_policy(&topic))];
    for (name, default) in &defaults {
        list.text(name, topic.attribute(name).unwrap_or(default));
    }
    for name in SETTABLE.iter().filter(|name| !defaults.iter().any(|(default, _)| default == *name)) {
        list.optional(name, topic.attribute(name));
    }
    list.end();
    object.end();
    Ok(Some(out))
}

/// The policy that a topic has when nobody set one: its owner may do everything.
fn default_policy(topic: &Topic) -> String {
    let actions = ["GetTopicAttributes", "SetTopicAttributes", "DeleteTopic", "Subscribe", "Publish"];
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.text("Version", "2008-10-17").text("Id", "__default_policy_ID");
    push_list(object.member("Statement"), [()], |out, ()| {
        let mut statement = Object::begin(out);
        statement.text("Sid", "__default_statement_ID").text("Effect", "Allow");
        let mut principal = Object::begin(statement.member("Principal"));
        principal.text("AWS", "*");
        principal.end();
        push_list(statement.member("Action"), actions, |out, action| {
            aws_protocol::json::push_string(out, &format!("SNS:{action}"));
        });
        statement.text("Resource", &topic.arn());
        let mut condition = Object::begin(statement.member("Condition"));
        let mut equals = Object::begin(condition.member("StringEquals"));
        equals.text("AWS:SourceOwner", &topic.place.account);
        equals.end();
        condition.end();
        statement.end();
    });
    object.end();
    out
}

/// `SetTopicAttributes`.
pub(super) async fn set_attribute(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TopicInput = parse(input)?;
    let topic = Topic::of(context, input.topic_arn.as_deref())?;
    let mut arguments = Table::new();
    let name = input.attribute_name.unwrap_or_default();
    keep(&mut arguments, &name, &input.attribute_value.unwrap_or_default())?;
    if name == "FifoTopic" {
        return Err(sns::INVALID_PARAMETER.error("Invalid parameter: AttributeName"));
    }
    alter(context, &topic, arguments).await?;
    Ok(None)
}

async fn alter(context: &Context<'_>, topic: &Topic, arguments: Table) -> Result<(), ApiError> {
    let op = Op::AlterExchange { name: topic.exchange.name.clone(), arguments };
    context.caller().op(&topic.place.vhost, op).await.map(drop).map_err(|error| fail(&error))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagInput {
    resource_arn: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

fn tag_table(tags: BTreeMap<String, String>) -> Result<Value, ApiError> {
    if tags.len() > TAGS_MAX {
        return Err(sns::INVALID_PARAMETER
            .error(format!("Could not complete request: tag quota of {TAGS_MAX} exceeded")));
    }
    let mut table = Table::new();
    tags.into_iter().for_each(|(key, value)| table.push(key, Value::str(value)));
    Ok(Value::Table(table))
}

/// The resource of a tagging operation; these have a code of their own for what is not there.
fn tagged(context: &Context<'_>, arn: Option<&str>) -> Result<Topic, ApiError> {
    Topic::of(context, arn).map_err(|_| sns::RESOURCE_NOT_FOUND.error("Resource does not exist"))
}

/// `TagResource`.
pub(super) async fn tag(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    let added = input.tags.into_iter().map(|tag| (tag.key, tag.value));
    change_tags(context, input.resource_arn.as_deref(), |tags| tags.extend(added)).await
}

/// `UntagResource`.
pub(super) async fn untag(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    let removed = &input.tag_keys;
    change_tags(context, input.resource_arn.as_deref(), |tags| tags.retain(|key, _| !removed.contains(key)))
        .await
}

async fn change_tags(
    context: &Context<'_>,
    arn: Option<&str>,
    edit: impl FnOnce(&mut BTreeMap<String, String>),
) -> Answer {
    let _alone = context.door.definitions.lock().await;
    let topic = tagged(context, arn)?;
    let mut tags = texts(topic.exchange.declare.arguments.get(TAGS))
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    edit(&mut tags);
    let mut arguments = Table::new();
    arguments.push(TAGS, tag_table(tags)?);
    alter(context, &topic, arguments).await?;
    Ok(Some("{}".to_owned()))
}

/// `ListTagsForResource`.
pub(super) fn list_tags(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TagInput = parse(input)?;
    let topic = tagged(context, input.resource_arn.as_deref())?;
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    push_list(
        object.member("Tags"),
        texts(topic.exchange.declare.arguments.get(TAGS)),
        |out, (key, value)| {
            let mut tag = Object::begin(out);
            tag.text("Key", key).text("Value", value);
            tag.end();
        },
    );
    object.end();
    Ok(Some(out))
}
