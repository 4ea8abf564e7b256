//! Retained messages: the last one of each topic, per vhost, in a tree of words. Owns lookup by filter and expiry by
//! the message's own time to live. Refuses topics deeper than the limit.

use model::{Millis, Name, limits::TOPIC_LEVELS_MAX, message::Message};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One word of the tree.
#[derive(Debug, Default)]
struct Node {
    message: Option<Arc<Message>>,
    children: BTreeMap<Name, Node>,
}

impl Node {
    /// Adds every message at and below this node, whose topic is `path`.
    fn collect(&self, path: Option<&str>, found: &mut Vec<(Name, Arc<Message>)>) {
        if let (Some(message), Some(path)) = (&self.message, path) {
            found.push((path.into(), message.clone()));
        }
        for (word, child) in &self.children {
            let below = path.map_or_else(|| word.to_string(), |path| format!("{path}.{word}"));
            child.collect(Some(&below), found);
        }
    }
}

/// All retained messages of a worker.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    vhosts: BTreeMap<Name, Node>,
    /// Those that expire: when, vhost, topic.
    expiring: BTreeSet<(Millis, Name, Name)>,
    count: usize,
    bytes: u64,
}

/// Why a retained message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

fn expires_ms(message: &Message) -> Option<Millis> {
    message.ttl_ms.map(|ttl| message.published_ms.saturating_add(ttl))
}

fn is_over(message: &Message, now: Millis) -> bool {
    expires_ms(message).is_some_and(|at| at <= now)
}

fn cost(message: &Message) -> u64 {
    message.cost_bytes() as u64
}

impl Retained {
    /// Everything: vhost, topic, message.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Name, Name, Arc<Message>)> + '_ {
        self.vhosts.iter().flat_map(|(vhost, root)| {
            let mut found = Vec::new();
            root.collect(None, &mut found);
            found.into_iter().map(move |(topic, message)| (vhost.clone(), topic, message))
        })
    }

    /// Retained messages, some perhaps expired.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sets the message of a topic. Errors: as many as may be, or a topic of too many words.
    pub(crate) fn set(
        &mut self,
        vhost: &Name,
        topic: &str,
        message: Arc<Message>,
        count_max: usize,
    ) -> Result<(), Full> {
        let exists = self.find(vhost, topic).is_some();
        if (!exists && self.count >= count_max) || topic.split('.').count() > TOPIC_LEVELS_MAX {
            return Err(Full);
        }
        let mut node = self.vhosts.entry(vhost.clone()).or_default();
        for word in topic.split('.') {
            if !node.children.contains_key(word) {
                node.children.insert(Name::from(word), Node::default());
            }
            let Some(child) = node.children.get_mut(word) else { return Err(Full) };
            node = child;
        }
        self.bytes += cost(&message);
        let expires = expires_ms(&message);
        match node.message.replace(message) {
            Some(before) => self.forget(vhost, topic, &before),
            None => self.count += 1,
        }
        if let Some(at) = expires {
            self.expiring.insert((at, vhost.clone(), topic.into()));
        }
        Ok(())
    }

    /// Takes a message that is no longer retained off the totals.
    fn forget(&mut self, vhost: &Name, topic: &str, message: &Message) {
        self.bytes -= cost(message);
        if let Some(at) = expires_ms(message) {
            self.expiring.remove(&(at, vhost.clone(), topic.into()));
        }
    }

    /// When the next one expires.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.expiring.first().map(|(at, _, _)| *at)
    }

    /// Drops up to `budget` messages that expired.
    pub(crate) fn expire(&mut self, now: Millis, budget: usize) {
        for _ in 0..budget {
            let Some((_, vhost, topic)) = self.expiring.first().filter(|(at, _, _)| *at <= now).cloned()
            else {
                return;
            };
            self.expiring.pop_first();
            self.clear(&vhost, &topic);
        }
    }

    /// Clears a topic.
    pub(crate) fn clear(&mut self, vhost: &Name, topic: &str) {
        let words: Vec<&str> = topic.split('.').take(TOPIC_LEVELS_MAX + 1).collect();
        let Some(root) = self.vhosts.get_mut(vhost) else { return };
        if let Some(before) = clear_below(root, &words) {
            self.forget(vhost, topic, &before);
            self.count -= 1;
        }
    }

    /// The message of a topic, expired or not.
    pub(crate) fn find(&self, vhost: &Name, topic: &str) -> Option<&Arc<Message>> {
        let mut node = self.vhosts.get(vhost)?;
        for word in topic.split('.') {
            node = node.children.get(word)?;
        }
        node.message.as_ref()
    }

    /// The messages that match a filter: `*` is one word, `#` any number. A leading wildcard does not match topics
    /// that begin with `$`.
    pub(crate) fn matching(&self, vhost: &Name, filter: &str, now: Millis) -> Vec<Arc<Message>> {
        let words: Vec<&str> = filter.split('.').take(TOPIC_LEVELS_MAX + 1).collect();
        let mut found = Vec::new();
        if let Some(root) = self.vhosts.get(vhost)
            && words.len() <= TOPIC_LEVELS_MAX
        {
            let search = Search { words: &words, now };
            search.visit(root, &search.closure(vec![0]), true, &mut found);
        }
        found
    }
}

