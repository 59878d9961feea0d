// The outbox in a file: what it promises after a crash, a tear at any byte, a compaction, and in the wrong hands.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect, type Device } from "../../../clients/device/src/index.ts";
import { Outbox, type Item } from "../../../clients/device/src/outbox.ts";
import { OutboxFile } from "../../../clients/device/src/outbox-file.ts";
import { decodeBody, encodeBody } from "../../../src/wire/body.ts";
import { writeAck, writeDeliver } from "../../../src/wire/device.ts";
import { ScriptedBroker } from "./scripted-broker.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bellhop-outbox-"));
  path = join(folder, "d1.outbox");
});
afterEach(() => rmSync(folder, { recursive: true }));

const synced = (outbox: Outbox): Promise<void> => new Promise((resolve) => outbox.whenDurable(resolve));
const texts = (items: Iterable<Item>): string[] => [...items].map((item) => Buffer.from(decodeBody(item.body).payload).toString());

function open(from = path): { readonly file: OutboxFile; readonly outbox: Outbox } {
  const file = new OutboxFile(from, "d1");
  const outbox = new Outbox(file);
  file.left = outbox;
  return { file, outbox };
}

test("what was durable is there again, with its places, its session and its handled offset", async () => {
  const { outbox } = open();
  outbox.setSession({ session: 7, base: 0, nonce: 2n ** 60n, opening: false });
  for (const text of ["a", "b", "c"]) outbox.add(0, encodeBody(text), 0);
  await synced(outbox);
  outbox.shift();
  outbox.setHandled(12);
  outbox.add(0, encodeBody("d"), 0);
  await synced(outbox);
  copyFileSync(path, `${path}.crash`); // as the disk is after kill -9
  await outbox.close();

  const again = open(`${path}.crash`).outbox;
  expect(texts(again)).toEqual(["b", "c", "d"]);
  expect([again.first, again.last, again.durable, again.handled]).toEqual([2, 4, 4, 12]);
  expect(again.session).toEqual({ session: 7, base: 0, nonce: 2n ** 60n, opening: false });
  await again.close();
});

test("a tear at any byte, and a flipped byte anywhere, leave a beginning of what was there, to go on from", async () => {
  const { outbox } = open();
  outbox.setSession({ session: 7, base: 0, nonce: 5n, opening: false });
  const all = ["a", "bb", "ccc", "dddd"];
  for (const text of all) outbox.add(0, encodeBody(text), 0);
  await synced(outbox);
  const whole = readFileSync(path);
  await outbox.close();

  const check = async (bytes: Buffer): Promise<number> => {
    writeFileSync(path, bytes);
    const torn = open().outbox;
    const left = texts(torn);
    expect(left).toEqual(all.slice(0, left.length));
    torn.add(0, encodeBody("next"), 0);
    await torn.close();
    const after = open().outbox;
    expect(texts(after)).toEqual([...left, "next"]);
    await after.close();
    return left.length;
  };
  const counts: number[] = [];
  for (let end = 0; end <= whole.length; end += 1) counts.push(await check(whole.subarray(0, end)));
  expect(counts).toEqual([...counts].sort((a, b) => a - b)); // a longer file never holds less
  expect([counts[0], counts.at(-2), counts.at(-1)]).toEqual([0, 3, 4]);
  for (let at = 8; at < whole.length; at += 3) {
    const flipped = Buffer.from(whole);
    flipped[at]! ^= 0x10;
    expect(await check(flipped)).toBeLessThan(4);
  }
});

test("it is written anew when little is left of much, and nothing is lost by that", async () => {
  const { outbox } = open();
  outbox.setSession({ session: 7, base: 3, nonce: 5n, opening: false });
  outbox.setHandled(9);
  const body = encodeBody("x".repeat(1000));
  let largest = 0;
  for (let round = 0; round < 30; round += 1) {
    for (let i = 0; i < 100; i += 1) outbox.add(0, body, 0);
    outbox.add(0, encodeBody(`last of ${round}`), 0);
    await synced(outbox);
    while (outbox.size > 1) outbox.shift();
    largest = Math.max(largest, statSync(path).size);
  }
  expect(largest).toBeLessThan(1_300_000); // of three million written
  copyFileSync(path, `${path}.crash`);
  const again = open(`${path}.crash`).outbox;
  expect(again.last).toBe(outbox.last);
  expect(texts(again).at(-1)).toBe("last of 29");
  expect([again.session.session, again.session.base, again.handled]).toEqual([7, 3, 9]);
  await again.close();

  // All settled, then compacted: places still only rise.
  while (outbox.size > 0) outbox.shift();
  const { last } = outbox;
  await outbox.close();
  const empty = open().outbox;
  expect([empty.size, empty.last, empty.first]).toEqual([0, last, last + 1]);
  await empty.close();
});

test("another device's file, a foreign file and a folder are refused", async () => {
  await open().outbox.close();
  expect(() => new OutboxFile(path, "d2")).toThrow(/outbox of d1/);
  writeFileSync(path, "something else entirely");
  expect(() => open()).toThrow(/no outbox/);
  expect(() => new OutboxFile(folder, "d1")).toThrow(/outbox_failed/);
});

test("a process that dies with messages in flight: the next one resumes with the same numbers, and the session is on disk before the first message", async () => {
  const broker = await ScriptedBroker.start();
  const first = connect({ brokers: broker.address, device: "d1", outbox: path });
  const gone = ["m1", "m2", "m3"].map((text) => first.publish(text).catch(() => "gone"));
  const peer = await broker.peer();
  const opened = await peer.greeting();
  expect(open(snapshot()).outbox.session).toMatchObject({ opening: true }); // a restart opens again, and resumes nothing
  peer.welcome();
  expect(await peer.publishes(1)).toEqual(["1:m1"]);
  // At the first byte of a message the disk holds the session and the message: this is what kill -9 would leave.
  const crash = snapshot();
  peer.send((to) => writeDeliver(to, 5, encodeBody("open"), 1));
  await peer.publishes(2);
  await first.close();
  await Promise.all(gone);

  const second: Device = connect({ brokers: broker.address, device: "d1", outbox: crash });
  const again = await broker.peer();
  const hello = await again.greeting();
  expect(hello.nonce).toBeGreaterThan(opened.nonce);
  expect([hello.session, hello.oldest, hello.next]).toEqual([7, 1, 4]);
  again.welcome({ last: 1 });
  expect(await again.publishes(2)).toEqual(["2:m2", "3:m3"]);
  const settled = new Promise((resolve) => second.once("empty", () => resolve(undefined)));
  again.send((to) => writeAck(to, 3));
  await settled;
  await second.close();
  broker.stop();
});

let snapshots = 0;
test("a second user of the file is refused while the first lives, and told who that is", () => {
  const { file } = open();
  expect(() => open()).toThrow(`Process ${process.pid} uses ${path}`);
  writeFileSync(`${path}.lock`, "999999999 1"); // of a process that is gone
  expect(() => open().file.close()).not.toThrow();
  return file.close();
});

function snapshot(): string {
  snapshots += 1;
  const copy = join(folder, `crash-${snapshots}`);
  copyFileSync(path, copy);
  return copy;
}
