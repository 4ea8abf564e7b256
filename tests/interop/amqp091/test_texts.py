"""Reply codes and texts: clients decide by them, so they are RabbitMQ's to the letter.

Runs against Waystation and, with `AMQP_URL`, against rabbitmq-server: the table was made by agreement of both. Where
3.x and 4.x say different things, `three` is what 3.x says; `SKIPPED_ON_3` names what 3.x has no answer for.
"""

from dataclasses import dataclass, field

import pika
import pytest
from pika import spec

CHANNEL, CONNECTION = spec.Channel.Close, spec.Connection.Close
NAMES = {
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
}
LOCKED = (
    "cannot obtain exclusive access to locked queue 'Q' in vhost '/'. It could be originally declared on another "
    "connection or the exclusive property value does not match that of the original declaration."
)


def declare(queue="Q", **flags):
    return spec.Queue.Declare(0, queue, **flags)


def exchange(name="E", kind="direct", **flags):
    return spec.Exchange.Declare(0, name, kind, **flags)


def bind(queue="Q", source="E", key="k", arguments=None):
    return spec.Queue.Bind(0, queue, source, key, False, arguments or {})


def unbind(queue="Q", source="E", key="k"):
    return spec.Queue.Unbind(0, queue, source, key, {})


def consume(queue="Q", tag="t", **flags):
    return spec.Basic.Consume(0, queue, tag, **flags)


def limited(name, value, **flags):
    return declare(arguments={name: value}, **flags)


@dataclass
class Publish:
    """A publish with its content."""

    exchange: str = ""
    key: str = "Q"
    properties: pika.BasicProperties = field(default_factory=pika.BasicProperties)
    immediate: bool = False


def with_headers(**headers):
    return Publish(properties=pika.BasicProperties(headers=headers))


def with_property(**properties):
    return Publish(properties=pika.BasicProperties(**properties))


class Raw(bytes):
    """Octets as they are."""


HEADER_OF_5 = Raw(b"\x02\0\x01\0\0\0\x0e\0\x3c\0\0" + bytes(7) + b"\x05\0\0\xce")

# What was sent before, what is sent, and the end: scope, code, text, class and method of what failed.
QUEUE_404, EXCHANGE_404 = "no queue 'Q' in vhost '/'", "no exchange 'E' in vhost '/'"
MISMATCH = "inequivalent arg '%s' for %s in vhost '/': %s"
INVALID = "invalid arg '%s' for queue 'Q' in vhost '/': %s"
DEFAULT = "operation not permitted on the default exchange"
SYSTEM = "deletion of system exchange 'amq.direct' in vhost '/' not allowed"
UNKNOWN_TYPE = "unknown exchange type 'nonsense'"
RESERVED = "%s name 'amq.foo' contains reserved prefix 'amq.*'"
QUORUM, STREAM = {"x-queue-type": "quorum"}, {"x-queue-type": "stream"}


def channel(code, text, method, three=None):
    return (CHANNEL, code, text, method, three)


def connection(code, text, method, three=None):
    return (CONNECTION, code, text, method, three)


def mismatch(name, difference, what="queue 'Q'", method=(50, 10)):
    return channel(406, MISMATCH % (name, what, difference), method)


def invalid(name, why):
    return channel(406, INVALID % (name, why), (50, 10))


def other_kind(name, kind):
    text = f"invalid arg '{name}' for queue 'Q' in vhost '/' of queue type %s"
    return channel(406, text % kind, (50, 10), (CHANNEL, 406, text % f"rabbit_{kind}_queue", (50, 10)))


