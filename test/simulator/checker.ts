// The invariants of the protocol (replication.md §6), checked as each event touches them, against one oracle of what is committed.

import { ENTRY_KIND, type Entry } from "../../src/core/entry.ts";
import type { Bucket } from "../../src/core/table/commands.ts";
import type { Table, TableChange } from "../../src/core/table/table.ts";
import type { Copy, Disk } from "./disk.ts";
import { check } from "./world.ts";

/** A site as the checker sees it. */
export interface Watched {
  readonly name: string;
  readonly disk: Disk;
  /** Its disk was wiped or damaged, and the table does not know it yet. */
  readonly distrusted: boolean;
}

interface Oracle {
  /** Committed entries by index; what was committed first stands. */
  readonly committed: Entry[];
  commit: number;
  floor: number;
  /** Epoch → who leads it. */
  readonly leaders: Map<number, string>;
  /** Epochs whose Gov entry is committed. */
  readonly govs: Set<number>;
  readonly stateHashes: Map<number, { hash: number; by: string }>;
  /** Loss was accepted (R9): what was answered before binds no more. */
  forced: boolean;
  before: Bucket | undefined;
}

export class Checker {
  readonly #table: () => Table;
  readonly #sites: ReadonlyMap<string, Watched>;
  readonly #oracles = new Map<number, Oracle>();
  readonly #answered: { bucket: number; index: number; entry: Entry }[] = [];
  answers = 0;

  constructor(table: () => Table, sites: ReadonlyMap<string, Watched>) {
    this.#table = table;
    this.#sites = sites;
  }

  oracle(bucket: number): Oracle {
    let oracle = this.#oracles.get(bucket);
    if (oracle === undefined) {
      oracle = { committed: [], commit: 0, floor: 1, leaders: new Map(), govs: new Set(), stateHashes: new Map(), forced: false, before: undefined };
      this.#oracles.set(bucket, oracle);
    }
    return oracle;
  }

  /** A node applied an entry: to it, the entry is committed (invariants 2, 3, 4). */
  applied(site: string, bucket: number, entry: Entry): void {
    const oracle = this.oracle(bucket);
    if (oracle.forced) return;
    const known = oracle.committed[entry.index];
    if (known !== undefined) {
      const same = known.epoch === entry.epoch && known.kind === entry.kind && known.time === entry.time && sameBytes(known.payload, entry.payload);
      check(same, "3 (nodes disagree below their commits)", () =>
        `${site} applied ${show(entry)} in bucket ${bucket}, but ${show(known)} is committed`);
      return;
    }
    check(entry.index === oracle.commit + 1, "3 (a hole below commit)", () =>
      `${site} applied ${show(entry)} in bucket ${bucket}; committed up to ${oracle.commit}`);
    const before = oracle.committed[oracle.commit];
    check(before === undefined || before.time <= entry.time, "A14 (time falls)", () =>
      `${show(entry)} in bucket ${bucket} is older than the one before it`);
    check(before === undefined || before.epoch <= entry.epoch, "2 (epochs fall along the log)", () =>
      `${show(entry)} in bucket ${bucket} after ${show(before!)}`);
    oracle.committed[entry.index] = entry;
    oracle.commit = entry.index;
    if (entry.kind === ENTRY_KIND.gov) oracle.govs.add(entry.epoch);
    if (entry.kind === ENTRY_KIND.floor) oracle.floor = Math.max(oracle.floor, floorOf(entry));
    this.onCommit(bucket, entry);
    this.#onEveryMember(bucket, oracle);
  }

  /** Told of every entry once, in order, as it is first known to be committed. */
  onCommit: (bucket: number, entry: Entry) => void = () => undefined;

  /** A replica says that it leads (invariant 1). */
  leads(site: string, incarnation: number, bucket: number, epoch: number): void {
    const oracle = this.oracle(bucket);
    const claim = `${site}.${incarnation}`;
    const other = oracle.leaders.get(epoch);
    check(other === undefined || other === claim, "1 (two leaders of an epoch)", () =>
      `${claim} and ${other} lead epoch ${epoch} of bucket ${bucket}`);
    oracle.leaders.set(epoch, claim);
  }

  /** A write takes the place of everything at its index and above. */
  written(site: string, bucket: number, index: number, commit: number): void {
    check(index > commit, "7 (a committed entry is overwritten)", () =>
      `${site} writes ${index} in bucket ${bucket} with commit ${commit}`);
  }

  /** A publisher was told that its entry is stored (invariants 5, 9). */
  answered(site: string, bucket: number, epoch: number, index: number, payload: Uint8Array): void {
    const oracle = this.oracle(bucket);
    this.answers += 1;
    if (oracle.forced) return;
    const entry = oracle.committed[index];
    check(entry !== undefined, "5 (answered before it is committed)", () =>
      `${site} answered ${index} in bucket ${bucket}; committed up to ${oracle.commit}`);
    check(sameBytes(entry.payload, payload), "5 (answered, but another entry is there)", () =>
      `${site} answered ${index} in bucket ${bucket}, where ${show(entry)} is`);
    check(oracle.govs.has(epoch), "9 (answered before Gov is committed)", () => `${site} answers in epoch ${epoch} of bucket ${bucket}`);
    this.#answered.push({ bucket, index, entry });
  }

