// The whole node: table, buckets, gateway and coordinator as one, over several nodes.

import { describe, expect, test } from "vitest";
import type { GatewayRequest } from "../../../src/core/gateway/types.ts";
import { PUBLISH_KIND } from "../../../src/core/hop.ts";
import { body } from "../stream/driver.ts";
import { NODE_LIMITS, NodeCluster } from "./cluster.ts";
import { TestDevice } from "./device.ts";

const keyed = (device: string, key: string): GatewayRequest => ({ type: "keyed", device, key, fingerprint: "0".repeat(32), body: body(key), expires: 0 });

/** Three nodes, n1 leads the one bucket; `heard` is what devices and links said since the last look. */
function three(): { readonly cluster: NodeCluster; readonly heard: (about?: string) => string[] } {
  const lines: string[] = [];
  const cluster = new NodeCluster((line) => lines.push(line));
  cluster.begin(["n1", "n2", "n3"], 2);
  lines.length = 0;
  return { cluster, heard: (about = "") => lines.splice(0).filter((line) => line.startsWith(about)) };
}

describe("a device", () => {
  test.each(["n1", "n2"])("at %s publishes to the leader n1, and is acknowledged once every member has it", (node) => {
    const { cluster, heard } = three();
    const device = cluster.device("d1");
    cluster.enter(node, (core) => device.dial(core));
    cluster.settle();
    cluster.slow("n3");
    cluster.enter(node, () => device.publish(3));
    cluster.settle();
    expect(heard("d1")).toEqual(["d1 hears WELCOME session 2 last 0"]);
    cluster.fast("n3");
    cluster.settle();
    expect(heard("d1").at(-1)).toBe("d1 hears ACK 3");
    expect(cluster.stream("d1")).toEqual(["up", "1", "2", "3"]);
  });

  test("with two sockets of one session, that forgets what it gave, breaks its line and no node", () => {
    const { cluster, heard } = three();
    const first = cluster.device("d1");
    cluster.enter("n1", (core) => first.dial(core));
    cluster.settle();
    const second = new TestDevice("d1", (line) => cluster.journal(`second hears ${line}`));
    second.session = first.session;
    cluster.enter("n1", (core) => second.dial(core));
    for (const id of ["n2", "n3"]) cluster.slow(id); // its resume is in the log, and not yet applied
    cluster.settle();
    cluster.enter("n1", () => first.publish(2));
    cluster.fast("n2");
    cluster.fast("n3");
    cluster.settle();
    expect(heard("second")).toEqual(["second hears WELCOME session 2 last 0", "second hears BROKEN last 2"]);
    expect(heard()).toEqual([]);
  });
});

test("a broken connection between two nodes: what was on it is sent again at once", () => {
  const { cluster, heard } = three();
  const device = cluster.device("d1");
  cluster.enter("n3", (core) => device.dial(core));
  cluster.settle();
  cluster.hold("n3>n1");
  cluster.hold("n1>n3");
  cluster.enter("n3", () => device.publish(3));
  cluster.settle();
  cluster.cut("n3", "n1");
  cluster.heal("n3>n1");
  cluster.heal("n1>n3");
  cluster.settle();
  expect(heard("d1").slice(1)).toEqual(["d1 hears CREDIT 0", "d1 hears CREDIT 8", "d1 hears ACK 1", "d1 hears ACK 2", "d1 hears ACK 3"]);
  expect(cluster.stream("d1")).toEqual(["up", "1", "2", "3"]);
});

describe("the numbers that are void", () => {
  test("are told with their codes by a new leader too, before the ACK that covers them (R27)", () => {
    const { cluster, heard } = three();
    const device = cluster.device("d1");
    cluster.enter("n3", (core) => device.dial(core));
    cluster.settle();
    heard();
    cluster.hold("n1>n3");
    const bad = body("no object");
    cluster.enter("n3", () => device.socket!.line.publish(1, PUBLISH_KIND.statePatch, bad, 0, bad.length));
    cluster.settle();
    cluster.drop("n1>n3");
    cluster.crash("n1");
    cluster.depart("n1", "n2");
    cluster.settle();
    expect(heard("d1")).toEqual(["d1 hears CREDIT 0", "d1 hears VOID 1 bad_document", "d1 hears ACK 1", "d1 hears CREDIT 8"]);
  });
});

