"""A broker for these harnesses: on ports that no client is given by chance while it is down, and known to be ready."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import pathlib
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

import broker as brokers  # noqa: E402

BINARY = brokers.BINARY
# Below the range from which the system gives outgoing connections their ports.
PORTS = range(20_000, 30_000)


def fixed_ports(count, dice=random):
    """Ports that are free now and that nobody is given by chance."""
    found = []
    while len(found) < count:
        port = dice.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def known_flags():
    """Flags that this build has."""
    text = subprocess.run([str(BINARY), "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--([a-z-]+)", text))


def small_log(dice, flags):
    """Settings under which the log is cut, cleaned, paged and summed up all the time, as far as this build has them."""
    wanted = {
        "log-segment-bytes": dice.choice(["1048576", "2097152", "4194304"]),
        "log-budget-bytes": dice.choice(["4194304", "16777216"]),
        "log-snapshot-bytes": dice.choice(["1048576", "3000000", "8388608"]),
        "log-page-bytes": dice.choice(["65536", "262144", "1048576"]),
    }
    return [word for flag, value in wanted.items() if flag in flags for word in (f"--{flag}", value)]


def reachable_any(ports):
    return any(brokers.reachable(port) for port in ports)


class Broker(brokers.Broker):
    """`launch` starts the process, `ready` waits for its own word for it; `start` is both."""

    def __init__(self, extra=(), directory=None):
        super().__init__(extra=extra)
        self.ports = dict(zip(self.ports, fixed_ports(len(self.ports))))
        self.data = pathlib.Path(directory) if directory else self.directory / "data"
        self.wrapper = []
        self.mark = 0
        self.exit_code = self.group = None

    def command(self):
        words = super().command()
        words[words.index("--data") + 1] = str(self.data)
        return self.wrapper + words

    def launch(self):
        self.mark = (self.directory / "output").stat().st_size
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            env=clean,
            # So that what runs inside of a wrapper can be killed with it.
            start_new_session=True,
        )
        self.group = self.process.pid

    def kill(self):
        if self.group is not None:
            try:
                os.killpg(self.group, signal.SIGKILL)
            except ProcessLookupError:
                pass
        super().kill()
        deadline = time.monotonic() + 2
        while self.wrapper and reachable_any(self.ports.values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.group = None

    def since_launch(self):
        with open(self.directory / "output", "rb") as output:
            output.seek(self.mark)
            return output.read().decode(errors="replace")

    def ready(self, patience=60):
        deadline = time.monotonic() + patience
        while "\nready" not in self.since_launch():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.exit_code = self.process.poll()
                self.kill()
                raise brokers.NotStarted(self.since_launch())
            time.sleep(0.005)
        return self

    def start(self, patience=60):
        self.launch()
        return self.ready(patience)


NotStarted = brokers.NotStarted
