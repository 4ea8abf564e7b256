"""What RabbitMQ does with queues, consumers and messages, as its clients see it; runs against both brokers."""

import time

import pika
import pytest
from pika import spec
from amqp_wire import PATIENCE, Gone, Wire

QUIET = 0.4


@pytest.fixture
def connection(url):
    made = pika.BlockingConnection(pika.URLParameters(url))
    yield made
    if made.is_open:
        made.close()


@pytest.fixture
def channel(connection):
    return connection.channel()


class Sink:
    """Collects what a consumer gets."""

    def __init__(self, channel, queue, **options):
        self.channel = channel
        self.got = []
        arrived = lambda ch, method, properties, body: self.got.append((method, properties, body))
        self.tag = channel.basic_consume(queue, arrived, **options)

    def bodies(self, count, quiet=QUIET):
        """The bodies once there are `count`, and after a moment in which more could have come."""
        deadline = time.monotonic() + PATIENCE
        while len(self.got) < count and time.monotonic() < deadline:
            self.channel.connection.process_data_events(time_limit=0.05)
        self.channel.connection.process_data_events(time_limit=quiet)
        return [body.decode() for _, _, body in self.got]


def put(channel, queue, *bodies, exchange="", **properties):
    for body in bodies:
        channel.basic_publish(exchange, queue, body.encode(), pika.BasicProperties(**properties))


