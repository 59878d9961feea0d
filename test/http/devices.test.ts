// The list of devices, one device, and its explanation.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
  for (const device of ["a", "b", "c", "d e"]) await publish(device, `hello ${device}`);
});
afterAll(() => broker.stop());

const publish = (device: string, body: string, headers: Record<string, string> = {}) =>
  broker.call("POST", `/v1/devices/${encodeURIComponent(device)}/messages`, { body, headers: { "content-type": "text/plain", ...headers } });

describe("the list", () => {
  test("goes page by page along its Link, each device once", async () => {
    const seen: string[] = [];
    let path: string | undefined = "/v1/devices?limit=3";
    for (let pages = 0; path !== undefined && pages < 10; pages += 1) {
      const reply = await broker.call("GET", path);
      seen.push(...(reply.json as { devices: { device: string }[] }).devices.map((one) => one.device));
      path = /<([^>]+)>; rel="next"/.exec(reply.headers["link"] as string | undefined ?? "")?.[1];
    }
    expect([...seen].sort()).toEqual(["a", "b", "c", "d e"]);
  });
});

describe("a device", () => {
  test("is shown with its positions", async () => {
    const reply = await broker.call("GET", "/v1/devices/a");
    expect(reply.json).toEqual({ device: "a", connected: false, end: "1", earliest: "1", delivered: "0", handled: "0", session: "0", lastSeries: "0", lastTime: expect.stringMatching(/^\d{4}-/) as string, retainSeconds: null, retainEntries: null });
  });

  test.each(["/v1/devices/nobody", "/v1/devices/nobody/explain"])("that nobody knows is 404: %s", async (path) => {
    const reply = await broker.call("GET", path);
    expect([reply.status, reply.json.code, reply.json.type]).toEqual([404, "unknown_device", "/errors/unknown_device"]);
  });
});

describe("explain", () => {
  test("tells the bucket, its government and that nothing waits", async () => {
    const reply = await broker.call("GET", "/v1/devices/a/explain");
    expect(reply.json).toMatchObject({ device: "a", leader: "n1", members: ["n1"], waits: null, followers: 0 });
    expect(reply.json.bucket).toBeLessThan(4);
    expect(Number(reply.json.commit)).toBeGreaterThan(0);
  });

  test("tells of an offset whether it is stored, and what it is", async () => {
    expect((await broker.call("GET", "/v1/devices/a/explain?offset=1")).json.offset).toMatchObject({ offset: "1", is: "stored", entry: { offset: "1", payload: "hello a" } });
    expect((await broker.call("GET", "/v1/devices/a/explain?offset=2")).json.offset).toEqual({ offset: "2", is: "absent" });
    expect((await broker.call("GET", "/v1/devices/a/explain?offset=0")).status).toBe(400);
  });

  test("tells of a key whether it is stored, and where", async () => {
    await publish("b", "keyed", { "idempotency-key": "k1" });
    expect((await broker.call("GET", "/v1/devices/b/explain?key=k1")).json.key).toMatchObject({ key: "k1", is: "stored", offset: "2" });
    expect((await broker.call("GET", "/v1/devices/b/explain?key=k2")).json.key).toMatchObject({ key: "k2", is: "absent" });
  });

  test("a key may stand in quotes, as in Idempotency-Key, and is checked as there", async () => {
    await publish("quoted", "keyed", { "idempotency-key": `"q1"` });
    for (const key of ["q1", "%22q1%22"]) expect((await broker.call("GET", `/v1/devices/quoted/explain?key=${key}`)).json.key).toMatchObject({ key: "q1", is: "stored" });
    for (const key of ["", "%22%22", "a%20b", "x".repeat(256)]) expect((await broker.call("GET", `/v1/devices/quoted/explain?key=${key}`)).status).toBe(400);
  });

  test("counts the followers of the device", async () => {
    const events = await broker.follow("/v1/devices/c/stream");
    await events.take(1);
    expect((await broker.call("GET", "/v1/devices/c/explain")).json.followers).toBe(1);
    expect((await broker.call("GET", "/v1/devices/a/explain")).json.followers).toBe(0);
    events.close();
  });
});
