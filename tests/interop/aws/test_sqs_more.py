"""SQS in depth: what boto3 users rely on beyond the happy path."""

import json
import threading
import time
import urllib.parse
import urllib.request

import botocore.exceptions
import clients
import pytest

ABSENT = "AWS.SimpleQueueService.NonExistentQueue"


@pytest.fixture
def sqs(aws):
    return aws("sqs")


@pytest.fixture
def make(sqs, name):
    made = []

    def queue(suffix="", **attributes):
        made.append(sqs.create_queue(QueueName=f"{name}-{len(made)}{suffix}", Attributes=attributes)["QueueUrl"])
        return made[-1]

    return queue


def receive(sqs, url, **options):
    options = {"WaitTimeSeconds": 2, "MaxNumberOfMessages": 10, "AttributeNames": ["All"], **options}
    return sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], **options).get("Messages", [])


def arn(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def counts(sqs, url):
    names = ["", "NotVisible", "Delayed"]
    names = [f"ApproximateNumberOfMessages{name}" for name in names]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(attributes[name]) for name in names)


def fails(code, call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**arguments)
    assert raised.value.response["Error"]["Code"] == code
    return raised.value.response


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_long_polls_park(broker, aws, make):
    """Forty waiting receivers cost the broker nothing, and each gets one message when messages come."""
    if broker.process is None:
        pytest.skip("the broker is not ours")
    url, got = make(), []
    pollers = [aws("sqs") for _ in range(40)]

    def poll(client):
        got.extend(receive(client, url, WaitTimeSeconds=20, MaxNumberOfMessages=1))

    threads = [threading.Thread(target=poll, args=(client,)) for client in pollers]
    [thread.start() for thread in threads]
    time.sleep(2)
    before = cpu_seconds(broker.process.pid)
    time.sleep(2)
    assert cpu_seconds(broker.process.pid) - before < 0.3
    for first in range(0, 40, 10):
        entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(first, first + 10)]
        pollers[0].send_message_batch(QueueUrl=url, Entries=entries)
    [thread.join(timeout=25) for thread in threads]
    assert sorted(int(message["Body"]) for message in got) == list(range(40))


def test_a_receiver_that_left_takes_nothing(sqs, make, port):
    """A long poll whose client is gone must not lease what comes later."""
    import socket

    url = make()
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20})
    head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\n"
    head += f"content-type: application/x-amz-json-1.0\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port("aws"))) as gone:
        gone.sendall((head + body).encode())
        time.sleep(0.5)
    time.sleep(0.5)
    sqs.send_message(QueueUrl=url, MessageBody="for the living")
    assert [message["Body"] for message in receive(sqs, url)] == ["for the living"]


def test_wait_time_of_the_queue(sqs, make):
    url = make(ReceiveMessageWaitTimeSeconds="1")
    started = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert 0.9 < time.monotonic() - started < 5


def test_purge_takes_what_is_in_flight_and_delayed(sqs, make):
    url = make()
    for delay in (0, 0, 5):
        sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=delay)
    (taken,) = receive(sqs, url, MaxNumberOfMessages=1, VisibilityTimeout=1)
    sqs.purge_queue(QueueUrl=url)
    assert counts(sqs, url) == (0, 0, 0)
    # A receipt handle from before the purge is still a handle; deleting what is gone is no error.
    sqs.delete_message(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])
    assert receive(sqs, url, WaitTimeSeconds=2) == []
    sqs.send_message(QueueUrl=url, MessageBody="after")
    assert [message["Body"] for message in receive(sqs, url)] == ["after"]


def test_a_queue_made_again_is_empty(sqs, make):
    url = make()
    sqs.send_message(QueueUrl=url, MessageBody="old")
    (old,) = receive(sqs, url, VisibilityTimeout=0)
    sqs.delete_queue(QueueUrl=url)
    for call in (sqs.get_queue_attributes, sqs.purge_queue, sqs.delete_queue, sqs.receive_message):
        fails(ABSENT, call, QueueUrl=url)
    assert sqs.create_queue(QueueName=url.rsplit("/", 1)[1])["QueueUrl"] == url
    assert counts(sqs, url) == (0, 0, 0)
    sqs.send_message(QueueUrl=url, MessageBody="new")
    try:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "ReceiptHandleIsInvalid"
    assert [message["Body"] for message in receive(sqs, url)] == ["new"]


def test_an_old_handle_of_a_message_received_again(sqs, make):
    url = make(VisibilityTimeout="0")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (first,) = receive(sqs, url)
    (second,) = receive(sqs, url, VisibilityTimeout=30)
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert (
        second["Attributes"]["ApproximateFirstReceiveTimestamp"]
        == first["Attributes"]["ApproximateFirstReceiveTimestamp"]
    )
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
    assert counts(sqs, url) == (0, 0, 0)


def test_a_handle_of_another_queue(sqs, make):
    one, two = make(), make()
    sqs.send_message(QueueUrl=one, MessageBody="x")
    (message,) = receive(sqs, one)
    fails("ReceiptHandleIsInvalid", sqs.delete_message, QueueUrl=two, ReceiptHandle=message["ReceiptHandle"])


