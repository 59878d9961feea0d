// What HTTP answered is there after a restart on the same directory: entries, keys, state, positions.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runBroker, type RunningBroker } from "./broker.ts";

let data: string;
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), "bellhop-restart-"));
});
afterEach(() => rmSync(data, { recursive: true }));

const publish = (broker: RunningBroker, device: string, body: string, key: string) =>
  broker.call("POST", `/v1/devices/${device}/messages`, { body, headers: { "content-type": "text/plain", "idempotency-key": key } });

test("twice over: streams, keys and documents are as they were, and offsets go on", async () => {
  const devices = ["a", "b", "c", "d", "e"];
  for (let round = 0; round < 3; round += 1) {
    const broker = await runBroker({ data });
    for (const device of devices) {
      const before = await broker.call("GET", `/v1/devices/${device}/stream`);
      const payloads = (before.json as { entries: { payload: unknown }[] }).entries.map((entry) => entry.payload);
      expect(payloads.filter((payload) => typeof payload === "string")).toEqual(Array.from({ length: round }, (_, i) => `${device} ${i}`));

      // Every key of earlier rounds is known, with its first offset.
      for (let old = 0; old < round; old += 1) expect((await publish(broker, device, `${device} ${old}`, `k${old}`)).json).toEqual({ device, offset: String(2 * old + 1), duplicate: true });
      if (round > 0) expect((await broker.call("GET", `/v1/devices/${device}/state`)).json.desired).toEqual({ version: round, offset: String(2 * round), document: { round: round - 1 } });

      expect((await publish(broker, device, `${device} ${round}`, `k${round}`)).json).toEqual({ device, offset: String(2 * round + 1), duplicate: false });
      expect((await broker.call("PATCH", `/v1/devices/${device}/state`, { body: JSON.stringify({ round }) })).json).toMatchObject({ version: round + 1, offset: String(2 * round + 2) });
    }
    await broker.stop();
  }
});
