//! The beginning and the end: CONNECT to CONNACK, DISCONNECT, wills, and what is left with the broker.

use super::{
    Busy, MqttSession, OWN_QUEUE, Pending, Phase, Turn, deliver,
    inflight::{self, Inflight},
    kept::{self, Slot},
    publish::{self, Content},
    state::State,
    subscriptions::Active,
};
use crate::{
    codec::{
        Version,
        acks::{self, first},
        connect::{self, Connect, Rejected, Settings, Welcome},
    },
    errors::{Refusal, connect_codes, reason},
    topic::{self, Source},
};
use bytes::Bytes;
use model::{
    Millis, Name,
    command::{Consume, Credentials, DelayedWill, Op, Publish, Reply},
    definition::Subscription,
    error::{BrokerError, ErrorKind},
    message::Message,
    session::Broker,
    value::Table,
};
use std::sync::Arc;

/// What CONNACK will need, kept while the broker decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entering {
    clean: bool,
    assigned: bool,
    keep_alive_s: Option<u16>,
    session_expiry_s: Option<u32>,
}

/// A will, ready to go but for its time.
#[derive(Debug)]
pub(crate) struct Will {
    topic: Name,
    message: Message,
    retain: bool,
    delay_ms: u64,
}

/// Seconds of a session expiry as milliseconds; the largest is for ever (MQTT 5.0, 3.1.2.11.2).
fn expiry_ms(seconds: u32) -> u64 {
    if seconds == u32::MAX { u64::MAX } else { u64::from(seconds) * 1000 }
}

