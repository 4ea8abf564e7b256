#!/usr/bin/env python3
"""kill -9 under load: nothing that was confirmed may be missing after the restart.

Every round, clients of four protocols publish numbered messages and note which ones the broker confirmed: AMQP
publisher confirms, MQTT PUBACK, STOMP receipts, SQS answers. At a random moment the process is killed; it is started
again on the same data, everything is drained, and every confirmed message must be there. A message that was sent and
not confirmed may be there or not; one that was never sent may not; one that an earlier round had drained is counted.

    tests/interop/.venv/bin/python tests/recovery/kill9.py [--rounds 20] [--seed N] [--only amqp,mqtt,stomp,sqs]
"""

import argparse
import pathlib
import queue
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import broker as brokers  # noqa: E402
import clients  # noqa: E402
import pika  # noqa: E402

WINDOW = 200
BODY = "{round}:{protocol}:{number}:" + "x" * 100
SILENCE = 1.5


class Publisher(threading.Thread):
    """Publishes until the connection breaks; `sent` and `confirmed` hold bodies."""

    def __init__(self, ports, round):
        super().__init__(daemon=True)
        self.ports = ports
        self.round = round
        self.sent, self.confirmed = set(), set()
        self.ready = threading.Event()
        self.trouble = None

    def bodies(self):
        number = 0
        while True:
            body = BODY.format(round=self.round, protocol=self.protocol, number=number)
            self.sent.add(body)
            yield body
            number += 1

    def run(self):
        try:
            self.publish()
        except Exception as error:  # the kill breaks every client in its own way
            self.trouble = error
        finally:
            self.ready.set()


class Amqp(Publisher):
    protocol = "amqp"
    queue = "kill9-amqp"

    @classmethod
    def prepare(cls, ports):
        connection = clients.amqp(ports["amqp"])
        connection.channel().queue_declare(cls.queue, durable=True)
        connection.close()

    def publish(self):
        channel = clients.amqp(self.ports["amqp"]).channel()
        channel.confirm_delivery()
        persistent = pika.BasicProperties(delivery_mode=2)
        self.ready.set()
        for body in self.bodies():
            channel.basic_publish("", self.queue, body.encode(), persistent, mandatory=True)
            self.confirmed.add(body)

    @classmethod
    def drain(cls, ports):
        connection = clients.amqp(ports["amqp"])
        channel = connection.channel()
        channel.basic_qos(prefetch_count=500)
        for method, _, body in channel.consume(cls.queue, inactivity_timeout=SILENCE):
            if method is None:
                break
            channel.basic_ack(method.delivery_tag)
            yield body.decode()
        channel.cancel()
        connection.close()


class Mqtt(Publisher):
    protocol = "mqtt"
    topic = "kill9/mqtt"
    session = {"client_id": "kill9-subscriber", "clean": False, "expiry": 86_400}

    @classmethod
    def prepare(cls, ports):
        client = clients.Mqtt(ports["mqtt"], **cls.session)
        client.subscribe(cls.topic, qos=1)
        client.close()

    def publish(self):
        client = clients.Mqtt(self.ports["mqtt"])
        waiting, room, gone = {}, threading.Semaphore(WINDOW), threading.Event()
        early = set()
        lock = threading.Lock()

        def acknowledged(_client, _data, mid, reason, _properties):
            with lock:
                body = waiting.pop(mid, None)
                if body is None:
                    early.add(mid)
                elif not reason.is_failure:
                    self.confirmed.add(body)
            room.release()

        client.client.on_publish = acknowledged
        client.client.on_disconnect = lambda *_: gone.set()
        self.ready.set()
        for body in self.bodies():
            while not room.acquire(timeout=0.2):
                if gone.is_set():
                    return
            if gone.is_set():
                return
            mid = client.client.publish(self.topic, body, qos=1).mid
            with lock:
                if mid in early:
                    early.discard(mid)
                    self.confirmed.add(body)
                else:
                    waiting[mid] = body

    @classmethod
    def drain(cls, ports):
        client = clients.Mqtt(ports["mqtt"], **cls.session)
        try:
            while True:
                yield client.message(timeout=SILENCE).payload.decode()
        except queue.Empty:
            client.close()


