//! MQTT-style sessions: who holds one, what it is subscribed to, when it ends, and its will.
//!
//! Owns: the table of sessions and its records. Refuses: routing, queues and timers themselves; it answers what is
//! to be done and the topology task does it.

use super::sys_topics::Census;
use crate::net::outbox::{Outbox, SubscriberSlot};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use engine::worker::command::Asker;
use model::{
    Millis, Name,
    command::{DelayedWill, Reply},
    definition::Subscription,
    ids::ConnectionId,
};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::CodecLookup;

/// Kind of a session's record in the log.
pub(crate) const RECORD_KIND: &str = "session";
/// Kind of the record of a value that a session keeps.
pub(crate) const KEPT_KIND: &str = "session-kept";

/// Virtual host and client id.
pub(crate) type SessionKey = (Name, Name);

/// An OpenSession that waits for the connection before it to leave.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Whom to answer.
    pub(crate) asker: Asker,
    /// Forget what there was.
    pub(crate) clean: bool,
    /// Lifetime after the connection.
    pub(crate) expiry_ms: u64,
}

/// One session.
pub(crate) struct Entry {
    /// The connection that holds it.
    pub(crate) connection: Option<ConnectionId>,
    /// Where direct deliveries go.
    pub(crate) slot: Arc<SubscriberSlot>,
    /// Lifetime after the connection; 0 ends with it, `u64::MAX` never.
    pub(crate) expiry_ms: u64,
    /// What the protocol wants back; empty while somebody holds it.
    pub(crate) state: Bytes,
    /// Values that it keeps one by one.
    pub(crate) kept: BTreeMap<u32, Bytes>,
    /// Its subscriptions.
    pub(crate) subscriptions: Vec<Subscription>,
    /// When it ends, while nobody holds it.
    pub(crate) ends_at: Option<Millis>,
    /// A will that waits.
    pub(crate) will: Option<(Millis, DelayedWill)>,
    /// Who waits for the holder to leave.
    pub(crate) waiting: Option<Opening>,
}

impl Entry {
    fn new() -> Self {
        Self {
            connection: None,
            slot: Arc::default(),
            expiry_ms: 0,
            state: Bytes::new(),
            kept: BTreeMap::new(),
            subscriptions: Vec::new(),
            ends_at: None,
            will: None,
            waiting: None,
        }
    }
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    entries: FxHashMap<SessionKey, Entry>,
    holders: FxHashMap<ConnectionId, SessionKey>,
    wake_at: Option<Millis>,
    /// Sessions that ended because their time was over.
    expired: u64,
}

/// Name of a session's queue.
pub(crate) fn queue_name(client_id: &str) -> Name {
    format!("mqtt.session.{client_id}").into()
}

/// Name of a shared subscription's queue.
pub(crate) fn share_queue_name(group: &str, filter: &str) -> Name {
    format!("mqtt.share.{group}.{filter}").into()
}

impl Sessions {
    /// The session under this key.
    pub(crate) fn entry(&mut self, key: &SessionKey) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    /// The session that a connection holds.
    pub(crate) fn held_by(&self, connection: ConnectionId) -> Option<SessionKey> {
        self.holders.get(&connection).cloned()
    }

    /// A new session without subscriptions.
    pub(crate) fn insert(&mut self, key: SessionKey) -> &mut Entry {
        self.entries.entry(key).or_insert_with(Entry::new)
    }

    /// Forgets a session.
    pub(crate) fn remove(&mut self, key: &SessionKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(connection) = entry.connection {
            self.holders.remove(&connection);
        }
        Some(entry)
    }

