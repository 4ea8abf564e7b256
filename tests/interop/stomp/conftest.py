"""Fixtures of the STOMP scenarios: frames by hand, and a broker with WebSocket doors that may be killed."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import frames  # noqa: E402
import restartable  # noqa: E402


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


@pytest.fixture
def mortal():
    """A broker of the test's own: `crash()` kills it and starts it on the same data."""
    running = restartable.Mortal().start()
    yield running
    died = not running.alive()
    printed = running.printed()[-4000:] if died else ""
    running.stop()
    assert not died, f"the broker ended during the test:\n{printed}"
