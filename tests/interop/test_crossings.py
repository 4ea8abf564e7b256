"""Every pair of doors: what one client sends, another client of another protocol receives, body and headers."""

import base64
import json

import pytest

import clients
from crossing_doors import LINKS, PARTITION_KEY, RECEIVERS, SENDERS, Sent, create
from paths import DOORS, PATHS, UNDEFINED

# What a door can say beside the body. An event and a Kinesis record have no room for headers; of a message that was
# wrapped into an event, the headers are there and the rest is not promised.
SAYS_HEADERS = {"amqp", "mqtt", "stomp", "sqs", "sns"}
SHOWS_HEADERS = SAYS_HEADERS | {"events"}
SHOWS_PROPERTIES = SAYS_HEADERS

HEADERS = {"colour": "blue", "size": "7"}


def check(port, name, sender, receiver):
    send_to, receive_from = PATHS[sender, receiver]
    sent = Sent(name, f"from {sender} to {receiver}: grüße", HEADERS)
    for what in dict.fromkeys((send_to, receive_from)):
        create(port, sent, what, (sender, receiver))
    if send_to != receive_from:
        LINKS[send_to, receive_from](port, sent)
    # A stream is read from its start by whoever can; everybody else has to be there when it is sent.
    receiving = RECEIVERS[receiver](port, sent, receive_from)
    try:
        SENDERS[sender](port, sent, send_to)
        got = receiving.wait()
    finally:
        receiving.close()
    check_body(sent, sender, got)
    if sender in SAYS_HEADERS and receiver in SHOWS_HEADERS:
        assert {key: got.headers.get(key) for key in HEADERS} == HEADERS
    if sender in SAYS_HEADERS and receiver in SHOWS_PROPERTIES:
        assert (got.content_type or "").split(";")[0] == sent.content_type
        assert got.correlation == sent.correlation
    if sender == "kinesis" and receiver in ("kinesis", "amqp"):
        assert got.partition_key == PARTITION_KEY


def check_body(sent, sender, got):
    if sender != "events":
        assert got.body.decode() == sent.body
        return
    event = json.loads(got.body)
    assert event["detail"] == {"text": sent.body}
    assert (event["source"], event["detail-type"]) == (sent.source, sent.detail_type)


def one(sender, receiver):
    def test(port, name):
        check(port, name, sender, receiver)

    return test


for _sender, _receiver in PATHS:
    globals()[f"test_{_sender}_to_{_receiver}"] = one(_sender, _receiver)


def test_every_pair_is_accounted_for(capsys):
    with capsys.disabled():
        print(f"\n{len(PATHS)} crossings tested, {len(UNDEFINED)} undefined:")
        for (sender, receiver), reason in UNDEFINED.items():
            print(f"  {sender}_to_{receiver}: {reason}")
    assert len(PATHS) + len(UNDEFINED) == len(DOORS) ** 2


@pytest.mark.parametrize("body", [b"\x00\xff\xfe binary \x01", bytes(range(256))])
def test_amqp_to_sqs_binary_body(port, name, body):
    """A body that is not text reaches SQS as base64, says so, and is bytes again at an AMQP consumer."""
    sent = Sent(name, "", HEADERS)
    create(port, sent, "queue", ("amqp", "sqs"))
    receiving = RECEIVERS["sqs"](port, sent, "queue")
    connection = clients.amqp(port("amqp"))
    connection.channel().basic_publish("", sent.of("queue"), body)
    got = receiving.wait()
    assert got.headers["waystation-encoding"] == "base64"
    assert base64.b64decode(got.body) == body
    connection.close()


def test_sqs_to_amqp_binary_body(port, name):
    """And the other way: base64 that says so becomes bytes again."""
    body = b"\x00\xff binary"
    sent = Sent(name, "", HEADERS)
    create(port, sent, "queue", ("sqs", "amqp"))
    receiving = RECEIVERS["amqp"](port, sent, "queue")
    sqs = clients.aws(port("aws"), "sqs")
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=sent.of("queue"))["QueueUrl"],
        MessageBody=base64.b64encode(body).decode(),
        MessageAttributes={"waystation-encoding": {"DataType": "String", "StringValue": "base64"}},
    )
    assert receiving.wait().body == body
    receiving.close()


@pytest.mark.parametrize("topic", ["plain/a/b", "dots/v1.2/x", "empty//level", "star/a*b", "percent/100%"])
def test_mqtt_to_amqp_to_mqtt_topic_comes_back(port, name, topic):
    """A topic that AMQP could not tell apart is escaped in the routing key and comes back the same."""
    topic = f"{name}/{topic}"
    connection = clients.amqp(port("amqp"))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", f"{name}.#")
    client = clients.Mqtt(port("mqtt"))
    client.publish(topic, "out")
    method, _, body = next(channel.consume(queue, inactivity_timeout=clients.PATIENCE, auto_ack=True))
    assert method is not None and body == b"out"
    client.subscribe(topic)
    channel.basic_publish("amq.topic", method.routing_key, b"back")
    message = client.message()
    assert (message.topic, message.payload) == (topic, b"back")
    client.close()
    connection.close()
