// Publishes without a key, asked again by their gateway: R30 (docs/decisions/0005).

import { describe, expect, test } from "vitest";
import { Reader, Writer } from "../../../src/core/stream/bytes.ts";
import { StreamMachine } from "../../../src/core/stream/machine.ts";
import { MOST_NUMBERS, Resends } from "../../../src/core/stream/resends.ts";
import { Bench, body, GATEWAY } from "./driver.ts";

const OTHER = { node: "n2", incarnation: 1 };
const unkeyed = (number: number, least = 1, more: object = {}) => ({ type: "unkeyed", device: "d", number, least, body: body(`${number}`), expires: 0, ...more }) as const;

describe("a publish without a key (R30)", () => {
  test("asked again after it was applied: the same offset, and no duplicate of its sender's", () => {
    const bench = new Bench().open();
    expect(bench.ask("stored", unkeyed(1))).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.ask("stored", unkeyed(2))).toMatchObject({ offset: 2, duplicate: false });
    expect(bench.ask("stored", unkeyed(1))).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.stream("d").map(({ type, publisher }) => [type, publisher])).toEqual([["downlink", "backend"], ["downlink", "backend"]]);
  });

  test("asked again in the tail: one entry, answered under the newer question", () => {
    const bench = new Bench().open();
    const first = bench.send(unkeyed(1));
    const entries = bench.entries.length;
    const second = bench.send(unkeyed(1));
    expect(bench.entries).toHaveLength(entries);
    bench.commit();
    expect(bench.answerTo("stored", second)).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.answers.filter(({ answer }) => "request" in answer && answer.request === first)).toEqual([]);
  });

  test("applying looks again: a number twice in the log is stored once, as for a new leader", () => {
    const bench = new Bench().open();
    bench.ask("stored", unkeyed(1));
    bench.entries.push({ ...bench.entries.at(-1)!, index: bench.entries.length + 1 });
    bench.commit();
    expect(bench.stream("d")).toHaveLength(1);
    expect(bench.replayed().snapshot()).toEqual(bench.machine.snapshot());
  });

  test("gateways and their incarnations have numbers of their own", () => {
    const bench = new Bench().open();
    bench.ask("stored", unkeyed(1));
    expect(bench.ask("stored", unkeyed(1), OTHER).offset).toBe(2);
    expect(bench.ask("stored", unkeyed(1), { ...GATEWAY, incarnation: 2 }).offset).toBe(3);
  });

  test("what is not sent again is forgotten, and refused where it comes all the same", () => {
    const bench = new Bench().open();
    for (let number = 1; number <= 3; number += 1) bench.ask("stored", unkeyed(number));
    bench.ask("stored", unkeyed(4, 3));
    expect(bench.ask("failed", unkeyed(2)).code).toBe("deadline");
    expect(bench.ask("stored", unkeyed(3)).offset).toBe(3);
    expect(bench.stream("d")).toHaveLength(4);
  });

  test("a lost gateway's numbers go, behind what is in the tail; nothing of it is taken afterwards", () => {
    const bench = new Bench().open();
    bench.ask("stored", unkeyed(1), OTHER);
    bench.send(unkeyed(2), OTHER);
    bench.admission.gatewayGone("n2", 1);
    bench.commit();
    expect(bench.machine.resends.knows("n2", 1)).toBe(false);
    expect(bench.stream("d")).toHaveLength(2);
    const entries = bench.entries.length;
    bench.send(unkeyed(3), OTHER);
    expect(bench.entries).toHaveLength(entries);
  });

  test("one that was in the tail alone is forgotten, too", () => {
    const bench = new Bench().open();
    bench.send(unkeyed(1), OTHER);
    bench.admission.gatewayGone("n2", 1);
    bench.commit();
    bench.commit();
    expect(bench.machine.resends.knows("n2", 1)).toBe(false);
  });

  test("survives a checkpoint and a snapshot", () => {
    const bench = new Bench().open();
    bench.ask("stored", unkeyed(7));
    bench.checkpoint();
    expect(new StreamMachine(bench.store, { cachedDevices: 2 }).resends.find(GATEWAY, 7)).toBe(1);
    const snapshot = bench.machine.snapshot();
    const restored = new Bench().machine;
    restored.restore(snapshot, bench.machine.index);
    expect(restored.resends.find(GATEWAY, 7)).toBe(1);
    expect(restored.snapshot()).toEqual(snapshot);
    expect(new Bench().machine.resends.find(GATEWAY, 7)).toBeUndefined();
  });

  test("an expired one is refused and makes no device known", () => {
    const bench = new Bench().open();
    expect(bench.ask("failed", unkeyed(1, 1, { expires: 1 })).code).toBe("expired");
    expect(bench.machine.devices.find("d")).toBeUndefined();
  });
});

describe("what is kept of a gateway", () => {
  test("is bounded: the oldest are forgotten, and known to be", () => {
    const resends = new Resends();
    for (let number = 1; number <= MOST_NUMBERS + 2; number += 1) resends.add(GATEWAY, number, 1, number);
    expect([1, 2, 3].map((number) => resends.find(GATEWAY, number))).toEqual([0, 0, 3]);
    expect(resends.find(GATEWAY, MOST_NUMBERS + 3)).toBeUndefined();
  });

  test("is read as it was written", () => {
    const resends = new Resends();
    for (const number of [1, 4, 3]) resends.add(GATEWAY, number, 1, number * 10);
    resends.add(OTHER, 9, 9, 5);
    const written = writtenOf(resends);
    const read = new Resends();
    read.read(new Reader(written));
    expect([read.find(GATEWAY, 3), read.find(GATEWAY, 2), read.find(OTHER, 8), read.find(OTHER, 9)]).toEqual([30, undefined, 0, 5]);
    expect(writtenOf(read)).toEqual(written);
  });
});

function writtenOf(resends: Resends): Uint8Array {
  const out = new Writer();
  resends.write(out);
  return out.take();
}
