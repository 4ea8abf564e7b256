//! Exchanges: the kinds, and which bindings of one a message matches.
//!
//! Owns: the binding tables of one exchange. Refuses: to follow a binding further (`topology::route`).
//! Kinds that the engine routes itself: default, direct, fanout, topic, headers, x-consistent-hash, x-modulus-hash,
//! x-random, x-local-random (one broker: the same), and x-delayed-message, which routes like the kind that its argument
//! names. Kinds that the behaviour factory knows (`sns`, `event-bus`) route as a fanout whose bindings carry predicates. Any other is refused with
//! `unknown exchange type 'x'` and the kind `Precondition`: RabbitMQ 4 answers a channel error 406 there.

pub(crate) mod delay;
pub mod headers;
pub(crate) mod spread;

use crate::{
    binding::{Binding, BindingId},
    subscription::{SessionKey, Target, tree::Tree},
    topology::policies::{self, Applied},
};
use headers::Headers;
use model::{Name, behaviour::Behaviour, definition::ExchangeDeclare, message::Message};
use rpds::RedBlackTreeMapSync;
use spread::{Draw, HashOf};
use std::sync::Arc;

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// The nameless one: the routing key is the queue's name.
    Default,
    /// Equal keys.
    Direct,
    /// Everything.
    Fanout,
    /// Patterns over words.
    Topic,
    /// Header values.
    Headers,
    /// One of them, by a hash of the message and the bindings' weights.
    ConsistentHash,
    /// One of them, by a hash of the routing key and their number.
    ModulusHash,
    /// Any one of them.
    Random,
    /// The behaviour factory's: everything, through the bindings' predicates.
    Custom,
}

impl ExchangeKind {
    /// The engine's own kind of that name.
    pub fn parse(kind: &str) -> Option<Self> {
        Some(match kind {
            "direct" => ExchangeKind::Direct,
            "fanout" => ExchangeKind::Fanout,
            "topic" => ExchangeKind::Topic,
            "headers" => ExchangeKind::Headers,
            "x-consistent-hash" => ExchangeKind::ConsistentHash,
            "x-modulus-hash" => ExchangeKind::ModulusHash,
            "x-random" | "x-local-random" => ExchangeKind::Random,
            _ => return None,
        })
    }
}

/// An exchange with its bindings: persistent, cheap to clone and to change.
#[derive(Clone)]
pub struct Exchange {
    /// Name.
    pub name: Name,
    /// Vhost.
    pub vhost: Name,
    /// How it routes.
    pub kind: ExchangeKind,
    /// As declared.
    pub declare: Arc<ExchangeDeclare>,
    /// Where to send what matches nothing here.
    pub alternate: Option<Name>,
    pub(crate) behaviour: Behaviour,
    /// Holds messages back for as long as they say.
    pub(crate) delays: bool,
    bindings: RedBlackTreeMapSync<BindingId, Arc<Binding>>,
    patterns: Tree<BindingId, Arc<Binding>>,
    sessions: Tree<SessionKey, Target>,
    hash_of: HashOf,
    draw: Draw,
    pub(crate) applied: Option<Arc<Applied>>,
}

