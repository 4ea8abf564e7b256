//! SASL mechanisms of `connection.start-ok`: PLAIN, RabbitMQ's AMQPLAIN, and by configuration ANONYMOUS and EXTERNAL.

use crate::{codec::table, config::AmqpConfig};
use bytes::Bytes;
use model::{
    Name,
    command::Credentials,
    session::SessionSeed,
    value::{Table, Value},
};

/// Names of the mechanisms offered, separated by spaces.
pub(crate) fn mechanisms(config: &AmqpConfig, seed: &SessionSeed) -> String {
    let mut names = String::from("PLAIN AMQPLAIN");
    if config.anonymous {
        names.push_str(" ANONYMOUS");
    }
    if offers_external(config, seed) {
        names.push_str(" EXTERNAL");
    }
    names
}

fn offers_external(config: &AmqpConfig, seed: &SessionSeed) -> bool {
    config.external && seed.certificate_name.is_some()
}

/// What the client shows; `None` when the mechanism is not offered or its response makes no sense.
pub(crate) fn credentials(
    mechanism: &str,
    response: &[u8],
    config: &AmqpConfig,
    seed: &SessionSeed,
) -> Option<Credentials> {
    match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        "ANONYMOUS" if config.anonymous => Some(Credentials::Anonymous),
        "EXTERNAL" if offers_external(config, seed) => Some(Credentials::External),
        _ => None,
    }
}

/// RFC 4616: `authzid NUL authcid NUL passwd`; the authorization identity is not used.
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Credentials::Password {
        user: Name::try_from(user).ok()?,
        password: Bytes::copy_from_slice(password),
    })
}

/// A table without its length, with LOGIN and PASSWORD.
fn amqplain(response: &[u8]) -> Option<Credentials> {
    let table = table::parse_table(response).ok()?;
    let user = Name::try_from(bytes_of(&table, "LOGIN")?).ok()?;
    Some(Credentials::Password { user, password: bytes_of(&table, "PASSWORD")? })
}

fn bytes_of(table: &Table, name: &str) -> Option<Bytes> {
    match table.get(name)? {
        Value::Str(text) => Some(text.as_bytes().clone()),
        Value::Bytes(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn check(mechanism: &str, response: &[u8], expected: Option<(&str, &[u8])>) {
        let seed = SessionSeed {
            peer: Name::new(),
            local: Name::new(),
            loopback: true,
            tls: false,
            certificate_name: None,
            random: 0,
        };
        let found = credentials(mechanism, response, &AmqpConfig::default(), &seed);
        let expected = expected.map(|(user, password)| Credentials::Password {
            user: user.into(),
            password: Bytes::copy_from_slice(password),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_what_is_offered() {
        check("PLAIN", b"\0guest\0se\0cret", Some(("guest", b"se\0cret")));
        check("PLAIN", b"other\0u\0", Some(("u", b"")));
        check("PLAIN", b"\0guest", None);
        check("AMQPLAIN", b"\x05LOGINS\0\0\0\x01u\x08PASSWORDS\0\0\0\x02\xff\x01", Some(("u", b"\xff\x01")));
        check("AMQPLAIN", b"\x05LOGINS\0\0\0\x01u", None);
        check("ANONYMOUS", b"", None);
        check("EXTERNAL", b"", None);
        check("CRAM-MD5", b"", None);
    }
}
