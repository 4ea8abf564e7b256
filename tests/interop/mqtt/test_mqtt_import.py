"""`waystation import mosquitto.conf`: what comes out is valid, serves what mosquitto served, and says what is missing."""

import os
import subprocess

import pytest

import broker as brokers
from mqtt_wire import PUBACK
from test_mqtt_access import connect, passwords


def waystation(*arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
    return subprocess.run([brokers.BINARY, *arguments], capture_output=True, text=True, timeout=60, env=clean)


def test_a_whole_configuration(tmp_path):
    port, web = brokers.free_ports(2)
    passwords(tmp_path / "passwords", bob="bobpw")
    (tmp_path / "acl").write_text("user bob\ntopic readwrite bob/#\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.conf").write_text(
        f"listener {port} 127.0.0.1\nmax_connections 50\nlistener {web} 127.0.0.1\nprotocol websockets\n"
    )
    (tmp_path / "mosquitto.conf").write_text(
        f"# a comment\npersistence true\npid_file /run/m.pid\npassword_file {tmp_path}/passwords\n"
        f"acl_file {tmp_path}/acl\nmax_queued_messages 100\ninclude_dir {tmp_path}/conf.d\n"
        "connection cloud\naddress example.org\ntopic # out 1\n"
    )
    made = tmp_path / "waystation.toml"
    done = waystation("import", tmp_path / "mosquitto.conf", "--output", made)
    assert (done.returncode, done.stdout) == (0, "")
    notes = done.stderr.splitlines()
    assert len(notes) == 3 and notes[0].startswith(f"{tmp_path}/mosquitto.conf:3: pid_file: ")
    assert "max_queued_messages" in notes[1] and "bridges" in notes[2]
    assert waystation("import", tmp_path / "mosquitto.conf").stdout == made.read_text()
    assert waystation("--config", made, "--check-config").returncode == 0
    running = brokers.Broker(extra=["--config", str(made)]).start()
    try:
        wire, code = connect(port, "c", "bob", "bobpw")
        assert code == 0
        wire.publish("bob/x", b"x", qos=1, id=1)
        assert wire.expect(PUBACK).code == 0x10
        wire.publish("eve/x", b"x", qos=1, id=2)
        assert wire.expect(PUBACK).code == 0x87
        assert connect(port, "d")[1] == 0x87
        assert brokers.reachable(web)
    finally:
        running.stop()


@pytest.mark.parametrize("arguments", [["import"], ["import", "/nowhere"], ["import", "x", "--outptu", "y"]])
def test_mistakes_are_told(arguments):
    done = waystation(*arguments)
    assert done.returncode == 1 and done.stderr.startswith("waystation: ")
