// What a node tells of a control log that does not answer, and of one that does again (R15).

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { BellhopError } from "../../src/base/errors.ts";
import { MemoryControl } from "../../src/control/memory.ts";
import { Membership } from "../../src/node/membership.ts";

class Unreliable extends MemoryControl {
  isDown = false;

  override async lease(node: string, incarnation: number, ttlMs: number): Promise<number> {
    if (this.isDown) throw new BellhopError("deadline", "down");
    return super.lease(node, incarnation, ttlMs);
  }
}

test("it is told once when a lease's time has passed without an answer, and once when there is one", async () => {
  const control = new Unreliable();
  const told: boolean[] = [];
  const nothing = (): void => undefined;
  const membership = await Membership.follow(control, { changed: nothing, leases: nothing, failed: nothing, over: nothing, away: (isAway) => told.push(isAway) }, { leaseMs: 300, keeper: undefined });
  await membership.register({ node: "n1", store: "s", clean: true, incomplete: [], address: { http: "", device: "", peer: "" }, zone: "z" });
  control.isDown = true;
  while (told.at(-1) !== true) await sleep(10);
  expect(membership.silentMs).toBeGreaterThanOrEqual(300);
  const before = told.length;
  while (membership.silentMs < 1200) await sleep(10);
  expect(told.length).toBe(before);
  control.isDown = false;
  while (told.at(-1) !== false) await sleep(10);
  expect(told).toEqual(told.map((_isAway, place) => place % 2 === 0)); // in turn, whatever the machine's own stalls add
  await membership.close();
});
