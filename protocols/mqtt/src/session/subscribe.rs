//! SUBSCRIBE and UNSUBSCRIBE, and the consumers of shared subscriptions and queues.
//!
//! ```text
//!  topic           Subscribe -> SUBACK
//!  shared topic    Subscribe -> Consume the group's queue -> SUBACK
//!  queue           Declare -> Consume -> SUBACK
//! ```

use super::{
    Busy, MqttSession, OTHERS_GROUP, Pending, Turn, publish,
    state::{decode_options, encode_options},
    subscriptions::{Active, consumer_of},
};
use crate::{
    codec::{
        Version,
        subscribe::{self, Options, Subscribe, Unsubscribe},
    },
    errors::{Refusal, reason, subscribe_code},
    topic::{self, Source},
};
use model::{
    Name,
    command::{Consume, Op, Reply},
    definition::{SendRetained, Subscription},
    error::BrokerError,
    ids::ConsumerId,
    message::Message,
    value::Table,
};
use std::sync::Arc;

/// A SUBSCRIBE or UNSUBSCRIBE that waits for the broker.
#[derive(Debug)]
pub(crate) struct Progress {
    packet_id: u16,
    unsubscribe: bool,
    codes: Vec<u8>,
    /// Codes that are not known yet.
    left: usize,
    /// Retained messages to send after the acknowledgement, by subscription.
    retained: Vec<(u32, Vec<Arc<Message>>)>,
}

/// One subscription on its way through the broker.
#[derive(Debug)]
pub(crate) struct Step {
    via: u32,
    /// Which code of the SUBACK; `None` when a session is taken up again and nobody asked.
    slot: Option<usize>,
    /// To put back when the broker refuses.
    previous: Option<Active>,
}

impl MqttSession {
    pub(super) fn on_subscribe(&mut self, body: &[u8], turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let mut packet = Subscribe::decode(body, self.version)?;
        // All of the packet is read before any of it takes effect.
        let mut wishes: Vec<(Result<Source, u8>, Options)> = Vec::new();
        while let Some((filter, mut options)) = packet.next()? {
            let filter = topic::check_filter(filter)?;
            options.no_local |= self.bridge;
            options.retain_as_published |= self.bridge;
            let mut source = topic::source(filter, options.no_local && !self.bridge, &self.config)?;
            if let Err(code) = self.check_filter(filter) {
                source = Err(code);
            }
            if wishes.len() >= self.config.subscriptions_max {
                source = Err(reason::QUOTA_EXCEEDED);
            }
            wishes.push((source, options));
        }
        self.hold_for(packet.packet_id, false, wishes.len());
        for (slot, (source, options)) in wishes.into_iter().enumerate() {
            let known = source.as_ref().is_ok_and(|source| self.subscriptions.number(source).is_some());
            match source {
                Ok(_) if !known && self.subscriptions.len() >= self.config.subscriptions_max => {
                    self.decided(slot, Err(reason::QUOTA_EXCEEDED), options);
                }
                Ok(source) => {
                    let active = Active::new(source, options, packet.subscription_id);
                    let new = !known;
                    let (via, previous) = self.subscriptions.put(active);
                    self.begin_subscription(Step { via, slot: Some(slot), previous }, new, turn);
                }
                Err(code) => self.decided(slot, Err(code), options),
            }
        }
        self.acknowledge_when_done(turn);
        Ok(())
    }

    fn hold_for(&mut self, packet_id: u16, unsubscribe: bool, count: usize) {
        let codes = vec![reason::SUCCESS; count];
        let progress = Progress { packet_id, unsubscribe, codes, left: count, retained: Vec::new() };
        self.busy = Some(Box::new(Busy::Subscriptions(progress)));
    }

    fn progress(&mut self) -> Option<&mut Progress> {
        match self.busy.as_deref_mut() {
            Some(Busy::Subscriptions(progress)) => Some(progress),
            _ => None,
        }
    }

    /// A SUBSCRIBE is not answered yet.
    pub(super) fn is_subscribing(&mut self) -> bool {
        self.progress().is_some_and(|progress| !progress.unsubscribe)
    }

    fn begin_subscription(&mut self, step: Step, new: bool, turn: &mut Turn<'_>) {
        let Some(active) = self.subscriptions.get(step.via).cloned() else { return };
        let (filter, share) = match active.source {
            Source::Queue(name) => {
                let declare = publish::queue_declare(name);
                return self.request(Op::DeclareQueue(declare), Pending::Subscription(Box::new(step)), turn);
            }
            Source::Topic { filter, share } => (filter, share),
        };
        let reliable = active.options.qos > 0;
        if reliable && share.is_none() {
            self.consume_own_queue(turn);
        }
        let retained = match (&share, active.options.retain_handling) {
            (Some(_), _) | (None, 2) => SendRetained::Never,
            (None, 1) if !new => SendRetained::Never,
            (None, 1) => SendRetained::IfNew,
            (None, _) => SendRetained::Always,
        };
        let retained = if step.slot.is_some() { retained } else { SendRetained::Never };
        let subscription = Subscription {
            filter,
            via: step.via,
            reliable,
            no_local: active.options.no_local && share.is_none(),
            share,
            options: encode_options(active.options, active.subscription_id),
        };
        let pending = Pending::Subscription(Box::new(step));
        self.request(Op::Subscribe { subscription, retained }, pending, turn);
    }

