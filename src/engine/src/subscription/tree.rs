//! A persistent tree of topic filters: clones share everything, a change copies one path.
//!
//! Filters and keys are words separated by `.`; in a filter `*` stands for one word and `#` for any number of them,
//! also none. Empty words count; the empty key has no word at all. A node's children are kept under a keyless hash that
//! nobody can aim at cheaply, and its targets in an ordered map, so that neither a million siblings nor ten thousand
//! targets of one filter make a change slow.
//!
//! Matching walks the key once with the set of nodes reached so far. `#` nodes stay in the set once reached; a node is
//! in it at most once, so that no filter can make the walk more than (nodes reached) x (words).

use model::Name;
use rpds::{HashTrieMap, HashTrieMapSync, RedBlackTreeMapSync};
use rustc_hash::FxHashSet;
use smallvec::SmallVec;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// SipHash with constant keys: the same in every run, and still too costly to find many collisions for.
type FixedHasher = BuildHasherDefault<DefaultHasher>;

/// Filters with what they lead to; `K` tells targets of one filter apart.
#[derive(Clone)]
pub struct Tree<K: Ord + Clone, T: Clone> {
    root: Option<Arc<Node<K, T>>>,
    size: usize,
}

#[derive(Clone)]
struct Node<K: Ord + Clone, T: Clone> {
    children: Children<K, T>,
    star: Option<Arc<Node<K, T>>>,
    hash: Option<Arc<Node<K, T>>>,
    targets: RedBlackTreeMapSync<K, T>,
}

/// Most inner nodes have one child: a map for each would cost more than the node.
#[derive(Clone)]
enum Children<K: Ord + Clone, T: Clone> {
    None,
    One(Name, Arc<Node<K, T>>),
    Many(HashTrieMapSync<Name, Arc<Node<K, T>>, FixedHasher>),
}

/// A node reached, and whether a `#` lies above it.
type Reached<'a, K, T> = (&'a Node<K, T>, bool);

impl<K: Ord + Clone, T: Clone> Default for Tree<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, T: Clone> Tree<K, T> {
    /// An empty tree.
    pub fn new() -> Self {
        Self { root: None, size: 0 }
    }

    /// Number of targets.
    pub fn len(&self) -> usize {
        self.size
    }

    /// True when there is no target.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Adds or replaces; true when it replaced. Costs O(words + log n).
    pub fn insert(&mut self, filter: &str, key: K, target: T) -> bool {
        let root = Arc::make_mut(self.root.get_or_insert_with(Node::empty));
        let existed = root.insert(&normalised(filter), key, target);
        self.size += usize::from(!existed);
        existed
    }

    /// Removes; true when it was there.
    pub fn remove(&mut self, filter: &str, key: &K) -> bool {
        let words = normalised(filter);
        let existed = self.find(&words).is_some_and(|node| node.targets.contains_key(key));
        if existed {
            self.size -= 1;
            if self.root.as_mut().is_some_and(|root| Arc::make_mut(root).remove(&words, key)) {
                self.root = None;
            }
        }
        existed
    }

    fn find(&self, words: &[&str]) -> Option<&Node<K, T>> {
        words.iter().try_fold(self.root.as_deref()?, |node, word| node.child(word))
    }

    /// Calls `visit` once for every target whose filter matches `key`.
    pub fn visit<'a>(&'a self, key: &str, visit: impl FnMut(&'a K, &'a T)) {
        self.walk(key, false, visit);
    }

    /// Like `visit`, but filters that begin with a wildcard do not match keys whose first word begins with `$`
    /// (MQTT 5.0, 4.7.2).
    pub fn visit_sparing_dollar<'a>(&'a self, key: &str, visit: impl FnMut(&'a K, &'a T)) {
        self.walk(key, key.starts_with('$'), visit);
    }

    fn walk<'a>(&'a self, key: &str, spare: bool, mut visit: impl FnMut(&'a K, &'a T)) {
        let Some(root) = self.root.as_deref() else { return };
        let mut walk = Walk::default();
        walk.reach(root, false);
        let mut words = words(key);
        if spare {
            walk.now.clear();
            walk.stay.clear();
            let first = words.next().and_then(|word| root.named(word));
            first.into_iter().for_each(|node| walk.reach(node, false));
        }
        for word in words {
            if walk.now.is_empty() && walk.stay.is_empty() {
                return;
            }
            walk.step(word);
        }
        let ends = walk.now.iter().map(|(node, _)| *node).chain(walk.stay.iter().copied());
        ends.for_each(|node| node.targets.iter().for_each(|(key, target)| visit(key, target)));
    }
}

