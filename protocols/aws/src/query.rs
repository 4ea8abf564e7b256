//! The query protocol in: form parameters become the JSON that the operation would get in a JSON protocol.
//!
//! `Entry.1.Id=a` and `Names.member.1=a` are lists, `Attributes.entry.1.key=..&.value=..` are maps. SQS's old names
//! (`Attribute.1.Name`) are made the members that its JSON protocol has.

use crate::form;
use crate::service::Service;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Deepest parameter name.
const DEPTH_MAX: usize = 10;

#[derive(Debug, Default)]
struct Node {
    leaf: Option<String>,
    children: BTreeMap<String, Node>,
}

/// The JSON object that a form of `service` stands for. `None` when it is over the limits.
pub fn to_json(service: Service, body: &str) -> Option<Value> {
    let mut root = Node::default();
    for (name, value) in form::parse(body)? {
        if matches!(name.as_ref(), "Action" | "Version") || name.starts_with("X-Amz-") {
            continue;
        }
        let mut node = &mut root;
        for (depth, part) in name.split('.').enumerate() {
            if depth == DEPTH_MAX {
                return None;
            }
            node = node.children.entry(part.to_owned()).or_default();
        }
        node.leaf = Some(value.into_owned());
    }
    Some(object(service, root))
}

fn object(service: Service, node: Node) -> Value {
    let mut members = Map::new();
    for (name, child) in node.children {
        let rename = SQS_NAMES.iter().filter(|_| service == Service::Sqs).find(|row| row.query == name);
        match rename {
            Some(row) => members.insert(row.json.to_owned(), row.shape.convert(service, child)),
            None => members.insert(name, any(service, child)),
        };
    }
    Value::Object(members)
}

fn any(service: Service, mut node: Node) -> Value {
    if let Some(leaf) = node.leaf {
        return Value::String(leaf);
    }
    if let (Some(list), 1) = (node.children.remove("member"), node.children.len() + 1) {
        return list_of(service, list);
    }
    if let (Some(map), 1) = (node.children.remove("entry"), node.children.len() + 1) {
        return map_of(service, map);
    }
    if is_list(&node) { list_of(service, node) } else { object(service, node) }
}

fn is_list(node: &Node) -> bool {
    !node.children.is_empty() && node.children.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Children in the order of their numbers; a bare value is a list of one.
fn list_of(service: Service, mut node: Node) -> Value {
    if let Some(leaf) = node.leaf {
        return Value::Array(vec![Value::String(leaf)]);
    }
    if let (Some(inner), 1) = (node.children.remove("member"), node.children.len() + 1) {
        return list_of(service, inner);
    }
    let mut items: Vec<(u64, Node)> =
        node.children.into_iter().map(|(key, child)| (key.parse().unwrap_or(u64::MAX), child)).collect();
    items.sort_by_key(|(number, _)| *number);
    Value::Array(items.into_iter().map(|(_, child)| any(service, child)).collect())
}

/// Entries of key (or `Name`) and value; a bare entry is a map of one.
fn map_of(service: Service, node: Node) -> Value {
    let entries = if is_list(&node) { node.children.into_values().collect() } else { vec![node] };
    let mut members = Map::new();
    for mut entry in entries {
        let mut take = |names: [&str; 3]| names.iter().find_map(|name| entry.children.remove(*name));
        let (key, value) = (take(["key", "Key", "Name"]), take(["value", "Value", "Values"]));
        if let (Some(key), Some(value)) = (key.and_then(|key| key.leaf), value) {
            members.insert(key, any(service, value));
        }
    }
    Value::Object(members)
}

#[derive(Clone, Copy)]
enum Shape {
    List,
    Map,
}

impl Shape {
    fn convert(self, service: Service, node: Node) -> Value {
        match self {
            Shape::List => list_of(service, node),
            Shape::Map => map_of(service, node),
        }
    }
}

struct Rename {
    query: &'static str,
    json: &'static str,
    shape: Shape,
}

const fn list(query: &'static str, json: &'static str) -> Rename {
    Rename { query, json, shape: Shape::List }
}

const fn map(query: &'static str, json: &'static str) -> Rename {
    Rename { query, json, shape: Shape::Map }
}

static SQS_NAMES: &[Rename] = &[
    map("Attribute", "Attributes"),
    map("MessageAttribute", "MessageAttributes"),
    map("MessageSystemAttribute", "MessageSystemAttributes"),
    map("Tag", "Tags"),
    list("TagKey", "TagKeys"),
    list("AttributeName", "AttributeNames"),
    list("MessageAttributeName", "MessageAttributeNames"),
    list("MessageSystemAttributeName", "MessageSystemAttributeNames"),
    list("SendMessageBatchRequestEntry", "Entries"),
    list("DeleteMessageBatchRequestEntry", "Entries"),
    list("ChangeMessageVisibilityBatchRequestEntry", "Entries"),
    list("AWSAccountId", "AWSAccountIds"),
    list("ActionName", "Actions"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn forms_become_json() {
        for (service, form, expected) in [
            (
                Service::Sqs,
                "Action=SendMessage&MessageBody=a+b&MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=String\
                 &MessageAttribute.1.Value.StringValue=v",
                json!({"MessageBody":"a b","MessageAttributes":{"n":{"DataType":"String","StringValue":"v"}}}),
            ),
            (
                Service::Sqs,
                "SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.1.Id=a&AttributeName=All",
                json!({"Entries":[{"Id":"a"},{"Id":"b"}],"AttributeNames":["All"]}),
            ),
            (
                Service::Sqs,
                "Attribute.Name=VisibilityTimeout&Attribute.Value=5&Tag.1.Key=k&Tag.1.Value=v",
                json!({"Attributes":{"VisibilityTimeout":"5"},"Tags":{"k":"v"}}),
            ),
            (
                Service::Sns,
                "Attributes.entry.1.key=FifoTopic&Attributes.entry.1.value=true&Tags.member.1.Key=a\
                 &Tags.member.1.Value=b&MessageAttributes.entry.1.Name=n&MessageAttributes.entry.1.Value.DataType=String",
                json!({"Attributes":{"FifoTopic":"true"},"Tags":[{"Key":"a","Value":"b"}],
                       "MessageAttributes":{"n":{"DataType":"String"}}}),
            ),
            (Service::Sns, "TagKeys.member.10=j&TagKeys.member.2=b", json!({"TagKeys":["b","j"]})),
        ] {
            assert_eq!(to_json(service, form).unwrap(), expected, "{form}");
        }
        assert!(to_json(Service::Sns, &"a.".repeat(20)).is_none());
    }

    proptest! {
        #[test]
        fn never_panics(text in "([A-Za-z0-9.]{1,8}|member|entry|key|Name|Value|=|&|%[0-9a-f]{2}){0,60}") {
            for service in [Service::Sqs, Service::Sns] {
                let _ = to_json(service, &text);
            }
        }
    }
}
