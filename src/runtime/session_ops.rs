//! The topology task's part for MQTT-style sessions: open, take over, subscribe, keep, end, wills.

use super::sessions::{self, Opening, SessionKey};
use super::topology_task::{After, TopologyTask};
use bytes::Bytes;
use engine::subscription::Subscriber;
use engine::worker::command::{Asker, Targets, WorkerCommand};
use model::{
    Millis, Name,
    command::{DelayedWill, Op, Publish, Reply, Signal},
    definition::{QueueDeclare, SendRetained, Subscription},
    delivery::VIA_RETAINED,
    error::{BrokerError, ErrorKind},
    ids::{ConfirmToken, ConnectionId, ConsumerId, QueueId, WorkerId},
    message::Message,
};
use std::sync::Arc;

impl TopologyTask {
    /// Ops of sessions; anything else is refused.
    pub(super) fn session_op(
        &mut self,
        asker: Asker,
        vhost: &Name,
        op: Op,
        now: Millis,
    ) -> Result<(), BrokerError> {
        match op {
            Op::OpenSession { client_id, clean, expiry_ms } => {
                let key = (vhost.clone(), client_id);
                self.open_session(&key, Opening { asker, clean, expiry_ms })
            }
            Op::CloseSession { expiry_ms, state, will } => {
                if let Some(key) = self.sessions.held_by(asker.connection) {
                    self.close_session(&key, expiry_ms, state, will, now);
                }
                self.answer_durably(asker, Reply::Done);
                Ok(())
            }
            Op::Keep { slot, value } => {
                let key = self.held_by(asker.connection)?;
                self.keep(asker, &key, slot, value);
                Ok(())
            }
            Op::Subscribe { subscription, retained } => {
                let key = self.held_by(asker.connection)?;
                self.subscribe(asker, &key, subscription, retained)
            }
            Op::Unsubscribe { filter, share } => {
                let key = self.held_by(asker.connection)?;
                let existed = self.unsubscribe(&key, &filter, share.as_ref());
                self.record_session(&key, None);
                self.answer_durably(asker, Reply::Existed(existed));
                Ok(())
            }
            _ => Err(BrokerError::new(
                ErrorKind::NotImplemented,
                "not an operation of this kind of connection",
            )),
        }
    }

    /// Puts the subscriptions of recovered sessions back into the topic space. Who was connected begins to wait now.
    pub(super) fn resume_sessions(&mut self, now: Millis) {
        for key in self.sessions.keys() {
            let subscriptions = self.sessions.entry(&key).map(|entry| entry.subscriptions.clone());
            for subscription in subscriptions.into_iter().flatten() {
                if let Err(error) = self.enter_subscription(&key, &subscription) {
                    tracing::error!(%error, client = &*key.1, "a recovered subscription was left out");
                }
            }
        }
        for key in self.sessions.begin_waiting(now) {
            self.record_session(&key, None);
        }
        self.sessions.rearm();
    }

    fn held_by(&self, connection: ConnectionId) -> Result<SessionKey, BrokerError> {
        let none = || BrokerError::new(ErrorKind::Precondition, "the connection holds no session");
        self.sessions.held_by(connection).ok_or_else(none)
    }

    fn open_session(&mut self, key: &SessionKey, opening: Opening) -> Result<(), BrokerError> {
        let holder = self.sessions.entry(key).and_then(|entry| entry.connection);
        if let Some(holder) = holder.filter(|holder| *holder != opening.asker.connection) {
            // A holder without an outbox has left: its last words, the session's state among them, are on their way
            // to us, and behind them the news that it left.
            if let Some(outbox) = self.shared.outbox(holder) {
                outbox.push_urgent(crate::net::outbox::Event::Signal(Signal::TakenOver));
            }
            let before = self.sessions.entry(key).and_then(|entry| entry.waiting.replace(opening));
            if let Some(before) = before {
                let error =
                    BrokerError::new(ErrorKind::InUse, "the session was opened by another connection");
                self.answer(before.asker, Reply::Failed(error));
            }
            return Ok(());
        }
        self.give_session(key, &opening)
    }

    fn give_session(&mut self, key: &SessionKey, opening: &Opening) -> Result<(), BrokerError> {
        let Opening { asker, clean, expiry_ms } = *opening;
        if clean {
            // MQTT 5.0, 3.1.2.5: a will that waits is published when its session ends.
            let will = self.sessions.entry(key).and_then(|entry| entry.will.take());
            will.into_iter().for_each(|(_, will)| self.publish_will(&key.0, will));
            self.end_session(key);
        }
        let present = self.sessions.entry(key).is_some();
        let declare = QueueDeclare {
            name: sessions::queue_name(&key.1),
            durable: expiry_ms > 0 || present,
            attach: true,
            ..QueueDeclare::default()
        };
        self.definitions.declare_queue(&key.0, Self::ITSELF, declare)?;
        let Some(outbox) = self.shared.outbox(asker.connection) else {
            // It left while it waited.
            if !present {
                self.end_session(key);
            }
            return Ok(());
        };
        self.sessions.insert(key.clone());
        self.sessions.hold(key, asker.connection, outbox, expiry_ms);
        // Until the connection has said its last words, its state says that it did not.
        let state = self.sessions.entry(key).map(|entry| std::mem::take(&mut entry.state));
        self.record_session(key, None);
        if let (Some(entry), Some(state)) = (self.sessions.entry(key), state) {
            let reply = sessions::opened(entry, state, &key.1, present);
            self.answer_durably(asker, reply);
        }
        Ok(())
    }

