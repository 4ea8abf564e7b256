#!/usr/bin/env python3
"""A disk that fails and a disk that is full, made by the kernel.

EIO: strace lets every fdatasync fail from some moment on. The process must end at once, confirm nothing that comes
after, and a start on the same data must have every confirmed message.

ENOSPC: the data directory is a small tmpfs that publishers of every door fill. AMQP publishers are told
(connection.blocked), no door confirms what it cannot keep, consumers go on; when they have made room everything
goes on by itself (connection.unblocked). Nothing confirmed is lost when the process is killed while the disk is full.

    tests/interop/.venv/bin/python tests/recovery/faults.py [--only eio,enospc] [--rounds 3]

What this machine does not allow (no strace, no right to mount) is skipped by name.
"""

import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pika

import ledger
from doors import until
from doors.amqp import Consumer, Loop, Publisher, parameters
from doors.aws import Api, Refused, url
from doors.mqtt import Client, Outstanding
from doors.stomp import connected
from ledger import Books, Flow
from running import Broker

import stomp

DISK_MIB = 48
LARGE = "x" * 20_000
PATIENCE = 40


class Skipped(Exception):
    """Not possible on this machine."""


class Amqp:
    """A window of confirmed publishes; knows when it is blocked."""

    def __init__(self, ports, name):
        self.books = Books("amqp")
        self.holding = False
        self.flow, self.queue = Flow(self.books, name), name
        self.ports = ports
        self.blocked = self.unblocked = 0
        connection = pika.BlockingConnection(parameters(ports["amqp"]))
        connection.channel().queue_declare(name, durable=True)
        connection.close()

    def messages(self):
        while not self.stopped:
            yield self.flow, "", self.queue, None, LARGE

    def publish(self):
        self.stopped = False

        def ready(loop):
            loop.connection.add_on_connection_blocked_callback(lambda *_: self._count("blocked"))
            loop.connection.add_on_connection_unblocked_callback(lambda *_: self._count("unblocked"))
            self.publisher = Publisher(loop.connection, self.messages())

        self.loop = Loop(self.ports["amqp"], ready)
        self.loop.start()

    def _count(self, what):
        setattr(self, what, getattr(self, what) + 1)

    def consume(self):
        self.consumer = Loop(self.ports["amqp"], lambda loop: Consumer(self, loop.connection, self.queue))
        self.consumer.start()


class Mqtt:
    """QoS 1 into a session that lasts."""

    def __init__(self, ports):
        self.books = Books("mqtt")
        self.flow = Flow(self.books, "mqtt")
        self.ports = ports
        self.subscriber = Client(ports["mqtt"], "full-subscriber", True)
        self.subscriber.client.on_message = lambda _c, _d, message: self.books.sight(message.payload.decode())
        answered = threading.Event()
        self.subscriber.client.on_subscribe = lambda *_: answered.set()
        self.subscriber.connect()
        self.subscriber.client.subscribe("full/one", qos=1)
        assert answered.wait(10), "no SUBACK"
        self.subscriber.client.disconnect()
        self.subscriber.gone()
        self.refused = 0

    def publish(self):
        self.stopped = False
        self.outstanding = Outstanding(self.flow.confirm)
        self.client = Client(self.ports["mqtt"], "full-publisher", False)

        def answered(client, data, mid, reason, properties):
            self.refused += reason.is_failure
            self.outstanding.answered(client, data, mid, reason, properties)

        self.client.client.on_publish = answered
        self.client.connect()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        self.client.connected.wait(10)
        while not self.stopped and not self.client.broken.is_set():
            if len(self.outstanding) >= 10:
                time.sleep(0.005)
                continue
            number, body = self.flow.next(LARGE)
            self.outstanding.sent(self.client.client.publish("full/one", body, qos=1).mid, number)

    def consume(self):
        self.books.reopened()
        self.subscriber.connect()


