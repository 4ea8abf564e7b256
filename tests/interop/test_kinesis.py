"""boto3 against the Kinesis API."""

import time

import pytest

import clients


@pytest.fixture
def kinesis(aws):
    return aws("kinesis")


@pytest.fixture
def stream(kinesis, name):
    kinesis.create_stream(StreamName=name, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    yield name
    kinesis.delete_stream(StreamName=name)


def shards(kinesis, stream):
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName=stream)["Shards"]]


def read(kinesis, stream, shard, count, kind="TRIM_HORIZON", **start):
    """Reads until `count` records came or patience ends."""
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind, **start)
    iterator = iterator["ShardIterator"]
    records = []
    deadline = time.monotonic() + clients.PATIENCE
    while len(records) < count and time.monotonic() < deadline:
        answer = kinesis.get_records(ShardIterator=iterator)
        records += answer["Records"]
        iterator = answer["NextShardIterator"]
    return records


def test_describe(kinesis, stream):
    described = kinesis.describe_stream(StreamName=stream)["StreamDescription"]
    assert (described["StreamStatus"], described["StreamName"]) == ("ACTIVE", stream)
    assert described["StreamARN"] == f"arn:aws:kinesis:{clients.REGION}:{clients.ACCOUNT}:stream/{stream}"
    ranges = [shard["HashKeyRange"] for shard in described["Shards"]]
    assert int(ranges[0]["StartingHashKey"]) == 0 and int(ranges[1]["EndingHashKey"]) == 2**128 - 1
    assert int(ranges[0]["EndingHashKey"]) + 1 == int(ranges[1]["StartingHashKey"])
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 2
    assert stream in kinesis.list_streams(Limit=10000)["StreamNames"]


def test_put_and_get(kinesis, stream):
    data = b"\x00binary\xff"
    put = kinesis.put_record(StreamName=stream, PartitionKey="k", Data=data)
    (record,) = read(kinesis, stream, put["ShardId"], 1)
    assert (record["Data"], record["PartitionKey"]) == (data, "k")
    assert record["SequenceNumber"] == put["SequenceNumber"]


def test_order_within_a_partition_key(kinesis, stream):
    records = [{"Data": str(n).encode(), "PartitionKey": "same"} for n in range(50)]
    answer = kinesis.put_records(StreamName=stream, Records=records)
    assert answer["FailedRecordCount"] == 0
    assert len({record["ShardId"] for record in answer["Records"]}) == 1
    numbers = [int(record["SequenceNumber"]) for record in answer["Records"]]
    assert numbers == sorted(set(numbers))
    got = read(kinesis, stream, answer["Records"][0]["ShardId"], 50)
    assert [int(record["Data"]) for record in got] == list(range(50))


def test_explicit_hash_key_chooses_the_shard(kinesis, stream):
    first, second = shards(kinesis, stream)
    for key, shard in (("0", first), (str(2**128 - 1), second)):
        put = kinesis.put_record(StreamName=stream, PartitionKey="k", ExplicitHashKey=key, Data=b"x")
        assert put["ShardId"] == shard


def test_iterators(kinesis, stream):
    first = shards(kinesis, stream)[0]
    puts = [
        kinesis.put_record(StreamName=stream, PartitionKey="k", ExplicitHashKey="0", Data=str(n).encode())
        for n in range(3)
    ]
    middle = {"StartingSequenceNumber": puts[1]["SequenceNumber"]}
    at = read(kinesis, stream, first, 2, "AT_SEQUENCE_NUMBER", **middle)
    after = read(kinesis, stream, first, 1, "AFTER_SEQUENCE_NUMBER", **middle)
    assert [record["Data"] for record in at] == [b"1", b"2"]
    assert [record["Data"] for record in after] == [b"2"]
    latest = kinesis.get_shard_iterator(StreamName=stream, ShardId=first, ShardIteratorType="LATEST")
    assert kinesis.get_records(ShardIterator=latest["ShardIterator"])["Records"] == []
    since = read(kinesis, stream, first, 3, "AT_TIMESTAMP", Timestamp=time.time() - 3600)
    assert [record["Data"] for record in since] == [b"0", b"1", b"2"]


def test_limit(kinesis, stream):
    for number in range(5):
        kinesis.put_record(StreamName=stream, PartitionKey="k", ExplicitHashKey="0", Data=str(number).encode())
    first = shards(kinesis, stream)[0]
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=first, ShardIteratorType="TRIM_HORIZON")
    one = kinesis.get_records(ShardIterator=iterator["ShardIterator"], Limit=2)
    two = kinesis.get_records(ShardIterator=one["NextShardIterator"], Limit=10)
    assert [record["Data"] for record in one["Records"] + two["Records"]] == [b"0", b"1", b"2", b"3", b"4"]


def test_errors(kinesis, stream, name):
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.put_record(StreamName=f"{name}-absent", PartitionKey="k", Data=b"x")
    with pytest.raises(kinesis.exceptions.ResourceInUseException):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.get_shard_iterator(
            StreamName=stream, ShardId="shardId-000000000099", ShardIteratorType="LATEST"
        )
