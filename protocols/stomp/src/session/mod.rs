//! The session: one STOMP connection as a state machine. Frames are dealt with strictly one after the other; while
//! one waits for the broker, the input is left alone.
//!
//! ```text
//!         CONNECT           logged in            DISCONNECT, receipts pending
//!  Fresh ---------> (op) ------------> Open ------------------------------> Leaving ----> Closed
//!    |  time-out, refused                | fault that closes, silence, shutdown             ^
//!    +-----------------------------------+--------------------------------------------------+
//! ```

mod connect;
mod deliver;
mod names;
mod send;
mod subscribe;
mod transaction;

#[cfg(test)]
mod tests;

use crate::{
    config::StompConfig,
    error::Fault,
    frame::{Command, Frame},
    heartbeat::Heartbeat,
    parser::Parser,
    receipts::Receipts,
    subscription::Subscription,
    version::Version,
    writer::{self, MessageWriter},
};
use bytes::BytesMut;
use connect::Login;
use deliver::Unacked;
use model::{
    Millis, Name,
    command::{Op, Reply, Signal},
    delivery::{Confirm, Delivery},
    ids::{ConsumerId, RequestId},
    session::{Broker, Output, Session, SessionSeed},
};
use names::Names;
use rustc_hash::FxHashMap;
use send::{Learned, Route};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use transaction::{Transactions, Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Open,
    Leaving,
    Closed,
}

/// What one call brings along.
struct Turn<'a> {
    now: Millis,
    broker: &'a mut dyn Broker,
    out: &'a mut Output,
}

/// How far a frame got.
enum Progress {
    /// Dealt with; its receipt is due.
    Done,
    /// Dealt with; its receipt is taken care of.
    Receipted,
    /// Goes on with the broker's replies.
    Waiting(Box<Pending>),
}

/// Ops that a frame still needs, one at a time, and what then follows.
struct Pending {
    request: RequestId,
    ops: std::vec::IntoIter<Op>,
    then: Then,
    receipt: Option<Name>,
}

enum Then {
    /// The login is answered.
    LogIn(Box<Login>),
    /// The SEND is taken up again, with what was learned.
    Resume(Box<Frame>, Learned),
    /// The subscription is there.
    Subscribed(Box<Subscription>),
    /// It is gone.
    Unsubscribed(ConsumerId),
}

/// A STOMP connection.
pub struct StompSession {
    config: Arc<StompConfig>,
    seed: SessionSeed,
    stage: Stage,
    version: Version,
    names: Names,
    session_id: Name,
    user: Name,
    login_deadline: Millis,
    beat: Heartbeat,
    /// Publishers are held back: nothing is read from them, beats included.
    blocked: bool,
    parser: Parser,
    /// Bytes that the last call left in the input.
    unconsumed: usize,
    pending: Option<Box<Pending>>,
    requests: u64,
    work: VecDeque<Work>,
    transactions: Transactions,
    receipts: Receipts,
    subscriptions: FxHashMap<ConsumerId, Subscription>,
    tags: BTreeMap<Name, ConsumerId>,
    consumers: u32,
    unacked: BTreeMap<u64, Unacked>,
    delivered: u64,
    declared: BTreeSet<Name>,
    reply_queues: BTreeMap<Name, Name>,
    route: Option<Route>,
    scratch: Vec<u8>,
    writer: MessageWriter,
}

impl StompSession {
    /// A session for a connection that was accepted at `now`.
    pub fn new(config: Arc<StompConfig>, seed: SessionSeed, now: Millis) -> Self {
        let names = Names::new(seed.random);
        Self {
            login_deadline: now.saturating_add(config.login_timeout_ms),
            config,
            stage: Stage::Fresh,
            version: Version::V10,
            session_id: names.session(),
            names,
            user: Name::new(),
            beat: Heartbeat::default(),
            blocked: false,
            parser: Parser::default(),
            unconsumed: 0,
            pending: None,
            requests: 0,
            work: VecDeque::new(),
            transactions: Transactions::default(),
            receipts: Receipts::default(),
            subscriptions: FxHashMap::default(),
            tags: BTreeMap::new(),
            consumers: 0,
            unacked: BTreeMap::new(),
            delivered: 0,
            declared: BTreeSet::new(),
            reply_queues: BTreeMap::new(),
            route: None,
            scratch: Vec::new(),
            writer: MessageWriter::default(),
            seed,
        }
    }

    /// Deals with frames, those of a committed transaction first, until one has to wait or there are no more.
    fn pump(&mut self, input: &mut BytesMut, turn: &mut Turn<'_>) {
        while self.pending.is_none() && matches!(self.stage, Stage::Fresh | Stage::Open) {
            if self.pump_work(turn) {
                continue;
            }
            if self.receipts.len() >= self.config.unconfirmed_max {
                return;
            }
            let limits = &self.config.frame;
            let frame_bytes_max = match self.stage {
                Stage::Fresh => limits.login_frame_bytes_max,
                _ => limits.frame_bytes_max,
            };
            match self.parser.next(input, self.version, limits, frame_bytes_max) {
                Ok(Some(frame)) => self.handle(frame, turn),
                Ok(None) => return,
                Err(error) => self.fail(&Fault::closing("Invalid frame", format!("{error}\n")), None, turn),
            }
        }
    }