class Stomp(stomp.ConnectionListener):
    """Receipts."""

    def __init__(self, ports):
        self.books = Books("stomp")
        self.flow = Flow(self.books, "stomp")
        self.ports, self.waiting, self.errors = ports, set(), 0

    def on_receipt(self, frame):
        number = int(frame.headers["receipt-id"])
        self.waiting.discard(number)
        self.flow.confirm(number)

    def on_error(self, _frame):
        self.errors += 1

    def publish(self):
        self.stopped = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        self.waiting.clear()
        try:
            connection = connected(self.ports["stomp"], self)
            while not self.stopped and connection.is_connected():
                if len(self.waiting) >= 10:
                    time.sleep(0.005)
                    continue
                number, body = self.flow.next(LARGE)
                self.waiting.add(number)
                connection.send("/queue/full-stomp", body, headers={"receipt": str(number), "persistent": "true"})
        except Exception:  # the kill
            pass

    def consume(self):
        books = self.books

        class Listener(stomp.ConnectionListener):
            def on_message(self, frame):
                books.sight(frame.body)
                connection.ack(frame.headers["ack"])

        books.reopened()
        listener = Listener()
        connection = stomp.Connection12([("127.0.0.1", self.ports["stomp"])], vhost="/")
        connection.set_listener("", listener)
        connection.connect("guest", "guest", wait=True)
        connection.subscribe("/queue/full-stomp", "1", ack="client-individual", headers={"prefetch-count": "20"})


class Sqs:
    """One message a request."""

    def __init__(self, ports):
        self.books = Books("sqs")
        self.flow = Flow(self.books, "sqs", ordered=False)
        self.ports, self.refused, self.waiting = ports, [], False
        Api(ports["aws"]).call("sqs", "CreateQueue", QueueName="full-sqs")

    def publish(self):
        self.stopped = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        api = Api(self.ports["aws"])
        while not self.stopped:
            number, body = self.flow.next(LARGE)
            try:
                api.call("sqs", "SendMessage", QueueUrl=url("full-sqs"), MessageBody=body)
                self.flow.confirm(number)
            except Refused as refused:
                self.refused.append(str(refused))
                time.sleep(0.05)
            except Exception:  # the kill, or an answer that did not come in time
                api = Api(self.ports["aws"])
                time.sleep(0.05)

    def consume(self):
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        api = Api(self.ports["aws"])
        try:
            while True:
                answer = api.call("sqs", "ReceiveMessage", QueueUrl=url("full-sqs"), MaxNumberOfMessages=10, WaitTimeSeconds=1)
                for message in answer.get("Messages", []):
                    self.books.sight(message["Body"])
                    api.call("sqs", "DeleteMessage", QueueUrl=url("full-sqs"), ReceiptHandle=message["ReceiptHandle"])
        except Exception:  # the kill
            pass


def rows(doors):
    return "\n".join(ledger.table({door.books.door: door.books.row() for door in doors}))


def balanced(doors, patience=PATIENCE):
    """Everything confirmed has come; complaints otherwise."""
    until(lambda: not any(door.books.missing() for door in doors), patience)
    for door in doors:
        door.books.drained()
    return [complaint for door in doors for complaint in door.books.complaints()]


# EIO


def eio(dice):
    """One process with a disk that fails."""
    if shutil.which("strace") is None:
        raise Skipped("strace is not installed")
    when = dice.choice([1, 2, 5, 20, 100, 300])
    fault = f"inject=fdatasync:error=EIO:when={when}+"
    broker = Broker(["--workers", "2"])
    complaints = []
    try:
        # What must be there already, so that the start itself syncs as little as possible.
        broker.start()
        doors = [Amqp(broker.ports, "eio"), Mqtt(broker.ports), Stomp(broker.ports), Sqs(broker.ports)]
        broker.kill()
        broker.wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", fault]
        broker.launch()
        complaints += until_it_ends(broker, doors, when)
        # What was sent before the end may still be on its way to the clients' books.
        time.sleep(1)
        confirmed = {door.books.door: door.books.row()["confirmed"] for door in doors}
        time.sleep(0.5)
        late = [door.books.door for door in doors if door.books.row()["confirmed"] != confirmed[door.books.door]]
        complaints += [f"confirmed after the end: {late}"] if late else []
        for door in doors:
            door.stopped = True
            door.books.killed()
        broker.kill()
        broker.wrapper = []
        broker.start()
        for door in doors:
            door.consume()
        complaints += balanced(doors)
        print(f"EIO from sync {when} on: {sum(confirmed.values())} confirmed before the end")
        return complaints
    finally:
        broker.kill()
        broker.stop()


