#!/usr/bin/env python3
"""Long queues and streams leave memory for page files: complete, in order and once after a kill -9, and gone when done.

A queue and a stream take in many messages while nobody reads, the process is killed, and everything must be there, in
order, and leave nothing behind when it was consumed, purged, deleted. With `--measure` the only thing done is to fill a
queue and print what the process holds in memory meanwhile.

    tests/interop/.venv/bin/python tests/recovery/backlog.py [--messages 200000] [--workers 1] [--measure]
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop/amqp091"))

import broker as brokers  # noqa: E402
import pika  # noqa: E402
from amqp_wire import Wire  # noqa: E402
from pika import frame as frames  # noqa: E402
from pika import spec  # noqa: E402

MIB = 1024 * 1024
BODY_BYTES = 1024
PUBLISHED_AT_ONCE = 1000
# A consumer's share, and how many deliveries one ack settles.
PREFETCH, ACKED_AT_ONCE = 2000, 500
PATIENCE = 60
SEGMENT, BUDGET = 4 * MIB, 64 * MIB


def body(number):
    return b"%010d" % number + b"." * (BODY_BYTES - 10)


def connect(broker):
    """An open channel; a broker that recovers lets its clients wait."""
    end = time.monotonic() + 2 * PATIENCE
    while True:
        try:
            return Wire(f"amqp://127.0.0.1:{broker.ports['amqp']}").open()
        except TimeoutError:
            assert time.monotonic() < end, "the broker does not answer"


def declare(wire, name, **arguments):
    done = wire.call(1, spec.Queue.Declare(queue=name, durable=True, arguments=arguments))
    assert isinstance(done, spec.Queue.DeclareOk), done
    return done.message_count


def fill(broker, name, count, first=0, each=lambda number: None):
    """Publishes persistent messages with numbered bodies; returns when all are confirmed."""
    wire = connect(broker)
    wire.call(1, spec.Confirm.Select())
    head = frames.Method(1, spec.Basic.Publish(0, "", name)).marshal()
    head += frames.Header(1, BODY_BYTES, pika.BasicProperties(delivery_mode=2)).marshal()
    confirmed = 0
    for start in range(0, count, PUBLISHED_AT_ONCE):
        end = min(start + PUBLISHED_AT_ONCE, count)
        parts = []
        for number in range(first + start, first + end):
            parts += (head, frames.Body(1, body(number)).marshal())
        wire.raw(b"".join(parts))
        while confirmed < end:
            method = wire.method(PATIENCE).method
            if isinstance(method, spec.Basic.Ack):
                confirmed = method.delivery_tag if method.multiple else confirmed + 1
        each(end)
    wire.close()


def consume(wire, name, expected, arguments=None, more=False):
    """Takes what `expected` lists, in that order, and acknowledges it; `more`: then the connection is to be left."""
    wire.call(1, spec.Basic.Qos(0, PREFETCH, False))
    begun = wire.call(1, spec.Basic.Consume(queue=name, arguments=arguments or {}))
    assert isinstance(begun, spec.Basic.ConsumeOk), begun
    taken = 0
    for number in expected:
        method = wire.method(PATIENCE).method
        assert isinstance(method, spec.Basic.Deliver), method
        _, got = wire.content()
        assert got == body(number), f"{name}: {got[:10]} instead of {number}"
        taken += 1
        if taken % ACKED_AT_ONCE == 0:
            wire.send(1, spec.Basic.Ack(method.delivery_tag, True))
    if taken % ACKED_AT_ONCE:
        wire.send(1, spec.Basic.Ack(method.delivery_tag, True))
    wire.send(1, spec.Basic.Cancel(begun.consumer_tag))
    while isinstance(done := wire.method(PATIENCE).method, spec.Basic.Deliver):
        assert more, f"{name}: more than was expected"
    assert isinstance(done, spec.Basic.CancelOk), done


def pages(broker):
    return sorted((broker.directory / "data").glob("worker-*/pages/*.page"))


def wait_until(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"{what}, after {PATIENCE} s"
        time.sleep(0.05)


def some_pages(broker):
    wait_until("nothing left memory", lambda: pages(broker))


def no_pages(broker, after):
    wait_until(f"page files are left after {after}", lambda: not pages(broker))


def log_bytes(broker):
    """What the log's segments hold, without those that are ready for later."""
    segments = (broker.directory / "data").glob("worker-*/*.log")
    return sum(segment.stat().st_size for segment in segments)