    fn close_session(
        &mut self,
        key: &SessionKey,
        expiry_ms: u64,
        state: Bytes,
        will: Option<DelayedWill>,
        now: Millis,
    ) {
        if let Some(entry) = self.sessions.entry(key) {
            entry.expiry_ms = expiry_ms;
            entry.state = state;
            entry.will = will.map(|will| (now.saturating_add(will.delay_ms), will));
        }
        self.record_session(key, now.checked_add(expiry_ms));
    }

    /// A connection is over: its session waits, ends, or goes to who waits for it.
    pub(super) fn session_left(&mut self, connection: ConnectionId, now: Millis) {
        let Some(key) = self.sessions.release(connection, now) else { return };
        let Some(entry) = self.sessions.entry(&key) else { return };
        let (waiting, over) = (entry.waiting.take(), entry.expiry_ms == 0);
        if over {
            let will = entry.will.take();
            will.into_iter().for_each(|(_, will)| self.publish_will(&key.0, will));
            self.end_session(&key);
        }
        if let Some(opening) = waiting
            && let Err(error) = self.give_session(&key, &opening)
        {
            self.answer(opening.asker, Reply::Failed(error));
        }
    }

    /// Ends a session for good: subscriptions, queue, record.
    pub(super) fn end_session(&mut self, key: &SessionKey) {
        let Some(entry) = self.sessions.entry(key) else { return };
        let subscriptions = std::mem::take(&mut entry.subscriptions);
        let kept = std::mem::take(&mut entry.kept);
        let recorded = entry.expiry_ms > 0;
        for subscription in subscriptions {
            self.remove_subscription(key, &subscription.filter, subscription.share.as_ref());
        }
        self.sessions.remove(key);
        self.delete_own_queue(&key.0, &sessions::queue_name(&key.1));
        for slot in kept.into_keys() {
            self.record(sessions::KEPT_KIND, sessions::kept_key(key, slot), None);
        }
        if recorded {
            self.record(sessions::RECORD_KIND, sessions::record_key(key), None);
        }
    }

    fn delete_own_queue(&mut self, vhost: &Name, name: &Name) {
        if let Err(error) = self.definitions.delete_queue(vhost, Self::ITSELF, name, None) {
            tracing::error!(%error, queue = &**name, "cannot delete a session's queue");
        }
    }

    /// Records a session; `ends_at` is for one that its holder is about to leave.
    fn record_session(&mut self, key: &SessionKey, ends_at: Option<Millis>) {
        let Some(entry) = self.sessions.entry(key) else { return };
        if entry.expiry_ms > 0 {
            let value = sessions::to_record(entry, entry.ends_at.or(ends_at));
            self.record(sessions::RECORD_KIND, sessions::record_key(key), Some(value));
        }
    }

    /// Keeps or forgets a value, and answers once that is durable. One record, no barrier: there are many of these.
    fn keep(&mut self, asker: Asker, key: &SessionKey, slot: u32, value: Option<Bytes>) {
        let Some(entry) = self.sessions.entry(key) else { return };
        let before = match &value {
            Some(value) => entry.kept.insert(slot, value.clone()),
            None => entry.kept.remove(&slot),
        };
        if before == value {
            return self.answer_durably(asker, Reply::Done);
        }
        let asker = self.later(After::Answer(asker, Box::new(Reply::Done)));
        let (kind, key) = (sessions::KEPT_KIND.into(), sessions::kept_key(key, slot));
        self.send_changes();
        self.dispatcher.send(WorkerId(0), WorkerCommand::Define { asker: Some(asker), kind, key, value }, 0);
    }

    fn subscribe(
        &mut self,
        asker: Asker,
        key: &SessionKey,
        subscription: Subscription,
        retained: SendRetained,
    ) -> Result<(), BrokerError> {
        let share = subscription.share.clone();
        let (filter, via, reliable) = (subscription.filter.clone(), subscription.via, subscription.reliable);
        let queue = self.enter_subscription(key, &subscription)?;
        let mut existed = false;
        if let Some(entry) = self.sessions.entry(key) {
            let before = entry.subscriptions.len();
            entry.subscriptions.retain(|known| known.filter != filter || known.share != share);
            existed = entry.subscriptions.len() < before;
            entry.subscriptions.push(subscription);
        }
        self.record_session(key, None);
        let wanted = share.is_none()
            && match retained {
                SendRetained::Always => true,
                SendRetained::IfNew => !existed,
                SendRetained::Never => false,
            };
        if wanted {
            let lasting = self.sessions.entry(key).is_some_and(|entry| entry.expiry_ms > 0);
            let own = self.own_queue(key).filter(|_| reliable && lasting).map(|queue| (queue, via));
            let asker = self.later(After::Subscribed { asker, existed, queue, own });
            let vhost = key.0.clone();
            self.dispatcher.send(WorkerId(0), WorkerCommand::Retained { asker, vhost, filter }, 0);
        } else {
            self.answer_durably(asker, Reply::Subscribed { existed, retained: Vec::new(), queue });
        }
        Ok(())
    }

