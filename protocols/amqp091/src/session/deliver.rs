//! Messages on their way to the peer: basic.deliver and basic.get-ok.

use super::{Amqp091Session, io::Io, unacked::Held};
use crate::{
    codec::hot::{self, Handout},
    convert,
    frame::OVERHEAD_BYTES,
};
use model::{
    Name,
    delivery::{Delivery, Outcome},
    ids::ConsumerId,
};

/// Where a consumer's deliveries go.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    /// Channel.
    pub(crate) channel: u16,
    /// Tag, as the peer knows it.
    pub(crate) tag: Name,
}

/// Bytes of a content header payload before the properties.
const CONTENT_HEADER_BYTES: usize = 12;

impl Amqp091Session {
    /// Writes one delivery. One whose consumer is gone goes back to where it came from.
    pub(crate) fn deliver_one(&mut self, delivery: &Delivery, io: &mut Io<'_>) {
        let consumer = self.consumers.get(&delivery.consumer);
        let Some((consumer, channel)) =
            consumer.and_then(|consumer| Some((consumer, self.channels.get_mut(&consumer.channel)?)))
        else {
            if let Some(lease) = delivery.lease {
                io.broker.settle(delivery.consumer, lease, Outcome::Requeue { failed: false });
            }
            return;
        };
        let (number, tag) = (consumer.channel, channel.next_tag());
        if let Some(lease) = delivery.lease {
            channel.unacked.push(tag, Held { consumer: delivery.consumer, lease });
        }
        hot::put_deliver(io.tail(), number, &consumer.tag, &handout(delivery, tag));
        self.put_message(number, delivery, io);
    }

    /// Writes basic.get-ok.
    pub(crate) fn put_got(&mut self, number: u16, delivery: &Delivery, remaining: u64, io: &mut Io<'_>) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let tag = channel.next_tag();
        if let Some(lease) = delivery.lease {
            channel.unacked.push(tag, Held { consumer: ConsumerId(0), lease });
        }
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        hot::put_get_ok(io.tail(), number, &handout(delivery, tag), remaining);
        self.put_message(number, delivery, io);
    }

    /// Content header and body of a delivery. Properties go out as they came in where they can.
    fn put_message(&mut self, number: u16, delivery: &Delivery, io: &mut Io<'_>) {
        let message = &delivery.message;
        let most = (self.frame_max as usize).saturating_sub(OVERHEAD_BYTES + CONTENT_HEADER_BYTES);
        let verbatim = &message.native.properties;
        if convert::goes_verbatim(delivery) && verbatim.len() <= most {
            hot::put_content(&mut io.out.wire, number, verbatim, &message.body, self.frame_max);
            return;
        }
        self.scratch.clear();
        convert::delivered_properties(delivery, &mut self.scratch);
        if self.scratch.len() > most {
            self.scratch.clear();
            convert::bare_properties(message, &mut self.scratch);
        }
        hot::put_content(&mut io.out.wire, number, &self.scratch, &message.body, self.frame_max);
    }
}

fn handout(delivery: &Delivery, tag: u64) -> Handout<'_> {
    Handout {
        tag,
        redelivered: delivery.redelivered,
        exchange: &delivery.message.exchange,
        key: &delivery.message.routing_key,
    }
}
