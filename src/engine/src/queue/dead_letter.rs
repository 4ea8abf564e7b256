//! What becomes of a message that dies in a queue: its copy for the dead-letter exchange with its history, and the
//! rule against endless circles. The behaviour is RabbitMQ's.

use crate::topology::settings::QueueSettings;
use model::{
    Millis, Name,
    message::{Death, DeathReason, Message},
};

/// The message as it goes to the dead-letter exchange; `None` when the queue has none.
/// Its time to live is taken off, so that it does not expire again at once, and is kept in the history.
pub(crate) fn derive(
    message: &Message,
    queue: &Name,
    settings: &QueueSettings,
    reason: DeathReason,
    now: Millis,
    deaths_max: usize,
) -> Option<Message> {
    let exchange = settings.dead_letter_exchange.clone()?;
    let mut dead = message.derive();
    let (old_exchange, old_key) = (dead.exchange.clone(), dead.routing_key.clone());
    let original_ttl_ms = dead.ttl_ms.take();
    dead.delay_ms = None;
    let extra = dead.extra_mut();
    let mut routing_keys = vec![old_key];
    routing_keys.extend(extra.extra_keys.iter().cloned());
    let known = extra.deaths.iter().position(|death| death.reason == reason && death.queue == *queue);
    let death = match known.map(|index| extra.deaths.remove(index)) {
        Some(before) => Death {
            count: before.count.saturating_add(1),
            time_ms: now,
            original_ttl_ms: original_ttl_ms.or(before.original_ttl_ms),
            ..before
        },
        None => Death {
            queue: queue.clone(),
            reason,
            count: 1,
            time_ms: now,
            exchange: old_exchange.clone(),
            routing_keys,
            original_ttl_ms,
        },
    };
    extra.deaths.insert(0, death);
    extra.deaths.truncate(deaths_max.max(1));
    extra.first_death.get_or_insert_with(|| (queue.clone(), reason, old_exchange));
    if let Some(key) = &settings.dead_letter_key {
        extra.extra_keys.clear();
        dead.routing_key = key.clone();
    }
    dead.exchange = exchange;
    Some(dead)
}

/// True when the message came back to a queue that it died in before, and nobody rejected it on the way: it would
/// go round for ever.
pub(crate) fn is_cycle(message: &Message, queue: &Name) -> bool {
    let Some(extra) = &message.extra else { return false };
    for death in &extra.deaths {
        if death.reason == DeathReason::Rejected {
            return false;
        }
        if death.queue == *queue {
            return true;
        }
    }
    false
}