    /// Takes up a subscription of an earlier connection. The broker has it already; only the queue of a shared one has
    /// to be consumed again.
    pub(super) fn rejoin(&mut self, subscription: Subscription, turn: &mut Turn<'_>) {
        let (options, subscription_id) = decode_options(&subscription.options);
        let shared = subscription.share.is_some();
        let source = Source::Topic { filter: subscription.filter, share: subscription.share };
        let via = subscription.via;
        let active = Active::new(source, options, subscription_id);
        let restored = self.subscriptions.restore(via, active, self.config.subscriptions_max);
        if restored && shared {
            self.begin_subscription(Step { via, slot: None, previous: None }, false, turn);
        }
    }

    /// Takes up the consumption of a queue of an earlier connection.
    pub(super) fn rejoin_queue(&mut self, active: Active, turn: &mut Turn<'_>) {
        let (via, previous) = self.subscriptions.put(active);
        self.begin_subscription(Step { via, slot: None, previous }, false, turn);
    }

    /// The broker's answer to one step of a subscription.
    pub(super) fn on_subscription(&mut self, step: Step, reply: Reply, turn: &mut Turn<'_>) {
        let queue = match reply {
            Reply::Failed(error) => return self.subscription_failed(step, &error, turn),
            Reply::Subscribed { retained, queue, .. } => {
                if let Some(progress) = self.progress()
                    && step.slot.is_some()
                    && !retained.is_empty()
                {
                    progress.retained.push((step.via, retained));
                }
                queue
            }
            Reply::QueueDeclared { name, .. } => Some(name),
            _ => None,
        };
        let options = self.subscriptions.get(step.via).map(|active| active.options).unwrap_or_default();
        match queue {
            Some(queue) if self.needs_consumer(step.via, options.qos == 0, turn) => {
                self.consume(queue, step, options.qos == 0, turn);
            }
            _ => {
                if let Some(slot) = step.slot {
                    if self.subscriptions.queue_topic(step.via).is_some() {
                        return self.keep_queues(Pending::QueueKept { slot, options }, turn);
                    }
                    self.decided(slot, Ok(options.qos), options);
                }
            }
        }
        self.acknowledge_when_done(turn);
    }

    /// The subscription to a queue is safe, or can not be made so.
    pub(super) fn on_queue_kept(
        &mut self,
        slot: usize,
        options: Options,
        reply: &Reply,
        turn: &mut Turn<'_>,
    ) {
        let outcome = match reply {
            Reply::Failed(error) => Err(subscribe_code(error)),
            _ => Ok(options.qos),
        };
        self.decided(slot, outcome, options);
        self.acknowledge_when_done(turn);
    }

    /// True when subscription `via` has no consumer of the right kind. One of the wrong kind is cancelled.
    fn needs_consumer(&mut self, via: u32, auto_ack: bool, turn: &mut Turn<'_>) -> bool {
        match self.subscriptions.get(via).and_then(|active| active.auto_ack) {
            Some(kind) if kind == auto_ack => false,
            Some(_) => {
                self.cancel(consumer_of(via), turn);
                true
            }
            None => true,
        }
    }

    fn consume(&mut self, queue: Name, step: Step, auto_ack: bool, turn: &mut Turn<'_>) {
        let credit = self.outgoing.credit();
        if !std::mem::replace(&mut self.grouped, true) {
            self.request(Op::GroupCredit { group: OTHERS_GROUP, credit }, Pending::Extra, turn);
        }
        if let Some(active) = self.subscriptions.get_mut(step.via) {
            active.auto_ack = Some(auto_ack);
        }
        let consume = Consume {
            queue,
            consumer: consumer_of(step.via),
            auto_ack,
            credit,
            group: (!auto_ack).then_some(OTHERS_GROUP),
            exclusive: false,
            priority: 0,
            from: None,
            arguments: Table::new(),
        };
        self.request(Op::Consume(consume), Pending::Subscription(Box::new(step)), turn);
    }

    fn cancel(&mut self, consumer: ConsumerId, turn: &mut Turn<'_>) {
        self.give_back(consumer, turn);
        self.request(Op::Cancel(consumer), Pending::Extra, turn);
    }

