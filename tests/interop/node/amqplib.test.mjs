// amqplib against the AMQP door.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import amqp from "amqplib";
import { amqpUrl, arrivals, unique } from "./support.mjs";

let connection;
before(async () => {
  connection = await amqp.connect(amqpUrl);
});
after(() => connection.close());

test("sends and consumes with headers and acknowledgement", async () => {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const { push, all } = arrivals(1);
  await channel.consume(queue, (message) => {
    channel.ack(message);
    push(message);
  });
  const options = { contentType: "text/plain", headers: { colour: "blue", size: 7 }, persistent: true };
  channel.sendToQueue(queue, Buffer.from("hello ü"), options);
  const [message] = await all;
  assert.equal(message.content.toString(), "hello ü");
  assert.deepEqual(message.properties.headers, { colour: "blue", size: 7 });
  assert.equal(message.properties.contentType, "text/plain");
  await channel.close();
});

test("confirms every publish", async () => {
  const channel = await connection.createConfirmChannel();
  const queue = unique();
  await channel.assertQueue(queue, { durable: true });
  for (let number = 0; number < 100; number++) {
    channel.sendToQueue(queue, Buffer.from(String(number)), { persistent: true });
  }
  await channel.waitForConfirms();
  assert.equal((await channel.checkQueue(queue)).messageCount, 100);
  assert.equal((await channel.deleteQueue(queue)).messageCount, 100);
  await channel.close();
});

test("returns what is mandatory and goes nowhere", async () => {
  const channel = await connection.createChannel();
  const { push, all } = arrivals(1);
  channel.on("return", push);
  channel.publish("", unique(), Buffer.from("lost"), { mandatory: true });
  const [message] = await all;
  assert.equal(message.fields.replyCode, 312);
  assert.equal(message.fields.replyText, "NO_ROUTE");
  await channel.close();
});

test("routes by topic", async () => {
  const channel = await connection.createChannel();
  const exchange = unique();
  await channel.assertExchange(exchange, "topic", { autoDelete: true });
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, exchange, "a.*.c");
  const { push, all } = arrivals(1);
  await channel.consume(queue, push, { noAck: true });
  channel.publish(exchange, "a.b.d", Buffer.from("no"));
  channel.publish(exchange, "a.b.c", Buffer.from("yes"));
  const [message] = await all;
  assert.equal(message.content.toString(), "yes");
  await channel.close();
});

test("a channel error closes the channel and not the connection", async () => {
  const channel = await connection.createChannel();
  channel.on("error", () => {});
  await assert.rejects(channel.checkQueue(unique()), /404/);
  const next = await connection.createChannel();
  await next.close();
});

test("refuses a wrong password", async () => {
  await assert.rejects(amqp.connect(amqpUrl.replace("guest:guest", "guest:wrong")), /403|ACCESS.REFUSED/);
});

test("carries a body of many frames", async () => {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const body = Buffer.alloc(3_000_000, "0123456789");
  const { push, all } = arrivals(1);
  await channel.consume(queue, push, { noAck: true });
  channel.sendToQueue(queue, body);
  assert.ok((await all)[0].content.equals(body));
  await channel.close();
});