/// Clears the message under `words` and cuts off branches that hold nothing any more.
fn clear_below(node: &mut Node, words: &[&str]) -> Option<Arc<Message>> {
    let Some((word, rest)) = words.split_first() else { return node.message.take() };
    let child = node.children.get_mut(*word)?;
    let cleared = clear_below(child, rest)?;
    if child.message.is_none() && child.children.is_empty() {
        node.children.remove(*word);
    }
    Some(cleared)
}

/// One lookup. The filter is a small automaton whose states are positions in `words`: every node of the tree is
/// visited once with the set of positions reached there, so several `#` cost nothing extra and find nothing twice.
struct Search<'a> {
    words: &'a [&'a str],
    now: Millis,
}

impl Search<'_> {
    /// Adds the positions behind each `#`, which may stand for nothing. Ascending, without doubles.
    fn closure(&self, mut positions: Vec<usize>) -> Vec<usize> {
        let mut index = 0;
        while let Some(position) = positions.get(index).copied() {
            if self.words.get(position) == Some(&"#") && !positions.contains(&(position + 1)) {
                positions.push(position + 1);
            }
            index += 1;
        }
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    fn step(&self, positions: &[usize], word: &str) -> Vec<usize> {
        let mut next = Vec::with_capacity(positions.len());
        for position in positions {
            match self.words.get(*position) {
                Some(&"#") => next.push(*position),
                Some(expected) if *expected == "*" || *expected == word => next.push(position + 1),
                _ => {}
            }
        }
        self.closure(next)
    }

    fn visit(&self, node: &Node, positions: &[usize], at_root: bool, found: &mut Vec<Arc<Message>>) {
        if positions.contains(&self.words.len()) && !at_root {
            found.extend(node.message.iter().filter(|message| !is_over(message, self.now)).cloned());
        }
        if let [only] = positions
            && let Some(word) = self.words.get(*only)
            && *word != "*"
            && *word != "#"
        {
            if let Some(child) = node.children.get(*word) {
                self.visit(child, &self.closure(vec![only + 1]), false, found);
            }
            return;
        }
        let wild_start = self.words.first().is_some_and(|word| *word == "*" || *word == "#");
        for (word, child) in &node.children {
            if at_root && wild_start && word.starts_with('$') {
                continue;
            }
            let next = self.step(positions, word);
            if !next.is_empty() {
                self.visit(child, &next, false, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::worker::testing::message;

    #[test]
    fn filters_find_topics() {
        let mut retained = Retained::default();
        let vhost = Name::from("/");
        for topic in ["a", "a.b", "a.b.c", "a..c", "$SYS.up", "x.b.c"] {
            retained.set(&vhost, topic, message(topic), 100).unwrap();
        }
        let check = |filter: &str, expected: &[&str]| {
            let found = retained.matching(&vhost, filter, 0);
            let keys: Vec<&str> = found.iter().map(|message| &*message.routing_key).collect();
            assert_eq!(keys, expected, "{filter}");
        };
        check("a", &["a"]);
        check("a.b", &["a.b"]);
        check("*.b.c", &["a.b.c", "x.b.c"]);
        check("a.*", &["a.b"]);
        check("a.#", &["a", "a..c", "a.b", "a.b.c"]);
        check("#", &["a", "a..c", "a.b", "a.b.c", "x.b.c"]);
        check("$SYS.#", &["$SYS.up"]);
        check("*.up", &[]);
        check("#.c.#.#", &["a..c", "a.b.c", "x.b.c"]);
        check("nothing.*", &[]);
    }

    #[test]
    fn counts_expires_and_clears() {
        let mut retained = Retained::default();
        let vhost = Name::from("/");
        let mut short = message("t").derive();
        short.ttl_ms = Some(10);
        short.published_ms = 5;
        retained.set(&vhost, "t", Arc::new(short), 1).unwrap();
        assert_eq!(retained.set(&vhost, "u", message("u"), 1), Err(Full));
        assert_eq!(retained.matching(&vhost, "t", 14).len(), 1);
        assert_eq!(retained.matching(&vhost, "t", 15).len(), 0);
        retained.clear(&vhost, "nothing");
        assert_eq!(retained.deadline(), Some(15));
        retained.expire(15, 10);
        assert_eq!(retained.deadline(), None);
        retained.set(&vhost, "t", message("t"), 1).unwrap();
        retained.clear(&vhost, "t");
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
        assert!(retained.vhosts[&vhost].children.is_empty());
    }
}
