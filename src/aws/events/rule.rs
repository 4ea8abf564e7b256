//! A rule: how it is kept with its bus, and which bindings it means.

use aws_protocol::arn::{Arn, Place};
use aws_protocol::behaviour::arguments;
use model::Name;
use model::definition::{BindingDefinition, Destination};
use model::value::{Table, Value};
use serde_json::Value as Json;

/// A rule of a bus.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rule {
    /// Event pattern, JSON text.
    pub(super) pattern: Option<String>,
    /// `ENABLED` or `DISABLED`.
    pub(super) state: String,
    /// Description.
    pub(super) description: Option<String>,
    /// Role ARN, kept and not read.
    pub(super) role: Option<String>,
    /// Targets by id, each as the JSON object that the client gave.
    pub(super) targets: Vec<(String, Json)>,
}

impl Rule {
    /// Reads what [`Rule::to_table`] wrote.
    pub(super) fn of_table(table: &Table) -> Self {
        let text = |name: &str| table.str(name).map(str::to_owned);
        let targets = table.get("targets").and_then(Value::as_table).cloned().unwrap_or_default();
        let target =
            |(id, value): &(Name, Value)| Some((id.to_string(), serde_json::from_str(value.as_str()?).ok()?));
        Self {
            pattern: text("pattern"),
            state: text("state").unwrap_or_else(|| "ENABLED".to_owned()),
            description: text("description"),
            role: text("role"),
            targets: targets.iter().filter_map(target).collect(),
        }
    }

    /// The rule as an argument of its bus.
    pub(super) fn to_table(&self) -> Table {
        let mut table = Table::new();
        table.push("state", Value::str(self.state.as_str()));
        let texts = [("pattern", &self.pattern), ("description", &self.description), ("role", &self.role)];
        for (name, text) in texts {
            if let Some(text) = text {
                table.push(name, Value::str(text.as_str()));
            }
        }
        let mut targets = Table::new();
        self.targets.iter().for_each(|(id, json)| targets.push(id.as_str(), Value::str(json.to_string())));
        table.push("targets", Value::Table(targets));
        table
    }

    /// The bindings of `bus` that the rule means: one per target while it is enabled and has a pattern. Targets that
    /// can not be reached have none.
    pub(super) fn bindings(&self, place: &Place, bus: &Name, name: &str) -> Vec<BindingDefinition> {
        let Some(pattern) = self.pattern.as_deref().filter(|_| self.state != "DISABLED") else {
            return Vec::new();
        };
        let arn = rule_arn(place, bus, name);
        self.targets
            .iter()
            .filter_map(|(id, json)| {
                let (destination, stream) = destination(place, json.get("Arn")?.as_str()?)?;
                let mut table = Table::new();
                table.push(arguments::RULE_ARN, Value::str(arn.as_str()));
                table.push(arguments::TARGET_ID, Value::str(id.as_str()));
                table.push(arguments::EVENT_PATTERN, Value::str(pattern));
                input(&mut table, json, stream);
                Some(BindingDefinition {
                    source: bus.clone(),
                    destination,
                    key: Name::new(),
                    arguments: table,
                })
            })
            .collect()
    }
}

/// ARN of a rule; rules of the default bus do not name it.
pub(super) fn rule_arn(place: &Place, bus: &str, name: &str) -> String {
    let resource =
        if bus == super::DEFAULT_BUS { format!("rule/{name}") } else { format!("rule/{bus}/{name}") };
    place.arn("events", &resource)
}

/// Where a target's ARN leads, and whether that is a stream. `None` for what can not be a target here.
pub(super) fn destination(place: &Place, arn: &str) -> Option<(Destination, bool)> {
    let service = Arn::parse(arn)?.service;
    let resource = place.local(arn, service)?;
    Some(match service {
        "sqs" => (Destination::Queue(resource.into()), false),
        "kinesis" => (Destination::Queue(resource.strip_prefix("stream/")?.into()), true),
        "sns" => (Destination::Exchange(resource.into()), false),
        "events" => (Destination::Exchange(resource.strip_prefix("event-bus/")?.into()), false),
        _ => return None,
    })
}

/// The input settings of a target as arguments of its binding.
fn input(table: &mut Table, target: &Json, stream: bool) {
    let text =
        |path: &[&str]| path.iter().try_fold(target, |json, name| json.get(name)).and_then(Json::as_str);
    let texts = [
        (arguments::INPUT, text(&["Input"])),
        (arguments::INPUT_PATH, text(&["InputPath"])),
        (arguments::INPUT_TEMPLATE, text(&["InputTransformer", "InputTemplate"])),
        (arguments::MESSAGE_GROUP, text(&["SqsParameters", "MessageGroupId"])),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            table.push(name, Value::str(text));
        }
    }
    if let Some(Json::Object(paths)) =
        target.get("InputTransformer").and_then(|input| input.get("InputPathsMap"))
    {
        let mut variables = Table::new();
        for (name, path) in paths {
            variables.push(name.as_str(), Value::str(path.as_str().unwrap_or_default()));
        }
        table.push(arguments::INPUT_PATHS, Value::Table(variables));
    }
    if stream {
        let path = text(&["KinesisParameters", "PartitionKeyPath"]).unwrap_or("$.id");
        table.push(arguments::PARTITION_KEY_PATH, Value::str(path));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use aws_protocol::arn::Home;
    use serde_json::json;

    fn rule(state: &str) -> Rule {
        let queue =
            json!({"Id":"q","Arn":"arn:aws:sqs:us-east-1:000000000000:orders","InputPath":"$.detail"});
        let stream = json!({"Id":"s","Arn":"arn:aws:kinesis:us-east-1:000000000000:stream/clicks"});
        let lambda = json!({"Id":"l","Arn":"arn:aws:lambda:us-east-1:000000000000:function:f"});
        Rule {
            pattern: Some(r#"{"source":["a"]}"#.into()),
            state: state.into(),
            targets: vec![("q".into(), queue), ("s".into(), stream), ("l".into(), lambda)],
            ..Rule::default()
        }
    }

    #[test]
    fn rules_are_kept_whole() {
        assert_eq!(Rule::of_table(&rule("DISABLED").to_table()), rule("DISABLED"));
    }

    #[test]
    fn enabled_rules_bind_what_can_be_reached() {
        let place = Home { account: "000000000000".into(), region: "us-east-1".into() }.place_of("/");
        let bindings = rule("ENABLED").bindings(&place, &"default".into(), "r");
        assert_eq!(bindings.len(), 2);
        assert_eq!(bindings[0].destination, Destination::Queue("orders".into()));
        assert_eq!(bindings[0].arguments.str(arguments::INPUT_PATH), Some("$.detail"));
        assert_eq!(bindings[1].arguments.str(arguments::PARTITION_KEY_PATH), Some("$.id"));
        assert!(rule("DISABLED").bindings(&place, &"default".into(), "r").is_empty());
        assert_eq!(rule_arn(&place, "default", "r"), "arn:aws:events:us-east-1:000000000000:rule/r");
    }
}
