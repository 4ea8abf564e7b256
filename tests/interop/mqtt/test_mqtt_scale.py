"""Many clients, long payloads, and the other clients of the field: aiomqtt, the mosquitto tools, WebSocket."""

import asyncio
import shutil
import socket
import subprocess

import pytest
from mqtt_wire import PUBLISH, Wire

tools = pytest.mark.skipif(not shutil.which("mosquitto_rr"), reason="the mosquitto tools are absent")


@pytest.mark.parametrize("qos", (0, 1, 2))
def test_one_mebibyte(mqtt, name, qos):
    client = mqtt()
    client.subscribe(name, qos=qos)
    body = bytes(range(256)) * 4096
    client.publish(name, body, qos=qos)
    assert client.message(timeout=30).payload == body


def test_thousand_clients(mqtt, port, name):
    # First, because paho can not use file numbers above 1023.
    publisher = mqtt()
    made = []
    try:
        for number in range(1000):
            made.append(Wire(port("mqtt"), f"{name}-{number}"))
        for each in made:
            each.subscribe(name, options=1)
        publisher.publish(name, "to all")
        assert all(each.expect(PUBLISH, timeout=30).payload == b"to all" for each in made)
    finally:
        for each in made:
            each.drop()


def test_aiomqtt(port, name):
    aiomqtt = pytest.importorskip("aiomqtt")

    async def talk():
        async with aiomqtt.Client("127.0.0.1", port("mqtt"), identifier=name) as client:
            await client.subscribe(f"{name}/#", qos=2)
            for number in range(50):
                await client.publish(f"{name}/{number}", payload=str(number), qos=number % 3)
            got = []
            async for message in client.messages:
                got.append(int(message.payload))
                if len(got) == 50:
                    return got

    assert sorted(asyncio.run(asyncio.wait_for(talk(), 30))) == list(range(50))


def shell(*words, **options):
    return subprocess.run([str(word) for word in words], capture_output=True, timeout=30, **options)


@tools
def test_mosquitto_request_and_response(port, name):
    where = ["-p", port("mqtt"), "-h", "127.0.0.1"]
    answering = subprocess.Popen(
        ["mosquitto_sub", *map(str, where), "-V", "5", "-t", f"{name}/q", "-C", "1", "-F", "%R|%D|%p"],
        stdout=subprocess.PIPE, text=True,
    )
    asking = subprocess.Popen(
        ["mosquitto_rr", *map(str, where), "-V", "5", "-t", f"{name}/q", "-e", f"{name}/a", "-m", "2", "-W", "10",
         "-D", "publish", "correlation-data", "c1"],
        stdout=subprocess.PIPE, text=True,
    )
    # Whoever subscribes late misses the question; the asking side is told to give up then.
    try:
        said = answering.communicate(timeout=12)[0].strip()
    except subprocess.TimeoutExpired:
        answering.kill()
        asking.kill()
        pytest.skip("the tools started too slowly")
    assert said == f"{name}/a|c1|2"
    shell("mosquitto_pub", *where, "-V", "5", "-t", f"{name}/a", "-m", "4", "-D", "publish", "correlation-data", "c1")
    assert asking.communicate(timeout=15)[0].strip() == "4"


@tools
@pytest.mark.parametrize("version", ("mqttv31", "mqttv311", "5"))
def test_mosquitto_flags(port, name, version):
    where = ["-p", port("mqtt"), "-h", "127.0.0.1", "-V", version]
    done = shell("mosquitto_sub", *where, "-i", f"{name[:20]}", "-c", "-q", "2", "-t", name, "-E", "-x", "60") \
        if version == "5" else shell("mosquitto_sub", *where, "-i", name[:20], "-c", "-q", "2", "-t", name, "-E")
    assert done.returncode == 0, done.stderr
    for words in (["-m", "m"], ["-n"], ["-s"], ["-l"]):
        sent = shell("mosquitto_pub", *where, "-q", "2", "-t", name, *words, input=b"in\n" if words[0] in ("-s", "-l") else b"")
        assert sent.returncode == 0, sent.stderr
    keep = ["-x", "60"] if version == "5" else []
    got = shell("mosquitto_sub", *where, "-i", name[:20], "-c", *keep, "-q", "2", "-t", name, "-C", "4", "-W", "10", "-F", "%q %l")
    assert got.stdout.decode().split("\n")[:4] == ["2 1", "2 0", "2 3", "2 2"]
    gone = shell("mosquitto_pub", *where, "-t", name, "-r", "-m", "kept", "--will-topic", name, "--will-payload", "w")
    assert gone.returncode == 0
    cleared = shell("mosquitto_sub", *where, "-t", name, "--remove-retained", "--retained-only", "-W", "2")
    assert cleared.stdout.strip() == b"kept"
    again = shell("mosquitto_sub", *where, "-t", name, "--retained-only", "-W", "1")
    assert again.stdout == b""


def test_websocket_door(mortal):
    websocket = pytest.importorskip("websocket")
    opened = websocket.create_connection(
        f"ws://127.0.0.1:{mortal.ports['mqtt-ws']}/ws", subprotocols=["mqtt"], timeout=5
    )
    assert opened.subprotocol == "mqtt"
    connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01w"
    # One packet over two messages, and two packets in one.
    opened.send_binary(connect[:5])
    opened.send_binary(connect[5:] + b"\xc0\x00")
    answered = b""
    while len(answered) < 6:
        answered += opened.recv()
    assert answered == b"\x20\x02\x00\x00\xd0\x00"
    opened.send("text is not for MQTT")
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError, socket.error)):
        while opened.recv():
            pass
        raise ConnectionError
