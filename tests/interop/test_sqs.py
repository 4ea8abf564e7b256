"""boto3 against the SQS API."""

import hashlib
import threading
import time

import botocore.exceptions
import pytest

import clients


@pytest.fixture
def sqs(aws):
    return aws("sqs")


@pytest.fixture
def url(sqs, name):
    return sqs.create_queue(QueueName=name)["QueueUrl"]


def receive(sqs, url, **options):
    options = {"WaitTimeSeconds": 2, "MaxNumberOfMessages": 10, **options}
    return sqs.receive_message(QueueUrl=url, **options).get("Messages", [])


def fails(code, call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**arguments)
    assert raised.value.response["Error"]["Code"] == code


def test_create_list_and_find(sqs, url, name):
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == url
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url
    assert url in sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    assert arn == f"arn:aws:sqs:{clients.REGION}:{clients.ACCOUNT}:{name}"


def test_send_receive_delete(sqs, url):
    body = "hello ü & <xml>"
    sent = sqs.send_message(QueueUrl=url, MessageBody=body)
    assert sent["MD5OfMessageBody"] == hashlib.md5(body.encode()).hexdigest()
    (message,) = receive(sqs, url, AttributeNames=["All"])
    assert (message["Body"], message["MessageId"]) == (body, sent["MessageId"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert int(message["Attributes"]["SentTimestamp"]) > 1_600_000_000_000
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert receive(sqs, url, WaitTimeSeconds=0) == []


def test_message_attributes_come_back_exact(sqs, url):
    # botocore itself checks MD5OfMessageAttributes, so a wrong digest fails here.
    attributes = {
        "text": {"DataType": "String", "StringValue": "x ü"},
        "number": {"DataType": "Number", "StringValue": "12.50"},
        "custom": {"DataType": "Number.int", "StringValue": "7"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    (message,) = receive(sqs, url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes


def test_batches(sqs, url):
    entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(10)]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == [str(n) for n in range(10)]
    got = []
    deadline = time.monotonic() + 10
    while len(got) < 10 and time.monotonic() < deadline:
        got += receive(sqs, url)
    assert sorted(int(message["Body"]) for message in got) == list(range(10))
    handles = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(got)]
    assert len(sqs.delete_message_batch(QueueUrl=url, Entries=handles)["Successful"]) == 10
    assert receive(sqs, url, WaitTimeSeconds=0) == []


def test_visibility_timeout_and_change(sqs, url):
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (first,) = receive(sqs, url, VisibilityTimeout=1)
    assert receive(sqs, url, WaitTimeSeconds=0) == []
    (second,) = receive(sqs, url, WaitTimeSeconds=5, AttributeNames=["ApproximateReceiveCount"])
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"], VisibilityTimeout=0)
    (third,) = receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])


def test_long_poll_ends_when_a_message_comes(sqs, url):
    sender = threading.Timer(0.5, lambda: sqs.send_message(QueueUrl=url, MessageBody="now"))
    sender.start()
    started = time.monotonic()
    (message,) = receive(sqs, url, WaitTimeSeconds=15)
    assert message["Body"] == "now" and time.monotonic() - started < 10
    sender.join()


def test_delay(sqs, url):
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    assert receive(sqs, url, WaitTimeSeconds=0) == []
    assert receive(sqs, url, WaitTimeSeconds=5)[0]["Body"] == "later"


def test_counts_and_purge(sqs, url):
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="x")
    assert len(receive(sqs, url, MaxNumberOfMessages=1)) == 1
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
    assert counts == {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1"}
    sqs.purge_queue(QueueUrl=url)
    assert receive(sqs, url, WaitTimeSeconds=0) == []


def test_dead_letter_queue(sqs, url, name):
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"2"}}'
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(2):
        assert receive(sqs, url)[0]["Body"] == "poison"
    assert receive(sqs, url, WaitTimeSeconds=0) == []
    assert receive(sqs, dead, WaitTimeSeconds=5)[0]["Body"] == "poison"


def test_fifo_order_groups_and_deduplication(sqs, name):
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for number in (1, 1, 2):
        for group in ("a", "b"):
            sqs.send_message(
                QueueUrl=url,
                MessageBody=f"{group}{number}",
                MessageGroupId=group,
                MessageDeduplicationId=f"{group}{number}",
            )
    got = []
    deadline = time.monotonic() + 10
    while len(got) < 4 and time.monotonic() < deadline:
        for message in receive(sqs, url, MaxNumberOfMessages=1, AttributeNames=["All"]):
            got.append((message["Attributes"]["MessageGroupId"], message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sorted(got) == [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")]
    assert [body for group, body in got if group == "a"] == ["a1", "a2"]
    assert receive(sqs, url, WaitTimeSeconds=0) == []


def test_tags(sqs, url):
    sqs.tag_queue(QueueUrl=url, Tags={"team": "blue", "env": "test"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["env"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "blue"}


def test_errors(sqs, url, name):
    fails("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName=f"{name}-absent")
    fails("ReceiptHandleIsInvalid", sqs.delete_message, QueueUrl=url, ReceiptHandle="nonsense")
    fails("InvalidParameterValue", sqs.create_queue, QueueName="not a name!")
    twice = [{"Id": "1", "MessageBody": "x"}, {"Id": "1", "MessageBody": "y"}]
    fails("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", sqs.send_message_batch, QueueUrl=url, Entries=twice)


def test_delete_queue(sqs, url, name):
    sqs.delete_queue(QueueUrl=url)
    fails("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName=name)


def test_accounts_are_apart(aws, url, name):
    other = aws("sqs", account="111122223333")
    fails("AWS.SimpleQueueService.NonExistentQueue", other.get_queue_url, QueueName=name)
    assert "111122223333" in other.create_queue(QueueName=name)["QueueUrl"]
