//! JSON pattern matching in two dialects: EventBridge event patterns and SNS filter policies.
//!
//! Owns: compiling a pattern's text, with the reason when it is not one, and matching. Refuses: to know where the
//! pattern came from, and to answer in a service's own envelope of errors.
//!
//! A pattern is an object; a member leads to another object or to a list of matchers of which one has to accept the
//! field; all members have to match. `$or` is a list of objects of which one has to. A field that is an array is
//! matched by any of its elements, and one element has to satisfy all that is asked below it.
//! Every pattern has limits on its text, nesting and number of matchers, and every match a budget of steps, after
//! which it does not match.

mod event;
mod matcher;
mod pattern;
mod sns;
mod wildcard;

pub use event::{EventPattern, EventPredicate, expand_dotted};
pub use sns::{SnsPolicy, SnsPredicate, SnsScope};

/// Longest text of a pattern.
pub const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Most matchers of a pattern.
pub const PATTERN_MATCHERS_MAX: usize = 4096;
/// Deepest nesting of a pattern.
pub const PATTERN_DEPTH_MAX: usize = 64;
/// Steps that one match may take.
pub const MATCH_STEPS_MAX: u32 = 1_000_000;

use model::message::Message;
use serde_json::Value as Json;

/// A body as JSON, kept in a [`model::behaviour::Scratch`] for the next predicate.
struct Parsed {
    plain: Option<Json>,
    /// With dotted names expanded, once asked for; `None` within where that is the same.
    expanded: Option<Option<Json>>,
}

impl Parsed {
    fn of(message: &Message) -> Self {
        Self { plain: serde_json::from_slice(&message.body.joined()).ok(), expanded: None }
    }

    fn plain(&self) -> Option<&Json> {
        self.plain.as_ref()
    }

    fn expanded(&mut self) -> Option<&Json> {
        let plain = self.plain.as_ref()?;
        let expand = || event::has_dotted(plain).then(|| expand_dotted(plain.clone()));
        Some(self.expanded.get_or_insert_with(expand).as_ref().unwrap_or(plain))
    }
}
