"""$SYS as mosquitto publishes it: names, retained, not matched by `#`, read-only, and true."""

import re
import subprocess
import time

import pytest

import broker as brokers
from mqtt_wire import PUBACK, PUBLISH, Wire

# What mosquitto 2.0.11 publishes, without its heap.
LOADS = [
    f"load/{name}/{span}"
    for name in (
        "messages/received messages/sent publish/received publish/sent publish/dropped bytes/received bytes/sent "
        "sockets connections"
    ).split()
    for span in ("1min", "5min", "15min")
]
NAMES = LOADS + (
    "version uptime clients/connected clients/active clients/disconnected clients/inactive clients/expired "
    "clients/maximum clients/total messages/received messages/sent messages/stored store/messages/count "
    "store/messages/bytes bytes/received bytes/sent publish/messages/received publish/messages/sent "
    "publish/messages/dropped publish/bytes/received publish/bytes/sent subscriptions/count "
    "shared_subscriptions/count"
).split() + ["retained messages/count"]


@pytest.fixture(scope="module")
def sys_port():
    running = brokers.Broker(extra=["--mqtt-sys-interval", "1"]).start()
    yield running.ports["mqtt"]
    running.stop()


def figures(sys_port):
    """What `$SYS/#` holds now, by name."""
    wire = Wire(sys_port, "reader")
    wire.subscribe("$SYS/#", options=0)
    found = {}
    while (packet := wire.packet(0.3)) is not None:
        if packet.kind == PUBLISH and packet.retain:
            assert packet.qos == 0
            found[packet.topic.removeprefix("$SYS/broker/")] = packet.payload.decode()
    wire.socket.close()
    return found


def until(sys_port, name, value):
    deadline = time.monotonic() + 15
    while (found := figures(sys_port)).get(name) != value:
        assert time.monotonic() < deadline, f"{name} is {found.get(name)}, not {value}"
    return found


def test_every_name_is_there_and_retained(sys_port):
    found = until(sys_port, "clients/total", "1")
    assert sorted(found) == sorted(NAMES)
    assert found["version"].startswith("waystation version ")
    assert re.fullmatch(r"\d+ seconds", found["uptime"])
    assert all(re.fullmatch(r"\d+\.\d\d", found[name]) for name in LOADS)


def test_what_happens_is_counted(sys_port):
    before = until(sys_port, "clients/connected", "1")
    worker = Wire(sys_port, "worker", clean=False)
    worker.subscribe("counted/+", options=1)
    for number in range(20):
        worker.publish("counted/x", b"12345", qos=1, id=number + 1)
    for _ in range(40):
        packet = worker.packet()
        if packet.kind == PUBLISH:
            worker.ack(PUBACK, packet.id)
    after = until(sys_port, "clients/connected", "2")

    def grew(name):
        return int(after[name]) - int(before[name])

    assert grew("publish/messages/received") == 20 and grew("publish/bytes/received") == 100
    assert grew("publish/messages/sent") >= 20
    assert grew("messages/received") >= 42 and grew("messages/sent") >= 42
    assert grew("bytes/received") >= 20 * (2 + 2 + 9 + 2 + 5)
    assert float(after["load/publish/received/1min"]) > 0
    worker.socket.close()
    gone = until(sys_port, "clients/disconnected", "1")
    assert gone["subscriptions/count"] in ("1", "2"), "the session's own, and the reader's when it was still there"


def test_wildcards_at_the_start_do_not_match(sys_port):
    wire = Wire(sys_port, "wild")
    for filter in ("#", "+/broker/uptime", "+/#"):
        wire.subscribe(filter, options=0)
    assert wire.silent(2.5)
    wire.subscribe("$SYS/broker/+", options=0)
    assert wire.expect(PUBLISH).topic.startswith("$SYS/broker/")


def test_clients_can_not_write_there(sys_port):
    new, old = Wire(sys_port, "new", version=5), Wire(sys_port, "old")
    new.publish("$SYS/broker/uptime", b"x", qos=1, id=1, retain=True)
    assert new.expect(PUBACK).code == 0x87
    old.publish("$SYS/broker/uptime", b"x", qos=1, id=1, retain=True)
    assert old.expect(PUBACK).code == 0
    assert figures(sys_port)["uptime"] != "x"


def test_mosquitto_sub_reads_them(sys_port):
    command = ["mosquitto_sub", "-p", str(sys_port), "-t", "$SYS/broker/version", "-C", "1", "-W", "10"]
    try:
        printed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except FileNotFoundError:
        pytest.skip("mosquitto_sub is absent")
    assert printed.startswith("waystation version ")


def test_off_is_off_and_nothing_is_written_to_the_log():
    quiet = brokers.Broker(extra=["--mqtt-sys-interval", "0"]).start()
    try:
        assert figures(quiet.ports["mqtt"]) == {}
    finally:
        quiet.stop()
    busy = brokers.Broker(extra=["--mqtt-sys-interval", "1"]).start()
    try:
        until(busy.ports["mqtt"], "uptime", "1 seconds")
        assert "$SYS" not in written(busy)
    finally:
        busy.stop()


def written(running):
    """Every byte of the data directory, as text."""
    files = [path for path in (running.directory / "data").rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode(errors="replace") for path in files)
