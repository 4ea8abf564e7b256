//! The tree that both dialects compile to, and matching it against JSON.

use super::{
    MATCH_STEPS_MAX, PATTERN_BYTES_MAX, PATTERN_DEPTH_MAX, PATTERN_MATCHERS_MAX,
    matcher::{Matcher, Scalar, is_match_word},
};
use serde_json::{Map, Value as Json};

/// Bytes of text that a matcher may look at for one step.
const BYTES_PER_STEP: usize = 64;

/// What an object has to satisfy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) fields: Vec<(String, Rule)>,
    /// Of each group one has to match.
    pub(super) either: Vec<Vec<Node>>,
}

/// What a field has to satisfy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    Leaf(Vec<Matcher>),
    Below(Node),
}

/// How a dialect differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// `a.b` is `b` within `a`.
    pub(super) dotted: bool,
    /// Objects within objects are allowed.
    pub(super) nested: bool,
}

/// Compiles a pattern's text. Errors: the reason why it is not one.
pub(super) fn compile(text: &str, dialect: Dialect) -> Result<Node, String> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err("Pattern is too large".into());
    }
    let json: Json = serde_json::from_str(text).map_err(|error| format!("Invalid JSON: {error}"))?;
    let members = json.as_object().ok_or("Filter is not an object")?;
    Compiler { dialect, matchers: 0 }.node(members, 0)
}

struct Compiler {
    dialect: Dialect,
    matchers: usize,
}

impl Compiler {
    fn node(&mut self, members: &Map<String, Json>, depth: usize) -> Result<Node, String> {
        if members.is_empty() {
            return Err("Empty objects are not allowed".into());
        }
        if depth >= PATTERN_DEPTH_MAX {
            return Err("Pattern is nested too deep".into());
        }
        let mut node = Node::default();
        for (name, json) in members {
            match alternatives(name, json) {
                Some(alternatives) => {
                    let group = alternatives.iter().map(|members| self.node(members, depth + 1));
                    node.either.push(group.collect::<Result<_, _>>()?);
                }
                None => {
                    let rule = self.rule(name, json, depth)?;
                    let dotted = self.dialect.dotted && name.contains('.');
                    if dotted { node.insert_dotted(name, rule)? } else { node.insert(name, rule)? }
                }
            }
        }
        Ok(node)
    }

    fn rule(&mut self, name: &str, json: &Json, depth: usize) -> Result<Rule, String> {
        match json {
            Json::Array(matchers) if matchers.is_empty() => Err("Empty arrays are not allowed".into()),
            Json::Array(matchers) => {
                self.matchers += matchers.len();
                if self.matchers > PATTERN_MATCHERS_MAX {
                    return Err("Pattern is too complex".into());
                }
                matchers.iter().map(Matcher::compile).collect::<Result<_, _>>().map(Rule::Leaf)
            }
            Json::Object(_) if !self.dialect.nested => {
                Err("Filter policy scope MessageAttributes does not support nested filter policy".into())
            }
            Json::Object(members) => self.node(members, depth + 1).map(Rule::Below),
            _ => Err(format!("\"{name}\" must be an object or an array")),
        }
    }
}

/// `$or` over at least two objects that are not match expressions; anything else of that name is an ordinary field.
fn alternatives<'a>(name: &str, json: &'a Json) -> Option<Vec<&'a Map<String, Json>>> {
    let list = json.as_array().filter(|list| name == "$or" && list.len() > 1)?;
    let pattern = |json: &'a Json| json.as_object().filter(|o| !o.keys().any(|name| is_match_word(name)));
    list.iter().map(pattern).collect()
}

impl Node {
    fn insert(&mut self, name: &str, rule: Rule) -> Result<(), String> {
        let Some(position) = self.fields.iter().position(|(field, _)| field == name) else {
            self.fields.push((name.to_owned(), rule));
            return Ok(());
        };
        match (self.fields.get_mut(position), rule) {
            (Some((_, Rule::Below(node))), Rule::Below(more)) => {
                node.either.extend(more.either);
                more.fields.into_iter().try_for_each(|(name, rule)| node.insert(&name, rule))
            }
            _ => Err(format!("Path `{name}` cannot be allowed multiple times")),
        }
    }

    fn insert_dotted(&mut self, path: &str, rule: Rule) -> Result<(), String> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        if path.split('.').count() > PATTERN_DEPTH_MAX {
            return Err("Pattern is nested too deep".into());
        }
        let below = rest.rsplit('.').fold(rule, |rule, name| {
            Rule::Below(Node { fields: vec![(name.to_owned(), rule)], either: Vec::new() })
        });
        self.insert(first, below)
    }

    /// Whether a JSON value matches.
    pub(super) fn matches(&self, json: &Json) -> bool {
        Match { steps: MATCH_STEPS_MAX }.node(self, Some(json))
    }
}

/// One match with its budget.
struct Match {
    steps: u32,
}

impl Match {
    /// False when the budget is spent.
    fn step(&mut self, cost: usize) -> bool {
        self.steps = self.steps.saturating_sub(u32::try_from(cost).unwrap_or(u32::MAX));
        self.steps > 0
    }

    fn node(&mut self, node: &Node, json: Option<&Json>) -> bool {
        if !self.step(1) {
            return false;
        }
        if let Some(Json::Array(elements)) = json
            && !elements.is_empty()
        {
            return elements.iter().any(|element| self.node(node, Some(element)));
        }
        let members = json.and_then(Json::as_object);
        node.fields.iter().all(|(name, rule)| {
            let field = members.and_then(|members| members.get(name));
            match rule {
                Rule::Below(node) => self.node(node, field),
                Rule::Leaf(matchers) => self.leaf(matchers, field),
            }
        }) && node.either.iter().all(|group| group.iter().any(|node| self.node(node, json)))
    }

    fn leaf(&mut self, matchers: &[Matcher], field: Option<&Json>) -> bool {
        let mut present = false;
        let accepted = field.is_some_and(|field| self.any(matchers, field, &mut present));
        accepted || (!present && matchers.iter().any(Matcher::accepts_absence))
    }

    /// Whether any scalar within `field` is accepted; `present` says whether there was any.
    fn any(&mut self, matchers: &[Matcher], field: &Json, present: &mut bool) -> bool {
        if let Json::Array(elements) = field {
            return elements.iter().any(|element| self.any(matchers, element, present));
        }
        let Some(scalar) = Scalar::of_json(field) else { return false };
        *present = true;
        let cost = 1 + if let Scalar::Str(text) = scalar { text.len() / BYTES_PER_STEP } else { 0 };
        matchers.iter().any(|matcher| self.step(cost) && matcher.accepts(scalar))
    }
}
