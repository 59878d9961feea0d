// Servers with a series of their own: every publish names its session and number, through any gateway (A4, A6, R25, R27, R30, R34).

import { describe, expect, test } from "vitest";
import { PUBLISH_KIND } from "../../../src/core/hop.ts";
import { Bench, textOf, type Attached } from "./driver.ts";

const OTHER = { node: "n2", incarnation: 1 };
const server = (bench: Bench, nonce = 1n, more: object = {}): Attached =>
  bench.ask("attached", { type: "open", device: "d", publisher: "billing", nonce, window: 4, leaves: 0, attach: false, ...more });

const stored = (bench: Bench): (readonly [number, string])[] =>
  bench.stream("d").filter(({ publisher }) => publisher === "billing").map(({ series, body }) => [series, textOf(body).replace(/[^\x20-\x7e]/g, "")]);

describe("a numbered publish", () => {
  test("is answered with its offset, and only when it has been applied", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    const asked = bench.numbered(session, 1);
    expect(bench.answers.filter(({ answer }) => "request" in answer && answer.request === asked)).toEqual([]);
    bench.commit();
    expect(bench.answerTo("stored", asked)).toMatchObject({ offset: 1, duplicate: false });
    const next = bench.numbered(session, 2, "two", {}, OTHER);
    bench.commit();
    expect(bench.answerTo("stored", next)).toMatchObject({ offset: 2, duplicate: false });
    expect(stored(bench)).toEqual([[1, "message 1"], [2, "two"]]);
    expect(bench.admission.waiting).toMatchObject({ inTail: 0, seats: 0 });
  });

  test("again: waits for the original while that is in the tail, later is told at once, and is stored once (R27)", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    const first = bench.numbered(session, 1);
    const again = bench.numbered(session, 1, "message 1", {}, OTHER);
    expect(bench.admission.waiting.inTail).toBe(2);
    bench.commit();
    expect(bench.answerTo("stored", first)).toMatchObject({ offset: 1, duplicate: false });
    expect(bench.answerTo("stored", again)).toMatchObject({ offset: 1, duplicate: true });
    const later = bench.numbered(session, 1);
    expect(bench.answerTo("stored", later)).toMatchObject({ offset: 0, duplicate: true });
    expect(stored(bench)).toHaveLength(1);
  });

  test("that is not the next is refused with the number expected, the tail counted; nothing of it is stored", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    expect(bench.answerTo("gap", bench.numbered(session, 2))).toMatchObject({ expected: 1 });
    bench.numbered(session, 1);
    expect(bench.answerTo("gap", bench.numbered(session, 3))).toMatchObject({ expected: 2 });
    expect(bench.answerTo("failed", bench.numbered(session, 0)).code).toBe("bad_request");
    bench.commit();
    expect(stored(bench)).toHaveLength(1);
  });

  test("beyond the window waits at its publisher", () => {
    const bench = new Bench().open();
    const { session, window } = server(bench);
    expect(window).toBe(4);
    for (const series of [1, 2, 3, 4]) bench.numbered(session, series);
    expect(bench.answerTo("failed", bench.numbered(session, 5)).code).toBe("no_credit");
    bench.commit();
    const fifth = bench.numbered(session, 5);
    bench.commit();
    expect(bench.answerTo("stored", fifth).offset).toBe(5);
  });

  test("refused for its content spends its number: the next follows, and a duplicate is told the same (A6)", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    const spent = bench.numbered(session, 1, "", { kind: PUBLISH_KIND.void, code: "expired" });
    const large = bench.numbered(session, 2, "x".repeat(2000));
    const next = bench.numbered(session, 3);
    bench.commit();
    expect(bench.answerTo("failed", spent).code).toBe("expired");
    expect(bench.answerTo("failed", large).code).toBe("too_large");
    expect(bench.answerTo("stored", next).offset).toBe(1);
    expect(bench.answerTo("failed", bench.numbered(session, 1)).code).toBe("expired");
    expect(stored(bench)).toEqual([[3, "message 3"]]);
  });

  test("is bounded: so many wait for one number, so many in all", () => {
    const bench = new Bench({ waiting: 30 }).open();
    const { session } = server(bench);
    const asked = Array.from({ length: 20 }, () => bench.numbered(session, 1));
    expect(bench.answerTo("failed", asked.at(-1)!).code).toBe("overloaded");
    for (let i = 0; i < 13; i += 1) bench.send({ type: "create", device: `e${i}` });
    expect(bench.answerTo("failed", bench.numbered(session, 2)).code).toBe("overloaded");
  });

  test("does not enter a full disk, and a duplicate is told as one all the same", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    bench.numbered(session, 1);
    bench.commit();
    bench.admission.storageFull = true;
    expect(bench.answerTo("failed", bench.numbered(session, 2)).code).toBe("storage_full");
    expect(bench.answerTo("stored", bench.numbered(session, 1)).duplicate).toBe(true);
  });
});

