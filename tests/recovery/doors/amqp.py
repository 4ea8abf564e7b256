"""pika: many channels with confirms on one connection, and a consumer for every queue on another."""

import collections
import random
import threading

import pika

from ledger import Books, Flow

from . import Door, padding

WINDOW = 40
PERSISTENT = 2
EXCHANGE = "k9.topic"
# Queue to its arguments; the two fans are bound to the topic exchange.
QUEUES = {
    "k9.direct": {},
    "k9.quorum": {"x-queue-type": "quorum"},
    "k9.priority": {"x-max-priority": 3},
    "k9.fan1": {},
    "k9.fan2": {},
    "k9.stream": {"x-queue-type": "stream"},
    "k9.hoard": {},
    "k9.keep": {},
}
# Consumed when asked to only: a backlog that grows long, and a few messages that outlive everything else.
HOARDS = ("k9.hoard", "k9.keep")


def parameters(port):
    credentials = pika.PlainCredentials("guest", "guest")
    return pika.ConnectionParameters("127.0.0.1", port, credentials=credentials, heartbeat=0, socket_timeout=5)


class Loop(threading.Thread):
    """A connection on a thread of its own, until it breaks."""

    def __init__(self, port, ready):
        super().__init__(daemon=True)
        self.port, self.ready, self.trouble = port, ready, None
        self.connection = None

    def run(self):
        try:
            self.connection = pika.SelectConnection(
                parameters(self.port),
                on_open_callback=lambda _: self.ready(self),
                on_open_error_callback=self._over,
                on_close_callback=self._over,
            )
            self.connection.ioloop.start()
        except Exception as error:  # the kill
            self.trouble = error

    def _over(self, connection, reason):
        self.trouble = reason
        connection.ioloop.stop()

    def soon(self, action):
        if self.connection is not None:
            self.connection.ioloop.add_callback_threadsafe(action)


class Publisher:
    """One confirmed channel that keeps a window of messages unconfirmed."""

    def __init__(self, connection, messages, window=WINDOW):
        self.messages, self.window = messages, window
        self.waiting, self.tag = collections.OrderedDict(), 0
        self.refused = 0
        self.channel = connection.channel(on_open_callback=self._open)

    def _open(self, channel):
        channel.confirm_delivery(self._answered, callback=lambda _: self._fill())

    def _fill(self):
        while len(self.waiting) < self.window and (message := next(self.messages, None)):
            flow, exchange, key, priority, body_padding = message
            number, body = flow.next(body_padding)
            self.tag += 1
            self.waiting[self.tag] = (flow, number)
            properties = pika.BasicProperties(delivery_mode=PERSISTENT, priority=priority)
            self.channel.basic_publish(exchange, key, body.encode(), properties, mandatory=True)

    def _answered(self, frame):
        tag, method = frame.method.delivery_tag, frame.method
        tags = [tag]
        if method.multiple:
            tags = [each for each in self.waiting if each <= tag]
        for each in tags:
            flow, number = self.waiting.pop(each)
            if isinstance(method, pika.spec.Basic.Ack):
                flow.confirm(number)
            else:
                self.refused += 1
        # A window of its own at random: batches of every size.
        if len(self.waiting) <= random.randrange(self.window):
            self._fill()


class Consumer:
    """Takes one queue; keeps up to a few deliveries unsettled, and acknowledges at random, one or many."""

    def __init__(self, door, connection, queue, arguments=None):
        self.door, self.queue, self.arguments = door, queue, arguments
        self.held = []
        door.books.reopened(queue)
        self.channel = connection.channel(on_open_callback=self._open)

    def _open(self, channel):
        channel.basic_qos(prefetch_count=100, callback=lambda _: self._consume())

    def _consume(self):
        self.channel.basic_consume(self.queue, self._delivered, arguments=self.arguments)

    def _delivered(self, _channel, method, properties, body):
        self.door.books.sight(body.decode(), self.queue)
        if self.queue == "k9.stream":
            self.door.stream_offset = properties.headers["x-stream-offset"]
        self.held.append(method.delivery_tag)
        if not self.door.holding:
            self.settle()
        elif len(self.held) > random.randrange(20):
            settled = random.randint(1, len(self.held))
            self.channel.basic_ack(self.held[settled - 1], multiple=True)
            del self.held[:settled]

    def settle(self):
        if self.held and self.channel.is_open:
            self.channel.basic_ack(self.held[-1], multiple=True)
            self.held.clear()