fn expiry_s(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

impl MqttSession {
    pub(super) fn on_connect(&mut self, body: &[u8], turn: &mut Turn<'_>) -> Result<(), Refusal> {
        self.tally.connects += 1;
        let rejected = match connect::decode(body) {
            Ok(connect) => match self.enter(&connect, turn) {
                Ok(()) => return Ok(()),
                Err(rejected) => rejected,
            },
            Err(rejected) => rejected,
        };
        self.reject(rejected, turn);
        Ok(())
    }

    fn reject(&mut self, rejected: Rejected, turn: &mut Turn<'_>) {
        connect::put_rejected(&mut turn.out.wire.tail, rejected);
        self.tally.messages_sent += u32::from(!matches!(rejected, Rejected::Close(_)));
        let (Rejected::Close(why) | Rejected::Old(_, why) | Rejected::Reason(_, why)) = rejected;
        self.will = None;
        self.end(Name::from_static(why), turn.out);
    }

    fn enter(&mut self, connect: &Connect<'_>, turn: &mut Turn<'_>) -> Result<(), Rejected> {
        self.version = connect.version;
        self.bridge = connect.bridge;
        let keep_alive_s = self.keep_alive(connect)?;
        let expiry_told = self.take_expiry(connect);
        self.take_settings(connect.settings);
        self.will = self.compose_will(connect, turn.now)?;
        let assigned = connect.client_id.is_empty();
        self.client_id = if assigned { self.assigned_id() } else { connect.client_id.into() };
        self.phase = Phase::Entering(Box::new(Entering {
            clean: connect.clean,
            assigned,
            keep_alive_s,
            session_expiry_s: expiry_told,
        }));
        let credentials = self.credentials(connect);
        self.named = matches!(credentials, Credentials::Password { .. });
        let (vhost, client) = (self.config.vhost.clone(), self.client_id.clone());
        self.request(Op::Login { credentials, vhost, client }, Pending::Login, turn);
        Ok(())
    }

    /// Sets the keep-alive; the one that a 5.0 client has to be told.
    fn keep_alive(&mut self, connect: &Connect<'_>) -> Result<Option<u16>, Rejected> {
        let asked = connect.keep_alive_s;
        let over = self.config.keep_alive_max_s.filter(|max| asked == 0 || asked > *max);
        if over.is_some() && connect.version != Version::V5 {
            return Err(Rejected::Old(2, "keep-alive longer than allowed"));
        }
        self.silence_max_ms = u64::from(over.unwrap_or(asked)) * 1500;
        Ok(over)
    }

    /// Sets the session expiry; the one that a 5.0 client has to be told.
    fn take_expiry(&mut self, connect: &Connect<'_>) -> Option<u32> {
        let max = self.config.session_expiry_max_ms;
        if connect.version != Version::V5 {
            self.session_expiry_ms = if connect.clean { 0 } else { max };
            return None;
        }
        let asked = expiry_ms(connect.settings.session_expiry_s);
        self.session_expiry_ms = asked.min(max);
        (asked > max).then(|| expiry_s(max))
    }

    fn take_settings(&mut self, settings: Settings) {
        self.packet_bytes_max = usize::try_from(settings.packet_bytes_max).unwrap_or(usize::MAX);
        let quota = settings.receive_max.min(self.config.inflight_max).max(1);
        let aliases = settings.topic_alias_max.min(self.config.outgoing_topic_alias_max);
        self.outgoing = deliver::Outbound::new(quota, aliases);
    }

    fn compose_will(&self, connect: &Connect<'_>, now: Millis) -> Result<Option<Box<Will>>, Rejected> {
        let Some(will) = &connect.will else { return Ok(None) };
        let address = topic::address(will.topic, &self.config).map_err(|code| match connect.version {
            Version::V5 => Rejected::Reason(code, "will topic not usable"),
            _ => Rejected::Close("will topic not usable"),
        })?;
        let content = Content {
            qos: will.qos,
            retain: will.retain,
            properties: will.properties,
            verbatim: false,
            expiry_s: will.expiry_s,
            payload: will.payload,
        };
        let message = publish::compose(content, &address, None, now);
        let (topic, retain, delay_ms) = (will.topic.into(), will.retain, u64::from(will.delay_s) * 1000);
        Ok(Some(Box::new(Will { topic, message, retain, delay_ms })))
    }

    /// `auto-` and the connection's random bits in the form of a UUID, as mosquitto assigns them.
    fn assigned_id(&self) -> Name {
        let [a, b, c, d, e] = publish::uuid_parts(self.seed.random);
        format!("auto-{a:08X}-{b:04X}-{c:04X}-{d:04X}-{e:012X}").into()
    }

    fn credentials(&self, connect: &Connect<'_>) -> Credentials {
        let password = connect.password.unwrap_or_default();
        match connect.user {
            Some(user) if !(user.is_empty() && password.is_empty()) => {
                Credentials::Password { user: user.into(), password: Bytes::copy_from_slice(password) }
            }
            _ if self.seed.certificate_name.is_some() => Credentials::External,
            _ => Credentials::Anonymous,
        }
    }

    fn fail_connect(&mut self, error: &BrokerError, turn: &mut Turn<'_>) {
        let (old, new) = connect_codes(error);
        match self.version {
            Version::V5 => self.reject(Rejected::Reason(new, ""), turn),
            _ => self.reject(Rejected::Old(old, ""), turn),
        }
        turn.out.close = Some(error.text.clone());
    }

    pub(super) fn on_login(&mut self, reply: Reply, turn: &mut Turn<'_>) {
        match reply {
            Reply::Failed(error) => return self.fail_connect(&error, turn),
            Reply::LoggedIn { user } => self.open_gate(user),
            _ => {}
        }
        let Phase::Entering(entering) = &self.phase else { return };
        let clean = entering.clean;
        let (client_id, expiry_ms) = (self.client_id.clone(), self.session_expiry_ms);
        self.request(Op::OpenSession { client_id, clean, expiry_ms }, Pending::Open, turn);
    }

    pub(super) fn on_open(&mut self, reply: Reply, turn: &mut Turn<'_>) {
        let (present, queue, state, subscriptions, kept) = match reply {
            Reply::SessionOpened { present, queue, state, subscriptions, kept } => {
                (present, queue, state, subscriptions, kept)
            }
            Reply::Failed(error) => return self.fail_connect(&error, turn),
            _ => {
                let error = BrokerError::new(ErrorKind::Internal, "no session");
                return self.fail_connect(&error, turn);
            }
        };
        let Phase::Entering(entering) = std::mem::replace(&mut self.phase, Phase::Running) else { return };
        self.welcome(&entering, present, turn);
        self.opened = true;
        self.outgoing.queue = queue;
        if present {
            if state.is_empty() {
                self.outgoing.after_crash();
            }
            self.resume(State::decode(&state), &kept, turn);
            self.rejoin_all(subscriptions, &kept, turn);
        }
    }

    fn welcome(&mut self, entering: &Entering, present: bool, turn: &mut Turn<'_>) {
        let welcome = Welcome {
            session_present: present,
            topic_alias_max: self.config.topic_alias_max,
            keep_alive_s: entering.keep_alive_s,
            assigned_client_id: entering.assigned.then_some(&*self.client_id),
            session_expiry_s: entering.session_expiry_s,
            packet_bytes_max: u32::try_from(self.config.packet_bytes_max).unwrap_or(u32::MAX),
            receive_max: self.config.receive_max,
        };
        connect::put_welcome(&mut turn.out.wire.tail, self.version, welcome);
        self.tally.messages_sent += 1;
        self.tally.entered += 1;
    }

    /// Takes up what was in flight. What can not be read was not written by this version, and is left alone.
    fn resume(&mut self, state: State, kept: &[(u32, Bytes)], turn: &mut Turn<'_>) {
        self.outgoing.inflight.resume(state.last_id, &state.outgoing);
        let mut released = Vec::new();
        for (slot, value) in kept {
            match Slot::of(*slot) {
                Some(Slot::Message(id)) => {
                    if let Ok(ready) = kept::read_message(value) {
                        self.incoming.hold(id, ready);
                    }
                }
                Some(Slot::Released(id)) => {
                    released.extend(kept::read_released(value).map(|(order, seq)| (order, id, seq)));
                }
                Some(Slot::Queues) | None => {}
            }
        }
        released.sort_unstable();
        for (_, id, seq) in released {
            self.outgoing.inflight.resume_released(id, seq);
        }
        for id in self.outgoing.inflight.released() {
            self.say(first::PUBREL, id, reason::SUCCESS, turn);
        }
    }

    fn rejoin_all(&mut self, subscriptions: Vec<Subscription>, kept: &[(u32, Bytes)], turn: &mut Turn<'_>) {
        for subscription in subscriptions {
            self.rejoin(subscription, turn);
        }
        self.consume_own_queue(turn);
        let queues = kept.iter().find(|(slot, _)| *slot == kept::QUEUES);
        let queues = queues.and_then(|(_, value)| kept::read_queues(value).ok());
        for (queue, options, subscription_id) in queues.into_iter().flatten() {
            self.rejoin_queue(Active::new(Source::Queue(queue), options, subscription_id), turn);
        }
    }

    /// Keeps the subscriptions to queues as they are now; the broker itself knows the others only.
    pub(super) fn keep_queues(&mut self, then: Pending, turn: &mut Turn<'_>) {
        if self.session_expiry_ms > 0 {
            let value = kept::queues(&self.subscriptions.queues());
            self.request(Op::Keep { slot: kept::QUEUES, value }, then, turn);
        } else {
            self.on_reply(then, Reply::Done, turn);
        }
    }

    /// Begins to consume the session's own queue, once.
    pub(super) fn consume_own_queue(&mut self, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut self.consuming, true) {
            return;
        }
        let consume = Consume {
            queue: self.outgoing.queue.clone(),
            consumer: OWN_QUEUE,
            auto_ack: false,
            credit: self.outgoing.credit(),
            group: None,
            exclusive: false,
            priority: 0,
            from: None,
            arguments: Table::new(),
        };
        self.request(Op::Consume(consume), Pending::Needed("session queue"), turn);
    }

    pub(super) fn on_disconnect(&mut self, body: &[u8], turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let disconnect = acks::decode_disconnect(body, self.version)?;
        if let Some(seconds) = disconnect.session_expiry_s {
            // MQTT 5.0, 3.14.2.2.2: an expiry of 0 in CONNECT is final.
            if self.session_expiry_ms == 0 && seconds != 0 {
                return Err(Refusal::protocol("session expiry after none in CONNECT"));
            }
            self.session_expiry_ms = expiry_ms(seconds).min(self.config.session_expiry_max_ms);
        }
        if disconnect.reason == reason::SUCCESS {
            self.will = None;
        }
        self.end(Name::from_static("client disconnected"), turn.out);
        Ok(())
    }

    /// Last words to the broker: the will, QoS 2 messages that the session outlives, and the session's state.
    pub(super) fn leave(&mut self, now: Millis, broker: &mut dyn Broker) {
        if !std::mem::take(&mut self.opened) {
            return;
        }
        self.tally.left += 1;
        if let Some(busy) = self.busy.take()
            && let Busy::Publish(ready) = *busy
        {
            let _ = broker.publish(ready.publish(None));
        }
        let will = self.send_will(now, broker);
        let expiry_ms = self.session_expiry_ms;
        let state = if expiry_ms == 0 {
            Bytes::new()
        } else {
            self.let_go(broker);
            self.state().encode()
        };
        self.last_word(Op::CloseSession { expiry_ms, state, will }, broker);
    }

    /// An op whose answer nobody will read.
    fn last_word(&mut self, op: Op, broker: &mut dyn Broker) {
        self.last_request += 1;
        broker.request(model::ids::RequestId(self.last_request), op);
    }

    /// What is on its way to the queues is kept no longer: a PUBREL that comes again must not publish it again. Nor is
    /// what the client has completed.
    fn let_go(&mut self, broker: &mut dyn Broker) {
        let published = self.incoming.acks.releases().map(u32::from);
        let mut slots: Vec<u32> = published.collect();
        slots.extend(self.take_completed().into_iter().map(kept::released_slot));
        for slot in slots {
            self.last_word(Op::Keep { slot, value: None }, broker);
        }
    }

    /// Publishes the will at once, or gives back what is to be published later.
    fn send_will(&mut self, now: Millis, broker: &mut dyn Broker) -> Option<DelayedWill> {
        let Will { topic, mut message, retain, delay_ms } = *self.will.take()?;
        self.check_write(&topic).ok()?;
        let delay_ms = delay_ms.min(self.session_expiry_ms);
        message.published_ms = now.saturating_add(delay_ms);
        let message = Arc::new(message);
        if delay_ms > 0 {
            return Some(DelayedWill { delay_ms, message, retain });
        }
        // Nobody is left to be told of a failure.
        let _ = broker.publish(Publish { message, confirm: None, retain });
        None
    }

    fn state(&self) -> State {
        let inflight = &self.outgoing.inflight;
        State { last_id: inflight.last_id(), outgoing: left_over(inflight) }
    }
}

/// Identifiers to go on with in a later connection. The session's own queue will hand out its messages again; what came
/// from elsewhere will not come again to this client, so QoS 2 identifiers of that are only to be released.
fn left_over(inflight: &Inflight) -> Vec<(u16, inflight::Phase)> {
    let mut left = Vec::new();
    for (id, phase) in inflight.iter() {
        match phase {
            inflight::Phase::Sent { qos, held: Some((OWN_QUEUE, lease)) } => {
                left.push((id, inflight::Phase::Resumed { qos, seq: lease.seq }));
            }
            inflight::Phase::Sent { qos: 2, .. } => {
                left.push((id, inflight::Phase::Released { order: u64::MAX, held: None }));
            }
            inflight::Phase::Sent { .. } => {}
            other => left.push((id, other)),
        }
    }
    left.sort_by_key(|(_, phase)| match phase {
        inflight::Phase::Released { order, .. } => *order,
        _ => 0,
    });
    left
}
