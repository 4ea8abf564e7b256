"""Fixtures: one broker per session, clients per test."""

import uuid

import pytest

import broker as brokers
import clients
import restartable


@pytest.fixture(scope="session")
def broker():
    """The broker under test, with TLS doors when certificates can be made."""
    running = brokers.external() or brokers.Broker(tls=brokers.certificates()).start()
    yield running
    died = not running.alive()
    printed = running.printed()[-4000:] if died else ""
    running.stop()
    assert not died, f"the broker ended during the tests:\n{printed}"


@pytest.fixture
def mortal():
    """A broker of the test's own, with WebSocket doors: `crash()` kills it and starts it on the same data."""
    running = restartable.Mortal().start()
    yield running
    died = not running.alive()
    printed = running.printed()[-4000:] if died else ""
    running.stop()
    assert not died, f"the broker ended during the test:\n{printed}"


@pytest.fixture
def name():
    """A name that no other test uses."""
    return f"it-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def port(broker):
    """Port of a door by name; skips the test when the broker has no such door."""

    def of(door):
        if door not in broker.ports:
            pytest.skip(f"no {door} door here")
        return broker.ports[door]

    return of


@pytest.fixture
def aws(port):
    """boto3 clients by service name."""
    return lambda service, **options: clients.aws(port("aws"), service, **options)


@pytest.fixture
def amqp(port):
    """An open pika connection."""
    connection = clients.amqp(port("amqp"))
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def mqtt(port):
    """Makes connected paho clients; disconnects them afterwards."""
    made = []

    def connect(*arguments, **options):
        made.append(clients.Mqtt(port(options.pop("door", "mqtt")), *arguments, **options))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def stomp(port):
    """Makes connected stomp.py clients; disconnects them afterwards."""
    made = []

    def connect(*arguments, **options):
        made.append(clients.Stomp(port(options.pop("door", "stomp")), *arguments, **options))
        return made[-1]

    yield connect
    for client in made:
        client.close()
