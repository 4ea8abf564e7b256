//! What operators change at run time and clients can not: virtual hosts, policies, users and permissions.
//!
//! Owns: their order among other definitions, their records, and who has to leave because of them.

use super::sessions;
use super::shared::Shared;
use super::topology_task::TopologyTask;
use crate::auth::account::{Stored, UserRecord};
use crate::net::outbox::Event;
use engine::topology::{Description, policies::Policy};
use engine::worker::command::Asker;
use model::{
    Name,
    command::{Reply, Signal},
    error::BrokerError,
};

/// One change; the virtual host that it is about comes with the request.
pub(crate) enum Operation {
    /// Make the virtual host, and with a description say that of it. -> `Existed`
    PutVhost(Option<Description>),
    /// Delete it with all that is in it; its connections are closed. -> `Existed`
    DeleteVhost,
    /// Put a policy, or an operator policy. -> `Existed`
    PutPolicy {
        /// Which of the two sorts.
        operator: bool,
        /// The policy.
        policy: Policy,
    },
    /// Delete one. -> `Existed`
    DeletePolicy {
        /// Which of the two sorts.
        operator: bool,
        /// Its name.
        name: Name,
    },
    /// Change users and permissions, and write these records. -> `Done`
    Users {
        /// The change.
        change: Box<dyn FnOnce(&mut Stored) + Send>,
        /// What the log is to say afterwards.
        records: Vec<UserRecord>,
        /// Whose connections are to be closed.
        gone: Option<Name>,
    },
}

impl TopologyTask {
    pub(super) fn operate(
        &mut self,
        asker: Asker,
        vhost: &Name,
        operation: Operation,
    ) -> Result<(), BrokerError> {
        let outcome = match operation {
            Operation::PutVhost(description) => {
                let outcome = self.definitions.admit_vhost(vhost)?;
                if let Some(description) = description {
                    self.definitions.describe_vhost(vhost, description)?;
                }
                outcome
            }
            Operation::DeleteVhost => {
                let shared = self.shared.clone();
                dismiss(&shared, format!("vhost '{vhost}' is deleted"), |_, of| of == vhost);
                self.end_sessions_of(vhost);
                self.definitions.delete_vhost(vhost)
            }
            Operation::PutPolicy { operator, policy } => {
                self.definitions.put_policy(vhost, operator, policy)?
            }
            Operation::DeletePolicy { operator, name } => {
                self.definitions.delete_policy(vhost, operator, &name)?
            }
            Operation::Users { change, records, gone } => {
                self.shared.users.change(change);
                for (kind, key, value) in records {
                    self.record(kind, key, value.map(|value| value.to_string().into()));
                }
                if let Some(gone) = gone {
                    let shared = self.shared.clone();
                    dismiss(&shared, format!("user '{gone}' is deleted"), |user, _| *user == gone);
                }
                self.answer_durably(asker, Reply::Done);
                return Ok(());
            }
        };
        self.answer_durably(asker, Reply::Existed(outcome.existed));
        Ok(())
    }

    fn end_sessions_of(&mut self, vhost: &Name) {
        let keys: Vec<sessions::SessionKey> =
            self.sessions.keys().into_iter().filter(|(of, _)| of == vhost).collect();
        keys.iter().for_each(|key| self.end_session(key));
    }
}

/// Tells the connections that `who` picks, by user and virtual host, to leave; returns how many.
pub(crate) fn dismiss(shared: &Shared, reason: String, who: impl Fn(&Name, &Name) -> bool) -> usize {
    let reason = Name::from(reason);
    let picked = shared
        .presences()
        .into_iter()
        .filter(|presence| presence.entered.get().is_some_and(|entered| who(&entered.user, &entered.vhost)));
    picked.map(|one| one.outbox.push_urgent(Event::Signal(Signal::Shutdown(reason.clone())))).count()
}
