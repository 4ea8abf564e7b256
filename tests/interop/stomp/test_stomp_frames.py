"""Frames on the wire: versions, escapes, bodies, header order, heart-beats, errors and what they close."""

import re
import time

import pytest


@pytest.mark.parametrize(
    "accept, version", [(None, "1.0"), ("1.0", "1.0"), ("1.0,1.1", "1.1"), ("1.1,1.2,9.9", "1.2")]
)
def test_version_is_the_highest_common(raw, accept, version):
    client = raw(None)
    client.send("STOMP" if accept else "CONNECT", login="guest", passcode="guest",
                **({"accept_version": accept, "host": "/"} if accept else {}))
    connected = client.expect("CONNECTED").headers
    assert connected["version"] == version and connected["session"] and connected["server"]


def test_no_common_version(raw):
    client = raw(None)
    client.send("CONNECT", accept_version="9.9", host="/")
    error = client.ended()[0]
    assert (error.headers["message"], error.body) == ("Version mismatch", b"Supported versions are 1.0,1.1,1.2\n")


def test_wrong_password(raw):
    client = raw(None)
    client.send("CONNECT", accept_version="1.2", host="/", login="guest", passcode="wrong")
    error = client.ended()[0]
    assert error.headers["message"] == "Bad CONNECT" and b"Access refused for user 'guest'" in error.body


def test_frame_before_connect(raw, name):
    client = raw(None)
    client.send("SEND", destination=f"/queue/{name}")
    # As with RabbitMQ the connection stays; the login time-out of ten seconds ends it.
    assert client.ended(timeout=20)[0].headers["message"] == "Illegal command"


@pytest.mark.parametrize("version, sent, wanted", [
    ("1.2", r"a\nb\cc\\d\re", r"a\nb\cc\\d\re"),
    ("1.1", r"a\nb\cc\\d", r"a\nb\cc\\d"),
    ("1.0", "  as it is\\", "as it is\\"),
])
def test_escapes(raw, name, version, sent, wanted):
    client = raw(version)
    client.sync("SUBSCRIBE", destination=f"/queue/{name}", id="s")
    client.send("SEND", "x", destination=f"/queue/{name}", **{"k": sent})
    assert client.expect("MESSAGE").headers["k"] == wanted


def test_escapes_across_versions(raw, name):
    sender, old, new = raw("1.2"), raw("1.0"), raw("1.1")
    old.sync("SUBSCRIBE", destination=f"/topic/{name}", id="s")
    new.sync("SUBSCRIBE", destination=f"/topic/{name}", id="s")
    sender.send("SEND", "x", destination=f"/topic/{name}", k=r"a\cb")
    assert old.expect("MESSAGE").headers["k"] == "a:b" and new.expect("MESSAGE").headers["k"] == r"a\cb"


def test_unknown_escape_closes(raw, name):
    client = raw()
    client.send("SEND", destination=f"/queue/{name}", k=r"a\tb")
    client.ended()


def test_binary_body_and_first_header_wins(raw, name):
    client = raw()
    client.sync("SUBSCRIBE", destination=f"/queue/{name}", id="s")
    body = bytes(range(256)) * 40
    client.socket.sendall(
        b"\n\r\nSEND\r\ndestination:/queue/" + name.encode() + b"\r\nk:first\nk:second\ncontent-length:%d\n\n" % len(body) + body
        + b"\0\n\n\r\n"
    )
    frame = client.expect("MESSAGE")
    assert (frame.body, frame.headers["k"], frame.headers["content-length"]) == (body, "first", str(len(body)))


def test_content_length_that_lies_closes(raw, name):
    client = raw()
    client.send("SEND", "abc", destination=f"/queue/{name}", content_length=2)
    client.ended()


def test_order_of_message_headers(raw, name):
    client = raw()
    client.sync("SUBSCRIBE", destination=f"/queue/{name}", id="s", ack="client")
    client.send("SEND", "x", k="v", destination=f"/queue/{name}", receipt="r", priority=3, content_type="text/plain",
                persistent="true")
    found = {frame.command: frame for frame in (client.frame(), client.frame())}
    lines = "\n".join(found["MESSAGE"].lines)
    assert re.fullmatch(
        rf"subscription:s\ndestination:/queue/{name}\nmessage-id:T_s@@session-[^@]+@@\d+\nredelivered:false\nack:[^\n]+\n"
        r"content-type:text/plain\npersistent:true\npriority:3\nk:v\nreceipt:r\ncontent-length:1",
        lines,
    ), lines


