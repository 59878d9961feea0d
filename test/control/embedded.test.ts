// The embedded control log: the port's conformance suite, then its files: torn tails, damage, unknown versions, crashes between writes.

import { appendFile, cp, mkdtemp, open, readFile, readdir, rm, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { crc32c } from "../../src/base/crc32c.ts";
import { EmbeddedControl } from "../../src/control/embedded.ts";
import { inspectControl } from "../../src/control/inspect.ts";
import type { ControlEntry } from "../../src/control/port.ts";
import { Gathered, controlConformance } from "../conformance/control.ts";

controlConformance("embedded", async () => {
  const directory = await mkdtemp(join(tmpdir(), "bellhop-control-"));
  const data = join(directory, "data");
  const logs = [await EmbeddedControl.open(data)];
  return {
    connect: async () => logs[0]!,
    crash: async () => {
      // The first goes on holding its own files; what it had made durable is opened elsewhere.
      await cp(data, `${data}-after`, { recursive: true });
      logs.push(await EmbeddedControl.open(`${data}-after`));
      return logs.at(-1)!;
    },
    destroy: async () => {
      for (const log of logs) await log.close();
      await rm(directory, { recursive: true });
    },
  };
});

describe("the embedded log's files", () => {
  let data: string;
  let path: string;
  const logs: EmbeddedControl[] = [];

  beforeEach(async () => {
    data = await mkdtemp(join(tmpdir(), "bellhop-control-"));
    path = join(data, "control", "log");
  });
  afterEach(async () => {
    for (const log of logs.splice(0)) await log.close();
    await rm(data, { recursive: true });
  });

  const opened = async (): Promise<EmbeddedControl> => {
    const log = await EmbeddedControl.open(data);
    logs.push(log);
    return log;
  };
  /** Opens, appends batches one after another, and closes. */
  const appended = async (...seqs: number[]): Promise<void> => {
    const log = await opened();
    for (const seq of seqs) await log.append(`a.1.${seq}`, []);
    await log.close();
  };
  const ids = async (): Promise<string[]> => (await inspected(data)).map(({ id }) => id);
  const lineWith = (content: object): string => {
    const json = Buffer.from(JSON.stringify(content));
    const crc = crc32c(new DataView(json.buffer, json.byteOffset, json.length), 0, json.length);
    return `${crc.toString(16).padStart(8, "0")} ${json.toString()}\n`;
  };

  test("a tail torn at any byte is cut, and the log goes on after what is whole", async () => {
    await appended(1, 2);
    const before = await readFile(path);
    await appended(3);
    const whole = await readFile(path);
    const head = whole.indexOf("\n") + 1;
    const third = whole.lastIndexOf("\n", whole.length - 2) + 1;
    expect(third).toBeGreaterThan(head);
    for (let cut = third; cut < whole.length; cut += 1) {
      await writeFile(path, whole.subarray(0, cut));
      expect(await ids()).toEqual(["a.1.1", "a.1.2"]);
    }
    expect(before.length).toBeLessThan(whole.length);
    await writeFile(path, whole.subarray(0, whole.length - 5));
    await appended(4);
    expect(await ids()).toEqual(["a.1.1", "a.1.2", "a.1.4"]);
  });

  test("a group whose first line is torn and whose second is whole is cut before the first", async () => {
    await appended(1);
    await appendFile(path, lineWith({ v: 1, position: 2, synced: 1, id: "a.1.2", commands: [] }).replace("a.1.2", "a.1.X"));
    await appendFile(path, lineWith({ v: 1, position: 3, synced: 1, id: "a.1.3", commands: [] }));
    expect(await ids()).toEqual(["a.1.1"]);
    const log = await opened();
    await log.append("a.1.9", []);
    expect(await ids()).toEqual(["a.1.1", "a.1.9"]);
  });

  test("a flipped bit in anything that was known to be durable is an error that names the file, and nothing is changed", async () => {
    await appended(1, 2);
    const log = await opened(); // what is opened is written anew, and known to be durable
    await log.append("a.1.3", []);
    await log.close();
    const whole = await readFile(path);
    const durable = whole.lastIndexOf("\n", whole.length - 2) + 1;
    for (let at = 0; at < durable; at += 1) {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 4;
      await writeFile(path, flipped);
      await expect(EmbeddedControl.open(data)).rejects.toThrow(path);
      expect(await readFile(path)).toEqual(flipped);
    }
  });

  test("a log that was emptied or cut below what was durable is an error", async () => {
    await appended(1, 2);
    await (await opened()).close();
    const whole = await readFile(path);
    await writeFile(path, "");
    await expect(EmbeddedControl.open(data)).rejects.toThrow("head");
    await writeFile(path, whole.subarray(0, whole.lastIndexOf("\n", whole.length - 2) + 1));
    await expect(EmbeddedControl.open(data)).rejects.toThrow("durable");
  });

  test("an entry, a head or a snapshot of an unknown version stops, and says that a newer Bellhop is needed", async () => {
    await appended(1);
    const whole = await readFile(path, "utf8");
    await writeFile(path, whole + lineWith({ v: 2, position: 2, synced: 1, id: "a.1.2", commands: [] }));
    await expect(EmbeddedControl.open(data)).rejects.toThrow("version 2");
    await writeFile(path, lineWith({ v: 3, after: 0, synced: 0 }));
    await expect(EmbeddedControl.open(data)).rejects.toThrow("version 3");
    await writeFile(path, whole);
    await writeFile(join(data, "control", "snapshot"), '{"v":4}\n');
    await expect(EmbeddedControl.open(data)).rejects.toThrow("version 4");
  });

  test("a position that is missing or doubled is an error", async () => {
    await appended(1);
    const whole = await readFile(path, "utf8");
    for (const position of [1, 3]) {
      await writeFile(path, whole + lineWith({ v: 1, position, synced: 1, id: "a.1.2", commands: [] }));
      await expect(EmbeddedControl.open(data)).rejects.toThrow(`position ${position} follows 1`);
    }
  });

  test("a damaged snapshot is an error", async () => {
    const log = await opened();
    await log.append("a.1.1", []);
    await log.trim({ position: 1, state: new Uint8Array([1, 2, 3]) });
    await log.close();
    const snapshot = join(data, "control", "snapshot");
    const whole = await readFile(snapshot);
    for (const broken of [whole.subarray(0, -1), Buffer.concat([whole, Buffer.from([0])]), Buffer.from(""), flip(whole, whole.length - 1)]) {
      await writeFile(snapshot, broken);
      await expect(EmbeddedControl.open(data)).rejects.toThrow("snapshot");
    }
  });

  test("a snapshot without its log, or a log that does not join on to it, is an error", async () => {
    const log = await opened();
    for (const seq of [1, 2, 3]) await log.append(`a.1.${seq}`, []);
    await log.trim({ position: 2, state: new Uint8Array([1]) });
    await log.close();
    await rm(join(data, "control", "snapshot"));
    await expect(EmbeddedControl.open(data)).rejects.toThrow("join on");
    await rm(path);
    await writeFile(join(data, "control", "snapshot"), `${JSON.stringify({ v: 1, position: 2, bytes: 0, crc: "00000000" })}\n`);
    await expect(EmbeddedControl.open(data)).rejects.toThrow("join on");
  });

  test("a crash between any two steps of a trim loses nothing: archive, snapshot, log", async () => {
    const log = await opened();
    for (const seq of [1, 2, 3]) await log.append(`a.1.${seq}`, []);
    const untrimmed = await readFile(path);
    await log.trim({ position: 2, state: new Uint8Array([9]) });
    await log.close();
    // The snapshot has its name, the log is the old one still.
    await writeFile(path, untrimmed);
    let again = await opened();
    expect(await again.snapshot()).toEqual({ position: 2, state: new Uint8Array([9]) });
    expect(await watched(again, 2, 1)).toEqual(["a.1.3"]);
    expect(await ids()).toEqual(["a.1.1", "a.1.2", "a.1.3"]);
    await again.close();
    // The archive has its name, the snapshot not yet; half of one was being written.
    await writeFile(path, untrimmed);
    await rm(join(data, "control", "snapshot"));
    await writeFile(join(data, "control", "snapshot.new"), "half");
    again = await opened();
    expect(await watched(again, 0, 3)).toEqual(["a.1.1", "a.1.2", "a.1.3"]);
    await again.trim({ position: 3, state: new Uint8Array([8]) });
    expect(await ids()).toEqual(["a.1.1", "a.1.2", "a.1.3"]);
  });

  test("what is trimmed is archived, so that any past routing can be explained (C9)", async () => {
    const log = await opened();
    for (const seq of [1, 2, 3, 4, 5]) {
      await log.append(`a.1.${seq}`, []);
      if (seq % 2 === 0) await log.trim({ position: seq, state: new Uint8Array([seq]) });
    }
    expect(await ids()).toEqual(["a.1.1", "a.1.2", "a.1.3", "a.1.4", "a.1.5"]);
    expect((await inspected(data, 3)).map(({ position }) => position)).toEqual([4, 5]);
    expect(await readdir(join(data, "control", "archive"))).toHaveLength(2);
  });

  test("inspecting nothing finds nothing and makes nothing", async () => {
    expect(await inspected(join(data, "none"))).toEqual([]);
    expect(await readdir(data)).toEqual([]);
  });

  test("a batch that is too large is refused, and the others of its group are taken", async () => {
    const log = await opened();
    const large = [{ type: "drain", node: "x".repeat(1024 * 1024), incarnation: 1, on: true }] as const;
    const results = await Promise.allSettled([log.append("a.1.1", []), log.append("a.1.2", large), log.append("a.1.3", [])]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(results[1]).toMatchObject({ reason: { code: "too_large" } });
    expect(await ids()).toEqual(["a.1.1", "a.1.3"]);
  });

  test("batches that wait are bounded", async () => {
    const log = await opened();
    const results = await Promise.allSettled(Array.from({ length: 600 }, (_, seq) => log.append(`a.1.${seq}`, [])));
    const refused = results.filter(({ status }) => status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    for (const result of refused) expect(result).toMatchObject({ reason: { code: "overloaded" } });
    expect((await ids()).length).toBe(600 - refused.length);
  });

  describe("with a disk that fails", () => {
    afterEach(() => void vi.restoreAllMocks());

    const everyHandle = async (): Promise<FileHandle> => {
      const handle = await open(path, "r");
      await handle.close();
      return Object.getPrototypeOf(handle) as FileHandle;
    };
    const failing = (code: string) => async (): Promise<never> => {
      throw Object.assign(new Error(code), { code });
    };

    test("a failed sync is final: nothing further is taken, and nothing of it was answered (R24)", async () => {
      const log = await opened();
      await log.append("a.1.1", []);
      vi.spyOn(await everyHandle(), "datasync").mockImplementationOnce(failing("EIO"));
      const watcher = new Gathered();
      log.watch(1, watcher);
      await expect(log.append("a.1.2", [])).rejects.toMatchObject({ code: "internal" });
      await expect(log.append("a.1.2", [])).rejects.toThrow("EIO");
      await expect(log.trim({ position: 1, state: new Uint8Array([1]) })).rejects.toThrow("EIO");
      expect(watcher.all).toEqual([]);
    });

    test("a full disk refuses the batch, which may be tried again when there is room", async () => {
      const log = await opened();
      await log.append("a.1.1", []);
      vi.spyOn(await everyHandle(), "write").mockImplementationOnce(failing("ENOSPC"));
      await expect(log.append("a.1.2", [])).rejects.toMatchObject({ code: "storage_full", retryable: true });
      expect(await ids()).toEqual(["a.1.1"]);
      await log.append("a.1.2", []);
      expect(await ids()).toEqual(["a.1.1", "a.1.2"]);
    });
  });
});

async function inspected(data: string, after = 0): Promise<ControlEntry[]> {
  const entries: ControlEntry[] = [];
  for await (const entry of inspectControl(data, after)) entries.push(entry);
  return entries;
}

async function watched(log: EmbeddedControl, from: number, count: number): Promise<string[]> {
  const watcher = new Gathered();
  const watch = log.watch(from, watcher);
  await watcher.until(() => watcher.all.length >= count);
  watch.close();
  return watcher.ids;
}

function flip(bytes: Buffer, at: number): Buffer {
  const flipped = Buffer.from(bytes);
  flipped[at]! ^= 1;
  return flipped;
}
