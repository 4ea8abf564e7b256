//! The tasks that run the pure parts: workers, topology, mailboxes, recovery, and the async caller.

pub(crate) mod caller;
pub(crate) mod cleaning;
pub(crate) mod dispatcher;
pub(crate) mod inspection;
pub(crate) mod mailbox;
pub(crate) mod operator;
pub(crate) mod pager;
pub(crate) mod presence;
pub(crate) mod recovery;
pub(crate) mod repair;
mod session_ops;
pub(crate) mod sessions;
pub(crate) mod shared;
pub(crate) mod snapshots;
pub(crate) mod sys_topics;
pub(crate) mod topology_task;
pub(crate) mod totals;
pub(crate) mod worker_task;
