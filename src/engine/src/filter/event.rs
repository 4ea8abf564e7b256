//! EventBridge event patterns.

use super::{
    Parsed,
    pattern::{self, Dialect, Node},
};
use model::{
    behaviour::{Predicate, Scratch},
    message::Message,
};
use serde_json::{Map, Value as Json, map::Entry};

/// A compiled event pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPattern(Node);

impl EventPattern {
    /// Compiles a pattern's JSON text.
    /// Errors: the reason, to stand behind `Event pattern is not valid. Reason: `.
    pub fn compile(text: &str) -> Result<Self, String> {
        pattern::compile(text, Dialect { dotted: true, nested: true }).map(Self)
    }

    /// Whether an event matches. Members of the event whose names have dots match only after [`expand_dotted`].
    pub fn matches(&self, event: &Json) -> bool {
        self.0.matches(event)
    }
}

/// Lets through messages whose body is an event that matches.
pub struct EventPredicate(pub EventPattern);

impl Predicate for EventPredicate {
    fn matches(&self, message: &Message) -> bool {
        self.matches_with(message, &mut Scratch::default())
    }

    fn matches_with(&self, message: &Message, scratch: &mut Scratch) -> bool {
        let parsed = scratch.get_or_insert_with(|| Parsed::of(message));
        parsed.and_then(Parsed::expanded).is_some_and(|event| self.0.matches(event))
    }
}

/// Spells members with dotted names as nested objects: `{"a.b": 1}` becomes `{"a": {"b": 1}}`. Leaves everything else as
/// it is, and costs nothing where there are no such names.
pub fn expand_dotted(json: Json) -> Json {
    if !has_dotted(&json) {
        return json;
    }
    match json {
        Json::Array(elements) => elements.into_iter().map(expand_dotted).collect(),
        Json::Object(members) => {
            let mut expanded = Map::new();
            for (name, value) in members {
                merge(&mut expanded, &name, expand_dotted(value));
            }
            Json::Object(expanded)
        }
        scalar => scalar,
    }
}

pub(super) fn has_dotted(json: &Json) -> bool {
    match json {
        Json::Array(elements) => elements.iter().any(has_dotted),
        Json::Object(members) => members.iter().any(|(name, value)| name.contains('.') || has_dotted(value)),
        _ => false,
    }
}

