"""SQS through `kill -9` of the broker: what is in flight stays so, handles and counts go on, and FIFO stays FIFO."""

import time

import botocore.exceptions
import clients
import pytest


@pytest.fixture
def sqs(mortal):
    # Every call connects anew: the broker before the crash had the connection.
    def call(operation, **arguments):
        return getattr(clients.aws(mortal.ports["aws"], "sqs"), operation)(**arguments)

    return call


@pytest.fixture
def make(sqs):
    def queue(name="q", **attributes):
        return sqs("create_queue", QueueName=name, Attributes=attributes)["QueueUrl"]

    return queue


FIFO = {"FifoQueue": "true"}


def receive(sqs, url, **options):
    options = {"WaitTimeSeconds": 1, "MaxNumberOfMessages": 10, "AttributeNames": ["All"], **options}
    return sqs("receive_message", QueueUrl=url, **options).get("Messages", [])


def bodies(messages):
    return [message["Body"] for message in messages]


def settle():
    """Takes are written without anybody waiting for the disk: they are there after this."""
    time.sleep(0.5)


def test_what_is_in_flight_stays_invisible_for_the_rest_of_its_time(mortal, sqs, make):
    url = make(VisibilityTimeout="6")
    sqs("send_message", QueueUrl=url, MessageBody="x")
    assert bodies(receive(sqs, url)) == ["x"]
    taken = time.monotonic()
    settle()
    mortal.crash()
    assert receive(sqs, url, WaitTimeSeconds=0) == []
    (again,) = receive(sqs, url, WaitTimeSeconds=15)
    assert time.monotonic() - taken >= 5
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_handle_from_before_the_crash_deletes(mortal, sqs, make):
    url = make(VisibilityTimeout="3")
    sqs("send_message", QueueUrl=url, MessageBody="x")
    (message,) = receive(sqs, url)
    settle()
    mortal.crash()
    sqs("delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert receive(sqs, url, WaitTimeSeconds=5) == []


def test_a_handle_from_before_the_crash_moves_the_deadline(mortal, sqs, make):
    url = make(VisibilityTimeout="600")
    sqs("send_message", QueueUrl=url, MessageBody="x")
    (message,) = receive(sqs, url)
    settle()
    mortal.crash()
    assert receive(sqs, url, WaitTimeSeconds=1) == []
    sqs("change_message_visibility", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = receive(sqs, url, WaitTimeSeconds=5)
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_deadline_moved_before_the_crash_holds(mortal, sqs, make):
    url = make(VisibilityTimeout="2")
    sqs("send_message", QueueUrl=url, MessageBody="x")
    (message,) = receive(sqs, url)
    sqs("change_message_visibility", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=600)
    settle()
    mortal.crash()
    assert receive(sqs, url, WaitTimeSeconds=4) == []


def test_the_receive_count_goes_on_to_the_dead_letters(mortal, sqs, make):
    dead = make("dead")
    arn = sqs("get_queue_attributes", QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"3"}}'
    url = make(VisibilityTimeout="0", RedrivePolicy=policy)
    sqs("send_message", QueueUrl=url, MessageBody="x")
    for count in range(1, 4):
        (message,) = receive(sqs, url, WaitTimeSeconds=5)
        assert message["Attributes"]["ApproximateReceiveCount"] == str(count)
        settle()
        mortal.crash()
    assert receive(sqs, url) == []
    assert bodies(receive(sqs, dead, WaitTimeSeconds=5)) == ["x"]


def test_deduplication_ids_are_remembered_when_everything_is_gone(mortal, sqs, make):
    url = make("q.fifo", **FIFO)
    wish = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    first = sqs("send_message", **wish)
    (message,) = receive(sqs, url)
    sqs("delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    settle()
    for _ in range(2):
        mortal.crash()
        again = sqs("send_message", **wish)
        assert again["MessageId"] == first["MessageId"]
        assert again["SequenceNumber"] == first["SequenceNumber"]
        assert receive(sqs, url) == []
    later = sqs("send_message", **{**wish, "MessageDeduplicationId": "e"})
    assert int(later["SequenceNumber"]) > int(first["SequenceNumber"])
    assert bodies(receive(sqs, url)) == ["x"]


def test_groups_keep_their_order_and_their_lock(mortal, sqs, make):
    url = make("q.fifo", VisibilityTimeout="600", ContentBasedDeduplication="true", **FIFO)
    for number in range(3):
        for group in ("a", "b"):
            sqs("send_message", QueueUrl=url, MessageBody=f"{group}{number}", MessageGroupId=group)
    (first,) = receive(sqs, url, MaxNumberOfMessages=1)
    locked, free = ("a", "b") if first["Body"] == "a0" else ("b", "a")
    assert first["Body"] == f"{locked}0"
    settle()
    mortal.crash()
    assert bodies(receive(sqs, url)) == [f"{free}{number}" for number in range(3)]
    sqs("delete_message", QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    settle()
    mortal.crash()
    assert bodies(receive(sqs, url)) == [f"{locked}1", f"{locked}2"]


def test_delayed_messages_come_at_their_time(mortal, sqs, make):
    url = make()
    sent = time.monotonic()
    sqs("send_message", QueueUrl=url, MessageBody="late", DelaySeconds=6)
    sqs("send_message", QueueUrl=url, MessageBody="much later", DelaySeconds=900)
    mortal.crash()
    assert receive(sqs, url, WaitTimeSeconds=0) == []
    assert bodies(receive(sqs, url, WaitTimeSeconds=15)) == ["late"]
    assert time.monotonic() - sent >= 5


def test_confirmed_sends_and_deletes_hold(mortal, sqs, make):
    url = make()
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(10)]
    assert len(sqs("send_message_batch", QueueUrl=url, Entries=entries)["Successful"]) == 10
    mortal.crash()
    got = receive(sqs, url)
    while len(got) < 10:
        got += receive(sqs, url)
    assert sorted(bodies(got)) == [str(number) for number in range(10)]
    for message in got:
        sqs("delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    settle()
    mortal.crash()
    assert receive(sqs, url, WaitTimeSeconds=2) == []
    with pytest.raises(botocore.exceptions.ClientError):
        sqs("delete_message", QueueUrl=url, ReceiptHandle="garbage")
