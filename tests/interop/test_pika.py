"""pika against the AMQP door: what its examples and users do."""

import time

import pika
import pika.exceptions
import pytest

import clients

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def take(channel, queue, auto_ack=True, timeout=clients.PATIENCE):
    """The next message of a queue, through a consumer that is cancelled again."""
    method, properties, body = next(channel.consume(queue, inactivity_timeout=timeout, auto_ack=auto_ack))
    channel.cancel()
    return method, properties, body


def until(connection, done):
    """Dispatches callbacks until enough of them have run."""
    deadline = time.monotonic() + clients.PATIENCE
    while not done() and time.monotonic() < deadline:
        connection.process_data_events(time_limit=0.1)


def test_hello_world(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name)
    channel.basic_publish("", name, b"Hello World!")
    method, _, body = take(channel, name)
    assert (body, method.routing_key, method.redelivered) == (b"Hello World!", name, False)
    channel.queue_delete(name)


def test_properties_come_back_as_sent(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name, exclusive=True)
    sent = pika.BasicProperties(
        content_type="application/json",
        content_encoding="identity",
        headers={"n": 1, "s": "x", "list": [1, "two"], "table": {"deep": True}, "none": None, "bytes": b"\xff\x00"},
        delivery_mode=2,
        priority=3,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1700000000,
        type="t",
        user_id="guest",
        app_id="a",
    )
    channel.basic_publish("", name, b"{}", sent)
    assert take(channel, name)[1] == sent


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 131_064, 131_065, 1_000_000])
def test_bodies_of_any_size(amqp, name, size):
    channel = amqp.channel()
    channel.queue_declare(name, exclusive=True)
    body = bytes(i % 251 for i in range(size))
    channel.basic_publish("", name, body)
    assert take(channel, name)[2] == body