    /// Gives a session to a connection.
    pub(crate) fn hold(
        &mut self,
        key: &SessionKey,
        connection: ConnectionId,
        outbox: Arc<Outbox>,
        expiry_ms: u64,
    ) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.connection = Some(connection);
            entry.expiry_ms = expiry_ms;
            entry.ends_at = None;
            entry.will = None;
            entry.slot.attach(Some((connection, outbox)));
            self.holders.insert(connection, key.clone());
        }
    }

    /// A connection is gone; gives back its session's key.
    pub(crate) fn release(&mut self, connection: ConnectionId, now: Millis) -> Option<SessionKey> {
        let key = self.holders.remove(&connection)?;
        let entry = self.entries.get_mut(&key)?;
        entry.connection = None;
        entry.slot.attach(None);
        entry.ends_at = now.checked_add(entry.expiry_ms);
        let times = [entry.ends_at, entry.will.as_ref().map(|(at, _)| *at), self.wake_at];
        self.wake_at = times.into_iter().flatten().min();
        Some(key)
    }

    /// Sessions still subscribed to a shared subscription of a virtual host.
    pub(crate) fn sharers(&self, vhost: &str, group: &str, filter: &str) -> usize {
        let shares = |s: &Subscription| s.share.as_deref() == Some(group) && s.filter == filter;
        self.entries
            .iter()
            .filter(|((v, _), entry)| v == vhost && entry.subscriptions.iter().any(shares))
            .count()
    }

    /// The next time at which a session may end or a will may be due.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.wake_at
    }

    /// Looks for the next deadline anew, after those that were due are dealt with.
    pub(crate) fn rearm(&mut self) {
        let waiting = self.entries.values().filter(|entry| entry.connection.is_none());
        let times = waiting.flat_map(|entry| [entry.ends_at, entry.will.as_ref().map(|(at, _)| *at)]);
        self.wake_at = times.flatten().min();
    }

    /// Wills that are due, taken out.
    pub(crate) fn due_wills(&mut self, now: Millis) -> Vec<(Name, DelayedWill)> {
        let mut due = Vec::new();
        for ((vhost, _), entry) in &mut self.entries {
            if entry
                .will
                .as_ref()
                .is_some_and(|(at, _)| *at <= now || entry.ends_at.is_some_and(|end| end <= now))
            {
                due.extend(entry.will.take().map(|(_, will)| (vhost.clone(), will)));
            }
        }
        due
    }

    /// Sessions whose time is over.
    pub(crate) fn ended(&mut self, now: Millis) -> Vec<SessionKey> {
        let over = self.entries.iter().filter(|(_, entry)| entry.ends_at.is_some_and(|end| end <= now));
        let ended: Vec<SessionKey> = over.map(|(key, _)| key.clone()).collect();
        self.expired += ended.len() as u64;
        ended
    }

    /// How many there are, and what they are subscribed to.
    pub(crate) fn census(&self) -> Census {
        let mut census =
            Census { sessions: self.entries.len() as u64, expired: self.expired, ..Census::default() };
        for entry in self.entries.values() {
            census.subscriptions += entry.subscriptions.len() as u64;
            let shared = entry.subscriptions.iter().filter(|subscription| subscription.share.is_some());
            census.shared_subscriptions += shared.count() as u64;
        }
        census
    }

    /// Takes in a record of the log.
    pub(crate) fn restore(
        &mut self,
        key: &str,
        value: Option<&[u8]>,
        codecs: &CodecLookup,
    ) -> Result<(), String> {
        let key = parse_record_key(key).ok_or("the key is not a virtual host and a client id")?;
        let Some(value) = value else {
            self.remove(&key);
            return Ok(());
        };
        let restored = from_record(value, codecs)?;
        let entry = self.insert(key);
        let kept = std::mem::take(&mut entry.kept);
        *entry = Entry { kept, ..restored };
        Ok(())
    }

    /// Takes in the record of a kept value; one without its session is left over from a session that ended.
    pub(crate) fn restore_kept(&mut self, key: &str, value: Option<Bytes>) -> Result<(), String> {
        let wrong = || "the key is not a session and a number".to_owned();
        let (session, slot) = key.rsplit_once('\0').ok_or_else(wrong)?;
        let slot = slot.parse().map_err(|_| wrong())?;
        let session = parse_record_key(session).ok_or_else(wrong)?;
        if let Some(entry) = self.entries.get_mut(&session) {
            match value {
                Some(value) => entry.kept.insert(slot, value),
                None => entry.kept.remove(&slot),
            };
        }
        Ok(())
    }

    /// After recovery: sessions that somebody held at the end of the log begin to wait now. Gives those whose end is
    /// to be recorded.
    pub(crate) fn begin_waiting(&mut self, now: Millis) -> Vec<SessionKey> {
        let mut begun = Vec::new();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.ends_at.is_none()) {
            entry.ends_at = now.checked_add(entry.expiry_ms);
            begun.extend(entry.ends_at.map(|_| key.clone()));
        }
        begun
    }

    /// Everything that sessions keep.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (u32, &Bytes)> {
        self.entries.values().flat_map(|entry| entry.kept.iter().map(|(slot, value)| (*slot, value)))
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<SessionKey> {
        self.entries.keys().cloned().collect()
    }
}

/// The answer to a session's opener.
pub(crate) fn opened(entry: &Entry, state: Bytes, client_id: &str, present: bool) -> Reply {
    Reply::SessionOpened {
        present,
        queue: queue_name(client_id),
        state,
        subscriptions: entry.subscriptions.clone(),
        kept: entry.kept.iter().map(|(slot, value)| (*slot, value.clone())).collect(),
    }
}

/// The log key of a value that a session keeps.
pub(crate) fn kept_key(key: &SessionKey, slot: u32) -> Name {
    format!("{}\0{slot}", record_key(key)).into()
}

/// The log key of a session: virtual host and client id, with a separator that neither can hold.
pub(crate) fn record_key(key: &SessionKey) -> Name {
    format!("{}\0{}", key.0, key.1).into()
}

/// Reads [`record_key`] back.
pub(crate) fn parse_record_key(key: &str) -> Option<SessionKey> {
    let (vhost, client_id) = key.split_once('\0')?;
    Some((vhost.into(), client_id.into()))
}

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    expiry_ms: u64,
    state: String,
    subscriptions: Vec<SubscriptionRecord>,
    /// Absent while somebody holds it, and when it never ends.
    ends_at: Option<Millis>,
    will: Option<WillRecord>,
}

