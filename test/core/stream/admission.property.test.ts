// The leader's side under random gateways: everything is answered once, what is acknowledged is stored, each session's numbers are consecutive, presence alternates.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { GatewayId, HopAnswer } from "../../../src/core/hop.ts";
import { Bench, body, textOf, type Attached } from "./driver.ts";

const DEVICES = ["a", "b", "c"];
const KEYS = ["k1", "k2"];
const GATEWAYS: readonly GatewayId[] = [{ node: "n1", incarnation: 1 }, { node: "n2", incarnation: 1 }];

interface Step {
  readonly kind: "open" | "resume" | "reattach" | "publish" | "detach" | "keyed" | "state" | "askSeries" | "askKey" | "received" | "remove" | "commit" | "commitSome" | "confirm" | "usurp" | "gone" | "later";
  readonly device: string;
  readonly gateway: number;
  readonly a: number;
  readonly b: number;
}

const steps = fc.array(
  fc.record<Step>({
    kind: fc.oneof(
      { weight: 40, arbitrary: fc.constant("publish" as const) },
      { weight: 30, arbitrary: fc.constantFrom("open", "resume", "reattach", "detach", "keyed", "state", "askSeries", "askKey", "received") },
      { weight: 20, arbitrary: fc.constantFrom("commit", "commitSome", "confirm", "later") },
      { weight: 3, arbitrary: fc.constantFrom("usurp", "gone", "remove") },
    ),
    device: fc.constantFrom(...DEVICES),
    gateway: fc.nat(1),
    a: fc.nat(9),
    b: fc.nat(9),
  }),
  { minLength: 20, maxLength: 200 },
);

class World {
  readonly bench = new Bench({ waiting: 12, seats: 12, window: 4, keyRetentionMs: 50, keySpaceBytes: 700 }, 1);
  /** Requests that are not answered yet, and who asked. */
  readonly #asked = new Map<number, GatewayId>();
  /** The newest attachment that was answered for each device, and the greatest ACK of each session. */
  readonly #attached = new Map<string, Attached>();
  readonly #acked = new Map<number, number>();
  #epoch = 1;
  #nonce = 5n;
  #seen = 0;

  step({ kind, device, gateway, a, b }: Step): void {
    const { bench } = this;
    const from = { ...GATEWAYS[gateway]!, incarnation: this.#incarnation(gateway) };
    const attached = this.#attached.get(device);
    const session = attached?.session ?? 1;
    const last = this.bench.machine.devices.find(device)?.own?.last ?? 0;
    switch (kind) {
      case "open":
        this.#nonce += BigInt(a < 7 ? 1 : 0);
        return this.#send({ type: "open", device, publisher: "", nonce: this.#nonce - BigInt(a === 9 ? 1 : 0), window: 8, leaves: session, attach: true }, from);
      case "resume":
        this.#nonce += BigInt(a < 7 ? 1 : 0);
        return this.#send({ type: "resume", device, publisher: "", session: a === 9 ? session + 1 : session, nonce: this.#nonce - BigInt(a === 8 ? 1 : 0), oldest: last + (b === 9 ? 2 : 1), next: last + 9, attach: true }, from);
      case "reattach":
        return this.#send({ type: "reattach", device, publisher: "", session, nonce: this.#nonce, attachment: attached?.attachment ?? 1 }, from);
      case "publish":
        for (let i = 0; i <= a % 3; i += 1) {
          const series = Math.max(1, last + b - 2 + i);
          const bytes = body(`${session}:${series}`);
          bench.admission.publish(attached?.handle ?? 0, series, 0, bytes, 0, bytes.length);
        }
        return;
      case "detach":
        return this.#send({ type: "detach", device, publisher: "", session, nonce: this.#nonce, attachment: b === 9 ? 0 : (attached?.attachment ?? 1) }, from);
      case "keyed":
        return this.#send({ type: "keyed", device, key: KEYS[a % 2]!, fingerprint: `${b % 2}`, body: body("down"), expires: 0 }, from);
      case "state":
        return this.#send({ type: "state", device, which: "desired", how: "patch", document: new TextEncoder().encode(`{"a":${a}}`), ifVersion: undefined }, from);
      case "askSeries":
        return this.#send({ type: "askSeries", device, session, series: a }, from);
      case "askKey":
        return this.#send({ type: "askKey", device, key: KEYS[a % 2]! }, from);
      case "received":
        return bench.admission.request(from, { type: "received", handle: attached?.handle ?? 0, delivered: a, handled: b });
      case "remove":
        return this.#send({ type: "remove", device }, from);
      case "later":
        bench.admission.wall += a;
        return;
      case "commit":
        return bench.commit();
      case "commitSome":
        return bench.commit(Math.min(bench.entries.length, bench.machine.index + a));
      case "confirm":
        return bench.admission.confirmed(bench.rounds - (a > 5 ? 1 : 0));
      case "gone":
        this.#gone[gateway]! += 1;
        return bench.admission.gatewayGone(from.node, from.incarnation);
      case "usurp":
        this.#epoch += 1;
        bench.admission.closed();
        bench.commit(); // the tail stays (R16), and commits under the new epoch
        bench.admission.opened(this.#epoch);
    }
  }

  readonly #gone = [0, 0];

  #incarnation(gateway: number): number {
    return 1 + this.#gone[gateway]!;
  }

  #send(request: Parameters<Bench["send"]>[0], from: GatewayId): void {
    const asked = this.bench.send(request, from);
    this.#asked.set(asked, from);
  }

