//! SNS filter policies.

use super::{
    Parsed,
    matcher::{Matcher, Scalar},
    pattern::{self, Dialect, Node, Rule},
};
use model::{
    behaviour::{Predicate, Scratch},
    message::Message,
    value::{Table, Value},
};
use serde_json::Value as Json;

/// Most keys of a policy.
const POLICY_KEYS_MAX: usize = 5;
/// Most combinations of values of a policy; a value below `n` levels counts `n` times.
const POLICY_COMBINATIONS_MAX: usize = 150;

/// What a policy is applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnsScope {
    /// Message attributes: the envelope's headers.
    #[default]
    Attributes,
    /// The body as JSON.
    Body,
}

/// A compiled filter policy.
#[derive(Clone, Debug, PartialEq)]
pub struct SnsPolicy {
    root: Node,
    scope: SnsScope,
}

impl SnsPolicy {
    /// Compiles a policy's JSON text. The empty object lets everything through.
    /// Errors: the reason, to stand behind `Invalid parameter: FilterPolicy: `.
    pub fn compile(text: &str, scope: SnsScope) -> Result<Self, String> {
        let empty = serde_json::from_str::<Json>(text)
            .is_ok_and(|json| json.as_object().is_some_and(|o| o.is_empty()));
        if empty {
            return Ok(Self { root: Node::default(), scope });
        }
        let dialect = Dialect { dotted: false, nested: scope == SnsScope::Body };
        let root = pattern::compile(text, dialect)?;
        let mut count = Count { keys: 0, combinations: 1 };
        count.node(&root, 1);
        if count.keys > POLICY_KEYS_MAX {
            return Err(format!("Filter policy can not have more than {POLICY_KEYS_MAX} keys"));
        }
        if count.combinations > POLICY_COMBINATIONS_MAX {
            return Err("Filter policy is too complex".into());
        }
        Ok(Self { root, scope })
    }

    /// What it is applied to.
    pub fn scope(&self) -> SnsScope {
        self.scope
    }

    /// Whether message attributes match. A text that is a JSON array counts as its elements too (`String.Array`);
    /// binary attributes count as absent.
    pub fn matches_attributes(&self, attributes: &Table) -> bool {
        node_matches(&self.root, attributes)
    }

    /// Whether a body matches.
    pub fn matches_body(&self, body: &Json) -> bool {
        self.root.matches(body)
    }
}

/// Lets through messages that match.
pub struct SnsPredicate(pub SnsPolicy);

impl Predicate for SnsPredicate {
    fn matches(&self, message: &Message) -> bool {
        self.matches_with(message, &mut Scratch::default())
    }

    fn matches_with(&self, message: &Message, scratch: &mut Scratch) -> bool {
        match self.0.scope {
            SnsScope::Attributes => self.0.matches_attributes(&message.envelope().headers),
            SnsScope::Body if self.0.root == Node::default() => true,
            SnsScope::Body => {
                let parsed = scratch.get_or_insert_with(|| Parsed::of(message));
                parsed.and_then(|parsed| parsed.plain()).is_some_and(|body| self.0.matches_body(body))
            }
        }
    }
}

struct Count {
    keys: usize,
    combinations: usize,
}

impl Count {
    fn node(&mut self, node: &Node, level: usize) {
        for (_, rule) in &node.fields {
            match rule {
                Rule::Below(node) => self.node(node, level + 1),
                Rule::Leaf(matchers) => {
                    self.keys += 1;
                    self.combinations = self.combinations.saturating_mul(matchers.len() * level);
                }
            }
        }
        node.either.iter().flatten().for_each(|node| self.node(node, level));
    }
}

fn node_matches(node: &Node, attributes: &Table) -> bool {
    let field = |(name, rule): &(String, Rule)| match rule {
        Rule::Leaf(matchers) => accepts(matchers, attributes.get(name)),
        Rule::Below(_) => false,
    };
    node.fields.iter().all(field)
        && node.either.iter().all(|group| group.iter().any(|node| node_matches(node, attributes)))
}

