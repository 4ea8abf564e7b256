"""`$queue/NAME` and `$topic/NAME`: MQTT clients at queues and exchanges that others own."""

import pytest
from mqtt_wire import PUBACK, PUBLISH


@pytest.fixture
def channel(amqp):
    return amqp.channel()


def test_existing_amqp_queue_both_ways(mqtt, channel, name):
    channel.queue_declare(name, durable=False, arguments={"x-max-length": 100})
    client = mqtt()
    assert [code.value for code in client.subscribe(f"$queue/{name}", qos=1)] == [1]
    channel.basic_publish("", name, b"from amqp")
    message = client.message()
    assert (message.topic, message.payload, message.qos) == (f"$queue/{name}", b"from amqp", 1)
    client.unsubscribe(f"$queue/{name}")
    client.publish(f"$queue/{name}", "from mqtt")
    method, _, body = channel.basic_get(name, auto_ack=True)
    assert body == b"from mqtt"
    channel.queue_delete(name)


def test_existing_sqs_queue_both_ways(mqtt, aws, name):
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    client = mqtt()
    client.publish(f"$queue/{name}", "from mqtt")
    got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert [each["Body"] for each in got] == ["from mqtt"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
    assert [code.value for code in client.subscribe(f"$queue/{name}", qos=1)] == [1]
    sqs.send_message(QueueUrl=url, MessageBody="from sqs")
    assert client.message().payload == b"from sqs"
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)


def test_queue_is_made_on_first_use_and_competing(wire, mqtt, channel, name):
    mqtt().publish(f"$queue/{name}", "first")
    assert channel.queue_declare(name, passive=True).method.message_count == 1
    slow = wire(f"{name}-1", version=5)
    slow.subscribe(f"$queue/{name}", options=1)
    assert slow.expect(PUBLISH).payload == b"first"
    slow.drop()
    quick = wire(f"{name}-2", version=5)
    quick.subscribe(f"$queue/{name}", options=1)
    packet = quick.expect(PUBLISH)
    assert packet.payload == b"first"
    quick.ack(PUBACK, packet.id)
    quick.disconnect()
    assert channel.queue_declare(name, passive=True).method.message_count == 0
    channel.queue_delete(name)


def test_exclusive_queue_of_another_is_refused(mqtt, channel, name):
    channel.queue_declare(name, exclusive=True)
    assert [code.value for code in mqtt().subscribe(f"$queue/{name}", qos=1)] == [0x87]


def test_deleted_queue_ends_the_subscription_only(mqtt, channel, name):
    channel.queue_declare(name)
    client = mqtt()
    client.subscribe(f"$queue/{name}", qos=1)
    channel.queue_delete(name)
    client.subscribe(name)
    client.publish(name, "alive")
    assert client.message().payload == b"alive"


def test_exchange(mqtt, channel, name):
    channel.exchange_declare(name, "topic")
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, name, "a.*")
    mqtt().publish(f"$topic/{name}/a/b", "x")
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (method.exchange, method.routing_key, body) == (name, "a.b", b"x")
    channel.exchange_delete(name)


def test_missing_exchange_is_told(wire, name):
    client = wire(name, version=5)
    client.publish(f"$topic/{name}/k", "x", qos=1, id=1)
    assert client.expect(PUBACK).code == 0x90


def test_stream_partition_key(mqtt, aws, name):
    kinesis = aws("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=2)
    client = mqtt()
    client.publish(f"$stream/{name}", "by client")
    client.publish(f"$stream/{name}", "by key", UserProperty=[("partition-key", "k")])
    found = {}
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for record in kinesis.get_records(ShardIterator=iterator)["Records"]:
            found[record["Data"]] = record["PartitionKey"]
    assert found == {b"by client": client.client._client_id.decode(), b"by key": "k"}
    kinesis.delete_stream(StreamName=name)