    /// One piece of work of a committed transaction; false when there is none.
    fn pump_work(&mut self, turn: &mut Turn<'_>) -> bool {
        match self.work.pop_front() {
            Some(Work::Frame(frame)) => self.handle(*frame, turn),
            Some(Work::Committed(receipt)) => self.acknowledge(receipt, turn),
            None => return false,
        }
        true
    }

    fn handle(&mut self, frame: Frame, turn: &mut Turn<'_>) {
        let receipt = frame.header("receipt").map(Name::from);
        match self.execute(frame, turn) {
            Ok(Progress::Done) => self.acknowledge(receipt, turn),
            Ok(Progress::Receipted) => self.release_receipts(turn),
            Ok(Progress::Waiting(pending)) => self.pending = Some(Box::new(Pending { receipt, ..*pending })),
            Err(fault) => self.fail(&fault, receipt.as_deref(), turn),
        }
    }

    fn execute(&mut self, frame: Frame, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        let command = frame.command();
        match (self.stage, command) {
            (Stage::Fresh, Command::Connect) => return self.connect(&frame, turn),
            (Stage::Fresh, _) if self.config.implicit_connect => {
                return Ok(self.connect_implicitly(frame, turn));
            }
            (Stage::Fresh, _) => {
                return Err(Fault::open("Illegal command", "You must log in using CONNECT first"));
            }
            _ => {}
        }
        match command {
            Command::Connect => Err(Fault::closing("Illegal command", "You are logged in already")),
            Command::Send => self.send(frame, turn),
            Command::Ack | Command::Nack => self.settle(frame, turn),
            Command::Subscribe => self.subscribe(&frame, turn),
            Command::Unsubscribe => self.unsubscribe(&frame, turn),
            Command::Begin => self.begin(&frame),
            Command::Commit => self.commit(&frame),
            Command::Abort => self.abort(&frame),
            Command::Disconnect => {
                self.stage = Stage::Leaving;
                Ok(Progress::Done)
            }
            Command::Unknown => {
                let body = format!("Could not interpret command \"{}\"\n", frame.command_text());
                Err(Fault::open("Bad command", body))
            }
        }
    }

    /// A frame is dealt with: its receipt may go once everything before it is.
    fn acknowledge(&mut self, receipt: Option<Name>, turn: &mut Turn<'_>) {
        if let Some(receipt) = receipt {
            self.receipts.add(receipt);
        }
        self.release_receipts(turn);
    }

    /// Sends the receipts that need not wait, and leaves after the last one.
    fn release_receipts(&mut self, turn: &mut Turn<'_>) {
        while let Some(receipt) = self.receipts.next() {
            writer::receipt(&mut turn.out.wire, self.version, &receipt);
        }
        if self.stage == Stage::Leaving && self.receipts.is_empty() {
            self.close("client disconnected", turn);
        }
    }

    fn fail(&mut self, fault: &Fault, receipt: Option<&str>, turn: &mut Turn<'_>) {
        writer::error(&mut turn.out.wire, self.version, fault, receipt, None);
        if fault.close {
            let reason = format!("{}: {}", fault.message, fault.body.trim_end());
            self.close(&reason, turn);
        }
    }

    fn close(&mut self, reason: &str, turn: &mut Turn<'_>) {
        self.stage = Stage::Closed;
        self.pending = None;
        self.work.clear();
        turn.out.close = Some(reason.into());
    }

    fn ask(&mut self, op: Op, turn: &mut Turn<'_>) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        turn.broker.request(request, op);
        request
    }

    /// Begins a row of ops. Whoever handles the frame fills in its receipt.
    fn wait(&mut self, ops: Vec<Op>, then: Then, turn: &mut Turn<'_>) -> Progress {
        let mut ops = ops.into_iter();
        let Some(first) = ops.next() else { return Progress::Done };
        let request = self.ask(first, turn);
        Progress::Waiting(Box::new(Pending { request, ops, then, receipt: None }))
    }

    fn replied(&mut self, mut pending: Box<Pending>, reply: Reply, turn: &mut Turn<'_>) {
        let reply = match (reply, &pending.then) {
            (Reply::Failed(error), Then::LogIn(login)) => {
                let fault = login.refused(&error);
                return self.fail(&fault, pending.receipt.as_deref(), turn);
            }
            (Reply::Failed(error), _) => {
                return self.fail(&Fault::from(error), pending.receipt.as_deref(), turn);
            }
            (reply, _) => reply,
        };
        if let Some(op) = pending.ops.next() {
            pending.request = self.ask(op, turn);
            self.pending = Some(pending);
            return;
        }
        let Pending { then, receipt, .. } = *pending;
        match then {
            Then::LogIn(login) => self.logged_in(*login, reply, turn),
            Then::Resume(frame, learned) => {
                self.learn(learned);
                self.handle(*frame, turn);
            }
            Then::Subscribed(subscription) => {
                self.subscribed(*subscription);
                self.acknowledge(receipt, turn);
            }
            Then::Unsubscribed(consumer) => {
                self.forget_subscription(consumer);
                self.acknowledge(receipt, turn);
            }
        }
    }

