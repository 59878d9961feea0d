// The driver of a node's core: performs its effects on the log and the state store, keeps its clocks, and ends each turn with one flush (architecture.md, "The way of a message").

import { BellhopError } from "../base/errors.ts";
import type { Entry } from "../core/entry.ts";
import type { GatewayId, HopAnswer } from "../core/hop.ts";
import { CoreNode, type Beat, type Hop, type NodeEffects, type NodeLimits } from "../core/node.ts";
import type { CopyAtStart, LoadPurpose, PeerMessage, Ticket } from "../core/replica/types.ts";
import type { Command } from "../core/table/commands.ts";
import type { Table, TableChange } from "../core/table/table.ts";
import type { LinkMessage } from "../peer/codec.ts";
import type { ReadMessage } from "../peer/reads.ts";
import type { Links } from "../peer/links.ts";
import type { Log, LogEvents, RecoveredCopy, StateStore } from "../storage/port.ts";

/** Heartbeats, overdue questions and time-outs are looked at this often. */
const TICK_MS = 20;
/** Bytes of one read of the log for the core. */
const LOAD_BYTES = 1024 * 1024;

export interface HostStorage {
  readonly log: Log;
  readonly state: StateStore;
  readonly copies: readonly RecoveredCopy[];
}

export interface HostEvents {
  propose(command: Command): void;
  /** Stores the bucket's restored state; the core is told by `installed`. */
  install(bucket: number, applied: number): void;
  /** The node cannot go on: a broken invariant, a failed disk. It must stop (R24). */
  failed(error: Error): void;
  /** Another node asks or tells something about reads. */
  read(from: GatewayId, message: ReadMessage): void;
  /** After each turn: what was committed can be told to watchers. */
  turned(): void;
  /** The log found the disk full, or has written again. */
  logFull(isFull: boolean): void;
}

export class Host implements NodeEffects {
  readonly core: CoreNode;
  readonly log: Log;
  readonly state: StateStore;
  readonly #events: HostEvents;
  readonly #links: Links | undefined;
  readonly #ticker: NodeJS.Timeout;
  /** Of each bucket, how far its leader had applied when it last answered this gateway: an older copy here is not read any more. */
  readonly #answered = new Map<number, number>();
  #inTurn = false;
  #stopped = false;

  /** `times`: of the last entry of each copy (R32). */
  constructor(options: {
    readonly id: string;
    readonly incarnation: number;
    readonly table: Table;
    readonly storage: HostStorage;
    readonly times: ReadonlyMap<number, number>;
    readonly limits: NodeLimits;
    readonly events: HostEvents;
    /** To the other nodes; undefined for a node that is alone. */
    readonly links: Links | undefined;
  }) {
    const { storage, times } = options;
    this.log = storage.log;
    this.state = storage.state;
    this.#events = options.events;
    this.#links = options.links;
    const copies = new Map(storage.copies.map((copy) => [copy.bucket, copy]));
    this.core = new CoreNode({
      id: options.id,
      incarnation: options.incarnation,
      table: options.table,
      effects: this,
      limits: options.limits,
      copyAtStart: (bucket) => copyAtStart(copies.get(bucket), storage.state.applied(bucket), times.get(bucket) ?? 0),
      stateOf: (bucket) => ({
        get: (name) => storage.state.get(bucket, name),
        range: (prefix, after) => storage.state.range(bucket, prefix, after),
      }),
    });
    this.#ticker = setInterval(() => this.run(() => this.core.tick()), TICK_MS);
  }

  /** What the log tells; given to it before it exists. */
  get logEvents(): LogEvents {
    return {
      durable: (ticket) => this.run(() => this.core.durable(ticket)),
      full: (isFull) => this.#events.logFull(isFull),
      failed: (error) => this.fail(error),
    };
  }

  start(): void {
    this.run(() => this.core.start());
  }

  tableChanged(change: TableChange): void {
    if (change.nodes.size > 0) this.#links?.nodes(this.core.table.nodes.values());
    this.run(() => this.core.tableChanged(change));
  }

  /** Something came from another node, be it part of a message only. */
  signOfLife(from: GatewayId): void {
    this.run(() => this.core.signOfLife(from));
  }

