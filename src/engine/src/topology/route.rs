//! Where a message goes: from its exchange over bindings, exchanges and alternates to queues and sessions.
//!
//! Owns: one walk over a [`Topology`]. Refuses: to change anything, and to know what a queue does with a message.

use super::{Topology, Vhost, no_vhost};
use crate::{
    binding::{Binding, BindingTarget},
    exchange::{Exchange, ExchangeKind, Hit, delay, keys},
    subscription::{Subscriber, Target},
};
use model::{
    Name,
    behaviour::{Behaviour, Scratch},
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, QueueId},
    limits::ROUTE_HOPS_MAX,
    message::Message,
};
use rustc_hash::FxHashSet;
use smallvec::SmallVec;
use std::sync::Arc;

/// One message of a route and where it goes.
#[derive(Debug, Default)]
pub struct Leg {
    /// What to send; `None` is the published message itself.
    pub message: Option<Arc<Message>>,
    /// Queues with the subscription that matched, ascending (so one worker's lie together), each once.
    pub queues: SmallVec<[(QueueId, u32); 4]>,
    /// Sessions that take it directly, each once.
    pub direct: Vec<Arc<Subscriber>>,
}

impl Leg {
    fn clear(&mut self) {
        self.message = None;
        self.queues.clear();
        self.direct.clear();
    }
}

/// The result of routing; meant to be kept and used again.
#[derive(Debug, Default)]
pub struct Route {
    /// The first leg, when there is any, is the published message's own and may be empty.
    pub legs: SmallVec<[Leg; 1]>,
    /// The result depends only on exchange, routing key, the message's durability and the topology: not on headers,
    /// predicates, transformations, further keys or the publisher. Only routes without an error are cacheable.
    pub cacheable: bool,
}

impl Route {
    /// Queues and sessions of all legs; 0 is unroutable.
    pub fn destinations(&self) -> u32 {
        let count = self.legs.iter().map(|leg| leg.queues.len() + leg.direct.len()).sum::<usize>();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Empties it, keeping the first leg's capacity.
    pub fn clear(&mut self) {
        self.legs.truncate(1);
        self.legs.iter_mut().for_each(Leg::clear);
        self.cacheable = false;
    }
}

impl Topology {
    /// Routes `message` in `vhost` into `route`, which is cleared first. `publisher` is `ConnectionId(0)` for the
    /// broker itself (dead letters, wills), which may publish to internal exchanges.
    /// Errors: `NotFound` without the vhost or exchange, `AccessRefused` for an internal exchange, `LimitExceeded`
    /// when more than `ROUTE_HOPS_MAX` exchanges would be visited.
    pub fn route(
        &self,
        vhost: &Name,
        message: &Arc<Message>,
        publisher: ConnectionId,
        route: &mut Route,
    ) -> Result<(), BrokerError> {
        route.clear();
        let vhost = self.vhost(vhost).ok_or_else(|| no_vhost(vhost))?;
        let exchange = vhost
            .exchange(&message.exchange)
            .ok_or_else(|| BrokerError::not_found("exchange", &message.exchange, vhost.name()))?;
        if exchange.declare.internal && publisher != ConnectionId(0) {
            let text = format!(
                "cannot publish to internal exchange '{}' in vhost '{}'",
                exchange.name, exchange.vhost
            );
            return Err(BrokerError::new(ErrorKind::AccessRefused, text));
        }
        if route.legs.is_empty() {
            route.legs.push(Leg::default());
        }
        let further_keys = message.extra.as_ref().is_some_and(|extra| !extra.extra_keys.is_empty());
        route.cacheable = !further_keys;
        let mut walk = Walk { vhost, message, publisher, steps: SmallVec::new(), route, overflow: false };
        walk.enter(exchange, None, None);
        walk.run();
        let (overflow, repeated) = (walk.overflow, further_keys || walk.steps.len() > 1);
        if overflow {
            route.clear();
            let text = format!("the message would pass through more than {ROUTE_HOPS_MAX} exchanges");
            return Err(BrokerError::new(ErrorKind::LimitExceeded, text));
        }
        route.legs.iter_mut().for_each(|leg| deduplicate(leg, repeated));
        Ok(())
    }
}

fn deduplicate(leg: &mut Leg, repeated: bool) {
    if leg.queues.len() > 1 {
        leg.queues.sort_unstable();
        leg.queues.dedup();
    }
    if repeated && leg.direct.len() > 1 {
        let mut seen = FxHashSet::default();
        leg.direct.retain(|subscriber| seen.insert(Arc::as_ptr(subscriber)));
    }
}

/// An exchange to be visited with a message.
struct Step<'a> {
    exchange: &'a Exchange,
    /// `None` is the published message.
    message: Option<Arc<Message>>,
    /// The step that led here: an exchange is not entered again on its own way.
    from: Option<usize>,
}

