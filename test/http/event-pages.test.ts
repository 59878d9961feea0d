// Followers share what they read: one read for all that are at the same place in the same turn, and nothing that is out of date.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBroker } from "../../src/broker.ts";
import { settingsWith } from "../../src/config.ts";
import { EventPages } from "../../src/http/event-pages.ts";
import { call } from "./broker.ts";

const data = mkdtempSync(join(tmpdir(), "bellhop-pages-"));
let broker: Awaited<ReturnType<typeof startBroker>>;
beforeAll(async () => {
  broker = await startBroker(settingsWith({ http: "127.0.0.1:0", device: "127.0.0.1:0", bucketCount: 4, logLevel: "fatal", data }));
});
afterAll(async () => {
  await broker.close();
  rmSync(data, { recursive: true });
});

const publish = async (device: string): Promise<void> => expect((await call(broker.httpAddress, "POST", `/v1/devices/${device}/messages`, { body: "x" })).status).toBe(201);

/** Pages of the real node, and how often it was read. `fromDisk`: as if nothing were in memory. */
function counted(fromDisk: boolean): { readonly pages: EventPages; readonly reads: () => number } {
  let reads = 0;
  const read: typeof broker.node.read = (device, options) => {
    reads += 1;
    return broker.node.read(device, options);
  };
  const readNow: typeof broker.node.readNow = (device, options) => {
    const page = fromDisk ? undefined : broker.node.readNow(device, options);
    if (page !== undefined) reads += 1;
    return page;
  };
  return { pages: new EventPages({ read, readNow }, 100_000), reads: () => reads };
}

describe.each([["in memory", false], ["on the disk", true]])("of what is %s", (_where, fromDisk) => {
  const [a, b, c] = ["a", "b", "c"].map((name) => `${name}-${fromDisk ? "cold" : "hot"}`) as [string, string, string];

  test("a page is read once for all that ask in a turn, and once more in a later one", async () => {
    await publish(a);
    await publish(a);
    const { pages, reads } = counted(fromDisk);
    const read = await Promise.all(Array.from({ length: 50 }, async () => pages.read(a, 0, undefined)));
    expect(reads()).toBe(1);
    expect(read[0]).toMatchObject({ next: 2, end: 2 });
    expect(read[0]?.events.toString().match(/^id: \d+$/gm)).toEqual(["id: 1", "id: 2"]);
    expect(new Set(read.map(({ events }) => events)).size).toBe(1);
    await nextTurn();
    await nextTurn();
    await pages.read(a, 0, undefined);
    expect(reads()).toBe(2);
  });

  test("another place, another stream and other types are other pages", async () => {
    await publish(b);
    const { pages, reads } = counted(fromDisk);
    const read = await Promise.all([pages.read(b, 0, undefined), pages.read(b, 1, undefined), pages.read(a, 0, undefined), pages.read(b, 0, ["uplink"]), pages.read(b, 0, ["downlink"])]);
    expect(reads()).toBe(5);
    expect(read.map(({ events }) => events.length > 0)).toEqual([true, false, true, false, true]);
  });

  test("an empty page is not kept: what comes in the same turn is seen", async () => {
    const { pages, reads } = counted(fromDisk);
    expect((await pages.read(c, 0, undefined)).events.length).toBe(0);
    await pages.read(c, 0, undefined);
    expect(reads()).toBe(2);
    await publish(c);
    expect((await pages.read(c, 0, undefined)).next).toBe(1);
  });
});
