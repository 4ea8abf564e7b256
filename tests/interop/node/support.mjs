// Where the broker is, and names that no other test uses. The addresses come from tests/interop/run.

import { randomUUID } from "node:crypto";

export const amqpUrl = `amqp://guest:guest@${process.env.INTEROP_AMQP}`;
export const mqttUrl = `mqtt://${process.env.INTEROP_MQTT}`;
export const awsUrl = `http://${process.env.INTEROP_AWS}`;

export const unique = () => `it-${randomUUID().slice(0, 12)}`;

/** Resolves with the next `count` calls of the returned `push`; rejects when they do not come. */
export function arrivals(count, patienceMs = 10_000) {
  const got = [];
  let push;
  const all = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${got.length} of ${count} arrived`)), patienceMs);
    push = (item) => {
      got.push(item);
      if (got.length === count) {
        clearTimeout(timer);
        resolve(got);
      }
    };
  });
  return { push, all };
}
