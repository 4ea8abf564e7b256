//! Newtypes for every identity that crosses a boundary.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id! {
    /// One client connection (or one internal caller), unique for the life of the process, from 1.
    ConnectionId(u64)
}
id! {
    /// One worker, from 0.
    WorkerId(u16)
}
id! {
    /// A consumer, chosen by the session and unique within its connection.
    ConsumerId(u32)
}
id! {
    /// Correlates a command with its reply, chosen by the session and unique within its connection.
    RequestId(u64)
}
id! {
    /// Correlates a publish with its confirm, chosen by the session; a session may reuse a value once confirmed.
    ConfirmToken(u64)
}
id! {
    /// A position in a worker's log: a logical byte offset, opaque and monotonic. 0 is before everything.
    Lsn(u64)
}

/// A queue or stream: the worker that owns it in the high 16 bits, a number never reused in the low 48.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

impl QueueId {
    /// The id numbered `number` (below 2^48) on `worker`.
    pub fn new(worker: WorkerId, number: u64) -> Self {
        Self((u64::from(worker.0) << 48) | (number & 0xffff_ffff_ffff))
    }

    /// The worker that owns this queue.
    pub fn worker(self) -> WorkerId {
        WorkerId((self.0 >> 48) as u16)
    }

    /// The number within the worker.
    pub fn number(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.worker(), self.number())
    }
}
