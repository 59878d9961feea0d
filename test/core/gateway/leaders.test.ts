// A line and its leaders: pauses, new leaders, lost hops and links, and the rehop of the backlog (R29, C2).

import { describe, expect, test } from "vitest";
import { Rig } from "./rig.ts";

describe("a new leader", () => {
  test("is asked for an attachment, and gets the backlog from what it has applied on: in order, once", () => {
    const rig = new Rig();
    const socket = rig.connect({ attachment: 11, window: 8 });
    socket.send(1, 5);
    rig.acked(1);
    rig.frames();
    rig.lead(2, "n2");
    expect(socket.said()).toEqual(["CREDIT 0"]);
    expect(rig.frames()).toEqual([]);
    const asked = rig.asked("reattach");
    expect(asked).toMatchObject({ to: "n2", epoch: 2, request: { device: "a", publisher: "", session: 7, attachment: 11 } });
    rig.attached(asked, { last: 2, attachment: 11, handle: 30 });
    expect(rig.frames()).toEqual(["n2 epoch 2 handle 30: 3", "n2 epoch 2 handle 30: 4", "n2 epoch 2 handle 30: 5"]);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["CREDIT 8", "ACK 2"]);
    expect(socket.line.waiting.messages).toBe(3);
    rig.at(1);
    expect(rig.frames()).toEqual([]);
  });

  test("what the device sends meanwhile waits behind what is sent again", () => {
    const rig = new Rig();
    const socket = rig.connect({ window: 8 });
    socket.send(1, 2);
    rig.frames();
    rig.lead(2, "n2");
    socket.send(3, 4);
    expect(rig.frames()).toEqual([]);
    rig.attached(rig.asked("reattach"));
    expect(rig.frames()).toEqual([1, 2, 3, 4].map((series) => `n2 epoch 2 handle 1: ${series}`));
    socket.send(5);
    expect(rig.frames()).toEqual(["n2 epoch 2 handle 1: 5"]);
  });

  test("an ACK of the old one counts, before the new one has answered and after", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 3);
    rig.frames();
    rig.lead(2, "n2");
    const asked = rig.asked("reattach");
    rig.acked(1);
    expect(socket.line.waiting.messages).toBe(2);
    rig.attached(asked, { last: 1 });
    expect(rig.frames()).toHaveLength(2);
    rig.acked(2);
    expect(socket.line.waiting.messages).toBe(1);
    rig.gateway.flush();
    expect(socket.said()).toContain("ACK 2");
  });

  test("its refusals count; those of an epoch below it do not (R29)", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 2);
    rig.lead(2, "n2");
    rig.attached(rig.asked("reattach"));
    socket.said();
    rig.refused(1, "gap", 1);
    rig.refused(1, "storage_full", 1);
    expect(rig.hops()).toEqual([]);
    expect(socket.said()).toEqual([]);
    rig.refused(1, "gap", 2);
    expect(rig.asked("reattach").epoch).toBe(2);
  });

  test("lines that have nothing to say are asked about at the next sweep, and wait as long as it takes", () => {
    const rig = new Rig();
    const taken = rig.connect();
    const waits = rig.connect({ session: 8, attachment: 8, handle: 2 }, { device: "a2" });
    rig.lead(2, "n2");
    expect(rig.hops()).toEqual([]);
    rig.at(100);
    const hops = rig.hops();
    const [first, second] = [7, 8].map((session) => hops.find(({ request }) => "session" in request && request.session === session));
    expect(hops).toHaveLength(2);
    expect([first?.request, second?.request]).toMatchObject([{ type: "reattach", session: 7, nonce: 1n }, { type: "reattach", session: 8 }]);
    rig.broken(first!, "taken_over");
    expect(taken.said()).toEqual(["CLOSE taken_over after 0"]); // another socket came while n2 did not know of this one
    for (let now = 200; now < 60_000; now += 100) rig.at(now);
    expect(waits.said()).toEqual([]);
    expect(rig.gateway.counts.waitingLines).toBe(1);
  });

  test("lines that have nothing to say attach at once when they do", () => {
    const rig = new Rig();
    const sender = rig.connect();
    const receiver = rig.connect({ session: 8, attachment: 8, handle: 2 }, { device: "a2" });
    rig.lead(2, "n2");
    expect(rig.hops()).toEqual([]);
    sender.send(1);
    expect(rig.frames()).toEqual([]);
    const first = rig.asked("reattach");
    expect(first.request).toMatchObject({ session: 7 });
    rig.attached(first);
    expect(rig.frames()).toEqual(["n2 epoch 2 handle 1: 1"]);
    receiver.line.received(4, 4);
    const second = rig.asked("reattach");
    expect(second.request).toMatchObject({ session: 8 });
    rig.attached(second, { session: 8, attachment: 8, handle: 3 });
    expect(rig.asked("received").request).toMatchObject({ handle: 3, delivered: 4, handled: 4 });
  });

  test("only the lines of its bucket pause", () => {
    const rig = new Rig();
    rig.lead(1, "n1", { bucket: 1 });
    const other = rig.connect({ session: 8 }, { device: "b" });
    const socket = rig.connect();
    other.send(1);
    socket.send(1);
    rig.lead(2, "n2");
    expect(socket.said()).toEqual(["CREDIT 0"]);
    expect(other.said()).toEqual([]);
    expect(rig.hops()).toHaveLength(1);
  });

  test("the same route again changes nothing", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.lead(1);
    expect(rig.hops()).toEqual([]);
    expect(socket.said()).toEqual([]);
  });

  test("a third one before the second has answered: the second's answer is too late", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 2);
    rig.frames();
    rig.lead(2, "n2");
    const second = rig.asked("reattach");
    rig.lead(3, "n3");
    const third = rig.asked("reattach");
    rig.attached(second);
    expect(rig.frames()).toEqual([]);
    rig.attached(third);
    expect(rig.frames()).toEqual(["n3 epoch 3 handle 1: 1", "n3 epoch 3 handle 1: 2"]);
    expect(rig.hops()).toEqual([]); // the attachment is the same: nothing to take back
  });

  test("an accepted loss (a greater generation) breaks the line", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.lead(2, "n2");
    rig.attached(rig.asked("reattach"), { generation: 1, last: 0 });
    expect(socket.said()).toEqual(["CREDIT 0", "BROKEN generation 1 last 0"]);
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 1"]);
    expect(rig.gateway.counts.lines).toBe(0);
  });

  test("one that has more than the device ever gave breaks the line, not the node", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.lead(2, "n2");
    rig.attached(rig.asked("reattach"), { last: 2 });
    expect(socket.said()).toEqual(["CREDIT 0", "BROKEN generation 0 last 2"]);
  });
});

