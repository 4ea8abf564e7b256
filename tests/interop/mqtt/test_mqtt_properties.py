"""What version 5 adds to a subscription, a message and a connection."""

import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions as Options
from mqtt_wire import CONNACK, PUBACK, PUBLISH, PUBREC, length, text

from clients import PATIENCE


def identifier(number):
    properties = Properties(PacketTypes.SUBSCRIBE)
    properties.SubscriptionIdentifier = number
    return properties


def test_connack_of_a_plain_client(wire, name):
    body = wire(name, version=5).connack.body
    # Topic alias maximum 10, some maximum packet size, receive maximum 20, in this order.
    assert (body[:6], body[6:7], body[11:]) == (b"\0\0\x0b\x22\0\x0a", b"\x27", b"\x21\0\x14")


def test_overlapping_filters_say_all_their_identifiers(mqtt, name):
    client = mqtt()
    client.subscribe(f"{name}/#", options=Options(qos=1), properties=identifier(1))
    client.subscribe(f"{name}/+", options=Options(qos=2), properties=identifier(268_435_455))
    client.publish(f"{name}/a", "x", qos=2)
    said = []
    while len(said) < 2:
        said += client.message().properties.SubscriptionIdentifier
    assert sorted(said) == [1, 268_435_455] and client.silent()


@pytest.mark.parametrize("version", (3, 4))
def test_overlapping_filters_of_old_versions(mqtt, name, version):
    client = mqtt(version=version)
    client.subscribe(f"{name}/#", qos=1)
    client.subscribe(f"{name}/+", qos=2)
    client.publish(f"{name}/a", "x", qos=2)
    got = [client.message().qos]
    if not client.messages.empty() or not client.silent():
        return
    assert got == [2]


def test_subscription_is_replaced(mqtt, name):
    client = mqtt()
    client.subscribe(name, options=Options(qos=0), properties=identifier(3))
    client.subscribe(name, options=Options(qos=2), properties=identifier(4))
    client.publish(name, "x", qos=2)
    message = client.message()
    assert (message.qos, message.properties.SubscriptionIdentifier) == (2, [4]) and client.silent()


def test_no_local_and_retain_as_published(mqtt, name):
    own, other = mqtt(), mqtt()
    own.subscribe(name, options=Options(qos=1, noLocal=True, retainAsPublished=True))
    own.publish(name, "own")
    other.publish(name, "other", retain=True)
    message = own.message()
    assert (message.payload, message.retain) == (b"other", True) and own.silent()
    other.publish(name, "", retain=True)


def test_topic_alias_from_the_client(wire, mqtt, name):
    watcher = mqtt()
    watcher.subscribe(f"{name}/#")
    client = wire(name, version=5)
    client.publish(f"{name}/long", "1", properties=b"\x23\x00\x0a")
    client.publish("", "2", properties=b"\x23\x00\x0a")
    client.publish(f"{name}/other", "3", properties=b"\x23\x00\x0a")
    client.publish("", "4", properties=b"\x23\x00\x0a")
    got = [watcher.message() for _ in range(4)]
    assert [message.topic[len(name) :] for message in got] == ["/long", "/long", "/other", "/other"]
    client.publish(name, "5", properties=b"\x23\x00\x0b")
    assert [packet.body for packet in client.ended()] == [b"\x94"]


def test_topic_alias_to_the_client(wire, mqtt, name):
    client = wire(name, version=5, properties=b"\x22\x00\x01")
    client.subscribe(f"{name}/#", options=0)
    publisher = mqtt()
    for topic in ("a", "a", "b", "a"):
        publisher.publish(f"{name}/{topic}", topic, qos=0)
    got = [client.expect(PUBLISH) for _ in range(4)]
    assert [(packet.topic, packet.properties) for packet in got] == [
        (f"{name}/a", b"\x23\x00\x01"), ("", b"\x23\x00\x01"), (f"{name}/b", b""), ("", b"\x23\x00\x01"),
    ]


def test_expiry_counts_down(mqtt, name):
    options = {"client_id": name, "clean": False, "expiry": 100}
    client = mqtt(**options)
    client.subscribe(name)
    client.close()
    publisher = mqtt()
    publisher.publish(name, "long", MessageExpiryInterval=100)
    publisher.publish(name, "short", MessageExpiryInterval=1)
    time.sleep(2.1)
    client = mqtt(**options)
    message = client.message()
    assert (message.payload, message.properties.MessageExpiryInterval) == (b"long", 98) and client.silent()


def test_message_too_large_for_the_client_is_left_out(wire, mqtt, name):
    client = wire(name, version=5, properties=b"\x27\x00\x00\x00\x80")
    client.subscribe(name, options=1)
    publisher = mqtt()
    publisher.publish(name, "x" * 200)
    publisher.publish(name, "fits")
    assert client.expect(PUBLISH).payload == b"fits" and client.silent()


def test_packet_too_large_for_the_broker(wire, name):
    client = wire(name, version=5)
    maximum = int.from_bytes(client.connack.body[7:11], "big")
    client.socket.sendall(b"\x30" + length(maximum))
    assert [packet.body for packet in client.ended()] == [b"\x95"]