class Stomp(Publisher):
    protocol = "stomp"
    destination = "/queue/kill9-stomp"

    @classmethod
    def prepare(cls, ports):
        pass

    def publish(self):
        client = clients.Stomp(self.ports["stomp"])
        waiting = {}
        room = threading.Semaphore(WINDOW)

        def receipt(frame):
            self.confirmed.add(waiting.pop(frame.headers["receipt-id"]))
            room.release()

        client.on_receipt = receipt
        self.ready.set()
        for number, body in enumerate(self.bodies()):
            while not room.acquire(timeout=0.2):
                if not client.connection.is_connected():
                    return
            waiting[str(number)] = body
            client.connection.send(self.destination, body, headers={"receipt": str(number), "persistent": "true"})

    @classmethod
    def drain(cls, ports):
        client = clients.Stomp(ports["stomp"])
        client.subscribe(cls.destination, ack="client-individual", headers={"prefetch-count": "500"})
        try:
            while True:
                frame = client.message(timeout=SILENCE)
                client.connection.ack(frame.headers["ack"])
                yield frame.body
        except queue.Empty:
            client.connection.disconnect()


class Sqs(Publisher):
    protocol = "sqs"
    queue = "kill9-sqs"

    @classmethod
    def prepare(cls, ports):
        clients.aws(ports["aws"], "sqs").create_queue(QueueName=cls.queue)

    def publish(self):
        sqs = clients.aws(self.ports["aws"], "sqs")
        url = sqs.get_queue_url(QueueName=self.queue)["QueueUrl"]
        bodies = self.bodies()
        self.ready.set()
        while True:
            batch = {str(place): next(bodies) for place in range(10)}
            entries = [{"Id": place, "MessageBody": body} for place, body in batch.items()]
            answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
            self.confirmed.update(batch[entry["Id"]] for entry in answer["Successful"])

    @classmethod
    def drain(cls, ports):
        sqs = clients.aws(ports["aws"], "sqs")
        url = sqs.get_queue_url(QueueName=cls.queue)["QueueUrl"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            yield from (message["Body"] for message in messages)


PROTOCOLS = {kind.protocol: kind for kind in (Amqp, Mqtt, Stomp, Sqs)}


def check(kind, publisher, drained, drained_before):
    """Complaints about one protocol in one round."""
    got = set(drained)
    missing = publisher.confirmed - got
    invented = got - publisher.sent - drained_before
    print(
        f"  {kind.protocol}: {len(publisher.sent)} sent, {len(publisher.confirmed)} confirmed, {len(got)} found,"
        f" {len(drained) - len(got)} twice, {len(got & drained_before)} from earlier rounds, {len(missing)} missing",
        flush=True,
    )
    complaints = []
    if not publisher.confirmed:
        complaints.append(f"{kind.protocol}: nothing was confirmed ({publisher.trouble!r})")
    if missing:
        complaints.append(f"{kind.protocol}: confirmed and missing: {sorted(missing)[:5]}")
    if invented:
        complaints.append(f"{kind.protocol}: never sent: {sorted(invented)[:5]}")
    return complaints


def one_round(number, broker, kinds, moment, before):
    publishers = [kind(broker.ports, number) for kind in kinds]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.ready.wait(timeout=20)
    time.sleep(moment)
    broker.kill()
    for publisher in publishers:
        publisher.join(timeout=20)
    started = time.monotonic()
    broker.start()
    print(f"round {number}: killed after {moment:.2f} s, back in {time.monotonic() - started:.2f} s")
    complaints = []
    for kind, publisher in zip(kinds, publishers):
        drained = list(kind.drain(broker.ports))
        complaints += check(kind, publisher, drained, before[kind])
        before[kind] |= set(drained)
    return complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="of the moments of the kill")
    parser.add_argument("--only", default=",".join(PROTOCOLS))
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    moments = random.Random(seed)
    kinds = [PROTOCOLS[name] for name in options.only.split(",")]
    print(f"seed {seed}")
    broker = brokers.Broker().start()
    complaints = []
    try:
        for kind in kinds:
            kind.prepare(broker.ports)
        before = {kind: set() for kind in kinds}
        for number in range(options.rounds):
            complaints += one_round(number, broker, kinds, moments.uniform(0.1, 1.5), before)
    finally:
        if complaints:
            print(broker.printed()[-2000:])
        broker.stop()
    print("\n".join(complaints) or f"{options.rounds} rounds, nothing confirmed was lost")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
