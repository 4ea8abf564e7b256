"""Everything that a data directory can hold, put in and read back through clients.

`fill` makes it on a fresh broker and returns what must be there; `read` returns what is there, place by place, in the
order in which it was given out. Reading consumes; do it on a copy.
"""

import base64
import re
import threading

import pika

from doors import until
from doors.amqp import parameters
from doors.aws import ARN, Api, url
from doors.mqtt import Client

QUEUES = {
    "d.short": {},
    "d.half": {},
    "d.long": {},
    "d.priority": {"x-max-priority": 3},
    "d.quorum": {"x-queue-type": "quorum"},
    "d.fan1": {},
    "d.fan2": {},
    "d.stream": {"x-queue-type": "stream"},
}
SESSIONS = {"d-session-1": ("d/one", 1), "d-session-2": ("d/two", 2)}
# With a log of many small segments each of these spans several.
LARGE = 3000
COUNTS = {"d.short": 30, "d.half": 60, "d.long": 600, "d.priority": 20, "d.quorum": 20, "d.stream": 150}
SETTLED_OF_HALF = 35
FIFO_GROUPS, FIFO_EACH, FIFO_DELETED = 3, 6, 2
SQS_COUNT, KINESIS_COUNT, SESSION_COUNT, RETAINED_COUNT = 20, 30, 15, 10


def body(place, number, size=0):
    return f"{place}:{number}:" + "x" * size


def fill(ports, more=lambda: None):
    """Puts everything in; `more` is called between the parts, for what the log is to do meanwhile."""
    expected = {"gone": {}}
    fill_amqp(ports, expected, more)
    more()
    fill_mqtt(ports, expected)
    more()
    fill_aws(ports, expected)
    return expected


def fill_amqp(ports, expected, more):
    connection = pika.BlockingConnection(parameters(ports["amqp"]))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare("d.topic", "topic", durable=True)
    for queue, arguments in QUEUES.items():
        channel.queue_declare(queue, durable=True, arguments=arguments)
    for queue in ("d.fan1", "d.fan2"):
        channel.queue_bind(queue, "d.topic", "fan.#")

    def publish(exchange, key, text, priority=None):
        channel.basic_publish(exchange, key, text.encode(), pika.BasicProperties(delivery_mode=2, priority=priority))

    sizes = {"d.long": LARGE, "d.stream": LARGE}
    for queue, count in COUNTS.items():
        bodies = [body(queue, number, sizes.get(queue, 50)) for number in range(count)]
        for number, text in enumerate(bodies):
            publish("", queue, text, number % 3 if queue == "d.priority" else None)
            if number % 200 == 199:
                more()
        if queue == "d.priority":
            bodies.sort(key=lambda text: -(int(text.split(":")[1]) % 3))
        expected[queue] = bodies
    fan = [body("fan", number) for number in range(20)]
    for text in fan:
        publish("d.topic", "fan.out", text)
    expected["d.fan1"] = expected["d.fan2"] = fan
    for _ in range(SETTLED_OF_HALF):
        method, _, _ = channel.basic_get("d.half")
        channel.basic_ack(method.delivery_tag)
    expected["gone"]["d.half"] = expected["d.half"][:SETTLED_OF_HALF]
    expected["d.half"] = expected["d.half"][SETTLED_OF_HALF:]
    connection.close()


def fill_mqtt(ports, expected):
    publisher = Client(ports["mqtt"], "d-publisher", False)
    publisher.connect()
    for name, (topic, qos) in SESSIONS.items():
        session = Client(ports["mqtt"], name, True)
        answered = threading.Event()
        session.client.on_subscribe = lambda *_, done=answered: done.set()
        session.connect()
        session.client.subscribe(topic, qos=qos)
        assert answered.wait(10), "no SUBACK"
        session.client.disconnect()
        session.gone()
        expected[name] = [body(name, number, 50) for number in range(SESSION_COUNT)]
        sent = [publisher.client.publish(topic, text, qos=qos) for text in expected[name]]
        for each in sent:
            each.wait_for_publish(10)
    expected["retained"] = [f"d/state/{number:02}={body('state', number)}" for number in range(RETAINED_COUNT)]
    for each in expected["retained"]:
        topic, text = each.split("=", 1)
        publisher.client.publish(topic, "before", qos=1, retain=True).wait_for_publish(10)
        publisher.client.publish(topic, text, qos=1, retain=True).wait_for_publish(10)
    publisher.client.publish("d/state/none", "x", qos=1, retain=True).wait_for_publish(10)
    publisher.client.publish("d/state/none", b"", qos=1, retain=True).wait_for_publish(10)
    publisher.client.disconnect()
    publisher.gone()
    expected["gone"]["retained"] = [f"d/state/{number:02}=before" for number in range(RETAINED_COUNT)]
    expected["gone"]["retained"].append("d/state/none=x")


