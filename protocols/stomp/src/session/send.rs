//! SEND: where it goes, what has to exist first, and the message that it becomes.

use super::{Progress, StompSession, Then, Turn};
use crate::{
    convert::{GROUP, STOMP, put_native},
    destination::{Destination, REPLY_QUEUE},
    error::Fault,
    frame::Frame,
    subscription::{Label, Subscription, number, plain_queue},
};
use bytes::Bytes;
use model::{
    Name,
    command::{Consume, Op, Publish},
    definition::QueueDeclare,
    error::{BrokerError, ErrorKind},
    message::{Message, Native},
    value::Table,
};
use std::sync::Arc;

/// Where the last SEND went; most are followed by another to the same place.
pub(super) struct Route {
    header: Name,
    exchange: Name,
    key: Name,
    /// The queue to declare first, until that is done.
    declare: Option<Name>,
}

/// What a SEND had to wait for.
pub(super) enum Learned {
    /// The queue was declared.
    Declared(Name),
    /// A reply queue was made for this alias.
    ReplyQueue {
        /// `n` of `/temp-queue/n`.
        alias: Name,
        /// Its consumer.
        subscription: Box<Subscription>,
    },
}

/// The error text for a frame without destination.
pub(super) fn missing_destination(frame: &Frame) -> Fault {
    let body = format!("\"{}\" must include a 'destination' header\n", frame.command_text());
    Fault::open("Missing destination", body)
}

/// The error text for a destination that this command cannot use.
pub(super) fn unusable_destination(frame: &Frame, destination: &str) -> Fault {
    let body = format!("'{destination}' is not a valid destination for '{}'\n", frame.command_text());
    Fault::open("Invalid destination", body)
}

impl StompSession {
    /// Publishes, or joins the transaction that the frame names.
    pub(super) fn send(&mut self, frame: Frame, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        if frame.header("transaction").is_some() {
            return self.join(frame);
        }
        if frame.header("message-id").is_some() {
            return Err(Fault::open("Invalid header", "'message-id' is not allowed on 'SEND'.\n"));
        }
        let header = frame.header("destination").ok_or_else(|| missing_destination(&frame))?;
        if self.route.as_ref().is_none_or(|route| route.header != header) {
            self.route = Some(self.route_to(&frame, header)?);
        }
        if let Some(queue) = self.route.as_ref().and_then(|route| route.declare.clone()) {
            let declare = plain_queue(&frame, queue.clone(), &self.config)?;
            let then = Then::Resume(Box::new(frame), Learned::Declared(queue));
            return Ok(self.wait(vec![Op::DeclareQueue(declare)], then, turn));
        }
        let reply_to = match temporary_alias(&frame)? {
            None => None,
            Some(alias) => match self.reply_queues.get(&alias) {
                Some(queue) => Some(format!("{REPLY_QUEUE}/{queue}")),
                None => return self.make_reply_queue(frame, alias, turn),
            },
        };
        self.publish(&frame, reply_to.as_deref(), turn)
    }

    fn route_to(&self, frame: &Frame, header: &str) -> Result<Route, Fault> {
        let destination = Destination::parse(header)?;
        let (exchange, key) = destination.address(&self.config.topic_exchange);
        let declare = match destination {
            Destination::TempQueue(_) => return Err(unusable_destination(frame, header)),
            Destination::Queue(name) if !self.declared.contains(&name) => Some(name),
            _ => None,
        };
        Ok(Route { header: header.into(), exchange, key, declare })
    }

