//! The query protocol out: a JSON answer becomes the XML that the service would send.

use crate::error::ApiError;
use crate::service::Service;
use serde_json::Value;

/// Appends text with the characters that XML reserves escaped.
pub fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            other => out.push(other),
        }
    }
}

/// The answer to `operation`; `result` is `None` for operations without an output.
pub fn response(service: Service, operation: &str, result: Option<&Value>, request_id: &str) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\"?>");
    out.push_str(&format!("<{operation}Response xmlns=\"{}\">", service.namespace()));
    if let Some(result) = result {
        let writer = Writer { service, operation };
        element(&mut out, &format!("{operation}Result"), |out| writer.members(out, result));
    }
    element(&mut out, "ResponseMetadata", |out| leaf(out, "RequestId", request_id));
    out.push_str(&format!("</{operation}Response>"));
    out
}

/// An error.
pub fn error(service: Service, error: &ApiError, request_id: &str) -> String {
    let mut out = String::with_capacity(256);
    out.push_str("<?xml version=\"1.0\"?>");
    out.push_str(&format!("<ErrorResponse xmlns=\"{}\">", service.namespace()));
    element(&mut out, "Error", |out| {
        leaf(out, "Type", error.fault());
        leaf(out, "Code", error.code.query);
        leaf(out, "Message", &error.message);
        out.push_str("<Detail/>");
    });
    leaf(&mut out, "RequestId", request_id);
    out.push_str("</ErrorResponse>");
    out
}

fn element(out: &mut String, name: &str, write: impl FnOnce(&mut String)) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    write(out);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

fn leaf(out: &mut String, name: &str, text: &str) {
    element(out, name, |out| push_text(out, text));
}

struct Writer<'a> {
    service: Service,
    operation: &'a str,
}

impl Writer<'_> {
    fn members(&self, out: &mut String, value: &Value) {
        let Value::Object(members) = value else { return self.scalar(out, value) };
        for (name, value) in members {
            match value {
                Value::Null => {}
                Value::Array(items) => self.list(out, name, items),
                Value::Object(entries) if is_map(name) => self.map(out, name, entries),
                other => element(out, name, |out| self.members(out, other)),
            }
        }
    }

    fn scalar(&self, out: &mut String, value: &Value) {
        match value {
            Value::String(text) => push_text(out, text),
            Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {}
        }
    }

    fn list(&self, out: &mut String, name: &str, items: &[Value]) {
        if self.service != Service::Sqs {
            return element(out, name, |out| {
                items.iter().for_each(|item| element(out, "member", |out| self.members(out, item)));
            });
        }
        // SQS's lists are flattened: the item's element repeats without a list element around it.
        let item_name = match name {
            "QueueUrls" | "queueUrls" => "QueueUrl".to_owned(),
            "Successful" | "Results" => format!("{}ResultEntry", self.operation),
            "Failed" => "BatchResultErrorEntry".to_owned(),
            plural => plural.strip_suffix('s').unwrap_or(plural).to_owned(),
        };
        items.iter().for_each(|item| element(out, &item_name, |out| self.members(out, item)));
    }

    fn map(&self, out: &mut String, name: &str, entries: &serde_json::Map<String, Value>) {
        let entry =
            |out: &mut String, tag: &str, key_tag: &str, value_tag: &str, (key, value): (&String, &Value)| {
                element(out, tag, |out| {
                    leaf(out, key_tag, key);
                    element(out, value_tag, |out| self.members(out, value));
                });
            };
        if self.service != Service::Sqs {
            return element(out, name, |out| {
                entries.iter().for_each(|pair| entry(out, "entry", "key", "value", pair))
            });
        }
        let key_tag = if name == "Tags" { "Key" } else { "Name" };
        let tag = name.strip_suffix('s').unwrap_or(name);
        entries.iter().for_each(|pair| entry(out, tag, key_tag, "Value", pair));
    }
}

/// Members that are maps in every service that has them.
fn is_map(name: &str) -> bool {
    matches!(name, "Attributes" | "MessageAttributes" | "Tags")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error;
    use serde_json::json;

    #[test]
    fn answers() {
        for (service, operation, result, expected) in [
            (
                Service::Sqs,
                "ReceiveMessage",
                Some(json!({"Messages":[{"Body":"<&>","Attributes":{"SenderId":"x"}}]})),
                "<ReceiveMessageResult><Message><Attribute><Name>SenderId</Name><Value>x</Value></Attribute>\
                 <Body>&lt;&amp;&gt;</Body></Message></ReceiveMessageResult>",
            ),
            (
                Service::Sqs,
                "SendMessageBatch",
                Some(json!({"Successful":[{"Id":"a"}]})),
                "<SendMessageBatchResult><SendMessageBatchResultEntry><Id>a</Id></SendMessageBatchResultEntry>\
                 </SendMessageBatchResult>",
            ),
            (
                Service::Sns,
                "ListTopics",
                Some(json!({"Topics":[{"TopicArn":"t"}]})),
                "<ListTopicsResult><Topics><member><TopicArn>t</TopicArn></member></Topics></ListTopicsResult>",
            ),
            (
                Service::Sns,
                "GetTopicAttributes",
                Some(json!({"Attributes":{"Owner":"o"}})),
                "<GetTopicAttributesResult><Attributes><entry><key>Owner</key><value>o</value></entry></Attributes>\
                 </GetTopicAttributesResult>",
            ),
            (Service::Sqs, "DeleteQueue", None, ""),
        ] {
            let namespace = service.namespace();
            let expected = format!(
                "<?xml version=\"1.0\"?><{operation}Response xmlns=\"{namespace}\">{expected}\
                 <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{operation}Response>"
            );
            assert_eq!(response(service, operation, result.as_ref(), "r"), expected);
        }
        let xml = super::error(Service::Sns, &error::sns::NOT_FOUND.error("no <topic>"), "r");
        assert!(xml.contains("<Type>Sender</Type><Code>NotFound</Code><Message>no &lt;topic&gt;</Message>"));
    }
}
