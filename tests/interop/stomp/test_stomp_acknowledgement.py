"""The three acknowledgement modes, NACK, prefetch, transactions, receipts."""

import pytest

VERSIONS = ("1.0", "1.1", "1.2")


def subscribe(client, name, mode="auto", id="s", **more):
    client.sync("SUBSCRIBE", destination=f"/queue/{name}", id=id, ack=mode, **more)


def fill(client, name, count):
    for number in range(count):
        client.sync("SEND", str(number), destination=f"/queue/{name}")


def answer(version, frame, command="ACK", **more):
    if version == "1.2":
        return {"command": command, "id": frame.headers["ack"], **more}
    subscription = {"subscription": frame.headers["subscription"]} if version == "1.1" else {}
    return {"command": command, "message_id": frame.headers["message-id"], **subscription, **more}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode, left", [("auto", 0), ("client", 1), ("client-individual", 2)])
def test_modes(raw, name, version, mode, left):
    client = raw(version)
    fill(client, name, 3)
    subscribe(client, name, mode)
    got = [client.expect("MESSAGE") for _ in range(3)]
    assert [frame.body for frame in got] == [b"0", b"1", b"2"]
    assert all(frame.headers["redelivered"] == "false" for frame in got)
    if mode != "auto":
        # Cumulative acknowledges the first too, individual does not.
        client.sync(**answer(version, got[1]))
    else:
        assert "ack" not in got[0].headers
    client.sync("DISCONNECT")
    client.ended()
    again = raw(version)
    subscribe(again, name)
    back = [again.expect("MESSAGE") for _ in range(left)]
    assert [frame.body for frame in back] == [b"0", b"2"][2 - left :]
    assert all(frame.headers["redelivered"] == "true" for frame in back) and again.silent()


def test_cumulative_ack_spans_subscriptions(raw, name):
    client = raw()
    fill(client, f"{name}-a", 1)
    fill(client, f"{name}-b", 1)
    subscribe(client, f"{name}-a", "client", id="a")
    client.expect("MESSAGE")
    subscribe(client, f"{name}-b", "client", id="b")
    client.sync(**answer("1.2", client.expect("MESSAGE")))
    client.close()
    again = raw()
    subscribe(again, f"{name}-a", id="a")
    subscribe(again, f"{name}-b", id="b")
    assert again.silent()


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_nack_gives_back_and_may_drop(raw, name, version):
    client = raw(version)
    fill(client, name, 1)
    subscribe(client, name, "client-individual")
    client.send(**answer(version, client.expect("MESSAGE"), "NACK"))
    again = client.expect("MESSAGE")
    assert (again.body, again.headers["redelivered"]) == (b"0", "true")
    client.sync(**answer(version, again, "NACK", requeue="false"))
    assert client.silent()


def test_nack_without_requeue_dead_letters(raw, name):
    client = raw()
    client.sync("SUBSCRIBE", destination=f"/queue/{name}-dead", id="dead")
    client.sync("SUBSCRIBE", destination=f"/queue/{name}", id="s", ack="client", x_dead_letter_exchange="",
                x_dead_letter_routing_key=f"{name}-dead")
    client.send("SEND", "x", destination=f"/exchange/amq.direct/{name}")
    other = raw()
    other.sync("SEND", "x", destination=f"/amq/queue/{name}")
    client.send(**answer("1.2", client.expect("MESSAGE"), "NACK", requeue="false"))
    assert client.expect("MESSAGE").headers["subscription"] == "dead"


def test_prefetch_count(raw, name):
    client = raw()
    fill(client, name, 4)
    subscribe(client, name, "client-individual", prefetch_count=2)
    got = [client.expect("MESSAGE") for _ in range(2)]
    assert client.silent()
    client.send(**answer("1.2", got[1]))
    assert client.expect("MESSAGE").body == b"2" and client.silent()