fn accepts(matchers: &[Matcher], attribute: Option<&Value>) -> bool {
    let any = |scalar: Scalar<'_>| matchers.iter().any(|matcher| matcher.accepts(scalar));
    match attribute {
        Some(Value::Array(values)) => values.iter().filter_map(Scalar::of_value).any(any),
        Some(Value::Str(text)) if text.trim_start().starts_with('[') => {
            let whole = |matcher: &Matcher| matches!(matcher, Matcher::Text(wanted) if **wanted == **text);
            match serde_json::from_str::<Vec<Json>>(text) {
                Ok(values) => {
                    values.iter().filter_map(Scalar::of_json).any(any) || matchers.iter().any(whole)
                }
                Err(_) => any(Scalar::Str(text)),
            }
        }
        Some(value) => match Scalar::of_value(value) {
            Some(scalar) => any(scalar),
            None => matchers.iter().any(Matcher::accepts_absence),
        },
        None => matchers.iter().any(Matcher::accepts_absence),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn check(policy: &str, attributes: &[(&str, Value)], expected: bool) {
        let table = Table(attributes.iter().map(|(name, value)| ((*name).into(), value.clone())).collect());
        let policy = SnsPolicy::compile(policy, SnsScope::Attributes).unwrap();
        assert_eq!(policy.matches_attributes(&table), expected, "{policy:?} {attributes:?}");
    }

    #[test]
    fn attributes() {
        let store = ("store", Value::str("shop"));
        check("{}", &[], true);
        check(r#"{"store":["shop"]}"#, std::slice::from_ref(&store), true);
        check(r#"{"store":["shop"]}"#, &[], false);
        check(r#"{"store":[{"anything-but":["x"]}]}"#, std::slice::from_ref(&store), true);
        check(r#"{"store":[{"anything-but":["x"]}]}"#, &[], false);
        check(r#"{"store":["shop"],"n":[{"exists":false}]}"#, std::slice::from_ref(&store), true);
        check(r#"{"n":[{"numeric":[">=",1,"<",3]}]}"#, &[("n", Value::I64(2))], true);
        check(r#"{"n":[2]}"#, &[("n", Value::str("2"))], false);
        check(r#"{"n":[{"exists":true}]}"#, &[("n", Value::Bytes("x".into()))], false);
        check(r#"{"$or":[{"a":["x"]},{"b":["y"]}]}"#, &[("b", Value::str("y"))], true);
        check(r#"{"l":["b"]}"#, &[("l", Value::str(r#"["a","b"]"#))], true);
        check(r#"{"l":[{"anything-but":["a"]}]}"#, &[("l", Value::str(r#"["a"]"#))], false);
        check(r#"{"l":["[1]"]}"#, &[("l", Value::str("[1]"))], true);
        check(r#"{"l":["b"]}"#, &[("l", Value::Array(vec![Value::str("b")]))], true);
        check(r#"{"l":["[x"]}"#, &[("l", Value::str("[x"))], true);
    }

    #[test]
    fn body() {
        let policy = SnsPolicy::compile(r#"{"a":{"b":["x",{"prefix":"y"}]}}"#, SnsScope::Body).unwrap();
        assert!(policy.matches_body(&serde_json::json!({"a": {"b": "yes"}})));
        assert!(!policy.matches_body(&serde_json::json!({"a": {"b": 1}})));
        let dotted = SnsPolicy::compile(r#"{"a.b":["x"]}"#, SnsScope::Body).unwrap();
        assert!(!dotted.matches_body(&serde_json::json!({"a": {"b": "x"}})));
    }

    fn refused(policy: &str, scope: SnsScope, reason: &str) {
        assert_eq!(SnsPolicy::compile(policy, scope), Err(reason.to_owned()));
    }

    #[test]
    fn limits() {
        let nested = "Filter policy scope MessageAttributes does not support nested filter policy";
        refused(r#"{"a":{"b":["x"]}}"#, SnsScope::Attributes, nested);
        let keys = r#"{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}"#;
        refused(keys, SnsScope::Attributes, "Filter policy can not have more than 5 keys");
        let complex = format!(r#"{{"a":[{}1],"b":[1,2]}}"#, "1,".repeat(75));
        refused(&complex, SnsScope::Attributes, "Filter policy is too complex");
        let deep = format!(r#"{{"a":{{"b":{{"c":[{}1]}}}}}}"#, "1,".repeat(50));
        refused(&deep, SnsScope::Body, "Filter policy is too complex");
    }
}
