//! Queues and streams: made, changed, deleted.

use super::{
    Asker, Definitions, Outcome, WorkerCommand, check_name_length, check_not_reserved, exchanges::alter,
    record,
};
use crate::topology::{
    Queue,
    policies::{self, Applied},
    policy,
    settings::QueueSettings,
};
use model::{
    Name,
    definition::{Destination, QueueDeclare},
    error::{BrokerError, ErrorKind},
    ids::{ConnectionId, QueueId},
    value::Table,
};
use std::sync::Arc;

/// How the names begin that sessions make for clients: queues without a name, and reply queues.
const GENERATED_PREFIXES: [&str; 2] = ["amq.gen-", "amq.rabbitmq.reply-to."];
/// Characters after that.
const GENERATED_CHARACTERS: usize = 22;

impl Definitions {
    /// Declares a queue, or checks it. `Outcome::queue` is the queue.
    /// Errors: `NotFound` (passive), `Locked`, `Inequivalent`, `AccessRefused` (reserved name), `InvalidArgument`.
    pub fn declare_queue(
        &mut self,
        vhost: &Name,
        actor: ConnectionId,
        declare: QueueDeclare,
    ) -> Result<Outcome, BrokerError> {
        let existing = self.vhost(vhost)?.queue(&declare.name);
        if let Some(queue) = existing {
            queue.check_access(actor)?;
            if !declare.passive && !declare.attach {
                if declare.exclusive != queue.owner.is_some() {
                    return Err(queue.locked());
                }
                policy::check_queue(vhost, &queue.declare, &declare)?;
            }
            return Ok(Outcome { existed: true, queue: Some(queue.clone()) });
        }
        if declare.passive {
            return Err(BrokerError::not_found("queue", &declare.name, vhost));
        }
        check_queue_name(&declare.name, actor)?;
        let (settings, applied) = self.settings_of(vhost, &declare)?;
        let queue = Queue {
            id: self.next_queue_id(),
            name: declare.name.clone(),
            vhost: vhost.clone(),
            owner: declare.exclusive.then_some(actor),
            settings,
            applied,
            declare: QueueDeclare { attach: false, ..declare },
        };
        Ok(Outcome { existed: false, queue: Some(self.add_queue(queue)) })
    }

    /// The settings of a queue under the policies of its vhost, and what applies.
    pub(super) fn settings_of(
        &self,
        vhost: &Name,
        declare: &QueueDeclare,
    ) -> Result<(Arc<QueueSettings>, Option<Arc<Applied>>), BrokerError> {
        let own = policy::settings(vhost, declare)?;
        let applied = self.vhost(vhost)?.policies().for_queue(&declare.name, own.kind);
        let settings = match &applied {
            Some(applied) => policies::settings(vhost, declare, Some(applied))?,
            None => own,
        };
        Ok((Arc::new(settings), applied))
    }

    /// Puts a queue into the topology, its worker and, if that is its nature, the log.
    fn add_queue(&mut self, queue: Queue) -> Arc<Queue> {
        let queue = Arc::new(queue);
        if queue.is_logged() {
            self.write(record::queue(&queue));
        }
        self.create_queue(&queue);
        queue
    }

    /// Puts a queue into the topology and its worker.
    pub(super) fn create_queue(&mut self, queue: &Arc<Queue>) {
        if let Some(owner) = queue.owner {
            self.exclusive.insert((owner, queue.id));
        }
        self.topology.insert_queue(queue);
        let command = WorkerCommand::CreateQueue {
            queue: queue.id,
            vhost: queue.vhost.clone(),
            name: queue.name.clone(),
            settings: queue.settings.clone(),
        };
        self.tell(queue.id.worker(), command);
    }

