// Credentials of devices at the leader: who may attach, what a removal ends, and that "no" is sure.

import { describe, expect, test } from "vitest";
import { credentialOf, MOST_CREDENTIALS, sameDigest } from "../../../src/core/stream/credentials.ts";
import { decodeDevice, Device, encodeDevice } from "../../../src/core/stream/device.ts";
import { Bench, GATEWAY, textOf } from "./driver.ts";

const digest = (seed: number): Uint8Array => new Uint8Array(32).fill(seed);
const OPEN = { type: "open", device: "d", publisher: "", nonce: 1n, window: 8, leaves: 0, attach: true } as const;
const OTHER = { node: "n2", incarnation: 1 };

function withCredential(name = "factory", seed = 1): Bench {
  const bench = new Bench().open();
  put(bench, name, seed);
  return bench;
}

function put(bench: Bench, name: string, seed: number, device = "d"): void {
  bench.ask("done", { type: "putCredential", device, name, digest: digest(seed) });
}

function code(bench: Bench, request: Parameters<Bench["send"]>[0]): string {
  return bench.ask("failed", request).code;
}

/** "No" is told after a round only. */
function refusal(bench: Bench, request: Parameters<Bench["send"]>[0], from = GATEWAY): string {
  const entries = bench.entries.length;
  const number = bench.send(request, from);
  bench.commit();
  expect(bench.answers).toEqual([]);
  bench.admission.confirmed(bench.rounds);
  const { code: said } = bench.answerTo("failed", number);
  expect(bench.entries.length).toBe(entries);
  bench.forget();
  return said;
}

describe("attaching", () => {
  test("a device attaches by a credential of its own, and one vouched for by none", () => {
    const bench = withCredential();
    expect(bench.ask("attached", { ...OPEN, credential: digest(1) }).session).toBeGreaterThan(0);
    expect(bench.ask("attached", { ...OPEN, device: "vouched" }).session).toBeGreaterThan(0);
  });

  test("a wrong digest, another device's, and any for a device that is not known are refused alike, and write nothing", () => {
    const bench = withCredential();
    put(bench, "factory", 2, "e");
    const { session } = bench.ask("attached", { ...OPEN, credential: digest(1) });
    bench.forget();
    const attachments = [OPEN, { type: "resume", device: "d", publisher: "", session, nonce: 99n, oldest: 1, next: 1, attach: true }, { type: "reattach", device: "d", publisher: "", session, nonce: 99n, attachment: session }] as const;
    for (const attachment of attachments) {
      expect(refusal(bench, { ...attachment, credential: digest(9) })).toBe("unauthenticated");
      expect(refusal(bench, { ...attachment, credential: digest(2) })).toBe("unauthenticated");
      expect(refusal(bench, { ...attachment, credential: new Uint8Array(0) })).toBe("unauthenticated");
      expect(refusal(bench, { ...attachment, credential: digest(0) })).toBe("unauthenticated");
      expect(refusal(bench, { ...attachment, device: "nobody", credential: digest(1) })).toBe("unauthenticated");
    }
    expect(bench.machine.devices.find("nobody")).toBeUndefined();
    expect(bench.machine.devices.find("d")!.own!.attachment).toBe(session);
  });

  test("a credential that a deposed leader lacks is taken when the round shows it", () => {
    const bench = withCredential();
    const number = bench.send({ ...OPEN, credential: digest(2) });
    put(bench, "second", 2);
    bench.forget();
    bench.admission.confirmed(bench.rounds);
    bench.commit();
    expect(bench.answerTo("attached", number).session).toBeGreaterThan(0);
  });

  test("a credential removed while the open was in the tail is refused when it is applied", () => {
    const bench = withCredential();
    const removal = bench.send({ type: "removeCredential", device: "d", name: "factory" });
    const open = bench.send({ ...OPEN, credential: digest(1) });
    bench.commit();
    expect(bench.answerTo("done", removal).type).toBe("done");
    expect(bench.answerTo("failed", open).code).toBe("unauthenticated");
    expect(bench.machine.devices.find("d")!.own).toBeUndefined();
  });
});

