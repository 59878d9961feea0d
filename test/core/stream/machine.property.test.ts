// The machine against a naive model, under random entries; and its state is the same however it came there: replay, checkpoint and replay, snapshot (invariant 17).

import fc from "fast-check";
import { expect, test } from "vitest";
import { ENTRY_KIND, type Entry } from "../../../src/core/entry.ts";
import { PUBLISH_KIND, type PublishKind } from "../../../src/core/hop.ts";
import { COMMAND, encodeCommand, encodePublish, publishNames, type Command } from "../../../src/core/stream/commands.ts";
import { StreamMachine } from "../../../src/core/stream/machine.ts";
import { Slab } from "../../../src/core/stream/slab.ts";
import { earliest, indexesOf, view } from "../../../src/core/stream/view.ts";
import { body, Store, textOf } from "./driver.ts";
import { Model, type Publish } from "./model.ts";

const DEVICES = ["a", "b", "c/d", "ü"];
const PUBLISHERS = ["", "", "server"];
const KEYS = ["k1", "k2", "k3"];
const GATEWAYS = [{ node: "n1", incarnation: 1 }, { node: "n1", incarnation: 2 }, { node: "n2", incarnation: 1 }];
const DOCUMENTS = [`{"a":1}`, `{"a":null,"b":{"c":[1]}}`, `{"b":{"c":null,"__proto__":2}}`, `{}`, `[]`, `{"cut`];

/** No session is given this number: a publish names its own device's session, whatever else may be wrong with it. */
const NO_SESSION = 1e9;

/** What one step does: an entry whose numbers are near the model's, or something that happens to the machine. */
interface Step {
  readonly kind: "publish" | "burst" | "open" | "attach" | "detach" | "keyed" | "state" | "received" | "create" | "remove" | "trim" | "putCredential" | "removeCredential" | "floor" | "checkpoint" | "restart" | "install" | "snapshot";
  readonly device: string;
  readonly publisher: string;
  /** Picks among alternatives. */
  readonly a: number;
  readonly b: number;
}

const steps = fc.array(
  fc.record<Step>({
    kind: fc.oneof(
      { weight: 30, arbitrary: fc.constant("publish" as const) },
      { weight: 2, arbitrary: fc.constant("burst" as const) },
      { weight: 40, arbitrary: fc.constantFrom("open", "attach", "detach", "keyed", "state", "received") },
      { weight: 3, arbitrary: fc.constantFrom("create", "remove", "trim", "floor") },
      { weight: 8, arbitrary: fc.constantFrom("putCredential", "putCredential", "removeCredential") },
      { weight: 12, arbitrary: fc.constantFrom("checkpoint", "restart", "install", "snapshot") },
    ),
    device: fc.constantFrom(...DEVICES),
    publisher: fc.constantFrom(...PUBLISHERS),
    a: fc.nat(9),
    b: fc.nat(9),
  }),
  { minLength: 10, maxLength: 120 },
);

/** Machines that came to the same state in different ways, and the model. */
class World {
  readonly model = new Model();
  readonly entries: Entry[] = [];
  readonly #slab = new Slab();
  #store = new Store();
  machine = this.#fresh();
  /** The first session that each publisher had. */
  readonly #former = new Map<string, number>();
  #time = 100;
  #floor = 1;

  #fresh(): StreamMachine {
    return new StreamMachine(this.#store, { cachedDevices: 1 });
  }

  step(step: Step): void {
    if (step.kind === "checkpoint" || step.kind === "restart" || step.kind === "install" || step.kind === "snapshot") this.#disturb(step.kind, step.a);
    else if (step.kind === "floor") this.#append(ENTRY_KIND.floor, this.#newFloor(step.a));
    else if (step.kind === "burst") for (let i = 0; i < 100; i += 1) this.#publish({ ...step, a: 0, b: 0 });
    else if (step.kind === "publish") this.#publish(step);
    else this.#enter(this.#command({ ...step, kind: step.kind }));
  }

  #newFloor(part: number): Uint8Array {
    this.#floor = Math.max(this.#floor, Math.floor((this.entries.length * part) / 10));
    const payload = new Uint8Array(6);
    new DataView(payload.buffer).setUint32(2, this.#floor);
    return payload;
  }

  #append(kind: 1 | 2, payload: Uint8Array): Entry {
    const entry = { index: this.entries.length + 1, epoch: 1, kind, time: this.#time, payload };
    this.entries.push(entry);
    this.machine.apply(entry);
    return entry;
  }