describe("presence (R33)", () => {
  test("goes down with the node that holds the socket", () => {
    const { cluster } = three();
    const device = cluster.device("d1");
    cluster.enter("n3", (core) => device.dial(core));
    cluster.settle();
    cluster.crash("n3");
    cluster.depart("n3", "n1");
    cluster.settle();
    expect(cluster.stream("d1")).toEqual(["up", "down(gateway_lost)"]);
  });

  test("and with its restart, whoever leads then", () => {
    const { cluster } = three();
    const device = cluster.device("d1");
    cluster.enter("n1", (core) => device.dial(core));
    cluster.settle();
    cluster.crash("n1");
    cluster.start("n1");
    cluster.pass(300);
    expect(cluster.table.bucket(0)).toMatchObject({ leader: "n1", epoch: 2 });
    expect(cluster.stream("d1")).toEqual(["up", "down(gateway_lost)"]);
  });

  test("goes down with the socket, also when the word of it is lost on the way, or meets a leader that is none yet", () => {
    const { cluster } = three();
    const [one, two] = [cluster.device("d1"), cluster.device("d2")];
    for (const device of [one, two]) cluster.enter("n3", (core) => device.dial(core));
    cluster.settle();
    cluster.hold("n3>n1");
    cluster.enter("n3", () => one.hangUp());
    expect(cluster.drop("n3>n1")).toHaveLength(1);
    cluster.heal("n3>n1");
    cluster.pass(200);
    expect(cluster.stream("d1")).toEqual(["up", "down(closed)"]);
    cluster.blind("n2");
    cluster.lead(0, "n2");
    cluster.enter("n3", () => two.hangUp());
    cluster.settle();
    expect(cluster.core("n3").gateway.counts).toMatchObject({ lines: 0, detaches: 1 });
    cluster.see("n2");
    cluster.pass(200);
    expect(cluster.stream("d2")).toEqual(["up", "down(closed)"]);
    expect(cluster.core("n3").gateway.counts).toEqual({ lines: 0, waitingLines: 0, requests: 0, detaches: 0 });
  });

  test("comes back under the device's next socket", () => {
    const { cluster } = three();
    const device = cluster.device("d1");
    cluster.enter("n3", (core) => device.dial(core));
    cluster.settle();
    cluster.enter("n3", () => device.hangUp());
    cluster.enter("n2", (core) => device.dial(core));
    cluster.settle();
    cluster.enter("n2", () => device.publish(1));
    cluster.settle();
    const stream = cluster.stream("d1");
    expect(stream.filter((word) => word === "up")).toHaveLength(2);
    expect(stream.slice(-2)).toEqual(["up", "1"]);
  });
});

describe("a request", () => {
  test("is answered once at whichever node it is asked, the same key with the same offset", () => {
    const { cluster } = three();
    const answers = ["n1", "n2", "n3"].map((id) => cluster.request(id, keyed("d1", "k1")));
    cluster.settle();
    expect(answers.map(([answer]) => answer)).toMatchObject([
      { type: "stored", offset: 1, duplicate: false },
      { type: "stored", offset: 1, duplicate: true },
      { type: "stored", offset: 1, duplicate: true },
    ]);
    expect(answers.map((given) => given.length)).toEqual([1, 1, 1]);
  });

  test("by a table that is behind is refused, asked again, and answered in the end (C8)", () => {
    const { cluster, heard } = three();
    cluster.blind("n3");
    cluster.lead(0, "n2");
    cluster.settle();
    const answers = cluster.request("n3", keyed("d1", "k1"));
    cluster.settle();
    expect(heard()).toEqual(["n3 → n1 keyed k1 (epoch 1)", "n1 → n3 failed: stale_table"]);
    cluster.pass(20);
    expect(heard()).toContain("n1 → n3 failed: stale_table");
    cluster.see("n3");
    cluster.settle();
    expect(answers).toMatchObject([{ type: "stored", offset: 1 }]);
  });

  test("to a leader that has just heard of the next one is refused, not kept", () => {
    const { cluster, heard } = three();
    for (const id of ["n1", "n3"]) cluster.blind(id);
    cluster.lead(0, "n2");
    cluster.settle(); // n2's first Append has reached n1
    cluster.request("n3", keyed("d1", "k1"));
    cluster.settle();
    expect(heard()).toEqual(["n3 → n1 keyed k1 (epoch 1)", "n1 → n3 failed: stale_table"]);
  });

  test("of a former epoch is refused by the same node in the next one", () => {
    const { cluster, heard } = three();
    cluster.blind("n3");
    cluster.lead(0, "n2");
    cluster.lead(0, "n1");
    cluster.pass(200);
    heard();
    cluster.request("n3", keyed("d1", "k1"));
    cluster.settle();
    expect(heard()).toEqual(["n3 → n1 keyed k1 (epoch 1)", "n1 → n3 failed: stale_table"]);
  });

  test("held by a node that ends is answered by nobody, and what was taken of it is kept (B9)", () => {
    const { cluster } = three();
    const answers = cluster.request("n3", keyed("d1", "k1"));
    cluster.hold("n1>n3");
    cluster.settle();
    cluster.crash("n3");
    cluster.start("n3");
    cluster.heal("n1>n3");
    cluster.pass(300);
    expect(answers).toEqual([]);
    const again = cluster.request("n3", keyed("d1", "k1"));
    cluster.pass(100);
    expect(again).toMatchObject([{ type: "stored", offset: 1, duplicate: true }]);
  });
});