MISSING = {
    "queue passive": (declare(passive=True), channel(404, QUEUE_404, (50, 10))),
    "queue bind": (bind(source="amq.direct"), channel(404, QUEUE_404, (50, 20))),
    "queue consume": (consume(), channel(404, QUEUE_404, (60, 20))),
    "queue get": (spec.Basic.Get(0, "Q"), channel(404, QUEUE_404, (60, 70))),
    "queue purge": (spec.Queue.Purge(0, "Q"), channel(404, QUEUE_404, (50, 30))),
    "exchange passive": (exchange(passive=True), channel(404, EXCHANGE_404, (40, 10))),
    "exchange publish": (Publish("E"), channel(404, EXCHANGE_404, (60, 40))),
    "exchange bind": (spec.Exchange.Bind(0, "amq.fanout", "E"), channel(404, EXCHANGE_404, (40, 30))),
    "exchange bind to": (spec.Exchange.Bind(0, "E", "amq.fanout"), channel(404, EXCHANGE_404, (40, 30))),
    "no queue yet, bind": (bind("", "amq.direct"), channel(404, "no previously declared queue", (50, 20))),
    "no queue yet, consume": (consume(""), channel(404, "no previously declared queue", (60, 20))),
    "no queue yet, get": (spec.Basic.Get(0, ""), channel(404, "no previously declared queue", (60, 70))),
    "no queue yet, purge": (spec.Queue.Purge(0, ""), channel(404, "no previously declared queue", (50, 30))),
    "no queue yet, delete": (spec.Queue.Delete(0, ""), channel(404, "no previously declared queue", (50, 40))),
}

NAMED = {
    "queue": (declare("amq.foo"), channel(403, RESERVED % "queue", (50, 10))),
    "exchange": (exchange("amq.foo"), channel(403, RESERVED % "exchange", (40, 10))),
    "default declare": (exchange(""), channel(403, DEFAULT, (40, 10))),
    "default passive": (exchange("", passive=True), channel(403, DEFAULT, (40, 10))),
    "default delete": (spec.Exchange.Delete(0, ""), channel(403, DEFAULT, (40, 20))),
    "default bind": (spec.Exchange.Bind(0, "", "amq.fanout"), channel(403, DEFAULT, (40, 30))),
    "default bind from": (spec.Exchange.Bind(0, "amq.fanout", ""), channel(403, DEFAULT, (40, 30))),
    "default unbind": (spec.Exchange.Unbind(0, "", "amq.fanout"), channel(403, DEFAULT, (40, 40))),
    "default queue bind": ([declare(), bind(source="")], channel(403, DEFAULT, (50, 20))),
    "default queue unbind": ([declare(), unbind(source="")], channel(403, DEFAULT, (50, 50))),
    "system exchange": (spec.Exchange.Delete(0, "amq.direct"), channel(403, SYSTEM, (40, 20))),
    "internal": (
        [exchange(internal=True), Publish("E")],
        channel(403, "cannot publish to internal exchange 'E' in vhost '/'", (60, 40)),
    ),
    "unknown type": (
        exchange(kind="nonsense"),
        channel(406, UNKNOWN_TYPE, (40, 10), (CONNECTION, 503, UNKNOWN_TYPE, (40, 10))),
    ),
}

REDECLARED = {
    "durable": (
        [declare(durable=True), declare()],
        mismatch("durable", "received 'false' but current is 'true'"),
    ),
    "auto-delete": (
        [declare(), declare(auto_delete=True)],
        mismatch("auto_delete", "received 'true' but current is 'false'"),
    ),
    "new": (
        [declare(), limited("x-message-ttl", 1000)],
        mismatch(
            "x-message-ttl", "received the value '1000' of type 'signedint' but current is none"
        ),
    ),
    "other": (
        [limited("x-message-ttl", 1000), limited("x-message-ttl", 2000)],
        mismatch("x-message-ttl", "received '2000' but current is '1000'"),
    ),
    "none": (
        [limited("x-max-length", 5), declare()],
        mismatch("x-max-length", "received none but current is the value '5' of type 'signedint'"),
    ),
    "none but quorum": (
        [declare(arguments=QUORUM, durable=True), declare(durable=True)],
        mismatch("x-queue-type", "received none but current is the value 'quorum' of type 'longstr'"),
    ),
    "dead letters": (
        [limited("x-dead-letter-exchange", "a"), limited("x-dead-letter-exchange", "b")],
        mismatch("x-dead-letter-exchange", "received 'b' but current is 'a'"),
    ),
    "exclusive": ([declare(), declare(exclusive=True)], channel(405, LOCKED, (50, 10))),
    "exchange type": (
        [exchange(), exchange(kind="fanout")],
        mismatch("type", "received 'fanout' but current is 'direct'", "exchange 'E'", (40, 10)),
    ),
    "exchange durable": (
        [exchange(), exchange(durable=True)],
        mismatch("durable", "received 'true' but current is 'false'", "exchange 'E'", (40, 10)),
    ),
    "exchange internal": (
        [exchange(), exchange(internal=True)],
        mismatch("internal", "received 'true' but current is 'false'", "exchange 'E'", (40, 10)),
    ),
    "exchange auto-delete": (
        [exchange(), exchange(auto_delete=True)],
        mismatch("auto_delete", "received 'true' but current is 'false'", "exchange 'E'", (40, 10)),
    ),
    "alternate exchange": (
        [exchange(), exchange(arguments={"alternate-exchange": "a"})],
        mismatch(
            "alternate-exchange",
            "received the value 'a' of type 'longstr' but current is none",
            "exchange 'E'",
            (40, 10),
        ),
    ),
}

