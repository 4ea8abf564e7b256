//! From the client to the broker: PUBLISH, PUBREL, and the queue that a publish may have to wait for.
//!
//! QoS 1 is acknowledged once its confirm is there. QoS 2 is held until PUBREL, published then, and completed once its
//! confirm is there; the order of messages is that of PUBREL. A session that outlives its connection keeps what it
//! holds with the broker, and PUBREC waits for that: after PUBREC the client does not send the message again.

use super::{Busy, MqttSession, Pending, Turn, acks::Acks, kept};
use crate::{
    codec::{
        acks::{self, first},
        publish::{self, Publish},
    },
    convert::{self, MQTT},
    errors::{Refusal, publish_code, reason},
    statistics::size,
    topic::{self, Address, Place},
};
use bytes::{BufMut, Bytes, BytesMut};
use model::{
    Millis, Name,
    command::{self, Op, Reply},
    definition::QueueDeclare,
    ids::ConfirmToken,
    limits::COPY_OUT_BELOW_BYTES,
    message::{Message, Native},
};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// User property of a publish to `$stream/`: what to shard by instead of the client identifier.
const PARTITION_KEY: &str = "partition-key";

/// A message ready to be routed.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) message: Arc<Message>,
    pub(super) retain: bool,
    /// Declare the queue when nothing takes the message.
    pub(super) declare: bool,
    /// The acknowledgement that waits for it.
    pub(super) token: Option<ConfirmToken>,
}

impl Ready {
    pub(super) fn publish(&self, confirm: Option<ConfirmToken>) -> command::Publish {
        command::Publish { message: self.message.clone(), confirm, retain: self.retain }
    }

    fn cost(&self) -> usize {
        self.message.cost_bytes()
    }
}

/// What a topic alias stands for.
#[derive(Clone, Debug)]
struct Alias {
    topic: Name,
    /// `None` when it has to be looked up again.
    address: Option<Result<Address, u8>>,
}

/// State of the direction from the client.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(super) acks: Acks,
    /// QoS 2 messages that wait for PUBREL.
    held: FxHashMap<u16, Ready>,
    held_bytes: usize,
    /// How many messages got an id.
    message_ids: u128,
    /// By topic alias, from 1.
    aliases: Vec<Option<Alias>>,
    /// The topic published to last and its address: most clients have few topics.
    last_topic: Vec<u8>,
    last_address: Option<Result<Address, u8>>,
}

impl Incoming {
    /// What the client may do has changed.
    pub(super) fn forget_decisions(&mut self) {
        self.last_address = None;
        self.aliases.iter_mut().flatten().for_each(|alias| alias.address = None);
    }

    /// Holds a message, in place of one with the same identifier.
    pub(super) fn hold(&mut self, packet_id: u16, ready: Ready) {
        self.take(packet_id);
        self.held_bytes += ready.cost();
        self.held.insert(packet_id, ready);
    }

    fn take(&mut self, packet_id: u16) -> Option<Ready> {
        let ready = self.held.remove(&packet_id)?;
        self.held_bytes = self.held_bytes.saturating_sub(ready.cost());
        Some(ready)
    }
}

/// What a PUBLISH or a will says besides where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Property section, checked.
    pub(super) properties: &'a [u8],
    /// All of the property section travels with the message.
    pub(super) verbatim: bool,
    pub(super) expiry_s: Option<u32>,
    pub(super) payload: &'a [u8],
}

impl<'a> From<&Publish<'a>> for Content<'a> {
    fn from(publish: &Publish<'a>) -> Self {
        Self {
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
            verbatim: publish.alias.is_none() && publish.expiry_s.is_none(),
            expiry_s: publish.expiry_s,
            payload: publish.payload,
        }
    }
}

/// Makes a message. A short payload is copied, so that the message does not pin `frame`, the packet's own buffer; a
/// long one is a slice of it.
pub(super) fn compose(
    content: Content<'_>,
    address: &Address,
    frame: Option<&Bytes>,
    now: Millis,
) -> Message {
    let Content { properties, payload, .. } = content;
    let flags = convert::flags(content.qos, content.retain);
    let shared =
        frame.filter(|_| payload.len() >= COPY_OUT_BELOW_BYTES).map(|frame| frame.slice_ref(payload));
    let (native, body) = if properties.is_empty() {
        (convert::bare(flags), shared.unwrap_or_else(|| Bytes::copy_from_slice(payload)))
    } else {
        let copied = if shared.is_some() { &[] } else { payload };
        let mut block = BytesMut::with_capacity(1 + properties.len() + copied.len());
        block.put_u8(flags);
        if content.verbatim {
            block.put_slice(properties);
        } else {
            publish::put_forwarded(&mut block, properties);
        }
        let native_len = block.len();
        block.put_slice(copied);
        let mut native = block.freeze();
        let copied = native.split_off(native_len);
        (Native { codec: &MQTT, properties: native }, shared.unwrap_or(copied))
    };
    let mut message = Message::new(address.exchange.clone(), address.key.clone(), native, body.into(), now);
    message.durable = content.qos > 0;
    message.ttl_ms = content.expiry_s.map(|seconds| u64::from(seconds) * 1000);
    message
}

