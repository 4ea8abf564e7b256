"""Fixtures of the MQTT scenarios: packets by hand."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

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
