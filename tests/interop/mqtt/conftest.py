"""Fixtures of the MQTT scenarios: packets by hand, and a broker that may be killed."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import restartable  # noqa: E402
import mqtt_wire as wires  # noqa: E402


@pytest.fixture
def wire(port):
    """Opens connections that are driven packet by packet."""
    made = []

    def connect(*arguments, **options):
        made.append(wires.Wire(options.pop("at", None) or port("mqtt"), *arguments, **options))
        return made[-1]

    yield connect
    for each in made:
        each.drop()


@pytest.fixture
def mortal():
    """A broker of the test's own, with WebSocket doors: `crash()` kills it and starts it on the same data."""
    running = restartable.Mortal().start()
    yield running
    died = not running.alive()
    printed = running.printed()[-4000:] if died else ""
    running.stop()
    assert not died, f"the broker ended during the test:\n{printed}"