@pytest.mark.parametrize("command, headers, message, body, closes", [
    ("FOO", {}, "Bad command", b'Could not interpret command "FOO"\n', False),
    ("SEND", {}, "Missing destination", None, False),
    ("SEND", {"destination": "/queue/bah/baz"}, "Invalid destination", b"'/bah/baz' is not a valid queue destination\n", False),
    ("SEND", {"destination": "/what/a"}, "Unknown destination", None, False),
    ("SEND", {"destination": "/queue/a", "message_id": "x"}, "Invalid header", b"'message-id' is not allowed on 'SEND'.\n", False),
])
def test_errors(raw, command, headers, message, body, closes):
    client = raw()
    client.send(command, **headers)
    error = client.expect("ERROR")
    assert error.headers["message"] == message and (body is None or error.body == body)
    assert [line.split(":")[0] for line in error.lines] == ["message", "content-type", "version", "content-length"]
    client.sync("BEGIN", transaction="open")


def test_second_subscription_of_the_same_id_closes(raw, name):
    client = raw()
    client.sync("SUBSCRIBE", destination=f"/queue/{name}", id="1")
    client.send("SUBSCRIBE", destination=f"/queue/{name}-b", id="1")
    error = client.ended()[0]
    assert error.headers["message"] == "Duplicated subscription identifier"
    assert b"A subscription identified by 'T_1' already exists." in error.body




def test_heart_beats_both_ways(raw):
    client = raw(heart_beat="0,1000")
    assert client.connected.headers["heart-beat"] == "1000,0"
    assert client.silent(2.5) and client.beats >= 2
    quiet = raw(heart_beat="1000,0")
    assert quiet.connected.headers["heart-beat"] == "0,1000"
    began = time.monotonic()
    quiet.ended()
    assert 1.4 < time.monotonic() - began < 6
    alive = raw(heart_beat="1000,0")
    for _ in range(6):
        alive.socket.sendall(b"\n")
        time.sleep(0.6)
    alive.sync("BEGIN", transaction="t")


def test_stomp_py_in_all_versions(stomp, name):
    for version in ("1.0", "1.1", "1.2"):
        client = stomp(version=version, heartbeats=(2000, 2000)) if version != "1.0" else stomp(version=version)
        client.subscribe(f"/queue/{name}")
        client.send(f"/queue/{name}", "héllo: \n", headers={"k": "v"})
        frame = client.message()
        assert frame.body == "héllo: \n" and frame.headers["k"] == "v"
        client.close()


@pytest.mark.parametrize("size", (0, 1, 8191, 1 << 20))
def test_sizes(raw, name, size):
    client = raw()
    client.sync("SUBSCRIBE", destination=f"/queue/{name}", id="s")
    client.send("SEND", b"x" * size, destination=f"/queue/{name}", content_length=size)
    assert client.expect("MESSAGE", timeout=30).body == b"x" * size


def test_websocket_text_and_binary(mortal):
    websocket = pytest.importorskip("websocket")
    opened = websocket.create_connection(
        f"ws://127.0.0.1:{mortal.ports['stomp-ws']}/ws", subprotocols=["v12.stomp", "v11.stomp"], timeout=5
    )
    assert opened.subprotocol == "v12.stomp"
    opened.send("CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0")
    kind, data = opened.recv_data()
    assert kind == websocket.ABNF.OPCODE_TEXT and data.startswith(b"CONNECTED")
    # Two frames in one message, one frame in two.
    opened.send("SUBSCRIBE\ndestination:/queue/w\nid:1\n\n\0\nSEND\ndestination:/queue/w\n\nte")
    opened.send("xt\0")
    kind, data = opened.recv_data()
    assert kind == websocket.ABNF.OPCODE_TEXT and data.rstrip(b"\n").endswith(b"\n\ntext\0")
    opened.send_binary(b"SEND\ndestination:/queue/w\ncontent-length:3\n\n\xff\0\xfe\0")
    kind, data = opened.recv_data()
    assert kind == websocket.ABNF.OPCODE_BINARY and b"\n\n\xff\0\xfe\0" in data
    opened.close()
