//! `*` stands for any characters, `\*` for itself, `\\` for a backslash.

/// A compiled wildcard pattern: the literal pieces between the stars.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wildcard {
    pieces: Vec<String>,
}

impl Wildcard {
    /// Errors: the reason why it is not a pattern.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let (mut pieces, mut piece) = (Vec::new(), String::new());
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, next @ ('*' | '\\'))) => piece.push(next),
                    _ => return Err(format!("Invalid escape character at pos {at}")),
                },
                '*' if characters.peek().is_some_and(|(_, next)| *next == '*') => {
                    return Err(format!("Consecutive wildcard characters at pos {at}"));
                }
                '*' => pieces.push(std::mem::take(&mut piece)),
                other => piece.push(other),
            }
        }
        pieces.push(piece);
        Ok(Self { pieces })
    }

    /// Takes time in proportion to the text, whatever the pattern: each piece is looked for behind the one before.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(((first, middle), last)) = self
            .pieces
            .split_first()
            .and_then(|(first, rest)| Some(((first, rest.split_last()), rest.last()?)))
        else {
            return self.pieces.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for piece in middle.map_or(&[][..], |(_, middle)| middle) {
            match rest.find(piece.as_str()).and_then(|at| rest.get(at + piece.len()..)) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Wildcard::compile(pattern).unwrap().matches(text), expected, "{pattern} {text}");
    }

    #[test]
    fn stars_and_escapes() {
        check("*", "", true);
        check("a*", "abc", true);
        check("*c", "abc", true);
        check("a*c", "ac", true);
        check("ab*ba", "aba", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("abc", "abc", true);
        check("abc", "abcd", false);
        check(r"a\*b*", "a*bx", true);
        check(r"a\*b", "axb", false);
        check(r"\\*", r"\x", true);
    }

    #[test]
    fn refuses() {
        assert_eq!(Wildcard::compile("a**b"), Err("Consecutive wildcard characters at pos 1".into()));
        assert_eq!(Wildcard::compile(r"a\b"), Err("Invalid escape character at pos 1".into()));
    }
}
