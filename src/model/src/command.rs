//! What a session asks of the broker, and what it is told.
//!
//! [`Publish`] and settlements are the hot path and go through [`crate::session::Broker`] directly; everything
//! else is an [`Op`] with a [`Reply`] that comes back to `Session::reply` under the same `RequestId`.

use crate::{
    Millis, Name,
    definition::{BindingDefinition, ExchangeDeclare, QueueDeclare, SendRetained, Subscription},
    delivery::{Delivery, Lease},
    error::BrokerError,
    ids::{ConfirmToken, ConsumerId, QueueId},
    message::Message,
    value::Table,
};
use bytes::Bytes;
use std::sync::Arc;

/// A message to route.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The message; it names the exchange and the routing key.
    pub message: Arc<Message>,
    /// Confirm to give once it is safe everywhere it went; `None` when nobody waits.
    pub confirm: Option<ConfirmToken>,
    /// Becomes (or with an empty body clears) the retained message of its topic.
    pub retain: bool,
}

/// What routing did with a publish, known at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Destinations it went to; 0 is unroutable.
    pub destinations: u32,
    /// A [`crate::delivery::Confirm`] for the token will follow. When false there is nothing to wait for.
    pub pending: bool,
}

/// Who wants in.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Password {
        /// User name.
        user: Name,
        /// Password; binary in MQTT.
        password: Bytes,
    },
    /// Nobody in particular.
    Anonymous,
    /// Whoever the transport authenticated (TLS client certificate).
    External,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::Password { user, .. } => write!(f, "Password({user}, ***)"),
            Credentials::Anonymous => f.write_str("Anonymous"),
            Credentials::External => f.write_str("External"),
        }
    }
}

/// A consumer of a queue or stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Consume {
    /// Queue name.
    pub queue: Name,
    /// The session's own number for the consumer.
    pub consumer: ConsumerId,
    /// Settled as soon as handed out.
    pub auto_ack: bool,
    /// How many leases it may hold; `u32::MAX` for no limit.
    pub credit: u32,
    /// Shares the limit of this group of the connection too (AMQP global prefetch), see [`Op::GroupCredit`].
    pub group: Option<u16>,
    /// No other consumer on this queue.
    pub exclusive: bool,
    /// Higher ones are served first while they can take.
    pub priority: i32,
    /// Where to begin in a stream.
    pub from: Option<StreamPosition>,
    /// Protocol arguments, kept for listings.
    pub arguments: Table,
}

/// A place in a stream shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPosition {
    /// The oldest record kept.
    First,
    /// The last record there is now.
    Last,
    /// What comes after now.
    Next,
    /// This offset, or the next one kept.
    Offset(u64),
    /// The first record taken in at or after this time.
    Time(Millis),
}

/// Everything but publishing and settling.
#[derive(Clone, Debug)]
pub enum Op {
    /// Authenticate and enter a vhost. First op of every connection. -> `LoggedIn`
    ///
    /// With an empty `vhost` it only authenticates: AMQP learns the vhost after it has answered the credentials, and
    /// sends the op again with both. Nothing but a second login may follow the first of such a pair.
    /// Fails with `AccessRefused` for bad credentials, and on the vhost with any other kind or the same.
    Login {
        /// Who.
        credentials: Credentials,
        /// Which vhost.
        vhost: Name,
        /// Client's own name for itself, for listings and logs.
        client: Name,
    },
    /// -> `Done`
    DeclareExchange(ExchangeDeclare),
    /// Absent is success. -> `Done`
    DeleteExchange {
        /// Name.
        name: Name,
        /// Fail when it has bindings.
        if_unused: bool,
    },
    /// -> `QueueDeclared`
    DeclareQueue(QueueDeclare),
    /// Changes arguments of an existing queue (SQS SetQueueAttributes); `Null` removes one. -> `Done`
    AlterQueue {
        /// Name.
        name: Name,
        /// Arguments to set.
        arguments: Table,
    },
    /// Changes arguments of an existing exchange; `Null` removes one. -> `Done`
    AlterExchange {
        /// Name.
        name: Name,
        /// Arguments to set.
        arguments: Table,
    },
    /// Absent is success with count 0. -> `Count` of ready messages
    DeleteQueue {
        /// Name.
        name: Name,
        /// Fail when it has consumers.
        if_unused: bool,
        /// Fail when it has messages.
        if_empty: bool,
    },
    /// -> `Count` of messages removed
    PurgeQueue(Name),
    /// -> `Done`
    Bind(BindingDefinition),
    /// Absent is success. -> `Done`
    Unbind(BindingDefinition),
    /// -> `Done`, then deliveries
    Consume(Consume),
    /// What it holds stays leased. -> `Done`
    Cancel(ConsumerId),
    /// Sets the shared lease limit of a group of this connection's consumers; `u32::MAX` for none. -> `Done`
    GroupCredit {
        /// Group, for example the AMQP channel.
        group: u16,
        /// Leases that the group may hold together.
        credit: u32,
    },
    /// One message now or none. -> `Got`
    Get {
        /// Queue.
        queue: Name,
        /// Settle at once.
        auto_ack: bool,
    },
    /// Up to `max` messages, waiting for the first. -> `Received`
    Receive {
        /// Queue.
        queue: Name,
        /// At most this many.
        max: u32,
        /// Lease deadline from now; `None` is the queue's own.
        lease_ms: Option<u64>,
        /// How long to wait for the first; `None` is the queue's own.
        wait_ms: Option<u64>,
    },
    /// Settles a deadline lease by its handle. `Done` also when it was settled before (SQS DeleteMessage);
    /// `Precondition` when a FIFO lease ran out. -> `Done`
    Delete {
        /// The lease.
        lease: Lease,
        /// `earlier_deliveries` of the delivery that gave the handle.
        generation: u32,
    },
    /// Moves the deadline of a lease; 0 gives the message back. `Precondition` when it is not leased. -> `Done`
    Hide {
        /// The lease.
        lease: Lease,
        /// `earlier_deliveries` of the delivery that gave the handle.
        generation: u32,
        /// From now.
        lease_ms: u64,
    },
    /// -> `Status`
    Status(Name),
    /// What a message was known by that a queue took in with this deduplication id. -> `Duplicate`
    FindDuplicate {
        /// Queue.
        queue: Name,
        /// Message group, where it counts.
        group: Name,
        /// Deduplication id.
        id: Name,
    },
    /// Appends to a stream and says where. -> `Appended`
    Append {
        /// Stream.
        stream: Name,
        /// Records; shard by explicit hash, else by MD5 of the routing key (Kinesis rule).
        messages: Vec<Arc<Message>>,
    },
    /// -> `Records`
    Read {
        /// Stream.
        stream: Name,
        /// Shard number from 0.
        shard: u32,
        /// Where to begin.
        from: StreamPosition,
        /// At most this many.
        max: u32,
        /// At most this many body bytes (but at least one record).
        max_bytes: usize,
    },
    /// Takes over or begins a session. An older connection of the same client is told `Signal::TakenOver` and
    /// has left before this is answered. -> `SessionOpened`
    OpenSession {
        /// Client identifier.
        client_id: Name,
        /// Forget what there was.
        clean: bool,
        /// Lifetime after the connection ends; 0 ends with it, `u64::MAX` never ends.
        expiry_ms: u64,
    },
    /// Keeps or ends the session as the connection goes. -> `Done`
    CloseSession {
        /// Lifetime from now; 0 ends it.
        expiry_ms: u64,
        /// What the session wants back when it is opened again (packet ids in flight).
        state: Bytes,
        /// Publish this after a delay unless the session is opened again before.
        will: Option<DelayedWill>,
    },
    /// Keeps a value with the session under a number, through a crash too, until it is removed or the session ends;
    /// `SessionOpened` gives all of them back. -> `Done` once it is durable
    Keep {
        /// The session's own number for it.
        slot: u32,
        /// The value; `None` removes it.
        value: Option<Bytes>,
    },
    /// -> `Subscribed`
    Subscribe {
        /// The subscription.
        subscription: Subscription,
        /// Which retained messages to hand out.
        retained: SendRetained,
    },
    /// -> `Existed`
    Unsubscribe {
        /// Filter in core form.
        filter: Name,
        /// Group.
        share: Option<Name>,
    },
}