describe("REFUSE", () => {
  test("of a gap acknowledges nothing: the line attaches anew and sends from what is applied", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 4);
    rig.frames();
    rig.refused(3);
    rig.gateway.flush();
    expect(socket.said()).toEqual(["CREDIT 0"]);
    expect(socket.line.waiting.messages).toBe(4);
    rig.attached(rig.asked("reattach"), { last: 1 });
    expect(rig.frames()).toEqual([2, 3, 4].map((series) => `n1 epoch 1 handle 1: ${series}`));
  });

  test("of every frame behind a gap brings one new attachment", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1, 4);
    rig.refused(2);
    rig.refused(2);
    rig.refused(2);
    rig.asked("reattach");
    expect(socket.said()).toEqual(["CREDIT 0"]);
  });
});

describe("a hop that is lost without a word", () => {
  test("is found by the sweep: after one, two, four … of them", () => {
    const rig = new Rig();
    const socket = rig.connect();
    rig.at(100);
    socket.send(1);
    const asked: number[] = [];
    for (let now = 200; now <= 1800; now += 100) {
      rig.at(now);
      for (const hop of rig.hops()) {
        asked.push(now);
        rig.attached(hop);
      }
    }
    expect(asked).toEqual([300, 400, 600, 1000, 1800]);
    expect(rig.frames()).toHaveLength(1 + asked.length);
  });

  test("not so a backlog that moves, or has not been there for a whole sweep", () => {
    const rig = new Rig();
    const socket = rig.connect({ window: 100 });
    for (let series = 1; series <= 20; series += 1) {
      rig.at(series * 100 - 1);
      socket.send(series);
      rig.at(series * 100);
      rig.acked(series);
    }
    expect(rig.hops()).toEqual([]);
    for (let series = 21; series <= 40; series += 1) {
      socket.send(series);
      if (series > 21) rig.acked(series - 1);
      rig.at(series * 100);
    }
    expect(rig.hops()).toEqual([]);
    expect(rig.frames()).toHaveLength(40);
  });
});

