"""mosquitto_pub and mosquitto_sub against the MQTT door."""

import shutil
import subprocess
import time

import pytest

needed = pytest.mark.skipif(not shutil.which("mosquitto_sub"), reason="mosquitto_pub and mosquitto_sub are absent")
VERSIONS = ("mqttv31", "mqttv311", "mqttv5")


def run(command, port, *words):
    return [command, "-h", "127.0.0.1", "-p", str(port("mqtt")), *words]


@needed
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", ("0", "1", "2"))
def test_publish_and_subscribe(port, name, version, qos):
    words = ("-V", version, "-q", qos, "-t", name)
    subscribe = run("mosquitto_sub", port, *words, "-C", "1", "-W", "10", "-d")
    listening = subprocess.Popen(["stdbuf", "-oL", *subscribe], stdout=subprocess.PIPE, text=True)
    # With -d it says when it is subscribed; stdbuf makes it say so at once.
    printed = []
    while not any("SUBACK" in line for line in printed):
        printed.append(listening.stdout.readline())
        assert printed[-1], printed
    subprocess.run(run("mosquitto_pub", port, *words, "-m", "from the shell"), check=True, timeout=20)
    rest, _ = listening.communicate(timeout=20)
    assert listening.returncode == 0 and "from the shell" in rest


@needed
def test_retained_message_is_there_later(port, name):
    subprocess.run(run("mosquitto_pub", port, "-t", name, "-m", "kept", "-r", "-q", "1"), check=True, timeout=20)
    taken = subprocess.run(
        run("mosquitto_sub", port, "-t", name, "-C", "1", "-W", "10"), check=True, timeout=20, capture_output=True
    )
    assert taken.stdout.strip() == b"kept"
    subprocess.run(run("mosquitto_pub", port, "-t", name, "-n", "-r", "-q", "1"), check=True, timeout=20)


@needed
def test_lines_from_standard_input_arrive_in_order(port, name):
    listening = subprocess.Popen(
        run("mosquitto_sub", port, "-t", name, "-q", "1", "-C", "100", "-W", "20"), stdout=subprocess.PIPE
    )
    time.sleep(1)
    lines = "".join(f"{number}\n" for number in range(100)).encode()
    subprocess.run(run("mosquitto_pub", port, "-t", name, "-q", "1", "-l"), input=lines, check=True, timeout=20)
    assert listening.communicate(timeout=30)[0] == lines
