"""Retained messages: handling options, wildcards, clearing, many of them."""

import time

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions as Options

VERSIONS = (4, 5)


def test_retain_handling(mqtt, name):
    client = mqtt()
    client.publish(f"{name}/a", "kept", retain=True)

    def gets(handling):
        client.subscribe(f"{name}/+", options=Options(qos=1, retainHandling=handling))
        return not client.silent()

    assert not gets(Options.RETAIN_DO_NOT_SEND)
    assert not gets(Options.RETAIN_SEND_IF_NEW_SUB)
    assert gets(Options.RETAIN_SEND_ON_SUBSCRIBE)
    assert gets(Options.RETAIN_SEND_ON_SUBSCRIBE)
    client.unsubscribe(f"{name}/+")
    assert gets(Options.RETAIN_SEND_IF_NEW_SUB)
    client.publish(f"{name}/a", "", retain=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "filter, topics",
    [
        ("{}/#", {"{}", "{}/a", "{}/a/b", "{}/$x"}),
        ("{}/+", {"{}/a", "{}/$x"}),
        ("{}/+/b", {"{}/a/b"}),
        ("+/a/b", {"{}/a/b"}),
        ("{}", {"{}"}),
    ],
)
def test_wildcards(mqtt, name, version, filter, topics):
    publisher = mqtt()
    every = [name, f"{name}/a", f"{name}/a/b", f"{name}/$x"]
    for topic in every:
        publisher.publish(topic, topic, retain=True)
    client = mqtt(version=version)
    client.subscribe(filter.format(name))
    got = set()
    while len(got) < len(topics):
        message = client.message()
        assert message.retain
        if message.topic.startswith(name):
            got.add(message.topic)
    assert got == {topic.format(name) for topic in topics}
    assert client.silent()
    for topic in every:
        publisher.publish(topic, "", retain=True)
    client = mqtt(version=version)
    client.subscribe(filter.format(name))
    assert client.silent()


def test_clearing_reaches_live_subscribers(mqtt, name):
    client = mqtt()
    client.subscribe(name)
    client.publish(name, "x", retain=True)
    client.publish(name, "", retain=True)
    got = [client.message() for _ in range(2)]
    assert [(message.payload, message.retain) for message in got] == [(b"x", False), (b"", False)]


@pytest.mark.parametrize("published", (0, 1, 2))
@pytest.mark.parametrize("granted", (0, 1, 2))
def test_quality_is_the_lower_one(mqtt, name, published, granted):
    client = mqtt()
    client.publish(name, "x", qos=published, retain=True)
    client.subscribe(name, qos=granted)
    assert client.message().qos == min(published, granted)
    client.publish(name, "", retain=True)


def test_retained_keeps_properties_and_subscription_id(mqtt, wire, name):
    publisher = mqtt()
    publisher.publish(name, "x", retain=True, UserProperty=[("b", "1"), ("a", "2")], MessageExpiryInterval=100)
    late = wire(name, version=5)
    late.subscribe(name, options=1, properties=b"\x0b\x05")
    packet = late.expect(0x30)
    assert b"\x0b\x05" in packet.properties and b"b\x00\x011\x26\x00\x01a" in packet.properties
    publisher.publish(name, "", retain=True)


def test_expired_retained_message_is_gone(mqtt, name):
    publisher = mqtt()
    publisher.publish(name, "x", retain=True, MessageExpiryInterval=1)
    time.sleep(1.5)
    client = mqtt()
    client.subscribe(name)
    assert client.silent()


def test_shared_subscription_gets_no_retained(mqtt, name):
    client = mqtt()
    client.publish(name, "x", retain=True)
    client.subscribe(f"$share/g/{name}")
    assert client.silent()
    client.publish(name, "", retain=True)


def test_ten_thousand_topics(mqtt, name):
    publisher = mqtt()
    for number in range(10_000):
        info = publisher.client.publish(f"{name}/{number}", str(number), qos=1, retain=True)
    info.wait_for_publish(60)
    client = mqtt()
    client.subscribe(f"{name}/#")
    assert {client.message(timeout=30).payload for _ in range(10_000)} == {str(number).encode() for number in range(10_000)}
    for number in range(10_000):
        info = publisher.client.publish(f"{name}/{number}", "", qos=1, retain=True)
    info.wait_for_publish(60)
    client = mqtt()
    client.subscribe(f"{name}/#")
    assert client.silent()
