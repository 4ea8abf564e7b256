#!/usr/bin/env python3
"""Hostile bytes on every port, WebSocket and TLS included, then a fresh client on every door.

For each door, for so many seconds: connections that send random bytes, valid conversations cut short, conversations
with bytes changed, repeated or removed, and lengths that promise far more than comes. The process must live, stay
below a memory bound and serve an ordinary client afterwards.

    tests/interop/.venv/bin/python tests/fuzz_ports.py [--seconds 5] [--doors DOOR...] [--seed N] [--rss-mib 1024]
"""

import argparse
import pathlib
import random
import socket
import ssl
import struct
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "interop"))

import broker as brokers  # noqa: E402
import websocket as wsclient  # noqa: E402
import clients  # noqa: E402


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def short(text):
    return struct.pack(">B", len(text)) + text


def long(text):
    return struct.pack(">I", len(text)) + text


AMQP = b"".join(
    [
        b"AMQP\x00\x00\x09\x01",
        frame(1, 0, struct.pack(">HHI", 10, 11, 0) + short(b"PLAIN") + long(b"\0guest\0guest") + short(b"en_US")),
        frame(1, 0, struct.pack(">HHHIH", 10, 31, 100, 131072, 0)),
        frame(1, 0, struct.pack(">HH", 10, 40) + short(b"/") + b"\0\0"),
        frame(1, 1, struct.pack(">HH", 20, 10) + b"\0"),
        frame(1, 1, struct.pack(">HHH", 50, 10, 0) + short(b"fuzz") + b"\0" + long(b"\x01kS\0\0\0\x01v")),
        frame(1, 1, struct.pack(">HHH", 60, 40, 0) + short(b"") + short(b"fuzz") + b"\0"),
        frame(2, 1, struct.pack(">HHQH", 60, 0, 5, 0x3000) + long(b"\x01aI\0\0\0\x07") + b"\x02"),
        frame(3, 1, b"hello"),
        frame(1, 1, struct.pack(">HHH", 60, 20, 0) + short(b"fuzz") + short(b"") + b"\0\0\0\0\0"),
        frame(1, 1, struct.pack(">HHQB", 60, 80, 1, 1)),
    ]
)


def packet(first, body):
    length, encoded = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        encoded += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + encoded + body


def text(value):
    return struct.pack(">H", len(value)) + value


def mqtt(version):
    v5 = version == 5
    properties = b"\0" if v5 else b""
    expiry = b"\x05\x11\0\0\0\x3c" if v5 else b""
    return b"".join(
        [
            packet(0x10, text(b"MQTT") + bytes([version, 2]) + b"\0\x0a" + expiry + text(b"fuzz")),
            packet(0x82, b"\0\x01" + properties + text(b"fuzz/#") + b"\x01"),
            packet(0x32, text(b"fuzz/a") + b"\0\x02" + (b"\x08\x26\0\x01a\0\x02bc" if v5 else b"") + b"payload"),
            packet(0x34, text(b"fuzz/b") + b"\0\x03" + properties + b"payload"),
            packet(0x62, b"\0\x03"),
            packet(0xC0, b""),
            packet(0xE0, b""),
        ]
    )


STOMP = (
    b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0"
    b"SUBSCRIBE\nid:1\ndestination:/queue/fuzz\nack:client\n\n\0"
    b"SEND\ndestination:/queue/fuzz\ncontent-length:5\nx\\cy:a\\nb\nreceipt:1\n\nhello\0\n"
    b"BEGIN\ntransaction:t\n\n\0SEND\ndestination:/topic/fuzz\ntransaction:t\n\nx\0COMMIT\ntransaction:t\n\n\0"
    b"DISCONNECT\nreceipt:2\n\n\0"
)


def http(target, kind, body):
    head = f"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
    head += f"x-amz-target: {target}\r\n" if target else ""
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


JSON10, JSON11 = "application/x-amz-json-1.0", "application/x-amz-json-1.1"
FORM = "application/x-www-form-urlencoded"
TOPIC = "arn%3Aaws%3Asns%3Aus-east-1%3A000000000000%3Ax"

AWS = [
    http("AmazonSQS.CreateQueue", JSON10, '{"QueueName":"fuzz"}')
    + http("AmazonSQS.SendMessage", JSON10, '{"QueueUrl":"http://x/000000000000/fuzz","MessageBody":"x"}'),
    http(None, FORM, f"Action=Publish&TopicArn={TOPIC}&Message=y"),
    http("AWSEvents.PutEvents", JSON11, '{"Entries":[{"Source":"s","DetailType":"d","Detail":"{}"}]}'),
    http("Kinesis_20131202.PutRecord", JSON11, '{"StreamName":"x","Data":"AA==","PartitionKey":"k"}'),
]

