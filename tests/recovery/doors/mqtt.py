"""paho-mqtt: QoS 1 from clean sessions, QoS 2 from one that lasts, into sessions that last; and retained messages."""

import random
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ledger import Books, Flow

from . import Door, padding, until

WINDOW = 40
DAY = 86_400
RETAINED_TOPICS = 12


class Client:
    """A paho client that can be connected again and again. `lasting`: with the session that it had."""

    def __init__(self, port, name, lasting, **options):
        self.port, self.lasting = port, lasting
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            **options,
        )
        self.client.max_inflight_messages_set(2 * WINDOW)
        self.connected, self.broken = threading.Event(), threading.Event()
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda *_: self.broken.set()
        self.session_present = None

    def _connected(self, _client, _data, flags, _reason, _properties):
        self.session_present = flags.session_present
        self.connected.set()

    def connect(self):
        self.connected.clear()
        self.broken.clear()
        properties = Properties(PacketTypes.CONNECT)
        if self.lasting:
            properties.SessionExpiryInterval = DAY
        self.client.connect("127.0.0.1", self.port, keepalive=60, clean_start=not self.lasting, properties=properties)
        self.client.loop_start()

    def gone(self):
        """The broker is dead: the loop ends by itself."""
        self.client.loop_stop()


class Outstanding:
    """What waits for the broker's answer, by packet id. No lock is held while paho is called, so an answer may be
    there before its publish has returned."""

    def __init__(self, completed):
        self.completed = completed
        self.lock, self.waiting, self.early = threading.Lock(), {}, {}

    def __len__(self):
        return len(self.waiting)

    def sent(self, mid, what):
        with self.lock:
            if mid not in self.early:
                self.waiting[mid] = what
                return
            good = self.early.pop(mid)
        if good:
            self.completed(what)

    def answered(self, _client, _data, mid, reason, _properties):
        """paho's on_publish."""
        with self.lock:
            if mid not in self.waiting:
                self.early[mid] = not reason.is_failure
                return
            what = self.waiting.pop(mid)
        if not reason.is_failure:
            self.completed(what)


class Publisher:
    """Publishes with a window, counting what the broker completed."""

    def __init__(self, port, name, flow, topic, qos, lasting):
        self.flow, self.topic, self.qos = flow, topic, qos
        self.port, self.name, self.lasting = port, name, lasting
        self.outstanding = Outstanding(flow.confirm)
        self.client = self._client() if lasting else None
        self.thread = None

    def _client(self):
        client = Client(self.port, self.name, self.lasting)
        client.client.on_publish = self.outstanding.answered
        return client

    def start(self):
        if not self.lasting:
            self.outstanding = Outstanding(self.flow.confirm)
            self.client = self._client()
        self.client.connect()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client = self.client
        while not client.connected.wait(0.1):
            if client.broken.is_set():
                return
        while not client.broken.is_set():
            if len(self.outstanding) >= WINDOW:
                client.broken.wait(0.002)
                continue
            number, body = self.flow.next(padding())
            self.outstanding.sent(client.client.publish(self.topic, body, qos=self.qos).mid, number)

    def gone(self):
        self.thread.join(timeout=10)
        self.client.gone()


class Subscriber:
    """A session that lasts; QoS 1 deliveries are acknowledged in order, some later than others."""

    def __init__(self, door, name, topic, qos, destination):
        self.door, self.topic, self.qos, self.destination = door, topic, qos, destination
        self.client = Client(door.ports["mqtt"], name, True, manual_ack=qos == 1)
        self.client.client.on_message = self._arrived
        self.held = []
        self.lock = threading.Lock()
        self.sessions_lost = 0

    def subscribe_once(self):
        self.client.connect()
        assert until(self.client.connected.is_set, 10), "no CONNACK"
        answered = threading.Event()
        self.client.client.on_subscribe = lambda *_: answered.set()
        self.client.client.subscribe(self.topic, qos=self.qos)
        assert answered.wait(10), "no SUBACK"

    def start(self):
        self.held.clear()
        self.door.books.reopened(self.destination)
        self.client.connect()

    def _arrived(self, client, _data, message):
        self.door.books.sight(message.payload.decode(), self.destination)
        if self.qos != 1:
            return
        with self.lock:
            self.held.append(message.mid)
            if not self.door.holding:
                self._settle(len(self.held))
            elif len(self.held) > random.randrange(10):
                self._settle(random.randint(1, len(self.held)))

    def _settle(self, count):
        for mid in self.held[:count]:
            self.client.client.ack(mid, 1)
        del self.held[:count]

    def settle(self):
        with self.lock:
            self._settle(len(self.held))

    def gone(self):
        if self.client.connected.is_set() and not self.client.session_present:
            self.sessions_lost += 1
        self.client.gone()


