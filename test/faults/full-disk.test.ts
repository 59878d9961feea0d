// A disk that fills up under load: writes wait and are refused in words, reads go on, and when there is room again everything goes on by
// itself.

import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { follow } from "../http/broker.ts";
import { CLOSE, HELLO, PING, PONG, PUBLISH, REFUSE, WELCOME, Wire } from "../device/minimal-client.ts";
import { Load } from "./load.ts";
import { end, NodeProcess, testFolder } from "./node.ts";
import { SmallDisk } from "./small-disk.ts";

const DISK_MIB = 28;
const BALLAST_MIB = 14;
const TIMEOUT = 60_000;
const REST_MS = 500;
const FLAGS = ["--segment-bytes", "1MiB", "--checkpoint-seconds", "1"];

const folder = testFolder("full");
let disk: SmallDisk;
let node: NodeProcess | undefined;
let count = 0;
beforeEach(async () => {
  count += 1;
  disk = await SmallDisk.mount(join(folder.path, `disk-${count}`), DISK_MIB);
});
afterEach(async () => {
  end(node);
  await disk.unmount();
});
afterAll(() => folder.remove());

const until = (what: () => Promise<boolean>): Promise<void> => expect.poll(what, { timeout: TIMEOUT }).toBe(true);

/** What holds as soon as the disk is full, whatever filled it. What waits for the disk already may hear `deadline`: nobody knows of it yet. */
async function expectRefusals(full: NodeProcess): Promise<void> {
  await until(async () => (await full.metric("storage_full")) === 1);
  const refusal = await full.publish("device-0", "too late");
  expect([refusal.json.code, refusal.status, refusal.json.retryable, refusal.headers["retry-after"]]).toEqual(["storage_full", 503, true, "5"]);
  expect((await full.call("GET", "/v1/status")).json).toMatchObject({ ready: false, why: [expect.stringContaining("the disk is full") as string] });
}

/** A device of before that publishes now is refused, keeps its connection, and is not answered otherwise. */
async function expectRefuse(wire: Wire): Promise<void> {
  wire.send([PUBLISH, 1, 0, ["now", null, null]]);
  expect(await wire.await(REFUSE)).toEqual([REFUSE, 1, "storage_full", true]);
  wire.send([PING]);
  expect((await wire.await(PONG))[0]).toBe(PONG);
}

test("a disk that is full to the last byte", { timeout: 2 * TIMEOUT }, async () => {
  disk.writeBallast(BALLAST_MIB);
  node = await NodeProcess.start(join(disk.path, "data"), { through: disk.through, flags: [...FLAGS, "--min-free-bytes", "0"] });
  const quiet = new Wire(node.device);
  quiet.send([HELLO, 1, "quiet", "", 0, 1n, 1, 1]);
  await quiet.await(WELCOME);
  const followed = await follow(node.http, "/v1/devices/device-1/stream?after=0", {});
  const load = new Load(node);
  await load.flows();

  await expectRefusals(node);
  await expectRefuse(quiet);
  // Everything that a follower had not yet read comes now.
  const { json } = await node.call("GET", "/v1/devices/device-1");
  const events = await followed.take(Number(json.end));
  expect(events.map(({ id }) => id)).toEqual(events.map((_one, i) => String(i + 1)));
  followed.close();
  expect((await node.call("GET", "/v1/devices/device-0/stream?limit=1")).json.entries).toHaveLength(1);
  await until(async () => (await node!.metric("checkpoints_without_room_total")) > 1);
  const checkpoints = await node.metric("checkpoints_total");
  for (const { client } of load.devices) expect(client.connection).toBe("connected");
  const answered = load.answered;
  expect((await node.publish("device-0", "more")).json.code).toBe("storage_full");
  expect(load.answered).toBe(answered);

  load.restMs = REST_MS;
  load.restMs = REST_MS;
  disk.removeBallast();
  await load.flows();
  await until(async () => (await node!.metric("storage_full")) === 0 && (await node!.metric("checkpoints_total")) > checkpoints);
  await load.stop();
  expect(await load.violations(node)).toEqual([]);
  quiet.send([PUBLISH, 1, 0, ["again", null, null]]);
  await until(async () => (await node!.stream("quiet")).some(({ type }) => type === "uplink"));
  quiet.end();

  expect((await node.stop("SIGKILL")).code).toBe(null);
  node = await NodeProcess.start(node.data, { through: disk.through, flags: FLAGS });
  expect(await load.violations(node)).toEqual([]);
  expect((await node.stop()).code).toBe(0);
});

test("less free than minFreeBytes: checkpoints still have room", { timeout: 2 * TIMEOUT }, async () => {
  node = await NodeProcess.start(join(disk.path, "data"), { through: disk.through, flags: [...FLAGS, "--min-free-bytes", "8MiB"] });
  const quiet = new Wire(node.device);
  quiet.send([HELLO, 1, "quiet", "", 0, 1n, 1, 1]);
  await quiet.await(WELCOME);
  const load = new Load(node);
  await load.flows();
  disk.writeBallast(BALLAST_MIB);

  await expectRefusals(node);
  await expectRefuse(quiet);
  quiet.end();
  const newcomer = new Wire(node.device);
  newcomer.send([HELLO, 1, "newcomer", "", 0, 1n, 1, 1]);
  expect(await newcomer.next()).toEqual([CLOSE, "storage_full", "The disk is full; reads go on, writes wait for space.", expect.any(Number), true]);
  const checkpoints = await node.metric("checkpoints_total");
  expect((await node.call("PUT", "/v1/devices/device-0/state", { body: "{}" })).json.code).toBe("storage_full");
  load.restMs = REST_MS;
  disk.removeBallast();
  await load.flows();
  await until(async () => (await node!.metric("checkpoints_total")) > checkpoints);
  expect(await node.metric("checkpoints_without_room_total")).toBe(0);
  await load.stop();
  expect(await load.violations(node)).toEqual([]);
  expect((await node.stop()).code).toBe(0);
});

test("a start on a disk without room says so, changes nothing, and works when there is room", { timeout: TIMEOUT }, async () => {
  node = await NodeProcess.start(join(disk.path, "data"), { through: disk.through, flags: [...FLAGS, "--min-free-bytes", "0"] });
  expect((await node.publish("d", "before")).status).toBe(201);
  await node.stop("SIGKILL");
  expect(() => disk.writeBallast(DISK_MIB)).toThrow("ENOSPC");
  const failed = await NodeProcess.launch(node.data, { through: disk.through, flags: FLAGS });
  const { code, stderr } = await failed.ended();
  expect(code).toBe(5);
  expect(stderr).toMatch(/error storage_full: There is no room on the disk of .*\n(.*\n)* +next: make room there/);
  expect(stderr).not.toContain("    at ");
  disk.removeBallast();
  node = await NodeProcess.start(node.data, { through: disk.through, flags: [...FLAGS, "--min-free-bytes", "0"] });
  expect((await node.stream("d")).map(({ payload }) => payload)).toEqual(["before"]);
});
