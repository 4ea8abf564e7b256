// MQTT.js against the MQTT door, in 3.1.1 and 5.0.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import mqtt from "mqtt";
import { arrivals, mqttUrl, unique } from "./support.mjs";

const connect = (options) => mqtt.connectAsync(mqttUrl, { reconnectPeriod: 0, clientId: unique(), ...options });

for (const protocolVersion of [4, 5]) {
  for (const qos of [0, 1, 2]) {
    test(`version ${protocolVersion}, QoS ${qos}`, async () => {
      const client = await connect({ protocolVersion });
      const topic = `${unique()}/t`;
      const { push, all } = arrivals(10);
      client.on("message", (topic, payload, packet) => push(`${packet.qos}:${payload}`));
      await client.subscribeAsync(topic, { qos });
      for (let number = 0; number < 10; number++) await client.publishAsync(topic, String(number), { qos });
      assert.deepEqual(await all, Array.from({ length: 10 }, (_, number) => `${qos}:${number}`));
      await client.endAsync();
    });
  }

  test(`version ${protocolVersion}: retained message and its removal`, async () => {
    const client = await connect({ protocolVersion });
    const topic = unique();
    await client.publishAsync(topic, "kept", { qos: 1, retain: true });
    const { push, all } = arrivals(1);
    client.on("message", (topic, payload, packet) => push([String(payload), packet.retain]));
    await client.subscribeAsync(topic, { qos: 1 });
    assert.deepEqual(await all, [["kept", true]]);
    await client.publishAsync(topic, "", { qos: 1, retain: true });
    await client.endAsync();
  });

  test(`version ${protocolVersion}: will after a broken connection`, async () => {
    const topic = unique();
    const watcher = await connect({ protocolVersion });
    const { push, all } = arrivals(1);
    watcher.on("message", (topic, payload) => push(String(payload)));
    await watcher.subscribeAsync(topic, { qos: 1 });
    const dying = await connect({ protocolVersion, will: { topic, payload: Buffer.from("gone"), qos: 1 } });
    dying.on("error", () => {});
    dying.stream.destroy();
    assert.deepEqual(await all, ["gone"]);
    await watcher.endAsync();
  });
}

test("properties of version 5", async () => {
  const client = await connect({ protocolVersion: 5 });
  const topic = unique();
  const arrived = once(client, "message");
  await client.subscribeAsync(topic, { qos: 1 });
  const properties = {
    contentType: "text/plain",
    correlationData: Buffer.from([0, 255]),
    responseTopic: "answers",
    userProperties: { colour: "blue" },
  };
  await client.publishAsync(topic, "x", { qos: 1, properties });
  const [, , packet] = await arrived;
  assert.equal(packet.properties.contentType, "text/plain");
  assert.deepEqual(packet.properties.correlationData, Buffer.from([0, 255]));
  assert.equal(packet.properties.responseTopic, "answers");
  assert.equal(packet.properties.userProperties.colour, "blue");
  await client.endAsync();
});

test("topic aliases of version 5", async () => {
  const client = await connect({ protocolVersion: 5, autoAssignTopicAlias: true });
  const topic = unique();
  const { push, all } = arrivals(5);
  client.on("message", (topic) => push(topic));
  await client.subscribeAsync(topic, { qos: 1 });
  for (let number = 0; number < 5; number++) await client.publishAsync(topic, "x", { qos: 1 });
  assert.deepEqual(await all, Array(5).fill(topic));
  await client.endAsync();
});

test("a session is resumed with what came meanwhile", async () => {
  const options = { protocolVersion: 5, clientId: unique(), clean: false, properties: { sessionExpiryInterval: 300 } };
  const topic = unique();
  const first = await connect(options);
  await first.subscribeAsync(topic, { qos: 1 });
  await first.endAsync();
  const publisher = await connect({});
  await publisher.publishAsync(topic, "waited", { qos: 1 });
  await publisher.endAsync();
  const second = mqtt.connect(mqttUrl, { ...options, reconnectPeriod: 0 });
  const [[connack], [, payload]] = await Promise.all([once(second, "connect"), once(second, "message")]);
  assert.equal(connack.sessionPresent, true);
  assert.equal(String(payload), "waited");
  await second.endAsync();
});
