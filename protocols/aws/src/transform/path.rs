//! The JSON paths of EventBridge: `$`, `$.a.b`, `$.a[0]`, `$['a b']`.

use serde_json::Value;

/// Most steps of one path.
const STEPS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Index(usize),
}

/// A compiled path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Compiles a path. Errors: a sentence that names it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::steps(text).map(Self).ok_or_else(|| format!("Invalid JSON path {text}."))
    }

    fn steps(text: &str) -> Option<Vec<Step>> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return None;
            }
            if let Some(name) = rest.strip_prefix('.') {
                let (name, tail) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
                if name.is_empty() {
                    return None;
                }
                steps.push(Step::Member(name.to_owned()));
                rest = tail;
            } else {
                let (inside, tail) = rest.strip_prefix('[')?.split_once(']')?;
                let quoted = ['\'', '"'].iter().find_map(|q| inside.strip_prefix(*q)?.strip_suffix(*q));
                steps.push(match quoted {
                    Some(name) => Step::Member(name.to_owned()),
                    None => Step::Index(inside.parse().ok()?),
                });
                rest = tail;
            }
        }
        Some(steps)
    }

    /// What the path leads to.
    pub fn find<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(root, |value, step| match step {
            Step::Member(name) => value.get(name.as_str()),
            Step::Index(index) => value.get(*index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn finds() {
        let root = json!({"a":{"b c":[1,{"d":2}]}});
        for (path, found) in [
            ("$", Some(root.clone())),
            ("$.a['b c'][1].d", Some(json!(2))),
            ("$.a[\"b c\"][0]", Some(json!(1))),
            ("$.x", None),
        ] {
            assert_eq!(Path::parse(path).map(|path| path.find(&root).cloned()), Ok(found), "{path}");
        }
        for bad in ["", "a", "$.", "$[", "$[x]", "$x"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[$.\\[\\]'\"a0]{0,20}") {
            let _ = Path::parse(&text);
        }
    }
}
