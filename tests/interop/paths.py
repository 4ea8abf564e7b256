"""Every pair of doors, and how a message goes from one to the other.

A path is the core object that the sender addresses and the one that the receiver takes from; where they differ, a
link of `test_crossings.LINKS` leads from the first to the second. It follows docs/crossing.md: nothing stands here
that a user could not do with stock clients.
"""

DOORS = ("amqp", "mqtt", "stomp", "sqs", "sns", "events", "kinesis")

QUEUE, TOPIC, SNS, BUS, STREAM = "queue", "topic", "sns", "bus", "stream"

PATHS = {
    ("amqp", "amqp"): (QUEUE, QUEUE),
    ("amqp", "mqtt"): (TOPIC, TOPIC),
    ("amqp", "stomp"): (QUEUE, QUEUE),
    ("amqp", "sqs"): (QUEUE, QUEUE),
    ("amqp", "sns"): (SNS, SNS),
    ("amqp", "events"): (BUS, BUS),
    ("amqp", "kinesis"): (STREAM, STREAM),
    ("mqtt", "amqp"): (TOPIC, TOPIC),
    ("mqtt", "mqtt"): (TOPIC, TOPIC),
    ("mqtt", "stomp"): (TOPIC, TOPIC),
    ("mqtt", "sqs"): (QUEUE, QUEUE),
    ("mqtt", "sns"): (SNS, SNS),
    ("mqtt", "events"): (TOPIC, BUS),
    ("mqtt", "kinesis"): (STREAM, STREAM),
    ("stomp", "amqp"): (QUEUE, QUEUE),
    ("stomp", "mqtt"): (TOPIC, TOPIC),
    ("stomp", "stomp"): (QUEUE, QUEUE),
    ("stomp", "sqs"): (QUEUE, QUEUE),
    ("stomp", "sns"): (SNS, SNS),
    ("stomp", "events"): (BUS, BUS),
    ("stomp", "kinesis"): (STREAM, STREAM),
    ("sqs", "amqp"): (QUEUE, QUEUE),
    ("sqs", "mqtt"): (QUEUE, QUEUE),
    ("sqs", "stomp"): (QUEUE, QUEUE),
    ("sqs", "sqs"): (QUEUE, QUEUE),
    ("sns", "amqp"): (SNS, SNS),
    ("sns", "mqtt"): (SNS, QUEUE),
    ("sns", "stomp"): (SNS, SNS),
    ("sns", "sqs"): (SNS, QUEUE),
    ("sns", "sns"): (SNS, SNS),
    ("sns", "events"): (SNS, BUS),
    ("sns", "kinesis"): (SNS, STREAM),
    ("events", "amqp"): (BUS, BUS),
    ("events", "mqtt"): (BUS, QUEUE),
    ("events", "stomp"): (BUS, BUS),
    ("events", "sqs"): (BUS, QUEUE),
    ("events", "sns"): (BUS, SNS),
    ("events", "events"): (BUS, BUS),
    ("events", "kinesis"): (BUS, STREAM),
    ("kinesis", "amqp"): (STREAM, STREAM),
    ("kinesis", "mqtt"): (STREAM, STREAM),
    ("kinesis", "stomp"): (STREAM, STREAM),
    ("kinesis", "kinesis"): (STREAM, STREAM),
}

_FROM_QUEUE = "SQS sends to a queue only, and nothing leads out of a queue but its consumers"
_FROM_STREAM = "Kinesis puts to a stream only, and nothing leads out of a stream but its consumers; this door has none"

UNDEFINED = {
    ("sqs", "sns"): _FROM_QUEUE,
    ("sqs", "events"): _FROM_QUEUE,
    ("sqs", "kinesis"): _FROM_QUEUE,
    ("kinesis", "sqs"): _FROM_STREAM,
    ("kinesis", "sns"): _FROM_STREAM,
    ("kinesis", "events"): _FROM_STREAM,
}

assert set(PATHS) | set(UNDEFINED) == {(one, other) for one in DOORS for other in DOORS}
assert not set(PATHS) & set(UNDEFINED)