describe("the node's log", () => {
  test("tells each bucket's replica what is durable of the tickets they share", () => {
    const cluster = new NodeCluster(undefined, { gateway: { ...NODE_LIMITS.gateway, requests: 100 } });
    cluster.begin(["n1"], 1, 4);
    const devices = Array.from({ length: 12 }, (_, i) => `d${i}`);
    const buckets = new Set(devices.map((device) => cluster.table.bucketOfDevice(device).id));
    expect(buckets.size).toBeGreaterThan(2);
    cluster.slow("n1");
    const answers = devices.map((device) => cluster.request("n1", keyed(device, "k")));
    cluster.settle();
    expect(answers.flat()).toEqual([]);
    cluster.fast("n1");
    cluster.settle();
    expect(answers.flat().map(({ type }) => type)).toEqual(devices.map(() => "stored"));
  });

  test("is durable group by group, and each answer waits for its own", () => {
    const cluster = new NodeCluster();
    cluster.begin(["n1"], 1, 4);
    const first = "d0";
    const second = ["d1", "d2", "d3", "d4"].find((device) => cluster.table.bucketOfDevice(device).id !== cluster.table.bucketOfDevice(first).id)!;
    cluster.slow("n1");
    const one = cluster.request("n1", keyed(first, "k"));
    cluster.settle();
    const ticket = cluster.ticket("n1");
    const two = cluster.request("n1", keyed(second, "k"));
    cluster.settle();
    cluster.enter("n1", (core) => core.durable(ticket));
    cluster.settle();
    expect([one.length, two.length]).toEqual([1, 0]);
    cluster.enter("n1", (core) => core.durable(cluster.ticket("n1")));
    cluster.settle();
    expect([one.length, two.length]).toEqual([1, 1]);
  });

  test("of one node alone keeps what it answered over a crash", () => {
    const cluster = new NodeCluster();
    cluster.begin(["n1"], 1);
    cluster.request("n1", keyed("d1", "k1"));
    cluster.settle();
    cluster.slow("n1");
    const lost = cluster.request("n1", keyed("d1", "k2"));
    cluster.settle();
    cluster.crash("n1");
    cluster.fast("n1");
    cluster.start("n1");
    cluster.settle();
    expect(lost).toEqual([]);
    expect(cluster.stream("d1")).toEqual(["downlink"]);
  });
});

test("after an accepted loss the sessions of before are broken (R9)", () => {
  const lines: string[] = [];
  const cluster = new NodeCluster((line) => lines.push(line));
  cluster.begin(["n1"], 1);
  const device = cluster.device("d1");
  cluster.enter("n1", (core) => device.dial(core));
  cluster.settle();
  cluster.enter("n1", () => device.publish(2));
  cluster.settle();
  cluster.crash("n1");
  cluster.start("n1", false);
  cluster.settle();
  expect(cluster.table.bucket(0).state).toBe("dark");
  cluster.control({ type: "forceUnclean", bucket: 0, node: "n1", incarnation: 2 });
  cluster.settle();
  lines.length = 0;
  cluster.enter("n1", (core) => device.dial(core));
  cluster.settle();
  expect(lines).toEqual(["d1 hears BROKEN last 2"]);
  device.session = 0;
  cluster.enter("n1", (core) => device.dial(core, 2n));
  cluster.settle();
  expect(lines.at(-1)).toMatch(/^d1 hears WELCOME session \d+ last 0$/);
});

test("a full disk holds for copies that come later too", () => {
  const cluster = new NodeCluster();
  cluster.begin(["n1", "n2", "n3"], 2);
  cluster.start("n4");
  cluster.enter("n4", (core) => (core.storageFull = true));
  cluster.join(0, "n4");
  cluster.pass(500);
  cluster.decide();
  cluster.lead(0, "n4");
  cluster.settle();
  const answers = cluster.request("n2", keyed("d1", "k1"));
  cluster.pass(100);
  expect(answers).toMatchObject([{ type: "failed", code: "storage_full" }]);
  expect(cluster.core("n4").copy(0)?.replica.role).toBe("leader");
});

test("a change of the settings reaches every bucket: below minCopies nothing is acknowledged (B4)", () => {
  const { cluster } = three();
  cluster.crash("n3");
  cluster.depart("n3", "n1");
  cluster.settle();
  cluster.control({ type: "settings", settings: { copies: 3, minCopies: 3 } });
  const answers = cluster.request("n2", keyed("d1", "k1"));
  cluster.settle();
  expect(answers).toEqual([]);
  cluster.control({ type: "settings", settings: { copies: 3, minCopies: 2 } });
  cluster.settle();
  expect(answers).toMatchObject([{ type: "stored" }]);
});
