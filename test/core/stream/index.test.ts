// The index of a stream: offsets to log indexes over chunks, the floor, removal; the log payloads' codec; watchers.

import { describe, expect, test } from "vitest";
import { BrokenInvariant } from "../../../src/base/assert.ts";
import { ENTRY_KIND } from "../../../src/core/entry.ts";
import { murmur3 } from "../../../src/core/hash.ts";
import { COMMAND, commandOf, decodeCommand, encodeCommand, type Command } from "../../../src/core/stream/commands.ts";
import { reversed } from "../../../src/core/stream/names.ts";
import { earliest, indexesOf, REMOVED_TYPE } from "../../../src/core/stream/view.ts";
import { Bench } from "./driver.ts";

function filled(devices: readonly string[], messages: number, bench = new Bench().open()): Bench {
  const handles = devices.map((device) => bench.device(device).handle);
  for (let series = 1; series <= messages; series += 1) {
    for (const handle of handles) bench.publish(handle, series);
    if (series % 50 === 0) bench.commit();
    if (series % 200 === 0) bench.checkpoint();
  }
  bench.commit();
  return bench;
}

function floor(bench: Bench, index: number): void {
  const payload = new Uint8Array(6);
  new DataView(payload.buffer).setUint32(2, index);
  bench.append(ENTRY_KIND.floor, payload);
  bench.commit();
}

