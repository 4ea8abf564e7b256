"""Where these tests find the broker: at `AMQP_URL`, or the one that the suite starts."""

import os

import pytest
from amqp_wire import Wire


@pytest.fixture(scope="session")
def url(request):
    """The broker under test."""
    given = os.environ.get("AMQP_URL")
    if given:
        return given
    ports = request.getfixturevalue("broker").ports
    if "amqp" not in ports:
        pytest.skip("no amqp door here")
    return f"amqp://guest:guest@127.0.0.1:{ports['amqp']}/"


@pytest.fixture
def wire(url):
    """Makes open connections; their sockets are closed afterwards."""
    made = []

    def connect(channels=1, **options):
        made.append(Wire(url, **options))
        return made[-1].open(channels)

    yield connect
    for connection in made:
        connection.close()
