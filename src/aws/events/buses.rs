//! Making, listing, describing and removing buses.

use super::{Bus, DEFAULT_BUS, declare, fail, invalid, tags};
use crate::aws::context::{Answer, Context};
use crate::aws::input::{integer, page, parse};
use aws_protocol::behaviour::BUS_KIND;
use aws_protocol::error::{ApiError, events};
use aws_protocol::json::{Object, push_list};
use engine::exchange::Exchange;
use model::command::Op;
use model::value::{Table, Value};
use serde::Deserialize;

const DESCRIPTION: &str = "x-events-description";
const CREATED: &str = "x-events-created";
/// Buses of one page.
const PAGE_MAX: i64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BusInput {
    name: Option<String>,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<tags::Tag>,
    name_prefix: Option<String>,
    next_token: Option<String>,
    #[serde(default, deserialize_with = "integer")]
    limit: Option<i64>,
}

fn arn(context: &Context<'_>, name: &str) -> String {
    context.place.arn("events", &format!("event-bus/{name}"))
}

/// `CreateEventBus`.
pub(super) async fn create(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: BusInput = parse(input)?;
    let name = input.name.unwrap_or_default();
    let fit = (1..=256).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    if !fit {
        return Err(invalid(format!("'{name}' is not a valid name of an event bus.")));
    }
    if name == DEFAULT_BUS || context.topology().exchange(&context.place.vhost, &name).is_some() {
        return Err(events::ALREADY_EXISTS.error(format!("Event bus {name} already exists.")));
    }
    let mut arguments = Table::new();
    arguments.push(CREATED, Value::Timestamp(context.now / 1000));
    if let Some(description) = &input.description {
        arguments.push(DESCRIPTION, Value::str(description.as_str()));
    }
    if !input.tags.is_empty() {
        tags::set(&mut arguments, &arn(context, &name), input.tags);
    }
    declare(context, &name, arguments).await?;
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.text("EventBusArn", &arn(context, &name)).optional("Description", input.description.as_deref());
    object.end();
    Ok(Some(out))
}

/// `UpdateEventBus`: the description.
pub(super) async fn update(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: BusInput = parse(input)?;
    let bus = Bus::of(context, input.name.as_deref()).await?;
    let mut arguments = Table::new();
    let description = input.description.as_deref().map_or(Value::Null, Value::str);
    arguments.push(DESCRIPTION, description);
    context
        .op(Op::AlterExchange { name: bus.0.name.clone(), arguments })
        .await
        .map_err(|error| fail(&error))?;
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.text("Arn", &arn(context, bus.name())).text("Name", bus.name());
    object.optional("Description", input.description.as_deref());
    object.end();
    Ok(Some(out))
}

/// `DeleteEventBus`. An absent bus is success; one with rules stays.
pub(super) async fn delete(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: BusInput = parse(input)?;
    let name = super::bus_name(input.name.as_deref());
    if name == DEFAULT_BUS {
        return Err(invalid("Cannot delete event bus default."));
    }
    let Some(exchange) = context.exchange(name, BUS_KIND) else { return Ok(None) };
    if !Bus(exchange).rules().is_empty() {
        return Err(invalid(format!("Event bus {name} can't be deleted since it has rules.")));
    }
    let op = Op::DeleteExchange { name: name.into(), if_unused: false };
    context.op(op).await.map_err(|error| fail(&error))?;
    Ok(None)
}

/// `DescribeEventBus`.
pub(super) async fn describe(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: BusInput = parse(input)?;
    let bus = Bus::of(context, input.name.as_deref()).await?;
    let mut out = String::new();
    write(context, &mut out, &bus.0);
    Ok(Some(out))
}

fn write(context: &Context<'_>, out: &mut String, bus: &Exchange) {
    let table = &bus.declare.arguments;
    let mut object = Object::begin(out);
    object.text("Name", &bus.name).text("Arn", &arn(context, &bus.name));
    object.optional("Description", table.str(DESCRIPTION));
    if let Some(Value::Timestamp(seconds)) = table.get(CREATED) {
        object.number("CreationTime", *seconds).number("LastModifiedTime", *seconds);
    }
    object.end();
}

/// `ListEventBuses`.
pub(super) async fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: BusInput = parse(input)?;
    Bus::of(context, None).await?;
    let prefix = input.name_prefix.as_deref().unwrap_or_default();
    let topology = context.topology();
    let buses =
        topology.exchanges(&context.place.vhost).filter(|exchange| &*exchange.declare.kind == BUS_KIND);
    let rows = buses.filter(|bus| bus.name.starts_with(prefix)).map(|bus| Row(bus)).collect();
    let (rows, next) = page(rows, input.next_token.as_deref(), limit(input.limit)?);
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    push_list(object.member("EventBuses"), rows, |out, row| write(context, out, row.0));
    object.optional("NextToken", next.as_deref());
    object.end();
    Ok(Some(out))
}

struct Row<'a>(&'a Exchange);

impl AsRef<str> for Row<'_> {
    fn as_ref(&self) -> &str {
        &self.0.name
    }
}

/// `Limit` of the list operations.
pub(super) fn limit(limit: Option<i64>) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(PAGE_MAX);
    let fit = (1..=PAGE_MAX).contains(&limit).then(|| usize::try_from(limit).ok()).flatten();
    fit.ok_or_else(|| {
        invalid(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: \
             Member must have value between 1 and {PAGE_MAX}"
        ))
    })
}