ARGUMENTS = {
    "ttl negative": (limited("x-message-ttl", -1), invalid("x-message-ttl", "{value_negative,-1}")),
    "ttl text": (limited("x-message-ttl", "1"), invalid("x-message-ttl", '"expected integer, got longstr"')),
    "expires zero": (limited("x-expires", 0), invalid("x-expires", "{value_zero,0}")),
    "expires negative": (limited("x-expires", -1), invalid("x-expires", "{value_negative,-1}")),
    "length negative": (limited("x-max-length", -1), invalid("x-max-length", "{value_negative,-1}")),
    "length text": (limited("x-max-length", "1"), invalid("x-max-length", '"expected integer, got longstr"')),
    "bytes negative": (limited("x-max-length-bytes", -1), invalid("x-max-length-bytes", "{value_negative,-1}")),
    "overflow": (limited("x-overflow", "foo"), invalid("x-overflow", "invalid_overflow")),
    "dead letter key alone": (
        limited("x-dead-letter-routing-key", "k"),
        invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"),
    ),
    "priority": (limited("x-max-priority", 256), invalid("x-max-priority", "{max_value_exceeded,256}")),
    "priority negative": (limited("x-max-priority", -1), invalid("x-max-priority", "{value_negative,-1}")),
    "type": (limited("x-queue-type", "foo"), invalid("x-queue-type", "\"unsupported queue type 'foo'\"")),
    "single active": (
        limited("x-single-active-consumer", "yes"),
        invalid("x-single-active-consumer", "{unacceptable_type,longstr}"),
    ),
    "age": (
        declare(durable=True, arguments={**STREAM, "x-max-age": "nonsense"}),
        invalid("x-max-age", "invalid_max_age"),
    ),
    "quorum priority": (
        declare(durable=True, arguments={**QUORUM, "x-max-priority": 5}),
        other_kind("x-max-priority", "quorum"),
    ),
    "classic age": (limited("x-max-age", "1D"), other_kind("x-max-age", "classic")),
    "stream ttl": (
        declare(durable=True, arguments={**STREAM, "x-message-ttl": 5}),
        other_kind("x-message-ttl", "stream"),
    ),
    "quorum transient": (
        declare(arguments=QUORUM),
        channel(406, "invalid property 'non-durable' for queue 'Q' in vhost '/'", (50, 10)),
    ),
    "quorum exclusive": (
        declare(durable=True, exclusive=True, arguments=QUORUM),
        channel(406, "invalid property 'exclusive-owner' for queue 'Q' in vhost '/'", (50, 10)),
    ),
    "quorum auto-delete": (
        declare(durable=True, auto_delete=True, arguments=QUORUM),
        channel(406, "invalid property 'auto-delete' for queue 'Q' in vhost '/'", (50, 10)),
    ),
    "stream transient": (
        declare(arguments=STREAM),
        channel(406, "invalid property 'non-durable' for queue 'Q' in vhost '/'", (50, 10)),
    ),
    "ttl large": (
        limited("x-message-ttl", 315360000001),
        invalid("x-message-ttl", "{value_too_large,315360000001}"),
    ),
    "ttl bool": (limited("x-message-ttl", True), invalid("x-message-ttl", '"expected integer, got bool"')),
    "mode": (limited("x-queue-mode", "foo"), invalid("x-queue-mode", "\"unsupported queue mode 'foo'\"")),
    "overflow type": (limited("x-overflow", 5), invalid("x-overflow", "{unacceptable_type,signedint}")),
    "type type": (limited("x-queue-type", 5), invalid("x-queue-type", "{unacceptable_type,signedint}")),
    "dead letter type": (
        limited("x-dead-letter-exchange", 5),
        channel(
            406, "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'Q' in vhost '/'", (50, 10)
        ),
    ),
    "alternate exchange type": (
        exchange(arguments={"alternate-exchange": 5}),
        channel(406, "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'E' in vhost '/'", (40, 10)),
    ),
    "headers match type": (
        [declare(), bind(source="amq.headers", arguments={"x-match": 5})],
        channel(406, "Invalid x-match field type signedint (value 5); expected longstr", (50, 20)),
    ),
    "headers match": (
        [declare(), bind(source="amq.headers", arguments={"x-match": "foo"})],
        channel(
            406,
            'Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x',
            (50, 20),
        ),
    ),
}

