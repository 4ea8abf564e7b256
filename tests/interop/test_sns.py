"""boto3 against the SNS API, observed through SQS subscribers."""

import json

import botocore.exceptions
import pytest


@pytest.fixture
def sns(aws):
    return aws("sns")


@pytest.fixture
def topic(sns, name):
    return sns.create_topic(Name=name)["TopicArn"]


@pytest.fixture
def subscriber(aws, sns, topic, name):
    """Subscribes one more queue to the topic and answers how to read it."""
    sqs = aws("sqs")
    made = []

    def subscribe(**attributes):
        url = sqs.create_queue(QueueName=f"{name}-{len(made)}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        made.append(sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes))

        def bodies(count, wait=5):
            got = []
            while len(got) < count:
                answer = sqs.receive_message(
                    QueueUrl=url, WaitTimeSeconds=wait, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
                )
                if not answer.get("Messages"):
                    break
                got += answer["Messages"]
            return got

        bodies.arn = made[-1]["SubscriptionArn"]
        return bodies

    return subscribe


def test_publish_wraps_into_a_notification(sns, topic, subscriber):
    queue = subscriber()
    attributes = {"colour": {"DataType": "String", "StringValue": "blue"}}
    sent = sns.publish(TopicArn=topic, Message="hello ü", Subject="greeting", MessageAttributes=attributes)
    notification = json.loads(queue(1)[0]["Body"])
    assert notification["Type"] == "Notification"
    assert (notification["Message"], notification["Subject"]) == ("hello ü", "greeting")
    assert (notification["TopicArn"], notification["MessageId"]) == (topic, sent["MessageId"])
    assert notification["MessageAttributes"] == {"colour": {"Type": "String", "Value": "blue"}}
    assert notification["Timestamp"].endswith("Z")


def test_raw_delivery(sns, topic, subscriber):
    queue = subscriber(RawMessageDelivery="true")
    attributes = {"n": {"DataType": "Number", "StringValue": "7"}}
    sns.publish(TopicArn=topic, Message="raw", MessageAttributes=attributes)
    (message,) = queue(1)
    assert (message["Body"], message["MessageAttributes"]) == ("raw", attributes)


def test_every_subscriber_gets_it(sns, topic, subscriber):
    queues = [subscriber(RawMessageDelivery="true") for _ in range(3)]
    sns.publish(TopicArn=topic, Message="all")
    assert [queue(1)[0]["Body"] for queue in queues] == ["all"] * 3


def test_filter_policy_on_attributes(sns, topic, subscriber):
    policy = {"colour": ["blue", {"prefix": "gr"}], "size": [{"numeric": [">", 5]}]}
    queue = subscriber(RawMessageDelivery="true", FilterPolicy=json.dumps(policy))
    for body, colour, size in (("no", "red", "9"), ("no", "blue", "1"), ("1", "blue", "6"), ("2", "green", "7")):
        attributes = {
            "colour": {"DataType": "String", "StringValue": colour},
            "size": {"DataType": "Number", "StringValue": size},
        }
        sns.publish(TopicArn=topic, Message=body, MessageAttributes=attributes)
    assert sorted(message["Body"] for message in queue(3, wait=1)) == ["1", "2"]


def test_filter_policy_on_the_body(sns, topic, subscriber):
    queue = subscriber(
        RawMessageDelivery="true",
        FilterPolicyScope="MessageBody",
        FilterPolicy=json.dumps({"order": {"state": ["paid"]}}),
    )
    for state in ("open", "paid"):
        sns.publish(TopicArn=topic, Message=json.dumps({"order": {"state": state}}))
    assert [json.loads(message["Body"])["order"]["state"] for message in queue(2, wait=1)] == ["paid"]


def test_publish_batch(sns, topic, subscriber):
    queue = subscriber(RawMessageDelivery="true")
    entries = [{"Id": str(n), "Message": str(n)} for n in range(10)]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert len(answer["Successful"]) == 10 and not answer["Failed"]
    assert sorted(int(message["Body"]) for message in queue(10)) == list(range(10))


def test_subscriptions_are_listed_changed_and_removed(sns, topic, subscriber):
    queue = subscriber()
    assert sns.get_subscription_attributes(SubscriptionArn=queue.arn)["Attributes"]["RawMessageDelivery"] == "false"
    sns.set_subscription_attributes(
        SubscriptionArn=queue.arn, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [entry["SubscriptionArn"] for entry in listed] == [queue.arn]
    sns.publish(TopicArn=topic, Message="raw now")
    assert queue(1)[0]["Body"] == "raw now"
    sns.unsubscribe(SubscriptionArn=queue.arn)
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    sns.publish(TopicArn=topic, Message="nobody")
    assert queue(1, wait=0) == []


def test_topics(sns, topic, name):
    assert sns.create_topic(Name=name)["TopicArn"] == topic
    pages = sns.get_paginator("list_topics").paginate()
    assert topic in {entry["TopicArn"] for page in pages for entry in page["Topics"]}
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="shown")
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "shown"
    sns.delete_topic(TopicArn=topic)
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        sns.publish(TopicArn=topic, Message="x")
    assert raised.value.response["Error"]["Code"] == "NotFound"