describe("a lost link", () => {
  test("makes the lines on it attach anew at once, where they have a backlog", () => {
    const rig = new Rig();
    const busy = rig.connect();
    const quiet = rig.connect({ session: 8, attachment: 8, handle: 2 }, { device: "a2" });
    busy.send(1, 2);
    rig.frames();
    rig.gateway.linkLost("n9");
    expect(rig.hops()).toEqual([]);
    rig.gateway.linkLost("n1");
    rig.attached(rig.asked("reattach"), { last: 1, handle: 3 });
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 3: 2"]);
    expect(quiet.said()).toEqual([]);
  });

  test("questions on it are asked again at the next tick", () => {
    const rig = new Rig();
    rig.lead(1);
    const socket = rig.dial();
    rig.asked("open");
    rig.at(50);
    expect(rig.hops()).toEqual([]);
    rig.gateway.linkLost("n1");
    rig.at(51);
    rig.attached(rig.asked("open"));
    expect(socket.said()).toEqual(["WELCOME 7 last 0"]);
  });
});

describe("a question to a leader", () => {
  test("waits for a route", () => {
    const rig = new Rig();
    const socket = rig.dial();
    expect(rig.hops()).toEqual([]);
    rig.lead(1, "n1", { dark: true });
    rig.at(100);
    expect(rig.hops()).toEqual([]);
    rig.lead(2, "n2");
    rig.attached(rig.asked("open"));
    expect(socket.said()).toEqual(["WELCOME 7 last 0"]);
  });

  test("is asked again when nothing is heard; the answer to the earlier one says nothing", () => {
    const rig = new Rig();
    rig.lead(1);
    const socket = rig.dial();
    const first = rig.asked("open");
    rig.at(100);
    const second = rig.asked("open");
    rig.attached(first, { attachment: 5 });
    expect(socket.said()).toEqual([]);
    rig.attached(second, { attachment: 6 });
    expect(socket.said()).toEqual(["WELCOME 7 last 0"]);
    rig.attached(first, { attachment: 5 });
    expect(rig.hops()).toEqual([]);
  });

  test("is asked ever more seldom: after one, two, four, eight and eight times the limit; a new route or a lost link begins anew", () => {
    const rig = new Rig({ pauseMs: 1_000_000 });
    rig.lead(1);
    rig.dial();
    const asked: number[] = [];
    const look = (from: number, to: number): void => {
      for (let now = from; now < to; now += 50) {
        rig.at(now);
        for (let left = rig.hops().length; left > 0; left -= 1) asked.push(now);
      }
    };
    look(0, 3150);
    expect(asked.splice(0)).toEqual([0, 100, 300, 700, 1500, 2300, 3100]);
    rig.lead(2, "n2");
    look(3150, 3500);
    expect(asked.splice(0)).toEqual([3150, 3200, 3400]);
    rig.gateway.linkLost("n2");
    look(3500, 3850);
    expect(asked).toEqual([3500, 3600, 3800]);
  });

  test("is not asked again because the table says the same", () => {
    const rig = new Rig();
    rig.lead(1);
    rig.dial();
    rig.asked("open");
    rig.lead(1);
    expect(rig.hops()).toEqual([]);
  });

  test("after an attachment the back-off begins anew", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    for (const now of [0, 10, 30]) {
      rig.refused(1);
      rig.at(now);
      rig.failed(rig.hops().at(-1)!, "bucket_paused");
    }
    rig.at(70);
    rig.attached(rig.asked("reattach"));
    rig.refused(1);
    rig.failed(rig.asked("reattach"), "bucket_paused");
    rig.at(79);
    expect(rig.hops()).toEqual([]);
    rig.at(80);
    rig.asked("reattach");
  });

  test("that gets \"not now\" is asked again after 10, 20, 40, 40 … ms", () => {
    const rig = new Rig();
    rig.lead(1);
    rig.dial();
    const asked: number[] = [];
    for (let now = 0; now < 200; now += 10) {
      rig.at(now);
      for (const hop of rig.hops()) {
        asked.push(now);
        rig.failed(hop, "bucket_paused");
      }
    }
    expect(asked).toEqual([0, 10, 30, 70, 110, 150, 190]);
  });

  test("an answer of another epoch than the table's is not taken", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.frames();
    rig.lead(2, "n2");
    rig.attached(rig.asked("reattach"), { epoch: 1 });
    expect(rig.frames()).toEqual([]);
    rig.at(10);
    rig.attached(rig.asked("reattach"));
    expect(rig.frames()).toEqual(["n2 epoch 2 handle 1: 1"]);
  });

  test("a line whose bucket stays paused is closed in the end, with a time to come back", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.at(50);
    rig.lead(2, "n2");
    rig.hops();
    rig.at(1049);
    expect(socket.said()).toEqual(["CREDIT 0"]);
    rig.hops();
    rig.at(1050);
    expect(socket.said()).toEqual(["CLOSE bucket_paused after 40"]);
    rig.done(rig.asked("detach"));
    expect(rig.gateway.counts).toEqual({ lines: 0, waitingLines: 0, requests: 0, detaches: 0 });
    rig.at(5000);
    expect(rig.hops()).toEqual([]);
  });

  test("presence that went down meanwhile closes the socket", () => {
    const rig = new Rig();
    const socket = rig.connect();
    socket.send(1);
    rig.lead(2, "n2");
    rig.failed(rig.asked("reattach"), "idle");
    expect(socket.said()).toEqual(["CREDIT 0", "CLOSE idle after 40"]);
  });
});

