"""The AWS APIs over plain HTTP: SQS standard and FIFO, SNS and EventBridge into SQS, Kinesis.

Not boto3, which would send a request again by itself and take most of the machine; its own suites use it.
"""

import base64
import http.client
import json
import random
import re
import threading
import time
import urllib.parse

from ledger import Books, Flow

from . import Door, padding

BATCH = 10
# What was handed out in the moment of a kill, with nobody to know its handle, holds up a drain for so long.
VISIBILITY_S = 8
PAUSE_S = 0.01
GROUPS = 3
SHARD_KEYS = ["0", str(2**127)]
TARGETS = {
    "sqs": ("AmazonSQS.", "application/x-amz-json-1.0"),
    "events": ("AWSEvents.", "application/x-amz-json-1.1"),
    "kinesis": ("Kinesis_20131202.", "application/x-amz-json-1.1"),
}
ARN = "arn:aws:{}:us-east-1:000000000000:{}"


class Refused(Exception):
    """An answer that is not 200."""


class Api:
    """One keep-alive connection; nothing is sent twice."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)

    def call(self, service, operation, **members):
        prefix, kind = TARGETS[service]
        headers = {"X-Amz-Target": prefix + operation, "Content-Type": kind}
        return json.loads(self._post(json.dumps(members), headers) or "{}")

    def query(self, action, **members):
        form = urllib.parse.urlencode({"Action": action, "Version": "2010-03-31", **members})
        return self._post(form, {"Content-Type": "application/x-www-form-urlencoded"})

    def _post(self, body, headers):
        self.connection.request("POST", "/", body.encode(), headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise Refused(f"{answer.status} {text}")
        return text


def url(queue):
    return f"http://127.0.0.1/000000000000/{queue}"


class Task(threading.Thread):
    """Repeats one step until the broker is gone."""

    def __init__(self, door, step):
        super().__init__(daemon=True)
        self.door, self.step = door, step
        self.start()

    def run(self):
        try:
            api = Api(self.door.ports["aws"])
            while True:
                self.step(api)
        except Refused as refused:
            self.door.troubles.append(f"{self.step.__name__}: {refused}")
        except Exception:  # the kill
            pass


class Aws(Door):
    name = "aws"

    def __init__(self, ports):
        super().__init__(ports)
        self.books = {name: Books(name) for name in ("sqs", "fifo", "sns", "events", "kinesis")}
        self.sqs = Flow(self.books["sqs"], "sqs", ordered=False, leased=True)
        self.sns = Flow(self.books["sns"], "sns", ordered=False, leased=True)
        self.events = Flow(self.books["events"], "events", ordered=False, leased=True)
        self.groups = [Flow(self.books["fifo"], f"group{number}", leased=True) for number in range(GROUPS)]
        self.shards = [Flow(self.books["kinesis"], f"shard{number}", once=True) for number in range(len(SHARD_KEYS))]
        self.positions = {}
        self.tasks = []
        # FIFO messages that were sent and not confirmed, to be sent again under the same deduplication id.
        self.unsure = []
        # Receipt handles of what was received and not deleted.
        self.held = {"k9-standard": [], "k9-fifo.fifo": []}

    def prepare(self):
        api = Api(self.ports["aws"])
        api.call("sqs", "CreateQueue", QueueName="k9-standard")
        api.call("sqs", "CreateQueue", QueueName="k9-fifo.fifo", Attributes={"FifoQueue": "true"})
        api.query("CreateTopic", Name="k9-topic")
        raw = {"Attributes.entry.1.key": "RawMessageDelivery", "Attributes.entry.1.value": "true"}
        queue = ARN.format("sqs", "k9-standard")
        api.query("Subscribe", TopicArn=ARN.format("sns", "k9-topic"), Protocol="sqs", Endpoint=queue, **raw)
        api.call("events", "CreateEventBus", Name="k9-bus")
        pattern = json.dumps({"source": ["k9"]})
        api.call("events", "PutRule", Name="k9-rule", EventBusName="k9-bus", EventPattern=pattern)
        api.call("events", "PutTargets", Rule="k9-rule", EventBusName="k9-bus", Targets=[{"Id": "1", "Arn": queue}])
        api.call("kinesis", "CreateStream", StreamName="k9-stream", ShardCount=len(SHARD_KEYS))
        while True:
            described = api.call("kinesis", "DescribeStreamSummary", StreamName="k9-stream")
            if described["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            time.sleep(0.05)

    def publish(self):
        steps = (self.send, self.send_fifo, self.publish_topic, self.put_events, self.put_records)
        self.tasks += [Task(self, step) for step in steps]

    def consume(self):
        self.books["fifo"].reopened()
        for queue in self.held:
            self.tasks.append(Task(self, self._receiver(queue)))
        self.tasks += [Task(self, self._reader(number)) for number in range(len(SHARD_KEYS))]

    def send(self, api):
        batch = {str(n): self.sqs.next(padding()) for n in range(random.randint(1, BATCH))}
        entries = [{"Id": n, "MessageBody": body} for n, (_, body) in batch.items()]
        answer = api.call("sqs", "SendMessageBatch", QueueUrl=url("k9-standard"), Entries=entries)
        for entry in answer.get("Successful", []):
            self.sqs.confirm(batch[entry["Id"]][0])
        time.sleep(PAUSE_S)

    def send_fifo(self, api):
        """What the last kill left unsure first; now and then something that is already there."""
        again = [] if self.unsure else getattr(self, "last_fifo", [])
        if self.unsure:
            batch = self.unsure
        elif again and random.random() < 0.1:
            batch = again
        else:
            flows = [random.choice(self.groups) for _ in range(random.randint(1, BATCH))]
            batch = [(flow, *flow.next(padding())) for flow in flows]
        self.unsure = batch
        entries = [
            {
                "Id": str(n),
                "MessageBody": body,
                "MessageGroupId": flow.name,
                "MessageDeduplicationId": f"{flow.name}-{number}",
            }
            for n, (flow, number, body) in enumerate(batch)
        ]
        answer = api.call("sqs", "SendMessageBatch", QueueUrl=url("k9-fifo.fifo"), Entries=entries)
        for entry in answer.get("Successful", []):
            flow, number, _ = batch[int(entry["Id"])]
            if batch is not again:
                flow.confirm(number)
        self.unsure, self.last_fifo = [], batch
        time.sleep(PAUSE_S)

    def publish_topic(self, api):
        batch = {str(n): self.sns.next() for n in range(random.randint(1, BATCH))}
        form = {}
        for place, (n, (_, body)) in enumerate(batch.items(), 1):
            form |= {f"PublishBatchRequestEntries.member.{place}.Id": n}
            form |= {f"PublishBatchRequestEntries.member.{place}.Message": body}
        answer = api.query("PublishBatch", TopicArn=ARN.format("sns", "k9-topic"), **form)
        for n in re.findall(r"<Id>(\d+)</Id>", answer.split("<Successful>")[-1]):
            self.sns.confirm(batch[n][0])
        time.sleep(PAUSE_S)

    def put_events(self, api):
        batch = [self.events.next() for _ in range(random.randint(1, BATCH))]
        bus = {"EventBusName": "k9-bus", "Source": "k9", "DetailType": "k9"}
        entries = [{**bus, "Detail": json.dumps({"body": body})} for _, body in batch]
        answer = api.call("events", "PutEvents", Entries=entries)
        for (number, _), entry in zip(batch, answer["Entries"]):
            if "EventId" in entry:
                self.events.confirm(number)
        time.sleep(PAUSE_S)

    def put_records(self, api):
        places = [random.randrange(len(SHARD_KEYS)) for _ in range(random.randint(1, BATCH))]
        batch = [(self.shards[place], SHARD_KEYS[place], *self.shards[place].next(padding())) for place in places]
        records = [
            {"Data": base64.b64encode(body.encode()).decode(), "PartitionKey": "k", "ExplicitHashKey": key}
            for _, key, _, body in batch
        ]
        answer = api.call("kinesis", "PutRecords", StreamName="k9-stream", Records=records)
        for (flow, _, number, _), entry in zip(batch, answer["Records"]):
            if "SequenceNumber" in entry:
                flow.confirm(number)
        time.sleep(PAUSE_S)

    def _receiver(self, queue):
        def receive(api):
            if self.held[queue] and (receive.fresh or not self.holding):
                self._give_back(api, queue)
            receive.fresh = False
            answer = api.call(
                "sqs",
                "ReceiveMessage",
                QueueUrl=url(queue),
                MaxNumberOfMessages=BATCH,
                VisibilityTimeout=VISIBILITY_S,
                WaitTimeSeconds=1,
            )
            seen = [(*self._sight(message["Body"]), message["ReceiptHandle"]) for message in answer.get("Messages", [])]
            # Before the request: a kill may come in the middle of it.
            self.held[queue] += [handle for *_, handle in seen]
            if self.holding and random.random() < 0.1:
                seen = seen[: random.randrange(len(seen) + 1)]
            self._delete(api, queue, seen)

        receive.fresh = True
        return receive

    def _give_back(self, api, queue):
        """Handles of before the kill: they make their messages visible at once, unless those were deleted."""
        for start in range(0, len(self.held[queue]), BATCH):
            handles = self.held[queue][start : start + BATCH]
            entries = [
                {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0} for n, handle in enumerate(handles)
            ]
            api.call("sqs", "ChangeMessageVisibilityBatch", QueueUrl=url(queue), Entries=entries)
        self.held[queue] = []
        if queue.endswith(".fifo"):
            self.books["fifo"].reopened()

    def _delete(self, api, queue, seen):
        if not seen:
            return
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, (*_, handle) in enumerate(seen)]
        answer = api.call("sqs", "DeleteMessageBatch", QueueUrl=url(queue), Entries=entries)
        for entry in answer.get("Successful", []):
            flow, number, handle = seen[int(entry["Id"])]
            self.held[queue].remove(handle)
            # A standard queue may deliver again what was deleted; a FIFO queue may not.
            if flow in self.groups:
                flow.books.settled(flow, number)

    def _sight(self, body):
        if body.startswith("{"):
            body = json.loads(body)["detail"]["body"]
        name = body.split(":", 1)[0]
        books = self.books.get(name, self.books["fifo"])
        return books.sight(body)

    def _reader(self, shard):
        """Goes on behind the last record that it saw."""

        def read(api):
            if read.iterator is None:
                read.iterator = self._iterator(api, shard, self.positions.get(shard))
            answer = api.call("kinesis", "GetRecords", ShardIterator=read.iterator, Limit=1000)
            read.iterator = answer["NextShardIterator"]
            for record in answer["Records"]:
                self.books["kinesis"].sight(base64.b64decode(record["Data"]).decode())
                self.positions[shard] = record["SequenceNumber"]
            if not answer["Records"]:
                time.sleep(0.05)

        read.iterator = None
        return read

    def _iterator(self, api, shard, position):
        start = {"ShardIteratorType": "TRIM_HORIZON"}
        if position is not None:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": position}
        shard = f"shardId-{shard:012}"
        answer = api.call("kinesis", "GetShardIterator", StreamName="k9-stream", ShardId=shard, **start)
        return answer["ShardIterator"]

    def replay(self, shard):
        """Every body in a shard, from the beginning."""
        api = Api(self.ports["aws"])
        iterator = self._iterator(api, shard, None)
        bodies = []
        while True:
            answer = api.call("kinesis", "GetRecords", ShardIterator=iterator, Limit=10_000)
            bodies += [base64.b64decode(record["Data"]).decode() for record in answer["Records"]]
            iterator = answer["NextShardIterator"]
            if not answer["Records"] and not answer.get("MillisBehindLatest"):
                return bodies

    def gone(self):
        for task in self.tasks:
            task.join(timeout=15)
        self.tasks = []
        self.holding = True
