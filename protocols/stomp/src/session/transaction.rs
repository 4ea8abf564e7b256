//! Transactions: frames kept until COMMIT, in memory and within limits.

use super::{Progress, StompSession};
use crate::{
    error::Fault,
    frame::{Command, Frame},
};
use model::Name;
use std::collections::BTreeMap;

/// What is left to do before more input is read.
pub(super) enum Work {
    /// A frame to deal with.
    Frame(Box<Frame>),
    /// All frames of the transaction are dealt with; the receipt that its COMMIT asked for.
    Committed(Option<Name>),
}

/// The open transactions of a connection.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: BTreeMap<Name, Vec<Frame>>,
    bytes: usize,
}

impl Transactions {
    fn remove(&mut self, id: &str) -> Result<Vec<Frame>, Fault> {
        let frames = self.open.remove(id).ok_or_else(|| unknown(id))?;
        let freed: usize = frames.iter().map(Frame::cost_bytes).sum();
        self.bytes = self.bytes.saturating_sub(freed);
        Ok(frames)
    }
}

fn unknown(id: &str) -> Fault {
    Fault::open("Bad transaction", format!("Invalid transaction identifier: {id:?}\n"))
}

fn id_of(frame: &Frame) -> Result<&str, Fault> {
    frame.header("transaction").ok_or_else(|| {
        let body = format!("\"{}\" must include a 'transaction' header\n", frame.command_text());
        Fault::open("Missing transaction", body)
    })
}

impl StompSession {
    pub(super) fn begin(&mut self, frame: &Frame) -> Result<Progress, Fault> {
        let id = id_of(frame)?;
        let max = self.config.transactions_max;
        let transactions = &mut self.transactions;
        if transactions.open.contains_key(id) {
            let body = format!("Transaction {id:?} is open already\n");
            return Err(Fault::open("Bad transaction", body));
        }
        if transactions.open.len() >= max {
            let body = format!("Too many concurrent transactions (limit {max})");
            return Err(Fault::open("Transaction limit exceeded", body));
        }
        transactions.open.insert(id.into(), Vec::new());
        Ok(Progress::Done)
    }

    /// Keeps a SEND, ACK or NACK for its transaction. The receipt of a SEND follows the commit, that of an ACK is due
    /// now.
    pub(super) fn join(&mut self, frame: Frame) -> Result<Progress, Fault> {
        let id = id_of(&frame)?;
        let config = &self.config;
        let frames = self.transactions.open.get_mut(id).ok_or_else(|| unknown(id))?;
        let frame = frame.detach().without("transaction");
        let is_send = frame.command() == Command::Send;
        let frame = if is_send { frame } else { frame.without("receipt") };
        let cost = frame.cost_bytes();
        if frames.len() >= config.transaction_actions_max {
            let body = format!("Too many actions in transaction (limit {})", config.transaction_actions_max);
            return Err(Fault::open("Transaction too large", body));
        }
        if cost > config.transaction_bytes_max.saturating_sub(self.transactions.bytes) {
            let body = format!("Too many bytes in transactions (limit {})", config.transaction_bytes_max);
            return Err(Fault::open("Transaction too large", body));
        }
        self.transactions.bytes += cost;
        frames.push(frame);
        Ok(if is_send { Progress::Receipted } else { Progress::Done })
    }

    /// Hands the frames on in order. A fault in one of them is reported and does not undo the others, as in
    /// RabbitMQ.
    pub(super) fn commit(&mut self, frame: &Frame) -> Result<Progress, Fault> {
        let frames = self.transactions.remove(id_of(frame)?)?;
        self.work.extend(frames.into_iter().map(|frame| Work::Frame(Box::new(frame))));
        self.work.push_back(Work::Committed(frame.header("receipt").map(Name::from)));
        Ok(Progress::Receipted)
    }

    pub(super) fn abort(&mut self, frame: &Frame) -> Result<Progress, Fault> {
        self.transactions.remove(id_of(frame)?)?;
        Ok(Progress::Done)
    }
}
