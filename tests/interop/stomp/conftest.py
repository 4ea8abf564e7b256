"""Fixtures of the STOMP scenarios: frames by hand."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import frames  # noqa: E402


@pytest.fixture
def raw(port):
    """Opens connections that are driven frame by frame."""
    made = []

    def connect(*arguments, **options):
        made.append(frames.Raw(options.pop("at", None) or port("stomp"), *arguments, **options))
        return made[-1]

    yield connect
    for each in made:
        each.close()
