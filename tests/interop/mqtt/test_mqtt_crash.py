"""What a session keeps through `kill -9` of the broker."""

import pytest
from mqtt_wire import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL

VERSIONS = (4, 5)


def kept(mortal, version):
    return {"clean": False, "version": version, "expiry": 300 if version == 5 else None, "at": mortal.ports["mqtt"]}


def complete(connection, id):
    connection.ack(PUBREL, id)
    assert connection.expect(PUBCOMP).id == id


@pytest.mark.parametrize("version", VERSIONS)
def test_subscriptions_queued_messages_and_retained(mortal, wire, version):
    subscriber = wire("sub", **kept(mortal, version))
    subscriber.subscribe("a/#", "b/+", options=2)
    subscriber.disconnect()
    publisher = wire("pub", at=mortal.ports["mqtt"])
    publisher.publish("a/1", "one", qos=1, id=1)
    publisher.expect(PUBACK)
    publisher.publish("b/1", "two", qos=2, id=2)
    publisher.expect(PUBREC)
    complete(publisher, 2)
    publisher.publish("a/kept", "three", qos=1, id=3, retain=True)
    publisher.expect(PUBACK)
    publisher.drop()
    mortal.crash()
    subscriber = wire("sub", **kept(mortal, version))
    assert subscriber.present
    got = [subscriber.expect(PUBLISH) for _ in range(3)]
    assert sorted((packet.payload, packet.qos) for packet in got) == [(b"one", 1), (b"three", 1), (b"two", 2)]
    late = wire("late", at=mortal.ports["mqtt"])
    late.subscribe("#", options=1)
    found = late.expect(PUBLISH)
    assert (found.topic, found.payload, found.retain) == ("a/kept", b"three", True)
    assert late.silent()
    late.publish("b/live", "still subscribed", qos=0)
    while (packet := subscriber.expect(PUBLISH)).payload != b"still subscribed":
        assert packet in got
    assert packet.topic == "b/live"


@pytest.mark.parametrize("version", VERSIONS)
def test_qos2_with_pubrec_is_not_lost(mortal, wire, version):
    """After PUBREC the client only sends PUBREL: the broker has to have the message."""
    subscriber = wire("sub", **kept(mortal, version))
    subscriber.subscribe("t", options=2)
    subscriber.disconnect()
    publisher = wire("pub", **kept(mortal, version))
    publisher.publish("t", "in the window", qos=2, id=5)
    publisher.expect(PUBREC)
    mortal.crash()
    publisher = wire("pub", **kept(mortal, version))
    assert publisher.present
    complete(publisher, 5)
    subscriber = wire("sub", **kept(mortal, version))
    packet = subscriber.expect(PUBLISH)
    assert packet.payload == b"in the window"
    complete(publisher, 5)
    assert subscriber.silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_qos2_sent_again_after_the_crash_is_one_message(mortal, wire, version):
    subscriber = wire("sub", **kept(mortal, version))
    subscriber.subscribe("t", options=2)
    subscriber.disconnect()
    publisher = wire("pub", **kept(mortal, version))
    publisher.publish("t", "one", qos=2, id=5)
    publisher.expect(PUBREC)
    mortal.crash()
    publisher = wire("pub", **kept(mortal, version))
    publisher.publish("t", "one", qos=2, id=5, dup=True)
    publisher.expect(PUBREC)
    complete(publisher, 5)
    subscriber = wire("sub", **kept(mortal, version))
    assert subscriber.expect(PUBLISH).payload == b"one"
    assert subscriber.silent()


def test_old_identifiers_do_not_swallow_new_messages(mortal, wire):
    """An identifier that was released before the crash is free after it, even for a PUBLISH marked as duplicate."""
    subscriber = wire("sub", **kept(mortal, 4))
    subscriber.subscribe("t", options=2)
    publisher = wire("pub", **kept(mortal, 4))
    publisher.publish("t", "first", qos=2, id=5)
    publisher.expect(PUBREC)
    publisher.disconnect()
    publisher = wire("pub", **kept(mortal, 4))
    complete(publisher, 5)
    assert subscriber.expect(PUBLISH).payload == b"first"
    mortal.crash()
    publisher = wire("pub", **kept(mortal, 4))
    publisher.publish("t", "second", qos=2, id=5, dup=True)
    publisher.expect(PUBREC)
    complete(publisher, 5)
    subscriber = wire("sub", **kept(mortal, 4))
    got = {subscriber.expect(PUBLISH).payload for _ in range(2)}
    assert b"second" in got


@pytest.mark.parametrize("qos", (1, 2))
def test_unacknowledged_delivery_comes_again(mortal, wire, qos):
    subscriber = wire("sub", **kept(mortal, 5))
    subscriber.subscribe("t", options=qos)
    publisher = wire("pub", at=mortal.ports["mqtt"])
    publisher.publish("t", "x", qos=1, id=1)
    publisher.expect(PUBACK)
    assert subscriber.expect(PUBLISH).payload == b"x"
    mortal.crash()
    subscriber = wire("sub", **kept(mortal, 5))
    assert subscriber.expect(PUBLISH).payload == b"x"


def test_qos2_delivery_is_finished_after_the_crash(mortal, wire):
    """PUBREC was sent, PUBREL perhaps lost: a receiver that delivers on PUBREL has to get one."""
    subscriber = wire("sub", **kept(mortal, 5))
    subscriber.subscribe("t", options=2)
    publisher = wire("pub", at=mortal.ports["mqtt"])
    publisher.publish("t", "x", qos=2, id=1)
    publisher.expect(PUBREC)
    complete(publisher, 1)
    first = subscriber.expect(PUBLISH)
    subscriber.ack(PUBREC, first.id)
    subscriber.expect(PUBREL)
    mortal.crash()
    subscriber = wire("sub", **kept(mortal, 5))
    packet = subscriber.packet(2)
    while packet is not None and packet.kind == PUBLISH:
        # The same identifier: the receiver knows it for the same message.
        assert packet.id == first.id
        subscriber.ack(PUBREC, packet.id)
        packet = subscriber.packet(2)
    assert packet is not None and (packet.kind, packet.id) == (PUBREL, first.id)


def test_shared_and_queue_subscriptions_survive(mortal, wire):
    member = wire("member", **kept(mortal, 5))
    member.subscribe("$share/g/s/#", "$queue/orders", options=1)
    publisher = wire("pub", at=mortal.ports["mqtt"])
    for id, topic in enumerate(("s/1", "$queue/orders"), 1):
        publisher.publish(topic, topic, qos=1, id=id)
        publisher.expect(PUBACK)
    mortal.crash()
    member = wire("member", **kept(mortal, 5))
    got = {member.expect(PUBLISH).payload for _ in range(2)}
    assert got == {b"s/1", b"$queue/orders"}
