#!/usr/bin/env python3
"""One random bit or one random end: damage to a data directory is detected or harmless, never silently wrong.

A directory with everything in it is filled through clients and the broker stopped cleanly. Then, again and again, a
copy is made, one bit of one file is flipped or one file cut at a random place, and the broker started on it. It may
refuse, naming the file; it may start, and then everything is there, exactly; or it may end when it comes to the
part, naming the file. Every copy that was refused goes through `waystation repair`: then the broker starts, nothing is
there that was not confirmed, and whatever is missing was reported.

    tests/interop/.venv/bin/python tests/recovery/damage.py [--rounds 1000] [--seed N] [--parallel 2]

A round that went wrong keeps its directory, and says where.
"""

import argparse
import collections
import concurrent.futures
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import contents
from running import BINARY, Broker, NotStarted, known_flags

LOG = {
    "log-segment-bytes": "1048576",
    "log-budget-bytes": "4194304",
    "log-snapshot-bytes": "1048576",
    "log-page-bytes": "65536",
    "workers": "1",
}


def settings():
    flags = known_flags()
    return [word for flag, value in LOG.items() if flag in flags for word in (f"--{flag}", value)]


def repairable():
    """Whether this build can repair."""
    with tempfile.TemporaryDirectory() as empty:
        command = [str(BINARY), "repair", empty]
        return "unknown" not in subprocess.run(command, capture_output=True, text=True).stderr


def original(directory):
    """Fills `directory`; returns what is in it."""
    broker = Broker(settings(), directory)
    try:
        broker.start()
        # Everything once, and over a clean restart, so that more than one snapshot and sealed segments are there.
        expected = contents.fill(broker.ports)
        stop(broker)
        broker.start()
        stop(broker)
        return expected
    finally:
        broker.stop()


def stop(broker):
    broker.process.terminate()
    code = broker.process.wait(timeout=30)
    broker.process = None
    if code != 0:
        raise SystemExit(f"the broker did not stop cleanly: {code}: {broker.since_launch()}")


def used(data):
    """Where the content of a file ends and only zeroes follow."""
    return len(data.rstrip(b"\0")) + 1


def damage(directory, dice):
    """Does one thing to one file; returns the file and what was done in words."""
    kinds = collections.defaultdict(list)
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        kinds[path.suffix or path.name].append(path)
    # Many pages are no reason to damage little else.
    path = dice.choice(kinds[dice.choice(sorted(kinds))])
    data = bytearray(path.read_bytes())
    # Segments are mostly zeroes not used yet: every second blow goes where something is.
    end = len(data) if dice.random() < 0.5 else min(len(data), used(data))
    if dice.random() < 0.7 and end:
        at, bit = dice.randrange(end), dice.randrange(8)
        data[at] ^= 1 << bit
        done = f"bit {bit} of byte {at} of {len(data)} flipped"
    else:
        at = dice.randrange(end) if end else 0
        done = f"cut to {at} of {len(data)} bytes"
        del data[at:]
    path.write_bytes(data)
    return path, done


