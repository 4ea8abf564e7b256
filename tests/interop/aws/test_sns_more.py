"""SNS in depth: filter policies on names that are properties elsewhere, publishers at other doors, FIFO."""

import json

import botocore.exceptions
import pika
import pytest


@pytest.fixture
def sns(aws):
    return aws("sns")


@pytest.fixture
def topic(sns, name):
    return sns.create_topic(Name=name)["TopicArn"]


@pytest.fixture
def subscriber(aws, sns, topic, name):
    """Subscribes one more queue, raw unless told otherwise, and answers how to read it."""
    sqs = aws("sqs")
    made = []

    def subscribe(policy=None, raw=True, scope=None):
        url = sqs.create_queue(QueueName=f"{name}-{len(made)}")["QueueUrl"]
        made.append(url)
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        attributes = {"RawMessageDelivery": str(raw).lower()}
        attributes |= {"FilterPolicy": json.dumps(policy)} if policy else {}
        attributes |= {"FilterPolicyScope": scope} if scope else {}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)

        def messages(wait=2):
            got = []
            while True:
                answer = sqs.receive_message(
                    QueueUrl=url, WaitTimeSeconds=wait, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
                )
                if not answer.get("Messages"):
                    return got
                got += answer["Messages"]
                wait = 0

        return messages

    return subscribe


def text(value):
    return {"DataType": "String", "StringValue": value}


@pytest.mark.parametrize("name_of", ["type", "priority", "subject", "content-type", "message-id", "timestamp"])
def test_policy_on_an_attribute_named_like_a_field(sns, topic, subscriber, name_of):
    queue = subscriber({name_of: ["yes"]})
    for value in ("no", "yes"):
        sns.publish(TopicArn=topic, Message=value, Subject="another", MessageAttributes={name_of: text(value)})
    sns.publish(TopicArn=topic, Message="none", Subject="yes")
    (message,) = queue()
    assert message["Body"] == "yes"
    assert message["MessageAttributes"] == {name_of: text("yes")}


@pytest.mark.parametrize(
    "policy, matching, other",
    [
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": text("z")}, {"a": text("y")}),
        ({"a": [{"exists": False}]}, {"b": text("z")}, {"a": text("y")}),
        ({"a": [{"suffix": ".png"}]}, {"a": text("b.png")}, {"a": text("b.jpg")}),
        ({"a": [{"equals-ignore-case": "ABC"}]}, {"a": text("abc")}, {"a": text("abd")}),
        ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": text("10.0.0.7")}, {"a": text("10.0.1.7")}),
        (
            {"a": ["x"]},
            {"a": {"DataType": "String.Array", "StringValue": '["w","x"]'}},
            {"a": {"DataType": "String.Array", "StringValue": '["w"]'}},
        ),
        (
            {"n": [{"numeric": ["=", 3]}]},
            {"n": {"DataType": "Number", "StringValue": "3.0"}},
            {"n": text("3")},
        ),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": text("y")}, {"b": text("x")}),
    ],
)
def test_policy_operators(sns, topic, subscriber, policy, matching, other):
    queue = subscriber(policy)
    sns.publish(TopicArn=topic, Message="other", MessageAttributes=other)
    sns.publish(TopicArn=topic, Message="matching", MessageAttributes=matching)
    assert [message["Body"] for message in queue()] == ["matching"]


def test_policy_sees_what_an_amqp_publisher_set(amqp, topic, subscriber, name):
    """The same names that a receiver sees as attributes: headers, and fields like `type`."""
    by_field, by_header = subscriber({"type": ["order"]}), subscriber({"size": [{"numeric": [">", 5]}]})
    channel = amqp.channel()
    for kind, size in (("order", 1), ("other", 9)):
        properties = pika.BasicProperties(type=kind, headers={"size": size})
        channel.basic_publish(name, "", kind.encode(), properties)
    assert [message["Body"] for message in by_field()] == ["order"]
    assert [message["Body"] for message in by_header()] == ["other"]


def test_raw_and_wrapped_of_one_publish(sns, topic, subscriber):
    raw, wrapped = subscriber(), subscriber(raw=False)
    attributes = {"b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}, "s": text("x")}
    sent = sns.publish(TopicArn=topic, Message="m", MessageAttributes=attributes)
    (message,) = raw()
    assert (message["Body"], message["MessageAttributes"]) == ("m", attributes)
    notification = json.loads(wrapped()[0]["Body"])
    assert notification["MessageId"] == sent["MessageId"]
    assert notification["MessageAttributes"]["b"] == {"Type": "Binary", "Value": "AP8="}


def test_batch_fails_entry_by_entry(sns, topic, subscriber):
    queue = subscriber()
    entries = [{"Id": "a", "Message": "x"}, {"Id": "b", "Message": ""}]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [("b", True)]
    assert len(queue()) == 1
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "x"}] * 2)
    assert "BatchEntryIdsNotDistinct" in raised.value.response["Error"]["Code"]


def test_policies_that_make_no_sense_are_refused(sns, topic, subscriber):
    for policy in ({"a": "x"}, {"a": [{"numeric": ["~", 1]}]}, {"a": [{"unknown": 1}]}):
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            subscriber(policy)
        assert raised.value.response["Error"]["Code"] == "InvalidParameter", policy
