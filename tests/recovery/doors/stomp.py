"""stomp.py: SEND with receipts, and a subscription that acknowledges one by one."""

import logging
import random
import threading

import stomp

from ledger import Books, Flow

from . import Door, padding

WINDOW = 60
# What the kill does to a client in the middle of a write is no news.
logging.getLogger("stomp.py").setLevel(logging.CRITICAL)
DESTINATION = "/queue/k9.stomp"


def connected(port, listener):
    connection = stomp.Connection12([("127.0.0.1", port)], vhost="/", reconnect_attempts_max=1)
    connection.set_listener("", listener)
    connection.connect("guest", "guest", wait=True)
    return connection


class Publisher(stomp.ConnectionListener):
    """Keeps a window of SENDs without receipt."""

    def __init__(self, port, flow):
        self.port, self.flow, self.waiting, self.over = port, flow, {}, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def on_receipt(self, frame):
        self.flow.confirm(self.waiting.pop(frame.headers["receipt-id"]))

    def on_disconnected(self):
        self.over.set()

    def _run(self):
        try:
            connection = connected(self.port, self)
            while not self.over.is_set():
                if len(self.waiting) >= WINDOW:
                    self.over.wait(0.002)
                    continue
                number, body = self.flow.next(padding())
                self.waiting[str(number)] = number
                connection.send(DESTINATION, body, headers={"receipt": str(number), "persistent": "true"})
        except Exception:  # the kill
            self.over.set()


class Consumer(stomp.ConnectionListener):
    """Acknowledges client-individual, now and then in another order than the messages came."""

    def __init__(self, door):
        self.door, self.held, self.lock = door, [], threading.Lock()
        self.connection = None
        door.books.reopened()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.connection = connected(self.door.ports["stomp"], self)
            self.connection.subscribe(DESTINATION, "1", ack="client-individual", headers={"prefetch-count": "100"})
        except Exception:  # the kill
            pass

    def on_message(self, frame):
        self.door.books.sight(frame.body)
        with self.lock:
            self.held.append(frame.headers["ack"])
            if not self.door.holding:
                self._settle(len(self.held))
            elif len(self.held) > random.randrange(20):
                random.shuffle(self.held)
                self._settle(random.randint(1, len(self.held)))

    def _settle(self, count):
        settled, self.held = self.held[:count], self.held[count:]
        try:
            for each in settled:
                self.connection.ack(each)
        except Exception:  # the kill
            pass

    def settle(self):
        with self.lock:
            if self.held:
                self._settle(len(self.held))


class Stomp(Door):
    name = "stomp"

    def __init__(self, ports):
        super().__init__(ports)
        self.books = Books("stomp")
        self.flow = Flow(self.books, "k9.stomp")
        self.consumer = self.publisher = None

    def consume(self):
        self.consumer = Consumer(self)

    def settle_all(self):
        super().settle_all()
        self.consumer.settle()

    def publish(self):
        self.publisher = Publisher(self.ports["stomp"], self.flow)

    def gone(self):
        for each in (self.consumer, self.publisher):
            if each is not None:
                each.thread.join(timeout=15)
        self.consumer = self.publisher = None
        self.holding = True
