// What a line keeps for its device: the backlog until its ACK, and what the device is told (R27, R29).

import { describe, expect, test } from "vitest";
import { PUBLISH_KIND } from "../../../src/core/hop.ts";
import { Rig } from "./rig.ts";

describe("opening", () => {
  test("asks the leader for a session and passes its answer on", () => {
    const rig = new Rig();
    rig.lead(3, "n2");
    const socket = rig.dial({ nonce: 5n, leaves: 4, window: 6 });
    const asked = rig.asked("open");
    expect(asked).toMatchObject({ to: "n2", bucket: 0, epoch: 3, request: { device: "a", publisher: "", nonce: 5n, window: 6, leaves: 4, attach: true } });
    rig.attached(asked, { session: 9, last: 2 });
    expect(socket.said()).toEqual(["WELCOME 9 last 2"]);
    socket.send(3);
    expect(rig.frames()).toEqual(["n2 epoch 3 handle 1: 3"]);
  });

  test("a PUBLISH before WELCOME ends the socket, and is not forwarded", () => {
    const rig = new Rig();
    rig.lead(1);
    const socket = rig.dial();
    const asked = rig.asked("open");
    socket.send(1);
    expect(socket.said()).toEqual(["CLOSE protocol after 0"]);
    expect(rig.frames()).toEqual([]);
    const detach = rig.asked("detach");
    expect(detach.request).toMatchObject({ device: "a", nonce: 1n, attachment: 0 }); // R33: nobody holds that socket
    rig.attached(asked, { attachment: 12 });
    rig.done(detach);
    expect(rig.gateway.counts).toEqual({ lines: 0, waitingLines: 0, requests: 0, detaches: 0 });
  });

  test("a resume names what the device holds", () => {
    const rig = new Rig();
    rig.lead(1);
    rig.dial({ session: 7, oldest: 4, next: 9 });
    expect(rig.asked("resume").request).toMatchObject({ session: 7, oldest: 4, next: 9, attach: true });
  });

  test("a nonce behind gets BROKEN with the stored one (R25)", () => {
    const rig = new Rig();
    rig.lead(1);
    const socket = rig.dial();
    rig.broken(rig.asked("open"), "taken_over", 99n);
    expect(socket.said()).toEqual(["BROKEN generation 2 last 3 nonce 99"]);
    expect(rig.hops()).toEqual([]); // it never had an attachment
    const resumes = rig.dial({ session: 7 });
    rig.broken(rig.asked("resume"), "taken_over", 99n);
    expect(resumes.said()).toEqual(["BROKEN generation 2 last 3 nonce 99"]);
  });

  test("a resume of a session that is behind is taken over; one that does not join on is broken (R26)", () => {
    const rig = new Rig();
    rig.lead(1);
    const behind = rig.dial({ session: 3 });
    rig.broken(rig.asked("resume"), "taken_over");
    expect(behind.said()).toEqual(["CLOSE taken_over after 0"]);
    expect(rig.hops()).toEqual([]);
    const loose = rig.dial({ session: 7 });
    rig.broken(rig.asked("resume"), "broken");
    expect(loose.said()).toEqual(["BROKEN generation 2 last 3"]);
  });

  test("a leader's refusal for good ends the socket: for a while, or without a time to come back", () => {
    const rig = new Rig();
    rig.lead(1);
    const full = rig.dial();
    rig.failed(rig.asked("open"), "storage_full");
    expect(full.said()).toEqual(["CLOSE storage_full after 40"]);
    const bad = rig.dial();
    rig.failed(rig.asked("open"), "bad_request");
    expect(bad.said()).toEqual(["CLOSE bad_request after 0"]);
  });
});

describe("the backlog", () => {
  test("keeps messages until their ACK, as many as the window says", () => {
    const rig = new Rig();
    const socket = rig.connect({ window: 3 });
    socket.send(1, 4);
    expect(socket.line.waiting.messages).toBe(3);
    expect(socket.said()).toEqual(["REFUSE 4 no_credit"]);
    expect(rig.frames()).toHaveLength(3);
    rig.acked(2);
    expect(socket.line.waiting.messages).toBe(1);
    socket.send(4, 5);
    expect(socket.line.waiting.messages).toBe(3);
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 4", "n1 epoch 1 handle 1: 5"]);
  });

  test("and no more bytes than the limit, but for the message that reaches it", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 2, 20);
    expect(socket.line.waiting).toEqual({ messages: 2, bytes: 40 });
    socket.send(3);
    expect(socket.said()).toEqual(["REFUSE 3 no_credit"]);
    rig.acked(1);
    expect(socket.line.waiting).toEqual({ messages: 1, bytes: 20 });
    socket.send(3);
    expect(socket.said()).toEqual([]);
  });

  test("is dropped with the socket, whose attachment goes down (B9, R33)", () => {
    const rig = new Rig();
    const socket = rig.connect({ attachment: 11 });
    socket.send(1, 2);
    socket.line.closed();
    expect(socket.line.waiting).toEqual({ messages: 0, bytes: 0 });
    const detach = rig.asked("detach");
    expect(detach.request).toMatchObject({ device: "a", session: 7, attachment: 11 });
    rig.done(detach);
    rig.acked(2);
    rig.gateway.flush();
    socket.send(3);
    socket.line.closed();
    expect(socket.said()).toEqual([]);
    expect(rig.hops()).toEqual([]);
    expect(rig.gateway.counts.lines).toBe(0);
  });
});

