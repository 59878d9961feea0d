// Sessions and series: R25, R26, R27, R29.

import { describe, expect, test } from "vitest";
import type { Entry } from "../../../src/core/entry.ts";
import { PUBLISH_KIND } from "../../../src/core/hop.ts";
import { Bench, body, GATEWAY, textOf } from "./driver.ts";

const OTHER = { node: "n2", incarnation: 1 };
const open = (nonce: bigint, more: object = {}) => ({ type: "open", device: "d", publisher: "", nonce, window: 8, leaves: 0, attach: true, ...more }) as const;
const resume = (session: number, oldest: number, next: number, nonce = 99n) => ({ type: "resume", device: "d", publisher: "", session, nonce, oldest, next, attach: true }) as const;

describe("OPEN (R25)", () => {
  test("gives the index of its entry as the session's number, and its window within the limit", () => {
    const bench = new Bench({ window: 5 }).open();
    expect(bench.device("d")).toMatchObject({ session: 2, last: 0, leftAt: 0, window: 5, attachment: 2, epoch: 1, end: 1 });
  });

  test("is answered only after its entry has been applied", () => {
    const bench = new Bench().open();
    bench.send(open(1n));
    expect(bench.answers).toEqual([]);
    bench.commit();
    expect(bench.take("attached")).toHaveLength(1);
  });

  test("with the stored nonce gives the same number, also while that is in the tail", () => {
    const bench = new Bench().open();
    const first = bench.send(open(7n));
    const second = bench.send(open(7n));
    bench.commit();
    const { session } = bench.answerTo("attached", first);
    expect(bench.answerTo("attached", second).session).toBe(session);
    expect(bench.ask("attached", open(7n)).session).toBe(session);
  });

  test("with a lower nonce is refused with the stored one, also when the greater one is in the tail", () => {
    const bench = new Bench().open();
    bench.send(open(9n));
    expect(bench.ask("broken", open(8n))).toMatchObject({ code: "taken_over", stored: 9n });
    expect(bench.ask("broken", open(8n))).toMatchObject({ code: "taken_over", stored: 9n });
  });

  test("names the session it leaves, whose final last comes back, also from a second try under a newer nonce", () => {
    const bench = new Bench().open();
    const old = bench.device("d");
    bench.publish(old.handle, 1);
    bench.publish(old.handle, 2);
    bench.commit();
    expect(bench.ask("attached", open(2n, { leaves: old.session })).leftAt).toBe(2);
    expect(bench.ask("attached", open(3n, { leaves: old.session })).leftAt).toBe(2);
    expect(bench.ask("attached", open(4n, { leaves: 99 })).leftAt).toBe(0);
  });

  test("ends the older session: its gateway is told, and nothing of it follows", () => {
    const bench = new Bench().open();
    const old = bench.device("d");
    const fresh = bench.send(open(2n), OTHER);
    bench.publish(old.handle, 1, "too late");
    bench.commit();
    const { session } = bench.answerTo("attached", fresh);
    expect(bench.take("takenOver")).toEqual([{ type: "takenOver", device: "d", publisher: "", session: old.session, attachment: old.attachment }]);
    bench.publish(old.handle, 1, "too late");
    bench.commit();
    expect(bench.stream("d").filter(({ type }) => type === "uplink")).toEqual([]);
    expect(session).toBeGreaterThan(old.session);
  });

  test("of a server is a session of its own beside the device's", () => {
    const bench = new Bench().open();
    const device = bench.device("d");
    const server = bench.ask("attached", open(1n, { publisher: "billing", attach: false }));
    bench.publish(device.handle, 1, "up");
    bench.numbered(server.session, 1, "down");
    bench.numbered(server.session, 2, "down");
    bench.commit();
    expect(bench.stream("d").map(({ type, publisher, session, series }) => [type, publisher, session, series])).toEqual([
      ["presence", "", device.session, 0], ["uplink", "", device.session, 1],
      ["downlink", "billing", server.session, 1], ["downlink", "billing", server.session, 2],
    ]);
    expect(server.attachment).toBe(0);
  });

  test("is refused beyond the sessions that a device may have", () => {
    const bench = new Bench({ sessionsPerDevice: 2 }).open();
    bench.device("d");
    bench.ask("attached", open(1n, { publisher: "a", attach: false }));
    expect(bench.ask("failed", open(1n, { publisher: "b", attach: false })).code).toBe("too_many_requests");
    expect(bench.ask("attached", open(2n, { publisher: "a", attach: false })).session).toBeGreaterThan(0);
  });
});

