"""stomp.py against the STOMP door, in 1.0, 1.1 and 1.2, with RabbitMQ's destinations."""

import time

import pytest
import stomp as stomp_py

VERSIONS = ("1.0", "1.1", "1.2")
PERSISTENT = {"persistent": "true"}


@pytest.mark.parametrize("version", VERSIONS)
def test_send_and_subscribe(stomp, name, version):
    client = stomp(version)
    client.subscribe(f"/queue/{name}")
    client.send(f"/queue/{name}", "hello", {"colour": "blue"}, content_type="text/plain")
    frame = client.message()
    assert (frame.body, frame.headers["colour"]) == ("hello", "blue")
    assert frame.headers["destination"] == f"/queue/{name}"
    assert frame.headers["content-type"] == "text/plain"
    assert frame.headers["subscription"] == "1" and frame.headers["message-id"]


@pytest.mark.parametrize("version", ("1.1", "1.2"))
def test_header_values_are_escaped(stomp, name, version):
    client = stomp(version)
    client.subscribe(f"/queue/{name}")
    value = "a:b\\c\nd" + ("\re" if version == "1.2" else "")
    client.send(f"/queue/{name}", "x", {"strange": value})
    assert client.message().headers["strange"] == value


def test_body_with_nul_and_any_bytes(stomp, name):
    client = stomp(auto_decode=False)
    client.subscribe(f"/queue/{name}")
    body = bytes(range(256)) * 8
    client.send(f"/queue/{name}", body)
    assert client.message().body == body


@pytest.mark.parametrize("version", VERSIONS)
def test_client_individual_or_client_ack(stomp, name, version):
    mode = "client" if version == "1.0" else "client-individual"
    client = stomp(version)
    client.subscribe(f"/queue/{name}", ack=mode, headers={"prefetch-count": "1"})
    for body in ("one", "two"):
        client.send(f"/queue/{name}", body)
    first = client.message()
    assert first.body == "one"
    if version == "1.2":
        client.connection.ack(first.headers["ack"])
    elif version == "1.1":
        client.connection.ack(first.headers["message-id"], "1")
    else:
        client.connection.ack(first.headers["message-id"])
    assert client.message().body == "two"


def test_nack_requeues(stomp, name):
    client = stomp()
    client.subscribe(f"/queue/{name}", ack="client-individual")
    client.send(f"/queue/{name}", "again")
    first = client.message()
    assert first.headers["redelivered"] == "false"
    client.connection.nack(first.headers["ack"])
    second = client.message()
    assert (second.body, second.headers["redelivered"]) == ("again", "true")
    client.connection.ack(second.headers["ack"])


def test_unacknowledged_message_goes_to_the_next_client(stomp, name):
    client = stomp()
    client.subscribe(f"/queue/{name}", ack="client")
    client.send(f"/queue/{name}", "kept", PERSISTENT)
    assert client.message().body == "kept"
    client.close()
    other = stomp()
    other.subscribe(f"/queue/{name}")
    assert other.message().body == "kept"


def test_transactions(stomp, name):
    client, other = stomp(), stomp()
    other.subscribe(f"/queue/{name}")
    lost = client.connection.begin()
    client.connection.send(f"/queue/{name}", "aborted", transaction=lost)
    client.connection.abort(lost)
    kept = client.connection.begin()
    client.connection.send(f"/queue/{name}", "committed", transaction=kept)
    client.connection.commit(kept)
    assert other.message().body == "committed"


def test_topics_reach_every_subscriber(stomp, name):
    clients = [stomp(), stomp()]
    for client in clients:
        client.subscribe(f"/topic/{name}.*.x")
    clients[0].send(f"/topic/{name}.a.x", "both")
    assert [client.message().body for client in clients] == ["both", "both"]


def test_exchange_destination(stomp, name):
    client = stomp()
    client.subscribe(f"/exchange/amq.direct/{name}")
    client.send(f"/exchange/amq.direct/{name}", "x")
    assert client.message().headers["destination"] == f"/exchange/amq.direct/{name}"


def test_unsubscribe(stomp, name):
    client = stomp()
    client.subscribe(f"/topic/{name}")
    client.connection.unsubscribe("1", headers={"receipt": "u"})
    client.confirmed("u")
    client.send(f"/topic/{name}", "x")
    assert client.messages.empty()


def test_durable_topic_subscription_keeps_messages(stomp, name):
    durable = {"durable": "true", "auto-delete": "false"}
    client = stomp()
    client.subscribe(f"/topic/{name}", id=name, headers=durable)
    client.close()
    stomp().send(f"/topic/{name}", "while away", PERSISTENT)
    client = stomp()
    client.subscribe(f"/topic/{name}", id=name, headers=durable)
    assert client.message().body == "while away"
    client.connection.unsubscribe(name, headers={**durable, "receipt": "u"})
    client.confirmed("u")


def test_reply_to_a_temporary_queue(stomp, name):
    client, server = stomp(), stomp()
    server.subscribe(f"/queue/{name}")
    client.connection.send(f"/queue/{name}", "question", headers={"reply-to": "/temp-queue/answers"})
    question = server.message()
    server.send(question.headers["reply-to"], "answer")
    assert client.message().body == "answer"


def test_receipts_come_in_order(stomp, name):
    client = stomp()
    for number in range(50):
        client.connection.send(f"/queue/{name}", "x", headers={"receipt": str(number), **PERSISTENT})
    assert [client.receipts.get(timeout=10) for _ in range(50)] == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    "destination, message",
    [("/bah/baz", "Unknown destination"), ("/queue", "Invalid destination")],
)
def test_errors_say_what_is_wrong(stomp, destination, message):
    client = stomp()
    client.connection.send(destination, "x")
    assert client.errors.get(timeout=10).headers["message"] == message


def test_wrong_password_is_refused(port):
    connection = stomp_py.Connection12([("127.0.0.1", port("stomp"))], reconnect_attempts_max=1)
    with pytest.raises(stomp_py.exception.ConnectFailedException):
        connection.connect("guest", "wrong", wait=True)


def test_heartbeats(stomp, name):
    client = stomp(heartbeats=(1000, 1000))
    time.sleep(3)
    assert client.connection.is_connected()
    client.send(f"/queue/{name}", "x")
