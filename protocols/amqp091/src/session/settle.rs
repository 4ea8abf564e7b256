//! basic.ack, basic.nack, basic.reject, basic.recover: answers to deliveries. Confirms in the other direction.

use super::{
    Amqp091Session,
    channel::{Channel, Mode, channel_of},
    io::Io,
    tx::HeldBack,
    unacked::Held,
};
use crate::{
    codec::{
        Reader,
        hot::{self, Settlement},
    },
    errors::AmqpError,
};
use amq_protocol::protocol::{AMQPClass, basic, confirm};
use model::{delivery::Outcome, ids::ConfirmToken, session::Broker};

impl Amqp091Session {
    /// basic.ack, basic.nack or basic.reject.
    pub(crate) fn on_settlement(
        &mut self,
        number: u16,
        id: u32,
        mut reader: Reader<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let channel = self.channel(number)?;
        let settlement = hot::parse_settlement(id, &mut reader)?;
        let outcome = match (id, settlement.requeue) {
            (hot::ACK, _) => Outcome::Ack,
            (_, true) => Outcome::Requeue { failed: true },
            (_, false) => Outcome::Reject,
        };
        let Settlement { tag, multiple, .. } = settlement;
        let unknown = || AmqpError::precondition(format!("unknown delivery tag {tag}"));
        if !multiple {
            let held = channel.unacked.take(tag).ok_or_else(unknown)?;
            channel.settle(tag, held, outcome, io.broker);
            return Ok(());
        }
        // Spec 1.8.3.13: tag 0 with multiple means everything outstanding, be it nothing.
        let taken = match tag {
            0 => channel.unacked.take_all(),
            _ => channel.unacked.take_through(tag).ok_or_else(unknown)?,
        };
        for (tag, held) in taken {
            channel.settle(tag, held, outcome, io.broker);
        }
        Ok(())
    }

    /// basic.recover and basic.recover-async: everything outstanding goes back to its queue.
    pub(crate) fn on_recover(
        &mut self,
        number: u16,
        requeue: bool,
        answer: bool,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        if !requeue {
            return Err(AmqpError::connection(540, "requeue=false"));
        }
        let channel = self.channel(number)?;
        for (_, held) in channel.unacked.take_all() {
            io.broker.settle(held.consumer, held.lease, Outcome::Requeue { failed: true });
        }
        if answer {
            io.send(number, AMQPClass::Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {})));
        }
        Ok(())
    }

    /// confirm.select.
    pub(crate) fn on_confirm_method(
        &mut self,
        number: u16,
        method: confirm::AMQPMethod,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let confirm::AMQPMethod::Select(select) = method else {
            return Err(AmqpError::connection(503, "unimplemented method"));
        };
        let channel = self.channel(number)?;
        match channel.mode {
            Mode::Transaction(_) => {
                return Err(AmqpError::precondition("cannot switch from tx to confirm mode"));
            }
            Mode::Plain => channel.mode = Mode::Confirm(super::confirm::Confirms::new()),
            Mode::Confirm(_) => {}
        }
        if !select.nowait {
            io.send(number, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})));
        }
        Ok(())
    }

    /// A publish is safe, or was refused. What that means for the peer is written by [`Self::flush_confirms`].
    pub(crate) fn on_confirm(&mut self, token: ConfirmToken, accepted: bool, io: &mut Io<'_>) {
        let number = channel_of(token);
        let Some(channel) = self.channels.get_mut(&number).filter(|channel| !channel.closing) else { return };
        let Some(seq) = channel.seq(token) else { return };
        match &mut channel.mode {
            Mode::Plain => {}
            Mode::Confirm(confirms) => {
                confirms.settle(seq, accepted);
                if !std::mem::replace(&mut channel.dirty, true) {
                    self.dirty.push(number);
                }
            }
            Mode::Transaction(transaction) => {
                transaction.confirm(accepted);
                if let Err(error) = self.answer_commits(number, io) {
                    self.fail(number, &error, (90, 20), io);
                }
            }
        }
    }

    /// Writes the acks and nacks that came together during the call.
    pub(crate) fn flush_confirms(&mut self, io: &mut Io<'_>) {
        while let Some(number) = self.dirty.pop() {
            let Some(channel) = self.channels.get_mut(&number) else { continue };
            channel.dirty = false;
            if let (Mode::Confirm(confirms), false) = (&mut channel.mode, channel.closing) {
                confirms.flush(number, &mut io.out.wire.tail);
            }
        }
    }
}

impl Channel {
    /// Ends a lease now, or with the commit.
    fn settle(&mut self, tag: u64, held: Held, outcome: Outcome, broker: &mut dyn Broker) {
        match &mut self.mode {
            Mode::Transaction(transaction) => transaction.settle(HeldBack { tag, held, outcome }),
            _ => broker.settle(held.consumer, held.lease, outcome),
        }
    }
}