USED = {
    "queue in use": (
        [declare(), consume(), spec.Queue.Delete(0, "Q", True)],
        channel(406, "queue 'Q' in vhost '/' in use", (50, 40)),
    ),
    "queue not empty": (
        [declare(), Publish(), spec.Queue.Delete(0, "Q", False, True)],
        channel(406, "queue 'Q' in vhost '/' not empty", (50, 40)),
    ),
    "exchange in use": (
        [declare(), exchange(), bind(), spec.Exchange.Delete(0, "E", True)],
        channel(406, "exchange 'E' in vhost '/' in use", (40, 20)),
    ),
    "exclusive consumer": (
        [declare(), consume(exclusive=True), consume(tag="u")],
        channel(403, "queue 'Q' in vhost '/' in exclusive use", (60, 20)),
    ),
    "exclusive consumer comes second": (
        [declare(), consume(), consume(tag="u", exclusive=True)],
        channel(403, "queue 'Q' in vhost '/' in exclusive use", (60, 20)),
    ),
    "consumer tag": (
        [declare(), consume(), consume()],
        connection(530, "attempt to reuse consumer tag 't'", (60, 20)),
    ),
    "consumer priority": (
        [declare(), consume(arguments={"x-priority": "high"})],
        channel(406, INVALID % ("x-priority", '"expected integer, got longstr"'), (60, 20)),
    ),
    "stream without prefetch": (
        [declare(durable=True, arguments=STREAM), consume()],
        channel(406, "consumer prefetch count is not set for 'queue 'Q' in vhost '/''", (60, 20)),
    ),
    "stream get": (
        [declare(durable=True, arguments=STREAM), spec.Basic.Get(0, "Q")],
        connection(540, "basic.get not supported by stream queues queue 'Q' in vhost '/'", (60, 70)),
    ),
    "stream purge": (
        [declare(durable=True, arguments=STREAM), spec.Queue.Purge(0, "Q")],
        connection(540, "queue.purge not supported by stream queues queue 'Q' in vhost '/'", (50, 30)),
    ),
}

# RabbitMQ refuses these; here they work.
MORE = {
    "stream without acks": (
        [declare(durable=True, arguments=STREAM), spec.Basic.Qos(0, 5), consume(no_ack=True)],
        connection(540, "automatic acknowledgement not supported by stream queues queue 'Q' in vhost '/'", (60, 20)),
    ),
    "quorum, shared prefetch": (
        [declare(durable=True, arguments=QUORUM), spec.Basic.Qos(0, 5, True), consume()],
        connection(540, "queue 'Q' in vhost '/' does not support global qos", (60, 20)),
    ),
    "quorum if-unused": (
        [declare(durable=True, arguments=QUORUM), spec.Queue.Delete(0, "Q", True)],
        connection(
            540,
            "cannot delete queue 'Q' in vhost '/'. queue.delete operations with if-unused flag set are not "
            "supported by quorum queues",
            (50, 40),
        ),
    ),
    "quorum if-empty": (
        [declare(durable=True, arguments=QUORUM), spec.Queue.Delete(0, "Q", False, True)],
        connection(
            540,
            "cannot delete queue 'Q' in vhost '/'. queue.delete operations with if-empty flag set are not "
            "supported by quorum queues",
            (50, 40),
        ),
    ),
}