/// The set of nodes reached.
struct Walk<'a, K: Ord + Clone, T: Clone> {
    /// Reached by exactly the words so far.
    now: SmallVec<[Reached<'a, K, T>; 8]>,
    /// `#` nodes, which stay.
    stay: SmallVec<[&'a Node<K, T>; 8]>,
    /// Scratch for the step.
    next: SmallVec<[Reached<'a, K, T>; 8]>,
    /// `#` nodes below another `#`: the only ones that could be reached twice.
    seen: FxHashSet<*const Node<K, T>>,
}

impl<K: Ord + Clone, T: Clone> Default for Walk<'_, K, T> {
    fn default() -> Self {
        Self {
            now: SmallVec::new(),
            stay: SmallVec::new(),
            next: SmallVec::new(),
            seen: FxHashSet::default(),
        }
    }
}

impl<'a, K: Ord + Clone, T: Clone> Walk<'a, K, T> {
    fn reach(&mut self, node: &'a Node<K, T>, below: bool) {
        self.now.push((node, below));
        if let Some(hash) = node.hash.as_deref()
            && (!below || self.seen.insert(std::ptr::from_ref(hash)))
        {
            self.stay.push(hash);
        }
    }

    fn step(&mut self, word: &str) {
        for (node, below) in self.now.drain(..) {
            self.next
                .extend(node.named(word).into_iter().chain(node.star.as_deref()).map(|next| (next, below)));
        }
        for node in &self.stay {
            self.next
                .extend(node.named(word).into_iter().chain(node.star.as_deref()).map(|next| (next, true)));
        }
        for (node, below) in std::mem::take(&mut self.next) {
            self.reach(node, below);
        }
    }
}

impl<K: Ord + Clone, T: Clone> Node<K, T> {
    fn empty() -> Arc<Self> {
        Arc::new(Self {
            children: Children::None,
            star: None,
            hash: None,
            targets: RedBlackTreeMapSync::new_sync(),
        })
    }

    fn is_empty(&self) -> bool {
        matches!(self.children, Children::None)
            && self.star.is_none()
            && self.hash.is_none()
            && self.targets.is_empty()
    }

    /// The child for a literal word.
    fn named(&self, word: &str) -> Option<&Self> {
        match &self.children {
            Children::None => None,
            Children::One(name, child) => (name == word).then_some(&**child),
            Children::Many(children) => children.get(word).map(Arc::as_ref),
        }
    }

    /// The child for a word of a filter.
    fn child(&self, word: &str) -> Option<&Self> {
        match word {
            "*" => self.star.as_deref(),
            "#" => self.hash.as_deref(),
            _ => self.named(word),
        }
    }

    fn child_mut(&mut self, word: &str) -> Option<&mut Arc<Self>> {
        match word {
            "*" => self.star.as_mut(),
            "#" => self.hash.as_mut(),
            _ => match &mut self.children {
                Children::None => None,
                Children::One(name, child) => (*name == word).then_some(child),
                Children::Many(children) => children.get_mut(word),
            },
        }
    }

    fn put_child(&mut self, word: &str, child: Arc<Self>) {
        match word {
            "*" => self.star = Some(child),
            "#" => self.hash = Some(child),
            _ => self.children.put(word.into(), child),
        }
    }

    fn drop_child(&mut self, word: &str) {
        match word {
            "*" => self.star = None,
            "#" => self.hash = None,
            _ => self.children.drop_named(word),
        }
    }

    /// Adds or replaces a target; true when it replaced.
    fn insert(&mut self, words: &[&str], key: K, target: T) -> bool {
        let Some((word, rest)) = words.split_first() else {
            let existed = self.targets.contains_key(&key);
            self.targets.insert_mut(key, target);
            return existed;
        };
        if let Some(child) = self.child_mut(word) {
            return Arc::make_mut(child).insert(rest, key, target);
        }
        let mut child = Node::empty();
        Arc::make_mut(&mut child).insert(rest, key, target);
        self.put_child(word, child);
        false
    }

    /// Removes a target that is there; true when nothing is left.
    fn remove(&mut self, words: &[&str], key: &K) -> bool {
        match words.split_first() {
            None => {
                self.targets.remove_mut(key);
            }
            Some((word, rest)) => {
                if self.child_mut(word).is_some_and(|child| Arc::make_mut(child).remove(rest, key)) {
                    self.drop_child(word);
                }
            }
        }
        self.is_empty()
    }
}

impl<K: Ord + Clone, T: Clone> Children<K, T> {
    /// Adds a child that is not there yet.
    fn put(&mut self, word: Name, child: Arc<Node<K, T>>) {
        match std::mem::replace(self, Children::None) {
            Children::None => *self = Children::One(word, child),
            Children::One(first, sibling) => {
                let mut children = HashTrieMap::new_with_hasher_and_ptr_kind(FixedHasher::default());
                children.insert_mut(first, sibling);
                children.insert_mut(word, child);
                *self = Children::Many(children);
            }
            Children::Many(mut children) => {
                children.insert_mut(word, child);
                *self = Children::Many(children);
            }
        }
    }

    fn drop_named(&mut self, word: &str) {
        match self {
            Children::Many(children) if children.size() > 1 => {
                children.remove_mut(word);
            }
            _ => *self = Children::None,
        }
    }
}

/// The words of a key: none for the empty key.
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').take(if key.is_empty() { 0 } else { usize::MAX })
}

