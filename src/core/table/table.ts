// The table: the pure fold of the control log (R2). The same batches in the same order give the same table on every node.
// A guard that fails makes its command a no-op; every guard is one line that cites its rule.

import { BrokenInvariant, assert } from "../../base/assert.ts";
import { bucketOf, murmur3Bytes } from "../hash.ts";
import { BUCKET_COUNT_MAX, PLAN_STEP } from "./commands.ts";
import type { Bucket, Command, Member, Node, Plan, Settings } from "./commands.ts";
import { foldKey, sortedKeys, type ApiKey, type Keys } from "./keys.ts";
import { followersOf, placeable } from "./placement.ts";

type Of<T extends Command["type"]> = Extract<Command, { type: T }>;

/** The ids of the records that one batch changed. */
export interface TableChange {
  readonly buckets: ReadonlySet<number>;
  readonly nodes: ReadonlySet<string>;
}

const SNAPSHOT_FORMAT = 1;
const BATCH_ID = /^(.+)\.(\d{1,15})\.(\d{1,16})$/;

export class Table {
  #position = 0;
  #version = 0;
  #settings: Settings = { copies: 3, minCopies: 1 };
  #planSeries = 0;
  #attempts = 0;
  #buckets: Bucket[] = [];
  readonly #nodes = new Map<string, Node>();
  readonly #plans = new Map<number, Plan>();
  #keys: Keys = new Map();
  /** The last batch taken of each node: its incarnation and seq. */
  readonly #had = new Map<string, { incarnation: number; seq: number }>();
  #changedBuckets = new Set<number>();
  #changedNodes = new Set<string>();

  /** Position in the control log of the last batch seen. */
  get position(): number {
    return this.#position;
  }

  /** Rises with every batch taken; unlike the position it survives a move to another control log. */
  get version(): number {
    return this.#version;
  }

  get settings(): Settings {
    return this.#settings;
  }

  get nodes(): ReadonlyMap<string, Node> {
    return this.#nodes;
  }

  /** By id, 0 … bucketCount − 1; empty before Begin. */
  get buckets(): readonly Bucket[] {
    return this.#buckets;
  }

  /** Running plans by bucket. */
  get plans(): ReadonlyMap<number, Plan> {
    return this.#plans;
  }

  /** The API keys by name; another map after every change of them. */
  get keys(): Keys {
    return this.#keys;
  }

  /** Greatest plan series given; the next Plan names one more. */
  get planSeries(): number {
    return this.#planSeries;
  }

  /** Greatest attempt given; the next AddLearner names a greater one. */
  get attempts(): number {
    return this.#attempts;
  }

  bucket(id: number): Bucket {
    const bucket = this.#buckets[id];
    assert(bucket !== undefined, `bucket ${id} is not in the table of ${this.#buckets.length}`);
    return bucket;
  }

