// Idempotency keys and expiry: R30, R31, R32, and questions: R34.

import { describe, expect, test } from "vitest";
import { Bench, body } from "./driver.ts";

const keyed = (key: string, more: object = {}) => ({ type: "keyed", device: "d", key, fingerprint: "a".repeat(32), body: body("unlock"), expires: 0, ...more }) as const;

describe("keys (R31)", () => {
  test("the first publish is stored, the same key again is told its offset", () => {
    const bench = new Bench().open();
    expect(bench.ask("stored", keyed("k"))).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.ask("stored", keyed("other"))).toMatchObject({ offset: 2, duplicate: false });
    expect(bench.ask("stored", keyed("k"))).toMatchObject({ offset: 1, duplicate: true });
    expect(bench.stream("d").map(({ type, publisher, body: bytes }) => [type, publisher, bytes])).toEqual([["downlink", "backend", body("unlock")], ["downlink", "backend", body("unlock")]]);
  });

  test("another body under the same key is refused, in state and in the tail", () => {
    const bench = new Bench().open();
    bench.ask("stored", keyed("k"));
    expect(bench.ask("failed", keyed("k", { fingerprint: "b".repeat(32) })).code).toBe("key_reused");
    bench.send(keyed("tail"));
    const other = bench.send(keyed("tail", { fingerprint: "b".repeat(32) }));
    expect(bench.answerTo("failed", other).code).toBe("key_reused");
  });

  test("a key in the tail: the same body waits for the original, and is stored once", () => {
    const bench = new Bench().open();
    const first = bench.send(keyed("k"));
    const second = bench.send(keyed("k"));
    const entries = bench.entries.length;
    expect(bench.answers).toEqual([]);
    bench.commit();
    expect(bench.entries).toHaveLength(entries);
    expect(bench.answerTo("stored", first)).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.answerTo("stored", second)).toMatchObject({ offset: 1, duplicate: true });
  });

  test("a key in the tail that its gateway asks again is answered under the newer question, as the first (R30)", () => {
    const bench = new Bench().open();
    const first = bench.send(keyed("k", { number: 7 }));
    const other = bench.send(keyed("k", { number: 8 }));
    const otherAgain = Array.from({ length: 20 }, () => bench.send(keyed("k", { number: 8 }))).at(-1)!;
    const firstAgain = bench.send(keyed("k", { number: 7 }));
    bench.commit();
    const told = bench.answers.map(({ answer }) => ("request" in answer ? answer.request : 0));
    expect(told.sort()).toEqual([otherAgain, firstAgain].sort());
    expect(told).not.toContain(first);
    expect(told).not.toContain(other);
    expect(bench.answerTo("stored", firstAgain)).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.answerTo("stored", otherAgain)).toMatchObject({ offset: 1, duplicate: true });
  });

  test("a key in the tail: whoever leaves its number out, as an older node does, waits like another request", () => {
    const bench = new Bench().open();
    bench.send(keyed("k"));
    const again = bench.send(keyed("k"));
    bench.commit();
    expect(bench.answerTo("stored", again).duplicate).toBe(true);
  });

  test("applying checks again: the same key twice in the log is stored once", () => {
    const bench = new Bench().open();
    bench.ask("stored", keyed("k"));
    bench.entries.push({ ...bench.entries.at(-1)!, index: bench.entries.length + 1 });
    bench.commit();
    expect(bench.stream("d")).toHaveLength(1);
  });

  test("(a/b, c) and (a, b/c) are two keys", () => {
    const bench = new Bench().open();
    bench.ask("stored", keyed("c", { device: "a/b" }));
    expect(bench.ask("stored", keyed("b/c", { device: "a" }))).toMatchObject({ duplicate: false });
  });

  test("are kept for the retention of log time, then make room a few at a time", () => {
    const bench = new Bench({ keyRetentionMs: 1000, keySpaceBytes: 100_000 }).open();
    for (let i = 0; i < 20; i += 1) bench.ask("stored", keyed(`k${i}`));
    const full = bench.machine.keys.bytes;
    bench.admission.wall += 1000;
    bench.ask("stored", keyed("at the retention"));
    expect(bench.machine.keys.bytes).toBeGreaterThan(full);
    expect(bench.ask("stored", keyed("k0")).duplicate).toBe(true);
    bench.admission.wall += 1;
    bench.ask("stored", keyed("after it"));
    expect(bench.ask("stored", keyed("k3")).duplicate).toBe(false);
    expect(bench.ask("stored", keyed("k19")).duplicate).toBe(true);
    expect(bench.machine.keys.bytes).toBeLessThan(full);
  });

  test("at the byte limit new ones are refused, young ones are never dropped, and the limit is never passed", () => {
    const bench = new Bench({ keyRetentionMs: 1000, keySpaceBytes: 1000 }).open();
    const codes: string[] = [];
    for (let i = 0; i < 20; i += 1) {
      const asked = bench.send(keyed(`k${i}`));
      if (i % 3 === 0) bench.commit();
      codes.push(String(asked));
    }
    bench.commit();
    const stored = bench.answers.filter(({ answer }) => answer.type === "stored");
    const refused = bench.answers.filter(({ answer }) => answer.type === "failed" && answer.code === "no_key_space");
    expect(stored.length).toBeGreaterThan(5);
    expect(stored.length + refused.length).toBe(20);
    expect(bench.machine.keys.bytes).toBeLessThanOrEqual(1000);
    bench.forget();
    expect(bench.ask("stored", keyed("k0")).duplicate).toBe(true);
    expect(bench.ask("failed", keyed("new")).code).toBe("no_key_space");
    bench.admission.wall += 1001;
    expect(bench.ask("stored", keyed("new")).duplicate).toBe(false);
    expect(bench.machine.keys.bytes).toBeLessThanOrEqual(1000);
  });

  test("of a device that was removed are not those of a new one of its name", () => {
    const bench = new Bench({ keyRetentionMs: 10 }).open();
    bench.ask("stored", keyed("k"));
    bench.ask("done", { type: "remove", device: "d" });
    bench.admission.wall += 8;
    expect(bench.ask("stored", keyed("k"))).toMatchObject({ offset: 1, duplicate: false });
    bench.admission.wall += 4;
    bench.ask("stored", keyed("other")); // the removed device's place in the queue goes, the younger record stays
    expect(bench.ask("stored", keyed("k"))).toMatchObject({ offset: 1, duplicate: true });
    expect(bench.machine.snapshot()).toEqual(bench.replayed().snapshot());
  });

  test("of more than 255 bytes, empty or of half a character are refused", () => {
    const bench = new Bench().open();
    for (const key of ["", "k".repeat(256), "é".repeat(128), "\ud800"]) expect(bench.ask("failed", keyed(key)).code).toBe("bad_request");
    expect(bench.ask("stored", keyed("é".repeat(127))).offset).toBe(1);
  });
});