    /// The consumer's queue is gone. RabbitMQ reports it and keeps the connection.
    fn cancelled(&mut self, consumer: ConsumerId, turn: &mut Turn<'_>) {
        let Some(subscription) = self.forget_subscription(consumer) else { return };
        let body = format!(
            "The server has canceled a subscription.\nNo more messages will be delivered for \"{}\".\n",
            subscription.description
        );
        let fault = Fault::open("Server cancelled subscription", body);
        // What follows `T_` or `Q_`.
        let id = subscription.tag.get(2..);
        writer::error(&mut turn.out.wire, self.version, &fault, None, id);
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Closed
    }
}

impl Session for StompSession {
    fn receive(&mut self, input: &mut BytesMut, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        if input.len() > self.unconsumed {
            self.beat.heard(now);
        }
        self.pump(input, &mut Turn { now, broker, out });
        if matches!(self.stage, Stage::Leaving | Stage::Closed) {
            // "The client MUST NOT send any more frames after the DISCONNECT frame is sent."
            input.clear();
        }
        self.unconsumed = input.len();
    }

    fn reply(
        &mut self,
        request: RequestId,
        reply: Reply,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    ) {
        let mut turn = Turn { now, broker, out };
        if let Some(pending) = self.pending.take_if(|pending| pending.request == request) {
            self.replied(pending, reply, &mut turn);
        }
        // The rest of a transaction needs no input.
        while self.pending.is_none() && self.stage == Stage::Open && self.pump_work(&mut turn) {}
    }

    fn deliver(
        &mut self,
        deliveries: &mut Vec<Delivery>,
        now: Millis,
        broker: &mut dyn Broker,
        out: &mut Output,
    ) {
        if self.stage == Stage::Open {
            let mut turn = Turn { now, broker, out };
            deliveries.drain(..).for_each(|delivery| self.deliver_one(&delivery, &mut turn));
        } else {
            // Their leases return to the queues with the end of the connection.
            deliveries.clear();
        }
    }

    fn confirm(&mut self, confirms: &[Confirm], now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        if self.is_over() {
            return;
        }
        let mut turn = Turn { now, broker, out };
        for confirm in confirms {
            if confirm.accepted {
                self.receipts.confirm(confirm.token);
            } else if let Some(receipt) = self.receipts.refuse(confirm.token) {
                let fault = Fault::open("Message rejected", "A queue refused the message\n");
                self.fail(&fault, Some(&receipt), &mut turn);
            }
        }
        self.release_receipts(&mut turn);
    }

    fn signal(&mut self, signal: Signal, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        if self.is_over() {
            return;
        }
        let mut turn = Turn { now, broker, out };
        match signal {
            Signal::ConsumerCancelled(consumer) => self.cancelled(consumer, &mut turn),
            Signal::Shutdown(reason) => {
                let body = format!("CONNECTION_FORCED - {reason}\n");
                self.fail(&Fault::closing("connection_forced", body), None, &mut turn);
            }
            // STOMP has no words for this.
            Signal::Blocked(_) => self.blocked = true,
            Signal::Unblocked => {
                self.blocked = false;
                self.beat.heard(now);
            }
            Signal::TakenOver => {}
        }
    }

    fn tick(&mut self, now: Millis, broker: &mut dyn Broker, out: &mut Output) {
        let mut turn = Turn { now, broker, out };
        match self.stage {
            Stage::Closed => {}
            Stage::Fresh => {
                if now >= self.login_deadline {
                    let fault = Fault::closing("Bad CONNECT", "No CONNECT within the login timeout\n");
                    self.fail(&fault, None, &mut turn);
                }
            }
            Stage::Open | Stage::Leaving => {
                if self.blocked
                    || self.pending.is_some()
                    || self.receipts.len() >= self.config.unconfirmed_max
                {
                    // We are the ones who keep the other waiting; its beats may lie unread.
                    self.beat.heard(now);
                }
                if self.beat.is_silent(now) {
                    let fault = Fault::closing("Heart-beat missing", "Nothing came within the agreed time\n");
                    self.fail(&fault, None, &mut turn);
                } else if self.beat.beat(now) {
                    turn.out.wire.put(b"\n");
                }
            }
        }
    }

    fn next_tick(&self) -> Option<Millis> {
        match self.stage {
            Stage::Closed => None,
            Stage::Fresh => Some(self.login_deadline),
            Stage::Open | Stage::Leaving => self.beat.next(),
        }
    }

    fn closed(&mut self, _now: Millis, _broker: &mut dyn Broker) {
        // "If the client disconnects without a COMMIT, its transactions are aborted": they only exist here. The
        // broker takes back leases and exclusive queues.
        self.stage = Stage::Closed;
        self.pending = None;
        self.work.clear();
        self.transactions = Transactions::default();
        self.subscriptions.clear();
        self.unacked.clear();
    }
}
