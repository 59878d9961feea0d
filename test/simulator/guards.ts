// What the table's commands may do, said a second time and independently of the fold: an effect whose guards did not hold is a violation (R2–R9).

import type { Bucket, Command, Node, Plan, Settings } from "../../src/core/table/commands.ts";
import type { Table } from "../../src/core/table/table.ts";
import { check } from "./world.ts";

export interface TableBefore {
  readonly nodes: ReadonlyMap<string, Node>;
  readonly buckets: readonly Bucket[];
  readonly plans: ReadonlyMap<number, Plan>;
  readonly settings: Settings;
  readonly attempts: number;
}

/** The records are never changed in place, so shallow copies suffice. */
export function before(table: Table): TableBefore {
  return { nodes: new Map(table.nodes), buckets: [...table.buckets], plans: new Map(table.plans), settings: table.settings, attempts: table.attempts };
}

/** Nothing took effect. */
export function isUnchanged(was: TableBefore, is: Table): boolean {
  const same = was.settings === is.settings && was.attempts === is.attempts && was.nodes.size === is.nodes.size && was.plans.size === is.plans.size;
  return same && was.buckets.every((bucket) => is.bucket(bucket.id) === bucket) && [...was.nodes].every(([id, node]) => is.nodes.get(id) === node) &&
    [...was.plans].every(([bucket, plan]) => is.plans.get(bucket) === plan);
}

type Of<T extends Command["type"]> = Extract<Command, { type: T }>;

export function checkGuards(command: Command, was: TableBefore, is: Table): void {
  const changed = was.buckets.filter((bucket) => is.bucket(bucket.id) !== bucket).map((bucket) => [bucket, is.bucket(bucket.id)] as const);
  switch (command.type) {
    case "register":
      return register(command, was, is, changed);
    case "depart":
      return depart(command, was, is, changed);
    case "promote":
      for (const [old] of changed) {
        const learner = old.learners.find((one) => one.node === command.node);
        must(old.epoch === command.epoch && learner?.attempt === command.attempt && learner.incarnation === command.incarnation, command, old);
      }
      return;
    case "addLearner":
      for (const [old] of changed) must(old.epoch === command.epoch && command.attempt > was.attempts && was.nodes.get(command.node)!.incarnation === command.incarnation, command, old);
      return;
    case "dropLearner":
      for (const [old] of changed) must(old.learners.some((one) => one.node === command.node && one.attempt === command.attempt), command, old);
      return;
    case "handover":
      for (const [old, now] of changed) {
        must(old.epoch === command.epoch && now.epoch === old.epoch + 1 && now.leader === command.to, command, old);
        must(isMember(old, command.to) && was.nodes.get(command.to)!.state !== "departed" && plansStep(was, command), command, old);
      }
      return;
    case "retire":
      for (const [old, now] of changed) {
        must(old.epoch === command.epoch && isMember(now, old.leader) && plansStep(was, command), command, old);
        must(now.members.length >= Math.max(1, was.settings.minCopies), command, old);
      }
      return;
    case "forceUnclean":
      for (const [old, now] of changed) must(old.state === "dark" && now.generation === old.generation + 1, command, old);
      return;
    case "step":
    case "cancel":
      if (was.plans.get(command.bucket) !== is.plans.get(command.bucket)) must(was.plans.get(command.bucket)?.series === command.series, command, undefined);
      return;
    case "begin":
      must(was.buckets.length === 0 || changed.length === 0, command, undefined);
      return;
    case "settings":
    case "drain":
    case "putKey":
    case "removeKey":
    case "plan":
    case "putKey":
    case "removeKey":
      must(changed.length === 0, command, undefined);
  }
}

type Changed = readonly (readonly [Bucket, Bucket])[];

function register(command: Of<"register">, was: TableBefore, is: Table, changed: Changed): void {
  const old = was.nodes.get(command.node);
  const now = is.nodes.get(command.node);
  if (old === now) return;
  must(command.seen === (old?.incarnation ?? 0) && now!.incarnation === command.seen + 1, command, undefined);
  for (const [bucket, next] of changed) {
    must(!next.learners.some((learner) => learner.node === command.node), command, bucket);
    if (!isMember(bucket, command.node)) continue;
    const whole = command.clean && command.store === (bucket.lostStore ?? old!.store) && command.incomplete?.includes(bucket.id) !== true;
    if (!whole) must(!isMember(next, command.node) || next.state === "dark", command, bucket);
    const led = bucket.leader === command.node || (whole && was.nodes.get(bucket.leader)!.state === "departed");
    must(next.epoch === (led || next.state === "dark" ? bucket.epoch + 1 : bucket.epoch), command, bucket);
  }
}

function depart(command: Of<"depart">, was: TableBefore, is: Table, changed: Changed): void {
  const node = was.nodes.get(command.node);
  if (node === is.nodes.get(command.node) && changed.length === 0) return;
  const by = was.nodes.get(command.by);
  must(by !== undefined && by.state !== "departed" && by.incarnation === command.byIncarnation && by.id !== command.node, command, undefined);
  must(node?.incarnation === command.incarnation, command, undefined);
  for (const bucket of is.buckets) must(!bucket.learners.some((learner) => learner.node === command.node), command, bucket);
  for (const [old, now] of changed) {
    if (old.members === now.members && old.leader === now.leader) continue;
    const witness = old.members.find((one) => one.node !== command.node && command.alive.includes(one.node) && is.nodes.get(one.node)!.state !== "departed");
    must(witness !== undefined, command, old);
    if (old.leader === command.node) must(now.leader === witness!.node && now.epoch === old.epoch + 1, command, old);
    must(now.members.length === old.members.length || now.members.length >= Math.max(1, was.settings.minCopies), command, old);
  }
}

function plansStep(was: TableBefore, command: { readonly bucket: number; readonly series: number; readonly step: number }): boolean {
  const plan = was.plans.get(command.bucket);
  return plan?.series === command.series && plan.step === command.step;
}

function isMember(bucket: Bucket, node: string): boolean {
  return bucket.members.some((member) => member.node === node);
}

function must(holds: boolean, command: Command, bucket: Bucket | undefined): void {
  check(holds, "R2 (an effect against its guards)", () => `${JSON.stringify(command)} on ${JSON.stringify(bucket)}`);
}