# Doors that the broker fixture does not open by itself, and those that speak TLS.
MORE = ("mqtt-ws", "stomp-ws", "mqtt-wss", "stomp-wss", "aws-tls")
TLS = ("amqps", "mqtts", "stomps", "mqtt-wss", "stomp-wss", "aws-tls")

GUEST = "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n"


def managed(method, path, body=""):
    head = f"{method} /api/{path} HTTP/1.1\r\nhost: localhost\r\n{GUEST}content-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


MANAGEMENT = [
    managed("PUT", "queues/%2F/fuzz", '{"durable":true,"arguments":{"x-max-length":10}}')
    + managed("GET", "queues?page=1&page_size=2&name=f&use_regex=true&columns=name,messages&sort=name"),
    managed("PUT", "policies/%2F/fuzz", '{"pattern":"^fuzz","definition":{"max-length":5},"priority":1}'),
    managed("POST", "queues/%2F/fuzz/get", '{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}'),
    managed("POST", "definitions", '{"queues":[{"name":"fuzz","vhost":"/","durable":true}]}'),
    managed("GET", "bindings/%2F/e/amq.topic/q/fuzz/~"),
]

VALID = {
    "amqp": [AMQP],
    "mqtt": [mqtt(4), mqtt(5)],
    "stomp": [STOMP],
    "aws": AWS,
    "management": MANAGEMENT,
}

# The start of something huge, of which nothing more comes.
PROMISES = {
    "amqp": [AMQP[:8] + struct.pack(">BHI", 1, 0, 0xFFFFFFFF), AMQP + struct.pack(">BHI", 3, 1, 0x7FFFFFFF)],
    "mqtt": [b"\x10\xff\xff\xff\x7f", b"\x10\xff\xff\xff\xff\xff", mqtt(5) + b"\x30\xff\xff\xff\x7f\x00\x01a"],
    "stomp": [
        STOMP.split(b"DISCONNECT")[0] + b"SEND\ncontent-length:99999999999999999999\n\n",
        b"CONNECT\n" + b"a" * 300_000,
    ],
    "aws": [b"POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n", b"GET /" + b"a" * 300_000],
    "management": [
        f"PUT /api/queues/%2F/x HTTP/1.1\r\n{GUEST}content-length: 99999999999\r\n\r\n".encode(),
        b"GET /api/" + b"a/" * 150_000,
    ],
}


def mutated(dice, data):
    data = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                data[at:at] = dice.randbytes(dice.randint(1, 16))
            case 2:
                del data[at : at + dice.randint(1, 16)]
            case 3:
                data[at : at + 4] = dice.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"])
            case 4:
                data += data[at : at + dice.randint(1, 64)]
            case 5:
                data[at : at + 2] = dice.choice([b"\xff\xff", b"\0\0", b"\xc3\x28"])
    return bytes(data)


def attack(dice, door):
    """The bytes of one connection."""
    match dice.randrange(5):
        case 0:
            return dice.randbytes(dice.randint(1, 4096))
        case 1:
            data = dice.choice(VALID[door])
            return data[: dice.randrange(len(data))]
        case 2:
            return dice.choice(PROMISES[door])
        case _:
            return mutated(dice, dice.choice(VALID[door]))


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n"
)


def websocket(dice, door, data):
    """What an attack looks like to a WebSocket door: mostly a right upgrade, then frames, right or not."""
    upgrade = UPGRADE % (b"mqtt" if door == "mqtt" else b"v12.stomp")
    match dice.randrange(8):
        case 0:
            return data
        case 1:
            return mutated(dice, upgrade + data)
        case 2:
            # A frame that promises 2^63 - 1 bytes.
            return upgrade + b"\x82\xff\x7f" + b"\xff" * 7 + b"\0" * 4 + data
        case _:
            frames = b""
            while data:
                size = min(dice.choice([1, 50, 60_000]), len(data))
                length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
                frames += bytes([0x82 if door == "mqtt" else 0x81]) + length + b"\0" * 4 + data[:size]
                data = data[size:]
            return upgrade + (mutated(dice, frames) if dice.random() < 0.3 else frames)


