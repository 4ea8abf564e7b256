"""QoS 1 and 2 when a connection breaks half way: nothing lost, nothing twice, the same packet ids, DUP where due."""

import pytest
from mqtt_wire import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL

VERSIONS = (4, 5)


def kept(version):
    return {"clean": False, "version": version, "expiry": 300 if version == 5 else None}


@pytest.mark.parametrize("version", VERSIONS)
def test_publisher_gone_before_pubrel(wire, mqtt, name, version):
    watcher = mqtt()
    watcher.subscribe(name, qos=2)
    publisher = wire(name, **kept(version))
    publisher.publish(name, "once", qos=2, id=7)
    assert publisher.expect(PUBREC).id == 7
    publisher.drop()
    publisher = wire(name, **kept(version))
    assert publisher.present
    publisher.publish(name, "once", qos=2, id=7, dup=True)
    assert publisher.expect(PUBREC).id == 7
    publisher.ack(PUBREL, 7)
    assert publisher.expect(PUBCOMP).id == 7
    assert watcher.message().payload == b"once"
    publisher.ack(PUBREL, 7)
    assert publisher.expect(PUBCOMP).id == 7
    assert watcher.silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_publisher_gone_before_pubcomp(wire, mqtt, name, version):
    watcher = mqtt()
    watcher.subscribe(name, qos=2)
    publisher = wire(name, **kept(version))
    publisher.publish(name, "once", qos=2, id=9)
    publisher.expect(PUBREC)
    publisher.ack(PUBREL, 9)
    publisher.drop()
    assert watcher.message().payload == b"once"
    publisher = wire(name, **kept(version))
    publisher.ack(PUBREL, 9)
    assert publisher.expect(PUBCOMP).id == 9
    assert watcher.silent()
    # The identifier is free: the next message with it is another one.
    publisher.publish(name, "next", qos=2, id=9)
    publisher.expect(PUBREC)
    publisher.ack(PUBREL, 9)
    publisher.expect(PUBCOMP)
    assert watcher.message().payload == b"next"


def test_message_is_delivered_on_pubrel_only(wire, mqtt, name):
    watcher = mqtt()
    watcher.subscribe(name, qos=2)
    publisher = wire(name)
    publisher.publish(name, "first", qos=2, id=1)
    publisher.expect(PUBREC)
    assert watcher.silent()
    publisher.publish(name, "replaced", qos=2, id=1)
    publisher.expect(PUBREC)
    publisher.ack(PUBREL, 1)
    publisher.expect(PUBCOMP)
    assert watcher.message().payload == b"replaced"
    assert watcher.silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_unsent_release_of_a_session_that_ends(wire, mqtt, name, version):
    """Without a session that outlives the connection, what was not released was never published."""
    watcher = mqtt()
    watcher.subscribe(name, qos=2)
    publisher = wire(name, version=version)
    publisher.publish(name, "never", qos=2, id=1)
    publisher.expect(PUBREC)
    publisher.drop()
    assert watcher.silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_subscriber_gone_before_puback(wire, mqtt, name, version):
    subscriber = wire(name, **kept(version))
    assert subscriber.subscribe(name, options=1) == [1]
    publisher = mqtt()
    for number in range(3):
        publisher.publish(name, str(number))
    first = [subscriber.expect(PUBLISH) for _ in range(3)]
    assert [packet.id for packet in first] == [1, 2, 3] and not any(packet.dup for packet in first)
    subscriber.ack(PUBACK, 2)
    subscriber.disconnect()
    subscriber = wire(name, **kept(version))
    assert subscriber.present
    again = [subscriber.expect(PUBLISH) for _ in range(2)]
    assert [(packet.id, packet.dup, packet.payload) for packet in again] == [(1, True, b"0"), (3, True, b"2")]
    for packet in again:
        subscriber.ack(PUBACK, packet.id)
    publisher.publish(name, "new")
    fresh = subscriber.expect(PUBLISH)
    assert (fresh.dup, fresh.payload) == (False, b"new") and fresh.id not in (1, 3)
    subscriber.ack(PUBACK, fresh.id)
    subscriber.disconnect()
    assert wire(name, **kept(version)).silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_subscriber_gone_before_pubrec_and_before_pubcomp(wire, mqtt, name, version):
    subscriber = wire(name, **kept(version))
    assert subscriber.subscribe(name, options=2) == [2]
    mqtt().publish(name, "once", qos=2)
    packet = subscriber.expect(PUBLISH)
    assert (packet.id, packet.dup, packet.qos) == (1, False, 2)
    subscriber.drop()
    subscriber = wire(name, **kept(version))
    packet = subscriber.expect(PUBLISH)
    assert (packet.id, packet.dup, packet.qos, packet.payload) == (1, True, 2, b"once")
    subscriber.ack(PUBREC, 1)
    assert subscriber.expect(PUBREL).id == 1
    subscriber.drop()
    subscriber = wire(name, **kept(version))
    released = subscriber.expect(PUBREL)
    assert released.id == 1 and released.flags == 2
    subscriber.ack(PUBCOMP, 1)
    assert subscriber.silent()
    subscriber.disconnect()
    assert wire(name, **kept(version)).silent()


def test_taken_over_publisher_goes_on(wire, mqtt, name):
    watcher = mqtt()
    watcher.subscribe(name, qos=2)
    old = wire(name, **kept(5))
    old.publish(name, "once", qos=2, id=3)
    old.expect(PUBREC)
    new = wire(name, **kept(5))
    assert new.present and old.ended()[-1].body == b"\x8e"
    new.publish(name, "once", qos=2, id=3, dup=True)
    new.expect(PUBREC)
    new.ack(PUBREL, 3)
    new.expect(PUBCOMP)
    assert watcher.message().payload == b"once" and watcher.silent()


def test_unacknowledged_is_not_sent_again_on_a_live_connection(wire, mqtt, name):
    subscriber = wire(name)
    subscriber.subscribe(name, options=1)
    mqtt().publish(name, "x")
    subscriber.expect(PUBLISH)
    assert subscriber.silent(2)


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_message_not_acknowledged_comes_again(wire, mqtt, name, version):
    mqtt().publish(name, "kept", qos=2, retain=True)
    for qos in (1, 2):
        client = f"{name}-{qos}"
        subscriber = wire(client, **kept(version))
        subscriber.subscribe(name, options=qos)
        first = subscriber.expect(PUBLISH)
        assert (first.qos, first.retain, first.dup) == (qos, True, False)
        subscriber.drop()
        subscriber = wire(client, **kept(version))
        again = subscriber.expect(PUBLISH)
        assert (again.id, again.dup, again.retain, again.payload) == (first.id, True, True, b"kept")
        if qos == 1:
            subscriber.ack(PUBACK, again.id)
        else:
            subscriber.ack(PUBREC, again.id)
            subscriber.expect(PUBREL)
            subscriber.ack(PUBCOMP, again.id)
        subscriber.disconnect()
        assert wire(client, **kept(version)).silent()
    mqtt().publish(name, "", retain=True)
