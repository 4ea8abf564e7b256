//! Class tx: publishes and acks held back until tx.commit.
//!
//! tx.commit-ok goes out once every publish of the transaction is confirmed. Publishing goes on meanwhile, into the
//! next transaction.

use super::{Amqp091Session, channel::Mode, io::Io, unacked::Held};
use crate::errors::AmqpError;
use amq_protocol::protocol::{AMQPClass, tx};
use model::{delivery::Outcome, message::Message};
use std::sync::Arc;

/// An answer to a delivery that waits for its commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldBack {
    /// Delivery tag.
    pub(crate) tag: u64,
    /// Its lease.
    pub(crate) held: Held,
    /// How it is to end.
    pub(crate) outcome: Outcome,
}

/// The transaction of one channel, and the commits before it that wait for their confirms.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    publishes: Vec<(Arc<Message>, bool)>,
    bytes: usize,
    settlements: Vec<HeldBack>,
    /// Confirms that committed publishes wait for.
    awaited: u64,
    /// Commits not answered yet.
    commits: u32,
    /// One of them was refused.
    refused: bool,
}

impl Transaction {
    /// Holds a publish back. Errors: 506 over `most_bytes`.
    pub(crate) fn publish(
        &mut self,
        message: Arc<Message>,
        mandatory: bool,
        most_bytes: usize,
    ) -> Result<(), AmqpError> {
        self.bytes += message.cost_bytes();
        if self.bytes > most_bytes {
            let text = format!("transaction holds more than {most_bytes} bytes");
            return Err(AmqpError::connection(506, text));
        }
        self.publishes.push((message, mandatory));
        Ok(())
    }

    /// Holds an answer back.
    pub(crate) fn settle(&mut self, settlement: HeldBack) {
        self.settlements.push(settlement);
    }

    /// Forgets the transaction; gives back the deliveries whose answers were in it.
    pub(crate) fn rollback(&mut self) -> Vec<(u64, Held)> {
        self.publishes.clear();
        self.bytes = 0;
        self.settlements.drain(..).map(|settlement| (settlement.tag, settlement.held)).collect()
    }

    /// A committed publish was confirmed or refused.
    pub(crate) fn confirm(&mut self, accepted: bool) {
        self.awaited = self.awaited.saturating_sub(1);
        self.refused |= !accepted;
    }

    /// Commits that can be answered now, and whether they went well.
    fn answerable(&mut self) -> Option<(u32, bool)> {
        if self.awaited > 0 || self.commits == 0 {
            return None;
        }
        Some((std::mem::take(&mut self.commits), !std::mem::take(&mut self.refused)))
    }
}

impl Amqp091Session {
    /// A method of class tx.
    pub(crate) fn on_tx_method(
        &mut self,
        number: u16,
        method: tx::AMQPMethod,
        io: &mut Io<'_>,
    ) -> Result<(), AmqpError> {
        let channel = self.channel(number)?;
        match (&method, &mut channel.mode) {
            (tx::AMQPMethod::Select(_), Mode::Confirm(_)) => {
                Err(AmqpError::precondition("cannot switch from confirm to tx mode"))
            }
            (tx::AMQPMethod::Select(_), mode) => {
                if matches!(mode, Mode::Plain) {
                    *mode = Mode::Transaction(Transaction::default());
                }
                io.send(number, AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})));
                Ok(())
            }
            (tx::AMQPMethod::Commit(_), Mode::Transaction(_)) => self.commit(number, io),
            (tx::AMQPMethod::Rollback(_), Mode::Transaction(transaction)) => {
                let taken = transaction.rollback();
                channel.unacked.restore(taken);
                io.send(number, AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {})));
                Ok(())
            }
            (tx::AMQPMethod::Commit(_) | tx::AMQPMethod::Rollback(_), _) => {
                Err(AmqpError::precondition("channel is not transactional"))
            }
            _ => Err(AmqpError::connection(503, "unimplemented method")),
        }
    }

    fn commit(&mut self, number: u16, io: &mut Io<'_>) -> Result<(), AmqpError> {
        let Mode::Transaction(transaction) = &mut self.channel(number)?.mode else { return Ok(()) };
        transaction.bytes = 0;
        transaction.commits += 1;
        let publishes = std::mem::take(&mut transaction.publishes);
        for settlement in transaction.settlements.drain(..) {
            io.broker.settle(settlement.held.consumer, settlement.held.lease, settlement.outcome);
        }
        for (message, mandatory) in publishes {
            let channel = self.channel(number)?;
            channel.tokens += 1;
            let token = channel.token(number, channel.tokens);
            let pending = self.route(number, message, mandatory, Some(token), io)?;
            if let Mode::Transaction(transaction) = &mut self.channel(number)?.mode {
                transaction.awaited += u64::from(pending);
            }
        }
        self.answer_commits(number, io)
    }

    /// Answers the commits whose publishes are all confirmed.
    pub(crate) fn answer_commits(&mut self, number: u16, io: &mut Io<'_>) -> Result<(), AmqpError> {
        let Mode::Transaction(transaction) = &mut self.channel(number)?.mode else { return Ok(()) };
        let Some((commits, well)) = transaction.answerable() else { return Ok(()) };
        if !well {
            return Err(AmqpError::precondition("partial tx completion"));
        }
        for _ in 0..commits {
            io.send(number, AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {})));
        }
        Ok(())
    }
}
