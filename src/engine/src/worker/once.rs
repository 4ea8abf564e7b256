//! Messages that a session had released just before a crash: the session still holds them, and the log may have them.
//! When the session publishes one again, a worker that has it lets it pass.
//!
//! Owns: the ids of such messages. Refuses: knowing sessions; it is told what they hold.

use model::{Name, message::Message, record::Record};
use rustc_hash::FxHashSet;

/// Ids of messages that are held by sessions, and of those the ones that are in this worker's log.
#[derive(Debug, Default)]
pub(super) struct Once {
    held: FxHashSet<Name>,
    published: FxHashSet<Name>,
}

impl Once {
    /// Before the log is read: what sessions hold.
    pub(super) fn expect(&mut self, held: FxHashSet<Name>) {
        self.held = held;
    }

    /// The log has this.
    pub(super) fn note(&mut self, record: &Record) {
        if self.held.is_empty() {
            return;
        }
        match record {
            Record::Enqueue { message, .. } => self.note_message(message),
            Record::Append { messages, .. } => messages.iter().for_each(|message| self.note_message(message)),
            _ => {}
        }
    }

    fn note_message(&mut self, message: &Message) {
        if let Some(id) = id(message).filter(|id| self.held.contains(*id)) {
            self.published.insert(id.clone());
        }
    }

    /// The log is read.
    pub(super) fn recovered(&mut self) {
        self.held = FxHashSet::default();
    }

    /// True when this message was published before the crash; asked once for each.
    pub(super) fn was_published(&mut self, message: &Message) -> bool {
        !self.published.is_empty() && id(message).is_some_and(|id| self.published.remove(id))
    }
}

/// The id of a message as its session published it: a dead letter is another matter.
fn id(message: &Message) -> Option<&Name> {
    let extra = message.extra.as_ref().filter(|extra| extra.deaths.is_empty())?;
    extra.message_id.as_ref()
}