class Amqp(Door):
    name = "amqp"

    def __init__(self, ports):
        super().__init__(ports)
        self.books = Books("amqp")
        self.direct = Flow(self.books, "k9.direct")
        self.quorum = Flow(self.books, "k9.quorum")
        self.priorities = [Flow(self.books, f"priority{level}", ["k9.priority"]) for level in range(4)]
        self.fan = Flow(self.books, "fan", ["k9.fan1", "k9.fan2"])
        self.stream = Flow(self.books, "k9.stream")
        self.hoard = Flow(self.books, "k9.hoard")
        self.keep = Flow(self.books, "k9.keep")
        self.stream_offset = None
        self.unconsumed = HOARDS
        self.loops, self.consumers, self.publishers = [], [], []

    def prepare(self):
        connection = pika.BlockingConnection(parameters(self.ports["amqp"]))
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        for queue, arguments in QUEUES.items():
            channel.queue_declare(queue, durable=True, arguments=arguments)
        channel.queue_bind("k9.fan1", EXCHANGE, "fan.#")
        channel.queue_bind("k9.fan2", EXCHANGE, "*.out")
        connection.close()

    def _start(self, ready):
        loop = Loop(self.ports["amqp"], ready)
        self.loops.append(loop)
        loop.start()

    def consume(self, hoards=False):
        def ready(loop):
            queues = HOARDS if hoards else [queue for queue in QUEUES if queue not in HOARDS]
            self.consumers += [
                Consumer(self, loop.connection, queue, self._offset() if queue == "k9.stream" else None)
                for queue in queues
            ]

        self._start(ready)

    def _offset(self):
        start = "first" if self.stream_offset is None else self.stream_offset + 1
        return {"x-stream-offset": start}

    def settle_all(self):
        super().settle_all()
        for loop in self.loops:
            loop.soon(lambda: [consumer.settle() for consumer in list(self.consumers)])

    def publish(self):
        def ready(loop):
            sources = [
                (self._messages([self.direct], "", "k9.direct"), WINDOW),
                (self._messages([self.quorum], "", "k9.quorum"), WINDOW),
                (self._messages(self.priorities, "", "k9.priority"), WINDOW),
                (self._messages([self.fan], EXCHANGE, "fan.out"), WINDOW),
                (self._messages([self.stream], "", "k9.stream"), WINDOW),
                (self._messages([self.hoard], "", "k9.hoard", large=True), 2 * WINDOW),
            ]
            self.publishers = [Publisher(loop.connection, *source) for source in sources]

        self._start(ready)

    def _messages(self, flows, exchange, key, large=False):
        while True:
            flow = random.choice(flows)
            priority = flows.index(flow) if len(flows) > 1 else None
            yield flow, exchange, key, priority, "x" * 1000 if large else padding()

    def gone(self):
        for loop in self.loops:
            loop.join(timeout=10)
            if loop.is_alive():
                self.troubles.append(f"a connection outlived the broker: {loop.trouble}")
        self.loops, self.consumers, self.publishers = [], [], []
        self.holding = True

    def replay(self):
        """Every body in the stream, from the beginning."""
        connection = pika.BlockingConnection(parameters(self.ports["amqp"]))
        channel = connection.channel()
        channel.basic_qos(prefetch_count=500)
        bodies = []
        first = {"x-stream-offset": "first"}
        for method, _, body in channel.consume("k9.stream", arguments=first, inactivity_timeout=1.5):
            if method is None:
                break
            bodies.append(body.decode())
            channel.basic_ack(method.delivery_tag)
        connection.close()
        return bodies
