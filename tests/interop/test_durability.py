"""What is written to the disk, when, and what is not."""

import hashlib
import time

import clients
import pika
import pytest
import restartable

PERSISTENT = pika.BasicProperties(delivery_mode=2)
TRANSIENT = pika.BasicProperties(delivery_mode=1)


def fingerprint(mortal):
    """Of every byte in the data directory, once the log has come to rest."""

    def now():
        files = sorted(path for path in (mortal.directory / "data").rglob("*") if path.is_file())
        return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]

    before = now()
    for _ in range(40):
        time.sleep(0.4)
        after = now()
        if after == before:
            return after
        before = after
    raise AssertionError("the log does not come to rest")


def confirmed(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    return channel


def taken(channel, queue):
    count = 0
    while channel.basic_get(queue, auto_ack=False)[0]:
        count += 1
    return count


def test_what_is_transient_never_touches_the_disk(mortal):
    connection = clients.amqp(mortal.ports["amqp"])
    channel = confirmed(connection)
    channel.queue_declare("durable", durable=True)
    channel.queue_declare("transient")
    channel.queue_declare("own", exclusive=True)
    channel.queue_declare("passing", auto_delete=True)
    lasting = clients.Mqtt(mortal.ports["mqtt"], client_id="lasting", clean=False, expiry=300)
    lasting.subscribe("t/#", qos=2)
    before = fingerprint(mortal)
    for number in range(30):
        channel.basic_publish("", "durable", f"{number}", TRANSIENT)
        for queue in ("transient", "own", "passing"):
            channel.basic_publish("", queue, f"{number}", PERSISTENT)
    for queue in ("durable", "transient", "own", "passing"):
        assert taken(channel, queue) == 30
    brief = clients.Mqtt(mortal.ports["mqtt"])
    brief.subscribe("u/#", qos=2)
    for number in range(30):
        brief.client.publish("t/0", "to a lasting session with QoS 0", qos=0)
        brief.client.publish("u/1", "to one that ends with its connection", qos=1 + number % 2).wait_for_publish(10)
    assert all(lasting.message().qos == 0 for _ in range(30))
    assert all(brief.message().qos > 0 for _ in range(30))
    stomp = clients.Stomp(mortal.ports["stomp"])
    stomp.send("/amq/queue/durable", "not persistent")
    while not channel.basic_get("durable", auto_ack=True)[0]:
        time.sleep(0.05)
    assert fingerprint(mortal) == before
    channel.basic_publish("", "durable", "persistent", PERSISTENT)
    assert fingerprint(mortal) != before
    for client in (brief, lasting, stomp):
        client.close()
    connection.close()


@pytest.fixture
def started():
    made = []

    def start(*flags):
        made.append(restartable.Mortal(extra=flags).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()


def put(mortal, queue, bodies, arguments=None):
    connection = clients.amqp(mortal.ports["amqp"])
    channel = confirmed(connection)
    channel.queue_declare(queue, durable=True, arguments=arguments)
    for body in bodies:
        channel.basic_publish("", queue, body, PERSISTENT)
    connection.close()


def content(mortal, queue):
    connection = clients.amqp(mortal.ports["amqp"])
    channel = connection.channel()
    got = []
    while (found := channel.basic_get(queue, auto_ack=True))[0]:
        got.append(found[2].decode())
    connection.close()
    return got


def warnings(mortal):
    return [line for line in mortal.printed().splitlines() if "confirmed before they are on the disk" in line]


def test_a_broker_with_interval_says_so_and_keeps_its_messages(started):
    mortal = started("--durability", "interval", "--durability-interval-ms", "300")
    (said,) = warnings(mortal)
    assert "durability = interval" in said and "300 ms" in said
    put(mortal, "q", ["1", "2"])
    # Longer than the interval, so these are on the disk.
    time.sleep(1)
    mortal.crash()
    put(mortal, "q", ["3"])
    mortal.restart()
    assert content(mortal, "q") == ["1", "2", "3"]


def test_a_queue_with_interval_is_named_at_the_next_start(started):
    mortal = started()
    put(mortal, "strict", ["1"])
    put(mortal, "later", ["1", "2"], {"x-durability": "interval"})
    time.sleep(1)
    assert warnings(mortal) == []
    mortal.crash()
    assert content(mortal, "later") == ["1", "2"] and content(mortal, "strict") == ["1"]
    (said,) = warnings(mortal)
    assert "on 1 queues" in said


def test_a_word_that_is_none_is_refused(started):
    mortal = started()
    connection = clients.amqp(mortal.ports["amqp"])
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="x-durability"):
        connection.channel().queue_declare("q", durable=True, arguments={"x-durability": "never"})
    connection.close()
    with pytest.raises(restartable.brokers.NotStarted, match="durability: 'never' is none of always, interval"):
        started("--durability", "never")