def test_publisher_confirms_and_mandatory(amqp, name):
    channel = amqp.channel()
    channel.confirm_delivery()
    channel.queue_declare(name, durable=True)
    for number in range(20):
        channel.basic_publish("", name, str(number).encode(), PERSISTENT, mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", f"{name}-absent", b"", mandatory=True)
    assert channel.queue_declare(name, passive=True).method.message_count == 20
    assert channel.queue_purge(name).method.message_count == 20
    channel.queue_delete(name)


def test_acknowledge_reject_requeue_and_prefetch(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name, exclusive=True)
    for number in range(5):
        channel.basic_publish("", name, str(number).encode())
    first, _, body = channel.basic_get(name)
    assert (body, first.message_count) == (b"0", 4)
    channel.basic_nack(first.delivery_tag, requeue=True)
    again, _, body = channel.basic_get(name)
    assert (body, again.redelivered) == (b"0", True)
    channel.basic_ack(again.delivery_tag)
    second, _, body = channel.basic_get(name)
    assert body == b"1"
    channel.basic_reject(second.delivery_tag, requeue=False)
    channel.basic_qos(prefetch_count=2)
    got = []
    channel.basic_consume(name, lambda ch, method, properties, body: got.append((method.delivery_tag, body)))
    until(amqp, lambda: len(got) >= 2)
    assert [body for _, body in got] == [b"2", b"3"]
    channel.basic_ack(got[1][0], multiple=True)
    until(amqp, lambda: len(got) >= 3)
    assert [body for _, body in got] == [b"2", b"3", b"4"]


def test_unacknowledged_messages_return_in_order_when_the_channel_closes(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name, exclusive=True)
    for number in range(5):
        channel.basic_publish("", name, str(number).encode())
    other = amqp.channel()
    for _ in range(3):
        other.basic_get(name)
    other.close()
    bodies = [channel.basic_get(name, auto_ack=True) for _ in range(5)]
    assert [body for _, _, body in bodies] == [b"0", b"1", b"2", b"3", b"4"]
    assert [method.redelivered for method, _, _ in bodies] == [True, True, True, False, False]


@pytest.mark.parametrize(
    "kind, bindings, published, expected",
    [
        ("direct", ["a", "b"], ["a", "b", "c"], [b"a", b"b"]),
        ("fanout", [""], ["a", "b"], [b"a", b"b"]),
        ("topic", ["*.stock.#"], ["x.stock", "x.stock.y.z", "stock", "x.y.stock"], [b"x.stock", b"x.stock.y.z"]),
        ("topic", ["#"], ["", "a.b"], [b"", b"a.b"]),
    ],
)
def test_exchanges(amqp, name, kind, bindings, published, expected):
    channel = amqp.channel()
    channel.exchange_declare(name, kind, auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    for key in bindings:
        channel.queue_bind(queue, name, key)
    for key in published:
        channel.basic_publish(name, key, key.encode())
    got = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(len(expected) + 1)]
    assert got == expected + [None]


def test_headers_exchange(amqp, name):
    channel = amqp.channel()
    channel.exchange_declare(name, "headers", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, name, arguments={"x-match": "all", "colour": "blue", "size": 7})
    for body, headers in [(b"yes", {"colour": "blue", "size": 7, "more": 1}), (b"no", {"colour": "blue"})]:
        channel.basic_publish(name, "", body, pika.BasicProperties(headers=headers))
    assert channel.basic_get(queue, auto_ack=True)[2] == b"yes"
    assert channel.basic_get(queue, auto_ack=True)[0] is None


def test_exchange_to_exchange_and_alternate(amqp, name):
    channel = amqp.channel()
    channel.exchange_declare(f"{name}-rest", "fanout", auto_delete=False)
    channel.exchange_declare(name, "direct", arguments={"alternate-exchange": f"{name}-rest"})
    channel.exchange_declare(f"{name}-next", "fanout")
    channel.exchange_bind(f"{name}-next", name, "known")
    known = channel.queue_declare("", exclusive=True).method.queue
    rest = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(known, f"{name}-next")
    channel.queue_bind(rest, f"{name}-rest")
    channel.basic_publish(name, "known", b"1")
    channel.basic_publish(name, "unknown", b"2")
    assert channel.basic_get(known, auto_ack=True)[2] == b"1"
    assert channel.basic_get(rest, auto_ack=True)[2] == b"2"
    for exchange in (name, f"{name}-next", f"{name}-rest"):
        channel.exchange_delete(exchange)


def test_dead_letters_after_ttl_and_reject(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(f"{name}-dead", exclusive=True)
    channel.queue_declare(
        name,
        exclusive=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}-dead"},
    )
    channel.basic_publish("", name, b"expires", pika.BasicProperties(expiration="50"))
    _, properties, body = take(channel, f"{name}-dead")
    death = properties.headers["x-death"][0]
    assert (body, death["reason"], death["queue"], death["count"]) == (b"expires", "expired", name, 1)
    channel.basic_publish("", name, b"rejected")
    method = channel.basic_get(name)[0]
    channel.basic_reject(method.delivery_tag, requeue=False)
    _, properties, body = take(channel, f"{name}-dead")
    assert (body, properties.headers["x-first-death-reason"]) == (b"rejected", "rejected")


def test_length_limit_and_priority(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(f"{name}-short", exclusive=True, arguments={"x-max-length": 2})
    for number in range(4):
        channel.basic_publish("", f"{name}-short", str(number).encode())
    got = [channel.basic_get(f"{name}-short", auto_ack=True)[2] for _ in range(3)]
    assert got == [b"2", b"3", None]
    channel.queue_declare(name, exclusive=True, arguments={"x-max-priority": 5})
    for priority in (1, 5, 3):
        channel.basic_publish("", name, str(priority).encode(), pika.BasicProperties(priority=priority))
    assert [channel.basic_get(name, auto_ack=True)[2] for _ in range(3)] == [b"5", b"3", b"1"]


def test_transactions(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name, exclusive=True)
    channel.tx_select()
    channel.basic_publish("", name, b"rolled back")
    channel.tx_rollback()
    channel.basic_publish("", name, b"committed")
    channel.tx_commit()
    other = amqp.channel()
    assert other.basic_get(name, auto_ack=True)[2] == b"committed"
    assert other.basic_get(name, auto_ack=True)[0] is None


@pytest.mark.parametrize(
    "code, wrong",
    [
        (404, lambda channel, name: channel.queue_declare(f"{name}-absent", passive=True)),
        (404, lambda channel, name: channel.basic_consume(f"{name}-absent", print)),
        (406, lambda channel, name: channel.queue_declare(name, durable=True)),
        (406, lambda channel, name: (channel.basic_ack(99), channel.queue_declare(name, passive=True))),
        (403, lambda channel, name: channel.queue_declare("amq.reserved")),
    ],
)
def test_errors_close_the_channel_only(amqp, name, code, wrong):
    keeper = amqp.channel()
    keeper.queue_declare(name, auto_delete=False)
    channel = amqp.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as raised:
        wrong(channel, name)
    assert raised.value.reply_code == code
    assert keeper.queue_delete(name) is not None


def test_wrong_password_is_refused(port):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError) as raised:
        clients.amqp(port("amqp"), password="wrong")
    assert raised.value.args[0] == 403 or "403" in str(raised.value)


def test_unknown_vhost_is_refused(port):
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        clients.amqp(port("amqp"), virtual_host="no-such-vhost")


def test_exclusive_queue_is_locked_and_goes_with_its_connection(amqp, port, name):
    owner = clients.amqp(port("amqp"))
    owner.channel().queue_declare(name, exclusive=True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as raised:
        amqp.channel().queue_declare(name, passive=True)
    assert raised.value.reply_code == 405
    owner.close()
    deadline = time.monotonic() + clients.PATIENCE
    while time.monotonic() < deadline:
        try:
            amqp.channel().queue_declare(name, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            if closed.reply_code == 404:
                return
        time.sleep(0.05)
    raise AssertionError("the queue is still there")


def test_consumer_is_told_when_its_queue_goes(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(name, lambda *_: None)
    amqp.channel().queue_delete(name)
    until(amqp, lambda: cancelled)
    assert cancelled == [tag]


def test_round_robin_between_consumers(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name, exclusive=True)
    got = {"one": [], "two": []}
    for who in got:
        worker = amqp.channel()
        worker.basic_qos(prefetch_count=1)

        def take_one(ch, method, properties, body, who=who):
            got[who].append(body)
            ch.basic_ack(method.delivery_tag)

        worker.basic_consume(name, take_one)
    for number in range(10):
        channel.basic_publish("", name, str(number).encode())
    until(amqp, lambda: len(got["one"]) + len(got["two"]) >= 10)
    assert len(got["one"]) + len(got["two"]) == 10
    assert min(len(got["one"]), len(got["two"])) >= 3


def test_stream_queue_is_read_again_from_the_start(amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
    channel.confirm_delivery()
    for number in range(3):
        channel.basic_publish("", name, str(number).encode())
    for offset, expected in (("first", [b"0", b"1", b"2"]), (1, [b"1", b"2"])):
        reader = amqp.channel()
        reader.basic_qos(prefetch_count=10)
        got = []

        def take_record(ch, method, properties, body, got=got):
            got.append((properties.headers["x-stream-offset"], body))
            ch.basic_ack(method.delivery_tag)

        reader.basic_consume(name, take_record, arguments={"x-stream-offset": offset})
        until(amqp, lambda: len(got) >= len(expected))
        assert [body for _, body in got] == expected
        assert got[-1][0] == 2
        reader.close()
    channel.queue_delete(name)


def test_heartbeats_keep_an_idle_connection(port, name):
    connection = clients.amqp(port("amqp"), heartbeat=1)
    channel = connection.channel()
    connection.sleep(3)
    channel.queue_declare(name, exclusive=True)
    connection.close()