class Retained:
    """Retained messages: the newest confirmed value of every topic, or one sent after it."""

    def __init__(self, port):
        self.port, self.client, self.thread = port, None, None
        self.sent, self.confirmed, self.outstanding = {}, {}, None
        self.values = 0

    def start(self):
        self.client = Client(self.port, "k9-retainer", False)
        self.outstanding = Outstanding(lambda pair: self.confirmed.update([pair]))
        self.client.client.on_publish = self.outstanding.answered
        self.client.connect()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.client.broken.wait(0.01):
            if not self.client.connected.is_set() or len(self.outstanding) > 10:
                continue
            self.values += 1
            topic = f"k9/state/{random.randrange(RETAINED_TOPICS)}"
            self.sent[topic] = self.values
            published = self.client.client.publish(topic, str(self.values), qos=1, retain=True)
            self.outstanding.sent(published.mid, (topic, self.values))

    def gone(self):
        self.thread.join(timeout=10)
        self.client.gone()

    def check(self):
        """Complaints."""
        got = {}
        client = Client(self.port, "k9-retained-reader", False)
        client.client.on_message = lambda _c, _d, message: got.update({message.topic: int(message.payload)})
        client.connect()
        assert until(client.connected.is_set, 10), "no CONNACK"
        client.client.subscribe("k9/state/#", qos=1)
        until(lambda: set(got) >= set(self.confirmed), 5)
        client.client.disconnect()
        client.gone()
        return [
            f"retained: {topic} is {got.get(topic)}, confirmed {value}, sent {self.sent[topic]}"
            for topic, value in self.confirmed.items()
            if not value <= got.get(topic, 0) <= self.sent[topic]
        ]


class Mqtt(Door):
    name = "mqtt"

    def __init__(self, ports):
        super().__init__(ports)
        self.books = Books("mqtt")
        port = ports["mqtt"]
        one = Flow(self.books, "qos1")
        two = Flow(self.books, "qos2", once=True)
        self.publishers = [
            Publisher(port, "k9-publisher-1", one, "k9/one", 1, lasting=False),
            Publisher(port, "k9-publisher-2", two, "k9/two", 2, lasting=True),
        ]
        self.subscribers = [
            Subscriber(self, "k9-subscriber-1", "k9/one", 1, "qos1"),
            Subscriber(self, "k9-subscriber-2", "k9/two", 2, "qos2"),
        ]
        self.retained = Retained(port)
        self.publishing = self.consuming = False

    def prepare(self):
        for subscriber in self.subscribers:
            subscriber.subscribe_once()
            subscriber.client.client.disconnect()
            subscriber.client.gone()

    def consume(self):
        self.consuming = True
        for subscriber in self.subscribers:
            subscriber.start()

    def settle_all(self):
        super().settle_all()
        for subscriber in self.subscribers:
            subscriber.settle()

    def publish(self):
        self.publishing = True
        for publisher in self.publishers:
            publisher.start()
        self.retained.start()

    def gone(self):
        for subscriber in self.subscribers if self.consuming else []:
            subscriber.gone()
            if subscriber.sessions_lost:
                self.troubles.append(f"{subscriber.destination}: the session was not there any more")
                subscriber.sessions_lost = 0
        if self.publishing:
            for publisher in self.publishers:
                publisher.gone()
            self.retained.gone()
        self.publishing = self.consuming = False
        self.holding = True
