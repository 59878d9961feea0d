// How a node is stopped: SIGTERM drains, a second one stops at once; and a second node on the same directory is refused.

import { once } from "node:events";
import { request } from "node:http";
import type { Socket } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { EXIT } from "../../src/cli/exit.ts";
import { CLOSE, HELLO, WELCOME, Wire } from "../device/minimal-client.ts";
import { end, NodeProcess, testFolder } from "./node.ts";

const folder = testFolder("stop");
let node: NodeProcess | undefined;
afterEach(() => end(node));
afterAll(() => folder.remove());

async function welcomed(at: string): Promise<Wire> {
  const wire = new Wire(at);
  wire.send([HELLO, 1, "d", "", 0, 1n, 1, 1]);
  await wire.await(WELCOME);
  return wire;
}

/** A publish whose body has begun to arrive. */
async function begun(at: string): Promise<{ finish(): Promise<number | undefined> }> {
  const publish = request(`http://${at}/v1/devices/d/messages`, { method: "POST", headers: { "content-length": "2", "content-type": "text/plain" } });
  publish.on("error", () => undefined); // the node may be gone before it has answered
  publish.write("o");
  const [socket] = (await once(publish, "socket")) as [Socket];
  if (socket.connecting) await once(socket, "connect");
  return {
    async finish() {
      const answered = once(publish, "response");
      publish.end("k");
      const [response] = (await answered) as [{ statusCode?: number; resume(): void }];
      response.resume();
      return response.statusCode;
    },
  };
}

test("SIGTERM: devices are told when to come back, requests that have begun are answered, and it ends with 0", async () => {
  node = await NodeProcess.start(join(folder.path, "drains"));
  const wire = await welcomed(node.device);
  const publish = await begun(node.http);
  expect((await node.call("GET", "/livez")).status).toBe(200); // what was sent before it has arrived
  node.child.kill("SIGTERM");
  const close = await wire.next();
  expect([close?.[0], close?.[1], close?.[4]]).toEqual([CLOSE, "stopping", true]);
  expect(close?.[3]).toBeGreaterThan(0);
  expect([201, 503]).toContain(await publish.finish());
  expect((await node.ended()).code).toBe(EXIT.ok.code);
});

test("a second SIGTERM stops what drains, and nothing is lost", async () => {
  const data = join(folder.path, "stops");
  node = await NodeProcess.start(data);
  expect((await node.publish("d", "kept")).status).toBe(201);
  await begun(node.http); // and never finished: the drain waits for it
  expect((await node.call("GET", "/livez")).status).toBe(200);
  node.child.kill("SIGTERM");
  while (!node.said.includes("once more stops at once")) await once(node.child.stderr!, "data");
  expect((await node.stop()).code).toBe(EXIT.interrupted.code);
  node = await NodeProcess.start(data);
  expect((await node.stream("d")).map(({ payload }) => payload)).toEqual(["kept"]);
});

test("a directory that another process has open is refused, and that one goes on", async () => {
  node = await NodeProcess.start(join(folder.path, "in-use"));
  const { code, stderr } = await (await NodeProcess.launch(node.data)).ended();
  expect(code).toBe(EXIT.inUse.code);
  expect(stderr).toContain(`error locked: Process ${node.child.pid} has ${node.data} open. Stop it first, or use another directory.`);
  expect(stderr).not.toContain("    at ");
  expect((await node.publish("d", "x")).status).toBe(201);
});