describe("RESUME (R26)", () => {
  test("answers last as applied when its entry is applied, never from the tail", () => {
    const bench = new Bench().open();
    const { handle, session } = bench.device("d");
    bench.publish(handle, 1);
    bench.publish(handle, 2);
    const asked = bench.send(resume(session, 1, 4));
    bench.publish(handle, 3);
    expect(bench.answers.filter(({ answer }) => "request" in answer && answer.request === asked)).toEqual([]);
    bench.commit(4);
    expect(bench.answers.filter(({ answer }) => answer.type === "attached" && answer.request === asked)).toEqual([]);
    bench.commit();
    expect(bench.answerTo("attached", asked)).toMatchObject({ session, last: 2 });
  });

  test.each([
    [3, 4, true], // holds what follows
    [1, 3, true], // holds all, has them still to forget
    [4, 4, false], // lost number 3: oldest − 1 > last
    [1, 2, false], // its next is behind last
  ])("of oldest %i and next %i against last 2: joins on %s", (oldest, next, joins) => {
    const bench = new Bench().open();
    const { handle, session } = bench.device("d");
    bench.publish(handle, 1);
    bench.publish(handle, 2);
    bench.commit();
    if (joins) expect(bench.ask("attached", resume(session, oldest, next)).last).toBe(2);
    else expect(bench.ask("broken", resume(session, oldest, next))).toMatchObject({ code: "broken", last: 2 });
  });

  test("of a session that is not known is broken; of one that a newer HELLO has ended, taken over", () => {
    const bench = new Bench().open();
    expect(bench.ask("broken", resume(99, 1, 1)).code).toBe("broken");
    const { session } = bench.device("d");
    bench.device("d", 2n);
    expect(bench.ask("broken", resume(session, 1, 1, 1n))).toMatchObject({ code: "taken_over", stored: undefined });
    expect(bench.ask("broken", resume(99, 1, 1)).code).toBe("broken");
  });

  test("of one that an older HELLO has ended, as only a loss allows, is broken: the device opens anew above it (R9, R25)", () => {
    const bench = new Bench().open();
    const late = bench.device("d", 2n);
    expect(bench.ask("broken", resume(late.session - 1, 1, 1, 3n))).toMatchObject({ code: "broken", stored: undefined });
    const asked = bench.send({ type: "reattach", device: "d", publisher: "", session: late.session - 1, nonce: 3n, attachment: late.attachment - 1 });
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("broken", asked)).toMatchObject({ code: "broken" });
    expect(bench.ask("attached", { ...open(4n), leaves: late.session - 1 })).toMatchObject({ last: 0, leftAt: 0 });
  });

  test("a late one takes nothing over, at admission, in the tail and when it is applied (R25)", () => {
    const bench = new Bench().open();
    const { session } = bench.device("d", 1n);
    const [newer, late] = [bench.send(resume(session, 1, 1, 3n), OTHER), bench.send(resume(session, 1, 1, 2n))];
    bench.commit();
    const { attachment } = bench.answerTo("attached", newer);
    expect(bench.answerTo("broken", late)).toMatchObject({ code: "taken_over", stored: 3n }); // a device whose clock went back comes again above it
    expect(bench.ask("broken", resume(session, 1, 1, 2n))).toMatchObject({ code: "taken_over", stored: 3n });
    expect(bench.ask("broken", open(2n))).toMatchObject({ code: "taken_over", stored: 3n });
    expect(bench.machine.devices.find("d")!.own).toMatchObject({ attachment, gateway: OTHER, nonce: 3n });
    expect(bench.take("takenOver")).toHaveLength(1); // the first socket's, and not the newer one's
    expect(bench.ask("attached", resume(session, 1, 1, 3n), OTHER).session).toBe(session); // the same HELLO, asked again
  });

  test("after a forced copy (a greater generation) is broken (R9)", () => {
    const bench = new Bench().open();
    const { session, attachment } = bench.device("d");
    bench.admission.generation = 1;
    expect(bench.ask("broken", resume(session, 1, 1))).toMatchObject({ code: "broken", generation: 1 });
    const asked = bench.send({ type: "reattach", device: "d", publisher: "", session, nonce: 99n, attachment });
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("broken", asked)).toMatchObject({ code: "broken", generation: 1 });
  });

  test("from another gateway unseats the former one", () => {
    const bench = new Bench().open();
    const old = bench.device("d");
    const fresh = bench.ask("attached", resume(old.session, 1, 1), OTHER);
    expect(bench.take("takenOver")).toMatchObject([{ session: old.session, attachment: old.attachment }]);
    bench.publish(old.handle, 1);
    bench.publish(fresh.handle, 1);
    bench.commit();
    expect(bench.answers.map(({ to, answer }) => [to.node, answer.type])).toEqual([["n2", "acked"]]);
  });
});