  /** A message of another node. */
  linked(from: GatewayId, message: LinkMessage): void {
    if (this.#stopped) return;
    this.wake();
    try {
      this.#take(from, message);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  #take(from: GatewayId, message: LinkMessage): void {
    const { core } = this;
    switch (message.type) {
      case "replica":
        return core.receive(message.message);
      case "answer":
        if (message.toIncarnation !== core.incarnation) return;
        this.#answered.set(message.bucket, Math.max(this.answered(message.bucket), message.applied));
        return core.answered(from.node, message.bucket, message.answer);
      case "read":
        return this.#events.read(from, message.message);
      case "publish":
      case "hop":
        return core.hopped({ from, bucket: message.bucket, epoch: message.epoch, request: message.request });
      case "beat":
        return core.heard({ from, suspects: message.suspects });
      case "hello":
      case "refused":
        return; // said at a link's beginning, and taken by it
    }
  }

  /** How far the bucket's leader had applied when it last answered this node. */
  answered(bucket: number): number {
    return this.#answered.get(bucket) ?? 0;
  }

  /** Runs an event of the core within a turn; whatever it throws stops the node. */
  run<T>(event: () => T): T | undefined {
    if (this.#stopped) return undefined;
    this.wake();
    try {
      return event();
    } catch (error) {
      this.fail(error as Error);
      return undefined;
    }
  }

  fail(error: Error): void {
    if (this.#stopped) return;
    this.stop();
    this.#events.failed(error);
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#ticker);
  }

  // --- NodeEffects ---

  /** Opens a turn: the clocks are read, and one flush follows when the events at hand are taken. */
  wake(): void {
    if (this.#inTurn) return;
    this.#inTurn = true;
    this.core.clock(performance.now(), Date.now());
    setImmediate(this.#endTurn);
  }

  write(bucket: number, entry: Entry): Ticket {
    return this.log.append(bucket, entry);
  }

  reset(bucket: number, index: number, epoch: number): Ticket {
    return this.log.reset(bucket, index, epoch);
  }

  fill(bucket: number, entries: readonly Entry[]): Ticket {
    return this.log.fill(bucket, entries);
  }

  mark(bucket: number, incomplete: boolean): Ticket {
    return this.log.mark(bucket, incomplete);
  }

  floor(bucket: number, index: number): void {
    this.log.floor(bucket, index);
  }

  load(bucket: number, purpose: LoadPurpose, from: number, to: number): void {
    this.log.readRange(bucket, from, to, LOAD_BYTES).then(
      (entries) => this.run(() => this.core.loaded(bucket, purpose, entries)),
      (error: unknown) => this.fail(error as Error),
    );
  }

  propose(command: Command): void {
    this.#events.propose(command);
  }

  install(bucket: number, applied: number): void {
    this.#events.install(bucket, applied);
  }

  send(to: string, message: PeerMessage): void {
    this.#linksTo(to).replica(to, message);
  }

  hop(to: string, { bucket, epoch, request }: Hop): void {
    const links = this.#linksTo(to);
    if (request.type === "publish") links.publish(to, bucket, epoch, request);
    else links.hop(to, bucket, epoch, request);
  }

  answer(to: GatewayId, bucket: number, answer: HopAnswer): void {
    // Without links only a former incarnation of this node can be meant: nobody hears it (B9).
    if (this.#links !== undefined) this.#links.answer(to, bucket, this.core.copy(bucket)?.replica.applied ?? 0, answer);
  }

  beat(to: string, beat: Beat): void {
    this.#linksTo(to).beat(to, beat);
  }

  #linksTo(node: string): Links {
    if (this.#links === undefined) throw new BellhopError("internal", `the table names node ${node}, but this node was started without its cluster`);
    return this.#links;
  }

  readonly #endTurn = (): void => {
    if (!this.#inTurn || this.#stopped) return;
    try {
      this.core.flush();
      this.#links?.flush();
      this.#inTurn = false;
      this.#events.turned();
    } catch (error) {
      this.fail(error as Error);
    }
  };
}

function copyAtStart(found: RecoveredCopy | undefined, applied: number, lastTime: number): CopyAtStart {
  if (found === undefined) return { floor: 1, base: 0, baseEpoch: 0, last: 0, epochs: [], incomplete: false, applied, lastTime };
  const { floor, base, baseEpoch, last, epochs, incomplete } = found;
  return { floor, base, baseEpoch, last, epochs, incomplete, applied, lastTime };
}
