"""What a plain user of each door does to send to, and to receive from, each kind of core object.

`Sent` is what every sender tries to say; a door says as much of it as it can. Receivers subscribe when made and
answer `wait()` with a `Received`, in the neutral words of docs/crossing.md.
"""

import dataclasses
import json
import time
import uuid

import clients
import pika
from paths import BUS, QUEUE, SNS, STREAM, TOPIC

KEY = "crossing.{name}.placed"
PARTITION_KEY = "customer-7"


@dataclasses.dataclass
class Sent:
    """One message, and the name that its core objects share."""

    name: str
    body: str
    headers: dict
    content_type: str = "text/plain"
    correlation: str = "c-42"
    source: str = "shop.orders"
    detail_type: str = "OrderPlaced"

    def of(self, what):
        """Name of a core object of this test; exchanges of different kinds cannot share one."""
        return f"{self.name}-{what}"

    @property
    def key(self):
        return KEY.format(name=self.name)

    @property
    def topic(self):
        return self.key.replace(".", "/")


@dataclasses.dataclass
class Received:
    """What came out at the other end; None where the door cannot say."""

    body: bytes
    headers: dict = None
    content_type: str = None
    correlation: str = None
    partition_key: str = None


# --- sending ---------------------------------------------------------------------------------------------------------


def send_amqp(port, sent, to):
    exchange, key = {
        QUEUE: ("", sent.of(QUEUE)),
        TOPIC: ("amq.topic", sent.key),
        SNS: (sent.of(SNS), ""),
        BUS: (sent.of(BUS), sent.key),
        STREAM: ("", sent.of(STREAM)),
    }[to]
    connection = clients.amqp(port("amqp"))
    channel = connection.channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(
        content_type=sent.content_type, correlation_id=sent.correlation, headers=dict(sent.headers), delivery_mode=2
    )
    channel.basic_publish(exchange, key, sent.body.encode(), properties)
    connection.close()


def send_mqtt(port, sent, to):
    topic = {
        QUEUE: f"$queue/{sent.of(to)}",
        TOPIC: sent.topic,
        SNS: f"$topic/{sent.of(to)}",
        STREAM: f"$stream/{sent.of(to)}",
    }[to]
    client = clients.Mqtt(port("mqtt"))
    client.publish(
        topic,
        sent.body,
        ContentType=sent.content_type,
        CorrelationData=sent.correlation.encode(),
        UserProperty=sent.headers,
    )
    client.close()


def send_stomp(port, sent, to):
    destination = {
        QUEUE: f"/amq/queue/{sent.of(to)}",
        TOPIC: f"/topic/{sent.key}",
        SNS: f"/exchange/{sent.of(to)}",
        BUS: f"/exchange/{sent.of(to)}/{sent.key}",
        STREAM: f"/amq/queue/{sent.of(to)}",
    }[to]
    client = clients.Stomp(port("stomp"))
    headers = {**sent.headers, "correlation-id": sent.correlation, "persistent": "true"}
    client.send(destination, sent.body, headers, content_type=sent.content_type)
    client.close()


def attributes(sent):
    """As SQS and SNS take them."""
    named = {**sent.headers, "content-type": sent.content_type, "correlation-id": sent.correlation}
    return {name: {"DataType": "String", "StringValue": value} for name, value in named.items()}