describe("two sockets of one device", () => {
  test("takenOver ends the line of that attachment, and no other", () => {
    const rig = new Rig();
    const socket = rig.connect({ attachment: 11 });
    rig.takenOver(10);
    expect(socket.said()).toEqual([]);
    rig.takenOver(11);
    expect(socket.said()).toEqual(["CLOSE taken_over after 0"]);
    expect(rig.gateway.counts.lines).toBe(0);
  });

  test("the device is back on this node: the older socket ends once the newer one is welcome", () => {
    const rig = new Rig();
    const older = rig.connect({ attachment: 11 });
    older.send(1, 2);
    const newer = rig.dial({ session: 7, oldest: 1, next: 3 });
    const asked = rig.asked("resume");
    rig.acked(1);
    expect(older.line.waiting.messages).toBe(1);
    rig.attached(asked, { last: 2, attachment: 12 });
    expect(newer.said()).toEqual(["WELCOME 7 last 2"]);
    expect(older.said()).toEqual(["CLOSE taken_over after 0"]);
    expect(rig.asked("detach").request).toMatchObject({ attachment: 11 });
    rig.frames();
    newer.send(3);
    older.send(3);
    expect(rig.frames()).toEqual(["n1 epoch 1 handle 1: 3"]);
    rig.acked(3);
    rig.gateway.flush();
    expect(newer.said()).toEqual(["ACK 3"]);
    expect(older.said()).toEqual([]);
    expect(rig.gateway.counts.lines).toBe(1);
  });

  test("what a socket that closed before WELCOME may have brought up is taken back, whether or not it is answered", () => {
    const rig = new Rig();
    rig.lead(1);
    const socket = rig.dial({ nonce: 5n });
    const asked = rig.asked("open");
    socket.line.closed();
    expect(rig.asked("detach").request).toMatchObject({ device: "a", nonce: 5n, attachment: 0 });
    rig.attached(asked, { session: 7, attachment: 12 });
    expect(socket.said()).toEqual([]);
    rig.dial({ nonce: 6n }).line.closed();
    expect(rig.hops().map(({ request }) => request)).toMatchObject([{ type: "open" }, { type: "detach", nonce: 6n }]);
    expect(rig.gateway.counts.detaches).toBe(1); // the newer HELLO's detach covers the older one's
    rig.lead(2, "n2");
    const again = rig.asked("detach");
    expect(again.to).toBe("n2");
    rig.done(again);
    expect(rig.gateway.counts.detaches).toBe(0);
  });

  test("a HELLO that no leader was asked about, or that was answered, leaves nothing to take back", () => {
    const rig = new Rig();
    rig.dial().line.closed();
    rig.lead(1);
    rig.dial();
    rig.failed(rig.asked("open"), "too_many_requests");
    expect(rig.hops()).toEqual([]);
    expect(rig.gateway.counts.detaches).toBe(0);
  });
});

