//! EventBridge: a bus is an exchange of kind `event-bus`; its rules are kept in the bus's arguments, and every target
//! of an enabled rule is a binding.

mod buses;
mod put;
mod rule;
mod rules;
mod tags;
mod targets;

use super::context::{Answer, Context, refused};
use aws_protocol::arn::Arn;
use aws_protocol::behaviour::BUS_KIND;
use aws_protocol::error::{ApiError, common, events};
use aws_protocol::service::Service;
use engine::exchange::Exchange;
use model::command::Op;
use model::definition::ExchangeDeclare;
use model::error::BrokerError;
use model::value::{Table, Value};
use rule::Rule;
use std::sync::Arc;

/// The bus that every account has.
const DEFAULT_BUS: &str = "default";
/// The argument of a bus that keeps its rules.
const RULES: &str = "x-rules";

/// Carries out an operation.
pub(super) async fn handle(context: &Context<'_>, operation: &'static str, input: &[u8]) -> Answer {
    match operation {
        "PutEvents" => put::put_events(context, input).await,
        "TestEventPattern" => put::test_pattern(input),
        "CreateEventBus" => buses::create(context, input).await,
        "UpdateEventBus" => buses::update(context, input).await,
        "DeleteEventBus" => buses::delete(context, input).await,
        "DescribeEventBus" => buses::describe(context, input).await,
        "ListEventBuses" => buses::list(context, input).await,
        "PutRule" => rules::put(context, input).await,
        "DeleteRule" => rules::delete(context, input).await,
        "DescribeRule" => rules::describe(context, input).await,
        "ListRules" => rules::list(context, input).await,
        "EnableRule" => rules::set_state(context, input, "ENABLED").await,
        "DisableRule" => rules::set_state(context, input, "DISABLED").await,
        "PutTargets" => targets::put(context, input).await,
        "RemoveTargets" => targets::remove(context, input).await,
        "ListTargetsByRule" => targets::list(context, input).await,
        "ListRuleNamesByTarget" => targets::rules_of(context, input).await,
        "TagResource" => tags::tag(context, input).await,
        "UntagResource" => tags::untag(context, input).await,
        "ListTagsForResource" => tags::list(context, input).await,
        other => Err(Service::Events.unsupported(other)),
    }
}

/// A bus of the caller's place.
struct Bus(Arc<Exchange>);

impl Bus {
    /// The bus of a name or ARN, the default one when there is none. The default bus is made when it is missing.
    async fn of(context: &Context<'_>, name: Option<&str>) -> Result<Self, ApiError> {
        let name = bus_name(name);
        if let Some(exchange) = context.exchange(name, BUS_KIND) {
            return Ok(Self(exchange));
        }
        if name == DEFAULT_BUS {
            declare(context, DEFAULT_BUS, Table::new()).await?;
        }
        context.exchange(name, BUS_KIND).map(Self).ok_or_else(|| no_bus(name))
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn rules(&self) -> Table {
        self.0.declare.arguments.get(RULES).and_then(Value::as_table).cloned().unwrap_or_default()
    }

    fn rule(&self, name: &str) -> Result<Rule, ApiError> {
        let table = self.0.declare.arguments.get(RULES).and_then(Value::as_table);
        let rule = table.and_then(|rules| rules.get(name)).and_then(Value::as_table);
        rule.map(Rule::of_table).ok_or_else(|| {
            let text = format!("Rule {name} does not exist on EventBus {}.", self.name());
            events::NOT_FOUND.error(text)
        })
    }

    /// Writes the rules back.
    async fn keep(&self, context: &Context<'_>, rules: Table) -> Result<(), ApiError> {
        let mut arguments = Table::new();
        arguments.push(RULES, if rules.is_empty() { Value::Null } else { Value::Table(rules) });
        let op = Op::AlterExchange { name: self.0.name.clone(), arguments };
        context.op(op).await.map(drop).map_err(|error| fail(&error))
    }
}

/// The name of a bus given by name or ARN.
fn bus_name(name: Option<&str>) -> &str {
    let name = name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_BUS);
    let resource = Arn::parse(name).and_then(|arn| arn.resource.strip_prefix("event-bus/"));
    resource.unwrap_or(name)
}

async fn declare(context: &Context<'_>, name: &str, arguments: Table) -> Result<(), ApiError> {
    let declare = ExchangeDeclare {
        name: name.into(),
        kind: BUS_KIND.into(),
        durable: true,
        arguments,
        ..ExchangeDeclare::default()
    };
    context.op(Op::DeclareExchange(declare)).await.map(drop).map_err(|error| fail(&error))
}

fn no_bus(name: &str) -> ApiError {
    events::NOT_FOUND.error(format!("Event bus {name} does not exist."))
}

fn invalid(text: impl Into<String>) -> ApiError {
    common::VALIDATION.error(text.into())
}

/// A broker error in EventBridge's words.
fn fail(error: &BrokerError) -> ApiError {
    refused(error, &events::NOT_FOUND, &common::VALIDATION)
}