def fill_aws(ports, expected):
    api = Api(ports["aws"])
    api.call("sqs", "CreateQueue", QueueName="d-standard")
    api.call("sqs", "CreateQueue", QueueName="d-fifo.fifo", Attributes={"FifoQueue": "true"})
    api.query("CreateTopic", Name="d-topic")
    raw = {"Attributes.entry.1.key": "RawMessageDelivery", "Attributes.entry.1.value": "true"}
    queue = ARN.format("sqs", "d-standard")
    api.query("Subscribe", TopicArn=ARN.format("sns", "d-topic"), Protocol="sqs", Endpoint=queue, **raw)
    api.call("kinesis", "CreateStream", StreamName="d-kinesis", ShardCount=1)
    expected["d-standard"] = [body("d-standard", number) for number in range(SQS_COUNT)]
    for text in expected["d-standard"][:-5]:
        api.call("sqs", "SendMessage", QueueUrl=url("d-standard"), MessageBody=text)
    for text in expected["d-standard"][-5:]:
        api.query("Publish", TopicArn=ARN.format("sns", "d-topic"), Message=text)
    groups = {f"group{group}": [body(f"group{group}", n) for n in range(FIFO_EACH)] for group in range(FIFO_GROUPS)}
    for place, bodies in groups.items():
        expected[place], expected["gone"][place] = bodies[FIFO_DELETED:], bodies[:FIFO_DELETED]
        send_fifo(api, place, expected["gone"][place])
    assert len(received(api, "d-fifo.fifo")) == FIFO_GROUPS * FIFO_DELETED
    for place in groups:
        send_fifo(api, place, expected[place])
    until(lambda: _active(api), 10)
    expected["d-kinesis"] = [body("d-kinesis", number) for number in range(KINESIS_COUNT)]
    for text in expected["d-kinesis"]:
        data = base64.b64encode(text.encode()).decode()
        api.call("kinesis", "PutRecord", StreamName="d-kinesis", Data=data, PartitionKey="k")


def send_fifo(api, group, bodies):
    for text in bodies:
        members = {"MessageBody": text, "MessageGroupId": group, "MessageDeduplicationId": text.replace(":", "-")}
        api.call("sqs", "SendMessage", QueueUrl=url("d-fifo.fifo"), **members)


def _active(api):
    described = api.call("kinesis", "DescribeStreamSummary", StreamName="d-kinesis")
    return described["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"


def read(ports, expected):
    """What is there, `{place: bodies}`; a place that does not exist is missing from it. Every door in a thread."""
    found, troubles = {}, []

    def run(part):
        try:
            part(ports, expected, found)
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=run, args=[part]) for part in (read_amqp, read_mqtt, read_aws)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]
    return found


def read_amqp(ports, expected, found):
    connection = pika.BlockingConnection(parameters(ports["amqp"]))
    for queue in QUEUES:
        channel = connection.channel()
        try:
            waiting = channel.queue_declare(queue, passive=True).method.message_count
        except pika.exceptions.ChannelClosedByBroker:
            continue
        if queue == "d.stream":
            found[queue] = stream(channel, queue, len(expected[queue]))
        else:
            found[queue] = all_of(channel, queue, waiting)
    # A binding is there when a message finds its way.
    channel = connection.channel()
    try:
        channel.basic_publish("d.topic", "fan.probe", b"probe")
        for queue in ("d.fan1", "d.fan2"):
            if queue in found:
                found[f"binding of {queue}"] = [text for text in all_of(channel, queue, 1)]
    except pika.exceptions.ChannelClosedByBroker:
        pass
    connection.close()


def all_of(channel, queue, count):
    """With a consumer as long as the broker says that there are some, then until it says that there is none."""
    bodies = []
    if count > 1:
        for _, _, data in channel.consume(queue, auto_ack=True, inactivity_timeout=5):
            if data is None:
                break
            bodies.append(data.decode())
            if len(bodies) >= count:
                break
        channel.cancel()
    while True:
        method, _, data = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(data.decode())


def stream(channel, queue, count):
    bodies = []
    channel.basic_qos(prefetch_count=500)
    # Patience only as long as something is missing.
    for method, _, data in channel.consume(
        queue, arguments={"x-stream-offset": "first"}, inactivity_timeout=0.3
    ):
        if method is None:
            break
        bodies.append(data.decode())
        channel.basic_ack(method.delivery_tag)
    return bodies