def test_unsubscribe_keeps_what_is_not_acknowledged(raw, name):
    client = raw()
    fill(client, name, 1)
    subscribe(client, name, "client")
    frame = client.expect("MESSAGE")
    client.sync("UNSUBSCRIBE", id="s")
    fill(client, name, 1)
    assert client.silent()
    client.close()
    again = raw()
    subscribe(again, name)
    assert [again.expect("MESSAGE").body for _ in range(2)] == [frame.body, b"0"]


def test_transaction_commits_sends_and_acks_together(raw, name):
    client, watcher = raw(), raw()
    subscribe(watcher, f"{name}-out")
    fill(client, name, 1)
    subscribe(client, name, "client")
    frame = client.expect("MESSAGE")
    client.sync("BEGIN", transaction="t")
    # The receipt of a SEND in a transaction comes with the commit: before it nothing is safe.
    client.send("SEND", "x", destination=f"/queue/{name}-out", transaction="t", receipt="sent")
    client.send(**answer("1.2", frame, transaction="t"))
    assert client.silent()
    assert watcher.silent()
    client.send("COMMIT", transaction="t", receipt="committed")
    assert [client.expect("RECEIPT").headers["receipt-id"] for _ in range(2)] == ["sent", "committed"]
    assert watcher.expect("MESSAGE").body == b"x"
    client.close()
    again = raw()
    subscribe(again, name)
    assert again.silent()


def test_aborted_transaction_does_nothing(raw, name):
    client, watcher = raw(), raw()
    subscribe(watcher, f"{name}-out")
    fill(client, name, 1)
    subscribe(client, name, "client")
    frame = client.expect("MESSAGE")
    for end in ("ABORT", None):
        client.sync("BEGIN", transaction="t")
        client.send("SEND", "x", destination=f"/queue/{name}-out", transaction="t")
        client.send(**answer("1.2", frame, transaction="t"))
        if end:
            client.sync(end, transaction="t")
        else:
            client.close()
    assert watcher.silent()
    again = raw()
    subscribe(again, name)
    assert again.expect("MESSAGE").body == b"0"


@pytest.mark.parametrize("command", ("COMMIT", "ABORT", "SEND", "ACK"))
def test_unknown_transaction(raw, name, command):
    client = raw()
    more = {"SEND": {"destination": f"/queue/{name}"}, "ACK": {"id": "x"}}.get(command, {})
    client.send(command, transaction="nope", **more)
    error = client.expect("ERROR")
    assert (error.headers["message"], error.body) == ("Bad transaction", b'Invalid transaction identifier: "nope"\n')
    client.sync("BEGIN", transaction="still-open")


def test_receipt_comes_after_all_before_it(raw, name):
    client = raw()
    for number in range(200):
        client.send("SEND", str(number), destination=f"/queue/{name}", receipt=str(number))
    assert [client.expect("RECEIPT").headers["receipt-id"] for _ in range(200)] == [str(number) for number in range(200)]
    subscribe(client, name)
    assert [client.expect("MESSAGE").body for _ in range(200)] == [str(number).encode() for number in range(200)]


def test_confirmed_messages_survive_a_crash(mortal, raw):
    client = raw(at=mortal.ports["stomp"])
    for number in range(20):
        client.sync("SEND", str(number), destination="/queue/q", persistent="true")
    client.sync("SUBSCRIBE", destination="/topic/t.*", id="d", durable="true", auto_delete="false")
    client.sync("UNSUBSCRIBE", id="d")
    client.sync("SEND", "topic", destination="/topic/t.x", persistent="true")
    mortal.crash()
    client = raw(at=mortal.ports["stomp"])
    client.sync("SUBSCRIBE", destination="/queue/q", id="q")
    assert [client.expect("MESSAGE").body for _ in range(20)] == [str(number).encode() for number in range(20)]
    client.sync("SUBSCRIBE", destination="/topic/t.*", id="d", durable="true", auto_delete="false")
    assert client.expect("MESSAGE").body == b"topic"