class Round:
    """One damaged copy."""

    def __init__(self, number, seed, source, expected, repairs):
        self.number, self.source, self.expected, self.repairs = number, source, expected, repairs
        self.dice = random.Random(f"{seed}-{number}")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="waystation-damage-"))
        self.data = self.directory / "data"
        self.kind = self.done = None
        self.complaints = []

    def run(self):
        shutil.copytree(self.source, self.data)
        path, self.done = damage(self.data, self.dice)
        # What was found late was found after much had been consumed: the repair gets the directory as it was damaged.
        untouched = self.directory / "untouched"
        shutil.copytree(self.data, untouched)
        self.name = str(path.relative_to(self.data))
        self.kind = f"{path.suffix or path.name} {'flip' if 'flipped' in self.done else 'cut'}"
        self.broker = Broker(settings(), self.data)
        try:
            outcome = self.start_and_read(path)
            if outcome.startswith(("refused", "found")) and self.repairs and not self.complaints:
                self.broker.kill()
                shutil.rmtree(self.data)
                shutil.move(untouched, self.data)
                outcome += ", " + self.repair(path)
        except Exception as error:
            outcome = "wrong"
            self.complaints.append(f"{type(error).__name__}: {error}")
        finally:
            self.broker.kill()
            self.broker.stop()
        if not self.complaints:
            shutil.rmtree(self.directory)
        return outcome

    def start_and_read(self, path):
        try:
            self.broker.start()
        except NotStarted as error:
            return self.refused(path, str(error))
        try:
            found = contents.read(self.broker.ports, self.expected)
        except Exception as error:
            # The process has found it now, and ends; or a client has another trouble, which is wrong.
            try:
                code = self.broker.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.complaints.append(f"not readable, but the broker runs: {error!r}")
                return "wrong"
            printed = self.broker.since_launch()
            if path.name not in printed or code == 0:
                self.complaints.append(f"ended with {code} without naming the file: {printed[-500:]}")
            return "found when read"
        different = contents.differences(found, self.expected)
        if different:
            self.complaints.append(f"silently wrong: {different}; printed: {self.broker.since_launch()[-500:]}")
        return "exact"

    def refused(self, path, printed):
        if path.name not in printed:
            self.complaints.append(f"refused without naming the file: {printed[-500:]}")
        if "panicked" in printed:
            self.complaints.append(f"panicked: {printed[-500:]}")
        return "refused"

    def repair(self, path):
        command = [str(BINARY), "repair", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            self.complaints.append(f"repair failed: {done.stdout[-500:]} {done.stderr[-500:]}")
            return "not repaired"
        self.broker.start()
        found = contents.read(self.broker.ports, self.expected)
        if beyond := contents.beyond(found, self.expected):
            self.complaints.append(f"after the repair: {beyond}; it said: {done.stdout[-800:]}")
        missing = contents.differences(found, self.expected)
        if missing and path.name not in done.stdout:
            self.complaints.append(f"missing after the repair {missing}, but it said: {done.stdout[-800:]}")
        return "repaired with losses" if missing else "repaired whole"


def one(arguments):
    began = time.monotonic()
    number = arguments[0]
    round = Round(*arguments)
    outcome = round.run()
    return number, round.kind, outcome, round.name, round.done, round.complaints, round.directory, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="number of the first round, to see one of a seed again")
    parser.add_argument("--no-repair", action="store_true")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    repairs = not options.no_repair and repairable()
    print(f"seed {seed}" + ("" if repairs else "; refused directories are not repaired"), flush=True)
    began = time.monotonic()
    home = pathlib.Path(tempfile.mkdtemp(prefix="waystation-damage-source-"))
    source = home / "data"
    expected = original(source)
    sizes = collections.Counter()
    for path in source.rglob("*"):
        if path.is_file():
            sizes[path.suffix or path.name] += 1
    print(f"files: {dict(sizes)}", flush=True)
    tally, failures = collections.Counter(), []
    numbers = range(options.first, options.first + options.rounds)
    tasks = [(number, seed, source, expected, repairs) for number in numbers]
    with concurrent.futures.ProcessPoolExecutor(options.parallel) as pool:
        for done, (number, kind, outcome, name, what, complaints, kept, _) in enumerate(pool.map(one, tasks), 1):
            tally[kind, "WRONG" if complaints else outcome] += 1
            if complaints:
                failures.append(f"round {number}: {name}: {what}: {'; '.join(complaints)} (kept in {kept})")
                print(failures[-1], flush=True)
            if done % 100 == 0:
                print(f"{done} rounds, {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(home)
    for (kind, outcome), count in sorted(tally.items()):
        print(f"{kind:<16} {outcome:<40} {count:>6}")
    print(f"{options.rounds} rounds in {time.monotonic() - began:.0f} s: {len(failures)} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