def take(channel, queue, timeout=PATIENCE):
    """The next message, waiting for it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            return method, properties, body.decode()
        time.sleep(0.02)
    return None, None, None


def drained(channel, queue):
    bodies = iter(lambda: channel.basic_get(queue, auto_ack=True)[2], None)
    return [body.decode() for body in bodies]


def exclusive(channel, arguments=None, name=""):
    return channel.queue_declare(name, exclusive=True, arguments=arguments).method.queue


def test_consumer_priorities(channel):
    queue = exclusive(channel)
    channel.basic_qos(prefetch_count=2)
    low = Sink(channel, queue, arguments={"x-priority": -1})
    high = Sink(channel, queue, arguments={"x-priority": 10})
    put(channel, queue, "1", "2", "3", "4", "5")
    assert high.bodies(2) == ["1", "2"]
    assert low.bodies(2) == ["3", "4"]
    channel.basic_ack(high.got[0][0].delivery_tag)
    assert high.bodies(3) == ["1", "2", "5"]


def test_single_active_consumer(channel):
    queue = exclusive(channel, {"x-single-active-consumer": True})
    first, second = Sink(channel, queue), Sink(channel, queue)
    put(channel, queue, "1", "2")
    assert (first.bodies(2), second.got) == (["1", "2"], [])
    channel.basic_cancel(first.tag)
    put(channel, queue, "3")
    assert second.bodies(1) == ["3"]
    # What the first one held is its channel's until it settles it.
    channel.basic_nack(first.got[0][0].delivery_tag, requeue=True)
    assert second.bodies(2) == ["3", "1"]


def test_message_ttl_of_zero_is_for_those_who_wait(channel):
    queue = exclusive(channel, {"x-message-ttl": 0})
    put(channel, queue, "lost")
    assert take(channel, queue, 0.2)[0] is None
    sink = Sink(channel, queue, auto_ack=True)
    put(channel, queue, "taken")
    assert sink.bodies(1) == ["taken"]


def test_lower_ttl_wins_and_expired_messages_leave_in_order(channel):
    queue = exclusive(channel, {"x-message-ttl": 400})
    put(channel, queue, "short", expiration="50")
    put(channel, queue, "long", expiration="100000")
    time.sleep(0.2)
    assert channel.queue_declare(queue, passive=True).method.message_count == 1
    time.sleep(0.5)
    assert channel.queue_declare(queue, passive=True).method.message_count == 0


def test_queue_expires(connection, channel, name):
    channel.queue_declare(name, arguments={"x-expires": 300})
    time.sleep(1)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as raised:
        channel.queue_declare(name, passive=True)
    assert raised.value.reply_code == 404


@pytest.mark.parametrize(
    "overflow, kept, dead, confirmed",
    [
        (None, ["3", "4"], ["1", "2"], [True] * 4),
        ("drop-head", ["3", "4"], ["1", "2"], [True] * 4),
        ("reject-publish", ["1", "2"], [], [True, True, False, False]),
        ("reject-publish-dlx", ["1", "2"], ["3", "4"], [True, True, False, False]),
    ],
)
@pytest.mark.parametrize("limit", ["x-max-length", "x-max-length-bytes"])
def test_length_limits(channel, limit, overflow, kept, dead, confirmed):
    graveyard = exclusive(channel)
    arguments = {limit: 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": graveyard}
    if overflow:
        arguments["x-overflow"] = overflow
    queue = exclusive(channel, arguments)
    channel.confirm_delivery()
    answers = []
    for body in "1234":
        try:
            channel.basic_publish("", queue, body.encode())
            answers.append(True)
        except pika.exceptions.NackError:
            answers.append(False)
    time.sleep(0.1)
    assert (answers, drained(channel, queue)) == (confirmed, kept)
    bodies = [take(channel, graveyard) for _ in dead]
    assert [body for _, _, body in bodies] == dead
    assert all(properties.headers["x-death"][0]["reason"] == "maxlen" for _, properties, _ in bodies)


def timeless(headers):
    """Headers in order without the times, and without what only RabbitMQ 3.13 and later add."""
    plain = {key: value for key, value in headers.items() if not key.startswith("x-last-death-")}
    for death in plain.get("x-death", []):
        assert time.time() - 60 < death.pop("time").timestamp() < time.time() + 60
    return plain


@pytest.mark.parametrize("reason", ["expired", "rejected", "maxlen"])
def test_dead_letter_headers(channel, name, reason):
    graveyard = exclusive(channel)
    channel.exchange_declare(f"{name}-dlx", "fanout", auto_delete=True)
    channel.queue_bind(graveyard, f"{name}-dlx")
    queue = exclusive(channel, {"x-dead-letter-exchange": f"{name}-dlx", "x-max-length": 1}, name)
    channel.queue_bind(queue, "amq.direct", f"{name}-key")
    given = {"expiration": "30"} if reason == "expired" else {}
    headers = {"mine": 1, "CC": [f"{name}-cc"]}
    put(channel, f"{name}-key", "body", exchange="amq.direct", headers=headers, message_id="m", priority=3, **given)
    if reason == "rejected":
        channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    elif reason == "maxlen":
        put(channel, f"{name}-key", "next", exchange="amq.direct")
    method, properties, body = take(channel, graveyard)
    death = {
        "count": 1,
        "reason": reason,
        "queue": name,
        "exchange": "amq.direct",
        "routing-keys": [f"{name}-key", f"{name}-cc"],
    }
    if reason == "expired":
        death["original-expiration"] = "30"
    assert (method.exchange, method.routing_key, method.redelivered, body) == (
        f"{name}-dlx",
        f"{name}-key",
        False,
        "body",
    )
    assert timeless(properties.headers) == {
        **headers,
        "x-death": [death],
        "x-first-death-exchange": "amq.direct",
        "x-first-death-queue": name,
        "x-first-death-reason": reason,
    }
    assert (properties.expiration, properties.message_id, properties.priority) == (None, "m", 3)
    assert isinstance(properties.headers["x-death"][0]["count"], int)


def test_dead_letters_count_and_newest_first(channel, name):
    back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name, "x-message-ttl": 20}
    wait = exclusive(channel, back, f"{name}-wait")
    forth = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait}
    work = exclusive(channel, forth, name)
    put(channel, work, "body", headers={"CC": []})
    for _ in range(3):
        deadline = time.monotonic() + PATIENCE
        method = None
        while method is None and time.monotonic() < deadline:
            method, properties, _ = channel.basic_get(work)
        channel.basic_reject(method.delivery_tag, requeue=False)
    deadline = time.monotonic() + PATIENCE
    method = None
    while method is None and time.monotonic() < deadline:
        method, properties, _ = channel.basic_get(work)
    deaths = [(d["queue"], d["reason"], d["count"], d["routing-keys"]) for d in properties.headers["x-death"]]
    assert deaths == [(wait, "expired", 3, [wait]), (work, "rejected", 3, [work])]
    assert properties.headers["x-first-death-queue"] == work


def test_circle_of_expiry_ends(channel, name):
    queue = exclusive(channel, {"x-dead-letter-exchange": "", "x-message-ttl": 20}, name)
    put(channel, queue, "round")
    time.sleep(0.3)
    assert channel.queue_declare(queue, passive=True).method.message_count == 0


def test_mandatory_returns_before_the_ack(wire):
    one = wire()
    one.call(1, spec.Confirm.Select())
    one.publish(1, "", "nobody", b"body", pika.BasicProperties(message_id="m"), mandatory=True)
    returned = one.method().method
    assert (returned.reply_code, returned.reply_text, returned.exchange, returned.routing_key) == (
        312,
        "NO_ROUTE",
        "",
        "nobody",
    )
    properties, body = one.content()
    assert (properties.message_id, body) == ("m", b"body")
    ack = one.method().method
    assert isinstance(ack, spec.Basic.Ack) and ack.delivery_tag == 1


def test_alternate_exchange_counts_as_routed(channel, name):
    channel.exchange_declare(f"{name}-rest", "fanout", auto_delete=True)
    channel.exchange_declare(name, "direct", auto_delete=True, arguments={"alternate-exchange": f"{name}-rest"})
    rest, known = exclusive(channel), exclusive(channel)
    channel.queue_bind(rest, f"{name}-rest")
    channel.queue_bind(known, name, "known")
    channel.confirm_delivery()
    channel.basic_publish(name, "unknown", b"1", mandatory=True)
    channel.basic_publish(name, "known", b"2", mandatory=True)
    method, _, body = take(channel, rest)
    assert (method.exchange, method.routing_key, body) == (name, "unknown", "1")
    assert drained(channel, known) == ["2"]


def test_exchanges_bound_in_a_circle_deliver_once(channel, name):
    for end in "ab":
        channel.exchange_declare(name + end, "fanout", auto_delete=True)
    channel.exchange_bind(name + "a", name + "b")
    channel.exchange_bind(name + "b", name + "a")
    queue = exclusive(channel)
    channel.queue_bind(queue, name + "a")
    channel.queue_bind(queue, name + "b")
    put(channel, "", "once", exchange=name + "a")
    time.sleep(0.1)
    assert drained(channel, queue) == ["once"]
    channel.exchange_unbind(name + "a", name + "b")
    channel.exchange_unbind(name + "b", name + "a")


@pytest.mark.parametrize(
    "wanted, headers, matches",
    [
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 2}, True),
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1}, False),
        ({"a": 1}, {"a": 1}, True),
        ({"x-match": "any", "a": 1, "b": "x"}, {"b": "x"}, True),
        ({"x-match": "any", "a": 1, "b": "x"}, {"b": "y"}, False),
        ({"x-match": "all", "a": None}, {"a": "whatever"}, True),
        ({"x-match": "all", "a": 1}, {"a": "1"}, False),
        ({"x-match": "all", "a": 1}, {"a": 2**40}, False),
        ({"x-match": "all", "a": 1}, {"a": True}, False),
        ({"x-match": "all", "x-a": 1}, {}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all"}, None, True),
    ],
)
def test_headers_exchange(channel, wanted, headers, matches):
    queue = exclusive(channel)
    channel.queue_bind(queue, "amq.headers", arguments=wanted)
    channel.confirm_delivery()
    put(channel, "", "x", exchange="amq.headers", headers=headers)
    assert drained(channel, queue) == (["x"] if matches else [])


def spreading(connection, name, kind, weights, arguments=None):
    """An exchange of `kind` and a queue for each weight; skips where the kind is unknown."""
    channel = connection.channel()
    try:
        channel.exchange_declare(name, kind, auto_delete=True, arguments=arguments)
    except pika.exceptions.AMQPError as refused:
        if "unknown exchange type" in str(refused):
            pytest.skip("RabbitMQ without the plugin")
        raise
    queues = [exclusive(channel) for _ in weights]
    for queue, weight in zip(queues, weights):
        channel.queue_bind(queue, name, str(weight))
    return channel, queues


@pytest.mark.parametrize(
    "arguments, varied",
    [
        ({}, lambda number: (str(number), {})),
        ({"hash-header": "h"}, lambda number: ("same", {"headers": {"h": str(number)}})),
        ({"hash-property": "message_id"}, lambda number: ("same", {"message_id": str(number)})),
        ({"hash-property": "correlation_id"}, lambda number: ("same", {"correlation_id": str(number)})),
        ({"hash-property": "timestamp"}, lambda number: ("same", {"timestamp": number})),
    ],
)
def test_consistent_hash(connection, name, arguments, varied):
    channel, queues = spreading(connection, name, "x-consistent-hash", [10, 10, 20], arguments)
    for _ in range(2):
        for number in range(400):
            key, properties = varied(number)
            put(channel, key, str(number), exchange=name, **properties)
    got = [drained(channel, queue) for queue in queues]
    assert sum(map(len, got)) == 800
    assert all(len(bodies) > 60 for bodies in got) and len(got[2]) > max(len(got[0]), len(got[1]))
    # The same key always goes the same way.
    assert all(bodies.count(body) == 2 for bodies in got for body in bodies)


def test_random(connection, name):
    channel, queues = spreading(connection, name, "x-random", ["", "", ""])
    for number in range(300):
        put(channel, "same", str(number), exchange=name)
    got = [drained(channel, queue) for queue in queues]
    assert sum(map(len, got)) == 300 and all(len(bodies) > 50 for bodies in got)


def test_local_random(connection, name):
    channel, queues = spreading(connection, name, "x-local-random", ["", ""])
    for number in range(100):
        put(channel, "same", str(number), exchange=name)
    got = [drained(channel, queue) for queue in queues]
    assert sum(map(len, got)) == 100 and all(got)


def test_modulus_hash(connection, name):
    channel, queues = spreading(connection, name, "x-modulus-hash", ["", "", ""])
    for _ in range(2):
        for number in range(150):
            put(channel, f"key.{number}", str(number), exchange=name)
    got = [drained(channel, queue) for queue in queues]
    assert sum(map(len, got)) == 300 and all(len(bodies) > 20 for bodies in got)
    assert all(bodies.count(body) == 2 for bodies in got for body in bodies), "a key always goes the same way"


def test_delayed_message_exchange(connection, name):
    """As the community plugin: held back by header, routed by x-delayed-type, delivered with the header negated."""
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        channel.exchange_declare(name, "x-delayed-message")
    assert refused.value.reply_code == 406
    assert "'x-delayed-type' must be an existing exchange type" in refused.value.reply_text
    channel = connection.channel()
    channel.exchange_declare(name, "x-delayed-message", arguments={"x-delayed-type": "topic"})
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, name, "orders.*")
    put(channel, "orders.late", "late", exchange=name, headers={"x-delay": 600, "kept": "yes"})
    put(channel, "orders.now", "now", exchange=name)
    put(channel, "orders.now", "never delayed", exchange=name, headers={"x-delay": -5})
    put(channel, "elsewhere", "unroutable", exchange=name, headers={"x-delay": 1})
    assert drained(channel, queue) == ["now", "never delayed"]
    deadline = time.monotonic() + 10
    got = (None, None, None)
    while got[0] is None and time.monotonic() < deadline:
        got = channel.basic_get(queue, auto_ack=True)
        time.sleep(0.02)
    assert got[2] == b"late" and got[1].headers == {"kept": "yes", "x-delay": -600}
    channel.exchange_delete(name)


def test_cc_and_bcc(channel):
    one, two, three = exclusive(channel), exclusive(channel), exclusive(channel)
    channel.confirm_delivery()
    put(channel, one, "x", headers={"CC": [two, one], "BCC": [three]})
    for queue in (one, two, three):
        method, properties, _ = take(channel, queue)
        assert properties.headers == {"CC": [two, one]}
        assert method.routing_key == one
        assert drained(channel, queue) == []


def test_transactions_cover_acks(connection, channel):
    queue = exclusive(channel)
    put(channel, queue, "1", "2")
    transacted = connection.channel()
    transacted.tx_select()
    first = transacted.basic_get(queue)[0]
    transacted.basic_ack(first.delivery_tag)
    transacted.basic_publish("", queue, b"3")
    transacted.tx_rollback()
    # The ack is taken back, and the message is still this channel's.
    transacted.basic_ack(first.delivery_tag)
    transacted.tx_commit()
    transacted.close()
    assert drained(channel, queue) == ["2"]


def test_recover_gives_everything_again(channel):
    queue = exclusive(channel)
    put(channel, queue, "1", "2", "3")
    sink = Sink(channel, queue)
    assert sink.bodies(3) == ["1", "2", "3"]
    channel.basic_ack(sink.got[1][0].delivery_tag)
    channel.basic_recover(requeue=True)
    assert sink.bodies(5) == ["1", "2", "3", "1", "3"]
    assert [method.redelivered for method, _, _ in sink.got] == [False] * 3 + [True] * 2
    assert [method.delivery_tag for method, _, _ in sink.got] == [1, 2, 3, 4, 5]


def test_get_and_deliver_share_tags_and_counts(channel):
    queue = exclusive(channel)
    put(channel, queue, "1", "2", "3")
    time.sleep(0.1)
    method, _, _ = channel.basic_get(queue)
    assert (method.delivery_tag, method.message_count) == (1, 2)
    sink = Sink(channel, queue)
    sink.bodies(2)
    assert [method.delivery_tag for method, _, _ in sink.got] == [2, 3]
    assert channel.queue_declare(queue, passive=True).method.message_count == 0
    assert channel.queue_declare(queue, passive=True).method.consumer_count == 1


def test_prefetch_of_each_consumer(channel):
    queue = exclusive(channel)
    channel.basic_qos(prefetch_count=1)
    one = Sink(channel, queue)
    channel.basic_qos(prefetch_count=3)
    two = Sink(channel, queue)
    put(channel, queue, *"123456789")
    two.bodies(3)
    assert (len(one.got), len(two.got)) == (1, 3)


def test_prefetch_of_the_channel(channel):
    queue = exclusive(channel)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    one, two = Sink(channel, queue), Sink(channel, queue)
    put(channel, queue, *"123456789")
    one.bodies(1)
    two.bodies(1)
    assert len(one.got) + len(two.got) == 3
    channel.basic_qos(prefetch_count=5, global_qos=True)
    one.bodies(1)
    assert len(one.got) + len(two.got) == 5
    last = max(method.delivery_tag for method, _, _ in one.got + two.got)
    channel.basic_ack(last, multiple=True)
    one.bodies(1)
    assert len(one.got) + len(two.got) == 9


def test_prefetch_of_both(channel):
    queue = exclusive(channel)
    channel.basic_qos(prefetch_count=2)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    one, two = Sink(channel, queue), Sink(channel, queue)
    put(channel, queue, *"123456789")
    one.bodies(1)
    assert sorted([len(one.got), len(two.got)]) == [1, 2]


def test_direct_reply_to(connection, url):
    asker = connection.channel()
    answers = Sink(asker, "amq.rabbitmq.reply-to", auto_ack=True)
    requests = exclusive(asker)
    put(asker, requests, "ask", reply_to="amq.rabbitmq.reply-to", correlation_id="c")
    other = pika.BlockingConnection(pika.URLParameters(url))
    # The request queue is the asker's own, so it is the asker who hands the address over.
    address = take(asker, requests)[1].reply_to
    assert address.startswith("amq.rabbitmq.reply-to.") and len(address) <= 255
    server = other.channel()
    assert server.queue_declare(address, passive=True).method.consumer_count == 1
    put(server, address, "answer", correlation_id="c")
    assert answers.bodies(1) == ["answer"]
    method, properties, _ = answers.got[0]
    assert (method.exchange, method.routing_key, properties.correlation_id) == ("", address, "c")
    asker.close()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as raised:
        server.queue_declare(address, passive=True)
    assert raised.value.reply_code == 404
    other.close()


def test_auto_delete_after_the_last_consumer(channel, name):
    channel.queue_declare(name, auto_delete=True)
    one, two = Sink(channel, name), Sink(channel, name)
    channel.basic_cancel(one.tag)
    channel.queue_declare(name, passive=True)
    channel.basic_cancel(two.tag)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as raised:
        channel.queue_declare(name, passive=True)
    assert raised.value.reply_code == 404


def test_auto_delete_exchange_goes_with_its_last_binding(channel, name):
    queue = exclusive(channel)
    channel.exchange_declare(name, "fanout", auto_delete=True)
    channel.queue_bind(queue, name)
    channel.queue_unbind(queue, name)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as raised:
        channel.exchange_declare(name, passive=True)
    assert raised.value.reply_code == 404


def test_priorities(channel):
    queue = exclusive(channel, {"x-max-priority": 3})
    for body, priority in [("a", None), ("b", 1), ("c", 9), ("d", 3), ("e", 1), ("f", 0)]:
        put(channel, queue, body, priority=priority)
    time.sleep(0.1)
    assert drained(channel, queue) == ["c", "d", "b", "e", "a", "f"]


def test_quorum_delivery_count(channel, name):
    graveyard = exclusive(channel)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": graveyard,
    }
    channel.queue_declare(name, durable=True, arguments=arguments)
    channel.confirm_delivery()
    put(channel, name, "x")
    sink = Sink(channel, name)
    for round_ in range(3):
        assert len(sink.bodies(round_ + 1)) == round_ + 1
        channel.basic_nack(sink.got[-1][0].delivery_tag, requeue=True)
    counts = [(properties.headers or {}).get("x-delivery-count", 0) for _, properties, _ in sink.got]
    assert counts == [0, 1, 2]
    _, properties, _ = take(channel, graveyard)
    assert properties.headers["x-death"][0]["reason"] == "delivery_limit"
    channel.queue_delete(name)


@pytest.mark.parametrize("size", [65_536, 10 * 1024 * 1024])
@pytest.mark.parametrize("frame_max", [4096, 131072])
def test_frame_sizes(url, frame_max, size):
    parameters = pika.URLParameters(url)
    parameters.frame_max = frame_max
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    queue = exclusive(channel)
    body = bytes(i % 251 for i in range(1009)) * (size // 1009 + 1)
    channel.confirm_delivery()
    channel.basic_publish("", queue, body[:size])
    assert channel.basic_get(queue, auto_ack=True)[2] == body[:size]
    connection.close()


def test_2000_channels(wire):
    one = wire(2000)
    assert isinstance(one.call(2000, spec.Queue.Declare(0, "", exclusive=True)), spec.Queue.DeclareOk)
    for number in range(1, 2001):
        one.send(number, spec.Channel.Close(200, "", 0, 0))
    for _ in range(2000):
        assert isinstance(one.method().method, spec.Channel.CloseOk)


def test_idle_client_with_heartbeats_stays(url, name):
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 2
    connection = pika.BlockingConnection(parameters)
    connection.sleep(7)
    exclusive(connection.channel())
    connection.close()


def test_silent_peer_is_closed(url):
    silent = Wire(url, heartbeat=1).open()
    started = time.monotonic()
    with pytest.raises(Gone):
        silent.method(timeout=15)
    assert 1.5 < time.monotonic() - started < 8


def test_peer_that_says_nothing_at_all_is_closed(url):
    mute = Wire(url)
    with pytest.raises(Gone):
        mute.method(timeout=20)


def test_other_protocol_is_told_and_closed(url):
    other = Wire(url)
    other.raw(b"GET / HTTP/1.1\r\n\r\n")
    assert other.socket.recv(8, 0x100) == b"AMQP\0\0\x09\x01"
