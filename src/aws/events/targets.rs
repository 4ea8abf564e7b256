//! Targets of rules.

use super::buses::limit;
use super::rule::{Rule, destination};
use super::rules::{names, replace};
use super::{Bus, invalid};
use crate::aws::context::{Answer, Context};
use crate::aws::input::{integer, page, parse};
use aws_protocol::json::{Object, push_list, push_string};
use aws_protocol::transform::target::TargetInput;
use model::definition::Destination;
use serde::Deserialize;
use serde_json::Value as Json;

/// Most targets of one rule.
const TARGETS_MAX: usize = 5;
/// Most targets of one request.
const ENTRIES_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TargetsInput {
    rule: Option<String>,
    event_bus_name: Option<String>,
    #[serde(default)]
    targets: Vec<Json>,
    #[serde(default)]
    ids: Vec<String>,
    target_arn: Option<String>,
    next_token: Option<String>,
    #[serde(default, deserialize_with = "integer")]
    limit: Option<i64>,
}

/// Target id, code and sentence of an entry that failed.
type Failure = (String, &'static str, String);

fn failures(failed: &[Failure]) -> String {
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.number("FailedEntryCount", failed.len() as u64);
    push_list(object.member("FailedEntries"), failed, |out, (id, code, text)| {
        let mut entry = Object::begin(out);
        entry.text("TargetId", id).text("ErrorCode", code).text("ErrorMessage", text);
        entry.end();
    });
    object.end();
    out
}

/// `PutTargets`.
pub(super) async fn put(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TargetsInput = parse(input)?;
    if input.targets.is_empty() || input.targets.len() > ENTRIES_MAX {
        return Err(invalid(format!("Targets must have 1 to {ENTRIES_MAX} members.")));
    }
    let _alone = context.door.definitions.lock().await;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let name = input.rule.as_deref().unwrap_or_default();
    let old = bus.rule(name)?;
    let mut new = old.clone();
    let mut failed = Vec::new();
    for target in input.targets {
        let id = target.get("Id").and_then(Json::as_str).unwrap_or_default().to_owned();
        let fit = (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if !fit {
            return Err(invalid(format!("'{id}' is not a valid id of a target.")));
        }
        match check(context, &bus, &new, name, &id, &target) {
            Err((code, text)) => failed.push((id, code, text)),
            Ok(()) => match new.targets.iter_mut().find(|(other, _)| *other == id) {
                Some(slot) => slot.1 = target,
                None => new.targets.push((id, target)),
            },
        }
    }
    replace(context, &bus, name, Some(&old), Some(&new)).await?;
    Ok(Some(failures(&failed)))
}

/// Whether `target` can be one of `rule`.
fn check(
    context: &Context<'_>,
    bus: &Bus,
    rule: &Rule,
    name: &str,
    id: &str,
    target: &Json,
) -> Result<(), (&'static str, String)> {
    let arn = target.get("Arn").and_then(Json::as_str).unwrap_or_default();
    let Some((destination, _)) = destination(&context.place, arn) else {
        let text = format!(
            "{arn} is not supported as a target: it must be an SQS queue, an SNS topic, a Kinesis stream or an event bus of the same account and region."
        );
        return Err(("ValidationException", text));
    };
    let topology = context.topology();
    let vhost = &context.place.vhost;
    let there = match &destination {
        Destination::Queue(queue) => topology.queue(vhost, queue).is_some(),
        Destination::Exchange(exchange) => topology.exchange(vhost, exchange).is_some(),
    };
    if !there {
        return Err(("ResourceNotFoundException", format!("Target {arn} does not exist.")));
    }
    let known = rule.targets.iter().any(|(other, _)| other == id);
    if !known && rule.targets.len() >= TARGETS_MAX {
        return Err(("LimitExceededException", format!("The rule already has {TARGETS_MAX} targets.")));
    }
    let trial = Rule {
        state: "ENABLED".into(),
        pattern: rule.pattern.clone(),
        targets: vec![(id.to_owned(), target.clone())],
        ..Rule::default()
    };
    let mut bindings = trial.bindings(&context.place, &bus.0.name, name).into_iter();
    bindings.try_for_each(|binding| match TargetInput::compile(&binding.arguments) {
        Ok(_) => Ok(()),
        Err(reason) => Err(("ValidationException", reason)),
    })
}

/// `RemoveTargets`.
pub(super) async fn remove(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TargetsInput = parse(input)?;
    let _alone = context.door.definitions.lock().await;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let name = input.rule.as_deref().unwrap_or_default();
    let old = bus.rule(name)?;
    let mut new = old.clone();
    new.targets.retain(|(id, _)| !input.ids.contains(id));
    replace(context, &bus, name, Some(&old), Some(&new)).await?;
    let missing = input.ids.iter().filter(|id| !old.targets.iter().any(|(other, _)| other == *id));
    let failed: Vec<Failure> = missing
        .map(|id| (id.clone(), "ResourceNotFoundException", format!("Rule {name} has no target {id}.")))
        .collect();
    Ok(Some(failures(&failed)))
}

/// `ListTargetsByRule`.
pub(super) async fn list(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TargetsInput = parse(input)?;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let rule = bus.rule(input.rule.as_deref().unwrap_or_default())?;
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    push_list(object.member("Targets"), &rule.targets, |out, (_, json)| out.push_str(&json.to_string()));
    object.end();
    Ok(Some(out))
}

/// `ListRuleNamesByTarget`.
pub(super) async fn rules_of(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: TargetsInput = parse(input)?;
    let bus = Bus::of(context, input.event_bus_name.as_deref()).await?;
    let arn = input.target_arn.as_deref().unwrap_or_default();
    let rules = bus.rules();
    let leads = |name: &&str| {
        let targets = bus.rule(name).map(|rule| rule.targets).unwrap_or_default();
        targets.iter().any(|(_, json)| json.get("Arn").and_then(Json::as_str) == Some(arn))
    };
    let (names, next) =
        page(names(&rules).filter(leads).collect(), input.next_token.as_deref(), limit(input.limit)?);
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    push_list(object.member("RuleNames"), names, push_string);
    object.optional("NextToken", next.as_deref());
    object.end();
    Ok(Some(out))
}