/// A will that waits.
#[derive(Clone, Debug)]
pub struct DelayedWill {
    /// From now.
    pub delay_ms: u64,
    /// The message.
    pub message: Arc<Message>,
    /// Becomes the retained message of its topic.
    pub retain: bool,
}

/// What became of an [`Op`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// Done, nothing to add.
    Done,
    /// In.
    LoggedIn {
        /// Who it is to the broker.
        user: Name,
    },
    /// The queue is there.
    QueueDeclared {
        /// Its name.
        name: Name,
        /// Ready messages.
        ready: u64,
        /// Consumers.
        consumers: u32,
    },
    /// How many messages.
    Count(u64),
    /// One message or none.
    Got {
        /// The message.
        delivery: Option<Box<Delivery>>,
        /// Ready messages left.
        remaining: u64,
    },
    /// What there was, perhaps nothing.
    Received(Vec<Delivery>),
    /// State of a queue.
    Status(QueueStatus),
    /// State of each queue asked for that is there.
    Statuses(Vec<QueueStatus>),
    /// Identity of an earlier message ([`crate::message::PropertyCodec::identity`]), if there is one.
    Duplicate(Option<Bytes>),
    /// Shard and offset of each record.
    Appended(Vec<(u32, u64)>),
    /// A piece of a shard.
    Records {
        /// Offset and record.
        records: Vec<(u64, Arc<Message>)>,
        /// Where to go on.
        next: u64,
        /// Age of the newest record not read, 0 at the tip.
        behind_ms: u64,
    },
    /// The session is this connection's.
    SessionOpened {
        /// There was one.
        present: bool,
        /// Name of its queue, to be consumed; it exists.
        queue: Name,
        /// What `CloseSession` left.
        state: Bytes,
        /// What it was subscribed to.
        subscriptions: Vec<Subscription>,
        /// What [`Op::Keep`] kept, by number.
        kept: Vec<(u32, Bytes)>,
    },
    /// Subscribed.
    Subscribed {
        /// It existed and was replaced.
        existed: bool,
        /// Retained messages that match, in no promised order. Those that a lasting session must not lose are not among
        /// them: they come through its queue ([`crate::delivery::VIA_RETAINED`]).
        retained: Vec<Arc<Message>>,
        /// For a shared subscription: the queue of the group, for the session to consume.
        queue: Option<Name>,
    },
    /// Whether there was such a thing.
    Existed(bool),
    /// No.
    Failed(BrokerError),
}

/// State of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// The queue.
    pub queue: QueueId,
    /// Deliverable now.
    pub ready: u64,
    /// Taken, not settled.
    pub leased: u64,
    /// Waiting for their delay.
    pub delayed: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Consumers.
    pub consumers: u32,
    /// Oldest record kept and next offset, for a stream's shard 0.
    pub offsets: (u64, u64),
}

/// What happens to a connection without its asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The consumer's queue is gone.
    ConsumerCancelled(ConsumerId),
    /// Another connection opened the same session; leave.
    TakenOver,
    /// Publishers are held back, with the reason.
    Blocked(Name),
    /// No longer.
    Unblocked,
    /// The broker goes down, or an operator closes the connection: say so and leave.
    Shutdown(Name),
}
