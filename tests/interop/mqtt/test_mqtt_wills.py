"""When a will is published, when it waits, and when it is not."""

import pytest
from mqtt_wire import DISCONNECT, PUBACK

VERSIONS = (4, 5)
QOS1, RETAINED = 0x0C, 0x2C


def delay(seconds):
    return b"\x18" + seconds.to_bytes(4, "big")


def will(name, flags=QOS1, **more):
    return {"topic": f"{name}/will", "payload": "gone", "flags": flags, **more}


@pytest.fixture
def watcher(mqtt, name):
    client = mqtt()
    client.subscribe(f"{name}/#", qos=2)
    return client


@pytest.mark.parametrize("version", VERSIONS)
def test_keep_alive_ran_out(wire, watcher, name, version):
    quiet = wire(name, version=version, keepalive=1, will=will(name))
    assert watcher.silent(0.8)
    assert watcher.message(timeout=5).payload == b"gone"
    ended = quiet.ended()
    assert [packet.body for packet in ended] == ([b"\x8d"] if version == 5 else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_normal_disconnect_suppresses_it(wire, watcher, name, version):
    for _ in range(20):
        # At once back with the same id: the DISCONNECT before still counts.
        wire(name, version=version, will=will(name)).disconnect()
    assert watcher.silent(0.5)


def test_disconnect_with_will(wire, watcher, name):
    leaving = wire(name, version=5, will=will(name))
    leaving.send(DISCONNECT, b"\x04\x00")
    assert watcher.message().payload == b"gone"


@pytest.mark.parametrize("version", VERSIONS)
def test_taken_over(wire, watcher, name, version):
    wire(name, version=version, will=will(name))
    wire(name, version=version)
    assert watcher.message().payload == b"gone"
    assert watcher.silent()


def test_delayed_and_cancelled_by_coming_back(wire, watcher, name):
    wire(name, version=5, clean=False, expiry=60, will=will(name, properties=delay(2))).drop()
    assert watcher.silent(1)
    back = wire(name, version=5, clean=False, expiry=60)
    assert back.present and watcher.silent(2)


def test_delayed_until_its_time(wire, watcher, name):
    wire(name, version=5, clean=False, expiry=60, will=will(name, properties=delay(1))).drop()
    assert watcher.silent(0.6)
    assert watcher.message(timeout=3).payload == b"gone"


def test_delay_ends_with_the_session(wire, watcher, name):
    wire(name, version=5, clean=False, expiry=1, will=will(name, properties=delay(60))).drop()
    assert watcher.message(timeout=4).payload == b"gone"
    wire(name, version=5, will=will(name, properties=delay(60))).drop()
    assert watcher.message(timeout=2).payload == b"gone"
    wire(name, version=5, clean=False, expiry=60, will=will(name, properties=delay(60))).drop()
    assert watcher.silent()
    wire(name, version=5, clean=True)
    assert watcher.message(timeout=2).payload == b"gone"


def test_protocol_error(wire, watcher, name):
    wrong = wire(name, version=5, will=will(name))
    wrong.send(PUBACK | 1, b"\0\1")
    assert [packet.body for packet in wrong.ended()] == [b"\x81"]
    assert watcher.message().payload == b"gone"


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_will(wire, watcher, mqtt, name, version):
    wire(name, version=version, will=will(name, flags=RETAINED)).drop()
    assert watcher.message().payload == b"gone"
    late = mqtt()
    late.subscribe(f"{name}/will")
    assert late.message().retain
    late.publish(f"{name}/will", "", retain=True)


def test_will_carries_its_properties(wire, watcher, name):
    properties = b"\x01\x01\x03\x00\x04text\x02\x00\x00\x00\x3c\x26\x00\x01b\x00\x012\x26\x00\x01a\x00\x011"
    wire(name, version=5, will=will(name, properties=properties)).drop()
    got = watcher.message().properties
    assert (got.PayloadFormatIndicator, got.ContentType, got.UserProperty) == (1, "text", [("b", "2"), ("a", "1")])
    assert got.MessageExpiryInterval in (59, 60)