describe("a session that is not current", () => {
  test("is told only after a round (R34): taken over where a newer one of a server stands, else broken", () => {
    const bench = new Bench().open();
    const own = bench.device("d");
    const old = server(bench);
    server(bench, 2n);
    const asked = [old.session, own.session, 1, 99].map((session) => bench.numbered(session, 1));
    const stranger = bench.numbered(old.session, 1, "x", { device: "other" });
    expect(bench.answers.filter(({ answer }) => answer.type === "failed")).toEqual([]);
    bench.admission.confirmed(bench.rounds);
    expect(asked.map((request) => bench.answerTo("failed", request).code)).toEqual(["taken_over", "broken", "broken", "broken"]);
    expect(bench.answerTo("failed", stranger).code).toBe("broken");
    expect(bench.entries).toHaveLength(bench.machine.index);
  });

  test("in the tail behind the open of a newer one: asked again, and then told", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    const before = bench.numbered(session, 1);
    bench.send({ type: "open", device: "d", publisher: "billing", nonce: 2n, window: 4, leaves: session, attach: false });
    const late = bench.numbered(session, 2);
    bench.commit();
    expect(bench.answerTo("stored", before).offset).toBe(1);
    expect(bench.answerTo("failed", late).code).toBe("stale_table");
    expect(stored(bench)).toEqual([[1, "message 1"]]);
    const asked = bench.numbered(session, 2);
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("failed", asked).code).toBe("taken_over");
    expect(bench.admission.waiting.inTail).toBe(0);
  });

  test("whose device was removed is broken", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    bench.ask("done", { type: "remove", device: "d" });
    const asked = bench.numbered(session, 1);
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("failed", asked).code).toBe("broken");
  });

  test("of an earlier generation is broken (R9), and a newer nonce opens another", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    bench.admission.generation = 1;
    const asked = bench.numbered(session, 1);
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("failed", asked).code).toBe("broken");
    const fresh = server(bench, 2n);
    const first = bench.numbered(fresh.session, 1);
    bench.commit();
    expect(bench.answerTo("stored", first).offset).toBe(1);
  });
});

describe("a new leader (R30)", () => {
  test("is brought what was not answered: numbers that committed are told as stored, the next is taken", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    const committed = bench.numbered(session, 1);
    bench.commit();
    const lost = bench.numbered(session, 2);
    bench.entries.pop(); // it never reached another member
    bench.admission.closed();
    expect(bench.answerTo("stored", committed).offset).toBe(1);
    expect(bench.answerTo("failed", lost).code).toBe("stale_table");
    bench.admission.opened(2);
    const again = [1, 2].map((series) => bench.numbered(session, series));
    bench.commit();
    expect(again.map((request) => bench.answerTo("stored", request))).toMatchObject([{ duplicate: true }, { offset: 2, duplicate: false }]);
    expect(stored(bench)).toEqual([[1, "message 1"], [2, "message 2"]]);
  });

  test("remembers what was spent, and why", () => {
    const bench = new Bench().open();
    const { session } = server(bench);
    bench.numbered(session, 1, "", { kind: PUBLISH_KIND.void, code: "too_large" });
    bench.commit();
    bench.admission.closed();
    bench.admission.opened(2);
    expect(bench.answerTo("failed", bench.numbered(session, 1)).code).toBe("too_large");
  });
});

test("asked later: stored, spent, absent or forgotten, of the current session and of the one it left (A6)", () => {
  const bench = new Bench().open();
  const { session: old } = server(bench);
  bench.numbered(old, 1);
  bench.numbered(old, 2, "", { kind: PUBLISH_KIND.void, code: "expired" });
  bench.commit();
  const told = (session: number, series: number): string => {
    const asked = bench.send({ type: "askSeries", device: "d", session, series });
    bench.admission.confirmed(bench.rounds);
    return bench.answerTo("told", asked).is;
  };
  expect([1, 2, 3].map((series) => told(old, series))).toEqual(["stored", "void", "absent"]);
  const { session } = server(bench, 2n, { leaves: old });
  expect([told(session, 1), told(old, 1), told(old, 3), told(99, 1)]).toEqual(["absent", "stored", "absent", "absent"]);
  server(bench, 3n);
  expect([told(session, 1), told(old, 1)]).toEqual(["forgotten", "forgotten"]);
});
