"""The TCP doors behind TLS, with the test certificates."""

import ssl

import pika
import pytest

import clients


@pytest.fixture
def tls(broker):
    if not broker.tls:
        pytest.skip("no certificates: certs/make.sh could not make them")
    return broker.tls


def test_amqps(port, tls, name):
    connection = clients.amqp(port("amqps"), tls=tls)
    channel = connection.channel()
    channel.queue_declare(name, exclusive=True)
    body = bytes(i % 251 for i in range(200_000))
    channel.basic_publish("", name, body)
    assert next(channel.consume(name, auto_ack=True, inactivity_timeout=clients.PATIENCE))[2] == body
    connection.close()


@pytest.mark.parametrize("version", (4, 5))
def test_mqtts(port, tls, mqtt, name, version):
    client = mqtt(version=version, door="mqtts", tls=tls)
    client.subscribe(name)
    body = bytes(i % 251 for i in range(200_000))
    client.publish(name, body)
    assert client.message().payload == body


def test_stomps(port, tls, stomp, name):
    client = stomp(door="stomps", tls=tls)
    client.subscribe(f"/queue/{name}")
    client.send(f"/queue/{name}", "x" * 200_000)
    assert client.message().body == "x" * 200_000


def test_tls_and_plain_clients_meet(port, tls, amqp, mqtt, name):
    client = mqtt(door="mqtts", tls=tls)
    client.subscribe(name)
    properties = pika.BasicProperties(delivery_mode=2)
    amqp.channel().basic_publish("amq.topic", name, b"across", properties)
    assert client.message().payload == b"across"


def test_unknown_authority_is_refused_by_the_client(port, tls):
    with pytest.raises((ssl.SSLError, pika.exceptions.AMQPConnectionError)):
        pika.BlockingConnection(
            pika.ConnectionParameters(
                clients.HOST, port("amqps"), ssl_options=pika.SSLOptions(ssl.create_default_context(), "localhost")
            )
        )
