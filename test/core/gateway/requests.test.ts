// Requests of backends: held until their deadline, asked again at a new leader, answered exactly once (R30).

import { describe, expect, test } from "vitest";
import type { GatewayAnswer, GatewayRequest } from "../../../src/core/gateway/types.ts";
import { numberOf, Rig } from "./rig.ts";

const KEYED: GatewayRequest = { type: "keyed", device: "a", key: "k", fingerprint: "00", body: Uint8Array.of(1), expires: 0 };
const CHANGE: GatewayRequest = { type: "state", device: "a", which: "desired", how: "patch", document: Uint8Array.of(123, 125), ifVersion: undefined };

const codes = (answers: readonly GatewayAnswer[]): string[] => answers.map((answer) => (answer.type === "failed" ? answer.code : answer.type));

function stored(rig: Rig, request: number, from = "n1"): void {
  rig.answer({ type: "stored", request, offset: 9, duplicate: false }, from);
}

describe("a request", () => {
  test("hops to the bucket's leader, and its answer is given once", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(KEYED);
    const asked = rig.asked("keyed");
    expect(asked).toMatchObject({ to: "n1", bucket: 0, epoch: 1, request: { device: "a", key: "k", fingerprint: "00" } });
    expect(rig.gateway.counts.requests).toBe(1);
    stored(rig, numberOf(asked));
    stored(rig, numberOf(asked));
    rig.at(1000);
    expect(answers).toMatchObject([{ type: "stored", offset: 9, duplicate: false }]);
    expect(rig.gateway.counts.requests).toBe(0);
  });

  test("is asked again at a new leader, with the same key; the old one's answer comes too late", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(KEYED);
    const first = rig.asked("keyed");
    rig.lead(2, "n2");
    const second = rig.asked("keyed");
    expect(second).toMatchObject({ to: "n2", epoch: 2, request: { key: "k", number: 1 } });
    expect(first).toMatchObject({ request: { number: 1 } }); // by it a leader tells that it is the same request
    stored(rig, numberOf(first));
    expect(answers).toEqual([]);
    stored(rig, numberOf(second), "n2");
    expect(codes(answers)).toEqual(["stored"]);
  });

  test("that a leader cannot take now is asked again after a back-off", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(KEYED);
    rig.failed(rig.asked("keyed"), "bucket_paused");
    rig.at(9);
    expect(rig.hops()).toEqual([]);
    rig.at(10);
    rig.failed(rig.asked("keyed"), "stale_table");
    rig.at(30);
    stored(rig, numberOf(rig.asked("keyed")));
    expect(codes(answers)).toEqual(["stored"]);
  });

  test("on a link that broke is asked again", () => {
    const rig = new Rig();
    rig.lead(1);
    rig.request(KEYED);
    rig.hops();
    rig.gateway.linkLost("n1");
    rig.at(1);
    rig.asked("keyed");
  });

  test("any other refusal is its answer", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(KEYED);
    rig.failed(rig.asked("keyed"), "key_reused");
    expect(codes(answers)).toEqual(["key_reused"]);
  });

  test("is given up at its deadline, and nothing is asked after", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(KEYED, 250);
    const asked = rig.asked("keyed");
    rig.at(249);
    expect(answers).toEqual([]);
    rig.hops();
    rig.at(250);
    expect(codes(answers)).toEqual(["deadline"]); // it may be stored
    stored(rig, numberOf(asked));
    rig.lead(2, "n2");
    rig.at(5000);
    expect(codes(answers)).toEqual(["deadline"]);
    expect(rig.hops()).toEqual([]);
  });

  test("that reached no leader says why: paused or dark", () => {
    const rig = new Rig();
    const paused = rig.request(KEYED, 100);
    rig.at(100);
    expect(codes(paused)).toEqual(["bucket_paused"]);
    rig.lead(1, "n1", { dark: true });
    const dark = rig.request(KEYED, 100);
    rig.at(200);
    expect(codes(dark)).toEqual(["bucket_dark"]);
    expect(rig.hops()).toEqual([]);
  });

  test("one that a leader has sent back for certain was not handed over", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(KEYED, 5);
    rig.failed(rig.asked("keyed"), "bucket_paused");
    rig.at(5);
    expect(codes(answers)).toEqual(["bucket_paused"]);
  });

  test("above the limit is refused at once, and leaves the others as they are", () => {
    const rig = new Rig();
    rig.lead(1);
    const first = rig.request(KEYED);
    rig.request({ ...KEYED, key: "l" });
    expect(codes(rig.request({ ...KEYED, key: "m" }))).toEqual(["overloaded"]);
    expect(rig.gateway.counts.requests).toBe(2);
    stored(rig, numberOf(rig.hops()[0]!));
    expect(codes(first)).toEqual(["stored"]);
    expect(rig.request({ ...KEYED, key: "m" })).toEqual([]);
    rig.asked("keyed");
  });

  test("asked from within an answer is taken like any other", () => {
    const rig = new Rig({ requests: 1 });
    rig.lead(1);
    let second: GatewayAnswer[] = [];
    rig.gateway.request(KEYED, 500, () => (second = rig.request({ ...KEYED, key: "l" })));
    stored(rig, numberOf(rig.asked("keyed")));
    stored(rig, numberOf(rig.asked("keyed")));
    expect(codes(second)).toEqual(["stored"]);
  });
});

describe("a change of state, which has no key", () => {
  test("is not sent a second time once a leader may have admitted it", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(CHANGE, 1000);
    rig.asked("state");
    rig.at(100);
    rig.gateway.linkLost("n1");
    rig.at(200);
    rig.lead(2, "n2");
    rig.at(999);
    expect(rig.hops()).toEqual([]);
    rig.at(1000);
    expect(codes(answers)).toEqual(["deadline"]);
  });

  test("is sent again where the leader said that it has not", () => {
    const rig = new Rig();
    rig.lead(1);
    const answers = rig.request(CHANGE, 1000);
    rig.failed(rig.asked("state"), "stale_table");
    rig.lead(2, "n2");
    const again = rig.asked("state");
    expect(again.to).toBe("n2");
    rig.answer({ type: "changed", request: numberOf(again), version: 3, offset: 8 }, "n2");
    expect(codes(answers)).toEqual(["changed"]);
  });

  test("waits for a first route without harm", () => {
    const rig = new Rig();
    rig.request(CHANGE, 1000);
    rig.at(500);
    rig.lead(1);
    rig.asked("state");
    rig.at(900);
    expect(rig.hops()).toEqual([]);
  });
});
