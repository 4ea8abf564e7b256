//! Who may publish and read which topics: mosquitto's access control lists.
//!
//! ```text
//! topic read $SYS/#            # before any user line: clients without a user name
//! user alice
//! topic readwrite home/#       # read, write, readwrite or deny; readwrite when left out
//! pattern write devices/%c/#   # everyone, with %c for the client identifier and %u for the user name
//! ```
//! Owns: the file's syntax, what applies to a client, and the decision. Refuses: files, and the names of users.
//!
//! A denial goes before every permission. What nothing permits is denied, also by an empty list. Patterns are not
//! filled in with names that contain `+`, `#` or `/`, which could reach into other topics.

use crate::topic;
use std::fmt;
use std::sync::Arc;

/// Longest list, entries.
const ENTRIES_MAX: usize = 100_000;

/// Hands out the list as it is now; it may be read anew while the broker runs.
pub trait AccessLists: Send + Sync + fmt::Debug {
    /// The list in force.
    fn current(&self) -> Arc<Acl>;
}

/// What is done with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    read: bool,
    write: bool,
}

impl Grant {
    fn named(word: &str) -> Option<Self> {
        let (read, write) = match word {
            "read" => (true, false),
            "write" => (false, true),
            "readwrite" => (true, true),
            "deny" => (false, false),
            _ => return None,
        };
        Some(Self { read, write })
    }

    fn is_denial(self) -> bool {
        !self.read && !self.write
    }

    fn covers(self, access: Access) -> bool {
        match access {
            Access::Read => self.read,
            Access::Write => self.write,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Nameless,
    User(String),
    Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    who: Who,
    grant: Grant,
    filter: String,
}

/// An access control list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    entries: Vec<Entry>,
}

impl Acl {
    /// Reads the text of a list. Errors: one sentence that begins with the line's number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        let mut who = Who::Nameless;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |what: &str| Err(format!("line {}: {what}", index + 1));
            let (word, rest) =
                line.split_once([' ', '\t']).map_or((line, ""), |(word, rest)| (word, rest.trim()));
            if rest.is_empty() {
                return fail(&format!("'{word}' needs something behind it"));
            }
            let entry_of = match word {
                "user" => {
                    who = Who::User(rest.to_owned());
                    continue;
                }
                "topic" => who.clone(),
                "pattern" => Who::Pattern,
                _ => return fail(&format!("'{word}' is none of user, topic, pattern")),
            };
            let (grant, filter) = match rest.split_once([' ', '\t']) {
                Some((word, filter)) if Grant::named(word).is_some() => (Grant::named(word), filter.trim()),
                _ => (Grant::named("readwrite"), rest),
            };
            let Some(grant) = grant.filter(|_| topic::check_filter(filter.as_bytes()).is_ok()) else {
                return fail(&format!("'{filter}' is no topic filter"));
            };
            if entries.len() >= ENTRIES_MAX {
                return fail("too many entries");
            }
            entries.push(Entry { who: entry_of, grant, filter: filter.to_owned() });
        }
        Ok(Self { entries })
    }

    /// What applies to a client.
    pub(crate) fn rights(&self, user: Option<&str>, client_id: &str) -> Rights {
        let safe = |name: &str| !name.contains(['+', '#', '/']);
        let patterns = safe(client_id) && user.is_none_or(safe);
        let mut rights = Rights::default();
        for entry in &self.entries {
            let filter = match &entry.who {
                Who::Nameless if user.is_none() => entry.filter.clone(),
                Who::User(name) if user == Some(name) => entry.filter.clone(),
                Who::Pattern if patterns && (user.is_some() || !entry.filter.contains("%u")) => {
                    entry.filter.replace("%c", client_id).replace("%u", user.unwrap_or_default())
                }
                _ => continue,
            };
            rights.entries.push((entry.grant, filter));
        }
        rights
    }
}

/// What one client may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    entries: Vec<(Grant, String)>,
}

impl Rights {
    fn denials(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(grant, _)| grant.is_denial()).map(|(_, filter)| filter.as_str())
    }

    fn grants(&self, access: Access) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(move |(grant, _)| grant.covers(access)).map(|(_, filter)| filter.as_str())
    }

    /// The client may do that with this topic.
    pub(crate) fn allow(&self, access: Access, topic: &str) -> bool {
        !self.denials().any(|filter| matches(filter, topic))
            && self.grants(access).any(|filter| matches(filter, topic))
    }

    /// The client may read some topic that the filter matches: one that could never bring anything is refused, and
    /// what a granted one brings is looked at message by message.
    pub(crate) fn allow_filter(&self, filter: &str) -> bool {
        !self.denials().any(|denied| covers(denied, filter))
            && self.grants(Access::Read).any(|granted| overlap(granted, filter))
    }
}