  /** The state after `applied` is the same wherever it is reached, by whichever way (invariant 17). */
  state(site: string, bucket: number, applied: number, hash: number): void {
    const oracle = this.oracle(bucket);
    if (oracle.forced) return;
    const known = oracle.stateHashes.get(applied);
    if (known === undefined) oracle.stateHashes.set(applied, { hash, by: site });
    else check(known.hash === hash, "17 (equal index, other state)", () => `${site} and ${known.by} at ${applied} of bucket ${bucket}`);
  }

  /** The control log's fold changed: who may be appointed now has everything (invariants 4, 6, 10, 18). */
  tableChanged(change: TableChange): void {
    const table = this.#table();
    for (const id of change.buckets) {
      const bucket = table.bucket(id);
      const oracle = this.oracle(id);
      const before = oracle.before;
      oracle.before = bucket;
      check(bucket.members.length > 0, "10 (a bucket without members)", () => `bucket ${id}`);
      check(before === undefined || bucket.epoch >= before.epoch, "1 (an epoch falls)", () =>
        `bucket ${id}: from ${before!.epoch} to ${bucket.epoch}`);
      if (before !== undefined) this.#epochIsNew(before, bucket);
      if (bucket.generation > (before?.generation ?? 0)) oracle.forced = true;
      this.#onEveryMember(id, oracle);
      this.#newMembersAreWhole(before, bucket, oracle);
    }
  }

  /** A node came back: what it had acknowledged is there (R21, R23). */
  recovered(): void {
    for (const [id, oracle] of this.#oracles) this.#onEveryMember(id, oracle);
  }

  /** At the end: what was answered is still there (invariant 5). */
  finish(): void {
    for (const { bucket, index, entry } of this.#answered) {
      const oracle = this.oracle(bucket);
      if (!oracle.forced) check(oracle.committed[index] === entry, "5 (an answered entry is gone)", () => `${show(entry)} of bucket ${bucket}`);
    }
  }

  #epochIsNew(before: Bucket, now: Bucket): void {
    const leader = now.members.find((member) => member.node === now.leader);
    const leaderBefore = before.members.find((member) => member.node === before.leader);
    const same = before.leader === now.leader && leader?.incarnation === leaderBefore?.incarnation;
    check(now.epoch > before.epoch || same, "1 (another leader in the same epoch)", () =>
      `bucket ${now.id}, epoch ${now.epoch}: ${before.leader}, then ${now.leader}`);
  }

  /** Invariants 4 and 6: every member that could be appointed has durably what is committed. */
  #onEveryMember(id: number, oracle: Oracle): void {
    if (oracle.forced || oracle.commit === 0) return;
    const table = this.#table();
    const bucket = table.buckets[id];
    if (bucket === undefined || bucket.state === "dark") return;
    const entry = oracle.committed[oracle.commit]!;
    for (const member of bucket.members) {
      const site = this.#sites.get(member.node);
      if (site === undefined || site.distrusted) continue;
      const copy = site.disk.durableCopy(id);
      check(holds(copy, entry), "4 (a committed entry is not on every member)", () =>
        `${show(entry)} of bucket ${id} is not durable at ${member.node}`);
    }
  }

  /** A copy that joins is complete with state and history (R17). */
  #newMembersAreWhole(before: Bucket | undefined, bucket: Bucket, oracle: Oracle): void {
    if (oracle.forced || before === undefined || bucket.state === "dark") return;
    for (const member of bucket.members) {
      if (before.members.some((old) => old.node === member.node)) continue;
      const site = this.#sites.get(member.node)!;
      if (site.distrusted) continue;
      const copy = site.disk.durableCopy(bucket.id);
      check(!copy.incomplete, "4 (an incomplete copy is a member)", () => `${member.node} of bucket ${bucket.id}`);
      for (let index = Math.max(oracle.floor, copy.floor); index <= oracle.commit; index += 1) {
        const missing = copy.entries.get(index)?.epoch !== oracle.committed[index]!.epoch;
        check(!missing, "4 (history is missing on a member)", () =>
          `entry ${index} of bucket ${bucket.id} at ${member.node}, committed up to ${oracle.commit}`);
      }
    }
  }
}

function holds(copy: Copy, entry: Entry): boolean {
  return copy.base > entry.index || copy.epochOf(entry.index) === entry.epoch;
}

/** u48, big-endian. */
function floorOf(entry: Entry): number {
  return entry.payload.reduce((sum, byte) => sum * 256 + byte, 0);
}

function show(entry: Entry): string {
  return `entry ${entry.index} (epoch ${entry.epoch}, kind ${entry.kind}, ${entry.payload.length} bytes)`;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false;
  return true;
}