/// Something in an exchange that a message matches.
pub(crate) enum Hit<'a> {
    Binding(&'a Arc<Binding>),
    Session(&'a Target),
}

impl Exchange {
    pub(crate) fn new(
        vhost: Name,
        kind: ExchangeKind,
        declare: ExchangeDeclare,
        behaviour: Behaviour,
    ) -> Self {
        let alternate = declare.arguments.str("alternate-exchange").map(Name::from);
        let hash_of = HashOf::of(&declare.arguments);
        let declare_kind = declare.kind.clone();
        Self {
            name: declare.name.clone(),
            vhost,
            kind,
            declare: Arc::new(declare),
            alternate,
            behaviour,
            delays: &*declare_kind == delay::KIND,
            bindings: RedBlackTreeMapSync::new_sync(),
            patterns: Tree::new(),
            sessions: Tree::new(),
            hash_of,
            draw: Draw::default(),
            applied: None,
        }
    }

    /// Replaces the arguments, keeping the bindings.
    pub(crate) fn altered(&self, declare: ExchangeDeclare, behaviour: Behaviour) -> Self {
        let mut exchange = Exchange::new(self.vhost.clone(), self.kind, declare, behaviour);
        exchange.bindings = self.bindings.clone();
        exchange.patterns = self.patterns.clone();
        exchange.sessions = self.sessions.clone();
        exchange
    }

    /// The same under other policies.
    pub(crate) fn under(&self, applied: Option<Arc<Applied>>) -> Self {
        let own = self.declare.arguments.str("alternate-exchange").map(Name::from);
        Self { alternate: policies::alternate(own, applied.as_deref()), applied, ..self.clone() }
    }

    /// There from the beginning, not to be deleted.
    pub fn is_predeclared(&self) -> bool {
        self.name.is_empty() || self.name.starts_with("amq.")
    }

    /// Its bindings, by key and destination.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values()
    }

    /// One binding.
    pub fn binding(&self, id: &BindingId) -> Option<&Arc<Binding>> {
        self.bindings.get(id)
    }

    /// Number of bindings; sessions' subscriptions are not counted.
    pub fn binding_count(&self) -> usize {
        self.bindings.size()
    }

    pub(crate) fn insert(&mut self, id: BindingId, binding: Arc<Binding>) {
        if self.kind == ExchangeKind::Topic {
            self.patterns.insert(&id.key, id.clone(), binding.clone());
        }
        self.bindings.insert_mut(id, binding);
    }

    pub(crate) fn remove(&mut self, id: &BindingId) -> Option<Arc<Binding>> {
        let binding = self.bindings.get(id)?.clone();
        self.bindings.remove_mut(id);
        if self.kind == ExchangeKind::Topic {
            self.patterns.remove(&id.key, id);
        }
        Some(binding)
    }

    pub(crate) fn sessions_mut(&mut self) -> &mut Tree<SessionKey, Target> {
        &mut self.sessions
    }

    /// Depends on more than the routing key.
    pub(crate) fn reads_more_than_the_key(&self) -> bool {
        if self.delays {
            return true;
        }
        let more = match self.kind {
            ExchangeKind::Headers | ExchangeKind::Random => true,
            ExchangeKind::ConsistentHash => self.hash_of != HashOf::Key,
            _ => false,
        };
        more && !self.bindings.is_empty()
    }

    /// Calls `visit` for everything here that `message` matches. Something may be visited more than once when the
    /// message has further routing keys.
    pub(crate) fn for_each_match<'a>(&'a self, message: &Message, mut visit: impl FnMut(Hit<'a>)) {
        match self.kind {
            ExchangeKind::Default => {}
            ExchangeKind::Fanout | ExchangeKind::Custom => {
                self.bindings.values().for_each(|binding| visit(Hit::Binding(binding)));
            }
            ExchangeKind::Direct => keys(message).for_each(|key| self.equal(key, &mut visit)),
            ExchangeKind::Topic => keys(message).for_each(|key| {
                self.patterns.visit(key, |_, binding| visit(Hit::Binding(binding)));
                self.sessions.visit_sparing_dollar(key, |_, target| visit(Hit::Session(target)));
            }),
            ExchangeKind::ConsistentHash => {
                let one = spread::consistent(self.bindings.iter(), &self.hash_of, message);
                one.into_iter().for_each(|binding| visit(Hit::Binding(binding)));
            }
            ExchangeKind::ModulusHash => {
                let nth = spread::modulus(&message.routing_key, self.bindings.size());
                self.bindings.values().nth(nth).into_iter().for_each(|binding| visit(Hit::Binding(binding)));
            }
            ExchangeKind::Random => {
                let one = self.bindings.values().nth(self.draw.below(self.bindings.size()));
                one.into_iter().for_each(|binding| visit(Hit::Binding(binding)));
            }
            ExchangeKind::Headers if self.bindings.is_empty() => {}
            ExchangeKind::Headers => {
                let headers = Headers::of(&message.envelope().headers);
                let matching = self.bindings.values().filter(|binding| {
                    binding.headers.as_ref().is_some_and(|wanted| wanted.matches(&headers))
                });
                matching.for_each(|binding| visit(Hit::Binding(binding)));
            }
        }
    }

    fn equal<'a>(&'a self, key: &Name, visit: &mut impl FnMut(Hit<'a>)) {
        if self.bindings.is_empty() {
            return;
        }
        let of_key = self.bindings.range(BindingId::first_of(key)..).take_while(|(id, _)| id.key == *key);
        of_key.for_each(|(_, binding)| visit(Hit::Binding(binding)));
    }
}

/// The routing key and the further ones.
pub(crate) fn keys(message: &Message) -> impl Iterator<Item = &Name> {
    let further = message.extra.as_ref().map_or(&[][..], |extra| extra.extra_keys.as_slice());
    std::iter::once(&message.routing_key).chain(further)
}
