//! SUBSCRIBE and UNSUBSCRIBE.

use super::{
    Progress, StompSession, Then, Turn,
    names::durable_subscription,
    send::{missing_destination, unusable_destination},
};
use crate::{
    destination::Destination,
    error::Fault,
    frame::Frame,
    subscription::{
        Label, Subscription, ack_mode, bound_queue, consumer_arguments, credit, is_durable, number,
        plain_queue, stream_position,
    },
};
use model::{
    Name,
    command::{Consume, Op},
    ids::ConsumerId,
    limits::CONSUMERS_PER_CONNECTION_MAX,
};

impl StompSession {
    pub(super) fn subscribe(&mut self, frame: &Frame, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        require_id_when_durable(frame)?;
        let header = frame.header("destination").ok_or_else(|| missing_destination(frame))?;
        let destination = Destination::parse(header)?;
        let label = Label::of(frame)?;
        if self.tags.contains_key(&label.tag) {
            let body = format!("A subscription identified by '{}' already exists.", label.tag);
            return Err(Fault::closing("Duplicated subscription identifier", body));
        }
        let (auto_ack, cumulative) = ack_mode(frame)?;
        let mut consume = Consume {
            queue: Name::new(),
            consumer: self.next_consumer()?,
            auto_ack,
            credit: credit(frame)?,
            group: None,
            exclusive: false,
            priority: number(frame, "x-priority")?.unwrap_or_default(),
            from: stream_position(frame)?,
            arguments: consumer_arguments(frame),
        };
        let (queue, mut ops) = self.source(frame, &destination, header)?;
        consume.queue = queue.clone();
        let (head, message_id) = label.message_parts(self.version, &self.session_id);
        let subscription = Subscription {
            consumer: consume.consumer,
            tag: label.tag,
            auto_ack,
            cumulative,
            description: label.description,
            queue,
            deletable: matches!(destination, Destination::Topic(_)),
            head,
            message_id,
        };
        ops.push(Op::Consume(consume));
        Ok(self.wait(ops, Then::Subscribed(Box::new(subscription)), turn))
    }

    /// The queue to consume, and what it takes to have it.
    fn source(
        &mut self,
        frame: &Frame,
        destination: &Destination,
        header: &str,
    ) -> Result<(Name, Vec<Op>), Fault> {
        match destination {
            Destination::Queue(name) => {
                let mut ops = Vec::new();
                if !self.declared.contains(name) {
                    ops.push(Op::DeclareQueue(plain_queue(frame, name.clone(), &self.config)?));
                }
                Ok((name.clone(), ops))
            }
            Destination::AmqQueue(name) | Destination::ReplyQueue(name) => Ok((name.clone(), Vec::new())),
            Destination::TempQueue(_) => Err(unusable_destination(frame, header)),
            Destination::Topic(_) | Destination::Exchange { .. } => {
                let (exchange, key) = destination.address(&self.config.topic_exchange);
                let id = frame.header("id").unwrap_or_default();
                let names = &mut self.names;
                let fresh = || names.fresh("stomp-subscription");
                let derived = || durable_subscription(&exchange, &key, id);
                let (declare, binding) = bound_queue(frame, destination, &self.config, fresh, derived)?;
                Ok((declare.name.clone(), vec![Op::DeclareQueue(declare), Op::Bind(binding)]))
            }
        }
    }

    pub(super) fn next_consumer(&mut self) -> Result<ConsumerId, Fault> {
        if self.subscriptions.len() >= CONSUMERS_PER_CONNECTION_MAX || self.consumers == u32::MAX {
            return Err(Fault::open(
                "Too many subscriptions",
                "This connection can not have more subscriptions\n",
            ));
        }
        // 0 is a get.
        self.consumers += 1;
        Ok(ConsumerId(self.consumers))
    }

    /// The consumer is there: its deliveries can be shown.
    pub(super) fn subscribed(&mut self, subscription: Subscription) {
        self.tags.insert(subscription.tag.clone(), subscription.consumer);
        self.subscriptions.insert(subscription.consumer, subscription);
    }

    pub(super) fn forget_subscription(&mut self, consumer: ConsumerId) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(&consumer)?;
        self.tags.remove(&subscription.tag);
        self.reply_queues.retain(|_, queue| *queue != subscription.queue);
        Some(subscription)
    }

    pub(super) fn unsubscribe(&mut self, frame: &Frame, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        require_id_when_durable(frame)?;
        let label = Label::of(frame)?;
        let found = self.tags.get(&label.tag).and_then(|consumer| self.subscriptions.get(consumer));
        let Some(subscription) = found else {
            let body = format!(
                "UNSUBSCRIBE must refer to an existing subscription.\nSubscription to \"{}\" not found.\n",
                label.description
            );
            return Err(Fault::open("No subscription found", body));
        };
        let consumer = subscription.consumer;
        let mut ops = vec![Op::Cancel(consumer)];
        if subscription.deletable && is_durable(frame) {
            let name = subscription.queue.clone();
            ops.push(Op::DeleteQueue { name, if_unused: false, if_empty: false });
        }
        Ok(self.wait(ops, Then::Unsubscribed(consumer), turn))
    }
}

/// The name of a durable subscription's queue is derived from its id.
fn require_id_when_durable(frame: &Frame) -> Result<(), Fault> {
    let durable = frame.header("durable") == Some("true") || frame.header("persistent") == Some("true");
    if durable && frame.header("id").is_none() {
        let text = "Header 'id' is required for durable subscriptions";
        return Err(Fault::open("Missing Header", text));
    }
    Ok(())
}
