//! The headers exchange's rule: which header values a binding asks for, compared with their types as RabbitMQ does.

use crate::topology::policy;
use model::{
    Name,
    error::{BrokerError, ErrorKind},
    value::{Table, Value},
};
use rustc_hash::FxHashMap;

/// From this many headers on they are looked up through an index, so that bindings times headers stays linear.
const INDEX_FROM: usize = 16;

/// A message's headers, made ready to be asked by many bindings.
pub(crate) struct Headers<'a> {
    table: &'a Table,
    index: FxHashMap<&'a str, &'a Value>,
}

impl<'a> Headers<'a> {
    pub(crate) fn of(table: &'a Table) -> Self {
        let mut index = FxHashMap::default();
        if table.len() >= INDEX_FROM {
            // In reverse, so that the first of equal names stays.
            index.extend(table.iter().rev().map(|(name, value)| (name.as_ref(), value)));
        }
        Self { table, index }
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        if self.table.len() < INDEX_FROM { self.table.get(name) } else { self.index.get(name).copied() }
    }
}

/// What a binding of a headers exchange asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatch {
    any: bool,
    wanted: Vec<(Name, Value)>,
}

impl HeaderMatch {
    /// Reads `x-match` (`all` by default, `any`, `all-with-x`, `any-with-x`) and the headers asked for. Names that
    /// begin with `x-` are asked for only in the `-with-x` forms.
    /// Errors: `InvalidArgument` for another `x-match`.
    pub fn compile(arguments: &Table) -> Result<Self, BrokerError> {
        let (any, with_x) = match arguments.get("x-match") {
            None => (false, false),
            Some(Value::Str(word)) => match word.as_ref() {
                "all" => (false, false),
                "any" => (true, false),
                "all-with-x" => (false, true),
                "any-with-x" => (true, true),
                _ => return Err(refused("value", &format!("<<\"{word}\">>"))),
            },
            Some(other) => {
                let (kind, shown) = (policy::type_word(other), policy::shown(other));
                return Err(refused("type", &format!("{kind} (value {shown})")));
            }
        };
        let asked =
            arguments.iter().filter(|(name, _)| name != "x-match" && (with_x || !name.starts_with("x-")));
        Ok(Self { any, wanted: asked.cloned().collect() })
    }

    /// Whether the headers satisfy it. `all` of nothing is satisfied, `any` of nothing is not.
    pub(crate) fn matches(&self, headers: &Headers<'_>) -> bool {
        let has = |(name, wanted): &(Name, Value)| {
            headers.value(name).is_some_and(|actual| satisfies(wanted, actual))
        };
        if self.any { self.wanted.iter().any(has) } else { self.wanted.iter().all(has) }
    }
}

fn refused(what: &str, got: &str) -> BrokerError {
    let text = if what == "value" {
        format!("Invalid x-match field value {got}; expected all, any, all-with-x, or any-with-x")
    } else {
        format!("Invalid x-match field type {got}; expected longstr")
    };
    BrokerError::new(ErrorKind::InvalidArgument, text)
}

/// No value asks only that the header be there. Numbers of any width compare by value, everything else by type
/// and value.
fn satisfies(wanted: &Value, actual: &Value) -> bool {
    if *wanted == Value::Null {
        return true;
    }
    match (wanted.as_i64(), actual.as_i64()) {
        (Some(left), Some(right)) => left == right,
        _ => match (float(wanted), float(actual)) {
            (Some(left), Some(right)) => left == right,
            _ => wanted == actual,
        },
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::F32(v) => Some(f64::from(*v)),
        Value::F64(v) => Some(*v),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Table {
        Table(entries.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect())
    }

    fn check(binding: &[(&str, Value)], headers: &[(&str, Value)], expected: bool) {
        let mut many = table(headers);
        let wanted = HeaderMatch::compile(&table(binding)).unwrap();
        assert_eq!(wanted.matches(&Headers::of(&many)), expected, "{binding:?} {headers:?}");
        (0..INDEX_FROM).for_each(|n| many.push(format!("filler-{n}"), Value::Null));
        assert_eq!(wanted.matches(&Headers::of(&many)), expected, "indexed {binding:?} {headers:?}");
    }

    #[test]
    fn forms_of_x_match() {
        let (a, b) = (("a", Value::I32(1)), ("b", Value::str("two")));
        let mode = |word: &str| ("x-match", Value::str(word.to_owned()));
        let x = ("x-a", Value::I32(1));
        check(&[a.clone(), b.clone()], &[a.clone(), b.clone()], true);
        check(&[a.clone(), b.clone()], std::slice::from_ref(&a), false);
        check(&[mode("any"), a.clone(), b.clone()], std::slice::from_ref(&b), true);
        check(&[mode("any"), a.clone()], std::slice::from_ref(&b), false);
        check(&[], std::slice::from_ref(&b), true);
        check(&[mode("any")], std::slice::from_ref(&b), false);
        check(&[mode("all"), x.clone()], std::slice::from_ref(&b), true);
        check(&[mode("all-with-x"), x.clone()], std::slice::from_ref(&b), false);
        check(&[mode("any-with-x"), x.clone()], std::slice::from_ref(&x), true);
    }

    #[test]
    fn compares_with_types() {
        check(&[("a", Value::I32(1))], &[("a", Value::I64(1))], true);
        check(&[("a", Value::I32(1))], &[("a", Value::str("1"))], false);
        check(&[("a", Value::F32(0.5))], &[("a", Value::F64(0.5))], true);
        check(&[("a", Value::Null)], &[("a", Value::str("anything"))], true);
        check(&[("a", Value::Null)], &[("b", Value::Null)], false);
    }

    #[test]
    fn refuses_another_x_match() {
        let error = HeaderMatch::compile(&table(&[("x-match", Value::str("foo"))])).unwrap_err();
        assert_eq!(
            error.text,
            "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"
        );
    }
}
