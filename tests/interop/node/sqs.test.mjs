// The AWS SDK for JavaScript, version 3, against the SQS API.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  QueueDoesNotExist,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { awsUrl, unique } from "./support.mjs";

const client = new SQSClient({
  endpoint: awsUrl,
  region: "us-east-1",
  credentials: { accessKeyId: "000000000000", secretAccessKey: "any" },
  maxAttempts: 1,
});

async function queue(t, attributes = {}, suffix = "") {
  const made = await client.send(new CreateQueueCommand({ QueueName: unique() + suffix, Attributes: attributes }));
  t.after(() => client.send(new DeleteQueueCommand({ QueueUrl: made.QueueUrl })));
  return made.QueueUrl;
}

const receive = async (url, options = {}) =>
  (
    await client.send(
      new ReceiveMessageCommand({
        QueueUrl: url,
        WaitTimeSeconds: 2,
        MaxNumberOfMessages: 10,
        MessageAttributeNames: ["All"],
        MessageSystemAttributeNames: ["All"],
        ...options,
      }),
    )
  ).Messages ?? [];

test("send, receive, delete", async (t) => {
  const url = await queue(t);
  const attributes = {
    s: { DataType: "String", StringValue: "ü" },
    b: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) },
  };
  // The SDK checks the digests of body and attributes itself.
  const sent = await client.send(
    new SendMessageCommand({ QueueUrl: url, MessageBody: "hello ü", MessageAttributes: attributes }),
  );
  const [message] = await receive(url);
  assert.equal(message.Body, "hello ü");
  assert.equal(message.MessageId, sent.MessageId);
  assert.equal(message.Attributes.ApproximateReceiveCount, "1");
  assert.equal(message.MessageAttributes.s.StringValue, "ü");
  assert.deepEqual([...message.MessageAttributes.b.BinaryValue], [0, 255]);
  await client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: message.ReceiptHandle }));
  const counts = await client.send(
    new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["ApproximateNumberOfMessagesNotVisible"] }),
  );
  assert.equal(counts.Attributes.ApproximateNumberOfMessagesNotVisible, "0");
});

test("batches and a long poll", async (t) => {
  const url = await queue(t);
  const waiting = receive(url, { WaitTimeSeconds: 15 });
  const entries = Array.from({ length: 10 }, (_, n) => ({ Id: `${n}`, MessageBody: `${n}` }));
  const sent = await client.send(new SendMessageBatchCommand({ QueueUrl: url, Entries: entries }));
  assert.equal(sent.Successful.length, 10);
  const got = await waiting;
  while (got.length < 10) {
    const more = await receive(url);
    assert.notEqual(more.length, 0);
    got.push(...more);
  }
  const handles = got.map((message, n) => ({ Id: `${n}`, ReceiptHandle: message.ReceiptHandle }));
  const deleted = await client.send(new DeleteMessageBatchCommand({ QueueUrl: url, Entries: handles }));
  assert.equal(deleted.Successful.length, 10);
});

test("FIFO order", async (t) => {
  const url = await queue(t, { FifoQueue: "true", ContentBasedDeduplication: "true" }, ".fifo");
  for (const body of ["1", "2", "2", "3"]) {
    await client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: body, MessageGroupId: "g" }));
  }
  assert.deepEqual((await receive(url)).map((message) => message.Body), ["1", "2", "3"]);
});

test("errors have their class", async () => {
  const absent = `${awsUrl}/000000000000/${unique()}`;
  await assert.rejects(client.send(new SendMessageCommand({ QueueUrl: absent, MessageBody: "x" })), QueueDoesNotExist);
});