    /// Takes note of what a SEND waited for.
    pub(super) fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::Declared(queue) => {
                if let Some(route) = &mut self.route {
                    route.declare.take_if(|name| *name == queue);
                }
                self.remember_declared(queue);
            }
            Learned::ReplyQueue { alias, subscription } => {
                self.reply_queues.insert(alias, subscription.queue.clone());
                self.subscribed(*subscription);
            }
        }
    }

    /// Notes that this session declared a queue. Forgetting some costs another declaration, no more.
    pub(super) fn remember_declared(&mut self, queue: Name) {
        if self.declared.len() >= self.config.declared_max {
            self.declared.clear();
        }
        self.declared.insert(queue);
    }

    /// Makes the queue behind `/temp-queue/<alias>` and consumes it, then takes the SEND up again.
    fn make_reply_queue(
        &mut self,
        frame: Frame,
        alias: Name,
        turn: &mut Turn<'_>,
    ) -> Result<Progress, Fault> {
        if self.reply_queues.len() >= self.config.reply_queues_max {
            return Err(Fault::open("Too many reply queues", "Use fewer different /temp-queue names\n"));
        }
        let consumer = self.next_consumer()?;
        let queue = self.names.fresh("stomp.gen");
        let declare = QueueDeclare {
            name: queue.clone(),
            exclusive: true,
            auto_delete: true,
            ..QueueDeclare::default()
        };
        let consume = Consume {
            queue: queue.clone(),
            consumer,
            auto_ack: true,
            credit: u32::MAX,
            group: None,
            exclusive: false,
            priority: 0,
            from: None,
            arguments: Table::new(),
        };
        let label = Label::by_id(&format!("/temp-queue/{alias}"));
        let (head, message_id) = label.message_parts(self.version, &self.session_id);
        let subscription = Box::new(Subscription {
            consumer,
            tag: label.tag,
            auto_ack: true,
            cumulative: false,
            description: label.description,
            queue,
            deletable: false,
            head,
            message_id,
        });
        let then = Then::Resume(Box::new(frame), Learned::ReplyQueue { alias, subscription });
        Ok(self.wait(vec![Op::DeclareQueue(declare), Op::Consume(consume)], then, turn))
    }

    fn publish(
        &mut self,
        frame: &Frame,
        reply_to: Option<&str>,
        turn: &mut Turn<'_>,
    ) -> Result<Progress, Fault> {
        let Some(route) = &self.route else { return Err(missing_destination(frame)) };
        let (exchange, key) = (route.exchange.clone(), route.key.clone());
        self.check_user(frame)?;
        let ttl_ms = expiration(frame)?;
        let priority = number::<u8>(frame, "priority")?.unwrap_or_default();
        self.scratch.clear();
        put_native(frame, reply_to, &mut self.scratch);
        let native = Native { codec: &STOMP, properties: Bytes::copy_from_slice(&self.scratch) };
        let mut message = Message::new(exchange, key, native, frame.body().into(), turn.now);
        message.durable = frame.header("persistent") == Some("true");
        message.priority = priority;
        message.ttl_ms = ttl_ms;
        if let Some(group) = frame.header(GROUP) {
            message.extra_mut().group = Some(group.into());
        }
        let receipt = frame.header("receipt").map(Name::from);
        // A later receipt speaks for this message too, so what has to reach the disk is confirmed in any case.
        let confirm = (receipt.is_some() || message.durable).then(|| self.receipts.open(receipt));
        let publish = Publish { message: Arc::new(message), confirm, retain: false };
        let routed = turn.broker.publish(publish);
        if let Some(token) = confirm {
            match &routed {
                Ok(routed) if routed.pending => {}
                Ok(_) => self.receipts.confirm(token),
                Err(_) => drop(self.receipts.refuse(token)),
            }
        }
        routed.map(|_| Progress::Receipted).map_err(Fault::from)
    }

    /// A `user-id` can only be one's own.
    fn check_user(&self, frame: &Frame) -> Result<(), Fault> {
        match frame.header("user-id") {
            Some(user) if self.user != user => {
                let user_is = &self.user;
                let text = format!("user_id property set to '{user}' but authenticated user was '{user_is}'");
                Err(BrokerError::new(ErrorKind::Precondition, text).into())
            }
            _ => Ok(()),
        }
    }
}

/// Time to live in milliseconds. RabbitMQ closes the channel over a malformed one.
fn expiration(frame: &Frame) -> Result<Option<u64>, Fault> {
    let Some(text) = frame.header("expiration") else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|_| BrokerError::new(ErrorKind::Precondition, format!("invalid expiration '{text}'")).into())
}

/// The alias in `reply-to:/temp-queue/<alias>`. Any other text is the application's own business.
fn temporary_alias(frame: &Frame) -> Result<Option<Name>, Fault> {
    match frame.header("reply-to").filter(|reply_to| reply_to.starts_with("/temp-queue/")) {
        None => Ok(None),
        Some(reply_to) => Ok(match Destination::parse(reply_to)? {
            Destination::TempQueue(alias) => Some(alias),
            _ => None,
        }),
    }
}