describe("a closed socket's presence (R33)", () => {
  test("goes down for certain: the leader, or the next one, is told until it says done", () => {
    const rig = new Rig();
    const socket = rig.connect({ attachment: 11 });
    socket.line.closed();
    const first = rig.asked("detach");
    rig.failed(first, "overloaded");
    rig.at(10);
    rig.asked("detach");
    rig.gateway.linkLost("n1");
    rig.at(11);
    rig.asked("detach");
    rig.lead(2, "n2");
    const second = rig.asked("detach");
    expect(second).toMatchObject({ to: "n2", epoch: 2, request: { device: "a", session: 7, attachment: 11 } });
    rig.done(first);
    expect(rig.gateway.counts.detaches).toBe(1);
    rig.done(second);
    expect(rig.gateway.counts).toEqual({ lines: 0, waitingLines: 0, requests: 0, detaches: 0 });
    rig.lead(3, "n3");
    rig.at(1_000_000);
    expect(rig.hops()).toEqual([]);
  });

  test("takes no room from requests, and is not of a server's session", () => {
    const rig = new Rig({ requests: 1 });
    rig.connect({ attachment: 11 }).line.closed();
    const keyed = { type: "keyed", device: "a", key: "k", fingerprint: "00", body: Uint8Array.of(1), expires: 0 } as const;
    expect(rig.request(keyed)).toEqual([]);
    rig.hops();
    const late = rig.request({ type: "open", device: "a", publisher: "p", nonce: 1n, window: 1, leaves: 0, attach: false }, 0);
    expect(late).toMatchObject([{ code: "overloaded" }]);
    rig.at(500);
    rig.hops();
    rig.request({ type: "open", device: "a", publisher: "p", nonce: 1n, window: 1, leaves: 0, attach: false }, 10);
    const open = rig.asked("open");
    rig.at(510);
    rig.hops();
    rig.attached(open, { session: 9, attachment: 0 });
    expect(rig.hops()).toEqual([]);
  });
});

test("the cursor that the leader has not heard of is told again after an attachment", () => {
  const rig = new Rig();
  const socket = rig.connect();
  socket.line.received(5, 5);
  rig.hops();
  socket.send(1);
  rig.lead(2, "n2");
  rig.attached(rig.asked("reattach"), { delivered: 3, handled: 5, handle: 9 });
  expect(rig.asked("received").request).toMatchObject({ handle: 9, delivered: 5, handled: 5 });
});

test("a line is found by its device", () => {
  const rig = new Rig();
  const socket = rig.connect();
  expect(rig.gateway.lineOf("a")).toBe(socket.line);
  expect(rig.gateway.lineOf("a2")).toBeUndefined();
});