describe("PUBLISH (R27)", () => {
  test("the next numbers are stored, and acknowledged once, cumulatively, after they are applied", () => {
    const bench = new Bench().open();
    const { handle, session } = bench.device("d");
    bench.forget();
    for (const series of [1, 2, 3]) bench.publish(handle, series);
    expect(bench.answers).toEqual([]);
    bench.commit();
    expect(bench.take("acked")).toEqual([{ type: "acked", session, device: "d", publisher: "", series: 3, voids: [] }]);
    expect(bench.stream("d").slice(1).map(({ offset, body: bytes }) => [offset, [...bytes]])).toEqual([1, 2, 3].map((series) => [series + 1, [...body(`message ${series}`)]]));
  });

  test("a duplicate waits until the original has committed, and is stored once", () => {
    const bench = new Bench().open();
    const { handle } = bench.device("d");
    bench.publish(handle, 1);
    bench.commit();
    bench.publish(handle, 2);
    bench.forget();
    bench.publish(handle, 2);
    expect(bench.answers).toEqual([]);
    bench.publish(handle, 1);
    expect(bench.take("acked").map(({ series }) => series)).toEqual([1]);
    bench.commit();
    expect(bench.take("acked").map(({ series }) => series)).toEqual([2]);
    expect(bench.stream("d").filter(({ type }) => type === "uplink").map(({ series }) => series)).toEqual([1, 2]);
  });

  test("anything else is refused with the number expected", () => {
    const bench = new Bench().open();
    const { handle, session } = bench.device("d");
    for (let series = 1; series <= 10; series += 1) bench.publish(handle, series);
    bench.forget();
    bench.publish(handle, 12);
    bench.publish(handle, 2); // further behind than the window of 8
    expect(bench.take("refused")).toEqual([12, 2].map(() => ({ type: "refused", epoch: 1, session, device: "d", publisher: "", expected: 11, code: "gap" })));
  });

  test("a void spends its number and no offset; the ACK carries its code, a duplicate's too", () => {
    const bench = new Bench().open();
    const { handle } = bench.device("d");
    bench.forget();
    bench.admission.publish(handle, 1, PUBLISH_KIND.void, new Uint8Array(0), 0, 0, "forbidden");
    bench.publish(handle, 2, "x", PUBLISH_KIND.void);
    bench.publish(handle, 3, "y".repeat(2000));
    bench.publish(handle, 4, "[1]", PUBLISH_KIND.statePatch);
    bench.publish(handle, 5);
    bench.commit();
    const voids = [{ series: 1, code: "forbidden" }, { series: 3, code: "too_large" }, { series: 4, code: "bad_document" }];
    expect(bench.take("acked")).toMatchObject([{ series: 5, voids }]);
    expect(bench.stream("d").map(({ type, series }) => [type, series])).toEqual([["presence", 0], ["uplink", 5]]);
    bench.publish(handle, 4);
    expect(bench.take("acked")).toMatchObject([{ series: 5, voids }]);
  });

  test("under a handle that is not known has no effect", () => {
    const bench = new Bench().open();
    bench.publish(77, 1);
    expect(bench.entries).toHaveLength(1);
  });

  test("applying checks again: a number that is not the next in the log has no effect, and its gateway goes back", () => {
    const bench = new Bench().open();
    const { handle } = bench.device("d");
    bench.publish(handle, 1);
    bench.publish(handle, 2);
    const [first, second] = bench.entries.slice(-2) as [Entry, Entry];
    bench.entries[second.index - 1] = { ...second, payload: first.payload };
    bench.forget();
    bench.commit();
    expect(bench.stream("d").filter(({ type }) => type === "uplink")).toHaveLength(1);
    expect(bench.take("refused")).toMatchObject([{ expected: 2 }]);
  });
});

