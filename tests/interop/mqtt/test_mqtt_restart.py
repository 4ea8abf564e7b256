"""What a session is promised over a restart, killed or asked to end: MQTT 5.0 section 4.1 and 4.4, as far as a client
can see it.

Where the standard leaves it open, mosquitto 2.0 was the yardstick: the wills of connections that were open at a crash
are not published after it.
"""

import time

import clients
import pytest
from mqtt_wire import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL

VERSIONS = (4, 5)
WAYS = ("crash", "restart")
RETAIN_QOS1 = 0x2C


def lasting(mortal, version=5, expiry=300):
    return {"clean": False, "version": version, "expiry": expiry if version == 5 else None, "at": mortal.ports["mqtt"]}


def send(connection, topic, payload, qos=1, id=1, **more):
    connection.publish(topic, payload, qos=qos, id=id, **more)
    connection.expect(PUBACK if qos == 1 else PUBREC)
    if qos == 2:
        connection.ack(PUBREL, id)
        connection.expect(PUBCOMP)


def again(mortal, way):
    getattr(mortal, way)()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_messages_in_flight_keep_identifier_order_and_are_marked(mortal, wire, version, way):
    subscriber = wire("sub", **lasting(mortal, version))
    subscriber.subscribe("t/#", options=2)
    publisher = wire("pub", at=mortal.ports["mqtt"])
    for number in range(1, 7):
        send(publisher, f"t/{number}", str(number), qos=1 + number % 2, id=number)
    before = [subscriber.expect(PUBLISH) for _ in range(6)]
    assert not any(packet.dup for packet in before)
    again(mortal, way)
    subscriber = wire("sub", **lasting(mortal, version))
    assert subscriber.present
    after = [subscriber.expect(PUBLISH) for _ in range(6)]
    assert [(packet.id, packet.payload, packet.qos) for packet in after] == [
        (packet.id, packet.payload, packet.qos) for packet in before
    ]
    assert all(packet.dup for packet in after)
    late = wire("pub", at=mortal.ports["mqtt"])
    send(late, "t/new", "new")
    assert not subscriber.expect(PUBLISH).dup


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_after_pubrec_only_pubrel_is_sent_again(mortal, wire, version, way):
    subscriber = wire("sub", **lasting(mortal, version))
    subscriber.subscribe("t", options=2)
    publisher = wire("pub", at=mortal.ports["mqtt"])
    for number in range(1, 5):
        send(publisher, "t", str(number), qos=2, id=number)
    ids = [subscriber.expect(PUBLISH).id for _ in range(4)]
    # Released in another order than sent; the last one is not released at all.
    for id in (ids[2], ids[0], ids[1]):
        subscriber.ack(PUBREC, id)
        assert subscriber.expect(PUBREL).id == id
    again(mortal, way)
    subscriber = wire("sub", **lasting(mortal, version))
    got = [subscriber.packet() for _ in range(4)]
    assert [(packet.kind, packet.id) for packet in got[:3]] == [(PUBREL, ids[2]), (PUBREL, ids[0]), (PUBREL, ids[1])]
    assert (got[3].kind, got[3].id, got[3].dup) == (PUBLISH, ids[3], True)
    assert subscriber.silent()
    for id in ids[:3]:
        subscriber.ack(PUBCOMP, id)
    subscriber.ack(PUBREC, ids[3])
    assert subscriber.expect(PUBREL).id == ids[3]
    subscriber.ack(PUBCOMP, ids[3])
    # Then the broker forgets them.
    assert subscriber.silent(2)
    subscriber.drop()
    again(mortal, way)
    assert wire("sub", **lasting(mortal, version)).silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_publish_that_was_released_is_not_published_twice(mortal, wire, version):
    """The crash comes somewhere between PUBREL and PUBCOMP; the client can only send PUBREL again."""
    subscriber = wire("sub", **lasting(mortal, version))
    subscriber.subscribe("t", options=2)
    subscriber.disconnect()
    rounds = 8
    for number in range(rounds):
        publisher = wire("pub", **lasting(mortal, version))
        publisher.publish("t", str(number), qos=2, id=7)
        publisher.expect(PUBREC)
        publisher.ack(PUBREL, 7)
        time.sleep(number * 0.0005)
        mortal.crash()
        publisher = wire("pub", **lasting(mortal, version))
        publisher.ack(PUBREL, 7)
        assert publisher.expect(PUBCOMP).id == 7
        publisher.disconnect()
    subscriber = wire("sub", **lasting(mortal, version))
    got = []
    while (packet := subscriber.packet(1)) is not None:
        got.append(packet.payload.decode())
    assert got == [str(number) for number in range(rounds)]