def until_it_ends(broker, doors, when):
    """Publishes at every door until the process ends by itself, which it must."""
    try:
        broker.ready(30)
    except Exception:
        # It may fail while it starts.
        printed = broker.since_launch()
        return [] if broker.exit_code not in (None, 0) else [f"sync {when} failed, no start, no end: {printed[-500:]}"]
    for door in doors:
        try:
            door.publish()
        except Exception:  # it may be gone already
            pass
    if not until(lambda: broker.process.poll() is not None, 30):
        return [f"the process went on after sync {when} failed"]
    printed = broker.since_launch()
    complaints = []
    if broker.process.returncode == 0:
        complaints.append("the process ended with code 0")
    if "Input/output error" not in printed and "os error 5" not in printed:
        complaints.append(f"it did not say why it ended: {printed[-500:]}")
    return complaints


# ENOSPC


def mounted():
    """A small file system of our own."""
    where = pathlib.Path(tempfile.mkdtemp(prefix="waystation-full-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(where)]
    done = subprocess.run(command, capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode != 0:
        where.rmdir()
        raise Skipped("mounting a tmpfs is not allowed")
    return where


def enospc(dice):
    """Fill, look, kill or not, drain, and go on."""
    where = mounted()
    broker = Broker(["--workers", "1", "--log-segment-bytes", str(2 << 20), "--log-budget-bytes", str(8 << 20)], where / "data")
    complaints = []
    try:
        broker.start()
        amqp, mqtt, stomp_door, sqs = doors = [
            Amqp(broker.ports, "full-amqp"), Mqtt(broker.ports), Stomp(broker.ports), Sqs(broker.ports),
        ]
        for door in doors:
            door.publish()
        if not until(lambda: amqp.blocked, PATIENCE):
            complaints.append("no connection.blocked on a full disk")
        if not until(lambda: stalled(doors), PATIENCE):
            complaints.append("publishers go on confirming on a full disk")
        complaints += alive(broker, "full")
        at_full = {door.books.door: door.books.row()["confirmed"] for door in doors}
        free = shutil.disk_usage(where).free
        killed = dice.random() < 0.6
        if killed:
            broker.kill()
            for door in doors:
                door.stopped = True
                door.books.killed()
            time.sleep(0.3)
            broker.start()
        for door in doors:
            door.consume()
        complaints += relieved(broker, doors, amqp, killed)
        complaints += alive(broker, "drained")
        print(
            f"full with {free} bytes free, {'killed' if killed else 'not killed'}: confirmed {at_full} by then;"
            f" blocked {amqp.blocked}, unblocked {amqp.unblocked}; MQTT refused {mqtt.refused},"
            f" STOMP errors {stomp_door.errors}, SQS refused {len(sqs.refused)} {sqs.refused[:1]}"
        )
        print(rows(doors))
        return complaints
    finally:
        broker.kill()
        broker.stop()
        subprocess.run(["umount", "-l", str(where)], check=False)
        where.rmdir()


def alive(broker, when):
    return [] if broker.alive() else [f"the broker ended when {when}: {broker.since_launch()[-1000:]}"]


def stalled(doors):
    """Nothing was confirmed for a second."""
    before = [door.books.row()["confirmed"] for door in doors]
    time.sleep(1)
    return before == [door.books.row()["confirmed"] for door in doors]


def relieved(broker, doors, amqp, killed):
    """With consumers everything goes on by itself, at every door; then it balances."""
    complaints = []
    if killed:
        # Room first: whoever publishes now would be told that the disk is full, or fill it again.
        complaints += balanced(doors)
        for door in doors:
            door.publish()
    elif not until(lambda: amqp.unblocked, PATIENCE):
        complaints.append("no connection.unblocked once there was room")
    before = {door.books.door: door.books.row()["confirmed"] for door in doors}
    on = until(lambda: all(door.books.row()["confirmed"] > before[door.books.door] for door in doors), PATIENCE)
    if not on:
        stuck = [door.books.door for door in doors if door.books.row()["confirmed"] <= before[door.books.door]]
        complaints.append(f"did not go on by themselves: {stuck}; the broker said: {broker.since_launch()[-2000:]}")
    for door in doors:
        door.stopped = True
    time.sleep(1)
    return complaints + balanced(doors)


FAULTS = {"eio": eio, "enospc": enospc}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}")
    dice, complaints = random.Random(seed), []
    for name in options.only.split(","):
        try:
            for _ in range(options.rounds):
                complaints += FAULTS[name](dice)
                sys.stdout.flush()
        except Skipped as reason:
            print(f"{name}: skipped: {reason}")
    print("\n".join(complaints) or "nothing confirmed was lost")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