    /// Puts a subscription into the topic space; gives the queue to consume for a shared one.
    pub(super) fn enter_subscription(
        &mut self,
        key: &SessionKey,
        subscription: &Subscription,
    ) -> Result<Option<Name>, BrokerError> {
        let (vhost, client_id) = key;
        let Some(entry) = self.sessions.entry(key) else { return Ok(None) };
        let (slot, durable) = (entry.slot.clone(), entry.expiry_ms > 0);
        if let Some(group) = &subscription.share {
            let name = sessions::share_queue_name(group, &subscription.filter);
            let declare =
                QueueDeclare { name: name.clone(), durable, attach: true, ..QueueDeclare::default() };
            let outcome = self.definitions.declare_queue(vhost, Self::ITSELF, declare)?;
            if let Some(queue) = outcome.queue {
                self.definitions.subscribe_queue(vhost, &subscription.filter, queue.id, 0)?;
            }
            return Ok(Some(name));
        }
        let queue = self.own_queue(key);
        let subscriber = Subscriber {
            sink: slot,
            consumer: ConsumerId(1),
            via: subscription.via,
            queue: queue.filter(|_| subscription.reliable),
            no_local: subscription.no_local,
        };
        self.definitions.subscribe(vhost, &subscription.filter, client_id, Arc::new(subscriber))?;
        Ok(None)
    }

    fn own_queue(&self, (vhost, client_id): &SessionKey) -> Option<QueueId> {
        self.definitions.topology().queue(vhost, &sessions::queue_name(client_id)).map(|queue| queue.id)
    }

    /// Retained messages were found for a subscription. A lasting session must not lose the durable ones of them before
    /// it has delivered them: they go through its queue, `own` with the subscription, and the answer waits for that.
    pub(super) fn subscribed(
        &mut self,
        asker: Asker,
        existed: bool,
        queue: Option<Name>,
        own: Option<(QueueId, u32)>,
        found: Vec<Arc<Message>>,
    ) {
        let Some((own, via)) = own else {
            return self.answer_durably(asker, Reply::Subscribed { existed, retained: found, queue });
        };
        let (queued, retained): (Vec<_>, Vec<_>) = found.into_iter().partition(|message| message.durable);
        let reply = Reply::Subscribed { existed, retained, queue };
        if queued.is_empty() {
            return self.answer_durably(asker, reply);
        }
        let asker = self.later(After::Durably(asker, Box::new(reply)));
        let last = queued.len() - 1;
        for (index, message) in queued.into_iter().enumerate() {
            // They are safe in order: the last one's confirm is for all.
            let confirm = (index == last).then_some((asker.connection, ConfirmToken(asker.request.0)));
            let targets = Targets::from_slice(&[(own, via | VIA_RETAINED)]);
            let bytes = message.cost_bytes();
            self.dispatcher.send(own.worker(), WorkerCommand::Publish { message, targets, confirm }, bytes);
        }
    }

    fn unsubscribe(&mut self, key: &SessionKey, filter: &Name, share: Option<&Name>) -> bool {
        let Some(entry) = self.sessions.entry(key) else { return false };
        let before = entry.subscriptions.len();
        entry.subscriptions.retain(|known| known.filter != *filter || known.share.as_ref() != share);
        let existed = entry.subscriptions.len() < before;
        if existed {
            self.remove_subscription(key, filter, share);
        }
        existed
    }

    fn remove_subscription(&mut self, key: &SessionKey, filter: &Name, share: Option<&Name>) {
        let (vhost, client_id) = key;
        let Some(group) = share else {
            self.definitions.unsubscribe(vhost, filter, client_id);
            return;
        };
        // The group's queue goes with its last member.
        if self.sessions.sharers(vhost, group, filter) == 0 {
            self.delete_own_queue(vhost, &sessions::share_queue_name(group, filter));
        }
    }

    fn publish_will(&mut self, vhost: &Name, will: DelayedWill) {
        self.dispatcher.refresh();
        let publish = Publish { message: will.message, confirm: None, retain: will.retain };
        if let Err(error) = self.dispatcher.publish(vhost, publish) {
            tracing::warn!(%error, "a will could not be published");
        }
    }

    /// Ends sessions whose time is over and publishes wills that are due.
    pub(super) fn run_timers(&mut self, now: Millis) {
        if self.sessions.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        for (vhost, will) in self.sessions.due_wills(now) {
            self.publish_will(&vhost, will);
        }
        for key in self.sessions.ended(now) {
            self.end_session(&key);
        }
        self.sessions.rearm();
    }
}