describe("removing", () => {
  test("ends the sockets that came by it, once it is committed, and no others", () => {
    const bench = withCredential();
    put(bench, "second", 2);
    const first = bench.ask("attached", { ...OPEN, credential: digest(1) });
    bench.forget();
    bench.send({ type: "removeCredential", device: "d", name: "second" });
    bench.commit();
    expect(bench.take("revoked")).toEqual([]);

    bench.publish(first.handle, 1);
    bench.send({ type: "removeCredential", device: "d", name: "factory" });
    expect(bench.answers).toEqual([]);
    bench.commit();
    const types = bench.answers.filter(({ to }) => to === GATEWAY).map(({ answer }) => answer.type);
    expect(types).toEqual(["acked", "revoked", "done"]);
    expect(bench.take("revoked")).toEqual([{ type: "revoked", device: "d", publisher: "", session: first.session, attachment: first.attachment }]);

    const end = bench.machine.devices.find("d")!.end;
    bench.publish(first.handle, 2); // the gateway has not heard yet
    bench.commit();
    expect(bench.machine.devices.find("d")!.end).toBe(end);
    expect(refusal(bench, { type: "reattach", device: "d", publisher: "", session: first.session, nonce: 99n, attachment: first.attachment, credential: digest(1) })).toBe("unauthenticated");
  });

  test("a re-attached seat is ended too, at whichever gateway", () => {
    const bench = withCredential();
    const { session, attachment } = bench.ask("attached", { ...OPEN, credential: digest(1) }, OTHER);
    bench.admission.closed();
    bench.admission.opened(2);
    bench.ask("attached", { type: "reattach", device: "d", publisher: "", session, nonce: 99n, attachment, credential: digest(1) }, OTHER);
    bench.forget();
    bench.send({ type: "removeCredential", device: "d", name: "factory" });
    bench.commit();
    expect(bench.answers.find(({ answer }) => answer.type === "revoked")?.to).toEqual(OTHER);
  });

  test("its token put again under the same name is another credential", () => {
    const bench = withCredential();
    const open = bench.send({ ...OPEN, credential: digest(1) });
    bench.entries.pop(); // the open is behind removal and put in the log
    bench.admission.closed();
    bench.admission.opened(2);
    expect(bench.answerTo("failed", open).code).toBe("stale_table");
    const before = bench.machine.devices.find("d")!.credentials[0]!.id;
    bench.ask("done", { type: "removeCredential", device: "d", name: "factory" });
    put(bench, "factory", 1);
    expect(bench.machine.devices.find("d")!.credentials[0]!.id).not.toBe(before);
  });
});

describe("putting", () => {
  test("a second time alike changes nothing; the same name with another token, and more than four, are refused", () => {
    const bench = withCredential("c1", 1);
    put(bench, "c1", 1);
    expect(code(bench, { type: "putCredential", device: "d", name: "c1", digest: digest(2) })).toBe("exists");
    for (let i = 2; i <= MOST_CREDENTIALS; i += 1) put(bench, `c${i}`, i);
    expect(code(bench, { type: "putCredential", device: "d", name: "c5", digest: digest(5) })).toBe("limit_reached");
    expect(bench.machine.devices.find("d")!.credentials.map(({ name }) => name)).toEqual(["c1", "c2", "c3", "c4"]);
  });

  test("what is malformed, and what is not there, is refused", () => {
    const bench = withCredential();
    expect(code(bench, { type: "putCredential", device: "d", name: "", digest: digest(1) })).toBe("bad_request");
    expect(code(bench, { type: "putCredential", device: "d", name: "x", digest: new Uint8Array(31) })).toBe("bad_request");
    expect(code(bench, { type: "putCredential", device: "..", name: "x", digest: digest(1) })).toBe("bad_request");
    expect(code(bench, { type: "removeCredential", device: "d", name: "x" })).toBe("not_found");
    expect(code(bench, { type: "removeCredential", device: "nobody", name: "x" })).toBe("unknown_device");
  });

  test("a device that was removed and comes again has none of before", () => {
    const bench = withCredential();
    bench.ask("done", { type: "remove", device: "d" });
    bench.ask("done", { type: "create", device: "d" });
    expect(bench.machine.devices.find("d")!.credentials).toEqual([]);
  });
});

describe("records", () => {
  test("a device record of version 1 is one without credentials", () => {
    const bytes = encodeDevice(new Device("d", 3));
    const before = Uint8Array.from([1, ...bytes.subarray(1, bytes.length - 1)]);
    expect(decodeDevice(before)).toEqual(decodeDevice(bytes));
  });

  test("the log, the snapshot and the checkpoint hold the digest, in the order of putting", () => {
    const bench = withCredential();
    bench.checkpoint();
    expect(bench.machine.devices.find("d")!.credentials).toMatchObject([{ name: "factory", digest: digest(1), created: bench.admission.wall }]);
    expect(textOf(bench.replayed().snapshot())).toBe(textOf(bench.machine.snapshot()));
  });
});

test("digests are the same only when all of their 32 bytes are", () => {
  for (let i = 0; i < 32; i += 1) {
    const other = digest(1);
    other[i] = 2;
    expect(sameDigest(digest(1), other)).toBe(false);
    expect(credentialOf(other, [{ id: 4, name: "n", digest: digest(1), created: 0 }])).toBeUndefined();
  }
  expect(sameDigest(digest(1), digest(1).subarray(0, 31))).toBe(false);
  expect(credentialOf(digest(1), [{ id: 4, name: "n", digest: digest(1), created: 0 }])).toBe(4);
});