/// The words of a filter in one normal form: of a run of wildcards all `*` come first and one `#` after them. The same keys
/// match, and no `#` node has another `#` node right below.
fn normalised(filter: &str) -> SmallVec<[&str; 16]> {
    let mut out = SmallVec::new();
    let mut pending = false;
    for word in words(filter) {
        match word {
            "#" => pending = true,
            "*" => out.push(word),
            _ => {
                if std::mem::take(&mut pending) {
                    out.push("#");
                }
                out.push(word);
            }
        }
    }
    if pending {
        out.push("#");
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn naive(filter: &[&str], key: &[&str]) -> bool {
        match (filter.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => (0..=key.len()).any(|skip| naive(rest, &key[skip..])),
            (Some((&"*", rest)), Some((_, tail))) => naive(rest, tail),
            (Some((word, rest)), Some((head, tail))) => word == head && naive(rest, tail),
            _ => false,
        }
    }

    fn split(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }

    fn expected(filter: &str, key: &str, spare: bool) -> bool {
        let leading = filter.starts_with(['*', '#']);
        naive(&split(filter), &split(key)) && !(spare && key.starts_with('$') && leading)
    }

    fn check(filter: &str, key: &str, matches: bool) {
        let mut tree = Tree::new();
        tree.insert(filter, 0, ());
        let mut visited = 0;
        tree.visit(key, |_, ()| visited += 1);
        assert_eq!(visited, i32::from(matches), "{filter} {key}");
        assert!(tree.remove(filter, &0) && tree.root.is_none());
    }

    #[test]
    fn wildcards() {
        check("a.*.c", "a.b.c", true);
        check("a.*", "a", false);
        check("a.*", "a.", true);
        check("a.#", "a", true);
        check("#", "", true);
        check("*", "", false);
        check("#.b.#", "a.b.c", true);
        check("#.*.b", "b", false);
        check("#.#.b.#.#", "b", true);
        check("", "", true);
        check("a.*b", "a.xb", false);
    }

    #[test]
    fn dollar_is_spared_only_when_asked() {
        let mut tree = Tree::new();
        ["#", "*.x", "$SYS.#", "$SYS.*"].into_iter().for_each(|filter| {
            tree.insert(filter, filter, ());
        });
        let mut found = BTreeSet::new();
        tree.visit_sparing_dollar("$SYS.x", |filter, ()| assert!(found.insert(*filter)));
        assert_eq!(found, BTreeSet::from(["$SYS.#", "$SYS.*"]));
        let mut count = 0;
        tree.visit("$SYS.x", |_, ()| count += 1);
        assert_eq!(count, 4);
    }

    #[test]
    fn many_crossing_hashes_stay_cheap() {
        let mut tree = Tree::new();
        let filter = vec!["#.a"; 100].join(".");
        tree.insert(&filter, 0, ());
        let key = vec!["a"; 200].join(".");
        let mut count = 0;
        tree.visit(&key, |_, ()| count += 1);
        assert_eq!(count, 1);
    }

    #[test]
    fn many_siblings_and_many_targets() {
        let mut tree = Tree::new();
        for n in 0..20_000_u32 {
            tree.insert(&format!("t.{n}"), n, n);
            tree.insert("t.all", n, n);
        }
        let before = tree.clone();
        let mut found = Vec::new();
        tree.visit("t.777", |_, n| found.push(*n));
        assert_eq!(found, [777]);
        for n in 0..20_000_u32 {
            assert!(tree.remove(&format!("t.{n}"), &n) && tree.remove("t.all", &n));
        }
        assert!(tree.is_empty() && tree.root.is_none());
        assert_eq!(before.len(), 40_000);
    }

    fn word() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "", "$s", "*", "#", "a", "#"])
    }

    proptest! {
        #[test]
        fn matches_as_the_naive_matcher_does(
            filters in prop::collection::vec(prop::collection::vec(word(), 0..6), 0..30),
            keys in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$s", "c"]), 0..7), 0..10),
            removed in prop::collection::vec(any::<bool>(), 30),
        ) {
            let filters: Vec<String> = filters.iter().map(|words| words.join(".")).collect();
            let mut tree = Tree::new();
            for (n, filter) in filters.iter().enumerate() {
                prop_assert!(!tree.insert(filter, n, ()));
            }
            let whole = tree.clone();
            let kept: Vec<usize> = (0..filters.len()).filter(|n| !removed[*n]).collect();
            for n in (0..filters.len()).filter(|n| removed[*n]) {
                prop_assert!(tree.remove(&filters[n], &n));
            }
            for key in keys.iter().map(|words| words.join(".")) {
                for spare in [false, true] {
                    for (tree, of) in [(&tree, &kept), (&whole, &(0..filters.len()).collect())] {
                        let mut found = Vec::new();
                        if spare {
                            tree.visit_sparing_dollar(&key, |n, ()| found.push(*n));
                        } else {
                            tree.visit(&key, |n, ()| found.push(*n));
                        }
                        found.sort_unstable();
                        let wanted: Vec<usize> =
                            of.iter().copied().filter(|n| expected(&filters[*n], &key, spare)).collect();
                        prop_assert_eq!(found, wanted, "{}", key);
                    }
                }
            }
            prop_assert_eq!(tree.len(), kept.len());
        }
    }
}
