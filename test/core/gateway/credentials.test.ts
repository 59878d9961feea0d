// A line's credential at its leaders: it goes with every attachment, and its end ends the socket (F2, F4).

import { expect, test } from "vitest";
import { LIMITS, Rig } from "./rig.ts";

const credential = new Uint8Array(32).fill(5);

test("every attachment shows the credential; a line that was vouched for shows none", () => {
  const rig = new Rig();
  const socket = rig.connect({}, { credential });
  socket.send(1);
  rig.lead(2, "n2");
  expect(rig.asked("reattach").request).toMatchObject({ credential });
  rig.dial({ credential, session: 9, oldest: 1, next: 2 });
  expect(rig.asked("resume").request).toMatchObject({ credential });
  rig.dial({ credential, device: "aa" });
  expect(rig.asked("open").request).toMatchObject({ credential });
  rig.dial({ device: "ab" });
  expect(rig.asked("open").request).not.toHaveProperty("credential");
});

test("a refused credential closes the socket for good", () => {
  const rig = new Rig();
  rig.lead(1);
  const socket = rig.dial({ credential });
  rig.failed(rig.asked("open"), "unauthenticated");
  expect(socket.said()).toEqual(["CLOSE unauthenticated after 0"]);
});

test("revoked ends the line of that attachment, and no other", () => {
  const rig = new Rig();
  const socket = rig.connect({ attachment: 11 }, { credential });
  const revoked = { type: "revoked", device: "a", publisher: "", session: 7 } as const;
  rig.answer({ ...revoked, attachment: 10 });
  expect(socket.said()).toEqual([]);
  rig.answer({ ...revoked, attachment: 11 });
  expect(socket.said()).toEqual(["CLOSE unauthenticated after 0"]);
  expect(rig.asked("detach").request).toMatchObject({ session: 7, attachment: 11 });
});

test("an idle line attaches at a new leader by itself, and shows its credential again", () => {
  const rig = new Rig();
  rig.connect({}, { credential });
  rig.connect({ session: 8 }, { device: "ab" });
  rig.lead(2, "n2");
  rig.hops();
  rig.at(2 * LIMITS.askAgainMs);
  const hops = rig.hops();
  expect(hops).toHaveLength(2);
  expect(hops).toContainEqual(expect.objectContaining({ to: "n2", request: expect.objectContaining({ type: "reattach", device: "a", credential }) }));
  expect(hops).toContainEqual(expect.objectContaining({ to: "n2", request: expect.objectContaining({ type: "reattach", device: "ab" }) }));
});