describe("ACK", () => {
  test("is cumulative, and goes out once a turn", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 3);
    rig.acked(1);
    rig.acked(3);
    expect(rig.isAwake).toBe(true);
    expect(socket.said()).toEqual([]);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["ACK 3"]);
    rig.gateway.flush();
    expect(socket.said()).toEqual([]);
  });

  test("never falls", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 3);
    rig.acked(3);
    rig.gateway.flush();
    rig.acked(2);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["ACK 3"]);
  });

  test("follows the codes of the numbers it voids, each told once (R27)", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 3);
    rig.acked(2, [{ series: 2, code: "too_large" }]);
    rig.acked(3, [{ series: 2, code: "too_large" }, { series: 3, code: "forbidden" }]);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["VOID 2 too_large", "VOID 3 forbidden", "ACK 3"]);
  });

  test("of another session reaches nobody", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.acked(1, [], 8);
    rig.gateway.flush();
    expect(socket.said()).toEqual([]);
    expect(socket.line.waiting.messages).toBe(1);
  });
});

describe("a number that is not the next", () => {
  test("acknowledged before: the ACK is said again, and nothing is sent", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 2);
    rig.acked(2);
    rig.gateway.flush();
    socket.said();
    rig.frames();
    socket.send(1);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["ACK 2"]);
    expect(rig.frames()).toEqual([]);
  });

  test("in the backlog: nothing is said before the original's ACK (R27)", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 2);
    socket.send(1, 2);
    rig.gateway.flush();
    expect(socket.said()).toEqual([]);
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 1", "n1 epoch 1 handle 1: 2"]);
    expect(socket.line.waiting.messages).toBe(2);
  });

  test("above the next: one REFUSE a gap, not one a frame", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(2, 4);
    expect(socket.said()).toEqual(["REFUSE 1 gap"]);
    socket.send(1);
    socket.send(3, 4);
    expect(socket.said()).toEqual(["REFUSE 2 gap"]);
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 1"]);
  });
});

describe("what the leader cannot take", () => {
  test("a full disk: the numbers go back to the device, which sends them again", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 4);
    rig.frames();
    rig.refused(3, "storage_full");
    expect(socket.said()).toEqual(["REFUSE 3 storage_full"]);
    expect(socket.line.waiting.messages).toBe(2);
    expect(rig.hops()).toEqual([]); // the attachment stands
    socket.send(3, 4);
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 3", "n1 epoch 1 handle 1: 4"]);
    rig.acked(4);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["ACK 4"]);
  });

  test("the gaps behind it are of frames that were given back: they change nothing", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 4);
    rig.refused(3, "storage_full");
    rig.refused(3, "gap");
    expect(socket.said()).toEqual(["REFUSE 3 storage_full"]);
    expect(rig.hops()).toEqual([]);
    socket.send(3);
    rig.refused(3, "gap"); // now it may be this one
    rig.asked("reattach");
  });

  test("an ACK for what was given back counts: the leader took it after all", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 3);
    rig.refused(2, "storage_full");
    socket.said();
    rig.acked(3);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["ACK 3"]);
    rig.frames();
    socket.send(2, 4);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["ACK 3"]);
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 4"]);
  });

  test("an ACK above what the device ever gave: its session is broken, not the node", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.acked(2);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["BROKEN generation 0 last 2"]);
    expect(rig.asked("detach").request).toMatchObject({ session: 7 });
  });
});

test("a void publish and one refused by the front-end keep their place in the series", () => {
  const rig = new Rig();
  const socket = rig.connect();
  socket.line.publish(1, PUBLISH_KIND.void, Uint8Array.of(1), 0, 1, "forbidden");
  socket.send(2);
  expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 1", "n1 epoch 1 handle 1: 2"]);
});

describe("the receive cursor", () => {
  test("goes to the leader, only when it rises", () => {
    const rig = new Rig();
    const socket = rig.connect({ delivered: 2, handled: 1, handle: 6 });
    socket.line.received(2, 1);
    expect(rig.hops()).toEqual([]);
    socket.line.received(3, 1);
    expect(rig.asked("received").request).toMatchObject({ handle: 6, delivered: 3, handled: 1 });
  });
});
