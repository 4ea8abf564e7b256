//! `x-delayed-message`: an exchange that holds each message back for as long as its header `x-delay` says, in
//! milliseconds. The message is routed at once, as by an exchange of the kind that the argument `x-delayed-type` names, and
//! waits in its queues. What goes out says in the same header that it was delayed, by a negative number, so that a
//! message that comes back (a dead letter) is not held again. As RabbitMQ's plugin of that name does.

use super::ExchangeKind;
use model::{
    definition::ExchangeDeclare,
    error::{BrokerError, ErrorKind},
    message::Message,
    value::Value,
};
use std::sync::Arc;

/// The exchange type.
pub(crate) const KIND: &str = "x-delayed-message";
const TYPE: &str = "x-delayed-type";
const HEADER: &str = "x-delay";
/// Longest delay, milliseconds: what the plugin takes.
const DELAY_MS_MAX: i64 = u32::MAX as i64;

/// How such an exchange routes. Errors: `Precondition`, in the plugin's words.
pub(crate) fn inner_kind(declare: &ExchangeDeclare) -> Result<ExchangeKind, BrokerError> {
    let wanted = declare.arguments.str(TYPE).filter(|wanted| *wanted != KIND);
    wanted.and_then(ExchangeKind::parse).ok_or_else(|| {
        let text = format!("Invalid argument, '{TYPE}' must be an existing exchange type");
        BrokerError::new(ErrorKind::Precondition, text)
    })
}

fn delay_ms(message: &Message) -> Option<i64> {
    let delay = match message.envelope().headers.get(HEADER)? {
        Value::I8(delay) => i64::from(*delay),
        Value::U8(delay) => i64::from(*delay),
        Value::I16(delay) => i64::from(*delay),
        Value::U16(delay) => i64::from(*delay),
        Value::I32(delay) => i64::from(*delay),
        Value::U32(delay) => i64::from(*delay),
        Value::I64(delay) => *delay,
        Value::U64(delay) => i64::try_from(*delay).unwrap_or(i64::MAX),
        _ => return None,
    };
    (1..=DELAY_MS_MAX).contains(&delay).then_some(delay)
}

/// The message as it is held back; `None` when it is not to be.
pub(crate) fn delayed(message: &Message) -> Option<Arc<Message>> {
    let delay = delay_ms(message)?;
    let mut held = message.derive();
    held.delay_ms = u64::try_from(delay).ok();
    let negated = i32::try_from(-delay).map_or(Value::I64(-delay), Value::I32);
    held.native.properties = held.native.codec.with_header(&held.native.properties, HEADER, &negated);
    Some(Arc::new(held))
}
