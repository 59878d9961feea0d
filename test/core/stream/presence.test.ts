// Presence and receive cursors: R33, R35.

import { describe, expect, test } from "vitest";
import { Bench, textOf } from "./driver.ts";

const OTHER = { node: "n2", incarnation: 3 };

function presence(bench: Bench, device: string): unknown[] {
  return bench.stream(device).filter(({ type }) => type === "presence").map(({ body, session }) => {
    const shown = JSON.parse(textOf(body)) as { session: number };
    expect(shown.session).toBe(session);
    return shown;
  });
}

describe("presence (R33)", () => {
  test("goes up with OPEN and RESUME, down with the attachment, and only once", () => {
    const bench = new Bench().open();
    const { session, attachment } = bench.device("d");
    for (let i = 0; i < 2; i += 1) bench.admission.request({ node: "n1", incarnation: 1 }, { type: "detach", request: 0, device: "d", publisher: "", session, nonce: 99n, attachment });
    bench.commit();
    bench.commit();
    expect(presence(bench, "d")).toEqual([{ connected: true, session }, { connected: false, reason: "closed", session }]);
    expect(bench.machine.presence.count).toBe(0);
    bench.ask("attached", { type: "resume", device: "d", publisher: "", session, nonce: 99n, oldest: 1, next: 1, attach: true });
    expect(presence(bench, "d").at(-1)).toEqual({ connected: true, session });
    expect(bench.machine.presence.count).toBe(1);
  });

  test("the down of an old attachment has no effect", () => {
    const bench = new Bench().open();
    const old = bench.device("d");
    const fresh = bench.ask("attached", { type: "resume", device: "d", publisher: "", session: old.session, nonce: 99n, oldest: 1, next: 1, attach: true }, OTHER);
    expect(fresh.attachment).toBeGreaterThan(old.attachment);
    const shown = presence(bench, "d");
    bench.admission.request({ node: "n1", incarnation: 1 }, { type: "detach", request: 0, device: "d", publisher: "", session: old.session, nonce: 99n, attachment: old.attachment });
    bench.commit();
    expect(presence(bench, "d")).toEqual(shown);
    expect(bench.machine.devices.find("d")!.own!.attachment).toBe(fresh.attachment);
  });

  test("a takeover is told in the stream, by a new session, a resume, and one that is still in the tail", () => {
    const bench = new Bench().open();
    const { session } = bench.device("d", 1n);
    bench.ask("attached", { type: "resume", device: "d", publisher: "", session, nonce: 2n, oldest: 1, next: 1, attach: true }, OTHER);
    const opens = [3n, 4n].map((nonce) => bench.send({ type: "open", device: "d", publisher: "", nonce, window: 8, leaves: 0, attach: true }));
    bench.commit();
    const [second, third] = opens.map((open) => bench.answerTo("attached", open).session);
    const up = (of: number | undefined): object => ({ connected: true, session: of });
    const down = (of: number | undefined): object => ({ connected: false, reason: "taken_over", session: of });
    expect(presence(bench, "d")).toEqual([up(session), down(session), up(session), down(session), up(second), down(second), up(third)]);
  });

  test.each([["lacks numbers", { oldest: 2 }], ["is of another session", { session: 77 }]])("a resume in the tail that %s takes nothing over, and the next open displaces what is there", (_, wrong) => {
    const bench = new Bench().open();
    const { session } = bench.device("d", 1n);
    bench.send({ type: "resume", device: "d", publisher: "", session, nonce: 2n, oldest: 1, next: 9, attach: true, ...wrong }, OTHER);
    const open = bench.send({ type: "open", device: "d", publisher: "", nonce: 3n, window: 8, leaves: session, attach: true });
    bench.commit();
    const second = bench.answerTo("attached", open).session;
    expect(presence(bench, "d")).toEqual([{ connected: true, session }, { connected: false, reason: "taken_over", session }, { connected: true, session: second }]);
  });

  test("a resume after an accepted loss will be told BROKEN, and takes nothing over (R9)", () => {
    const bench = new Bench().open();
    const { session } = bench.device("d", 1n);
    bench.admission.generation = 1;
    bench.send({ type: "resume", device: "d", publisher: "", session, nonce: 2n, oldest: 1, next: 9, attach: true }, OTHER);
    bench.commit();
    expect(presence(bench, "d")).toEqual([{ connected: true, session }]);
  });

  test("a detach that does not name the device finds it by the session", () => {
    const bench = new Bench().open();
    const { session, attachment } = bench.device("d");
    bench.admission.request({ node: "n1", incarnation: 1 }, { type: "detach", request: 0, device: "", publisher: "", session, nonce: 99n, attachment });
    bench.commit();
    expect(presence(bench, "d").at(-1)).toMatchObject({ connected: false });
  });

  test("of a lost gateway's sessions goes down in batches, until none is left; other gateways' and later incarnations' stay", () => {
    const bench = new Bench({ waiting: 1000, seats: 1000 }, 1000).open();
    for (let i = 0; i < 300; i += 1) bench.device(`d${i}`, 1n, OTHER);
    bench.device("stays");
    bench.device("later", 1n, { node: "n2", incarnation: 4 });
    const before = bench.entries.length;
    bench.admission.gatewayGone("n2", 3);
    for (let i = 0; i < 10; i += 1) bench.commit();
    expect(bench.entries.length - before).toBe(3);
    expect(bench.machine.presence.count).toBe(2);
    expect(presence(bench, "d299").at(-1)).toMatchObject({ connected: false, reason: "gateway_lost" });
    expect(presence(bench, "later")).toHaveLength(1);
  });

  test("a gateway that was lost before the leader opened, or while an open of it was in the tail, leaves nobody up", () => {
    const bench = new Bench().open();
    bench.device("d", 1n, OTHER);
    bench.admission.closed();
    bench.admission.gatewayGone("n2", 3);
    bench.admission.opened(2);
    bench.commit();
    expect(bench.machine.presence.count).toBe(0);
    const late = { node: "n3", incarnation: 1 };
    bench.send({ type: "open", device: "e", publisher: "", nonce: 1n, window: 8, leaves: 0, attach: true }, late);
    bench.admission.gatewayGone("n3", 1);
    bench.commit();
    bench.commit();
    expect(bench.machine.presence.count).toBe(0);
    expect(bench.admission.waiting.seats).toBe(0);
  });

  test("of sessions of before an accepted loss goes down when the copy that was forced leads, and their numbers are not given again (R9)", () => {
    const bench = new Bench({ waiting: 1000, seats: 1000 }, 1000).open();
    for (let i = 0; i < 300; i += 1) bench.device(`d${i}`, 1n, OTHER);
    bench.admission.closed();
    bench.admission.generation = 1;
    bench.admission.opened(2);
    for (let i = 0; i < 10; i += 1) bench.commit();
    expect(bench.machine.presence.count).toBe(0);
    expect(presence(bench, "d299").at(-1)).toMatchObject({ connected: false });
    const again = bench.device("d0", 2n);
    const later = bench.device("d0", 3n);
    expect(again.session).toBeGreaterThan(bench.entries.length);
    expect(later.session).toBeGreaterThan(again.session);
    bench.publish(later.handle, 1);
    bench.commit();
    expect(bench.machine.devices.find("d0")!.own).toMatchObject({ last: 1, number: later.session });
    expect(bench.machine.presence.count).toBe(1);
    expect(Buffer.compare(bench.machine.snapshot(), bench.replayed().snapshot())).toBe(0);
  });

  test("is found again after a checkpoint by a machine that starts from the store", () => {
    const bench = new Bench().open();
    bench.device("d", 1n, OTHER);
    bench.checkpoint();
    const again = new Bench();
    again.store.write({ applied: 0, writes: [...bench.store.range("")].map(([key, value]) => ({ key, value })) });
    const machine = new (bench.machine.constructor as typeof import("../../../src/core/stream/machine.ts").StreamMachine)(again.store, { cachedDevices: 1 });
    expect(machine.presence.of("n2", 3, 10)).toMatchObject([{ device: "d" }]);
  });
});