    fn subscription_failed(&mut self, step: Step, error: &BrokerError, turn: &mut Turn<'_>) {
        let options = self.subscriptions.get(step.via).map(|active| active.options).unwrap_or_default();
        let added = if step.previous.is_none() { self.subscriptions.get(step.via).cloned() } else { None };
        self.subscriptions.undo(step.via, step.previous);
        if let Some(Active { source: Source::Topic { filter, share: share @ Some(_) }, .. }) = added {
            // The group's queue must not fill for a member that can not consume it.
            self.request(Op::Unsubscribe { filter, share }, Pending::Extra, turn);
        }
        if let Some(slot) = step.slot {
            self.decided(slot, Err(subscribe_code(error)), options);
        }
        self.acknowledge_when_done(turn);
    }

    /// Enters the code of one filter of a SUBSCRIBE.
    fn decided(&mut self, slot: usize, outcome: Result<u8, u8>, options: Options) {
        let code = match (outcome, self.version) {
            (Ok(qos), _) => qos,
            (Err(code), Version::V5) => code,
            (Err(_), Version::V311) => reason::UNSPECIFIED,
            // 3.1 has no way to refuse.
            (Err(_), Version::V31) => options.qos,
        };
        self.enter_code(slot, code);
    }

    fn enter_code(&mut self, slot: usize, code: u8) {
        if let Some(progress) = self.progress()
            && let Some(entry) = progress.codes.get_mut(slot)
        {
            *entry = code;
            progress.left = progress.left.saturating_sub(1);
        }
    }

    fn acknowledge_when_done(&mut self, turn: &mut Turn<'_>) {
        if self.progress().is_none_or(|progress| progress.left > 0) {
            return;
        }
        let Some(Busy::Subscriptions(progress)) = self.busy.take().map(|busy| *busy) else { return };
        self.tally.messages_sent += 1;
        let tail = &mut turn.out.wire.tail;
        if progress.unsubscribe {
            return subscribe::put_unsuback(tail, self.version, progress.packet_id, &progress.codes);
        }
        subscribe::put_suback(tail, self.version, progress.packet_id, &progress.codes);
        for (via, messages) in progress.retained {
            self.deliver_retained(via, messages, turn);
        }
        self.drain(turn);
    }

    pub(super) fn on_unsubscribe(&mut self, body: &[u8], turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let mut packet = Unsubscribe::decode(body, self.version)?;
        let mut sources: Vec<Result<Source, u8>> = Vec::new();
        while let Some(filter) = packet.next()? {
            sources.push(topic::source(topic::check_filter(filter)?, false, &self.config)?);
        }
        self.hold_for(packet.packet_id, true, sources.len());
        for (slot, source) in sources.into_iter().enumerate() {
            let known = source.ok().and_then(|source| self.subscriptions.number(&source));
            match known.and_then(|via| self.subscriptions.remove(via).map(|active| (via, active))) {
                Some((via, active)) => self.leave_source(slot, via, active, turn),
                None => self.enter_code(slot, reason::NO_SUBSCRIPTION_EXISTED),
            }
        }
        self.acknowledge_when_done(turn);
        Ok(())
    }

    fn leave_source(&mut self, slot: usize, via: u32, active: Active, turn: &mut Turn<'_>) {
        let consumer = consumer_of(via);
        match active.source {
            Source::Topic { filter, share } => {
                if active.auto_ack.is_some() {
                    self.cancel(consumer, turn);
                }
                self.request(Op::Unsubscribe { filter, share }, Pending::Unsubscribe(slot), turn);
            }
            Source::Queue(_) => {
                self.give_back(consumer, turn);
                self.request(Op::Cancel(consumer), Pending::Unsubscribe(slot), turn);
                self.keep_queues(Pending::Extra, turn);
            }
        }
    }

    pub(super) fn on_unsubscribed(&mut self, slot: usize, reply: &Reply, turn: &mut Turn<'_>) {
        let code = match reply {
            Reply::Existed(false) => reason::NO_SUBSCRIPTION_EXISTED,
            Reply::Failed(error) => subscribe_code(error),
            _ => reason::SUCCESS,
        };
        self.enter_code(slot, code);
        self.acknowledge_when_done(turn);
    }

    /// The queue of a subscription is gone, and the subscription with it.
    pub(super) fn on_cancelled(&mut self, consumer: ConsumerId, turn: &mut Turn<'_>) {
        self.give_back(consumer, turn);
        let gone = consumer.0.checked_sub(1).and_then(|via| self.subscriptions.remove(via));
        if gone.is_some_and(|gone| matches!(gone.source, Source::Queue(_))) {
            self.keep_queues(Pending::Extra, turn);
        }
    }
}