def test_batches_fail_entry_by_entry(sqs, make):
    url = make()
    entries = [
        {"Id": "good", "MessageBody": "x"},
        {"Id": "late", "MessageBody": "x", "DelaySeconds": 901},
        {"Id": "bad", "MessageBody": "\x0b"},
    ]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert {entry["Id"]: entry["SenderFault"] for entry in answer["Failed"]} == {"late": True, "bad": True}
    (message,) = receive(sqs, url)
    handles = [{"Id": "a", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "nonsense"}]
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=handles)
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert [(e["Id"], e["Code"]) for e in answer["Failed"]] == [("b", "ReceiptHandleIsInvalid")]
    many = [{"Id": str(n), "MessageBody": "x"} for n in range(11)]
    fails("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", sqs.send_message_batch, QueueUrl=url, Entries=many)
    fails("AWS.SimpleQueueService.EmptyBatchRequest", sqs.send_message_batch, QueueUrl=url, Entries=[])


def test_one_mebibyte_passes_and_one_more_byte_does_not(sqs, make):
    url = make()
    sqs.send_message(QueueUrl=url, MessageBody="x" * 1_048_576)
    assert len(receive(sqs, url)[0]["Body"]) == 1_048_576
    fails("InvalidParameterValue", sqs.send_message, QueueUrl=url, MessageBody="x" * 1_048_577)
    small = make(MaximumMessageSize="1024")
    fails("InvalidParameterValue", sqs.send_message, QueueUrl=small, MessageBody="x" * 1025)


def test_attributes_named_like_fields_stay_attributes(sqs, make):
    """`type`, `priority`, ... are properties at other doors; here they are just names."""
    url = make()
    names = ["type", "priority", "subject", "content-type", "timestamp", "expiration", "message-id", "reply-to"]
    attributes = {name: {"DataType": "String", "StringValue": f"my {name}"} for name in names}
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    assert receive(sqs, url)[0]["MessageAttributes"] == attributes
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, MessageAttributeNames=["t*", "priority"])
    assert sorted(answer["Messages"][0]["MessageAttributes"]) in (["priority", "timestamp", "type"], ["priority"])


def test_dead_letters_come_back_by_redrive_of_the_source(sqs, make):
    dead = make()
    source = make(
        VisibilityTimeout="0",
        RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 1}),
    )
    sent = sqs.send_message(QueueUrl=source, MessageBody="poison")
    assert len(receive(sqs, source)) == 1
    assert receive(sqs, source, WaitTimeSeconds=0) == []
    (message,) = receive(sqs, dead)
    assert (message["Body"], message["MessageId"]) == ("poison", sent["MessageId"])
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, source)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [source]


def test_fifo_group_waits_for_its_first(sqs, make):
    url = make(".fifo", FifoQueue="true", ContentBasedDeduplication="true", VisibilityTimeout="1")
    for body in ("a1", "b1", "a2", "b2"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body[0])
    (first,) = receive(sqs, url, MaxNumberOfMessages=1)
    assert first["Body"] == "a1"
    # Group a is held by its first message, group b is free; a receive may take several of one group, in order.
    assert [message["Body"] for message in receive(sqs, url)] == ["b1", "b2"]
    # What was not deleted comes again before what is behind it.
    deadline, got = time.monotonic() + 10, []
    while len(got) < 4 and time.monotonic() < deadline:
        for message in receive(sqs, url, MaxNumberOfMessages=1):
            got.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert [body for body in got if body[0] == "a"] == ["a1", "a2"]
    assert [body for body in got if body[0] == "b"] == ["b1", "b2"]
    fails("MissingParameter", sqs.send_message, QueueUrl=url, MessageBody="x")


def test_fifo_batch_keeps_its_order(sqs, make):
    url = make(".fifo", FifoQueue="true")
    entries = [
        {"Id": str(n), "MessageBody": str(n), "MessageGroupId": "g", "MessageDeduplicationId": str(n)} for n in range(10)
    ]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    numbers = [int(entry["SequenceNumber"]) for entry in answer["Successful"]]
    assert numbers == sorted(set(numbers)) and len(numbers) == 10
    assert [message["Body"] for message in receive(sqs, url)] == [str(n) for n in range(10)]


def test_query_protocol(sqs, make, port):
    """What SDKs from before 2023 speak: forms in, XML out."""
    url = make()
    endpoint = f"http://127.0.0.1:{port('aws')}"

    def call(path="/", **form):
        data = urllib.parse.urlencode({"Version": "2012-11-05", **form}).encode()
        try:
            return urllib.request.urlopen(endpoint + path, data).read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    path = urllib.parse.urlsplit(url).path
    batch = {}
    for n in (1, 2):
        batch |= {
            f"SendMessageBatchRequestEntry.{n}.Id": f"m{n}",
            f"SendMessageBatchRequestEntry.{n}.MessageBody": f"<{n}> & more",
        }
    sent = call(path, Action="SendMessageBatch", **batch)
    assert sent.count("<SendMessageBatchResultEntry>") == 2
    got = call(path, Action="ReceiveMessage", MaxNumberOfMessages=10, WaitTimeSeconds=2)
    assert "&lt;1&gt; &amp; more" in got and "&lt;2&gt; &amp; more" in got
    assert "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in call(Action="GetQueueUrl", QueueName="absent")
    assert "<Code>InvalidAction</Code>" in call(Action="NoSuchThing")


def test_a_queue_of_another_door(sqs, amqp, name):
    """A queue that an AMQP client declared is an SQS queue, and one that boto3 made can be consumed from."""
    channel = amqp.channel()
    channel.queue_declare(name, durable=True)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    method, _, body = next(channel.consume(name, inactivity_timeout=5))
    assert body == b"x"
    channel.basic_ack(method.delivery_tag)
    channel.cancel()
    assert counts(sqs, url) == (0, 0, 0)
    assert clients.ACCOUNT in url
