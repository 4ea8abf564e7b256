//! Making, changing, listing and removing rules.

use super::buses::limit;
use super::rule::{Rule, rule_arn};
use super::{Bus, fail, invalid, tags};
use crate::aws::context::{Answer, Context};
use crate::aws::input::{integer, page, parse};
use aws_protocol::error::{ApiError, events};
use aws_protocol::json::{Object, push_list};
use engine::filter::EventPattern;
use model::command::Op;
use model::definition::BindingDefinition;
use model::error::ErrorKind;
use model::value::{Table, Value};
use serde::Deserialize;

/// Most rules of one bus.
const RULES_MAX: usize = 300;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuleInput {
    name: Option<String>,
    event_bus_name: Option<String>,
    event_pattern: Option<String>,
    schedule_expression: Option<String>,
    state: Option<String>,
    description: Option<String>,
    role_arn: Option<String>,
    #[serde(default)]
    tags: Vec<tags::Tag>,
    name_prefix: Option<String>,
    next_token: Option<String>,
    #[serde(default, deserialize_with = "integer")]
    limit: Option<i64>,
}

impl RuleInput {
    fn name(&self) -> Result<&str, ApiError> {
        let name = self.name.as_deref().unwrap_or_default();
        let fit = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if fit { Ok(name) } else { Err(invalid(format!("'{name}' is not a valid name of a rule."))) }
    }
}

/// The sentence that AWS puts before the reason.
pub(super) fn bad_pattern(reason: &str) -> ApiError {
    events::INVALID_PATTERN.error(format!("Event pattern is not valid. Reason: {reason}"))
}

/// `PutRule`. An existing rule keeps its targets.
pub(super) async fn put(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: RuleInput = parse(input)?;
    let name = input.name()?;
    if input.schedule_expression.is_some() {
        return Err(invalid("Parameter ScheduleExpression is not supported yet."));
    }
    let pattern = input.event_pattern.clone().filter(|pattern| !pattern.is_empty());
    let pattern = pattern
        .ok_or_else(|| invalid("Parameter(s) EventPattern or ScheduleExpression must be specified."))?;
    EventPattern::compile(&pattern).map_err(|reason| bad_pattern(&reason))?;
    let state = input.state.clone().unwrap_or_else(|| "ENABLED".to_owned());
    if !["ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"].contains(&state.as_str()) {
        return Err(invalid(format!("'{state}' is not a state of a rule.")));
    }
    let _alone = context.door.definitions.lock().await;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let old = bus.rule(name).ok();
    if old.is_none() && bus.rules().len() >= RULES_MAX {
        return Err(events::LIMIT_EXCEEDED.error(format!("The event bus already has {RULES_MAX} rules.")));
    }
    let targets = old.as_ref().map_or_else(Vec::new, |rule| rule.targets.clone());
    let rule = Rule {
        pattern: Some(pattern),
        state,
        description: input.description.clone(),
        role: input.role_arn.clone(),
        targets,
    };
    replace(context, &bus, name, old.as_ref(), Some(&rule)).await?;
    let arn = rule_arn(&context.place, bus.name(), name);
    if !input.tags.is_empty() {
        tags::add(context, &bus, &arn, input.tags).await?;
    }
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.text("RuleArn", &arn);
    object.end();
    Ok(Some(out))
}

/// Puts `new` in the place of `old`: first what is kept, then the bindings, new ones before old ones go.
pub(super) async fn replace(
    context: &Context<'_>,
    bus: &Bus,
    name: &str,
    old: Option<&Rule>,
    new: Option<&Rule>,
) -> Result<(), ApiError> {
    let mut rules = bus.rules();
    match new {
        Some(rule) => rules.set(name, Value::Table(rule.to_table())),
        None => rules.remove(name),
    }
    rules.0.sort_by(|left, right| left.0.cmp(&right.0));
    bus.keep(context, rules).await?;
    let bindings = |rule: Option<&Rule>| -> Vec<BindingDefinition> {
        rule.map_or_else(Vec::new, |rule| rule.bindings(&context.place, &bus.0.name, name))
    };
    let (before, after) = (bindings(old), bindings(new));
    for binding in after.iter().filter(|binding| !before.contains(binding)) {
        match context.op(Op::Bind(binding.clone())).await {
            // A target whose queue is gone stays in the rule, as it does with AWS.
            Err(error) if error.kind == ErrorKind::NotFound => {
                tracing::debug!(rule = name, text = &*error.text, "target is not there");
            }
            other => drop(other.map_err(|error| fail(&error))?),
        }
    }
    for binding in before.into_iter().filter(|binding| !after.contains(binding)) {
        context.op(Op::Unbind(binding)).await.map_err(|error| fail(&error))?;
    }
    Ok(())
}

/// `DeleteRule`. An absent rule is success.
pub(super) async fn delete(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: RuleInput = parse(input)?;
    let _alone = context.door.definitions.lock().await;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let name = input.name()?;
    let Ok(rule) = bus.rule(name) else { return Ok(None) };
    if !rule.targets.is_empty() {
        return Err(invalid("Rule can't be deleted since it has targets."));
    }
    replace(context, &bus, name, Some(&rule), None).await?;
    Ok(None)
}

/// `EnableRule` and `DisableRule`.
pub(super) async fn set_state(context: &Context<'_>, input: &[u8], state: &str) -> Answer {
    let input: RuleInput = parse(input)?;
    let _alone = context.door.definitions.lock().await;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let name = input.name()?;
    let old = bus.rule(name)?;
    let new = Rule { state: state.to_owned(), ..old.clone() };
    replace(context, &bus, name, Some(&old), Some(&new)).await?;
    Ok(None)
}

/// `DescribeRule`.
pub(super) async fn describe(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: RuleInput = parse(input)?;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let name = input.name()?;
    let mut out = String::new();
    write(context, &mut out, &bus, name, &bus.rule(name)?);
    Ok(Some(out))
}

fn write(context: &Context<'_>, out: &mut String, bus: &Bus, name: &str, rule: &Rule) {
    let mut object = Object::begin(out);
    object
        .text("Name", name)
        .text("Arn", &rule_arn(&context.place, bus.name(), name))
        .optional("EventPattern", rule.pattern.as_deref())
        .text("State", &rule.state)
        .optional("Description", rule.description.as_deref())
        .optional("RoleArn", rule.role.as_deref())
        .text("EventBusName", bus.name());
    object.end();
}

/// `ListRules`.
pub(super) async fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: RuleInput = parse(input)?;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let prefix = input.name_prefix.as_deref().unwrap_or_default();
    let rules = bus.rules();
    let names = names(&rules).filter(|name| name.starts_with(prefix)).collect();
    let (names, next) = page(names, input.next_token.as_deref(), limit(input.limit)?);
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    push_list(object.member("Rules"), names, |out, name| {
        if let Ok(rule) = bus.rule(name) {
            write(context, out, &bus, name, &rule);
        }
    });
    object.optional("NextToken", next.as_deref());
    object.end();
    Ok(Some(out))
}

/// Names of the rules in a bus's argument.
pub(super) fn names(rules: &Table) -> impl Iterator<Item = &str> {
    rules.iter().map(|(name, _)| &**name)
}
