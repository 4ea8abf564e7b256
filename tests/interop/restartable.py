"""A broker that tests may kill and start again on the same data and ports."""

import broker as brokers


class Mortal(brokers.Broker):
    """Has the WebSocket doors too, and none with TLS."""

    def __init__(self, extra=()):
        super().__init__(tls=None, extra=extra)
        names = ("mqtt-ws", "stomp-ws")
        self.ports.update(zip(names, brokers.free_ports(len(names))))

    def command(self):
        words = [str(brokers.BINARY), "--data", str(self.directory / "data")]
        for door, port in self.ports.items():
            words += [f"--{door}-listen", f"127.0.0.1:{port}"]
        return words + self.extra

    def crash(self):
        """SIGKILL, and back."""
        self.kill()
        return self.start()

    def restart(self):
        """SIGTERM, and back."""
        self.end()
        return self.start()
