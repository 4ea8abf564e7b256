//! MESSAGE, and what comes back for it: ACK and NACK.

use super::{Progress, StompSession, Turn};
use crate::{
    error::Fault,
    frame::{Command, Frame},
    subscription::ID_SEPARATOR,
    version::Version,
};
use model::{
    Name,
    delivery::{Delivery, Lease, Outcome},
    ids::ConsumerId,
};

/// A message that the client has and has not answered.
#[derive(Debug)]
pub(super) struct Unacked {
    consumer: ConsumerId,
    lease: Lease,
    /// Tag of its subscription, which may be gone by now.
    tag: Name,
    /// How its subscription acknowledges.
    cumulative: bool,
}

impl StompSession {
    pub(super) fn deliver_one(&mut self, delivery: &Delivery, turn: &mut Turn<'_>) {
        let Some(subscription) = self.subscriptions.get(&delivery.consumer) else {
            // On its way while the subscription ended.
            if let Some(lease) = delivery.lease {
                turn.broker.settle(delivery.consumer, lease, Outcome::Requeue { failed: false });
            }
            return;
        };
        self.delivered += 1;
        if let Some(lease) = delivery.lease {
            let unacked = Unacked {
                consumer: delivery.consumer,
                lease,
                tag: subscription.tag.clone(),
                cumulative: subscription.cumulative,
            };
            self.unacked.insert(self.delivered, unacked);
        }
        self.writer.put(
            &mut turn.out.wire,
            self.version,
            subscription,
            delivery,
            self.delivered,
            &self.config.topic_exchange,
        );
    }

    /// ACK or NACK, or one of them in a transaction.
    pub(super) fn settle(&mut self, frame: Frame, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        if frame.header("transaction").is_some() {
            return self.join(frame);
        }
        let header = if self.version == Version::V12 { "id" } else { "message-id" };
        let command = frame.command_text();
        let Some(id) = frame.header(header) else {
            let body = format!("\"{command}\" must include the \"{header}\" header\n");
            return Err(Fault::open("Missing header", body));
        };
        let Some((tag, number)) = self.parse_message_id(id) else {
            let body = format!("\"{command}\" must include a valid \"{header}\" header\n");
            return Err(Fault::open("Invalid header", body));
        };
        let requeues = frame.flag("requeue").unwrap_or(self.config.nack_requeues);
        let outcome = match frame.command() {
            Command::Nack if requeues => Outcome::Requeue { failed: true },
            Command::Nack => Outcome::Reject,
            _ => Outcome::Ack,
        };
        let named = self.unacked.get(&number).filter(|unacked| unacked.tag == tag);
        let Some(cumulative) = named.map(|unacked| unacked.cumulative) else {
            return Err(Fault::open("Message not found", format!("unknown delivery tag {number}\n")));
        };
        if cumulative {
            // All earlier ones too, of every subscription: to RabbitMQ the connection is one channel.
            let later = self.unacked.split_off(&(number + 1));
            for unacked in std::mem::replace(&mut self.unacked, later).into_values() {
                turn.broker.settle(unacked.consumer, unacked.lease, outcome);
            }
        } else if let Some(unacked) = self.unacked.remove(&number) {
            turn.broker.settle(unacked.consumer, unacked.lease, outcome);
        }
        Ok(Progress::Done)
    }

    /// Tag and number of `<tag>@@<session>@@<number>`, when this session made it.
    fn parse_message_id<'a>(&self, id: &'a str) -> Option<(&'a str, u64)> {
        let (rest, number) = id.rsplit_once(ID_SEPARATOR)?;
        let (tag, session) = rest.rsplit_once(ID_SEPARATOR)?;
        let number = number.parse().ok().filter(|number| *number < u64::MAX)?;
        (self.session_id == session).then_some((tag, number))
    }
}