  #enter(command: Command): void {
    this.#time += 3;
    const { index } = this.#append(ENTRY_KIND.machine, encodeCommand(command));
    this.model.apply(index, this.#time, command);
    if (command.command === COMMAND.open && !this.#former.has(`${command.device} ${command.publisher}`)) this.#former.set(`${command.device} ${command.publisher}`, index);
  }

  #publish({ device, publisher, a, b }: Step): void {
    const session = this.model.devices.get(device)?.sessions.get(publisher);
    const former = this.#former.get(`${device} ${publisher}`) ?? NO_SESSION;
    const number = b === 9 ? former : (session?.number ?? former);
    const kind: PublishKind = a === 8 ? PUBLISH_KIND.void : a >= 6 ? PUBLISH_KIND.statePatch : PUBLISH_KIND.message;
    const text = kind === PUBLISH_KIND.statePatch ? DOCUMENTS[b % DOCUMENTS.length]! : "hello";
    const publish: Publish = { command: COMMAND.publish, device, publisher, session: number, series: (session?.last ?? 0) + [1, 1, 1, 1, 1, 1, 0, 2, 1, 1][b]!, kind, code: kind === PUBLISH_KIND.void ? 1 : 0, text };
    const bytes = kind === PUBLISH_KIND.void ? new Uint8Array(0) : body(text);
    const payload = encodePublish(this.#slab, kind, publish.code, number, publish.series, publishNames(device, publisher), bytes, 0, bytes.length);
    const { index } = this.#append(ENTRY_KIND.machine, payload);
    this.model.apply(index, this.#time, publish);
  }

  #command({ kind, device, publisher, a, b }: Step & { readonly kind: "open" | "attach" | "detach" | "keyed" | "state" | "received" | "create" | "remove" | "trim" | "putCredential" | "removeCredential" }): Command {
    const session = this.model.devices.get(device)?.sessions.get(publisher);
    const number = session?.number ?? 1;
    const last = session?.last ?? 0;
    const gateway = publisher === "" && a < 8 ? GATEWAYS[a % GATEWAYS.length] : undefined;
    switch (kind) {
      case "open":
        return { command: COMMAND.open, device, publisher, nonce: (session?.nonce ?? 5n) + BigInt(b < 7 ? 1 : b - 8), window: 5, leaves: number, generation: 0, most: 3, gateway, credential: this.#credential(device, a) };
      case "attach":
        return { command: COMMAND.attach, device, publisher, session: b === 9 ? number + 1 : number, nonce: (session?.nonce ?? 5n) + BigInt(a % 3) - 1n, oldest: last + (b === 8 ? 2 : 1), next: last + (b === 7 ? 0 : 1), generation: b === 6 ? 1 : 0, gateway, credential: this.#credential(device, a) };
      case "detach":
        return { command: COMMAND.detach, reason: "closed", sessions: DEVICES.slice(a % 4).map((id) => {
          const own = this.model.devices.get(id)?.sessions.get("");
          return { device: id, session: own?.number ?? 1, attachment: Math.max(0, (own?.attachment ?? 1) - (b === 9 ? 1 : 0)) };
        }) };
      case "keyed":
        return { command: COMMAND.keyed, device, key: KEYS[a % 3]!, fingerprint: b > 5 ? "x" : "y", expires: b === 5 ? this.#time : 0, retention: 1e9, space: 1e9, body: body("down") };
      case "state":
        return { command: COMMAND.state, device, which: a % 2 === 0 ? "desired" : "reported", how: a > 4 ? "put" : "patch", ifVersion: b === 9 ? 1 : undefined, trace: a === 3 ? "00-trace" : "", document: new TextEncoder().encode(DOCUMENTS[b % DOCUMENTS.length]) };
      case "received":
        return { command: COMMAND.received, cursors: [{ device, session: number, attachment: session?.attachment ?? 0, delivered: a, handled: b }] };
      case "create":
        return { command: COMMAND.create, device, retain: a < 4 ? undefined : { seconds: a === 9 ? 60 : 0, entries: b } };
      case "trim":
        return { command: COMMAND.trim, device, since: this.machine.devices.find(device)?.since ?? a, first: a * b };
      case "remove":
        return { command: COMMAND.remove, device };
      case "putCredential":
        return { command: COMMAND.putCredential, device, name: `c${b % 6}`, digest: new Uint8Array(32).fill(a) };
      case "removeCredential":
        return { command: COMMAND.removeCredential, device, name: `c${b % 6}` };
    }
  }

  /** Mostly none; else one that the device holds, or has held. */
  #credential(device: string, a: number): number {
    const held = this.model.devices.get(device)?.credentials ?? [];
    return a < 6 ? 0 : a === 9 ? 1 : (held[a % Math.max(1, held.length)]?.id ?? 1);
  }

  #disturb(how: "checkpoint" | "restart" | "install" | "snapshot", a: number): void {
    const before = this.machine.snapshot();
    if (how === "checkpoint") {
      // What is applied while the store writes stays dirty.
      const checkpoint = this.machine.checkpoint();
      if (a > 4) this.#publish({ kind: "publish", device: "a", publisher: "", a: 0, b: 0 });
      if (a > 7) return; // the store never confirmed: the machine is gone with it
      this.#store.write(checkpoint);
      this.machine.checkpointed();
      if (a > 4) return;
    } else if (how === "restart") {
      this.machine = this.#fresh();
      for (const entry of this.entries.slice(this.machine.index)) this.machine.apply(entry);
    } else if (how === "install") {
      this.#store = new Store();
      this.machine = this.#fresh();
      this.machine.restore(before, this.entries.length);
      if (a > 4) this.#publish({ kind: "publish", device: "a", publisher: "", a: 0, b: 0 });
      const whole = this.machine.whole();
      if (a > 7) this.#publish({ kind: "publish", device: "a", publisher: "", a: 0, b: 0 });
      this.#store.write(whole);
      this.machine.installed();
      if (a > 4) return;
    }
    expect(Buffer.compare(this.machine.snapshot(), before)).toBe(0);
  }

  check(): void {
    const { machine, model } = this;
    expect([...machine.devices.list("")].map(({ id }) => id).sort()).toEqual([...model.devices.keys()].sort());
    for (const [id, expected] of model.devices) {
      const device = machine.devices.find(id)!;
      const kept = expected.stream.filter(({ index }, i) => index >= machine.floor && i + 1 >= expected.first);
      const first = expected.stream.length - kept.length + 1;
      expect(earliest(machine, device)).toBe(first);
      const { indexes } = indexesOf(machine, device, 1, device.end);
      expect(device.end).toBe(expected.stream.length);
      expect(indexes.map((index, i) => ({ index, type: view(this.entries[index - 1]!, id, first + i).type }))).toEqual(kept);
      expect(device.sessions.map(({ publisher, number, last, attachment }) => ({ publisher, number, last, attachment }))).toEqual(
        [...expected.sessions].map(([publisher, { number, last, attachment }]) => ({ publisher, number, last, attachment })).sort((x, y) => (x.publisher < y.publisher ? -1 : 1)),
      );
      expect(device.credentials.map(({ id, name }) => ({ id, name }))).toEqual(expected.credentials);
      expect([device.delivered, device.handled]).toEqual([expected.delivered, expected.handled]);
      for (const which of ["reported", "desired"] as const) {
        const { text, version } = machine.document(id, which);
        expect([JSON.parse(textOf(text)), version]).toEqual([expected.documents[which].value, expected.documents[which].version]);
      }
      for (const key of KEYS) expect(machine.keys.find(device, machine.keys.nameOf(device, device.id, key))?.offset).toBe(expected.keys.get(key)?.offset);
    }
    const up = [...model.devices].flatMap(([, { sessions }]) => [...sessions.values()]).filter(({ attachment }) => attachment !== 0);
    expect(machine.presence.count).toBe(up.length);
    expect(["n1", "n2"].flatMap((node) => machine.presence.of(node, 9, 99)).map(({ session, attachment }) => `${session} ${attachment}`).sort()).toEqual(up.map(({ number, attachment }) => `${number} ${attachment}`).sort());
  }

  /** The same log from its beginning, with everything in memory. */
  replayed(): StreamMachine {
    const machine = new StreamMachine(new Store(), { cachedDevices: 1000 });
    for (const entry of this.entries) machine.apply(entry);
    return machine;
  }
}

test("the machine agrees with the model, and equal logs give equal bytes", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const world = new World();
      let confirmed = true;
      for (const step of all) {
        // After a checkpoint that was never confirmed only a restart can follow.
        if (!confirmed && step.kind !== "restart") world.step({ ...step, kind: "restart" });
        world.step(step);
        confirmed = !(step.kind === "checkpoint" && step.a > 7);
      }
      world.check();
      expect(Buffer.compare(world.machine.snapshot(), world.replayed().snapshot())).toBe(0);
    }),
    { numRuns: 150 },
  );
});