  /** Only after Begin. */
  bucketOfDevice(deviceId: string): Bucket {
    return this.bucket(bucketOf(deviceId, this.#buckets.length));
  }

  /** The node that leads the bucket; undefined while it is dark or its leader is departed. */
  leaderOf(id: number): Node | undefined {
    const bucket = this.bucket(id);
    return bucket.state !== "dark" && this.isLive(bucket.leader) ? this.#nodes.get(bucket.leader) : undefined;
  }

  /** Registered and not departed; a draining node still is. */
  isLive(id: string): boolean {
    const node = this.#nodes.get(id);
    return node !== undefined && node.state !== "departed";
  }

  /**
   * Folds one batch in.
   * @param id `node.incarnation.seq`; a batch at or below the last one taken of its node is ignored
   * @throws BrokenInvariant on a position that does not rise, a malformed id, or an unknown command: the node stops
   */
  apply(position: number, id: string, commands: readonly Command[]): TableChange {
    assert(position > this.#position, `the control log's position fell from ${this.#position} to ${position}`);
    this.#position = position;
    this.#changedBuckets = new Set();
    this.#changedNodes = new Set();
    if (this.#isNew(id)) {
      this.#version += 1;
      for (const command of commands) this.#applyCommand(command, id);
    }
    return { buckets: this.#changedBuckets, nodes: this.#changedNodes };
  }

  /** The whole fold, without the position: equal tables give equal bytes (invariant 16). */
  snapshot(): Uint8Array {
    return new TextEncoder().encode(
      JSON.stringify({
        format: SNAPSHOT_FORMAT,
        version: this.#version,
        settings: this.#settings,
        planSeries: this.#planSeries,
        attempts: this.#attempts,
        nodes: [...this.#nodes.values()],
        buckets: this.#buckets,
        plans: [...this.#plans.values()].sort((a, b) => a.bucket - b.bucket),
        had: [...this.#had],
        keys: sortedKeys(this.#keys),
      }),
    );
  }

  /** @throws BrokenInvariant on a snapshot of an unknown format. */
  static restore(position: number, state: Uint8Array): Table {
    const table = new Table();
    table.#position = position;
    if (state.length === 0) return table;
    const saved = JSON.parse(new TextDecoder().decode(state)) as {
      format: number;
      version: number;
      settings: Settings;
      planSeries: number;
      attempts: number;
      nodes: Node[];
      buckets: Bucket[];
      plans: Plan[];
      had: [string, { incarnation: number; seq: number }][];
      /** Not in snapshots of before. */
      keys?: ApiKey[];
    };
    assert(saved.format === SNAPSHOT_FORMAT, `a table snapshot of format ${saved.format} is not known here`);
    table.#version = saved.version;
    table.#settings = saved.settings;
    table.#planSeries = saved.planSeries;
    table.#attempts = saved.attempts;
    table.#buckets = saved.buckets;
    for (const node of saved.nodes) table.#nodes.set(node.id, { ...node, registered: node.registered ?? 0 });
    for (const plan of saved.plans) table.#plans.set(plan.bucket, plan);
    for (const [node, last] of saved.had) table.#had.set(node, last);
    table.#keys = new Map((saved.keys ?? []).map((key) => [key.name, key]));
    return table;
  }

  /** A hash of the snapshot, to compare tables by (invariant 16). */
  digest(): number {
    return murmur3Bytes(this.snapshot());
  }

  #isNew(id: string): boolean {
    const parts = BATCH_ID.exec(id);
    assert(parts !== null, `the batch id ${id} is not node.incarnation.seq`);
    const node = parts[1]!;
    const incarnation = Number(parts[2]);
    const seq = Number(parts[3]);
    const had = this.#had.get(node);
    if (had !== undefined && incarnation < had.incarnation) return false;
    if (had !== undefined && incarnation === had.incarnation && seq <= had.seq) return false; // R1: one it has had
    this.#had.set(node, { incarnation, seq });
    return true;
  }

  #applyCommand(command: Command, batch: string): void {
    switch (command.type) {
      case "begin":
        return this.#begin(command);
      case "settings":
        return this.#setSettings(command);
      case "register":
        return this.#register(command, batch);
      case "depart":
        return this.#depart(command);
      case "drain":
        return this.#drain(command);
      case "addLearner":
        return this.#addLearner(command);
      case "dropLearner":
        return this.#dropLearner(command);
      case "promote":
        return this.#promote(command);
      case "handover":
        return this.#handover(command);
      case "retire":
        return this.#retire(command);
      case "plan":
        return this.#plan(command);
      case "step":
        return this.#step(command);
      case "cancel":
        return this.#cancel(command);
      case "forceUnclean":
        return this.#forceUnclean(command);
      case "putKey":
      case "removeKey":
        this.#keys = foldKey(this.#keys, command);
        return;
      default:
        throw new BrokenInvariant(`unknown control command ${JSON.stringify(command satisfies never)}`); // R2
    }
  }

  #begin(command: Of<"begin">): void {
    const { bucketCount, copies, minCopies } = command;
    const nodes = placeable(this.#nodes.values());
    if (this.#buckets.length > 0) return; // R3: once
    if (!isSettings(command)) return;
    if (!Number.isInteger(bucketCount) || bucketCount < 1 || bucketCount > BUCKET_COUNT_MAX) return;
    if (nodes.length < minCopies) return; // R3: governments of live nodes, able to take writes (B4)
    this.#settings = { copies, minCopies };
    for (let id = 0; id < bucketCount; id += 1) {
      const leader = nodes[id % nodes.length]!;
      const members = [leader, ...followersOf(leader, nodes).slice(0, copies - 1)];
      this.#buckets.push({
        id,
        version: 1,
        epoch: 1,
        leader: leader.id,
        members: members.map((node) => ({ node: node.id, incarnation: node.incarnation, attempt: 0 })),
        learners: [],
        state: "on",
        generation: 0,
      });
      this.#changedBuckets.add(id);
    }
  }

  #setSettings(command: Of<"settings">): void {
    if (!isSettings(command.settings)) return;
    this.#settings = { copies: command.settings.copies, minCopies: command.settings.minCopies };
  }

  #register(command: Of<"register">, batch: string): void {
    const known = this.#nodes.get(command.node);
    if (command.seen !== (known?.incarnation ?? 0)) return; // R4: only if the incarnation is still the one seen
    const { node: id, store, address, zone } = command;
    const incarnation = command.seen + 1;
    const slot = known?.slot ?? this.#nodes.size;
    this.#putNode({ id, store, incarnation, registration: batch, registered: this.#version, address, zone, slot, state: "live" });
    if (known === undefined) return;
    const incomplete = new Set(command.incomplete ?? []);
    for (const bucket of this.#buckets) {
      const learners = bucket.learners.filter((learner) => learner.node !== id); // R4: its learner attempts are void
      if (!isMember(bucket, id)) {
        if (learners.length < bucket.learners.length) this.#put(bucket, { learners });
        continue;
      }
      const sameStore = store === (bucket.lostStore ?? known.store); // R21: the store is the one the table knows
      const clean = command.clean && sameStore && !incomplete.has(bucket.id); // R21, R22
      if (clean) this.#comeBack(bucket, id, incarnation, learners);
      else this.#comeBackUnclean(bucket, id, incarnation, learners, known.store);
    }
  }

  /** R4, clean: the membership stays under the new incarnation. */
  #comeBack(bucket: Bucket, id: string, incarnation: number, learners: readonly Member[]): void {
    const { lostStore: _, ...whole } = bucket;
    const members = bucket.members.map((member) => (member.node === id ? { ...member, incarnation } : member));
    const leads = bucket.leader === id || !this.isLive(bucket.leader); // R4: where it led, or the leader is departed
    const epoch = leads ? bucket.epoch + 1 : bucket.epoch; // R4: a restarted leader needs a new epoch
    const leader = leads ? id : bucket.leader;
    const state = bucket.state === "dark" ? "on" : bucket.state;
    this.#put(whole, { members, learners, epoch, leader, state });
  }

  /** R4, unclean: it leaves the members; the last one stays, and the bucket is dark. */
  #comeBackUnclean(bucket: Bucket, id: string, incarnation: number, learners: readonly Member[], oldStore: string): void {
    const members = bucket.members.filter((member) => member.node !== id); // R4: it leaves the members
    if (members.length === 0) {
      const last = bucket.members.map((member) => ({ ...member, incarnation }));
      const lostStore = bucket.lostStore ?? oldStore;
      this.#put(bucket, { members: last, learners, epoch: bucket.epoch + 1, state: "dark", lostStore }); // R4: the last member stays
      return;
    }
    // R4: the next live member leads. Where none is live, a departed one that stayed, and so has all that was committed, leads on its return.
    const heir = members.find((member) => this.isLive(member.node)) ?? members[0]!;
    const led = bucket.leader === id;
    const epoch = led ? bucket.epoch + 1 : bucket.epoch; // R4: where it led
    this.#put(bucket, { members, learners, epoch, leader: led ? heir.node : bucket.leader });
  }

  #depart(command: Of<"depart">): void {
    const by = this.#nodes.get(command.by);
    const node = this.#nodes.get(command.node);
    if (by === undefined || by.state === "departed") return; // R5: by a node that is live in the table
    if (by.incarnation !== command.byIncarnation) return; // R5: at its incarnation
    if (command.by === command.node) return; // R5: not the node itself
    if (node === undefined || node.incarnation !== command.incarnation) return; // R5: of the incarnation it was decided on
    let tookEffect = node.state !== "departed";
    if (tookEffect) this.#putNode({ ...node, state: "departed" });
    const alive = new Set(command.alive);
    for (const bucket of this.#buckets) {
      if (this.#departFrom(bucket, node.id, alive)) tookEffect = true;
    }
    if (!tookEffect) return; // R10: a duplicate is a no-op
    this.#plans.clear(); // R5: it cancels running plans
    this.#planSeries += 1; // R5: and raises the plan series
  }

  /** One bucket's part of a departure; answers whether it changed anything. */
  #departFrom(bucket: Bucket, id: string, alive: ReadonlySet<string>): boolean {
    const learners = bucket.learners.filter((learner) => learner.node !== id);
    let { leader, epoch, members } = bucket;
    const heir = members.find((member) => member.node !== id && alive.has(member.node) && this.isLive(member.node)); // R5: the witness
    if (heir !== undefined && isMember(bucket, id)) {
      if (leader === id) {
        leader = heir.node; // R5: the first such member in government order leads
        epoch += 1; // R5: where the node led
      }
      if (members.length - 1 >= this.#leastMembers()) members = members.filter((member) => member.node !== id); // R5: else it stays
    }
    if (leader === bucket.leader && members === bucket.members && learners.length === bucket.learners.length) return false;
    this.#put(bucket, { leader, epoch, members, learners });
    return true;
  }

  #drain(command: Of<"drain">): void {
    const node = this.#nodes.get(command.node);
    if (node === undefined || node.incarnation !== command.incarnation) return; // R2: decided on this incarnation
    if (node.state === "departed") return;
    this.#putNode({ ...node, state: command.on ? "draining" : "live" });
  }

