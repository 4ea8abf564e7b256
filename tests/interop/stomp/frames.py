"""STOMP frames by hand, for what a stock client hides: exact headers, escapes, acknowledgements left out, closes."""

import socket
import time


class Frame:
    """A frame as it came; header lines in order and undecoded."""

    def __init__(self, command, lines, body):
        self.command, self.lines, self.body = command, lines, body
        self.headers = {}
        for line in lines:
            name, value = line.split(":", 1)
            self.headers.setdefault(name, value)

    def __repr__(self):
        return f"Frame({self.command} {self.lines} {self.body!r})"


class Raw:
    """One connection, logged in as guest unless `version` is None."""

    def __init__(self, port, version="1.2", heart_beat=None, **headers):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.buffer, self.beats, self.receipts = b"", 0, 0
        if version is not None:
            more = {"heart-beat": heart_beat} if heart_beat else {}
            accept = {} if version == "1.0" else {"accept-version": version, "host": "/"}
            self.send("CONNECT", **accept, login="guest", passcode="guest", **more, **headers)
            self.connected = self.expect("CONNECTED")

    def send(self, command, body=b"", **headers):
        """Header names with `_` for `-`; values go out as they are."""
        lines = [command] + [f"{name.replace('_', '-')}:{value}" for name, value in headers.items()]
        body = body.encode() if isinstance(body, str) else body
        self.socket.sendall("\n".join(lines).encode() + b"\n\n" + body + b"\0")

    def sync(self, command, body=b"", **headers):
        """Sends with a receipt and waits for that; frames before it are an error."""
        self.receipts += 1
        self.send(command, body, **headers, receipt=f"r{self.receipts}")
        assert self.expect("RECEIPT").headers["receipt-id"] == f"r{self.receipts}"

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def frame(self, timeout=10):
        """The next frame; None when none came in time; EOFError at the end."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                # Heart-beats must not put the end off.
                self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                while self.buffer[:1] == b"\n":
                    self.buffer, self.beats = self.buffer[1:], self.beats + 1
                head, separator, rest = self.buffer.partition(b"\n\n")
                if not separator:
                    self._more()
                    continue
                command, *lines = head.decode().split("\n")
                sizes = [int(line[15:]) for line in lines if line.startswith("content-length:")]
                size = sizes[0] if sizes else rest.find(b"\0")
                if size < 0 or len(rest) <= size:
                    self._more()
                    continue
                assert rest[size : size + 1] == b"\0"
                self.buffer = rest[size + 1 :]
                return Frame(command, lines, rest[:size])
        except (TimeoutError, BlockingIOError):
            return None

    def expect(self, command, timeout=10):
        found = self.frame(timeout)
        assert found is not None and found.command == command, f"wanted {command}, got {found}"
        return found

    def silent(self, seconds=0.4):
        return self.frame(seconds) is None

    def ended(self, timeout=10):
        """Reads to the end; what came before it."""
        found = []
        try:
            while (frame := self.frame(timeout)) is not None:
                found.append(frame)
        except (EOFError, ConnectionResetError):
            return found
        raise AssertionError(f"still open after {found}")

    def close(self):
        self.socket.close()
