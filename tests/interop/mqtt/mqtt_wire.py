"""MQTT packets by hand, for what a stock client will not do: stop half way, come back with the same packet ids, look at
the DUP flag.

Knows just enough of 3.1.1 and 5.0 to hold a conversation; every read has a time limit.
"""

import socket
import struct

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = (
    0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xB0, 0xD0, 0xE0,
)


def length(number):
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(value)) + value


class Packet:
    """A packet as it came; of a PUBLISH also its parts."""

    def __init__(self, first, body, version):
        self.kind, self.flags, self.body = first & 0xF0, first & 0x0F, body
        if self.kind == PUBLISH:
            self.dup, self.qos, self.retain = bool(first & 8), first >> 1 & 3, bool(first & 1)
            size = struct.unpack_from("!H", body)[0]
            self.topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
            self.id = None
            if self.qos:
                self.id, rest = struct.unpack_from("!H", rest)[0], rest[2:]
            self.properties = b""
            if version == 5:
                # A property section of the messages used here is always shorter than 128 bytes.
                self.properties, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
            self.payload = rest
        elif self.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            self.id = struct.unpack_from("!H", body)[0]
            self.code = body[2] if len(body) > 2 else 0

    def __repr__(self):
        return f"Packet({self.kind | self.flags:#04x} {self.body!r})"


class Wire:
    """One connection."""

    def __init__(self, port, client_id, clean=True, version=4, expiry=None, properties=b"", keepalive=60, will=None):
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.buffer = b""
        flags = (2 if clean else 0) | (will["flags"] if will else 0)
        head = text("MQTT") + bytes([version, flags]) + struct.pack("!H", keepalive)
        if version == 5:
            if expiry is not None:
                properties += b"\x11" + struct.pack("!I", expiry)
            head += length(len(properties)) + properties
        head += text(client_id)
        if will:
            head += (length(len(will.get("properties", b""))) + will.get("properties", b"")) if version == 5 else b""
            head += text(will["topic"]) + text(will["payload"])
        self.send(0x10, head)
        self.connack = self.expect(CONNACK)
        self.present = bool(self.connack.body[0])
        assert self.connack.body[1] == 0, self.connack

    def send(self, first, body=b""):
        self.socket.sendall(bytes([first]) + length(len(body)) + body)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def packet(self, timeout=10):
        """The next packet; None when none came in time. EOFError at the end."""
        self.socket.settimeout(timeout)
        try:
            while True:
                size, shift, at = 0, 0, 1
                while at < len(self.buffer):
                    size |= (self.buffer[at] & 0x7F) << shift
                    at, shift = at + 1, shift + 7
                    if not self.buffer[at - 1] & 0x80:
                        break
                else:
                    self._more()
                    continue
                if len(self.buffer) < at + size:
                    self._more()
                    continue
                found = Packet(self.buffer[0], self.buffer[at : at + size], self.version)
                self.buffer = self.buffer[at + size :]
                return found
        except TimeoutError:
            return None

    def expect(self, kind, timeout=10):
        """The next packet, which has to be of this kind."""
        found = self.packet(timeout)
        assert found is not None and found.kind == kind, f"wanted {kind:#04x}, got {found}"
        return found

    def silent(self, seconds=0.4):
        return self.packet(seconds) is None

    def empty(self):
        return b"\0" if self.version == 5 else b""

    def publish(self, topic, payload, qos=0, id=None, dup=False, retain=False, properties=b""):
        body = text(topic) + (struct.pack("!H", id) if qos else b"")
        body += (length(len(properties)) + properties) if self.version == 5 else b""
        payload = payload.encode() if isinstance(payload, str) else payload
        self.send(PUBLISH | (8 if dup else 0) | qos << 1 | int(retain), body + payload)

    def ack(self, kind, id, code=None):
        body = struct.pack("!H", id) + (bytes([code]) if code is not None else b"")
        self.send(kind | (2 if kind == PUBREL else 0), body)

    def subscribe(self, *filters, options=2, id=1, properties=b""):
        """Returns the codes. Packets of other kinds that come before the SUBACK are an error."""
        body = struct.pack("!H", id) + ((length(len(properties)) + properties) if self.version == 5 else b"")
        self.send(0x82, body + b"".join(text(each) + bytes([options]) for each in filters))
        return list(self.expect(SUBACK).body[3 if self.version == 5 else 2 :])

    def unsubscribe(self, *filters, id=2):
        self.send(0xA2, struct.pack("!H", id) + self.empty() + b"".join(text(each) for each in filters))
        return list(self.expect(UNSUBACK).body[3 if self.version == 5 else 2 :])

    def ended(self, timeout=10):
        """Reads to the end; what came before it."""
        found = []
        try:
            while (packet := self.packet(timeout)) is not None:
                found.append(packet)
        except (EOFError, ConnectionResetError):
            return found
        raise AssertionError(f"still open after {found}")

    def drop(self):
        self.socket.close()

    def disconnect(self):
        self.send(DISCONNECT)
        self.socket.close()