  #addLearner(command: Of<"addLearner">): void {
    const bucket = this.#buckets[command.bucket];
    const node = this.#nodes.get(command.node);
    if (bucket === undefined || bucket.state !== "on") return; // R36: not while splitting; nobody leads a dark one
    if (bucket.epoch !== command.epoch) return; // R2: decided on this epoch
    if (node === undefined || node.state !== "live") return; // R7
    if (node.incarnation !== command.incarnation) return; // R2: decided on this incarnation
    if (command.attempt <= this.#attempts) return; // R7: each attempt has a fresh id
    if (isMember(bucket, command.node) || bucket.learners.some((learner) => learner.node === command.node)) return;
    this.#attempts = command.attempt;
    const learner = { node: command.node, incarnation: command.incarnation, attempt: command.attempt };
    this.#put(bucket, { learners: [...bucket.learners, learner] });
  }

  #dropLearner(command: Of<"dropLearner">): void {
    const bucket = this.#buckets[command.bucket];
    const learner = bucket?.learners.find((candidate) => candidate.node === command.node);
    if (bucket === undefined || learner === undefined || learner.attempt !== command.attempt) return; // R7
    this.#put(bucket, { learners: bucket.learners.filter((other) => other !== learner) });
  }

  #promote(command: Of<"promote">): void {
    const bucket = this.#buckets[command.bucket];
    if (bucket === undefined || bucket.state !== "on") return; // R36
    if (bucket.epoch !== command.epoch) return; // R7: same epoch
    const learner = bucket.learners.find((candidate) => candidate.node === command.node);
    if (learner === undefined) return;
    if (learner.attempt !== command.attempt) return; // R7: same attempt
    if (learner.incarnation !== command.incarnation) return; // R7: same incarnation
    let members: readonly Member[] = [...bucket.members, learner];
    for (const member of bucket.members) {
      if (this.isLive(member.node) || member.node === bucket.leader) continue;
      if (members.length - 1 < this.#leastMembers()) break; // R7: departed members leave while minCopies others remain
      members = members.filter((other) => other !== member);
    }
    this.#put(bucket, { members, learners: bucket.learners.filter((other) => other !== learner) });
  }

  #handover(command: Of<"handover">): void {
    const bucket = this.#buckets[command.bucket];
    const plan = this.#planAt(command, PLAN_STEP.lead);
    if (plan === undefined) return; // R8: the plan's series and step
    if (bucket === undefined || bucket.state !== "on") return; // R36
    if (bucket.epoch !== command.epoch) return; // R8: same epoch
    if (!isMember(bucket, command.to) || !this.isLive(command.to)) return; // R8: to a live member
    if (bucket.leader === command.to) return;
    this.#put(bucket, { epoch: bucket.epoch + 1, leader: command.to }); // R8: the members stay
    this.#plans.set(bucket.id, { ...plan, step: PLAN_STEP.leave });
  }

  #retire(command: Of<"retire">): void {
    const bucket = this.#buckets[command.bucket];
    if (this.#planAt(command, PLAN_STEP.leave) === undefined) return; // R8: the plan's series and step
    if (bucket === undefined || bucket.state !== "on") return;
    if (bucket.epoch !== command.epoch) return; // R8: same epoch, so its leader has passed the barrier
    if (command.nodes.includes(bucket.leader)) return; // R8: never itself
    const members = bucket.members.filter((member) => !command.nodes.includes(member.node));
    if (members.length < this.#leastMembers()) return; // R8: never below minCopies
    if (members.length < bucket.members.length) this.#put(bucket, { members });
    this.#plans.delete(bucket.id);
  }

  #plan(command: Of<"plan">): void {
    const { plan } = command;
    const bucket = this.#buckets[plan.bucket];
    if (bucket === undefined || bucket.state !== "on") return;
    if (plan.series !== this.#planSeries + 1) return; // R2: decided on what no other plan or departure has changed
    if (plan.step !== PLAN_STEP.join || plan.target.length === 0) return;
    if (this.#plans.has(plan.bucket)) return; // R18: one at a time for a bucket
    this.#planSeries = plan.series;
    this.#plans.set(plan.bucket, plan);
  }

  #step(command: Of<"step">): void {
    const plan = this.#planAt(command, command.step);
    if (plan === undefined) return; // R10: a duplicate is a no-op
    if (plan.step === PLAN_STEP.leave) this.#plans.delete(plan.bucket);
    else this.#plans.set(plan.bucket, { ...plan, step: plan.step + 1 });
  }

  #cancel(command: Of<"cancel">): void {
    const plan = this.#plans.get(command.bucket);
    if (plan === undefined || plan.series !== command.series) return; // R2: decided on this plan
    this.#plans.delete(command.bucket);
  }

  #forceUnclean(command: Of<"forceUnclean">): void {
    const bucket = this.#buckets[command.bucket];
    const node = this.#nodes.get(command.node);
    if (bucket === undefined || bucket.state !== "dark") return; // R9: from dark only
    if (node === undefined || node.state === "departed") return;
    if (node.incarnation !== command.incarnation) return; // R2: decided on this incarnation
    const { lostStore: _, ...forced } = bucket;
    this.#put(forced, {
      state: "on",
      epoch: bucket.epoch + 1,
      generation: bucket.generation + 1, // R9: devices are told BROKEN
      leader: node.id,
      members: [{ node: node.id, incarnation: node.incarnation, attempt: 0 }], // R9: the one member
      learners: [],
    });
  }

  /** The bucket's running plan, if the command was decided on its series and it stands at `step`. */
  #planAt(command: { readonly bucket: number; readonly series: number; readonly step: number }, step: number): Plan | undefined {
    const plan = this.#plans.get(command.bucket);
    if (plan === undefined || plan.series !== command.series) return undefined; // R2: decided on this plan
    return command.step === step && plan.step === step ? plan : undefined; // R10: and on its step
  }

  #leastMembers(): number {
    return Math.max(1, this.#settings.minCopies);
  }

  #putNode(node: Node): void {
    this.#nodes.set(node.id, node);
    this.#changedNodes.add(node.id);
  }

  #put(bucket: Bucket, change: Partial<Bucket>): void {
    const next = { ...bucket, ...change, version: bucket.version + 1 };
    assert(next.members.length > 0, `bucket ${bucket.id} has no members`); // invariant 10
    assert(isMember(next, next.leader), `the leader of bucket ${bucket.id} is not its member`);
    this.#buckets[bucket.id] = next;
    this.#changedBuckets.add(bucket.id);
  }
}

function isMember(bucket: Bucket, node: string): boolean {
  return bucket.members.some((member) => member.node === node);
}

function isSettings({ copies, minCopies }: Settings): boolean {
  return [1, 3, 5].includes(copies) && Number.isInteger(minCopies) && minCopies >= 1 && minCopies <= copies; // B4
}