impl MqttSession {
    pub(super) fn on_publish(
        &mut self,
        flags: u8,
        body: &[u8],
        frame: Option<&Bytes>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refusal> {
        let publish = publish::decode(flags, body, self.version)?;
        self.tally.publishes_received += 1;
        self.tally.publish_bytes_received += size(publish.payload.len());
        let address = match self.address(&publish)? {
            Ok(_) if publish.utf8 && std::str::from_utf8(publish.payload).is_err() => {
                return self.decline(&publish, reason::PAYLOAD_FORMAT_INVALID, turn);
            }
            Ok(address) => address,
            Err(code) => return self.decline(&publish, code, turn),
        };
        let mut message = compose(Content::from(&publish), &address, frame, turn.now);
        if address.place == Place::Stream {
            message.extra_mut().partition_key = Some(self.partition_key(&message));
        }
        if publish.qos == 2 && self.session_expiry_ms > 0 {
            message.extra_mut().message_id = Some(self.next_message_id());
        }
        let mut ready = Ready {
            message: Arc::new(message),
            retain: publish.retain,
            declare: address.place == Place::Queue,
            token: None,
        };
        match publish.qos {
            0 => self.route(ready, turn),
            1 => {
                ready.token = Some(self.owe(publish.packet_id, false)?);
                self.route(ready, turn);
            }
            _ => self.hold(&publish, ready, turn)?,
        }
        Ok(())
    }

    /// The address of a publish, by topic or alias. Outer errors end the connection, inner ones refuse the message.
    fn address(&mut self, publish: &Publish<'_>) -> Result<Result<Address, u8>, Refusal> {
        let Some(alias) = publish.alias else { return self.address_of(publish.topic) };
        if alias > self.config.topic_alias_max {
            return Err(Refusal::new(reason::TOPIC_ALIAS_INVALID, "topic alias above the maximum"));
        }
        let index = usize::from(alias).saturating_sub(1);
        if publish.topic.is_empty() {
            let known = self.incoming.aliases.get(index).and_then(Option::as_ref);
            let alias = known.ok_or(Refusal::protocol("unknown topic alias"))?;
            return match &alias.address {
                Some(address) => Ok(address.clone()),
                None => {
                    let topic = alias.topic.clone();
                    self.address_of(topic.as_bytes())
                }
            };
        }
        let address = self.address_of(publish.topic)?;
        if self.incoming.aliases.len() <= index {
            self.incoming.aliases.resize(index + 1, None);
        }
        if let Some(slot) = self.incoming.aliases.get_mut(index) {
            let topic = str::from_utf8(publish.topic).unwrap_or_default().into();
            *slot = Some(Alias { topic, address: Some(address.clone()) });
        }
        Ok(address)
    }

    fn address_of(&mut self, topic: &[u8]) -> Result<Result<Address, u8>, Refusal> {
        if let Some(address) = &self.incoming.last_address
            && self.incoming.last_topic == topic
        {
            return Ok(address.clone());
        }
        let name = topic::check_name(topic)?;
        let address = self.check_write(name).and_then(|()| topic::address(name, &self.config));
        self.incoming.last_topic.clear();
        self.incoming.last_topic.extend_from_slice(topic);
        self.incoming.last_address = Some(address.clone());
        Ok(address)
    }

    /// The user property `partition-key`, else the client identifier.
    fn partition_key(&self, message: &Message) -> Name {
        let chosen = message.envelope().headers.str(PARTITION_KEY).filter(|key| !key.is_empty());
        chosen.map_or_else(|| self.client_id.clone(), Name::from)
    }

    /// An id that no other message has: after a crash it tells whether a held message was published.
    fn next_message_id(&mut self) -> Name {
        self.incoming.message_ids += 1;
        let [a, b, c, d, e] = uuid_parts(self.seed.random.wrapping_add(self.incoming.message_ids));
        format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}").into()
    }

    /// Owes an acknowledgement. Errors: the client does not wait for those that it is owed.
    fn owe(&mut self, packet_id: u16, release: bool) -> Result<ConfirmToken, Refusal> {
        if self.incoming.acks.len() >= self.config.unconfirmed_max {
            return Err(Refusal::new(reason::RECEIVE_MAX_EXCEEDED, "too many unconfirmed publishes"));
        }
        Ok(self.incoming.acks.owe(packet_id, release))
    }