/// A dotted name goes one level down; deeper than a pattern can reach it stays as it is.
fn merge(members: &mut Map<String, Json>, name: &str, value: Json) {
    let mut at = members;
    let (mut name, mut levels) = (name, super::PATTERN_DEPTH_MAX);
    while let Some((first, rest)) = name.split_once('.').filter(|_| levels > 0) {
        let below = at.entry(first).or_insert_with(|| Json::Object(Map::new()));
        let Json::Object(below) = below else { return };
        (at, name, levels) = (below, rest, levels - 1);
    }
    match (at.entry(name), value) {
        (Entry::Occupied(mut existing), Json::Object(more)) => {
            if let Json::Object(existing) = existing.get_mut() {
                existing.extend(more);
            }
        }
        (Entry::Occupied(_), _) => {}
        (Entry::Vacant(place), value) => drop(place.insert(value)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &str, event: &str, expected: bool) {
        let compiled = EventPattern::compile(pattern).unwrap();
        let event = expand_dotted(serde_json::from_str(event).unwrap());
        assert_eq!(compiled.matches(&event), expected, "{pattern} {event}");
    }

    #[test]
    fn literals_are_strict_about_type() {
        check(r#"{"a":["x"]}"#, r#"{"a":"x","b":1}"#, true);
        check(r#"{"a":[1]}"#, r#"{"a":"1"}"#, false);
        check(r#"{"a":[1]}"#, r#"{"a":1.0}"#, true);
        check(r#"{"a":[9007199254740993]}"#, r#"{"a":9007199254740992}"#, false);
        check(r#"{"a":[null]}"#, r#"{"a":null}"#, true);
        check(r#"{"a":[null]}"#, "{}", false);
        check(r#"{"a":[""]}"#, r#"{"a":""}"#, true);
        check(r#"{"a":[true]}"#, r#"{"a":true}"#, true);
        check(r#"{"a":{"b":["x"]}}"#, r#"{"a":{"b":"x"}}"#, true);
        check(r#"{"a":{"b":["x"]}}"#, r#"{"a":"x"}"#, false);
    }

    #[test]
    fn text_matchers() {
        check(r#"{"a":[{"prefix":"ab"}]}"#, r#"{"a":"abc"}"#, true);
        check(r#"{"a":[{"prefix":{"equals-ignore-case":"AB"}}]}"#, r#"{"a":"aBc"}"#, true);
        check(r#"{"a":[{"suffix":"c"}]}"#, r#"{"a":"abc"}"#, true);
        check(r#"{"a":[{"suffix":{"equals-ignore-case":".PNG"}}]}"#, r#"{"a":"x.pNg"}"#, true);
        check(r#"{"a":[{"equals-ignore-case":"ABC"}]}"#, r#"{"a":"abC"}"#, true);
        check(r#"{"a":[{"equals-ignore-case":"ABC"}]}"#, r#"{"a":"ab"}"#, false);
        check(r#"{"a":[{"wildcard":"a*c"}]}"#, r#"{"a":"abbc"}"#, true);
        check(r#"{"a":[{"prefix":"1"}]}"#, r#"{"a":1}"#, false);
    }

    #[test]
    fn anything_but_in_all_forms() {
        check(r#"{"a":[{"anything-but":"x"}]}"#, r#"{"a":"y"}"#, true);
        check(r#"{"a":[{"anything-but":"x"}]}"#, "{}", false);
        check(r#"{"a":[{"anything-but":[1,2]}]}"#, r#"{"a":2}"#, false);
        check(r#"{"a":[{"anything-but":{"prefix":"x"}}]}"#, r#"{"a":"xy"}"#, false);
        check(r#"{"a":[{"anything-but":{"suffix":["y","z"]}}]}"#, r#"{"a":"xz"}"#, false);
        check(r#"{"a":[{"anything-but":{"wildcard":"*b*"}}]}"#, r#"{"a":"abc"}"#, false);
        check(r#"{"a":[{"anything-but":{"equals-ignore-case":["X","Y"]}}]}"#, r#"{"a":"y"}"#, false);
        check(r#"{"a":[{"anything-but":"x"}]}"#, r#"{"a":["x","y"]}"#, true);
    }

    #[test]
    fn numbers_addresses_and_presence() {
        check(r#"{"a":[{"numeric":[">",0,"<=",5]}]}"#, r#"{"a":5}"#, true);
        check(r#"{"a":[{"numeric":[">",0,"<=",5]}]}"#, r#"{"a":0}"#, false);
        check(r#"{"a":[{"numeric":["=",3.018e2]}]}"#, r#"{"a":301.8}"#, true);
        check(r#"{"a":[{"numeric":["<",0]}]}"#, r#"{"a":"-1"}"#, false);
        check(r#"{"a":[{"cidr":"10.0.0.0/24"}]}"#, r#"{"a":"10.0.0.255"}"#, true);
        check(r#"{"a":[{"cidr":"10.0.0.0/24"}]}"#, r#"{"a":"10.0.1.0"}"#, false);
        check(r#"{"a":[{"cidr":"0.0.0.0/0"}]}"#, r#"{"a":"1.2.3.4"}"#, true);
        check(r#"{"a":[{"cidr":"2001:db8::/32"}]}"#, r#"{"a":"2001:db8:1::1"}"#, true);
        check(r#"{"a":[{"cidr":"::/0"}]}"#, r#"{"a":"1.2.3.4"}"#, false);
        check(r#"{"a":[{"exists":true}]}"#, r#"{"a":null}"#, true);
        check(r#"{"a":[{"exists":true}]}"#, r#"{"a":{"b":1}}"#, false);
        check(r#"{"a":[{"exists":false}]}"#, r#"{"b":1}"#, true);
        check(r#"{"a":{"b":[{"exists":false}]}}"#, r#"{"c":1}"#, true);
        check(r#"{"a":[{"exists":false}, "x"]}"#, r#"{"a":"x"}"#, true);
    }

    #[test]
    fn alternatives_dots_and_arrays() {
        let or = r#"{"$or":[{"a":["x"]},{"b":{"c":[{"numeric":[">",1]}]}}],"d":[1]}"#;
        check(or, r#"{"a":"x","d":1}"#, true);
        check(or, r#"{"b":{"c":2},"d":1}"#, true);
        check(or, r#"{"b":{"c":1},"d":1}"#, false);
        check(or, r#"{"a":"x"}"#, false);
        check(r#"{"a.b":["x"]}"#, r#"{"a":{"b":"x"}}"#, true);
        check(r#"{"a":{"b":["x"]}}"#, r#"{"a.b":"x"}"#, true);
        check(r#"{"a.b":["x"],"a":{"c":["y"]}}"#, r#"{"a":{"b":"x","c":"y"}}"#, true);
        check(r#"{"a":["x","y"]}"#, r#"{"a":["z","y"]}"#, true);
        let people = r#"{"people":[{"first":"A","last":"B"},{"first":"C","last":"D"}]}"#;
        check(r#"{"people":{"first":["A"],"last":["B"]}}"#, people, true);
        check(r#"{"people":{"first":["A"],"last":["D"]}}"#, people, false);
        check(r#"{"people.first":["A"],"people.last":["D"]}"#, people, false);
    }

    fn refused(pattern: &str, reason: &str) {
        let error = EventPattern::compile(pattern).unwrap_err();
        assert!(error.starts_with(reason), "{pattern}: {error}");
    }

    #[test]
    fn says_why_it_is_not_a_pattern() {
        refused("[]", "Filter is not an object");
        refused("{", "Invalid JSON");
        refused("{}", "Empty objects are not allowed");
        refused(r#"{"a":[]}"#, "Empty arrays are not allowed");
        refused(r#"{"a":"x"}"#, "\"a\" must be an object or an array");
        refused(r#"{"a":[["x"]]}"#, "Match value must be String, number, true, false, or null");
        refused(r#"{"a":[{"what":1}]}"#, "Unrecognized match type what");
        refused(r#"{"a":[{"prefix":"a","suffix":"b"}]}"#, "Only one key allowed in match expression");
        refused(r#"{"a":[{"prefix":1}]}"#, "prefix match pattern must be a string");
        refused(r#"{"a":[{"numeric":[">","x"]}]}"#, "Value of > must be numeric");
        refused(r#"{"a":[{"numeric":[">",5,"<",5]}]}"#, "Bottom must be less than top");
        refused(r#"{"a":[{"cidr":"10.0.0.0/33"}]}"#, "Malformed CIDR");
        refused(r#"{"a":[{"wildcard":"a**"}]}"#, "Consecutive wildcard characters");
        refused(r#"{"a":[{"anything-but":[]}]}"#, "Empty arrays are not allowed");
        refused(r#"{"a":["x"],"a.b":["y"]}"#, "Path `a` cannot be allowed multiple times");
        refused(&format!("{{\"a\":[{}1]}}", "1,".repeat(5000)), "Pattern is too complex");
        refused(&format!("{}[1]{}", r#"{"a":"#.repeat(70), "}".repeat(70)), "Pattern is nested too deep");
        refused(&format!("{{\"a{}\":[1]}}", ".a".repeat(70)), "Pattern is nested too deep");
    }

    #[test]
    fn a_match_ends() {
        let leaves = vec!["{\"prefix\":\"x\"}"; 1000].join(",");
        let event: Json = serde_json::from_str(&format!("{{\"a\":[{}1]}}", "1,".repeat(20_000))).unwrap();
        assert!(!EventPattern::compile(&format!("{{\"a\":[{leaves}]}}")).unwrap().matches(&event));
        let deep = format!("{}1{}", r#"{"a.b.c":"#.repeat(60), "}".repeat(60));
        expand_dotted(serde_json::from_str(&deep).unwrap());
    }

    fn json() -> impl Strategy<Value = Json> {
        let words = [
            "a",
            "a.b",
            "$or",
            "prefix",
            "anything-but",
            "numeric",
            "exists",
            "wildcard",
            "cidr",
            "10.0.0.0/8",
            "*",
            ">",
        ];
        let word = prop::sample::select(words.to_vec());
        let leaf = prop_oneof![
            word.clone().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            any::<bool>().prop_map(Json::from),
            Just(Json::Null)
        ];
        leaf.prop_recursive(5, 40, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
                prop::collection::vec((word.clone(), inner), 0..4).prop_map(|members| {
                    Json::Object(members.into_iter().map(|(name, json)| (name.to_owned(), json)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in json(), event in json()) {
            if let Ok(pattern) = EventPattern::compile(&pattern.to_string()) {
                pattern.matches(&expand_dotted(event));
            }
        }
    }
}