struct Walk<'a, 'r> {
    vhost: &'a Vhost,
    message: &'a Arc<Message>,
    publisher: ConnectionId,
    steps: SmallVec<[Step<'a>; 2]>,
    route: &'r mut Route,
    overflow: bool,
}

impl<'a> Walk<'a, '_> {
    fn enter(&mut self, exchange: &'a Exchange, message: Option<Arc<Message>>, from: Option<usize>) {
        let again = |step: &Step<'a>| std::ptr::eq(step.exchange, exchange) && same(&step.message, &message);
        if self.steps.iter().any(again) || self.on_the_way(exchange, from) {
            return;
        }
        if self.steps.len() >= ROUTE_HOPS_MAX {
            self.overflow = true;
            return;
        }
        self.steps.push(Step { exchange, message, from });
    }

    fn on_the_way(&self, exchange: &Exchange, mut from: Option<usize>) -> bool {
        while let Some(step) = from.and_then(|index| self.steps.get(index)) {
            if std::ptr::eq(step.exchange, exchange) {
                return true;
            }
            from = step.from;
        }
        false
    }

    fn run(&mut self) {
        let mut index = 0;
        while let Some(step) = self.steps.get(index) {
            let (exchange, message) = (step.exchange, step.message.clone());
            self.visit(index, exchange, message);
            index += 1;
        }
    }

    fn visit(&mut self, index: usize, exchange: &'a Exchange, message: Option<Arc<Message>>) {
        let mut scratch = Scratch::default();
        let original = self.message;
        let entered = self.behave(&exchange.behaviour, message.as_ref().unwrap_or(original), &mut scratch);
        let message = match entered {
            Passed::Refused => return,
            Passed::Same => message,
            Passed::Changed(changed) => {
                scratch.clear();
                Some(addressed(changed, &exchange.name))
            }
        };
        let held = if exchange.delays { delay::delayed(message.as_ref().unwrap_or(original)) } else { None };
        let message = held.or(message);
        if exchange.reads_more_than_the_key() {
            self.route.cacheable = false;
        }
        let current = message.as_ref().unwrap_or(original);
        let (position, leg) = self.take_leg(&message);
        let mut visitor = Visit { index, leg, matched: false, scratch };
        if exchange.kind == ExchangeKind::Default {
            for queue in keys(current).filter_map(|name| self.vhost.queue(name)) {
                visitor.matched = true;
                visitor.leg.queues.push((queue.id, 0));
            }
        }
        exchange.for_each_match(current, |hit| match hit {
            Hit::Binding(binding) => self.follow(&mut visitor, current, binding),
            Hit::Session(target) => self.offer(&mut visitor, current, target),
        });
        let unmatched = !visitor.matched;
        self.put_leg(position, visitor.leg);
        if let Some(alternate) = exchange.alternate.as_ref().filter(|_| unmatched)
            && let Some(exchange) = self.vhost.exchange(alternate)
        {
            self.enter(exchange, message, Some(index));
        }
    }

