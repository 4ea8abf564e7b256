//! The topology from the log. Records may come in any order and repeat; the last one of a key counts, and what they say
//! is built at the end: vhosts, policies, exchanges, queues, bindings.

use super::{Definitions, record};
use crate::topology::{Queue, record::Stored};
use bytes::Bytes;
use model::{
    Name,
    error::{BrokerError, ErrorKind},
};
use std::sync::Arc;

const KINDS: [&str; 7] = [
    record::VHOST,
    record::POLICY,
    record::OPERATOR_POLICY,
    record::EXCHANGE,
    record::QUEUE,
    record::BINDING,
    record::NUMBERS,
];

impl Definitions {
    /// Takes one definition record; false when its kind belongs to someone else. `None` removes.
    pub fn restore(&mut self, kind: &Name, key: &Name, value: Option<Bytes>) -> bool {
        let ours = KINDS.contains(&&**kind);
        if ours {
            let place = (kind.clone(), key.clone());
            match value {
                Some(value) => drop(self.stored.insert(place, value)),
                None => drop(self.stored.remove(&place)),
            }
        }
        ours
    }

    /// Builds what `restore` was given. Afterwards the changes hold a `CreateQueue` for every durable queue and nothing
    /// else. Returns a text for every binding left out because one of its ends is not there (a crash between two
    /// removals leaves such).
    /// Errors: `Internal` for a record that can not be read, `Unavailable` for a queue of a worker that does not exist,
    /// and what validation and the behaviour factory say.
    pub fn finish_restore(&mut self) -> Result<Vec<Name>, BrokerError> {
        let stored = std::mem::take(&mut self.stored);
        let of = |wanted: &'static str| {
            let records = stored.iter().filter(move |((kind, _), _)| kind == wanted);
            records.map(|((kind, key), value)| Stored::parse(kind, key, value))
        };
        for numbers in of(record::NUMBERS) {
            self.reserved = numbers?.number("next")?.max(self.reserved);
            self.next_number = self.reserved;
        }
        for vhost in of(record::VHOST) {
            let vhost = vhost?;
            let name = vhost.name("name")?;
            self.restored_vhost(&name);
            self.restore_description(&name, vhost.description());
        }
        for (kind, operator) in [(record::POLICY, false), (record::OPERATOR_POLICY, true)] {
            for stored in of(kind) {
                let stored = stored?;
                let vhost = stored.name("vhost")?;
                self.restored_vhost(&vhost);
                self.restore_policy(&vhost, operator, stored.policy()?);
            }
        }
        for stored in of(record::EXCHANGE) {
            self.restore_exchange(&stored?)?;
        }
        for stored in of(record::QUEUE) {
            self.restore_queue(&stored?)?;
        }
        let mut left_out = Vec::new();
        for stored in of(record::BINDING) {
            let stored = stored?;
            match self.restore_binding(&stored.name("vhost")?, stored.binding()?) {
                Err(error) if error.kind == ErrorKind::NotFound => left_out.push(error.text),
                other => other?,
            }
        }
        Ok(left_out)
    }

    fn restored_vhost(&mut self, name: &Name) {
        if self.topology.vhost(name).is_none() {
            self.add_vhost(name);
        }
    }

    fn restore_exchange(&mut self, stored: &Stored) -> Result<(), BrokerError> {
        let (vhost, declare) = (stored.name("vhost")?, stored.exchange()?);
        self.restored_vhost(&vhost);
        let exchange = self.compile_exchange(&vhost, declare)?;
        self.put_exchange(exchange);
        Ok(())
    }

    fn restore_queue(&mut self, stored: &Stored) -> Result<(), BrokerError> {
        let (vhost, (id, declare)) = (stored.name("vhost")?, stored.queue()?);
        if id.worker().0 >= self.workers {
            let text = format!(
                "queue '{}' in vhost '{vhost}' lives on worker {}, but there are only {}",
                declare.name,
                id.worker(),
                self.workers
            );
            return Err(BrokerError::new(ErrorKind::Unavailable, text));
        }
        self.restored_vhost(&vhost);
        let (settings, applied) = self.settings_of(&vhost, &declare)?;
        let queue = Queue { id, name: declare.name.clone(), vhost, settings, declare, owner: None, applied };
        self.next_number = self.next_number.max(id.number() + 1);
        self.reserved = self.reserved.max(self.next_number);
        self.create_queue(&Arc::new(queue));
        Ok(())
    }
}
