"""A broker of our own for tests: started on free ports with a data directory in a temporary folder.

Owns the process; knows nothing of protocols. With `INTEROP_AMQP`, `INTEROP_MQTT`, `INTEROP_STOMP` or `INTEROP_AWS`
set (`host:port`) the suites run against whatever listens there instead, which is how the tests themselves were
checked against other brokers.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("WAYSTATION_BIN", ROOT / "target/release/waystation"))
CERTIFICATES = ROOT / "certs/out"

DOORS = ("amqp", "mqtt", "stomp", "aws", "management")
TLS_DOORS = ("amqps", "mqtts", "stomps")
UNUSED_DOORS = ("mqtt-ws", "stomp-ws")


class NotStarted(Exception):
    """The broker did not come up; the text holds what it printed."""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def reachable(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Broker:
    """A process and its ports; `ports[door]` for `amqp`, `mqtt`, `stomp`, `aws` and, with TLS, `amqps` and so on."""

    def __init__(self, tls=None, extra=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="waystation-interop-"))
        names = DOORS + (TLS_DOORS if tls else ())
        self.ports = dict(zip(names, free_ports(len(names))))
        self.tls = tls
        self.extra = list(extra)
        self.process = None
        self.output = open(self.directory / "output", "ab")

    def command(self):
        words = [str(BINARY), "--data", str(self.directory / "data")]
        for door, port in self.ports.items():
            words += [f"--{door}-listen", f"127.0.0.1:{port}"]
        for door in UNUSED_DOORS:
            words += [f"--{door}-listen", ""]
        if self.tls:
            words += ["--tls-cert", str(self.tls / "server.pem"), "--tls-key", str(self.tls / "server.key")]
        return words + self.extra

    def start(self, patience=60):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, env=clean
        )
        deadline = time.monotonic() + patience
        while not all(reachable(port) for port in self.ports.values()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NotStarted(self.printed())
            time.sleep(0.02)
        return self

    def printed(self):
        return (self.directory / "output").read_text(errors="replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: what a crash of the process leaves behind."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def end(self):
        """Asks it to stop, and insists after half a minute."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def stop(self):
        """It ends, and its directory goes."""
        self.end()
        self.output.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class External:
    """Something that is already there."""

    tls = None

    def __init__(self, ports):
        self.ports = ports

    def alive(self):
        return True

    def stop(self):
        pass


def external():
    """The brokers named by the environment, or None."""
    named = {door: os.environ.get(f"INTEROP_{door.upper()}") for door in DOORS + TLS_DOORS}
    ports = {door: int(address.rsplit(":", 1)[1]) for door, address in named.items() if address}
    return External(ports) if ports else None


def certificates():
    """Makes the test certificates if they are not there yet; their folder, or None where that is not possible."""
    script = ROOT / "certs/make.sh"
    if not (CERTIFICATES / "server.pem").exists() and script.exists():
        subprocess.run(["bash", str(script)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return CERTIFICATES if (CERTIFICATES / "server.pem").exists() else None