    fn follow(&mut self, visit: &mut Visit, current: &Arc<Message>, binding: &'a Arc<Binding>) {
        let passed = self.behave(&binding.behaviour, current, &mut visit.scratch);
        visit.matched |= !matches!(passed, Passed::Refused);
        match (passed, &binding.target) {
            (Passed::Refused, _) => {}
            (Passed::Same, BindingTarget::Queue(queue)) => visit.leg.queues.push((*queue, 0)),
            (Passed::Changed(message), BindingTarget::Queue(queue)) => {
                let mut leg = Leg { message: Some(message), ..Leg::default() };
                leg.queues.push((*queue, 0));
                self.route.legs.push(leg);
            }
            (passed, BindingTarget::Exchange(name)) => {
                let Some(exchange) = self.vhost.exchange(name) else { return };
                let message = match passed {
                    Passed::Changed(message) => Some(addressed(message, name)),
                    _ => visit.leg.message.clone(),
                };
                self.enter(exchange, message, Some(visit.index));
            }
        }
    }

    fn offer(&mut self, visit: &mut Visit, current: &Arc<Message>, target: &'a Target) {
        match target {
            Target::Queue { id, via } => visit.leg.queues.push((*id, *via)),
            Target::Subscriber(subscriber) => {
                if subscriber.no_local {
                    self.route.cacheable = false;
                    if subscriber.sink.connection() == self.publisher {
                        return;
                    }
                }
                match subscriber.queue.filter(|_| current.durable) {
                    Some(queue) => visit.leg.queues.push((queue, subscriber.via)),
                    None => visit.leg.direct.push(subscriber.clone()),
                }
            }
        }
        visit.matched = true;
    }

    /// Takes out the leg that a message has already, to be put back after the step.
    fn take_leg(&mut self, message: &Option<Arc<Message>>) -> (Option<usize>, Leg) {
        let position = self.route.legs.iter().position(|leg| same(&leg.message, message));
        let taken = position.and_then(|index| self.route.legs.get_mut(index)).map(std::mem::take);
        (position, Leg { message: message.clone(), ..taken.unwrap_or_default() })
    }

    fn put_leg(&mut self, position: Option<usize>, leg: Leg) {
        match position.and_then(|index| self.route.legs.get_mut(index)) {
            Some(place) => *place = leg,
            None if leg.queues.is_empty() && leg.direct.is_empty() => {}
            None => self.route.legs.push(leg),
        }
    }

    fn behave(&mut self, behaviour: &Behaviour, message: &Arc<Message>, scratch: &mut Scratch) -> Passed {
        if behaviour.predicate.is_some() || behaviour.transform.is_some() {
            self.route.cacheable = false;
        }
        if behaviour.predicate.as_ref().is_some_and(|predicate| !predicate.matches_with(message, scratch)) {
            return Passed::Refused;
        }
        match behaviour.transform.as_ref().map(|transform| transform.apply(message)) {
            None => Passed::Same,
            Some(None) => Passed::Refused,
            Some(Some(changed)) if Arc::ptr_eq(&changed, message) => Passed::Same,
            Some(Some(changed)) => Passed::Changed(changed),
        }
    }
}

/// What is known while one step is visited.
struct Visit {
    index: usize,
    leg: Leg,
    matched: bool,
    scratch: Scratch,
}

/// What a behaviour did with a message.
enum Passed {
    Refused,
    Same,
    Changed(Arc<Message>),
}

fn same(left: &Option<Arc<Message>>, right: &Option<Arc<Message>>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => Arc::ptr_eq(left, right),
        _ => false,
    }
}

/// The message as one published to `exchange`.
fn addressed(message: Arc<Message>, exchange: &Name) -> Arc<Message> {
    if message.exchange == *exchange {
        return message;
    }
    let mut own = Arc::try_unwrap(message).unwrap_or_else(|shared| shared.derive());
    own.exchange = exchange.clone();
    Arc::new(own)
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