  /** Looks at every answer that has gone out since the last look. */
  look(): void {
    for (; this.#seen < this.bench.answers.length; this.#seen += 1) this.#lookAt(this.bench.answers[this.#seen]!.answer);
  }

  #lookAt(answer: HopAnswer): void {
    if ("request" in answer) expect(this.#asked.delete(answer.request), `request ${answer.request} is answered once`).toBe(true);
    const { machine } = this.bench;
    if (answer.type === "attached") {
      const own = [...DEVICES].find((id) => machine.devices.find(id)?.own?.number === answer.session);
      if (own !== undefined) this.#attached.set(own, answer);
      expect(answer.last).toBeGreaterThanOrEqual(this.#acked.get(answer.session) ?? 0);
    } else if (answer.type === "acked") {
      expect(answer.series).toBeGreaterThanOrEqual(this.#acked.get(answer.session) ?? 0);
      this.#acked.set(answer.session, answer.series);
    } else if (answer.type === "refused") expect(answer.expected).toBeGreaterThan(this.#acked.get(answer.session) ?? 0);
  }

  /** Whatever is under way comes to its end. */
  settle(): void {
    const { bench } = this;
    for (let i = 0; i < 20; i += 1) {
      bench.commit();
      bench.admission.confirmed(bench.rounds);
    }
    this.look();
    const heard = [...this.#asked.values()].filter(({ node, incarnation }) => incarnation === this.#incarnation(GATEWAYS.findIndex((gateway) => gateway.node === node)));
    expect(heard, "only a gateway that is gone is left without an answer").toEqual([]);
    expect(bench.admission.waiting).toMatchObject({ held: 0, inTail: 0, questions: 0 });
    this.#checkStreams();
    for (const [i, { node }] of GATEWAYS.entries()) bench.admission.gatewayGone(node, this.#incarnation(i));
    for (let i = 0; i < 5; i += 1) bench.commit();
    expect(bench.machine.presence.count).toBe(0);
    expect(bench.admission.waiting.seats).toBe(0);
    expect(Buffer.compare(bench.machine.snapshot(), bench.replayed().snapshot())).toBe(0);
  }

  #checkStreams(): void {
    for (const id of DEVICES) {
      let session = 0;
      let series = 0;
      let connected = false;
      for (const shown of this.bench.stream(id)) {
        if (shown.type === "presence") {
          const { connected: now } = JSON.parse(textOf(shown.body)) as { connected: boolean };
          expect(now, "presence alternates").toBe(!connected);
          connected = now;
        }
        if (shown.type !== "uplink") continue;
        expect(shown.session).toBeGreaterThanOrEqual(session);
        series = shown.session === session ? series + 1 : 1;
        session = shown.session;
        expect(shown.series, "a session's series is consecutive from 1").toBe(series);
        expect(shown.body).toEqual(body(`${session}:${series}`));
      }
      const own = this.bench.machine.devices.find(id)?.own;
      if (own !== undefined) expect(own.last).toBeGreaterThanOrEqual(this.#acked.get(own.number) ?? 0);
      expect((own?.attachment ?? 0) !== 0).toBe(connected);
    }
  }
}

test("whatever gateways ask, and however often the leader changes", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const world = new World();
      world.bench.open();
      for (const step of all) {
        world.step(step);
        world.look();
      }
      world.settle();
    }),
    { numRuns: 300 },
  );
});