/// A wildcard at the start does not stand for a level that begins with `$` (MQTT 5.0, 4.7.2).
fn dollar_differs(a: &str, b: &str) -> bool {
    a.starts_with('$') != b.starts_with('$')
}

/// A filter matches a topic name.
fn matches(filter: &str, topic: &str) -> bool {
    !dollar_differs(filter, topic) && covers_levels(filter.split('/'), topic.split('/'))
}

/// Everything that `inner` matches, `outer` matches too.
fn covers(outer: &str, inner: &str) -> bool {
    !dollar_differs(outer, inner) && covers_levels(outer.split('/'), inner.split('/'))
}

fn covers_levels<'a>(
    mut outer: impl Iterator<Item = &'a str>,
    mut inner: impl Iterator<Item = &'a str>,
) -> bool {
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(_) | None, Some("#")) | (None, Some(_)) | (Some(_), None) => return false,
            (Some(a), Some(b)) if a == "+" || a == b => {}
            _ => return false,
        }
    }
}

/// Some topic is matched by both.
fn overlap(a: &str, b: &str) -> bool {
    if dollar_differs(a, b) {
        return false;
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(x), Some(y)) if x == "+" || y == "+" || x == y => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use Access::{Read, Write};

    const LIST: &str = "# who may what
        topic read anon/#
        user bob
        topic bob/#
        topic deny bob/secret/#
        topic read with space/+
        user eve
        topic write eve/x
        pattern readwrite dev/%c/#
        pattern\tread\tu/%u";

    #[test]
    fn decides_as_mosquitto_does() {
        let acl = Acl::parse(LIST).unwrap();
        let check = |user: Option<&str>, client: &str, access, topic: &str, expected: bool| {
            assert_eq!(
                acl.rights(user, client).allow(access, topic),
                expected,
                "{user:?} {access:?} {topic}"
            );
        };
        check(None, "c", Read, "anon/x", true);
        check(None, "c", Write, "anon/x", false);
        check(None, "c", Read, "bob/x", false);
        check(None, "c", Write, "dev/c/x", true);
        check(None, "c", Read, "u/", false);
        check(Some("bob"), "c", Read, "anon/x", false);
        check(Some("bob"), "c", Write, "bob", true);
        check(Some("bob"), "c", Write, "bob/x", true);
        check(Some("bob"), "c", Read, "bob/secret/x", false);
        check(Some("bob"), "c", Read, "with space/1", true);
        check(Some("bob"), "c", Write, "dev/d/x", false);
        check(Some("bob"), "c", Read, "u/bob", true);
        check(Some("eve"), "c", Write, "eve/x", true);
        check(Some("eve"), "c", Read, "eve/x", false);
        check(Some("eve"), "a/b", Write, "dev/a/b/c", false);
        check(Some("eve"), "+", Write, "dev/z/c", false);
        check(Some("a#"), "c", Write, "dev/c/x", false);
        assert!(!Acl::parse("").unwrap().rights(None, "c").allow(Read, "x"));
    }

    #[test]
    fn refuses_filters_that_can_bring_nothing() {
        let acl = Acl::parse(LIST).unwrap();
        let bob = acl.rights(Some("bob"), "c");
        for good in ["#", "bob/+", "+/x", "bob/#", "dev/#", "u/bob", "bob/+/x"] {
            assert!(bob.allow_filter(good), "{good}");
        }
        for bad in
            ["eve/x", "bob/secret/#", "bob/secret/+", "bob/secret", "anon/#", "$SYS/#", "u/eve", "with space"]
        {
            assert!(!bob.allow_filter(bad), "{bad}");
        }
        let all = Acl::parse("topic #\ntopic read $SYS/broker/uptime").unwrap().rights(None, "c");
        assert!(all.allow(Read, "a/b") && !all.allow(Read, "$SYS/broker/version"));
        assert!(all.allow(Read, "$SYS/broker/uptime") && all.allow_filter("$SYS/#"));
    }

    #[test]
    fn names_the_line() {
        for (text, expected) in [
            ("topic a\ntopic", "line 2: 'topic' needs something behind it"),
            ("users bob", "line 1: 'users' is none of user, topic, pattern"),
            ("\n\ntopic read a/#/b", "line 3: 'a/#/b' is no topic filter"),
        ] {
            assert_eq!(Acl::parse(text).unwrap_err(), expected);
        }
    }
}
