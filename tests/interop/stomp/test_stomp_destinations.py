"""/queue, /topic, /exchange, /amq/queue, reply and temporary queues, durable subscriptions."""


def subscribe(client, destination, id="s", **more):
    client.sync("SUBSCRIBE", destination=destination, id=id, **more)


def test_topic_wildcards(raw, name):
    client = raw()
    subscribe(client, f"/topic/{name}.*.c")
    subscribe(client, f"/topic/{name}.%23", id="all")
    client.send("SEND", "x", destination=f"/topic/{name}.b.c")
    got = [client.expect("MESSAGE") for _ in range(2)]
    assert {frame.headers["subscription"] for frame in got} == {"s", "all"}
    assert got[0].headers["destination"] == f"/topic/{name}.b.c"


def test_exchange(raw, amqp, name):
    channel = amqp.channel()
    channel.exchange_declare(name, "direct")
    client = raw()
    subscribe(client, f"/exchange/{name}/k")
    client.send("SEND", "x", destination=f"/exchange/{name}/k")
    assert client.expect("MESSAGE").headers["destination"] == f"/exchange/{name}/k"
    client.send("SEND", "y", destination=f"/exchange/{name}/other")
    assert client.silent()
    channel.exchange_delete(name)


def test_missing_exchange_and_queue_close(raw, name):
    client = raw()
    client.send("SEND", "x", destination=f"/exchange/{name}/k")
    ended = client.ended()
    assert (ended[0].headers["message"], ended[0].body[:9]) == ("not_found", b"NOT_FOUND")
    client = raw()
    client.send("SUBSCRIBE", destination=f"/amq/queue/{name}", id="s")
    ended = client.ended()
    assert (ended[0].headers["message"], ended[0].body[:9]) == ("not_found", b"NOT_FOUND")


def test_existing_queue(raw, amqp, aws, name):
    channel = amqp.channel()
    channel.queue_declare(name, arguments={"x-max-length": 5})
    client = raw()
    subscribe(client, f"/amq/queue/{name}")
    channel.basic_publish("", name, b"x")
    assert client.expect("MESSAGE").body == b"x"
    channel.queue_delete(name)
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName=f"{name}-sqs")["QueueUrl"]
    client.send("SEND", "from stomp", destination=f"/queue/{name}-sqs")
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "from stomp"


def test_queue_with_other_arguments_is_taken_as_it_is(raw, amqp, name):
    channel = amqp.channel()
    channel.queue_declare(name, arguments={"x-max-length": 3})
    client = raw()
    subscribe(client, f"/queue/{name}", x_max_length=4)
    channel.basic_publish("", name, b"x")
    assert client.expect("MESSAGE").body == b"x"
    channel.queue_delete(name)


def test_durable_subscription_is_shared_by_its_id(raw, name):
    terms = {"durable": "true", "auto_delete": "false"}
    client = raw()
    subscribe(client, f"/topic/{name}", id="d", **terms)
    client.sync("DISCONNECT")
    client.ended()
    other = raw()
    for number in range(2):
        other.sync("SEND", str(number), destination=f"/topic/{name}")
    client = raw()
    subscribe(client, f"/topic/{name}", id="d", **terms)
    assert [client.expect("MESSAGE").body for _ in range(2)] == [b"0", b"1"]
    client.sync("UNSUBSCRIBE", id="d", destination=f"/topic/{name}", durable="true")
    other.sync("SEND", "lost", destination=f"/topic/{name}")
    subscribe(client, f"/topic/{name}", id="d", **terms)
    assert client.silent()
    client.sync("UNSUBSCRIBE", id="d", destination=f"/topic/{name}", durable="true")


def test_durable_subscription_needs_an_id(raw, name):
    client = raw()
    client.send("SUBSCRIBE", destination=f"/topic/{name}", durable="true", auto_delete="false")
    assert client.expect("ERROR").headers["message"] == "Missing Header"


def test_temporary_reply_queue(raw, name):
    service, client = raw(), raw()
    subscribe(service, f"/queue/{name}")
    client.send("SEND", "2", destination=f"/queue/{name}", reply_to="/temp-queue/answers", correlation_id="c1")
    asked = service.expect("MESSAGE")
    where = asked.headers["reply-to"]
    assert where.startswith("/reply-queue/") and asked.headers["correlation-id"] == "c1"
    service.send("SEND", "4", destination=where, correlation_id="c1")
    answer = client.expect("MESSAGE")
    assert (answer.body, answer.headers["subscription"]) == (b"4", "/temp-queue/answers")
    client.close()


def test_queue_name_of_ones_own(raw, amqp, name):
    client = raw()
    subscribe(client, f"/topic/{name}", x_queue_name=name)
    assert amqp.channel().queue_declare(name, passive=True).method.consumer_count == 1


def test_slash_in_a_name(raw, name):
    client = raw()
    subscribe(client, f"/queue/{name}%2Fb")
    client.send("SEND", "x", destination=f"/queue/{name}%2Fb")
    assert client.expect("MESSAGE").headers["destination"] == f"/queue/{name}%2Fb"


def test_selector_is_ignored(raw, name):
    client = raw()
    subscribe(client, f"/queue/{name}", selector="colour = 'red'")
    client.send("SEND", "x", destination=f"/queue/{name}", colour="blue")
    assert client.expect("MESSAGE").body == b"x"


def test_topic_meets_mqtt_and_amqp(raw, mqtt, amqp, name):
    channel = amqp.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", f"{name}.#")
    device, client = mqtt(), raw()
    device.subscribe(f"{name}/+")
    subscribe(client, f"/topic/{name}.*")
    client.send("SEND", "x", destination=f"/topic/{name}.a", colour="red")
    assert client.expect("MESSAGE").body == b"x"
    message = device.message()
    assert (message.topic, message.payload) == (f"{name}/a", b"x")
    assert ("colour", "red") in message.properties.UserProperty
    device.publish(f"{name}/b", "y")
    assert client.expect("MESSAGE").headers["destination"] == f"/topic/{name}.b"