describe("receive cursors (R35)", () => {
  test("rise, never beyond the stream's end, fenced by the attachment", () => {
    const bench = new Bench().open();
    const old = bench.device("d");
    const cursor = (): number[] => [bench.machine.devices.find("d")!.delivered, bench.machine.devices.find("d")!.handled];
    for (const key of ["a", "b", "c"]) bench.ask("stored", { type: "keyed", device: "d", key, fingerprint: "", body: new Uint8Array(1), expires: 0 });
    bench.admission.request({ node: "n1", incarnation: 1 }, { type: "received", handle: old.handle, delivered: 3, handled: 2 });
    bench.commit();
    expect(cursor()).toEqual([3, 2]);
    bench.admission.request({ node: "n1", incarnation: 1 }, { type: "received", handle: old.handle, delivered: 99, handled: 1 });
    bench.commit();
    expect(cursor()).toEqual([4, 2]);
    bench.admission.request({ node: "n1", incarnation: 1 }, { type: "received", handle: old.handle, delivered: 99, handled: 4 });
    const fresh = bench.send({ type: "resume", device: "d", publisher: "", session: old.session, nonce: 99n, oldest: 1, next: 1, attach: true }, OTHER);
    bench.admission.request({ node: "n1", incarnation: 1 }, { type: "received", handle: old.handle, delivered: 99, handled: 5 });
    bench.commit();
    bench.commit();
    expect(bench.answerTo("attached", fresh)).toMatchObject({ delivered: 4, handled: 4 });
    expect(cursor()[1]).toBe(4);
  });

  test("many between two commits make one entry", () => {
    const bench = new Bench().open();
    const { handle } = bench.device("d");
    for (const key of ["a", "b", "c"]) bench.ask("stored", { type: "keyed", device: "d", key, fingerprint: "", body: new Uint8Array(1), expires: 0 });
    const before = bench.entries.length;
    for (let offset = 1; offset <= 4; offset += 1) bench.admission.request({ node: "n1", incarnation: 1 }, { type: "received", handle, delivered: offset, handled: offset });
    bench.commit();
    bench.commit();
    expect(bench.entries.length - before).toBe(2);
    expect(bench.machine.devices.find("d")!.handled).toBe(4);
  });
});