def send_sqs(port, sent, to):
    sqs = clients.aws(port("aws"), "sqs")
    url = sqs.get_queue_url(QueueName=sent.of(to))["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=sent.body, MessageAttributes=attributes(sent))


def send_sns(port, sent, to):
    sns = clients.aws(port("aws"), "sns")
    arn = sns.create_topic(Name=sent.of(to))["TopicArn"]
    sns.publish(TopicArn=arn, Message=sent.body, MessageAttributes=attributes(sent))


def send_events(port, sent, to):
    entry = {
        "EventBusName": sent.of(to),
        "Source": sent.source,
        "DetailType": sent.detail_type,
        "Detail": json.dumps({"text": sent.body}),
    }
    answer = clients.aws(port("aws"), "events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0, answer


def send_kinesis(port, sent, to):
    clients.aws(port("aws"), "kinesis").put_record(
        StreamName=sent.of(to), PartitionKey=PARTITION_KEY, Data=sent.body.encode()
    )


SENDERS = {
    "amqp": send_amqp,
    "mqtt": send_mqtt,
    "stomp": send_stomp,
    "sqs": send_sqs,
    "sns": send_sns,
    "events": send_events,
    "kinesis": send_kinesis,
}


# --- receiving -------------------------------------------------------------------------------------------------------


class AmqpReceiver:
    def __init__(self, port, sent, source):
        self.connection = clients.amqp(port("amqp"))
        self.channel = self.connection.channel()
        self.arguments = {}
        if source in (QUEUE, STREAM):
            self.queue = sent.of(source)
        else:
            self.queue = self.channel.queue_declare("", exclusive=True).method.queue
            exchange, key = ("amq.topic", sent.key) if source == TOPIC else (sent.of(source), "")
            self.channel.queue_bind(self.queue, exchange, key)
        if source == STREAM:
            self.channel.basic_qos(prefetch_count=10)
            self.arguments = {"x-stream-offset": "first"}

    def wait(self):
        consuming = self.channel.consume(
            self.queue, inactivity_timeout=clients.PATIENCE, arguments=self.arguments
        )
        method, properties, body = next(consuming)
        assert method is not None, "nothing arrived"
        self.channel.basic_ack(method.delivery_tag)
        said = (properties.headers or {}, properties.content_type, properties.correlation_id)
        return Received(body, *said, partition_key=method.routing_key)

    def close(self):
        self.connection.close()


class MqttReceiver:
    def __init__(self, port, sent, source):
        self.client = clients.Mqtt(port("mqtt"))
        topic = sent.topic if source == TOPIC else f"$queue/{sent.of(source)}"
        codes = self.client.subscribe(topic, qos=1)
        assert not codes[0].is_failure, codes

    def wait(self):
        message = self.client.message()
        properties = message.properties
        correlation = getattr(properties, "CorrelationData", None)
        return Received(
            message.payload,
            dict(getattr(properties, "UserProperty", [])),
            getattr(properties, "ContentType", None),
            correlation and correlation.decode(),
        )

    def close(self):
        self.client.close()


class StompReceiver:
    def __init__(self, port, sent, source):
        self.client = clients.Stomp(port("stomp"), auto_decode=False)
        destination = {
            QUEUE: f"/amq/queue/{sent.of(source)}",
            STREAM: f"/amq/queue/{sent.of(source)}",
            TOPIC: f"/topic/{sent.key}",
            SNS: f"/exchange/{sent.of(source)}",
            BUS: f"/exchange/{sent.of(source)}",
        }[source]
        stream = {"x-stream-offset": "first", "prefetch-count": "10"}
        if source == STREAM:
            self.client.subscribe(destination, ack="client-individual", headers=stream)
        else:
            self.client.subscribe(destination)

    def wait(self):
        frame = self.client.message()
        body = frame.body if isinstance(frame.body, bytes) else frame.body.encode()
        headers = dict(frame.headers)
        if "ack" in headers:
            self.client.connection.ack(headers["ack"])
        return Received(body, headers, headers.get("content-type"), headers.get("correlation-id"))

    def close(self):
        self.client.close()


class SqsReceiver:
    def __init__(self, port, sent, source, queue=None):
        self.sqs = clients.aws(port("aws"), "sqs")
        self.url = self.sqs.get_queue_url(QueueName=queue or sent.of(source))["QueueUrl"]

    def message(self):
        answer = self.sqs.receive_message(
            QueueUrl=self.url, WaitTimeSeconds=clients.PATIENCE, MessageAttributeNames=["All"], AttributeNames=["All"]
        )
        (message,) = answer.get("Messages") or [None]
        assert message is not None, "nothing arrived"
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return message

    def wait(self):
        message = self.message()
        values = {name: value.get("StringValue") for name, value in message.get("MessageAttributes", {}).items()}
        return Received(
            message["Body"].encode(), values, values.get("content-type"), values.get("correlation-id")
        )

    def close(self):
        self.sqs.close()


class SnsReceiver:
    """A subscriber of the topic: an SQS queue without raw delivery, which shows the notification itself."""

    def __init__(self, port, sent, source):
        sns, sqs = clients.aws(port("aws"), "sns"), clients.aws(port("aws"), "sqs")
        queue = f"{sent.name}-subscriber"
        url = sqs.create_queue(QueueName=queue)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.topic = sns.create_topic(Name=sent.of(source))["TopicArn"]
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)
        self.queue = SqsReceiver(port, sent, source, queue)

    def wait(self):
        notification = json.loads(self.queue.message()["Body"])
        assert notification["Type"] == "Notification", notification
        assert notification["TopicArn"] == self.topic
        values = {name: value["Value"] for name, value in notification.get("MessageAttributes", {}).items()}
        body = notification["Message"].encode()
        return Received(body, values, values.get("content-type"), values.get("correlation-id"))

    def close(self):
        self.queue.close()


class EventsReceiver:
    """A rule of the bus that matches everything, with an SQS queue as target, which shows the event itself."""

    def __init__(self, port, sent, source):
        self.sent = sent
        queue = f"{sent.name}-target"
        clients.aws(port("aws"), "sqs").create_queue(QueueName=queue)
        rule_to_queue(port, sent.of(source), queue)
        self.queue = SqsReceiver(port, sent, source, queue)

    def wait(self):
        event = json.loads(self.queue.message()["Body"])
        assert event["version"] == "0" and event["id"] and event["account"] and event["region"], event
        detail = event["detail"]
        if event["source"] == self.sent.source:
            assert event["detail-type"] == self.sent.detail_type
            return Received(json.dumps(event).encode())
        assert event["source"].startswith("waystation."), event
        body = detail["body"]
        assert set(detail) >= {"body", "headers"}, detail
        return Received(body.encode(), detail["headers"])

    def close(self):
        self.queue.close()


class KinesisReceiver:
    def __init__(self, port, sent, source):
        self.kinesis = clients.aws(port("aws"), "kinesis")
        (shard,) = self.kinesis.describe_stream(StreamName=sent.of(source))["StreamDescription"]["Shards"]
        self.iterator = self.kinesis.get_shard_iterator(
            StreamName=sent.of(source), ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def wait(self):
        deadline = time.monotonic() + clients.PATIENCE
        while time.monotonic() < deadline:
            answer = self.kinesis.get_records(ShardIterator=self.iterator)
            if answer["Records"]:
                (record,) = answer["Records"]
                return Received(record["Data"], partition_key=record["PartitionKey"])
            self.iterator = answer["NextShardIterator"]
            time.sleep(0.05)
        raise AssertionError("nothing arrived")

    def close(self):
        self.kinesis.close()


RECEIVERS = {
    "amqp": AmqpReceiver,
    "mqtt": MqttReceiver,
    "stomp": StompReceiver,
    "sqs": SqsReceiver,
    "sns": SnsReceiver,
    "events": EventsReceiver,
    "kinesis": KinesisReceiver,
}


# --- core objects and the links between them -------------------------------------------------------------------------


def create(port, sent, what, pair):
    """Makes a core object the way the first of the two doors that has a word for it does."""
    if what == QUEUE and not {"sqs", "sns", "events"} & set(pair):
        connection = clients.amqp(port("amqp"))
        connection.channel().queue_declare(sent.of(what), durable=True)
        connection.close()
    elif what == QUEUE:
        clients.aws(port("aws"), "sqs").create_queue(QueueName=sent.of(what))
    elif what == SNS:
        clients.aws(port("aws"), "sns").create_topic(Name=sent.of(what))
    elif what == BUS:
        clients.aws(port("aws"), "events").create_event_bus(Name=sent.of(what))
    elif what == STREAM:
        kinesis = clients.aws(port("aws"), "kinesis")
        kinesis.create_stream(StreamName=sent.of(what), ShardCount=1)
        kinesis.get_waiter("stream_exists").wait(StreamName=sent.of(what), WaiterConfig={"Delay": 1, "MaxAttempts": 10})


def arn(service, resource):
    return f"arn:aws:{service}:{clients.REGION}:{clients.ACCOUNT}:{resource}"


def subscribe_raw(port, sent):
    sns = clients.aws(port("aws"), "sns")
    topic = sns.create_topic(Name=sent.of(SNS))["TopicArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn("sqs", sent.of(QUEUE)),
        Attributes={"RawMessageDelivery": "true"},
    )


def rule(port, bus, target):
    events = clients.aws(port("aws"), "events")
    pattern = json.dumps({"version": ["0"]})
    events.put_rule(Name=f"{bus}-all", EventBusName=bus, EventPattern=pattern)
    answer = events.put_targets(
        Rule=f"{bus}-all", EventBusName=bus, Targets=[{"Id": uuid.uuid4().hex[:8], "Arn": target}]
    )
    assert answer["FailedEntryCount"] == 0, answer


def rule_to_queue(port, bus, queue):
    rule(port, bus, arn("sqs", queue))


def exchange_bind(port, source, destination, key):
    connection = clients.amqp(port("amqp"))
    connection.channel().exchange_bind(destination, source, key)
    connection.close()


def queue_bind(port, exchange, queue):
    connection = clients.amqp(port("amqp"))
    connection.channel().queue_bind(queue, exchange, "")
    connection.close()


LINKS = {
    (TOPIC, BUS): lambda port, sent: exchange_bind(port, "amq.topic", sent.of(BUS), sent.key),
    (SNS, BUS): lambda port, sent: exchange_bind(port, sent.of(SNS), sent.of(BUS), ""),
    (SNS, QUEUE): subscribe_raw,
    (SNS, STREAM): lambda port, sent: queue_bind(port, sent.of(SNS), sent.of(STREAM)),
    (BUS, QUEUE): lambda port, sent: rule_to_queue(port, sent.of(BUS), sent.of(QUEUE)),
    (BUS, SNS): lambda port, sent: rule(port, sent.of(BUS), arn("sns", sent.of(SNS))),
    (BUS, STREAM): lambda port, sent: rule(port, sent.of(BUS), arn("kinesis", f"stream/{sent.of(STREAM)}")),
}
