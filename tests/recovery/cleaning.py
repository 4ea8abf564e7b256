#!/usr/bin/env python3
"""Log cleaning under churn: the disk stays bounded, and what lives long is still there, in order, after a kill -9.

With small segments, pages and a small budget, messages come and go while a few stay: messages of a queue that nobody
reads, an offline MQTT session's messages, retained messages, a stream; a queue grows long while it is read, a stream is
cut at its old end; queues are declared and deleted meanwhile. Again and again the process is killed in the middle of
it, and everything is compared with what it must be.

    tests/interop/.venv/bin/python tests/recovery/cleaning.py [--rounds 3] [--workers 1]
"""

import argparse
import pathlib
import queue
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import broker as brokers  # noqa: E402
import clients  # noqa: E402
import pika  # noqa: E402

MIB = 1024 * 1024
SEGMENT, BUDGET, PAGE = MIB, 8 * MIB, 64 * 1024
# The budget, what may be written before a look at it and while a segment is cleaned, and the spares.
DISK_MAX = BUDGET + 8 * SEGMENT
# The long queue gets more than is taken from it.
DEEP_PER_STEP, DEEP_TAKEN, DEEP_BODY = 300, 200, 1000
CUT_PER_STEP, CUT_BYTES = 200, 400_000
PERSISTENT = pika.BasicProperties(delivery_mode=2)
SESSION = {"client_id": "cleaning-session", "clean": False, "expiry": 86_400}
CHURN_PER_STEP, CHURN_BODY = 1000, b"c" * 1024
STEPS = 12


class Expected:
    """What must be there."""

    def __init__(self):
        self.long, self.session, self.retained, self.stream = [], [], {}, []
        # First and behind the last, and how many were ever published.
        self.deep, self.cut = [0, 0], 0
        self.temporary = set()
        self.number = 0


def prepare(broker):
    channel = clients.amqp(broker.ports["amqp"]).channel()
    channel.queue_declare("long", durable=True)
    channel.queue_declare("churn", durable=True)
    channel.queue_declare("tail", durable=True)
    channel.queue_declare("deep", durable=True)
    channel.queue_declare("log", durable=True, arguments={"x-queue-type": "stream"})
    limits = {"x-queue-type": "stream", "x-max-length-bytes": CUT_BYTES}
    channel.queue_declare("cut", durable=True, arguments=limits)
    channel.exchange_declare("kept", "topic", durable=True)
    channel.queue_bind("long", "kept", "to.long.#")
    channel.connection.close()
    client = clients.Mqtt(broker.ports["mqtt"], **SESSION)
    client.subscribe("cleaning/+", qos=1)
    client.close()


def deep_body(number):
    return f"deep {number} ".ljust(DEEP_BODY).encode()


def pages(broker):
    return list((broker.directory / "data").rglob("*.page"))


def disk_bytes(broker):
    """Of the log; what is long lies in pages beside it."""
    files = (broker.directory / "data").glob("worker-*/*")
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            pass
    return total


def churn(broker, expected, peak):
    """One run of publishing and taking, with a little of everything that stays."""
    channel = clients.amqp(broker.ports["amqp"]).channel()
    confirmed = clients.amqp(broker.ports["amqp"]).channel()
    confirmed.confirm_delivery()
    mqtt = clients.Mqtt(broker.ports["mqtt"])
    for _ in range(STEPS):
        expected.number += 1
        number = expected.number
        for _ in range(CHURN_PER_STEP):
            channel.basic_publish("", "churn", CHURN_BODY, PERSISTENT)
        body = f"long {number}"
        confirmed.basic_publish("kept", "to.long.one", body.encode(), PERSISTENT, mandatory=True)
        expected.long.append(body)
        if number % 4 == 0:
            # Older than every snapshot by now, and must not come back.
            method, _, body = confirmed.basic_get("long")
            same("the oldest of the long queue", body.decode(), expected.long.pop(0))
            confirmed.basic_ack(method.delivery_tag)
        confirmed.basic_publish("", "log", f"record {number}".encode(), PERSISTENT)
        expected.stream.append(f"record {number}")
        mqtt.publish(f"cleaning/{number % 3}", f"session {number}")
        expected.session.append(f"session {number}")
        mqtt.publish(f"state/{number % 7}", f"value {number}", retain=True)
        expected.retained[f"state/{number % 7}"] = f"value {number}"
        if number % 5 == 0:
            mqtt.publish(f"state/{number % 7}", "", retain=True)
            expected.retained.pop(f"state/{number % 7}")
        churn_definitions(channel, expected, number)
        churn_long(channel, expected)
        take(channel, CHURN_PER_STEP)
        peak.append(disk_bytes(broker))
    mqtt.close()
    channel.connection.close()
    confirmed.connection.close()