def test_receive_maximum(wire, mqtt, name):
    client = wire(name, version=5, properties=b"\x21\x00\x02")
    client.subscribe(name, options=2)
    publisher = mqtt()
    for number in range(5):
        publisher.publish(name, str(number), qos=1)
    publisher.publish(name, "free", qos=0)
    got = [client.expect(PUBLISH) for _ in range(3)]
    assert [packet.payload for packet in got] == [b"0", b"1", b"free"] and client.silent()
    client.ack(PUBACK, got[0].id)
    third = client.expect(PUBLISH)
    assert third.payload == b"2" and client.silent()
    for packet in (got[1], third):
        client.ack(PUBACK, packet.id)
    assert [client.expect(PUBLISH).payload for _ in range(2)] == [b"3", b"4"]


def test_error_in_pubrec_frees_the_slot(wire, mqtt, name):
    client = wire(name, version=5, properties=b"\x21\x00\x01")
    client.subscribe(name, options=2)
    publisher = mqtt()
    publisher.publish(name, "0", qos=2)
    publisher.publish(name, "1", qos=2)
    client.ack(PUBREC, client.expect(PUBLISH).id, code=0x83)
    assert client.expect(PUBLISH).payload == b"1" and client.silent()


def test_payload_format_is_checked(mqtt, wire, name):
    client = wire(name, version=5)
    client.subscribe(name, options=1)
    client.publish(name, b"\xff", qos=1, id=1, properties=b"\x01\x01")
    answer = client.expect(PUBACK)
    assert answer.code == 0x99 and client.silent()


def test_request_and_response(mqtt, name):
    service, client = mqtt(), mqtt()
    service.subscribe(f"{name}/requests")
    client.subscribe(f"{name}/answers/me")
    client.publish(f"{name}/requests", "2", ResponseTopic=f"{name}/answers/me", CorrelationData=b"\0\1")
    asked = service.message()
    service.publish(asked.properties.ResponseTopic, "4", CorrelationData=asked.properties.CorrelationData)
    answer = client.message()
    assert (answer.payload, answer.properties.CorrelationData) == (b"4", b"\0\1")


def test_assigned_client_ids(mqtt):
    first, second = (mqtt(client_id="").connack[2].AssignedClientIdentifier for _ in range(2))
    assert first.startswith("auto-") and first != second


def test_assigned_id_brings_the_session_back(mqtt, name):
    client = mqtt(client_id="", expiry=60)
    assigned = client.connack[2].AssignedClientIdentifier
    client.subscribe(name)
    client.drop()
    mqtt().publish(name, "x")
    back = mqtt(client_id=assigned, clean=False, expiry=60)
    assert back.connack[0].session_present and back.message(PATIENCE).payload == b"x"


def test_session_expiry(wire, name):
    def present(**options):
        connection = wire(name, version=5, clean=False, **options)
        found = connection.present
        connection.disconnect()
        return found

    assert not present()
    assert not present(expiry=1)
    assert present(expiry=1)
    time.sleep(2)
    assert not present(expiry=0xFFFFFFFF)
    assert present(expiry=0)
    assert not present()


def test_expiry_set_at_disconnect(wire, name):
    first = wire(name, version=5, clean=False, expiry=100)
    first.send(0xE0, b"\x00\x05\x11\x00\x00\x00\x00")
    first.drop()
    second = wire(name, version=5, clean=False)
    assert not second.present
    second.send(0xE0, b"\x00\x05\x11\x00\x00\x00\x0a")
    assert [packet.body for packet in second.ended()] == [b"\x82"]


def test_unsubscribe_says_what_existed(wire, name):
    client = wire(name, version=5)
    client.subscribe(f"{name}/a", f"{name}/b")
    assert client.unsubscribe(f"{name}/a", f"{name}/none", f"{name}/b", f"{name}/a") == [0, 0x11, 0, 0x11]


def test_puback_says_that_nobody_subscribed(wire, name):
    client = wire(name, version=5)
    client.publish(name, "x", qos=1, id=1)
    assert client.expect(PUBACK).code == 0x10
    client.subscribe(name, options=1)
    client.publish(name, "x", qos=1, id=2)
    # The message comes before its acknowledgement.
    assert client.expect(PUBLISH).payload == b"x"
    assert client.expect(PUBACK).code == 0


@pytest.mark.parametrize("version", (3, 4, 6))
def test_connect_answers(port, version):
    import socket

    opened = socket.create_connection(("127.0.0.1", port("mqtt")), timeout=5)
    head = (text("MQIsdp") if version == 3 else text("MQTT")) + bytes([version, 0, 0, 10]) + text("")
    opened.sendall(bytes([0x10]) + length(len(head)) + head)
    wanted = b"\x20\x03\x00\x84\x00" if version == 6 else bytes([CONNACK, 2, 0, 2])
    assert opened.recv(100) == wanted and opened.recv(100) == b""
