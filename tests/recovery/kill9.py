#!/usr/bin/env python3
"""kill -9 under load, all doors at once: nothing confirmed may be missing afterwards, or out of order.

Clients of every door publish numbered messages and keep books of what was confirmed; others consume, settle some and
hold others. At a random moment, sometimes during the start, the process is killed and started again on the same
data, with other log settings. What is left over is carried to the next round; every few rounds everything is
drained and the books must balance. Duplicates may be what the protocol lets come again: never MQTT QoS 2 and
what SQS said was deleted from a FIFO queue, and nothing that was settled before the last but one kill.

    tests/interop/.venv/bin/python tests/recovery/kill9.py [--rounds 20] [--seed N] [--only amqp,mqtt] [--self-test]

`--rounds` counts kills. `--self-test` puts an older copy of the data in place after a kill and succeeds only if
a loss is found at every door. A failure leaves the data directory, and says where.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time

import ledger
from doors import until
from doors.amqp import HOARDS, Amqp
from doors.aws import Aws
from doors.mqtt import Mqtt
from doors.stomp import Stomp
from running import Broker, NotStarted, known_flags, small_log

DOORS = {kind.name: kind for kind in (Amqp, Mqtt, Stomp, Aws)}
DRAIN_EVERY = 5
# Long enough that a backlog gathers which is worth paging.
FEAST_EVERY = 25
PATIENCE = 40
SILENCE = 0.4


class Harness:
    def __init__(self, names, dice, small=True):
        self.dice = dice
        self.flags = known_flags() if small else set()
        self.broker = Broker()
        self.doors = [DOORS[name](self.broker.ports) for name in names]
        self.complaints = []
        self.kills = self.kills_at_start = self.torn = 0
        self.slowest = 0.0

    def books(self):
        for door in self.doors:
            yield from door.books.values() if isinstance(door.books, dict) else [door.books]

    def begin(self):
        self.start()
        for door in self.doors:
            door.prepare()

    def start(self):
        """Up again with settings of its own, killed on the way there now and then."""
        self.broker.extra = small_log(self.dice, self.flags)
        self.broker.extra += ["--workers", "2"] if "workers" in self.flags else []
        while self.kills and self.dice.random() < 0.2:
            self.broker.launch()
            time.sleep(self.dice.uniform(0, 0.15))
            if self.broker.process.poll() is not None:
                raise NotStarted(self.broker.since_launch())
            self.broker.kill()
            self.kills += 1
            self.kills_at_start += 1
        started = time.monotonic()
        self.broker.start()
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.torn += "torn" in self.broker.since_launch() or "unfinished" in self.broker.since_launch()

    def traffic(self, seconds):
        for door in self.doors:
            door.publish()
        first = [books.row()["confirmed"] for books in self.books()]
        # Mostly in the middle of it all, sometimes while the clients are still coming.
        if self.dice.random() < 0.9:
            until(lambda: all(b.row()["confirmed"] > f for b, f in zip(self.books(), first)), 10)
        time.sleep(seconds)

    def kill(self):
        if not self.broker.alive():
            self.complaints.append(f"the broker ended by itself: {self.broker.since_launch()[-2000:]}")
        if "panicked" in self.broker.since_launch():
            self.complaints.append(f"a thread panicked: {self.broker.since_launch()[-2000:]}")
        self.broker.kill()
        self.kills += 1
        for door in self.doors:
            door.gone()
        for books in self.books():
            books.killed()

    def round(self, seconds, consume=True):
        if not self.broker.alive():
            self.start()
        for door in self.doors if consume else []:
            door.consume()
        if self.rounds_done % DRAIN_EVERY == DRAIN_EVERY - 1:
            self.drain(hoards=self.rounds_done % FEAST_EVERY == FEAST_EVERY - 1)
        self.traffic(seconds)
        self.kill()

    def drain(self, hoards):
        """Takes and settles everything, and balances the books."""
        skipped = () if hoards else HOARDS
        for door in self.doors:
            if hoards and isinstance(door, Amqp):
                door.consume(hoards=True)
            door.settle_all()
        until(lambda: not any(books.missing(*skipped) for books in self.books()), PATIENCE)
        self.quiet()
        for door in self.doors:
            door.settle_all()
            if isinstance(door, Mqtt):
                self.complaints += door.retained.check()
        for books in self.books():
            books.drained(*skipped)
            self.complaints += books.complaints()
        for door in self.doors:
            self.complaints += [f"{door.name}: {trouble}" for trouble in door.troubles]
            door.holding = True

    def quiet(self):
        """Until nothing has come for a while."""
        while True:
            before = sum(books.sights for books in self.books())
            time.sleep(SILENCE)
            if before == sum(books.sights for books in self.books()):
                return

    def run(self, kills):
        self.rounds_done = 0
        while self.kills < kills and not self.complaints:
            self.round(self.dice.uniform(0.0, 0.7))
            self.rounds_done += 1
            if self.rounds_done % 10 == 0:
                print(f"{self.kills} kills, {time.monotonic() - self.began:.0f} s", flush=True)
        if not self.complaints:
            self.finish()

    def finish(self):
        """The last drain, and streams from their beginning."""
        self.start()
        for door in self.doors:
            door.consume()
        self.drain(hoards=True)
        for door in self.doors:
            if isinstance(door, Aws):
                for number, flow in enumerate(door.shards):
                    self.replayed(f"Kinesis shard {number}", flow, door.replay(number))
            if isinstance(door, Amqp):
                self.replayed("the AMQP stream", door.stream, door.replay())

    def replayed(self, what, flow, bodies):
        """A stream read from its beginning: what was seen before, once each, in order."""
        numbers = [int(ledger.BODY.match(body)[2]) for body in bodies]
        if any(later <= earlier for earlier, later in zip(numbers, numbers[1:])):
            self.complaints.append(f"{what}: not in order from the beginning")
        if flow.confirms > len(numbers):
            self.complaints.append(f"{what}: {flow.confirms} confirmed, {len(numbers)} there from the beginning")

    def rows(self):
        return {books.door: books.row() for books in self.books()}


def self_test(names, dice):
    """A stale copy of the data directory under a running ledger: every door must report losses."""
    ledger.self_test()
    harness = Harness(names, dice)
    harness.began, harness.rounds_done = time.monotonic(), 0
    try:
        harness.begin()
        harness.round(0.2)
        copy = harness.broker.directory / "copy"
        shutil.copytree(harness.broker.data, copy)
        harness.round(0.5, consume=False)
        shutil.rmtree(harness.broker.data)
        shutil.move(copy, harness.broker.data)
        global PATIENCE
        PATIENCE = 3
        harness.finish()
        print("\n".join(ledger.table(harness.rows())))
        blind = [books.door for books in harness.books() if not books.row()["lost"]]
        print(f"not found at: {', '.join(blind)}" if blind else "the loss was found at every door")
        return 1 if blind else 0
    finally:
        harness.broker.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="kills")
    parser.add_argument("--seed", type=int, default=None, help="of the moments of the kill and the settings")
    parser.add_argument("--only", default=",".join(DOORS))
    parser.add_argument("--default-settings", action="store_true", help="the log's own settings, not small ones")
    parser.add_argument("--self-test", action="store_true", help="lose data on purpose, and succeed if that is found")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}")
    dice, names = random.Random(seed), options.only.split(",")
    if options.self_test:
        return self_test(names, dice)
    harness = Harness(names, dice, small=not options.default_settings)
    harness.began = time.monotonic()
    try:
        harness.begin()
        harness.run(options.rounds)
    except NotStarted as error:
        harness.complaints.append(f"did not start: {error}")
    finally:
        if harness.complaints:
            harness.broker.kill()
            kept = tempfile.mkdtemp(prefix="kill9-failed-")
            shutil.copytree(harness.broker.directory, kept, dirs_exist_ok=True)
            print(f"data and output are kept in {kept}")
        harness.broker.stop()
    print("\n".join(ledger.table(harness.rows())))
    took = time.monotonic() - harness.began
    print(
        f"{harness.kills} kills, {harness.kills_at_start} of them during the start, in {took:.0f} s;"
        f" slowest start {harness.slowest:.2f} s; a torn end {harness.torn} times"
    )
    print("\n".join(harness.complaints) or "nothing confirmed was lost or out of order")
    return 1 if harness.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