describe("expiry (R32)", () => {
  test("follows the entry's time: what expired before it could be stored has no offset, and its key stays free", () => {
    const bench = new Bench().open();
    expect(bench.ask("failed", keyed("k", { expires: bench.admission.wall - 1 })).code).toBe("expired");
    expect(bench.ask("stored", keyed("k", { expires: bench.admission.wall }))).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.ask("stored", keyed("k", { expires: 1 })).duplicate).toBe(true);
  });
});

describe("questions (R34)", () => {
  test("are answered only after a round begun after the question", () => {
    const bench = new Bench().open();
    bench.ask("stored", keyed("k"));
    const asked = bench.send({ type: "askKey", device: "d", key: "k" });
    const round = bench.rounds;
    const absent = bench.send({ type: "askKey", device: "d", key: "none" });
    bench.admission.confirmed(round);
    expect(bench.answerTo("told", asked)).toMatchObject({ is: "stored", offset: 1, position: 2 });
    expect(bench.answers.filter(({ answer }) => "request" in answer && answer.request === absent)).toEqual([]);
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("told", absent)).toMatchObject({ is: "absent", offset: 0, position: 2 });
  });

  test("a round of a former epoch confirms nothing", () => {
    const bench = new Bench().open();
    for (let i = 0; i < 3; i += 1) bench.send({ type: "askKey", device: "d", key: "k" });
    bench.admission.confirmed(bench.rounds);
    bench.admission.closed();
    bench.rounds = 0;
    bench.admission.opened(2);
    bench.forget();
    const asked = bench.send({ type: "askKey", device: "d", key: "k" });
    expect(bench.answers).toEqual([]);
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("told", asked).is).toBe("absent");
  });

  test("by series: stored, absent, forgotten", () => {
    const bench = new Bench().open();
    const first = bench.device("d", 1n);
    bench.publish(first.handle, 1);
    bench.commit();
    const second = bench.ask("attached", { type: "open", device: "d", publisher: "", nonce: 2n, window: 8, leaves: first.session, attach: true });
    const told = (session: number, series: number): string => {
      const asked = bench.send({ type: "askSeries", device: "d", session, series });
      bench.admission.confirmed(bench.rounds);
      return bench.answerTo("told", asked).is;
    };
    expect([told(first.session, 1), told(first.session, 2), told(second.session, 1), told(1, 1), told(99, 1)]).toEqual(["stored", "absent", "absent", "forgotten", "absent"]);
  });
});