def over_tls():
    """A context for a client that believes anything."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def throw(dice, port, data, tls=None):
    """Sends in pieces, reads a little, closes one way or another. What the broker does to us is its business."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        connection = plain
        try:
            # One in four speaks no TLS to a TLS door.
            if tls and dice.random() < 0.75:
                connection = tls.wrap_socket(plain)
            connection.settimeout(0.02)
            # A few small pieces first, so that the parsers see frames cut anywhere; then the rest at once.
            for _ in range(dice.randrange(20)):
                size = dice.choice([1, 7, 100])
                connection.sendall(data[:size])
                data = data[size:]
            connection.sendall(data)
            # The answer to a WebSocket upgrade comes before anything is made of the rest.
            if connection.recv(65536).startswith(b"HTTP/1.1 101"):
                connection.recv(65536)
            if dice.random() < 0.3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        finally:
            connection.close()


def rss_mib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def served(broker):
    """An ordinary client on every door; an exception when one is not served."""
    ports = broker.ports
    connection = clients.amqp(ports["amqp"])
    channel = connection.channel()
    channel.queue_declare("fuzz-after", exclusive=True)
    channel.basic_publish("", "fuzz-after", b"x")
    assert next(channel.consume("fuzz-after", inactivity_timeout=10, auto_ack=True))[2] == b"x"
    connection.close()
    client = clients.Mqtt(ports["mqtt"])
    client.subscribe("after-fuzz")
    client.publish("after-fuzz", "x")
    assert client.message().payload == b"x"
    client.close()
    client = clients.Stomp(ports["stomp"])
    client.subscribe("/queue/after-fuzz")
    client.send("/queue/after-fuzz", "x")
    assert client.message().body == "x"
    client.close()
    sqs = clients.aws(ports["aws"], "sqs")
    url = sqs.create_queue(QueueName="after-fuzz-sqs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "x"


def served_elsewhere(ports, certificates):
    """The same at the WebSocket and TLS doors: a message for MQTT, an answer for the others."""
    for door in [door for door in ports if "-ws" in door]:
        tls = door in TLS
        scheme, sub = ("wss" if tls else "ws"), ["mqtt" if door.startswith("mqtt") else "v12.stomp"]
        options = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False} if tls else None
        url = f"{scheme}://127.0.0.1:{ports[door]}/ws"
        client = wsclient.create_connection(url, subprotocols=sub, sslopt=options, timeout=10)
        if sub == ["mqtt"]:
            client.send_binary(packet(0x10, text(b"MQTT") + b"\x04\x02\0\x3c" + text(b"after-ws")))
            assert client.recv()[:1] == b"\x20"
        else:
            client.send(STOMP.split(b"SUBSCRIBE")[0].decode())
            assert client.recv().startswith("CONNECTED")
        client.close()
    if certificates:
        clients.amqp(ports["amqps"], tls=certificates).close()
        clients.Mqtt(ports["mqtts"], tls=certificates).close()
        clients.Stomp(ports["stomps"], tls=certificates).close()
        url = f"https://127.0.0.1:{ports['aws-tls']}/?Action=GetCallerIdentity&Version=2011-06-15"
        with urllib.request.urlopen(url, context=over_tls(), timeout=10) as answer:
            assert b"<Account>" in answer.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="per port")
    parser.add_argument("--doors", nargs="*", default=None, help="only these, like amqp or stomp-wss")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rss-mib", type=float, default=1024.0, help="most resident memory")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    dice = random.Random(seed)
    print(f"seed {seed}")
    certificates = brokers.certificates()
    broker = brokers.Broker(tls=certificates)
    # The broker's own are chosen but not bound yet: none of them may be chosen again.
    free = [port for port in brokers.free_ports(2 * len(MORE) + 8) if port not in broker.ports.values()]
    more = dict(zip(MORE if certificates else MORE[:2], free))
    broker.extra += [word for door, port in more.items() for word in (f"--{door}-listen", f"127.0.0.1:{port}")]
    broker.start()
    ports = {**broker.ports, **more}
    try:
        for door, port in ports.items():
            if options.doors is not None and door not in options.doors:
                continue
            protocol = next(protocol for protocol in VALID if door.startswith(protocol))
            tls = over_tls() if door in TLS else None
            count, deadline = 0, time.monotonic() + options.seconds
            while time.monotonic() < deadline:
                data = attack(dice, protocol)
                throw(dice, port, websocket(dice, protocol, data) if "-ws" in door else data, tls)
                count += 1
                if not broker.alive():
                    print(broker.printed()[-4000:])
                    sys.exit(f"{door}: the broker died at connection {count}")
            print(f"{door}: {count} connections, peak {rss_mib(broker.process.pid):.0f} MiB", flush=True)
        served(broker)
        served_elsewhere(ports, certificates)
        if "panicked" in broker.printed():
            print(broker.printed()[-4000:])
            sys.exit("a task panicked")
        if rss_mib(broker.process.pid) > options.rss_mib:
            sys.exit("too much memory")
        print("every door serves a fresh client")
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
