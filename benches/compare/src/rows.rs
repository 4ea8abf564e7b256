//! Which loads are compared.

use crate::amqp::wire::QueueKind;
use crate::load::Shape;
use crate::{amqp, mqtt};
use mqttbytes::QoS;
use std::time::Duration;

/// What to run a row with.
pub enum Load {
    /// AMQP 0-9-1.
    Amqp(amqp::Row),
    /// MQTT 3.1.1.
    Mqtt(mqtt::Row),
}

/// A load and what to call it.
pub struct Row {
    /// First column.
    pub name: String,
    /// The load.
    pub load: Load,
}

/// Payload sizes and their names.
pub const SIZES: [(usize, &str); 3] = [(16, "16 B"), (1024, "1 KiB"), (65_536, "64 KiB")];

/// Every combination of queues, acknowledgement, persistence and size.
pub fn amqp(duration: Duration) -> Vec<Row> {
    let mut rows = Vec::new();
    for copies in [1, 10] {
        for manual_ack in [false, true] {
            for persistent in [false, true] {
                for (bytes, size) in SIZES {
                    let mut shape = Shape::new(1, copies, bytes, duration);
                    shape.confirmed = persistent;
                    let ack = if manual_ack { "manual ack" } else { "auto-ack" };
                    let kind = if persistent { "persistent, confirms" } else { "transient" };
                    let name = format!("1 to {copies}, {ack}, {kind}, {size}");
                    let queues = if persistent { QueueKind::Durable } else { QueueKind::Transient };
                    rows.push(Row { name, load: Load::Amqp(amqp::Row { shape, manual_ack, queues }) });
                }
            }
        }
    }
    rows
}

/// One to one in every size, and fan-out and fan-in with small messages.
pub fn mqtt(duration: Duration) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut push = |publishers: usize, subscribers: usize, (bytes, size): (usize, &str)| {
        for (qos, number) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 1)] {
            let mut shape = Shape::new(publishers, subscribers, bytes, duration);
            shape.confirmed = qos == QoS::AtLeastOnce;
            let name = format!("{publishers} to {subscribers}, QoS {number}, {size}");
            rows.push(Row { name, load: Load::Mqtt(mqtt::Row { shape, qos }) });
        }
    };
    SIZES.into_iter().for_each(|size| push(1, 1, size));
    SIZES.into_iter().take(2).for_each(|size| push(1, 1000, size));
    SIZES.into_iter().take(2).for_each(|size| push(100, 1, size));
    rows
}