describe("offsets", () => {
  test("are 1, 2, 3, … within each device, found over many chunks", () => {
    const bench = filled(["a", "b"], 500);
    for (const id of ["a", "b"]) {
      const stream = bench.stream(id);
      expect(stream.map(({ offset }) => offset)).toEqual(Array.from({ length: 501 }, (_, i) => i + 1));
      expect(stream.slice(1).map(({ series }) => series)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    }
    const device = bench.machine.devices.find("a")!;
    const all = indexesOf(bench.machine, device, 1, 501).indexes;
    for (const [from, to] of [[1, 1], [127, 130], [128, 128], [129, 129], [256, 257], [501, 501], [500, 999], [600, 700]] as const) {
      expect(indexesOf(bench.machine, device, from, to).indexes).toEqual(all.slice(from - 1, to));
    }
  });

  test("below the floor are no longer kept; whole chunks below it go when the next one is sealed", () => {
    const bench = filled(["a"], 600);
    const device = (): NonNullable<ReturnType<typeof bench.machine.devices.find>> => bench.machine.devices.find("a")!;
    const all = indexesOf(bench.machine, device(), 1, device().end).indexes;
    floor(bench, all[299]!);
    expect(earliest(bench.machine, device())).toBe(300);
    expect(indexesOf(bench.machine, device(), 1, 302)).toEqual({ first: 300, indexes: all.slice(299, 302) });
    expect(device().firstChunk).toBe(0);
    const { handle } = bench.ask("attached", { type: "reattach", device: "a", publisher: "", session: device().own!.number, nonce: 99n, attachment: device().own!.attachment });
    for (let series = 601; series <= 700; series += 1) bench.publish(handle, series);
    bench.commit();
    expect(device().firstChunk).toBe(2);
    expect(earliest(bench.machine, device())).toBe(300);
    floor(bench, bench.entries.length + 1);
    expect(earliest(bench.machine, device())).toBe(device().end + 1);
    expect(bench.machine.snapshot()).toEqual(bench.replayed().snapshot());
  });

  test("a floor never falls", () => {
    const bench = filled(["a"], 10);
    floor(bench, 9);
    floor(bench, 3);
    expect(bench.machine.floor).toBe(9);
  });
});

describe("removal", () => {
  test("takes everything of the device with it, its chunks a bounded number at a time; a new one of its name begins at 1", () => {
    const bench = filled(["a"], 128 * 70);
    bench.ask("changed", { type: "state", device: "a", which: "desired", how: "put", document: new TextEncoder().encode("{}"), ifVersion: undefined });
    const { handle } = bench.device("a", 2n);
    bench.forget();
    bench.ask("done", { type: "remove", device: "a" });
    expect(bench.take("takenOver")).toHaveLength(1);
    bench.publish(handle, 1);
    bench.ask("stored", { type: "keyed", device: "a", key: "k", fingerprint: "", body: new Uint8Array(1), expires: 0 });
    expect(bench.stream("a").map(({ offset, type }) => [offset, type])).toEqual([[1, "downlink"]]);
    bench.checkpoint();
    expect([...bench.store.range("x/")]).toEqual([]);
    expect([...bench.store.range("s/")]).toEqual([]);
    expect([...bench.store.range("a/")]).toEqual([]);
    expect(bench.ask("failed", { type: "remove", device: "none" }).code).toBe("unknown_device");
  });
});

describe("a removed device's keys", () => {
  const keyed = (device: string, key: string) => ({ type: "keyed", device, key, fingerprint: "", body: new Uint8Array(1), expires: 0 }) as const;

  test("go with the entries that follow, those of a new device of its name stay; room and eviction stay right", () => {
    const bench = new Bench({ keyRetentionMs: 10, keySpaceBytes: 100_000 }).open();
    bench.ask("stored", keyed("b", "first"));
    for (let i = 0; i < 150; i += 1) bench.ask("stored", keyed("a", `k${i}`));
    bench.ask("stored", keyed("b", "last"));
    const before = bench.machine.keys.bytes;
    bench.checkpoint();
    bench.ask("done", { type: "remove", device: "a" });
    expect(bench.ask("stored", keyed("a", "k7"))).toMatchObject({ offset: 1, duplicate: false });
    for (let i = 0; i < 4; i += 1) bench.ask("done", { type: "create", device: "c" });
    expect(bench.machine.removals.left).toBe(0);
    bench.checkpoint();
    expect([...bench.store.range("k/")]).toHaveLength(3);
    expect([...bench.store.range("q/")]).toHaveLength(4); // the place of the key that was used again goes by its age
    expect(bench.machine.keys.bytes).toBeLessThan(before / 20);
    expect(bench.ask("stored", keyed("a", "k7"))).toMatchObject({ offset: 1, duplicate: true });

    bench.admission.wall += 1000; // all are old now: the queue passes the places of those that went
    for (let i = 0; i < 8; i += 1) bench.ask("stored", keyed("d", `new${i}`));
    bench.checkpoint();
    expect([...bench.store.range("q/")]).toHaveLength(8);
    expect(bench.machine.snapshot()).toEqual(bench.replayed().snapshot());
  });
});

describe("a device's own retention", () => {
  test("by count: only the last ones are kept, whole chunks below go", () => {
    const bench = filled(["a"], 300);
    bench.ask("done", { type: "create", device: "a", retain: { seconds: 0, entries: 10 } });
    expect(bench.stream("a").map(({ offset }) => offset)).toEqual(Array.from({ length: 10 }, (_, i) => 292 + i));
    const { handle } = bench.device("a", 2n);
    for (let series = 1; series <= 200; series += 1) {
      bench.publish(handle, series);
      if (series % 50 === 0) bench.commit();
    }
    bench.commit();
    const device = bench.machine.devices.find("a")!;
    expect([earliest(bench.machine, device), device.firstChunk]).toEqual([device.end - 9, 2]);
    bench.ask("done", { type: "create", device: "a" }); // says nothing of it: stays
    expect(device.retain.entries).toBe(10);
    expect(bench.machine.snapshot()).toEqual(bench.replayed().snapshot());
  });

  test("by age: such devices are listed, until they are so no more", () => {
    const bench = new Bench().open();
    for (const device of ["a", "b", "c"]) bench.ask("done", { type: "create", device, retain: { seconds: device === "b" ? 0 : 60, entries: 0 } });
    bench.checkpoint();
    expect([...bench.machine.aging("")].map(({ id }) => id).sort()).toEqual(["a", "c"]);
    bench.ask("done", { type: "remove", device: "a" });
    bench.ask("done", { type: "create", device: "c", retain: { seconds: 0, entries: 0 } });
    expect([...bench.machine.aging("")]).toEqual([]);
  });
});

describe("removals", () => {
  test("are remembered until the log has forgotten the entries", () => {
    const bench = filled(["a", "b"], 10);
    bench.ask("done", { type: "remove", device: "a" });
    const removedAt = bench.entries.length;
    bench.ask("done", { type: "remove", device: "b" });
    expect([...bench.machine.removals.from(1)]).toEqual([{ index: removedAt, device: "a", since: 2 }, { index: removedAt + 1, device: "b", since: 3 }]);
    expect([...bench.machine.removals.from(removedAt + 1)]).toHaveLength(1);
    floor(bench, removedAt + 1);
    expect([...bench.machine.removals.from(1)].map(({ device }) => device)).toEqual(["b"]);
  });
});

describe("listing", () => {
  test("gives every known device once, from any place on, stored or not", () => {
    const bench = new Bench().open();
    const ids = Array.from({ length: 30 }, (_, i) => `d${i}`);
    for (const [i, device] of ids.entries()) {
      bench.ask("done", { type: "create", device });
      if (i === 20) bench.checkpoint();
    }
    const place = (id: string): number => reversed(murmur3(id));
    const listed = [...bench.machine.devices.list("")].map(({ id }) => id);
    expect(listed).toEqual([...ids].sort((a, b) => place(a) - place(b)));
    expect([...bench.machine.devices.list(listed[11]!)].map(({ id }) => id)).toEqual(listed.slice(12));
  });

  test("names of the half that splits off are a range", () => {
    for (const id of ["a", "device-17", "ünïcode"]) expect(reversed(murmur3(id)) >>> 31).toBe(murmur3(id) & 1);
    expect(reversed(0x80000001)).toBe(0x80000001);
    expect(reversed(1)).toBe(0x80000000);
  });
});

describe("watching", () => {
  test("tells which types came, for watched devices only, once", () => {
    const bench = new Bench().open();
    bench.machine.watch("a");
    const { handle } = bench.device("a");
    const other = bench.device("b");
    expect(bench.machine.takeMoved()).toEqual(new Map([["a", 4]]));
    bench.publish(handle, 1);
    bench.publish(other.handle, 1);
    bench.ask("stored", { type: "keyed", device: "a", key: "k", fingerprint: "", body: new Uint8Array(1), expires: 0 });
    expect(bench.machine.takeMoved()).toEqual(new Map([["a", 3]]));
    expect(bench.machine.takeMoved()).toBeUndefined();
    bench.machine.unwatch("a");
    bench.publish(handle, 2);
    bench.commit();
    expect(bench.machine.takeMoved()).toBeUndefined();
  });

  test("tells that the device was removed", () => {
    const bench = new Bench().open();
    bench.machine.watch("a");
    bench.device("a");
    bench.machine.takeMoved();
    bench.ask("done", { type: "remove", device: "a" });
    expect(bench.machine.takeMoved()).toEqual(new Map([["a", REMOVED_TYPE]]));
  });

  test("is remembered while the device is not in memory", () => {
    const bench = new Bench({}, 1).open();
    const { handle } = bench.device("a");
    bench.machine.watch("a");
    bench.checkpoint();
    bench.device("b");
    bench.checkpoint();
    bench.publish(handle, 1);
    bench.commit();
    expect(bench.machine.takeMoved()).toEqual(new Map([["a", 1]]));
  });
});

describe("log payloads", () => {
  const gateway = { node: "n1", incarnation: 7 };
  const commands: Command[] = [
    { command: COMMAND.open, device: "d", publisher: "p", nonce: 2n ** 64n - 1n, window: 3, leaves: 2 ** 40, generation: 1, most: 4, gateway, credential: 2 ** 50 },
    { command: COMMAND.attach, device: "ü", publisher: "", session: 2 ** 47, nonce: 99n, oldest: 1, next: Number.MAX_SAFE_INTEGER, generation: 0, gateway: undefined, credential: 0 },
    { command: COMMAND.putCredential, device: "d", name: "factory", digest: new Uint8Array(32).fill(7) },
    { command: COMMAND.removeCredential, device: "d", name: "factory" },
    { command: COMMAND.detach, reason: "gateway_lost", sessions: [{ device: "a", session: 1, attachment: 2 }, { device: "b".repeat(200), session: 3, attachment: 4 }] },
    { command: COMMAND.keyed, device: "d", key: "k", fingerprint: "f", expires: 1, retention: 2, space: 3, body: Uint8Array.of(1, 2, 3) },
    { command: COMMAND.state, device: "d", which: "desired", how: "patch", ifVersion: 0, trace: "00-ab", document: Uint8Array.of(0x7b, 0x7d) },
    { command: COMMAND.state, device: "d", which: "reported", how: "put", ifVersion: undefined, trace: "", document: new Uint8Array(0) },
    { command: COMMAND.received, cursors: [{ device: "d", session: 1, attachment: 2, delivered: 3, handled: 4 }] },
    { command: COMMAND.create, device: "d", retain: undefined },
    { command: COMMAND.create, device: "d", retain: { seconds: 2 ** 40, entries: 1 } },
    { command: COMMAND.trim, device: "d", since: 7, first: 8 },
    { command: COMMAND.sweep },
    { command: COMMAND.remove, device: "d" },
  ];

  test.each(commands)("$command comes back as it was", (command) => {
    expect(decodeCommand(encodeCommand(command))).toEqual(command);
  });

  test.each([[[]], [[1]], [[2, 1]], [[0, 1]], [[1, 0]], [[1, 16]]])("an unknown version or command stops: %j", (payload) => {
    expect(() => commandOf(Uint8Array.from(payload))).toThrow(BrokenInvariant);
  });

  test("a cut payload stops", () => {
    for (const command of commands.slice(0, 3)) {
      const payload = encodeCommand(command);
      for (let length = 2; length < payload.length; length += 1) expect(() => decodeCommand(payload.subarray(0, length))).toThrow(BrokenInvariant);
    }
  });

  test("a PUBLISH carries wide numbers and any id", () => {
    const bench = new Bench().open();
    const id = `ünï/${"x".repeat(200)}`;
    const { handle } = bench.device(id);
    const device = bench.machine.devices.find(id)!;
    device.own!.last = 2 ** 52;
    bench.admission.closed();
    bench.admission.opened(2);
    const again = bench.ask("attached", { type: "reattach", device: id, publisher: "", session: device.own!.number, nonce: 99n, attachment: device.own!.attachment });
    bench.publish(again.handle, 2 ** 52 + 1);
    bench.commit();
    expect(bench.stream(id).at(-1)).toMatchObject({ series: 2 ** 52 + 1, session: device.own!.number });
    expect(handle).not.toBe(again.handle);
  });
});
