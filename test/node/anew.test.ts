// A node that finds itself departed begins a new incarnation within its process (R4): its doors stay open meanwhile, and say so.

import { mkdtempSync, rmSync } from "node:fs";
import { connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker.ts";
import { settingsWith } from "../../src/config.ts";
import { MemoryControl } from "../../src/control/memory.ts";
import type { ControlSnapshot } from "../../src/control/port.ts";
import { withResolver } from "../../src/node/promise.ts";
import { hostAndPort } from "../../src/base/address.ts";
import { connect } from "../../clients/device/src/index.ts";
import { call } from "../http/broker.ts";

/** A start reads the snapshot first: until the gate opens no incarnation begins. */
class GatedControl extends MemoryControl {
  gate: Promise<void> = Promise.resolve();

  override async snapshot(): Promise<ControlSnapshot> {
    await this.gate;
    return super.snapshot();
  }
}

const TEXT = { "content-type": "text/plain" };

let folder: string;
let broker: Broker;
const control = new GatedControl();
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bellhop-anew-"));
  const ports = { http: "127.0.0.1:0", device: "127.0.0.1:0", peer: "127.0.0.1:0" };
  broker = await startBroker(settingsWith({ data: folder, ...ports, cluster: "c", copies: 1, minCopies: 1, bootstrap: 1, bucketCount: 4, logLevel: "fatal", minFreeBytes: 0 }), { control });
});
afterAll(async () => {
  await broker.close();
  rmSync(folder, { recursive: true });
});

const incarnation = (): number => broker.node.status().incarnation;

/** Answers what lets the next incarnation begin. */
async function departed(seq: number): Promise<() => void> {
  const { promise, resolve } = withResolver();
  control.gate = promise;
  const address = { http: "", device: "", peer: "127.0.0.1:1" };
  await control.append(`n2.${seq}.1`, [{ type: "register", node: "n2", store: "s2", seen: seq - 1, clean: true, incomplete: [], address, zone: "z2" }]);
  await control.append(`n2.${seq}.2`, [{ type: "depart", node: "n1", incarnation: incarnation(), by: "n2", byIncarnation: seq, alive: ["n2"] }]);
  return resolve;
}

test("HTTP is answered all the time: 503 with Retry-After until the new incarnation takes over, and the process is told alive", async () => {
  const before = incarnation();
  const goOn = await departed(1);
  const away = await call(broker.httpAddress, "GET", "/v1/status", {});
  expect([away.status, away.json.code, away.json.retryable, away.headers["retry-after"]]).toEqual([503, "stopping", true, "1"]);
  expect((await call(broker.httpAddress, "GET", "/livez", {})).status).toBe(200);
  goOn();
  for (;;) { // a connection that is refused would throw
    const { status, json } = await call(broker.httpAddress, "GET", "/v1/status", {});
    expect([200, 503]).toContain(status);
    if (status === 200) {
      expect(json.incarnation).toBe(before + 1);
      break;
    }
  }
  const stored = await call(broker.httpAddress, "POST", "/v1/devices/lamp/messages", { body: "on", headers: TEXT });
  expect(stored.status).toBe(201);
});

test("a device is told when to come back, and comes back", async () => {
  const device = connect({ brokers: broker.deviceAddress, device: "lamp" });
  await device.publish("before");
  const goOn = await departed(2);
  const answered = new Promise<Buffer>((resolve, reject) => {
    const socket = dial(hostAndPort(broker.deviceAddress));
    socket.once("data", resolve).once("error", reject);
  });
  expect((await answered).toString("latin1")).toContain("stopping");
  goOn();
  await device.publish("after");
  await device.close();
  const { json } = await call(broker.httpAddress, "GET", "/v1/devices/lamp/stream?type=uplink", {});
  expect((json.entries as { payload: string }[]).map(({ payload }) => payload)).toEqual(["before", "after"]);
});
