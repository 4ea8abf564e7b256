"""paho-mqtt against the MQTT door, in 3.1, 3.1.1 and 5.0."""

import queue
import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSIONS = (3, 4, 5)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", (0, 1, 2))
def test_publish_and_subscribe(mqtt, name, version, qos):
    subscriber, publisher = mqtt(version=version), mqtt(version=version)
    subscriber.subscribe(f"{name}/+/t", qos=qos)
    publisher.publish(f"{name}/a/t", b"\x00payload\xff", qos=qos)
    message = subscriber.message()
    assert (message.topic, message.payload, message.qos) == (f"{name}/a/t", b"\x00payload\xff", qos)
    assert not message.retain
    assert subscriber.silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_granted_and_effective_qos(mqtt, name, version):
    client = mqtt(version=version)
    for granted in (0, 1, 2):
        assert [code.value for code in client.subscribe(f"{name}/{granted}", qos=granted)] == [granted]
        client.publish(f"{name}/{granted}", "x", qos=2)
        assert client.message().qos == granted


@pytest.mark.parametrize(
    "pattern, matching, other",
    [
        ("{}/#", ["{}", "{}/a", "{}/a/b"], ["x{}"]),
        ("{}/+/c", ["{}/b/c", "{}//c"], ["{}/c", "{}/b/b/c"]),
        ("+/{}", ["a/{}", "/{}"], ["{}", "a/b/{}"]),
        ("{}/ü.x/*", ["{}/ü.x/*"], ["{}/ü.x/a", "{}/ü/x/*"]),
    ],
)
def test_filters(mqtt, name, pattern, matching, other):
    client = mqtt()
    client.subscribe(pattern.format(name))
    for topic in other + matching:
        client.publish(topic.format(name), topic.format(name))
    got = [client.message().topic for _ in matching]
    assert got == [topic.format(name) for topic in matching]
    assert client.silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_message(mqtt, name, version):
    publisher = mqtt(version=version)
    publisher.publish(f"{name}/r", "old", retain=True)
    publisher.publish(f"{name}/r", "kept", retain=True)
    for filter in (f"{name}/r", f"{name}/#", f"+/r"):
        late = mqtt(version=version)
        late.subscribe(filter)
        message = late.message()
        while filter == "+/r" and message.topic != f"{name}/r":
            message = late.message()
        assert (message.payload, message.retain) == (b"kept", True)
    publisher.publish(f"{name}/r", "", retain=True)
    empty = mqtt(version=version)
    empty.subscribe(f"{name}/r")
    assert empty.silent()


@pytest.mark.parametrize("version", VERSIONS)
def test_will_is_sent_when_the_connection_breaks_only(mqtt, name, version):
    watcher = mqtt()
    watcher.subscribe(f"{name}/will")
    will = {"topic": f"{name}/will", "payload": "gone", "qos": 1}
    mqtt(version=version, will=will).close()
    assert watcher.silent()
    mqtt(version=version, will=will).drop()
    assert watcher.message().payload == b"gone"


