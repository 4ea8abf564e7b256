"""One AMQP 0-9-1 connection by hand, over pika's codec: what no client library lets one send or see.

Synchronous and single threaded: frames go out as given and come in one at a time. No reconnects, no dispatch.
"""

import socket
import time
from urllib.parse import unquote, urlsplit

import pika
from pika import frame as frames
from pika import spec

PATIENCE = 10
CAPABILITIES = ("authentication_failure_close", "consumer_cancel_notify", "connection.blocked", "basic.nack")


class Gone(Exception):
    """The peer closed the socket."""


class Wire:
    """A socket and the frames on it; `server` holds the server's properties once it is open."""

    def __init__(self, url, frame_max=131072, heartbeat=0, channel_max=2047, capabilities=CAPABILITIES):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 5672), timeout=PATIENCE)
        self.user, self.password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        self.vhost = unquote(parts.path[1:]) or "/"
        self.tune = spec.Connection.TuneOk(channel_max, frame_max, heartbeat)
        self.capabilities = capabilities
        self.buffer = b""
        self.server = {}

    def raw(self, octets):
        self.socket.sendall(octets)

    def frame(self, timeout=PATIENCE):
        """The next frame but for heartbeats."""
        deadline = time.monotonic() + timeout
        while True:
            used, frame = frames.decode_frame(self.buffer) if self.buffer else (0, None)
            self.buffer = self.buffer[used:]
            if frame is not None and not isinstance(frame, frames.Heartbeat):
                return frame
            if frame is None:
                self._fill(deadline)

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no frame")
        self.socket.settimeout(left)
        try:
            octets = self.socket.recv(65536)
        except ConnectionResetError as error:
            raise Gone() from error
        if not octets:
            raise Gone()
        self.buffer += octets

    def method(self, timeout=PATIENCE):
        """The next method; content is passed over."""
        while True:
            frame = self.frame(timeout)
            if isinstance(frame, frames.Method):
                return frame

    def send(self, channel, method):
        self.raw(frames.Method(channel, method).marshal())

    def call(self, channel, method):
        """Sends a method and returns the next one that comes on its channel or on channel 0."""
        self.send(channel, method)
        return self.method().method

    def publish(self, channel, exchange, key, body=b"", properties=None, mandatory=False, immediate=False):
        properties = properties or pika.BasicProperties()
        self.send(channel, spec.Basic.Publish(0, exchange, key, mandatory, immediate))
        self.raw(frames.Header(channel, len(body), properties).marshal())
        step = (self.tune.frame_max or 131072) - 8
        for start in range(0, len(body), step):
            self.raw(frames.Body(channel, body[start : start + step]).marshal())

    def content(self):
        """The properties and the body behind a method that carries content."""
        header, body = self.frame(), b""
        while len(body) < header.body_size:
            body += self.frame().fragment
        return header.properties, body

    def start(self):
        """Protocol header to connection.start."""
        self.raw(frames.ProtocolHeader().marshal())
        start = self.method().method
        self.server = start.server_properties
        return start

    def authenticate(self):
        said = {"capabilities": {name: True for name in self.capabilities}}
        response = f"\0{self.user}\0{self.password}"
        return self.call(0, spec.Connection.StartOk(said, "PLAIN", response, "en_US"))

    def enter(self):
        """connection.tune-ok and open; what comes back."""
        self.send(0, self.tune)
        return self.call(0, spec.Connection.Open(self.vhost))

    def open(self, channels=1):
        """The whole way to `channels` open channels."""
        self.start()
        assert isinstance(self.authenticate(), spec.Connection.Tune)
        assert isinstance(self.enter(), spec.Connection.OpenOk)
        for number in range(1, channels + 1):
            assert isinstance(self.call(number, spec.Channel.Open()), spec.Channel.OpenOk)
        return self

    def close(self):
        self.socket.close()
