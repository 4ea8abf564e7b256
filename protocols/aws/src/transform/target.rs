//! What a rule's target gets: the event, a part of it, a constant, or a filled-in template; and the message group or
//! partition key that the target needs.

use super::path::Path;
use super::{message_id, with_content};
use crate::behaviour::arguments;
use crate::native::{self, EVENT, TEXT, View};
use model::Name;
use model::behaviour::Transform;
use model::message::Message;
use model::value::Table;
use serde_json::Value;
use std::sync::Arc;

/// Most variables of a template (`InputPathsMap`).
pub const VARIABLES_MAX: usize = 100;
/// Longest template or constant.
pub const TEMPLATE_BYTES_MAX: usize = 8192;

#[derive(Debug)]
enum Input {
    Event,
    Constant(String),
    Part(Path),
    Template { variables: Vec<(String, Path)>, template: String },
}

/// The input of one target of one rule.
#[derive(Debug)]
pub struct TargetInput {
    input: Input,
    rule_arn: String,
    group: Option<Name>,
    partition_key: Option<Path>,
}

impl TargetInput {
    /// Compiles the arguments of a target's binding. Errors: a sentence for the client.
    pub fn compile(table: &Table) -> Result<Self, String> {
        let texts = [arguments::INPUT, arguments::INPUT_TEMPLATE];
        if texts.iter().filter_map(|name| table.str(name)).any(|text| text.len() > TEMPLATE_BYTES_MAX) {
            return Err(format!("The input is longer than {TEMPLATE_BYTES_MAX} bytes."));
        }
        let input = if let Some(constant) = table.str(arguments::INPUT) {
            serde_json::from_str::<serde::de::IgnoredAny>(constant)
                .map_err(|_| "JSON syntax error in input for target.".to_owned())?;
            Input::Constant(constant.to_owned())
        } else if let Some(path) = table.str(arguments::INPUT_PATH) {
            Input::Part(Path::parse(path)?)
        } else if let Some(template) = table.str(arguments::INPUT_TEMPLATE) {
            let variables =
                variables(table.get(arguments::INPUT_PATHS).and_then(model::value::Value::as_table))?;
            Input::Template { variables, template: template.to_owned() }
        } else {
            Input::Event
        };
        Ok(Self {
            input,
            rule_arn: table.str(arguments::RULE_ARN).unwrap_or_default().to_owned(),
            group: table.str(arguments::MESSAGE_GROUP).map(Name::from),
            partition_key: table.str(arguments::PARTITION_KEY_PATH).map(Path::parse).transpose()?,
        })
    }

    fn body(&self, event: &Value, raw: &str) -> Option<String> {
        match &self.input {
            Input::Event => None,
            Input::Constant(text) => Some(text.clone()),
            // A path that leads nowhere gives null, as EventBridge does.
            Input::Part(path) => Some(path.find(event).unwrap_or(&Value::Null).to_string()),
            Input::Template { variables, template } => Some(self.fill(template, variables, event, raw)),
        }
    }

    /// Replaces `<name>`: inside a JSON string by the text, elsewhere by the value as JSON.
    fn fill(&self, template: &str, variables: &[(String, Path)], event: &Value, raw: &str) -> String {
        let mut out = String::with_capacity(template.len() + 128);
        let (mut rest, mut quoted) = (template, false);
        while let Some(at) = rest.find(['<', '"', '\\']) {
            let (before, tail) = rest.split_at(at);
            out.push_str(before);
            let name = tail.strip_prefix('<').and_then(|tail| tail.split_once('>'));
            if let Some((name, after)) = name
                && let Some(value) = self.variable(name, variables, event, raw)
            {
                push_value(&mut out, &value, quoted);
                rest = after;
                continue;
            }
            let mut chars = tail.chars();
            match chars.next() {
                Some('"') => {
                    quoted = !quoted;
                    out.push('"');
                }
                Some('\\') => {
                    out.push('\\');
                    out.extend(chars.next());
                }
                other => out.extend(other),
            }
            rest = chars.as_str();
        }
        out.push_str(rest);
        out
    }

    fn variable(&self, name: &str, variables: &[(String, Path)], event: &Value, raw: &str) -> Option<Value> {
        match name {
            "aws.events.rule-arn" => return Some(Value::from(self.rule_arn.as_str())),
            "aws.events.rule-name" => return self.rule_arn.rsplit('/').next().map(Value::from),
            "aws.events.event.ingestion-time" => return event.get("time").cloned(),
            "aws.events.event.json" => return Some(Value::from(raw)),
            "aws.events.event" => return Some(event.clone()),
            _ => {}
        }
        let (_, path) = variables.iter().find(|(key, _)| key == name)?;
        Some(path.find(event).cloned().unwrap_or(Value::Null))
    }
}