@pytest.mark.parametrize("version", VERSIONS)
def test_session_keeps_what_comes_while_its_client_is_away(mqtt, name, version):
    options = {"version": version, "client_id": name, "clean": False, "expiry": 300 if version == 5 else None}
    client = mqtt(**options)
    assert not client.connack[0].session_present
    client.subscribe(f"{name}/q", qos=1)
    client.close()
    publisher = mqtt()
    for number in range(5):
        publisher.publish(f"{name}/q", str(number))
    client = mqtt(**options)
    # The CONNACK of 3.1 has no room for it.
    assert client.connack[0].session_present or version == 3
    assert [client.message().payload for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    client.close()
    options["clean"] = True
    assert not mqtt(**options).connack[0].session_present


def test_second_client_of_the_same_id_takes_over(mqtt, name):
    first = mqtt(client_id=name)
    mqtt(client_id=name)
    assert first.disconnects.get(timeout=10).value == 0x8E


def test_unsubscribe(mqtt, name):
    client = mqtt()
    client.subscribe(name)
    assert [code.value for code in client.unsubscribe(name)] == [0]
    assert [code.value for code in client.unsubscribe(name)] == [0x11]
    client.publish(name, "x")
    assert client.silent()


def test_properties_come_through_in_order(mqtt, name):
    client = mqtt()
    client.subscribe(name)
    users = [("a", "1"), ("b", "2"), ("a", "3")]
    client.publish(
        name,
        "x",
        PayloadFormatIndicator=1,
        ContentType="text/plain",
        ResponseTopic="answers/here",
        CorrelationData=b"\x00\xff",
        MessageExpiryInterval=60,
        UserProperty=users,
    )
    got = client.message().properties
    assert got.UserProperty == users
    assert (got.PayloadFormatIndicator, got.ContentType) == (1, "text/plain")
    assert (got.ResponseTopic, got.CorrelationData) == ("answers/here", b"\x00\xff")
    assert 0 < got.MessageExpiryInterval <= 60


def test_shared_subscription_divides_the_messages(mqtt, name):
    members = [mqtt(), mqtt()]
    for member in members:
        member.subscribe(f"$share/group/{name}/#", qos=1)
    publisher = mqtt()
    for number in range(20):
        publisher.publish(f"{name}/{number}", str(number))
    got = []
    deadline = time.monotonic() + 10
    while len(got) < 20 and time.monotonic() < deadline:
        for who, member in enumerate(members):
            try:
                got.append((who, member.message(timeout=0.05).payload))
            except queue.Empty:
                pass
    assert sorted(int(body) for _, body in got) == list(range(20))
    assert {who for who, _ in got} == {0, 1}


def test_subscription_options_of_version_5(mqtt, name):
    client = mqtt()
    client.subscribe(f"{name}/own", options=SubscribeOptions(qos=1, noLocal=True))
    client.publish(f"{name}/own", "x")
    assert client.silent()
    keeping = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    client.publish(f"{name}/r", "before", retain=True)
    client.subscribe(f"{name}/r", options=keeping)
    assert client.silent()
    client.publish(f"{name}/r", "now", retain=True)
    message = client.message()
    assert (message.payload, message.retain) == (b"now", True)
    client.publish(f"{name}/r", "", retain=True)


def test_subscription_identifier(mqtt, name):
    client = mqtt()
    properties = Properties(PacketTypes.SUBSCRIBE)
    properties.SubscriptionIdentifier = 77
    client.subscribe(name, options=SubscribeOptions(qos=1), properties=properties)
    client.publish(name, "x")
    assert client.message().properties.SubscriptionIdentifier == [77]


def test_expired_message_is_not_delivered(mqtt, name):
    options = {"client_id": name, "clean": False, "expiry": 300}
    client = mqtt(**options)
    client.subscribe(name)
    client.close()
    publisher = mqtt()
    publisher.publish(name, "short", MessageExpiryInterval=1)
    publisher.publish(name, "long", MessageExpiryInterval=600)
    time.sleep(2)
    client = mqtt(**options)
    message = client.message()
    assert message.payload == b"long" and message.properties.MessageExpiryInterval <= 599
    assert client.silent()


def test_assigned_client_id(mqtt):
    assert mqtt(client_id="").connack[2].AssignedClientIdentifier


def test_large_payload(mqtt, name):
    client = mqtt()
    client.subscribe(name)
    body = bytes(i % 251 for i in range(1_000_000))
    client.publish(name, body)
    assert client.message().payload == body


def test_order_is_kept(mqtt, name):
    client, publisher = mqtt(), mqtt()
    client.subscribe(name, qos=2)
    for number in range(200):
        publisher.client.publish(name, str(number), qos=1)
    assert [int(client.message().payload) for _ in range(200)] == list(range(200))


def test_dollar_topics_are_not_matched_by_wildcards(mqtt, name):
    client = mqtt()
    client.subscribe("#")
    client.publish(name, "x")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        message = client.message()
        assert not message.topic.startswith("$")
        if message.topic == name:
            return
    raise AssertionError("not delivered")