def read_mqtt(ports, expected, found):
    retained = {}
    reader = Client(ports["mqtt"], "d-reader", False)
    reader.client.on_message = lambda _c, _d, message: retained.update({message.topic: message.payload.decode()})
    reader.connect()
    assert until(reader.connected.is_set, 10), "no CONNACK"
    reader.client.subscribe("d/state/#", qos=1)
    sessions = {}
    for name in SESSIONS:
        bodies = []
        session = Client(ports["mqtt"], name, True)
        session.client.on_message = lambda _c, _d, message, into=bodies: into.append(message.payload.decode())
        session.connect()
        sessions[name] = (session, bodies)
    until(lambda: all(len(bodies) >= SESSION_COUNT for _, bodies in sessions.values()), 1.5)
    until(lambda: len(retained) >= RETAINED_COUNT, 1.0)
    # What is too many would come now.
    until(lambda: False, 0.1)
    for name, (session, bodies) in sessions.items():
        if session.session_present:
            found[name] = bodies
        session.client.disconnect()
        session.gone()
    reader.client.disconnect()
    reader.gone()
    found["retained"] = [f"{topic}={text}" for topic, text in sorted(retained.items())]


def read_aws(ports, expected, found):
    api = Api(ports["aws"])
    queues = api.call("sqs", "ListQueues").get("QueueUrls", [])
    if any(queue.endswith("/d-standard") for queue in queues):
        found["d-standard"] = received(api, "d-standard")
    if any(queue.endswith("/d-fifo.fifo") for queue in queues):
        groups = {f"group{number}": [] for number in range(FIFO_GROUPS)}
        for text in received(api, "d-fifo.fifo"):
            groups[text.split(":")[0]].append(text)
        found.update(groups)
    if "d-kinesis" in api.call("kinesis", "ListStreams").get("StreamNames", []):
        shard = {"StreamName": "d-kinesis", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = api.call("kinesis", "GetShardIterator", **shard)["ShardIterator"]
        records = api.call("kinesis", "GetRecords", ShardIterator=iterator, Limit=1000)["Records"]
        found["d-kinesis"] = [base64.b64decode(record["Data"]).decode() for record in records]
    topics = re.findall(r"<TopicArn>[^<]*:([\w-]+)</TopicArn>", api.query("ListTopics"))
    if "d-topic" in topics and "d-standard" in found:
        api.query("Publish", TopicArn=ARN.format("sns", "d-topic"), Message="probe")
        found["subscription"] = received(api, "d-standard")


def received(api, queue):
    """Takes and deletes until nothing is left; of a FIFO queue one by one, to see the order."""
    bodies = []
    while True:
        answer = api.call("sqs", "ReceiveMessage", QueueUrl=url(queue), MaxNumberOfMessages=10)
        messages = answer.get("Messages", [])
        if not messages:
            return bodies
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        api.call("sqs", "DeleteMessageBatch", QueueUrl=url(queue), Entries=entries)
        bodies += [each["Body"] for each in messages]


def wanted(expected):
    """All that `read` must return."""
    probes = {"binding of d.fan1": ["probe"], "binding of d.fan2": ["probe"], "subscription": ["probe"]}
    return {**{place: bodies for place, bodies in expected.items() if place != "gone"}, **probes}


def differences(found, expected):
    """Places that are not exactly what they must be, in words."""
    what = []
    for place, bodies in wanted(expected).items():
        there = found.get(place)
        if place == "d-standard" and there is not None:
            # A standard queue promises no order.
            there, bodies = sorted(there), sorted(bodies)
        if there != bodies:
            what.append(f"{place}: {'nothing' if there is None else len(there)} instead of {len(bodies)}")
    return what


def beyond(found, expected):
    """What is there that may not be there after a repair, in words: neither confirmed nor settled, or disordered."""
    what = []
    for place, bodies in wanted(expected).items():
        allowed = expected["gone"].get(place, []) + bodies
        there = found.get(place, [])
        if strangers := set(there) - set(allowed):
            what.append(f"{place}: {sorted(strangers)[:3]} should not be there")
        places = {text: number for number, text in enumerate(allowed)}
        order = [places[text] for text in there if text in places]
        if place not in ("d-standard", "d.priority") and order != sorted(order):
            what.append(f"{place}: not in order")
        if len(set(order)) != len(order):
            what.append(f"{place}: something twice")
    return what
