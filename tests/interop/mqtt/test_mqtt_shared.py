"""`$share`: dividing the load, QoS 0 and 1, members that leave."""

import queue

import pytest
from mqtt_wire import PUBACK, PUBLISH


def collect(members, count):
    got = []
    for _ in range(400):
        for who, member in enumerate(members):
            try:
                got.append((who, member.message(timeout=0.02).payload))
            except queue.Empty:
                pass
        if len(got) >= count:
            break
    return got


@pytest.mark.parametrize("version", (4, 5))
@pytest.mark.parametrize("qos", (0, 1, 2))
def test_load_is_divided(mqtt, name, version, qos):
    members = [mqtt(version=version) for _ in range(3)]
    for member in members:
        member.subscribe(f"$share/g/{name}", qos=qos)
    other = mqtt(version=version)
    other.subscribe(f"$share/other/{name}", qos=qos)
    publisher = mqtt()
    for number in range(30):
        publisher.publish(name, str(number), qos=qos)
    got = collect(members, 30)
    assert sorted(int(body) for _, body in got) == list(range(30))
    assert {who for who, _ in got} == {0, 1, 2}
    assert len(collect([other], 30)) == 30


def test_unacknowledged_goes_to_another_member(wire, mqtt, name):
    first = wire(f"{name}-1", version=5)
    first.subscribe(f"$share/g/{name}", options=1)
    publisher = mqtt()
    for number in range(4):
        publisher.publish(name, str(number))
    assert [first.expect(PUBLISH).payload for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    second = wire(f"{name}-2", version=5)
    second.subscribe(f"$share/g/{name}", options=1)
    first.drop()
    got = [second.expect(PUBLISH) for _ in range(4)]
    assert [packet.payload for packet in got] == [b"0", b"1", b"2", b"3"]
    for packet in got:
        second.ack(PUBACK, packet.id)
    assert second.silent()


def test_member_that_unsubscribes(mqtt, name):
    members = [mqtt(), mqtt()]
    for member in members:
        member.subscribe(f"$share/g/{name}")
    assert [code.value for code in members[0].unsubscribe(f"$share/g/{name}")] == [0]
    for number in range(6):
        members[1].publish(name, str(number))
    assert len(collect([members[1]], 6)) == 6 and members[0].silent(0)


def test_refusal_does_not_loop(wire, mqtt, name):
    member = wire(name, version=5)
    member.subscribe(f"$share/g/{name}", options=1)
    mqtt().publish(name, "x")
    member.ack(PUBACK, member.expect(PUBLISH).id, code=0x80)
    assert member.silent()
