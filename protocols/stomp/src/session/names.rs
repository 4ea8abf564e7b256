//! Names that a session makes up. Nobody can guess them who does not know the connection's random bits, and they do
//! not give those away.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use md5::{Digest, Md5};
use model::Name;

/// The names of one session.
pub(super) struct Names {
    random: u128,
    made: u64,
}

/// 22 characters that stand for `parts`.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

impl Names {
    pub(super) fn new(random: u128) -> Self {
        Self { random, made: 0 }
    }

    /// The session's own.
    pub(super) fn session(&self) -> Name {
        format!("session-{}", digest(&[b"session", &self.random.to_be_bytes()])).into()
    }

    /// Another one each time.
    pub(super) fn fresh(&mut self, prefix: &str) -> Name {
        self.made += 1;
        format!("{prefix}-{}", digest(&[&self.random.to_be_bytes(), &self.made.to_be_bytes()])).into()
    }
}

/// The queue of a durable subscription: the same for every connection that subscribes to this destination with this
/// id. A name, not a secret.
pub(super) fn durable_subscription(exchange: &str, key: &str, id: &str) -> Name {
    format!("stomp-subscription-{}", digest(&[exchange.as_bytes(), key.as_bytes(), id.as_bytes()])).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_and_stable() {
        let mut names = Names::new(7);
        assert_eq!(names.session().len(), "session-".len() + 22);
        assert_ne!(names.fresh("a"), names.fresh("a"));
        assert_eq!(durable_subscription("x", "k", "i"), durable_subscription("x", "k", "i"));
        assert_ne!(durable_subscription("x", "ki", ""), durable_subscription("x", "k", "i"));
    }
}