@pytest.mark.parametrize("way", WAYS)
def test_retained_messages_on_their_way_are_not_lost(mortal, wire, way):
    publisher = wire("pub", at=mortal.ports["mqtt"])
    send(publisher, "r/1", "one", qos=1, retain=True)
    send(publisher, "r/2", "two", qos=2, retain=True)
    publisher.publish("r/0", "zero", retain=True)
    send(publisher, "elsewhere", "all of them are in")
    subscriber = wire("sub", **lasting(mortal))
    # The SUBACK is read first, then what was retained.
    subscriber.subscribe("r/#", options=2)
    before = {(packet.payload, packet.qos, packet.retain) for packet in (subscriber.expect(PUBLISH) for _ in range(3))}
    assert before == {(b"zero", 0, True), (b"one", 1, True), (b"two", 2, True)}
    again(mortal, way)
    subscriber = wire("sub", **lasting(mortal))
    got = [subscriber.expect(PUBLISH) for _ in range(2)]
    found = {(packet.payload, packet.qos, packet.retain, packet.dup) for packet in got}
    assert found == {(b"one", 1, True, True), (b"two", 2, True, True)}
    for packet in got:
        subscriber.ack(PUBACK if packet.qos == 1 else PUBREC, packet.id)
        if packet.qos == 2:
            subscriber.expect(PUBREL)
            subscriber.ack(PUBCOMP, packet.id)
    assert subscriber.silent(2)
    subscriber.drop()
    again(mortal, way)
    assert wire("sub", **lasting(mortal)).silent()


def delayed(seconds, **more):
    properties = b"\x18" + seconds.to_bytes(4, "big")
    return {"topic": "w/gone", "payload": "gone", "flags": RETAIN_QOS1, "properties": properties, **more}


@pytest.mark.parametrize("way", WAYS)
def test_a_delayed_will_is_published_when_it_is_due(mortal, wire, way):
    watcher = wire("watcher", **lasting(mortal))
    watcher.subscribe("w/#", options=1)
    wire("late", **lasting(mortal), will=delayed(4)).drop()
    assert watcher.silent(0.5)
    watcher.disconnect()
    again(mortal, way)
    watcher = wire("watcher", **lasting(mortal))
    assert watcher.silent(0.5)
    packet = watcher.expect(PUBLISH, timeout=10)
    assert (packet.topic, packet.payload) == ("w/gone", b"gone")
    # It had the retain flag.
    new = wire("new", at=mortal.ports["mqtt"])
    new.subscribe("w/#", options=1)
    assert new.expect(PUBLISH).retain


@pytest.mark.parametrize("way", WAYS)
def test_a_delayed_will_ends_with_the_return_or_the_session(mortal, wire, way):
    watcher = wire("watcher", **lasting(mortal))
    watcher.subscribe("w/#", options=1)
    wire("back", **lasting(mortal), will=delayed(4, payload="came back")).drop()
    wire("over", **lasting(mortal, expiry=1), will=delayed(60, payload="session over")).drop()
    assert watcher.silent(0.3)
    watcher.disconnect()
    again(mortal, way)
    assert wire("back", **lasting(mortal)).present
    watcher = wire("watcher", **lasting(mortal))
    assert watcher.expect(PUBLISH).payload == b"session over"
    assert watcher.silent(4)


@pytest.mark.parametrize("version", VERSIONS)
def test_wills_of_open_connections_end_with_a_crash(mortal, wire, version):
    """mosquitto 2.0 keeps no will either: nobody knows after a crash which of the clients have left."""
    watcher = wire("watcher", **lasting(mortal, version))
    watcher.subscribe("w/#", options=1)
    wire("open", **lasting(mortal, version), will={"topic": "w/x", "payload": "x", "flags": RETAIN_QOS1})
    mortal.crash()
    watcher = wire("watcher", **lasting(mortal, version))
    assert watcher.silent(1)