SETTLED = {
    "unknown": (spec.Basic.Ack(99), channel(406, "unknown delivery tag 99", (60, 80))),
    "zero": (spec.Basic.Ack(0), channel(406, "unknown delivery tag 0", (60, 80))),
    "nack": (spec.Basic.Nack(7), channel(406, "unknown delivery tag 7", (60, 120))),
    "reject": (spec.Basic.Reject(7), channel(406, "unknown delivery tag 7", (60, 90))),
    "multiple": (spec.Basic.Ack(7, True), channel(406, "unknown delivery tag 7", (60, 80))),
    "twice": (
        [declare(), Publish(), spec.Basic.Get(0, "Q"), spec.Basic.Ack(1), spec.Basic.Ack(1)],
        channel(406, "unknown delivery tag 1", (60, 80)),
    ),
    "confirm, then tx": (
        [spec.Confirm.Select(), spec.Tx.Select()],
        channel(406, "cannot switch from confirm to tx mode", (90, 10)),
    ),
    "tx, then confirm": (
        [spec.Tx.Select(), spec.Confirm.Select()],
        channel(406, "cannot switch from tx to confirm mode", (85, 10)),
    ),
    "commit": (spec.Tx.Commit(), channel(406, "channel is not transactional", (90, 20))),
    "rollback": (spec.Tx.Rollback(), channel(406, "channel is not transactional", (90, 30))),
}

PUBLISHED = {
    "user": (
        with_property(user_id="bob"),
        channel(406, "user_id property set to 'bob' but authenticated user was 'guest'", (60, 40)),
    ),
    "expiration text": (
        with_property(expiration="abc"),
        channel(406, "invalid expiration 'abc': no_integer", (60, 40)),
    ),
    "expiration negative": (
        with_property(expiration="-1"),
        channel(406, "invalid expiration '-1': {value_negative,-1}", (60, 40)),
    ),
    "expiration leftover": (
        with_property(expiration="1 "),
        channel(406, "invalid expiration '1 ': {leftover_string,\" \"}", (60, 40)),
    ),
    "expiration large": (
        with_property(expiration="315360000001"),
        channel(406, "invalid expiration '315360000001': {value_too_large,315360000001}", (60, 40)),
    ),
    "CC": (
        with_headers(CC="k"),
        channel(406, 'invalid message: {unacceptable_type_in_header,"CC",longstr}', (60, 40)),
    ),
    "BCC": (
        with_headers(BCC=3),
        channel(406, 'invalid message: {unacceptable_type_in_header,"BCC",signedint}', (60, 40)),
    ),
    "delivery mode": (
        with_property(delivery_mode=3),
        channel(406, "invalid message: {delivery_mode_unknown,3}", (60, 40)),
    ),
    "reply-to": (
        with_property(reply_to="amq.rabbitmq.reply-to"),
        channel(406, "fast reply consumer does not exist", (60, 40)),
    ),
    "reply-to with acks": (
        consume("amq.rabbitmq.reply-to"),
        channel(406, "reply consumer cannot acknowledge", (60, 20)),
    ),
    "reply-to twice": (
        [consume("amq.rabbitmq.reply-to", no_ack=True), consume("amq.rabbitmq.reply-to", "u", no_ack=True)],
        channel(406, "reply consumer already set", (60, 20)),
    ),
    "immediate": (Publish(immediate=True), connection(540, "immediate=true", (60, 40))),
    "prefetch size": (spec.Basic.Qos(10), connection(540, "prefetch_size!=0 (10)", (60, 10))),
    "flow": (spec.Channel.Flow(False), connection(540, "active=false", (20, 20))),
    "recover": (spec.Basic.Recover(False), connection(540, "requeue=false", (60, 110))),
}

HASHED = {
    "weight text": (
        [exchange(kind="x-consistent-hash"), declare(), bind(key="abc")],
        channel(406, 'The binding key must be an integer: <<"abc">>', (50, 20)),
    ),
    "weight empty": (
        [exchange(kind="x-consistent-hash"), declare(), bind(key="")],
        channel(406, "The binding key must be an integer: <<>>", (50, 20)),
    ),
    "weight zero": (
        [exchange(kind="x-consistent-hash"), declare(), bind(key="0")],
        channel(406, "The binding key must be greater than 0", (50, 20)),
    ),
    "hash of both": (
        exchange(kind="x-consistent-hash", arguments={"hash-header": "a", "hash-property": "message_id"}),
        channel(406, "hash-header and hash-property are mutually exclusive", (40, 10)),
    ),
    "hash of what is not there": (
        exchange(kind="x-consistent-hash", arguments={"hash-property": "app_id"}),
        channel(406, "Unsupported property: app_id", (40, 10)),
    ),
}