def crash(broker):
    """Once what nobody waits for is on the disk too."""
    time.sleep(1)
    broker.kill()
    broker.start()
    return connect(broker)


def resident_mib(broker):
    status = pathlib.Path(f"/proc/{broker.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def measure(broker, count):
    wire = connect(broker)
    declare(wire, "long")
    step = max(count // 10 // PUBLISHED_AT_ONCE, 1) * PUBLISHED_AT_ONCE
    started = time.monotonic()

    def show(done):
        if done % step == 0:
            print(
                f"{done:>10} messages: {resident_mib(broker):7.0f} MiB resident, {len(pages(broker))} page files,"
                f" {done / (time.monotonic() - started):.0f}/s",
                flush=True,
            )

    fill(broker, "long", count, each=show)
    time.sleep(5)
    print(f"at rest: {resident_mib(broker):.0f} MiB resident, {len(pages(broker))} page files")
    wire.close()
    broker.kill()
    started = time.monotonic()
    broker.start()
    connect(broker).close()
    print(f"after kill -9: back in {time.monotonic() - started:.1f} s, {resident_mib(broker):.0f} MiB resident")


def a_queue_outlives_crashes(broker, count):
    wire = connect(broker)
    declare(wire, "long")
    fill(broker, "long", count)
    some_pages(broker)
    wire = crash(broker)
    assert declare(wire, "long") == count
    half = count // 2
    consume(wire, "long", range(half), more=True)
    wire = crash(broker)
    assert declare(wire, "long") == count - half
    # What is published now is behind all of it.
    fill(broker, "long", 10_000, first=count)
    consume(wire, "long", range(half, count + 10_000))
    no_pages(broker, "the queue was consumed")
    wire = crash(broker)
    assert declare(wire, "long") == 0
    wire.close()


def a_stream_outlives_crashes(broker, count):
    wire = connect(broker)
    declare(wire, "log", **{"x-queue-type": "stream"})
    fill(broker, "log", count)
    some_pages(broker)
    wire = crash(broker)
    fill(broker, "log", 10_000, first=count)
    consume(wire, "log", range(count + 10_000), {"x-stream-offset": "first"})
    consume(wire, "log", range(count // 2, count + 10_000), {"x-stream-offset": count // 2})
    wire.call(1, spec.Queue.Delete(queue="log"))
    no_pages(broker, "the stream was deleted")
    wire.close()


def purge_and_delete_remove_pages(broker, count):
    wire = connect(broker)
    for end in (spec.Queue.Purge(queue="short-lived"), spec.Queue.Delete(queue="short-lived")):
        declare(wire, "short-lived")
        fill(broker, "short-lived", count)
        some_pages(broker)
        done = wire.call(1, end)
        assert done.message_count == count, done
        no_pages(broker, end.NAME)
    wire = crash(broker)
    assert declare(wire, "short-lived") == 0
    wire.close()


def a_limit_takes_from_the_head(broker, count):
    wire = connect(broker)
    kept = count // 2
    declare(wire, "limited", **{"x-max-length": kept})
    fill(broker, "limited", count)
    wire = crash(broker)
    assert declare(wire, "limited", **{"x-max-length": kept}) == kept
    consume(wire, "limited", range(count - kept, count))
    no_pages(broker, "the limited queue was consumed")
    wire.close()


SCENES = (
    a_queue_outlives_crashes,
    a_stream_outlives_crashes,
    purge_and_delete_remove_pages,
    a_limit_takes_from_the_head,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--workers", default="1")
    parser.add_argument("--only", help="the scene of this name")
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    flags = ["--workers", options.workers]
    if not options.measure:
        flags += ["--log-segment-bytes", str(SEGMENT), "--log-budget-bytes", str(BUDGET)]
    broker = brokers.Broker(extra=flags).start()
    failed = True
    try:
        if options.measure:
            measure(broker, options.messages)
        else:
            for scene in (scene for scene in SCENES if options.only in (None, scene.__name__)):
                started = time.monotonic()
                scene(broker, options.messages)
                print(f"{scene.__name__}: {time.monotonic() - started:.1f} s", flush=True)
                # All of the content was in page files, so that the log could be short.
                limit = BUDGET + 8 * SEGMENT
                wait_until("the log is too long", lambda: log_bytes(broker) <= limit)
        failed = False
    finally:
        if failed:
            print(broker.printed()[-3000:])
        broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