    /// Answers a publish that goes nowhere.
    fn decline(&mut self, publish: &Publish<'_>, code: u8, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        match publish.qos {
            0 if code == reason::PAYLOAD_FORMAT_INVALID => {
                return Err(Refusal::new(code, "payload is not UTF-8"));
            }
            0 => {}
            1 => {
                let token = self.owe(publish.packet_id, false)?;
                self.decide(token, code, true, turn);
            }
            _ => self.say(first::PUBREC, publish.packet_id, code, turn),
        }
        Ok(())
    }

    fn hold(&mut self, publish: &Publish<'_>, ready: Ready, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let id = publish.packet_id;
        if self.incoming.held_bytes.saturating_add(ready.cost()) > self.config.held_bytes_max {
            return Err(Refusal::new(reason::RECEIVE_MAX_EXCEEDED, "too many unreleased publishes"));
        }
        if self.session_expiry_ms > 0 {
            let value = Some(kept::message(&ready));
            self.request(Op::Keep { slot: id.into(), value }, Pending::Kept(id), turn);
        } else {
            self.say(first::PUBREC, id, reason::SUCCESS, turn);
        }
        self.incoming.hold(id, ready);
        Ok(())
    }

    /// A held message is safe, or can not be made so.
    pub(super) fn on_kept(&mut self, packet_id: u16, reply: &Reply, turn: &mut Turn<'_>) {
        let code = match reply {
            Reply::Failed(error) => publish_code(error),
            _ => reason::SUCCESS,
        };
        self.say(first::PUBREC, packet_id, code, turn);
    }

    /// Sends one of the four acknowledgements.
    pub(super) fn say(&mut self, first: u8, packet_id: u16, code: u8, turn: &mut Turn<'_>) {
        self.tally.messages_sent += 1;
        acks::put(&mut turn.out.wire.tail, first, self.version, packet_id, code);
    }

    pub(super) fn on_pubrel(&mut self, packet_id: u16, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let token = self.owe(packet_id, true)?;
        match self.incoming.take(packet_id) {
            Some(ready) => self.route(Ready { token: Some(token), ..ready }, turn),
            None => self.decide(token, reason::SUCCESS, true, turn),
        }
        Ok(())
    }

    /// Writes the acknowledgements that are due. What was released is kept no longer.
    pub(super) fn acknowledge(&mut self, turn: &mut Turn<'_>) {
        let mut completed = Vec::new();
        let sent = self.incoming.acks.flush(&mut turn.out.wire.tail, self.version, &mut completed);
        self.tally.messages_sent += sent;
        if self.session_expiry_ms > 0 {
            for slot in completed {
                self.request(Op::Keep { slot: slot.into(), value: None }, Pending::Extra, turn);
            }
        }
    }

    fn decide(&mut self, token: ConfirmToken, code: u8, done: bool, turn: &mut Turn<'_>) {
        self.incoming.acks.decide(token, code, done);
        self.acknowledge(turn);
    }

    fn route(&mut self, ready: Ready, turn: &mut Turn<'_>) {
        let outcome = turn.broker.publish(ready.publish(ready.token));
        let (code, done) = match outcome {
            Ok(routed) if routed.destinations == 0 && !routed.pending => {
                if ready.declare {
                    return self.declare_for(ready, turn);
                }
                (reason::NO_MATCHING_SUBSCRIBERS, true)
            }
            Ok(routed) if routed.destinations == 0 => (reason::NO_MATCHING_SUBSCRIBERS, false),
            Ok(routed) => (reason::SUCCESS, !routed.pending),
            Err(error) => (publish_code(&error), true),
        };
        if let Some(token) = ready.token {
            self.decide(token, code, done, turn);
        }
    }

    /// Nothing took a message for a queue: declares it, and holds up what comes after.
    fn declare_for(&mut self, ready: Ready, turn: &mut Turn<'_>) {
        let declare = queue_declare(ready.message.routing_key.clone());
        self.busy = Some(Box::new(Busy::Publish(ready)));
        self.request(Op::DeclareQueue(declare), Pending::DeclareForPublish, turn);
    }

    pub(super) fn on_declared(&mut self, reply: Reply, turn: &mut Turn<'_>) {
        let Some(Busy::Publish(ready)) = self.busy.take().map(|busy| *busy) else { return };
        match (reply, ready.token) {
            (Reply::Failed(error), Some(token)) => self.decide(token, publish_code(&error), true, turn),
            (Reply::Failed(_), None) => {}
            _ => self.route(Ready { declare: false, ..ready }, turn),
        }
    }
}

/// The five parts of a UUID.
pub(super) fn uuid_parts(bits: u128) -> [u64; 5] {
    let part = |shift: u32, width: u32| (bits >> shift) as u64 & ((1 << width) - 1);
    [part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48)]
}

/// A queue as MQTT names it into being: durable, or whatever it already is.
pub(super) fn queue_declare(name: Name) -> QueueDeclare {
    QueueDeclare { name, durable: true, attach: true, ..QueueDeclare::default() }
}