def churn_long(channel, expected):
    for _ in range(DEEP_PER_STEP):
        channel.basic_publish("", "deep", deep_body(expected.deep[1]), PERSISTENT)
        expected.deep[1] += 1
    for _ in range(DEEP_TAKEN):
        method, _, body = channel.basic_get("deep")
        assert body == deep_body(expected.deep[0]), f"{body[:20]} instead of {expected.deep[0]}"
        channel.basic_ack(method.delivery_tag)
        expected.deep[0] += 1
    for _ in range(CUT_PER_STEP):
        channel.basic_publish("", "cut", f"cut {expected.cut} ".ljust(1000).encode(), PERSISTENT)
        expected.cut += 1


def churn_definitions(channel, expected, number):
    name = f"temporary-{number}"
    channel.queue_declare(name, durable=True)
    channel.queue_bind(name, "kept", f"key.{number}")
    channel.basic_publish("", name, b"in the way", PERSISTENT)
    expected.temporary.add(name)
    if number > 4:
        old = f"temporary-{number - 4}"
        channel.queue_delete(old)
        expected.temporary.discard(old)


def take(channel, count):
    channel.basic_qos(prefetch_count=200)
    for method, _, body in channel.consume("churn", inactivity_timeout=20):
        assert method is not None, "the churn stopped"
        assert body == CHURN_BODY
        count -= 1
        channel.basic_ack(method.delivery_tag)
        if count == 0:
            break
    channel.cancel()


class Tail(threading.Thread):
    """Confirmed publishing that goes on until the kill."""

    def __init__(self, broker, first):
        super().__init__(daemon=True)
        self.channel = clients.amqp(broker.ports["amqp"]).channel()
        self.channel.confirm_delivery()
        self.next = first
        self.confirmed = []

    def run(self):
        try:
            while True:
                body = f"tail {self.next}"
                self.next += 1
                self.channel.basic_publish("", "tail", body.encode() + b" " * 2000, PERSISTENT)
                self.confirmed.append(body)
        except Exception:  # the kill
            pass


def drained(channel, name, acknowledge):
    bodies = []
    while True:
        method, _, body = channel.basic_get(name)
        if method is None:
            return bodies
        bodies.append(body.decode().strip())
        if acknowledge:
            channel.basic_ack(method.delivery_tag)


def verify(broker, expected, tail):
    channel = clients.amqp(broker.ports["amqp"]).channel()
    same("the long queue", drained(channel, "long", False), expected.long)
    got = drained(channel, "tail", True)
    # What was sent and not confirmed may be there as the last one.
    same("the confirmed tail", got[: len(tail.confirmed)], tail.confirmed)
    assert len(got) <= len(tail.confirmed) + 1, f"{len(got)} in the tail, {len(tail.confirmed)} confirmed"
    for name in sorted(expected.temporary):
        same(name, drained(channel, name, False), ["in the way"])
    number = expected.number
    gone = clients.amqp(broker.ports["amqp"]).channel()
    try:
        gone.queue_declare(f"temporary-{number - 4}", passive=True)
        raise AssertionError("a deleted queue came back")
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404, error
    channel.basic_publish("kept", "to.long.two", b"routed", PERSISTENT)
    channel.connection.close()
    gone.connection.close()
    expected.long.append("routed")
    verify_deep(broker, expected)
    verify_stream(broker, expected)
    verify_cut(broker, expected)
    verify_mqtt(broker, expected)
    snapshots = list((broker.directory / "data").rglob("*.snap"))
    assert snapshots, "no snapshot was written"
    assert pages(broker), "no page was written"


