//! Bytes that a broker's process writes for each byte of payload.

use super::client::{Plan, Publisher, consumer, drain};
use super::{Options, QUEUE, Subject, print_failure, print_heading, print_row};
use crate::amqp;
use crate::brokers::Broker;
use crate::load::Shape;
use crate::{process, report};
use std::io;
use std::time::Duration;
use tokio::runtime::Handle;

const BYTES: usize = 1024;

/// Messages unconfirmed while publishing ahead.
const OUTSTANDING: usize = 2000;

const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What a broker still writes after the last message counts too, for this long.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures both loads on each broker and prints the table.
pub fn run(options: &Options, subjects: &[Subject], runtime: &Handle) {
    print_heading(
        "Bytes written per byte of payload, 1 KiB, confirmed, acknowledged",
        &["broker", "load", "messages", "payload MiB", "written MiB", "ratio"],
    );
    for subject in subjects {
        let at_once = |broker: &Broker| flow(options, subject, broker, runtime);
        let apart = |broker: &Broker| fill_and_drain(options, subject, broker, runtime);
        print(options, subject, "published and consumed at once", at_once);
        print(options, subject, &format!("{} published, then drained", options.fill_messages), apart);
    }
}

fn print(options: &Options, subject: &Subject, load: &str, drive: impl Fn(&Broker) -> io::Result<u64>) {
    if !options.wants_row(load) {
        return;
    }
    let mut cells = vec![subject.name(), load.to_owned()];
    let measured = subject.start(&options.dir).and_then(|broker| {
        let before = process::written_bytes(broker.pid);
        let messages = drive(&broker)?;
        std::thread::sleep(SETTLE);
        Ok((messages, process::written_bytes(broker.pid).zip(before).map(|(after, before)| after - before)))
    });
    match measured {
        Err(error) => print_failure(&cells, &error),
        Ok((messages, written)) => {
            let payload = messages as f64 * BYTES as f64;
            cells.extend([
                messages.to_string(),
                format!("{:.0}", payload / 1048576.0),
                report::optional(written.map(|bytes| bytes as f64 / 1048576.0), 0),
                report::optional(written.map(|bytes| bytes as f64 / payload), 2),
            ]);
            print_row(&cells);
        }
    }
}

fn flow(options: &Options, subject: &Subject, broker: &Broker, runtime: &Handle) -> io::Result<u64> {
    // Long enough that what a log prepares once, at its start, does not weigh much.
    let mut shape = Shape::new(1, 1, BYTES, options.duration * 4);
    shape.confirmed = true;
    let row = amqp::Row { shape, manual_ack: true, queues: subject.queue };
    Ok(runtime.block_on(amqp::run(broker.amqp, &row))?.received)
}

fn fill_and_drain(
    options: &Options,
    subject: &Subject,
    broker: &Broker,
    runtime: &Handle,
) -> io::Result<u64> {
    let mut publisher = runtime.block_on(Publisher::open(broker.amqp, QUEUE, subject.queue))?;
    let plan = Plan {
        queue: QUEUE.into(),
        payload_bytes: BYTES,
        outstanding: OUTSTANDING,
        messages: options.fill_messages,
        duration: PATIENCE,
    };
    let published = publisher.publish(&plan)?.messages;
    let consumer = runtime.block_on(consumer(broker.amqp, QUEUE))?;
    let drained = drain(consumer, published, PATIENCE)?.messages;
    if drained < published {
        return Err(io::Error::other(format!("{drained} of {published} messages in {PATIENCE:?}")));
    }
    Ok(published)
}