CONNECTED = {
    "server's method": (spec.Basic.GetEmpty(), connection(503, "unimplemented method", (60, 72))),
    "second open": (spec.Channel.Open(), connection(504, "second 'channel.open' seen", (20, 10))),
    "body first": (
        Raw(b"\x03\0\x01\0\0\0\x01x\xce"),
        connection(505, "expected method frame, got non method frame instead", (0, 0)),
    ),
    "frame too large": (
        Raw(b"\x03\0\x01\0\x03\0\0"),
        connection(501, "type 3, all octets = <<>>: {frame_too_large,196608,131064}", (0, 0)),
    ),
    "frame type": (
        Raw(b"\x09\0\x01\0\0\0\0\xce"),
        connection(501, "type 9, all octets = <<>>: unknown_frame", (0, 0)),
    ),
    "method for header": (
        [spec.Basic.Publish(0, "", "k"), declare()],
        connection(505, "expected content header for class 60, got non content header frame instead", (60, 40)),
    ),
    "method for body": (
        [spec.Basic.Publish(0, "", "k"), HEADER_OF_5, declare()],
        connection(505, "expected content body, got non content body frame instead", (60, 40)),
    ),
    "class of header": (
        [spec.Basic.Publish(0, "", "k"), Raw(b"\x02\0\x01\0\0\0\x0e\0\x32" + bytes(12) + b"\xce")],
        connection(505, "expected content header for class 60, got one for class 50 instead", (60, 40)),
    ),
    "frame end": (
        Raw(b"\x08\0\0\0\0\0\0\xcd"),
        connection(501, "type 8, all octets = <<>>: {invalid_frame_end_marker,205}", (0, 0)),
    ),
}

SUCCESS = {
    "delete missing queue": spec.Queue.Delete(0, "Q"),
    "delete missing exchange": spec.Exchange.Delete(0, "E"),
    "unbind missing queue": unbind(source="amq.direct"),
    "unbind missing binding": [declare(), unbind(source="amq.direct")],
    "cancel unknown tag": spec.Basic.Cancel("t"),
    "ack nothing": [spec.Basic.Ack(0, True), declare()],
    "unknown argument": [declare(), limited("x-nobody-knows", 1)],
    "unknown argument differs": [limited("x-nobody-knows", 1), limited("x-nobody-knows", 2)],
    "classic by name": [declare(), limited("x-queue-type", "classic")],
    "CC of numbers": [declare(), with_headers(CC=[1]), declare()],
    "ttl of ten years": limited("x-message-ttl", 315360000000),
    "declare again": [declare(durable=True, arguments={"x-max-length": 5})] * 2,
    "system exchange again": exchange("amq.direct", durable=True),
    "publish to a locked queue": [declare(exclusive=True), Publish(), declare(exclusive=True)],
    "recover": spec.Basic.Recover(True),
    "flow on": spec.Channel.Flow(True),
    "secret": None,
}


def renamed(text, name):
    """`Q` and `E` in quotes stand for the names of the test."""
    return text.replace("'Q'", f"'{name}'").replace("'E'", f"'{name}'")


def prepared(step, name):
    """The step with the names of the test, in a fresh copy."""
    copy = type(step).__new__(type(step), step) if isinstance(step, Raw) else type(step).__new__(type(step))
    for key, value in getattr(step, "__dict__", {}).items():
        named = key in ("queue", "exchange", "source", "destination", "routing_key", "key")
        copy.__dict__[key] = name if named and value in ("Q", "E") else value
    return copy


def run(connection, steps, name):
    """Carries the steps out on channel 1; the last method that came back, or None where nothing answers."""
    answer = None
    for step in steps if isinstance(steps, list) else [steps]:
        step = prepared(step, name)
        answer = None
        if isinstance(step, Raw):
            connection.raw(step)
        elif isinstance(step, Publish):
            connection.publish(1, step.exchange, step.key, b"x", step.properties, immediate=step.immediate)
        elif getattr(step, "synchronous", False):
            answer = connection.call(1, step)
        else:
            connection.send(1, step)
    return answer


def is_three(connection):
    return connection.server["version"].startswith("3.")