def verify_deep(broker, expected):
    channel = clients.amqp(broker.ports["amqp"]).channel()
    wanted = [f"deep {number}" for number in range(*expected.deep)]
    same("the deep queue", drained(channel, "deep", False), wanted)
    channel.connection.close()


def verify_cut(broker, expected):
    """A stream that lost its old end: what is left is the newest, each record still at its own offset."""
    got = []
    for properties, body in stream(broker, "cut"):
        got.append(body.decode().strip())
        number = properties.headers["x-stream-offset"]
        assert got[-1] == f"cut {number}", f"{got[-1]} at offset {number}"
    same("the cut stream", got, [f"cut {number}" for number in range(expected.cut - len(got), expected.cut)])
    assert CUT_BYTES // 2 <= sum(map(len, got)) + 1000 * len(got) <= 3 * CUT_BYTES, f"{len(got)} records are left"


def verify_stream(broker, expected):
    same("the stream", [body.decode() for _, body in stream(broker, "log")], expected.stream)


def stream(broker, name):
    """Everything in it."""
    channel = clients.amqp(broker.ports["amqp"]).channel()
    channel.basic_qos(prefetch_count=100)
    first = {"x-stream-offset": "first"}
    for method, properties, body in channel.consume(name, arguments=first, inactivity_timeout=1):
        if method is None:
            break
        yield properties, body
        channel.basic_ack(method.delivery_tag)
    channel.connection.close()


def verify_mqtt(broker, expected):
    watcher = clients.Mqtt(broker.ports["mqtt"])
    watcher.subscribe("state/#")
    got = {message.topic: message.payload.decode() for message in arrivals(watcher)}
    watcher.close()
    assert got == expected.retained, f"retained: {got} instead of {expected.retained}"
    session = clients.Mqtt(broker.ports["mqtt"], **SESSION)
    same("the session", [message.payload.decode() for message in arrivals(session)], expected.session)
    session.close()
    expected.session.clear()


def arrivals(client, silence=1.0):
    try:
        while True:
            yield client.message(timeout=silence)
    except queue.Empty:
        return


def same(what, got, wanted):
    assert got == wanted, f"{what}: {len(got)} instead of {len(wanted)}: {got[:5]}...{got[-5:]} / {wanted[:5]}...{wanted[-5:]}"


def verify_ends(broker):
    """What is deleted leaves no page."""
    channel = clients.amqp(broker.ports["amqp"]).channel()
    for name in ("deep", "log", "cut", "long", "tail"):
        channel.queue_delete(name)
    channel.connection.close()
    end = time.monotonic() + 30
    while pages(broker):
        assert time.monotonic() < end, f"{len(pages(broker))} page files are left"
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="1")
    options = parser.parse_args()
    flags = ["--log-segment-bytes", str(SEGMENT), "--log-budget-bytes", str(BUDGET), "--log-page-bytes", str(PAGE)]
    flags += ["--workers", options.workers]
    broker = brokers.Broker(extra=flags).start()
    expected, failed = Expected(), True
    limit = DISK_MAX * int(options.workers)
    try:
        prepare(broker)
        for number in range(options.rounds):
            peak = []
            tail = Tail(broker, number * 1_000_000)
            tail.start()
            churn(broker, expected, peak)
            broker.kill()
            tail.join(timeout=10)
            started = time.monotonic()
            broker.start()
            back = time.monotonic() - started
            print(
                f"round {number}: at most {max(peak) / MIB:.1f} MiB on the disk, back in {back:.2f} s,"
                f" {len(tail.confirmed)} confirmed until the kill, {len(expected.long)} long-lived",
                flush=True,
            )
            verify(broker, expected, tail)
            written = 2 * MIB * len(tail.confirmed) / 1000
            assert max(peak) <= limit + written, f"{max(peak)} bytes on the disk"
        verify_ends(broker)
        failed = False
    finally:
        if failed:
            print(broker.printed()[-3000:])
        broker.stop()
    print(f"{options.rounds} rounds: bounded, complete, in order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
