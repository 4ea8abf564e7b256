//! What this connection may publish and read, when there are access control lists.
//!
//! Owns: which list applies, and what was decided for keys seen before. A list may change while the connection lasts;
//! that is noticed once per call of the driver.

use super::MqttSession;
use crate::{
    acl::{Access, AccessLists, Acl, Rights},
    errors::reason,
    topic,
};
use model::{Name, message::Message};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Routing keys whose decision is remembered.
const DECISIONS_MAX: usize = 1024;

/// The decisions of one connection.
#[derive(Debug)]
pub(super) struct Gate {
    lists: Arc<dyn AccessLists>,
    acl: Arc<Acl>,
    user: Option<Name>,
    rights: Rights,
    readable: FxHashMap<Name, bool>,
}

impl Gate {
    /// For a client that is in; `None` where everything is allowed.
    pub(super) fn new(
        lists: Option<&Arc<dyn AccessLists>>,
        user: Option<Name>,
        client_id: &str,
    ) -> Option<Box<Self>> {
        let lists = lists?.clone();
        let acl = lists.current();
        let rights = acl.rights(user.as_deref(), client_id);
        Some(Box::new(Self { lists, acl, user, rights, readable: FxHashMap::default() }))
    }

    /// True when another list is in force now.
    fn renew(&mut self, client_id: &str) -> bool {
        let current = self.lists.current();
        if Arc::ptr_eq(&current, &self.acl) {
            return false;
        }
        self.rights = current.rights(self.user.as_deref(), client_id);
        self.acl = current;
        self.readable.clear();
        true
    }
}

impl MqttSession {
    /// Takes note of another list. Called before anything is decided in a call of the driver.
    pub(super) fn renew_gate(&mut self) {
        if let Some(gate) = &mut self.gate
            && gate.renew(&self.client_id)
        {
            self.incoming.forget_decisions();
        }
    }

    /// The client may publish to this topic. Errors: the reason code.
    pub(super) fn check_write(&self, topic: &str) -> Result<(), u8> {
        match &self.gate {
            Some(gate) if !gate.rights.allow(Access::Write, topic) => Err(reason::NOT_AUTHORIZED),
            _ => Ok(()),
        }
    }

    /// The client may subscribe to this filter; of a shared subscription the part behind the group counts.
    pub(super) fn check_filter(&self, filter: &str) -> Result<(), u8> {
        let Some(gate) = &self.gate else { return Ok(()) };
        let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
        let filter = shared.map_or(filter, |(_, filter)| filter);
        if gate.rights.allow_filter(filter) { Ok(()) } else { Err(reason::NOT_AUTHORIZED) }
    }

    /// The client may have this message, which subscription `via` brings.
    pub(super) fn may_read(&mut self, message: &Message, via: u32) -> bool {
        let Some(gate) = &mut self.gate else { return true };
        if let Some(topic) = self.subscriptions.queue_topic(via) {
            return gate.rights.allow(Access::Read, topic);
        }
        let key = &message.routing_key;
        if let Some(known) = gate.readable.get(&**key) {
            return *known;
        }
        let allowed = gate.rights.allow(Access::Read, &topic::from_key(key, self.config.plain_swap));
        if gate.readable.len() >= DECISIONS_MAX {
            gate.readable.clear();
        }
        // A name of its own: the message's may be a slice of a large buffer.
        gate.readable.insert(Name::from(&**key), allowed);
        allowed
    }

    /// Lets the client's rights be known from here on.
    pub(super) fn open_gate(&mut self, user: Name) {
        // Who only showed a certificate may have been let in without a name.
        let named = self.named || (self.seed.certificate_name.is_some() && user != "anonymous");
        let user = named.then_some(user);
        self.gate = Gate::new(self.config.access.as_ref(), user, &self.client_id);
    }
}
