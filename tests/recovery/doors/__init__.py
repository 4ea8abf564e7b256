"""Publishers and consumers of every door that keep books, built to be killed: each restarts where it was."""

import random
import time

PADDINGS = ["x" * 100] * 60 + [""] * 3 + ["x" * 20_000]


def padding():
    """Mostly small, sometimes empty, seldom large."""
    return random.choice(PADDINGS)


class Door:
    """One protocol's publishers and consumers.

    `prepare` once, on a running broker. Every round: `consume`, `publish`, and `gone` once the broker was killed. While
    `holding` is set consumers keep some messages unsettled; `settle_all` says that they may not any more.
    """

    name = "?"
    unconsumed = ()

    def __init__(self, ports):
        self.ports = ports
        self.holding = True
        self.stopping = False
        self.troubles = []

    def prepare(self):
        pass

    def consume(self):
        pass

    def publish(self):
        pass

    def settle_all(self):
        self.holding = False

    def gone(self):
        pass


def until(condition, patience):
    """Waits for a condition; False when it did not come true."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
