"""Password files, access control lists and listeners with rules of their own, as a mosquitto user knows them."""

import signal
import socket
import ssl
import struct
import subprocess
import time

import pytest

import broker as brokers
from mqtt_wire import CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Wire, length, text

ACL = """
topic read public/#
user bob
topic readwrite bob/#
topic deny bob/secret/#
topic read $SYS/#
pattern readwrite dev/%c/#
"""


def passwords(path, **users):
    """A password file made by mosquitto_passwd."""
    path.write_text("")
    for name, password in users.items():
        try:
            subprocess.run(["mosquitto_passwd", "-b", path, name, password], check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("mosquitto_passwd is absent")


@pytest.fixture
def guarded(tmp_path):
    """A broker with a password file and a list."""
    passwords(tmp_path / "passwords", bob="bobpw", eve="evepw")
    (tmp_path / "acl").write_text(ACL)
    files = ["--mqtt-password-file", str(tmp_path / "passwords"), "--mqtt-acl-file", str(tmp_path / "acl")]
    running = brokers.Broker(extra=files).start()
    running.files = tmp_path
    yield running
    running.stop()


def reload(running, what):
    """SIGHUP, and until the log says that it was heard."""
    seen = running.printed().count(what)
    running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while running.printed().count(what) == seen:
        assert time.monotonic() < deadline, running.printed()
        time.sleep(0.05)


def connect(port, id, user=None, password=None, version=5, tls=None, before=b"", will=None):
    """The socket, what CONNACK says."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    plain.sendall(before)
    stream = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
    flags = 2 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0) | (0x04 if will else 0)
    head = text("MQTT") + bytes([version, flags]) + struct.pack("!H", 60) + (b"\0" if version == 5 else b"")
    head += text(id)
    if will:
        head += (b"\0" if version == 5 else b"") + text(will) + text("gone")
    for each in (user, password):
        head += text(each) if each is not None else b""
    stream.sendall(b"\x10" + length(len(head)) + head)
    wire = Wire.__new__(Wire)
    wire.version, wire.socket, wire.buffer = version, stream, b""
    return wire, wire.expect(CONNACK).body[1]


def test_password_file(guarded):
    port = guarded.ports["mqtt"]
    for version, refused in ((5, 0x87), (4, 5)):
        assert connect(port, "a", "bob", "bobpw", version)[1] == 0
        assert connect(port, "b", "bob", "evepw", version)[1] == refused
        assert connect(port, "c", "guest", "guest", version)[1] == refused
        assert connect(port, "d", version=version)[1] == 0, "loopback needs no name"
    passwords(guarded.files / "passwords", new="newpw")
    reload(guarded, "passwords")
    assert connect(port, "a", "new", "newpw")[1] == 0
    assert connect(port, "a", "bob", "bobpw")[1] == 0x87
    (guarded.files / "passwords").write_text("broken\n")
    reload(guarded, "no ':' behind the user name")
    assert connect(port, "a", "new", "newpw")[1] == 0


def test_publishing_and_subscribing(guarded):
    port = guarded.ports["mqtt"]
    new, _ = connect(port, "one", "bob", "bobpw")
    codes = new.subscribe("bob/#", "bob/secret/#", "public/x", "dev/one/+", "$share/g/bob/x", "#", options=1)
    assert codes == [1, 0x87, 0x87, 1, 1, 1]
    old, _ = connect(port, "two", "bob", "bobpw", version=4)
    assert old.subscribe("bob/x", "eve/#", options=0) == [0, 0x80]
    new.publish("eve/x", b"x", qos=1, id=1)
    assert new.expect(PUBACK).code == 0x87
    new.publish("bob/secret/x", b"x", qos=2, id=2)
    assert new.expect(PUBREC).code == 0x87
    old.publish("eve/x", b"x", qos=1, id=1)
    assert old.expect(PUBACK).code == 0
    old.publish("eve/x", b"x", qos=2, id=2)
    old.expect(PUBREC)
    old.ack(PUBREL, 2)
    old.expect(PUBCOMP)


def test_delivery_retained_and_wills(guarded):
    port = guarded.ports["mqtt"]
    amqp = pytest.importorskip("pika").BlockingConnection(
        pytest.importorskip("pika").ConnectionParameters("127.0.0.1", guarded.ports["amqp"])
    )
    reader, _ = connect(port, "r", "bob", "bobpw")
    assert reader.subscribe("#", options=1) == [1]
    channel = amqp.channel()
    for key in ("bob.secret.x", "eve.x", "bob.x"):
        channel.basic_publish("amq.topic", key, b"x")
    assert reader.expect(PUBLISH).topic == "bob/x"
    writer, _ = connect(port, "w", "bob", "bobpw")
    for topic in ("bob/kept", "dev/w/kept"):
        writer.publish(topic, b"kept", qos=1, id=1, retain=True)
        writer.expect(PUBACK)
    other, _ = connect(port, "o", "bob", "bobpw")
    other.subscribe("#", options=0)
    assert other.expect(PUBLISH).topic == "bob/kept" and other.silent()
    for topic, told in (("eve/will", False), ("bob/will", True)):
        dying, _ = connect(port, "dying", "bob", "bobpw", will=topic)
        dying.drop()
        if told:
            assert other.expect(PUBLISH).topic == topic
    amqp.close()


def test_a_list_read_again_binds_who_is_in(guarded):
    port = guarded.ports["mqtt"]
    writer, _ = connect(port, "w", "bob", "bobpw")
    reader, _ = connect(port, "r", "bob", "bobpw")
    reader.subscribe("#", options=0)
    writer.publish("bob/x", b"1", qos=1, id=1)
    assert writer.expect(PUBACK).code == 0 and reader.expect(PUBLISH).topic == "bob/x"
    (guarded.files / "acl").write_text("user bob\ntopic write bob/#\n")
    reload(guarded, "acl")
    writer.publish("bob/x", b"1", qos=1, id=1)
    assert writer.expect(PUBACK).code == 0 and reader.silent()
    (guarded.files / "acl").write_text("user bob\ntopic read bob/#\n")
    reload(guarded, "acl")
    writer.publish("bob/x", b"1", qos=1, id=1)
    assert writer.expect(PUBACK).code == 0x87


def test_mosquitto_clients(guarded):
    port = str(guarded.ports["mqtt"])

    def publish(topic, *flags):
        command = ["mosquitto_pub", "-V", "5", "-p", port, "-q", "1", "-t", topic, "-m", "x", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=20)

    try:
        assert publish("bob/x", "-u", "bob", "-P", "bobpw").stderr == ""
    except FileNotFoundError:
        pytest.skip("mosquitto_pub is absent")
    assert "Not authorized" in publish("eve/x", "-u", "bob", "-P", "bobpw").stderr
    assert publish("bob/x", "-u", "bob", "-P", "wrong").returncode != 0
    assert publish("dev/me/x", "-u", "eve", "-P", "evepw", "-i", "me").stderr == ""


# Listeners


def client_tls(certificate=True):
    context = ssl.create_default_context(cafile=brokers.CERTIFICATES / "ca.pem")
    if certificate:
        context.load_cert_chain(brokers.CERTIFICATES / "client.pem", brokers.CERTIFICATES / "client.key")
    return context


@pytest.fixture
def listening(tmp_path):
    """Starts a broker with `[[listeners]]`; gives their ports."""
    started = []

    def start(*listeners):
        ports = brokers.free_ports(len(listeners))
        lines = []
        for port, settings in zip(ports, listeners):
            lines += ["[[listeners]]", 'protocol = "mqtt"', f'address = "127.0.0.1:{port}"', *settings, ""]
        (tmp_path / "waystation.toml").write_text("\n".join(lines))
        started.append(brokers.Broker(extra=["--config", str(tmp_path / "waystation.toml")]).start())
        return ports

    yield start
    for each in started:
        each.stop()


def test_certificate_names_the_user(listening, tmp_path):
    out = brokers.certificates() or pytest.skip("no certificates can be made here")
    subject = subprocess.run(
        ["openssl", "x509", "-in", out / "client.pem", "-noout", "-subject", "-nameopt", "RFC2253"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.removeprefix("subject=").strip()
    name = dict(part.split("=", 1) for part in subject.split(","))["CN"]
    (tmp_path / "acl").write_text(f"user {name}\ntopic write cn/x\nuser {subject}\ntopic write subject/x\n")
    files = [f'cert = "{out}/server.pem"', f'key = "{out}/server.key"', f'client_ca = "{out}/ca.pem"']
    files.append(f'acl_file = "{tmp_path}/acl"')
    by_name, by_subject, required = listening(
        [*files, 'user_from_certificate = "cn"'],
        [*files, 'user_from_certificate = "subject"'],
        [*files, "require_certificate = true", 'anonymous = "yes"'],
    )
    for port, topic in ((by_name, "cn/x"), (by_subject, "subject/x")):
        wire, code = connect(port, "c", "whoever", "whatever", tls=client_tls())
        assert code == 0
        for number, each in enumerate(("cn/x", "subject/x"), 1):
            wire.publish(each, b"x", qos=1, id=number)
            assert wire.expect(PUBACK).code == (0x10 if each == topic else 0x87)
        assert connect(port, "d", "bob", "bobpw", tls=client_tls(False))[1] == 0x87
    assert connect(required, "e", tls=client_tls())[1] == 0
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        connect(required, "f", tls=client_tls(False))


def test_proxy_protocol(listening):
    open_port, local_port = listening(["proxy_protocol = true", 'anonymous = "yes"'], ["proxy_protocol = true"])
    first = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 1883\r\n"
    body = bytes([192, 0, 2, 7, 192, 0, 2, 1]) + struct.pack("!HH", 5000, 1883)
    second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body
    own = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"
    for header in (first, second, own):
        assert connect(open_port, "a", before=header)[1] == 0
    # Who comes from afar through the load balancer is not on loopback.
    assert connect(local_port, "a", before=first)[1] == 0x87
    assert connect(local_port, "a", before=second)[1] == 0x87
    assert connect(local_port, "a", before=own)[1] == 0
    for header in (b"", b"PROXY TCP4 nonsense\r\n", first[:20]):
        with pytest.raises((ConnectionError, EOFError, AssertionError)):
            connect(open_port, "a", before=header)


def test_limits_of_a_listener(listening):
    few, small = listening(["connections_max = 2"], ["packet_bytes_max = 100"])
    first, second = connect(few, "1"), connect(few, "2")
    assert first[1] == second[1] == 0
    with pytest.raises((ConnectionError, EOFError)):
        connect(few, "3")
    first[0].drop()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert connect(few, "3")[1] == 0
            break
        except (ConnectionError, EOFError):
            assert time.monotonic() < deadline
    wire, code = connect(small, "4")
    assert code == 0
    wire.publish("t", b"x" * 100)
    assert [packet.body for packet in wire.ended()] == [b"\x95"]