#[derive(Serialize, Deserialize)]
struct WillRecord {
    at: Millis,
    retain: bool,
    message: String,
}

#[derive(Serialize, Deserialize)]
struct SubscriptionRecord {
    filter: String,
    via: u32,
    reliable: bool,
    no_local: bool,
    share: Option<String>,
    options: String,
}

/// A session as it stands in the log, to end at `ends_at`.
pub(crate) fn to_record(entry: &Entry, ends_at: Option<Millis>) -> Bytes {
    let subscriptions = entry.subscriptions.iter().map(|s| SubscriptionRecord {
        filter: s.filter.to_string(),
        via: s.via,
        reliable: s.reliable,
        no_local: s.no_local,
        share: s.share.as_ref().map(ToString::to_string),
        options: BASE64.encode(&s.options),
    });
    let record = EntryRecord {
        expiry_ms: entry.expiry_ms,
        state: BASE64.encode(&entry.state),
        subscriptions: subscriptions.collect(),
        ends_at,
        will: entry.will.as_ref().map(|(at, will)| WillRecord {
            at: *at,
            retain: will.retain,
            message: BASE64.encode(store::message_bytes(&will.message)),
        }),
    };
    serde_json::to_vec(&record).unwrap_or_default().into()
}

/// What a record says.
fn from_record(json: &[u8], codecs: &CodecLookup) -> Result<Entry, String> {
    let record: EntryRecord = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let decode = |text: &str| BASE64.decode(text).map(Bytes::from).map_err(|error| error.to_string());
    let mut subscriptions = Vec::new();
    for s in record.subscriptions {
        subscriptions.push(Subscription {
            filter: s.filter.into(),
            via: s.via,
            reliable: s.reliable,
            no_local: s.no_local,
            share: s.share.map(Name::from),
            options: decode(&s.options)?,
        });
    }
    let will = |will: WillRecord| {
        let message = store::message_from(&decode(&will.message)?, codecs)?;
        Ok::<_, String>((will.at, DelayedWill { delay_ms: 0, message, retain: will.retain }))
    };
    Ok(Entry {
        expiry_ms: record.expiry_ms,
        state: decode(&record.state)?,
        subscriptions,
        ends_at: record.ends_at,
        will: record.will.map(will).transpose()?,
        ..Entry::new()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use model::message::{Message, Native};

    fn codecs() -> CodecLookup {
        Arc::new(crate::registry::codec)
    }

    fn key() -> SessionKey {
        ("/".into(), "c".into())
    }

    fn restored(value: &[u8], now: Millis) -> (Sessions, Vec<SessionKey>) {
        let mut sessions = Sessions::default();
        sessions.restore(&record_key(&key()), Some(value), &codecs()).unwrap();
        let begun = sessions.begin_waiting(now);
        sessions.rearm();
        (sessions, begun)
    }

    #[test]
    fn sessions_and_delayed_wills_come_back_with_their_times() {
        let native =
            Native { codec: crate::registry::codec("mqtt").unwrap(), properties: Bytes::from_static(&[1]) };
        let message =
            Message::new("amq.topic".into(), "w".into(), native, Bytes::from_static(b"bye").into(), 7);
        let mut entry = Entry::new();
        entry.expiry_ms = 5000;
        entry.state = Bytes::from_static(b"s");
        entry.will = Some((1500, DelayedWill { delay_ms: 9, message: Arc::new(message), retain: true }));
        entry.subscriptions = vec![Subscription {
            filter: "a.#".into(),
            via: 3,
            reliable: true,
            no_local: true,
            share: Some("g".into()),
            options: Bytes::from_static(&[2]),
        }];
        let (mut sessions, begun) = restored(&to_record(&entry, Some(6000)), 1000);
        assert!(begun.is_empty());
        let found = sessions.entry(&key()).unwrap();
        assert_eq!((found.expiry_ms, found.ends_at, &found.state[..]), (5000, Some(6000), &b"s"[..]));
        assert_eq!(found.subscriptions, entry.subscriptions);
        assert_eq!(sessions.next_deadline(), Some(1500));
        assert!(sessions.due_wills(1499).is_empty());
        let due = sessions.due_wills(1500);
        assert_eq!((due.len(), due[0].1.retain, &due[0].1.message.body.joined()[..]), (1, true, &b"bye"[..]));
        assert_eq!((sessions.ended(5999).len(), sessions.ended(6000).len()), (0, 1));
    }

    #[test]
    fn who_was_connected_at_a_crash_waits_from_the_start_on() {
        let mut entry = Entry::new();
        entry.expiry_ms = 5000;
        let (sessions, begun) = restored(&to_record(&entry, None), 1000);
        assert_eq!((begun, sessions.next_deadline()), (vec![key()], Some(6000)));
        entry.expiry_ms = u64::MAX;
        let (sessions, begun) = restored(&to_record(&entry, None), 1000);
        assert_eq!((begun, sessions.next_deadline()), (vec![], None));
    }
}
