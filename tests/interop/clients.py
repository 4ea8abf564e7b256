"""The stock clients, connected the way their manuals do it; everything that arrives can be waited for.

No protocol tricks here: what a plain user of pika, paho-mqtt, stomp.py or boto3 cannot do is not done.
"""

import queue
import ssl
import threading
import uuid

import boto3
import botocore.config
import paho.mqtt.client as paho
import pika
import stomp as stomp_py
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOST = "127.0.0.1"
PATIENCE = 10
ACCOUNT = "000000000000"
REGION = "us-east-1"


def tls_context(folder):
    """Trusts the test CA and checks the server's name."""
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def amqp(port, tls=None, **options):
    """pika's blocking connection as guest."""
    if tls:
        options["ssl_options"] = pika.SSLOptions(tls_context(tls), "localhost")
    credentials = pika.PlainCredentials(options.pop("user", "guest"), options.pop("password", "guest"))
    return pika.BlockingConnection(pika.ConnectionParameters(HOST, port, credentials=credentials, **options))


def aws(port, service, account=ACCOUNT, region=REGION, secret="anything"):
    """A boto3 client; a 12 digit access key names the account."""
    return boto3.client(
        service,
        endpoint_url=f"http://{HOST}:{port}",
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key=secret,
        config=botocore.config.Config(retries={"max_attempts": 1}, read_timeout=30, connect_timeout=5),
    )


class Mqtt:
    """A paho client with its network loop running and its messages in a queue."""

    def __init__(
        self, port, version=5, client_id=None, clean=True, will=None, tls=None, expiry=None, **options
    ):
        protocol = {3: paho.MQTTv31, 4: paho.MQTTv311, 5: paho.MQTTv5}[version]
        # An MQTT 3.1 client id has at most 23 characters.
        client_id = f"it{uuid.uuid4().hex[:16]}" if client_id is None else client_id
        if version != 5:
            options["clean_session"] = clean
        self.version = version
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,
            reconnect_on_failure=False,
            **options,
        )
        self.messages = queue.Queue()
        self.disconnects = queue.Queue()
        self._answers = {}
        self._lock = threading.Condition()
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda client, data, flags, reason, props: self.disconnects.put(reason)
        self.client.on_subscribe = lambda client, data, mid, codes, props: self._answer(mid, codes)
        self.client.on_unsubscribe = lambda client, data, mid, codes, props: self._answer(mid, codes)
        if will:
            self.client.will_set(**will)
        if tls:
            self.client.tls_set_context(tls_context(tls))
        more = {}
        if version == 5:
            properties = Properties(PacketTypes.CONNECT)
            if expiry is not None:
                properties.SessionExpiryInterval = expiry
            more = {"clean_start": clean, "properties": properties}
        self.connack = None
        self.client.connect("localhost" if tls else HOST, port, keepalive=30, **more)
        self.client.loop_start()
        with self._lock:
            if not self._lock.wait_for(lambda: self.connack is not None, PATIENCE):
                raise TimeoutError("no CONNACK")

    def _connected(self, client, data, flags, reason, properties):
        with self._lock:
            self.connack = (flags, reason, properties)
            self._lock.notify_all()

    def _answer(self, mid, codes):
        with self._lock:
            self._answers[mid] = codes
            self._lock.notify_all()

    def _wait_answer(self, mid):
        with self._lock:
            if not self._lock.wait_for(lambda: mid in self._answers, PATIENCE):
                raise TimeoutError("no answer to (un)subscribe")
            return self._answers.pop(mid)

    def subscribe(self, topic, qos=1, **options):
        """Returns the reason codes of the SUBACK. Version 5's options hold the QoS themselves."""
        qos = 0 if "options" in options else qos
        return self._wait_answer(self.client.subscribe(topic, qos=qos, **options)[1])

    def unsubscribe(self, topic):
        return self._wait_answer(self.client.unsubscribe(topic)[1])

    def publish(self, topic, body, qos=1, retain=False, **properties):
        """Publishes and waits until the broker has taken it; properties by paho's names, user properties as a dict."""
        packed = None
        if self.version == 5:
            packed = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(packed, name, list(value.items()) if isinstance(value, dict) else value)
        info = self.client.publish(topic, body, qos=qos, retain=retain, properties=packed)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()

    def message(self, timeout=PATIENCE):
        return self.messages.get(timeout=timeout)

    def silent(self, seconds=0.3):
        """True when nothing arrives for so long."""
        try:
            self.messages.get(timeout=seconds)
            return False
        except queue.Empty:
            return True

    def drop(self):
        """Breaks the connection without DISCONNECT."""
        self.client.loop_stop()
        self.client.socket().close()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Stomp(stomp_py.ConnectionListener):
    """A stomp.py connection whose frames can be waited for."""

    CLASSES = {"1.0": stomp_py.Connection10, "1.1": stomp_py.Connection11, "1.2": stomp_py.Connection12}

    def __init__(self, port, version="1.2", tls=None, user="guest", password="guest", **options):
        self.messages, self.receipts, self.errors = queue.Queue(), queue.Queue(), queue.Queue()
        if version != "1.0":
            options.setdefault("vhost", "/")
        self.connection = self.CLASSES[version]([("localhost" if tls else HOST, port)], **options)
        if tls:
            self.connection.set_ssl([("localhost", port)], ca_certs=str(tls / "ca.pem"))
        self.connection.set_listener("", self)
        self.connection.connect(user, password, wait=True)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def confirmed(self, receipt, timeout=PATIENCE):
        """Waits for one receipt; they come in order."""
        assert self.receipts.get(timeout=timeout) == receipt

    def send(self, destination, body, headers=None, **more):
        """Sends and waits for the receipt."""
        receipt = uuid.uuid4().hex
        self.connection.send(destination, body, headers={**(headers or {}), "receipt": receipt}, **more)
        self.confirmed(receipt)

    def subscribe(self, destination, id="1", ack="auto", headers=None):
        receipt = uuid.uuid4().hex
        self.connection.subscribe(destination, id, ack=ack, headers={**(headers or {}), "receipt": receipt})
        self.confirmed(receipt)

    def message(self, timeout=PATIENCE):
        return self.messages.get(timeout=timeout)

    def close(self):
        if self.connection.is_connected():
            self.connection.disconnect()
