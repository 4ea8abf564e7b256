//! The rare rest of a message.

use super::decode::DecodeError;
use super::primitives::{Reader, VARINT_BYTES_MAX, bytes_max, put_bytes, put_varint};
use model::Name;
use model::message::{Death, DeathReason, Extra};

const GROUP: u8 = 1;
const DEDUP: u8 = 2;
const MESSAGE_ID: u8 = 4;
const HASH: u8 = 8;
const FIRST_DEATH: u8 = 16;
const TRACE: u8 = 32;
const SENDER: u8 = 64;
const PARTITION_KEY: u8 = 128;

/// The fields that are nothing but text, with their flags, in the order in which they are written.
fn texts(extra: &Extra) -> [(u8, &Option<Name>); 6] {
    [
        (GROUP, &extra.group),
        (DEDUP, &extra.dedup),
        (MESSAGE_ID, &extra.message_id),
        (TRACE, &extra.trace),
        (SENDER, &extra.sender),
        (PARTITION_KEY, &extra.partition_key),
    ]
}

fn flags(extra: &Extra) -> u8 {
    let texts = texts(extra).iter().filter(|(_, text)| text.is_some()).fold(0, |all, (flag, _)| all | flag);
    let hash = if extra.explicit_hash.is_some() { HASH } else { 0 };
    let first_death = if extra.first_death.is_some() { FIRST_DEATH } else { 0 };
    texts | hash | first_death
}

pub(super) fn encode(extra: &Extra, out: &mut Vec<u8>) {
    out.push(flags(extra));
    for (_, text) in texts(extra) {
        if let Some(text) = text {
            put_bytes(out, text.as_bytes());
        }
    }
    if let Some(hash) = extra.explicit_hash {
        out.extend_from_slice(&hash.to_le_bytes());
    }
    if let Some((queue, reason, exchange)) = &extra.first_death {
        put_bytes(out, queue.as_bytes());
        out.push(reason_code(*reason));
        put_bytes(out, exchange.as_bytes());
    }
    put_varint(out, extra.extra_keys.len() as u64);
    extra.extra_keys.iter().for_each(|key| put_bytes(out, key.as_bytes()));
    put_varint(out, extra.deaths.len() as u64);
    extra.deaths.iter().for_each(|death| encode_death(death, out));
}

fn encode_death(death: &Death, out: &mut Vec<u8>) {
    put_bytes(out, death.queue.as_bytes());
    out.push(reason_code(death.reason));
    put_varint(out, death.count);
    put_varint(out, death.time_ms);
    put_bytes(out, death.exchange.as_bytes());
    put_varint(out, death.routing_keys.len() as u64);
    death.routing_keys.iter().for_each(|key| put_bytes(out, key.as_bytes()));
    out.push(u8::from(death.original_ttl_ms.is_some()));
    if let Some(ttl_ms) = death.original_ttl_ms {
        put_varint(out, ttl_ms);
    }
}

/// An upper bound of what `encode` appends.
pub(super) fn encoded_bytes_max(extra: &Extra) -> usize {
    let name = |name: &Name| bytes_max(name.len());
    let names = |names: &[Name]| names.iter().map(name).sum::<usize>();
    let texts: usize = texts(extra).iter().filter_map(|(_, text)| text.as_ref().map(name)).sum();
    let first = extra.first_death.as_ref().map_or(0, |(queue, _, exchange)| 1 + name(queue) + name(exchange));
    let death = |death: &Death| {
        name(&death.queue) + name(&death.exchange) + names(&death.routing_keys) + 2 + 4 * VARINT_BYTES_MAX
    };
    let deaths: usize = extra.deaths.iter().map(death).sum();
    1 + texts + 16 + first + names(&extra.extra_keys) + deaths + 2 * VARINT_BYTES_MAX
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Extra, DecodeError> {
    let flags = reader.u8()?;
    let mut text = |flag| if flags & flag != 0 { reader.name().map(Some) } else { Ok(None) };
    let mut extra = Extra {
        group: text(GROUP)?,
        dedup: text(DEDUP)?,
        message_id: text(MESSAGE_ID)?,
        trace: text(TRACE)?,
        sender: text(SENDER)?,
        partition_key: text(PARTITION_KEY)?,
        ..Extra::default()
    };
    if flags & HASH != 0 {
        extra.explicit_hash = Some(reader.u128()?);
    }
    if flags & FIRST_DEATH != 0 {
        extra.first_death = Some((reader.name()?, reason(reader.u8()?)?, reader.name()?));
    }
    extra.extra_keys = names(reader)?;
    extra.deaths = (0..reader.count(7)?).map(|_| decode_death(reader)).collect::<Result<_, _>>()?;
    Ok(extra)
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<Name>, DecodeError> {
    (0..reader.count(1)?).map(|_| reader.name()).collect()
}

fn decode_death(reader: &mut Reader<'_>) -> Result<Death, DecodeError> {
    Ok(Death {
        queue: reader.name()?,
        reason: reason(reader.u8()?)?,
        count: reader.varint()?,
        time_ms: reader.varint()?,
        exchange: reader.name()?,
        routing_keys: names(reader)?,
        original_ttl_ms: if reader.flag()? { Some(reader.varint()?) } else { None },
    })
}

fn reason_code(reason: DeathReason) -> u8 {
    match reason {
        DeathReason::Rejected => 1,
        DeathReason::Expired => 2,
        DeathReason::MaxLength => 3,
        DeathReason::DeliveryLimit => 4,
    }
}

fn reason(code: u8) -> Result<DeathReason, DecodeError> {
    Ok(match code {
        1 => DeathReason::Rejected,
        2 => DeathReason::Expired,
        3 => DeathReason::MaxLength,
        4 => DeathReason::DeliveryLimit,
        _ => return Err(DecodeError::Malformed("unknown death reason")),
    })
}