    /// Sets arguments of a queue; `Null` removes one.
    /// Errors: `NotFound`, `Locked`, `InvalidArgument`, `Precondition` for what can not change in a living queue: its
    /// kind, priorities, FIFO order and number of shards.
    pub fn alter_queue(
        &mut self,
        vhost: &Name,
        actor: ConnectionId,
        name: &Name,
        arguments: &Table,
    ) -> Result<Outcome, BrokerError> {
        self.vhost(vhost)?;
        let current = self.topology.accessible_queue(vhost, name, actor)?;
        let mut declare = current.declare.clone();
        alter(&mut declare.arguments, arguments);
        let settings = policies::settings(vhost, &declare, current.applied())?;
        if let Some(argument) = fixed_argument(&current.settings, &settings) {
            let text = format!("'{argument}' of queue '{name}' in vhost '{vhost}' can not be changed");
            return Err(BrokerError::new(ErrorKind::Precondition, text));
        }
        let queue = Arc::new(Queue { settings: Arc::new(settings), declare, ..(**current).clone() });
        self.topology.insert_queue(&queue);
        if queue.is_logged() {
            self.write(record::queue(&queue));
        }
        let command = WorkerCommand::AlterQueue { queue: queue.id, settings: queue.settings.clone() };
        self.tell(queue.id.worker(), command);
        Ok(Outcome { existed: true, queue: Some(queue) })
    }

    /// Deletes a queue with its bindings; its worker answers `asker`. Absent is success: then there is no queue in the
    /// outcome, nobody answers, and the caller does.
    /// Errors: `Locked`.
    pub fn delete_queue(
        &mut self,
        vhost: &Name,
        actor: ConnectionId,
        name: &Name,
        asker: Option<Asker>,
    ) -> Result<Outcome, BrokerError> {
        let Some(queue) = self.vhost(vhost)?.queue(name).cloned() else { return Ok(Outcome::default()) };
        queue.check_access(actor)?;
        self.drop_queue(&queue, asker);
        Ok(Outcome { existed: true, queue: Some(queue) })
    }

    /// The queue ended itself (auto-delete, expiry), or with its connection. Unknown ids are ignored.
    pub fn queue_ended(&mut self, queue: QueueId) {
        if let Some(queue) = self.topology.queue_by_id(queue).cloned() {
            self.drop_queue(&queue, None);
        }
    }

    fn drop_queue(&mut self, queue: &Arc<Queue>, asker: Option<Asker>) {
        let sources = self.drop_bindings_to(&queue.vhost, &Destination::Queue(queue.name.clone()));
        self.drop_groups(queue);
        if let Some(owner) = queue.owner {
            self.exclusive.remove(&(owner, queue.id));
        }
        if queue.is_logged() {
            self.erase(record::queue(queue));
        }
        self.topology.remove_queue(queue);
        self.tell(queue.id.worker(), WorkerCommand::DeleteQueue { asker, queue: queue.id });
        self.drop_unused(&queue.vhost, sources);
    }
}

fn check_queue_name(name: &str, actor: ConnectionId) -> Result<(), BrokerError> {
    if name.is_empty() {
        return Err(BrokerError::new(ErrorKind::InvalidArgument, "a queue's name is not empty"));
    }
    check_name_length("queue", name, actor)?;
    // Sessions make these for clients that leave the name empty.
    let rest = GENERATED_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    let made = rest.is_some_and(|rest| {
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        rest.len() == GENERATED_CHARACTERS && rest.bytes().all(base64url)
    });
    if made { Ok(()) } else { check_not_reserved("queue", name, actor) }
}

fn fixed_argument(current: &QueueSettings, wanted: &QueueSettings) -> Option<&'static str> {
    let changed = [
        (current.kind != wanted.kind, "x-queue-type"),
        (current.max_priority != wanted.max_priority, "x-max-priority"),
        (current.fifo != wanted.fifo, "x-fifo"),
        (current.shards != wanted.shards, "x-shards"),
    ];
    changed.into_iter().find(|(changed, _)| *changed).map(|(_, argument)| argument)
}
