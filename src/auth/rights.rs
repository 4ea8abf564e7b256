//! What a user may do in a virtual host: RabbitMQ's three patterns over names of exchanges and queues, and two over
//! routing keys per topic exchange.

use engine::pattern::Pattern;
use model::{
    Name,
    error::{BrokerError, ErrorKind},
};
use std::collections::BTreeMap;
use std::fmt;

/// What is done to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Make, change, delete.
    Configure,
    /// Publish to, bind.
    Write,
    /// Consume, purge, bind to.
    Read,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Configure => "configure",
            Access::Write => "write",
            Access::Read => "read",
        })
    }
}

/// Patterns of one user in one virtual host; an empty one matches nothing but the empty name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Permission {
    /// For [`Access::Configure`].
    pub(crate) configure: Pattern,
    /// For [`Access::Write`].
    pub(crate) write: Pattern,
    /// For [`Access::Read`].
    pub(crate) read: Pattern,
}

impl Permission {
    /// Compiles the three. Errors: which one is wrong, and how.
    pub(crate) fn compile(configure: &str, write: &str, read: &str) -> Result<Self, String> {
        Ok(Self { configure: compile(configure)?, write: compile(write)?, read: compile(read)? })
    }

    fn allows(&self, access: Access, name: &str) -> bool {
        let pattern = match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        };
        match pattern.as_str() {
            ".*" => true,
            "" => name.is_empty(),
            _ => pattern.matches(name),
        }
    }

    fn is_everything(&self) -> bool {
        [&self.configure, &self.write, &self.read].iter().all(|pattern| pattern.as_str() == ".*")
    }
}

fn compile(text: &str) -> Result<Pattern, String> {
    Pattern::compile(text).map_err(|error| format!("invalid regexp '{text}': {error}"))
}

/// Patterns of routing keys of one user in one topic exchange. May name `{username}`, `{vhost}` and `{client_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicPermission {
    /// Keys that it may publish with.
    pub(crate) write: String,
    /// Keys that it may bind with.
    pub(crate) read: String,
}

/// What one user may do in one virtual host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    user: Name,
    /// `None` is everything.
    permission: Option<Permission>,
    /// Write and read per exchange.
    topics: BTreeMap<Name, (Pattern, Pattern)>,
}

impl Rights {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self::default()
    }

    /// Nothing.
    pub(crate) fn none(user: &Name) -> Self {
        let permission = Permission::compile("", "", "").ok();
        Self { user: user.clone(), permission, topics: BTreeMap::new() }
    }

    /// What `permission` and the topic permissions of these exchanges allow; `None` allows everything.
    pub(crate) fn new<'a>(
        (user, vhost): (&Name, &str),
        permission: Option<&Permission>,
        topics: impl Iterator<Item = (&'a Name, &'a TopicPermission)>,
    ) -> Self {
        let fill = |text: &str| text.replace("{username}", user).replace("{vhost}", vhost);
        let topics = topics.filter_map(|(exchange, topic)| {
            let compiled = Pattern::compile(&fill(&topic.write)).ok()?;
            Some((exchange.clone(), (compiled, Pattern::compile(&fill(&topic.read)).ok()?)))
        });
        Self {
            user: user.clone(),
            permission: permission.filter(|permission| !permission.is_everything()).cloned(),
            topics: topics.collect(),
        }
    }

    /// Nothing is refused.
    pub(crate) fn is_everything(&self) -> bool {
        self.permission.is_none() && self.topics.is_empty()
    }

    /// Errors: `AccessRefused` in RabbitMQ's words. `what` is `queue` or `exchange`.
    pub(crate) fn check(
        &self,
        access: Access,
        what: &str,
        name: &str,
        vhost: &str,
    ) -> Result<(), BrokerError> {
        let name = if what == "exchange" && name.is_empty() { "amq.default" } else { name };
        if self.permission.as_ref().is_none_or(|permission| permission.allows(access, name)) {
            return Ok(());
        }
        let user = &self.user;
        let text = format!("{access} access to {what} '{name}' in vhost '{vhost}' refused for user '{user}'");
        Err(BrokerError::new(ErrorKind::AccessRefused, text))
    }

    /// Whether keys of this exchange are restricted.
    pub(crate) fn restricts_keys_of(&self, exchange: &str) -> bool {
        self.topics.contains_key(exchange)
    }

    /// The same for a routing key of a topic exchange.
    pub(crate) fn check_key(
        &self,
        access: Access,
        exchange: &str,
        key: &str,
        vhost: &str,
    ) -> Result<(), BrokerError> {
        let Some((write, read)) = self.topics.get(exchange) else { return Ok(()) };
        let pattern = if access == Access::Write { write } else { read };
        let allowed = if pattern.as_str().is_empty() { key.is_empty() } else { pattern.matches(key) };
        if allowed {
            return Ok(());
        }
        let user = &self.user;
        let text = format!(
            "{access} access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'"
        );
        Err(BrokerError::new(ErrorKind::AccessRefused, text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_decide_and_refusals_read_as_rabbitmqs() {
        let permission = Permission::compile("^mine", "", ".*").unwrap();
        let topic = TopicPermission { write: "^{username}\\.".into(), read: String::new() };
        let exchange = Name::from_static("amq.topic");
        let user = Name::from_static("u");
        let rights = Rights::new((&user, "/"), Some(&permission), [(&exchange, &topic)].into_iter());
        assert!(rights.check(Access::Configure, "queue", "mine.q", "/").is_ok());
        let text = rights.check(Access::Configure, "queue", "q", "/").unwrap_err().text;
        assert_eq!(text, "configure access to queue 'q' in vhost '/' refused for user 'u'");
        let text = rights.check(Access::Write, "exchange", "", "/").unwrap_err().text;
        assert_eq!(text, "write access to exchange 'amq.default' in vhost '/' refused for user 'u'");
        assert!(rights.check(Access::Read, "queue", "anything", "/").is_ok());
        assert!(rights.check_key(Access::Write, "amq.topic", "u.x", "/").is_ok());
        let text = rights.check_key(Access::Write, "amq.topic", "x", "/").unwrap_err().text;
        assert_eq!(
            text,
            "write access to topic 'x' in exchange 'amq.topic' in vhost '/' refused for user 'u'"
        );
        assert!(rights.check_key(Access::Write, "other", "x", "/").is_ok());
        assert!(Permission::compile("(", "", "").is_err());
        let all = Permission::compile(".*", ".*", ".*").unwrap();
        assert!(Rights::new((&user, "/"), Some(&all), std::iter::empty()).is_everything());
    }
}
