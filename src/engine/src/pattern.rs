//! Regular expressions that operators write: in policies and permissions, and to filter listings.
//!
//! They match anywhere in a name unless anchored, as RabbitMQ's do, and know look-ahead (`^(?!amq\.)`). Steps of one match
//! are bounded: what takes more does not match.

use fancy_regex::{Regex, RegexBuilder};

/// Longest expression, bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Steps that one match may go back.
const BACKTRACK_STEPS_MAX: usize = 10_000;
/// Size of the compiled expression, bytes.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles `text`. Errors: what is wrong with it.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("regular expression is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let mut builder = RegexBuilder::new(text);
        builder.backtrack_limit(BACKTRACK_STEPS_MAX);
        builder.delegate_size_limit(COMPILED_BYTES_MAX);
        builder.delegate_dfa_size_limit(COMPILED_BYTES_MAX);
        builder.build().map(Self).map_err(|error| error.to_string())
    }

    /// Whether it matches somewhere in `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name).unwrap_or(false)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn matches_anywhere_and_looks_ahead() {
        let matches = |pattern, name| Pattern::compile(pattern).unwrap().matches(name);
        assert!(matches("", "anything") && matches("dd", "addition") && !matches("^dd", "addition"));
        assert!(matches(r"^(?!amq\.)", "orders") && !matches(r"^(?!amq\.)", "amq.direct"));
        assert!(Pattern::compile("(").is_err());
    }

    #[test]
    fn a_match_that_would_never_end_is_none() {
        let pattern = Pattern::compile(r"^(?=a)(a+)+\1$").unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(200))));
    }
}