def check_end(connection, answer, expected, name):
    *four, three = expected
    scope, code, text, method = three if three and is_three(connection) else four
    text = renamed(text, name)
    answer = answer or connection.method().method
    while isinstance(answer, (spec.Basic.Deliver, spec.Basic.GetOk)):
        answer = connection.method().method
    found = (type(answer).__name__, answer.reply_code, answer.reply_text, (answer.class_id, answer.method_id))
    assert isinstance(answer, scope), found
    assert (answer.reply_code, answer.reply_text) == (code, f"{NAMES[code]} - {text}"[:255])
    assert (answer.class_id, answer.method_id) == method
    if scope is CHANNEL:
        # The number can be used again at once.
        connection.send(1, spec.Channel.CloseOk())
        assert isinstance(connection.call(1, spec.Channel.Open()), spec.Channel.OpenOk)


@pytest.fixture
def cleaned(wire, name):
    """A connection, and nothing of the test's names left behind."""
    connection_ = wire()
    yield connection_
    connection_.close()
    last = wire(2)
    last.call(1, spec.Queue.Delete(0, name))
    last.call(2, spec.Exchange.Delete(0, name))


SKIPPED_ON_3 = ("age",)
TABLE = {**MISSING, **NAMED, **REDECLARED, **ARGUMENTS, **USED, **SETTLED, **PUBLISHED, **CONNECTED}
assert len(TABLE) == sum(map(len, (MISSING, NAMED, REDECLARED, ARGUMENTS, USED, SETTLED, PUBLISHED, CONNECTED)))


@pytest.mark.parametrize("case", TABLE)
def test_refused(cleaned, name, case):
    if case in SKIPPED_ON_3 and is_three(cleaned):
        pytest.skip("ends RabbitMQ 3.x's channel process")
    steps, expected = TABLE[case]
    check_end(cleaned, run(cleaned, steps, name), expected, name)


@pytest.mark.parametrize("case", HASHED)
def test_consistent_hash(cleaned, name, case):
    steps, expected = HASHED[case]
    answer = run(cleaned, steps, name)
    if "unknown exchange type" in getattr(answer, "reply_text", ""):
        pytest.skip("RabbitMQ without the plugin")
    check_end(cleaned, answer, expected, name)


@pytest.mark.parametrize("case", SUCCESS)
def test_success(cleaned, name, case):
    if SUCCESS[case] is None:
        assert isinstance(cleaned.call(0, spec.Connection.UpdateSecret("s", "r")), spec.Connection.UpdateSecretOk)
        return
    check_success(run(cleaned, SUCCESS[case], name))


def check_success(answer):
    assert answer is not None and not isinstance(answer, (CHANNEL, CONNECTION)), answer


@pytest.mark.parametrize("case", MORE)
def test_more_than_rabbitmq(cleaned, name, case):
    steps, expected = MORE[case]
    answer = run(cleaned, steps, name)
    if cleaned.server["product"] == "RabbitMQ":
        check_end(cleaned, answer, expected, name)
    else:
        check_success(answer)


LOCKED_STEPS = {
    "declare": (declare(exclusive=True), (50, 10)),
    "passive": (declare(passive=True), (50, 10)),
    "bind": (bind(source="amq.direct"), (50, 20)),
    "unbind": (unbind(source="amq.direct"), (50, 50)),
    "consume": (consume(), (60, 20)),
    "get": (spec.Basic.Get(0, "Q"), (60, 70)),
    "purge": (spec.Queue.Purge(0, "Q"), (50, 30)),
    "delete": (spec.Queue.Delete(0, "Q"), (50, 40)),
}


@pytest.mark.parametrize("case", LOCKED_STEPS)
def test_locked(wire, name, case):
    owner = wire()
    owner.call(1, declare(name, exclusive=True))
    owner.call(1, bind(name, "amq.direct"))
    step, method = LOCKED_STEPS[case]
    other = wire()
    check_end(other, run(other, step, name), channel(405, LOCKED, method), name)


def test_channel_not_open(wire):
    connection_ = wire()
    answer = connection_.call(2, declare())
    check_end(connection_, answer, connection(504, "expected 'channel.open'", (50, 10)), "")


def test_class_on_channel_0(wire):
    connection_ = wire()
    answer = connection_.call(0, declare())
    expected = connection(504, "unexpected method in connection state running", (50, 10))
    check_end(connection_, answer, expected, "")


def test_too_many_channels(wire):
    connection_ = wire(3, channel_max=3)
    text = "number of channels opened (3) has reached the negotiated channel_max (3)"
    check_end(connection_, connection_.call(3 + 1, spec.Channel.Open()), connection(530, text, (0, 0)), "")