@pytest.mark.parametrize("way", WAYS)
def test_a_session_that_ended_meanwhile_is_gone(mortal, wire, way):
    short = wire("short", **lasting(mortal, expiry=2))
    short.subscribe("t/#", options=1)
    short.disconnect()
    long = wire("long", **lasting(mortal, expiry=60))
    long.subscribe("t/#", options=1)
    long.disconnect()
    publisher = wire("pub", at=mortal.ports["mqtt"])
    send(publisher, "t/1", "kept for both")
    mortal.kill() if way == "crash" else mortal.end()
    time.sleep(2.1)
    mortal.start()
    short = wire("short", **lasting(mortal, expiry=2))
    assert not short.present
    long = wire("long", **lasting(mortal, expiry=60))
    assert long.present and long.expect(PUBLISH).payload == b"kept for both"
    send(wire("pub", at=mortal.ports["mqtt"]), "t/2", "two")
    assert short.silent() and long.expect(PUBLISH).payload == b"two"


def test_a_session_open_at_the_crash_waits_from_then_on_and_no_longer(mortal, wire):
    wire("sub", **lasting(mortal, expiry=4)).subscribe("t/#", options=1)
    mortal.crash()
    time.sleep(2.5)
    # Another restart does not begin the time anew.
    mortal.crash()
    time.sleep(3)
    assert not wire("sub", **lasting(mortal, expiry=4)).present


@pytest.mark.parametrize("way", WAYS)
def test_shared_subscriptions_go_on_for_all_members(mortal, wire, way):
    members = [wire(f"m{number}", **lasting(mortal)) for number in range(2)]
    for member in members:
        member.subscribe("$share/g/s/#", options=1)
        member.disconnect()
    publisher = wire("pub", at=mortal.ports["mqtt"])
    for number in range(4):
        send(publisher, "s/1", str(number), id=number + 1)
    again(mortal, way)
    got = []
    members = [wire(f"m{number}", **lasting(mortal)) for number in range(2)]
    for member in members:
        assert member.present
        while (packet := member.packet(0.5)) is not None:
            got.append(packet.payload.decode())
            member.ack(PUBACK, packet.id)
    assert sorted(got) == ["0", "1", "2", "3"]
    publisher = wire("pub", at=mortal.ports["mqtt"])
    for number in range(10):
        send(publisher, "s/2", str(number), id=number + 1)
    counts = []
    for member in members:
        counts.append(0)
        while (packet := member.packet(0.5)) is not None:
            counts[-1] += 1
            member.ack(PUBACK, packet.id)
    assert sum(counts) == 10 and min(counts) > 0


def test_retained_messages_survive(mortal, wire):
    """Of every QoS, and what was cleared stays cleared. The other doors have no word for retaining."""
    publisher = wire("pub", at=mortal.ports["mqtt"])
    for qos, topic in enumerate(("k/0", "k/1", "k/2")):
        if qos:
            send(publisher, topic, topic, qos=qos, retain=True)
        else:
            publisher.publish(topic, topic, retain=True)
    send(publisher, "k/cleared", "x", retain=True)
    send(publisher, "k/cleared", "", retain=True)
    for _ in range(2):
        mortal.crash()
        new = wire("new", at=mortal.ports["mqtt"])
        new.subscribe("k/#", options=2)
        got = sorted((packet.topic, packet.qos) for packet in (new.expect(PUBLISH) for _ in range(3)))
        assert got == [("k/0", 0), ("k/1", 1), ("k/2", 2)]
        assert new.silent()
        new.drop()


def test_exactly_once_with_paho_through_crashes(mortal):
    """A stock client at both ends, QoS 2, and three crashes in the middle: each message once."""
    total, port = 300, mortal.ports["mqtt"]
    subscriber = clients.paho.Client(clients.paho.CallbackAPIVersion.VERSION2, "sub", clean_session=False)
    got = []
    subscriber.on_message = lambda client, data, message: got.append(message.payload.decode())
    subscriber.on_connect = lambda client, *rest: client.subscribe("once", qos=2)
    publisher = clients.paho.Client(clients.paho.CallbackAPIVersion.VERSION2, "pub", clean_session=False)
    for client in (subscriber, publisher):
        client.reconnect_delay_set(min_delay=1, max_delay=1)
        client.connect("127.0.0.1", port)
        client.loop_start()
    try:
        for number in range(total):
            publisher.publish("once", str(number), qos=2)
            if number % 75 == 74 and number < total - 1:
                mortal.crash()
            time.sleep(0.002)
        deadline = time.monotonic() + 60
        while len(got) < total and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
    finally:
        for client in (publisher, subscriber):
            client.disconnect()
            client.loop_stop()
    assert sorted(got, key=int) == [str(number) for number in range(total)]
