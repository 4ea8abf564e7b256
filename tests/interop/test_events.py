"""boto3 against the EventBridge API, observed through SQS, SNS and Kinesis targets."""

import json
import time

import pytest

import clients
from crossing_doors import arn


@pytest.fixture
def events(aws):
    return aws("events")


@pytest.fixture
def bus(events, name):
    events.create_event_bus(Name=name)
    return name


@pytest.fixture
def target(aws, name):
    """Makes a queue to be a target; answers its ARN and how to read it."""
    sqs = aws("sqs")

    def make(suffix="target"):
        url = sqs.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]

        def bodies(wait=2):
            answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=wait, MaxNumberOfMessages=10)
            return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

        return arn("sqs", f"{name}-{suffix}"), bodies

    return make


def put(events, bus, detail, source="shop", kind="Order"):
    entry = {"EventBusName": bus, "Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
    answer = events.put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0
    return answer["Entries"][0]["EventId"]


def add_rule(events, bus, target_arn, pattern, **target):
    events.put_rule(Name="r", EventBusName=bus, EventPattern=json.dumps(pattern))
    answer = events.put_targets(Rule="r", EventBusName=bus, Targets=[{"Id": "1", "Arn": target_arn, **target}])
    assert answer["FailedEntryCount"] == 0


def test_matching_event_reaches_its_target(events, bus, target):
    target_arn, bodies = target()
    add_rule(events, bus, target_arn, {"source": ["shop"], "detail": {"state": ["paid"]}})
    put(events, bus, {"state": "open"})
    identity = put(events, bus, {"state": "paid", "total": 12.5})
    (event,) = bodies()
    assert event["id"] == identity
    assert (event["source"], event["detail-type"]) == ("shop", "Order")
    assert event["detail"] == {"state": "paid", "total": 12.5}
    assert (event["account"], event["region"], event["version"]) == (clients.ACCOUNT, clients.REGION, "0")
    assert event["resources"] == [] and event["time"].endswith("Z")


@pytest.mark.parametrize(
    "pattern, matching, other",
    [
        ({"detail": {"a": [{"prefix": "x"}]}}, {"a": "xy"}, {"a": "yx"}),
        ({"detail": {"a": [{"anything-but": ["x"]}]}}, {"a": "y"}, {"a": "x"}),
        ({"detail": {"a": [{"numeric": [">=", 1, "<", 3]}]}}, {"a": 2}, {"a": 3}),
        ({"detail": {"a": [{"exists": False}]}}, {"b": 1}, {"a": 1}),
        ({"detail": {"a": {"b": [None, 1]}}}, {"a": {"b": None}}, {"a": {"b": 2}}),
        ({"detail": {"a": ["x"]}}, {"a": ["w", "x"]}, {"a": ["w"]}),
    ],
)
def test_patterns(events, bus, target, pattern, matching, other):
    target_arn, bodies = target()
    add_rule(events, bus, target_arn, pattern)
    put(events, bus, other)
    put(events, bus, matching)
    assert [event["detail"] for event in bodies()] == [matching]


def test_input_path_and_constant_input(events, bus, target):
    one_arn, one = target("one")
    two_arn, two = target("two")
    events.put_rule(Name="r", EventBusName=bus, EventPattern='{"source":["shop"]}')
    events.put_targets(
        Rule="r",
        EventBusName=bus,
        Targets=[
            {"Id": "1", "Arn": one_arn, "InputPath": "$.detail"},
            {"Id": "2", "Arn": two_arn, "Input": '{"fixed":true}'},
        ],
    )
    put(events, bus, {"n": 1})
    assert one() == [{"n": 1}]
    assert two() == [{"fixed": True}]


def test_input_transformer(events, bus, target):
    target_arn, bodies = target()
    transformer = {
        "InputPathsMap": {"n": "$.detail.n", "kind": "$.detail-type"},
        "InputTemplate": '{"got":<n>,"k":"<kind>"}',
    }
    add_rule(events, bus, target_arn, {"source": ["shop"]}, InputTransformer=transformer)
    put(events, bus, {"n": 5})
    assert bodies() == [{"got": 5, "k": "Order"}]


def test_disabled_rule_and_removed_target(events, bus, target):
    target_arn, bodies = target()
    add_rule(events, bus, target_arn, {"source": ["shop"]})
    events.disable_rule(Name="r", EventBusName=bus)
    put(events, bus, {"n": 1})
    events.enable_rule(Name="r", EventBusName=bus)
    put(events, bus, {"n": 2})
    assert [event["detail"]["n"] for event in bodies()] == [2]
    assert events.describe_rule(Name="r", EventBusName=bus)["State"] == "ENABLED"
    assert [entry["Id"] for entry in events.list_targets_by_rule(Rule="r", EventBusName=bus)["Targets"]] == ["1"]
    events.remove_targets(Rule="r", EventBusName=bus, Ids=["1"])
    put(events, bus, {"n": 3})
    assert bodies(wait=0) == []
    events.delete_rule(Name="r", EventBusName=bus)
    assert events.list_rules(EventBusName=bus)["Rules"] == []


def test_sns_and_kinesis_targets(aws, events, bus, target, name):
    sns, kinesis = aws("sns"), aws("kinesis")
    queue_arn, bodies = target()
    topic = sns.create_topic(Name=f"{name}-t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    kinesis.create_stream(StreamName=name + "-s", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name + "-s", WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    stream = kinesis.describe_stream(StreamName=name + "-s")["StreamDescription"]
    events.put_rule(Name="r", EventBusName=bus, EventPattern='{"source":["shop"]}')
    targets = [{"Id": "1", "Arn": topic}, {"Id": "2", "Arn": stream["StreamARN"]}]
    events.put_targets(Rule="r", EventBusName=bus, Targets=targets)
    put(events, bus, {"n": 1})
    assert json.loads(bodies()[0]["Message"])["detail"] == {"n": 1}
    iterator = kinesis.get_shard_iterator(
        StreamName=name + "-s", ShardId=stream["Shards"][0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    deadline = time.monotonic() + clients.PATIENCE
    records = []
    while not records and time.monotonic() < deadline:
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert json.loads(records[0]["Data"])["detail"] == {"n": 1}


def test_default_bus_and_a_bad_entry(events, target, name):
    target_arn, bodies = target()
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target_arn}])
    answer = events.put_events(
        Entries=[
            {"Source": name, "DetailType": "d", "Detail": '{"ok":true}'},
            {"Source": name, "DetailType": "d", "Detail": "not json"},
        ]
    )
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][1]["ErrorCode"] == "MalformedDetail"
    assert [event["detail"] for event in bodies()] == [{"ok": True}]


def test_buses(events, bus):
    assert events.describe_event_bus(Name=bus)["Arn"] == arn("events", f"event-bus/{bus}")
    assert bus in {entry["Name"] for entry in events.list_event_buses()["EventBuses"]}
    events.delete_event_bus(Name=bus)
    with pytest.raises(events.exceptions.ResourceNotFoundException):
        events.describe_event_bus(Name=bus)