fn variables(table: Option<&Table>) -> Result<Vec<(String, Path)>, String> {
    let Some(table) = table else { return Ok(Vec::new()) };
    if table.len() > VARIABLES_MAX {
        return Err(format!("InputPathsMap has more than {VARIABLES_MAX} entries."));
    }
    table
        .iter()
        .map(|(name, path)| Ok((name.to_string(), Path::parse(path.as_str().unwrap_or_default())?)))
        .collect()
}

fn push_value(out: &mut String, value: &Value, quoted: bool) {
    if !quoted {
        out.push_str(&value.to_string());
        return;
    }
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut escaped = String::with_capacity(text.len() + 2);
    crate::json::push_string(&mut escaped, &text);
    out.push_str(escaped.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or_default());
}

impl Transform for TargetInput {
    fn apply(&self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let untouched =
            matches!(self.input, Input::Event) && self.group.is_none() && self.partition_key.is_none();
        if untouched {
            return Some(Arc::clone(message));
        }
        let raw = message.body.joined();
        let event: Value = serde_json::from_slice(&raw).unwrap_or_default();
        let id = message_id(message);
        let mut derived = match self.body(&event, std::str::from_utf8(&raw).unwrap_or_default()) {
            None => message.derive(),
            Some(body) => {
                let view = View::of(&message.native.properties);
                let native = native::encode(view.flags & !EVENT | TEXT, &id, |writer| {
                    writer.optional(native::GROUP, self.group.as_deref());
                });
                with_content(message, native, body)
            }
        };
        if let Some(path) = &self.partition_key {
            let key = path
                .find(&event)
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            derived.routing_key = key.unwrap_or_else(|| native::uuid(&id)).into();
        }
        if self.group.is_some() {
            let extra = derived.extra_mut();
            extra.group = self.group.clone();
            extra.dedup = Some(native::uuid(&id).into());
        }
        Some(Arc::new(derived))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transform::samples;
    use model::value::Value as Field;
    use proptest::prelude::*;

    const EVENT_BODY: &str = r#"{"id":"i","time":"t","detail":{"n":5,"s":"a\"b","o":{"k":[1]}}}"#;

    fn table(fields: &[(&'static str, &str)]) -> Table {
        let mut table = Table::new();
        table.push(arguments::RULE_ARN, Field::str("arn:aws:events:r:a:rule/bus/name"));
        fields.iter().for_each(|(name, value)| table.push(*name, Field::str(*value)));
        let mut paths = Table::new();
        for (name, path) in
            [("n", "$.detail.n"), ("s", "$.detail.s"), ("o", "$.detail.o"), ("none", "$.detail.x")]
        {
            paths.push(name, Field::str(path));
        }
        table.push(arguments::INPUT_PATHS, Field::Table(paths));
        table
    }

    fn run(fields: &[(&'static str, &str)]) -> Arc<Message> {
        let input = TargetInput::compile(&table(fields)).unwrap();
        input.apply(&Arc::new(samples::aws(TEXT | EVENT, EVENT_BODY))).unwrap()
    }

    #[test]
    fn inputs() {
        for (argument, value, body) in [
            (arguments::INPUT, r#"{"k":1}"#, r#"{"k":1}"#),
            (arguments::INPUT_PATH, "$.detail.o", r#"{"k":[1]}"#),
            (arguments::INPUT_PATH, "$.nope", "null"),
            (arguments::INPUT_TEMPLATE, r#""n is <n>, s is <s>, <none>""#, r#""n is 5, s is a\"b, ""#),
            (
                arguments::INPUT_TEMPLATE,
                r#"{"n":<n>,"s":<s>,"o":<o>}"#,
                r#"{"n":5,"s":"a\"b","o":{"k":[1]}}"#,
            ),
            (
                arguments::INPUT_TEMPLATE,
                r#"{"q":"<o>","x":"<unknown>"}"#,
                r#"{"q":"{\"k\":[1]}","x":"<unknown>"}"#,
            ),
            (arguments::INPUT_TEMPLATE, "\"<aws.events.rule-name>\"", "\"name\""),
        ] {
            assert_eq!(run(&[(argument, value)]).body.joined(), body, "{value}");
        }
        assert_eq!(run(&[]).body.joined(), EVENT_BODY);
    }

    #[test]
    fn groups_and_partition_keys() {
        let message = run(&[(arguments::MESSAGE_GROUP, "g"), (arguments::PARTITION_KEY_PATH, "$.detail.s")]);
        assert_eq!(message.routing_key, "a\"b");
        let extra = message.extra.as_ref().unwrap();
        assert_eq!(extra.group.as_deref(), Some("g"));
        assert!(extra.dedup.is_some());
    }

    #[test]
    fn refuses_what_is_malformed() {
        for (argument, value) in [(arguments::INPUT, "{"), (arguments::INPUT_PATH, "detail")] {
            assert!(TargetInput::compile(&table(&[(argument, value)])).is_err());
        }
    }

    proptest! {
        #[test]
        fn never_panics(template in "([<>\"\\\\a]|<n>|<s>|é){0,30}") {
            run(&[(arguments::INPUT_TEMPLATE, template.as_str())]);
        }
    }
}