describe("a new leader (R29)", () => {
  test("admits from the applied state; re-attachment keeps the attachment and answers last as applied", () => {
    const bench = new Bench().open();
    const { handle, session, attachment } = bench.device("d");
    bench.publish(handle, 1);
    bench.commit();
    bench.admission.closed();
    bench.admission.opened(2);
    bench.forget();
    bench.publish(handle, 2);
    expect(bench.entries.length).toBe(bench.machine.index);
    const again = bench.ask("attached", { type: "reattach", device: "d", publisher: "", session, nonce: 99n, attachment });
    expect(again).toMatchObject({ session, last: 1, attachment, epoch: 2 });
    expect(again.handle).not.toBe(handle);
    bench.publish(again.handle, 1);
    expect(bench.take("acked")).toMatchObject([{ series: 1 }]);
    bench.publish(again.handle, 2);
    bench.commit();
    expect(bench.take("acked")).toMatchObject([{ series: 2 }]);
    expect(bench.stream("d").map(({ type }) => type)).toEqual(["presence", "uplink", "uplink"]);
  });

  test("says no to a re-attachment only after a round", () => {
    const bench = new Bench().open();
    const old = bench.device("d");
    bench.device("d", 2n, OTHER);
    const asked = bench.send({ type: "reattach", device: "d", publisher: "", session: old.session, nonce: 1n, attachment: old.attachment });
    bench.forget();
    bench.commit();
    expect(bench.answers).toEqual([]);
    bench.admission.confirmed(bench.rounds);
    expect(bench.answerTo("broken", asked).code).toBe("taken_over");
  });

  test("remembers voids: a duplicate is told its code by a leader that did not admit it", () => {
    const bench = new Bench().open();
    const { handle, session, attachment } = bench.device("d");
    bench.publish(handle, 1, "{", PUBLISH_KIND.statePatch);
    bench.commit();
    bench.admission.closed();
    bench.admission.opened(2);
    bench.forget();
    bench.send({ type: "reattach", device: "d", publisher: "", session, nonce: 99n, attachment });
    expect(bench.take("acked")).toMatchObject([{ series: 1, voids: [{ series: 1, code: "bad_document" }] }]);
  });

  test("tells the voids that a resume may not have heard of, and no others", () => {
    const bench = new Bench().open();
    const { handle, session } = bench.device("d");
    bench.publish(handle, 1, "{", PUBLISH_KIND.statePatch);
    bench.publish(handle, 2);
    bench.publish(handle, 3, "[", PUBLISH_KIND.statePatch);
    bench.commit();
    const resume = (nonce: bigint, oldest: number) => bench.ask("attached", { type: "resume", device: "d", publisher: "", session, nonce, oldest, next: 5, attach: true });
    expect(resume(10n, 1)).toMatchObject({ last: 3, voids: [{ series: 1, code: "bad_document" }, { series: 3, code: "bad_document" }] });
    expect(resume(11n, 2)).toMatchObject({ last: 3, voids: [{ series: 3, code: "bad_document" }] });
    expect(resume(12n, 4)).not.toHaveProperty("voids");
  });

  test("requests before it opens wait, within a bound; at closing every one is answered", () => {
    const bench = new Bench({ held: 2 });
    const [first, second, third] = [1n, 2n, 3n].map((nonce) => bench.send(open(nonce)));
    expect(bench.answerTo("failed", third!).code).toBe("bucket_paused");
    bench.open();
    bench.commit();
    bench.answerTo("attached", first!);
    bench.answerTo("attached", second!);
    const inTail = bench.send(open(4n));
    const inDoubt = bench.send({ type: "state", device: "d", which: "desired", how: "put", document: new TextEncoder().encode("{}"), ifVersion: undefined });
    const asked = bench.send({ type: "askKey", device: "d", key: "k" });
    bench.admission.closed();
    expect(bench.answerTo("failed", inTail).code).toBe("stale_table");
    expect(bench.answerTo("failed", inDoubt).code).toBe("deadline");
    expect(bench.answerTo("failed", asked).code).toBe("stale_table");
    const held = bench.send(open(5n));
    bench.admission.closed();
    expect(bench.answerTo("failed", held).code).toBe("stale_table");
  });
});

test("bodies are kept byte for byte", () => {
  const bench = new Bench().open();
  const { handle } = bench.device("d");
  const frame = new Uint8Array([9, 9, ...body("hello"), 9]);
  bench.admission.publish(handle, 1, PUBLISH_KIND.message, frame, 2, frame.length - 1);
  frame.fill(0);
  bench.commit();
  expect(bench.stream("d").at(-1)!.body).toEqual(body("hello"));
  expect(textOf(bench.stream("d")[0]!.body)).toContain(`"connected":true`);
  expect(GATEWAY.node).toBe("n1");
});
