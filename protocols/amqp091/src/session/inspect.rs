//! What the broker must know of a publish's properties, found in one look, with RabbitMQ's complaints about them.

use crate::{
    codec::{
        properties::{Properties, filter_headers},
        table::{RawEntries, RawEntry, kind_word, parse_entry_value},
    },
    convert::GROUP_HEADER,
    errors::AmqpError,
};
use model::{Name, message::Extra, value::Value};

/// The pseudo queue of direct reply-to, and what the names of the real ones begin with.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Largest `expiration`, milliseconds: RabbitMQ's ten years.
const EXPIRATION_MS_MAX: u64 = 10 * 365 * 86_400 * 1000;

/// Whose publish it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher<'a> {
    /// Authenticated user.
    pub(crate) user: &'a str,
    /// Queue behind the channel's direct reply-to consumer.
    pub(crate) reply_queue: Option<&'a Name>,
}

/// What the properties say to the broker.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// delivery-mode 2.
    pub(crate) durable: bool,
    /// priority.
    pub(crate) priority: u8,
    /// expiration.
    pub(crate) ttl_ms: Option<u64>,
    /// CC and BCC keys, message group.
    pub(crate) extra: Option<Box<Extra>>,
    /// The properties to keep instead of those that came: without BCC, with the real reply-to.
    pub(crate) rewritten: Option<Vec<u8>>,
}

/// Looks through the properties of a publish.
/// Errors: 502 for what cannot be parsed, 406 for values that RabbitMQ refuses.
pub(crate) fn inspect(block: &[u8], publisher: Publisher<'_>) -> Result<Facts, AmqpError> {
    let mut properties = Properties::parse(block)?;
    let mut facts = Facts {
        durable: is_durable(properties.delivery_mode)?,
        priority: properties.priority.unwrap_or(0),
        ttl_ms: properties.expiration.map(expiration).transpose()?,
        ..Facts::default()
    };
    if let Some(user) = properties.user_id.filter(|user| *user != publisher.user.as_bytes()) {
        let (claimed, user) = (String::from_utf8_lossy(user), publisher.user);
        return Err(AmqpError::precondition(format!(
            "user_id property set to '{claimed}' but authenticated user was '{user}'"
        )));
    }
    let has_bcc = match properties.headers {
        Some(headers) => inspect_headers(headers, &mut facts)?,
        None => false,
    };
    let asks_here = properties.reply_to == Some(REPLY_TO.as_bytes());
    if has_bcc || asks_here {
        let headers = filter_headers(properties.headers.unwrap_or_default(), |name| name == b"BCC");
        properties.headers = properties.headers.map(|_| headers.as_slice());
        if asks_here {
            let queue = publisher.reply_queue;
            let queue = queue.ok_or_else(|| AmqpError::precondition("fast reply consumer does not exist"))?;
            properties.reply_to = Some(queue.as_bytes());
        }
        let mut rewritten = Vec::with_capacity(block.len() + 64);
        properties.put(&mut rewritten);
        facts.rewritten = Some(rewritten);
    }
    Ok(facts)
}

fn is_durable(delivery_mode: Option<u8>) -> Result<bool, AmqpError> {
    match delivery_mode {
        None | Some(1) => Ok(false),
        Some(2) => Ok(true),
        Some(mode) => {
            Err(AmqpError::precondition(format!("invalid message: {{delivery_mode_unknown,{mode}}}")))
        }
    }
}

/// Whether there is a BCC header. Every entry is walked, so that what is stored is known to be well formed.
fn inspect_headers(headers: &[u8], facts: &mut Facts) -> Result<bool, AmqpError> {
    let mut has_bcc = false;
    for entry in RawEntries::new(headers) {
        let entry = entry?;
        match entry.name {
            b"CC" => add_keys("CC", &entry, facts)?,
            b"BCC" => {
                has_bcc = true;
                add_keys("BCC", &entry, facts)?;
            }
            name if name == GROUP_HEADER.as_bytes() => {
                if let Value::Str(group) = parse_entry_value(&entry)? {
                    facts.extra.get_or_insert_default().group = Some(group);
                }
            }
            _ => {}
        }
    }
    Ok(has_bcc)
}

fn add_keys(name: &str, entry: &RawEntry<'_>, facts: &mut Facts) -> Result<(), AmqpError> {
    let refuse = |kind: &str| {
        let why = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
        Err(AmqpError::precondition(why))
    };
    let Value::Array(keys) = parse_entry_value(entry)? else {
        return refuse(kind_word(entry.value.first().copied().unwrap_or_default()));
    };
    for key in keys {
        // RabbitMQ passes over what is no text.
        if let Value::Str(key) = key {
            facts.extra.get_or_insert_default().extra_keys.push(key);
        }
    }
    Ok(())
}

/// The time to live of an `expiration`, with RabbitMQ's words for what is none: it reads as Erlang's
/// `string:to_integer/1` does.
fn expiration(text: &[u8]) -> Result<u64, AmqpError> {
    let text = String::from_utf8_lossy(text);
    let refuse = |why: String| Err(AmqpError::precondition(format!("invalid expiration '{text}': {why}")));
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign_bytes = text.len() - unsigned.len();
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || sign_bytes > 1 {
        return refuse("no_integer".into());
    }
    let (number, leftover) = text.split_at(sign_bytes + digits);
    if !leftover.is_empty() {
        return refuse(format!("{{leftover_string,\"{leftover}\"}}"));
    }
    let shown = number.trim_start_matches('+');
    match number.trim_start_matches(['+', '-']).parse::<u64>() {
        Ok(0) => Ok(0),
        _ if number.starts_with('-') => refuse(format!("{{value_negative,{shown}}}")),
        Ok(ms) if ms <= EXPIRATION_MS_MAX => Ok(ms),
        _ => refuse(format!("{{value_too_large,{shown}}}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn check_expiration(text: &str, expected: Result<u64, &str>) {
        let expected =
            expected.map_err(|why| format!("PRECONDITION_FAILED - invalid expiration '{text}': {why}"));
        assert_eq!(expiration(text.as_bytes()).map_err(|error| error.text), expected);
    }

    #[test]
    fn expiration_texts() {
        check_expiration("0", Ok(0));
        check_expiration("+5", Ok(5));
        check_expiration("315360000000", Ok(315_360_000_000));
        check_expiration("abc", Err("no_integer"));
        check_expiration("", Err("no_integer"));
        check_expiration("-", Err("no_integer"));
        check_expiration("-1", Err("{value_negative,-1}"));
        check_expiration("10 ", Err("{leftover_string,\" \"}"));
        check_expiration("315360000001", Err("{value_too_large,315360000001}"));
        check_expiration("99999999999999999999999", Err("{value_too_large,99999999999999999999999}"));
    }
}
