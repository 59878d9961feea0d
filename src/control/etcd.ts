// The control log on etcd (R1): a batch is one key, created only if absent, ordered by its create revision; so writers never conflict, and a batch may be sent again.
//
//   {prefix}log/{batch id}        the batch's commands as JSON; its create revision is its position
//   {prefix}snapshot              the pointer, written last: { position, parts }
//   {prefix}snapshot/{position}/{part}
//   {prefix}live/{node}           the incarnation, under the node's lease

import { setTimeout as sleep } from "node:timers/promises";
import { BellhopError } from "../base/errors.ts";
import type { Command } from "../core/table/commands.ts";
import { EtcdGateway, type EtcdOptions, type KeyValue, type RangeAnswer, type TxnAnswer } from "./etcd-gateway.ts";
import type { ControlEntry, ControlLog, ControlSnapshot, ControlWatcher } from "./port.ts";

/** Entries read at once. */
const PAGE = 500;
/** Bytes of a snapshot's part (R10). */
const PART_BYTES = 512 * 1024;
/** Keys deleted by one transaction; etcd's own limit is 128. */
const DELETES = 100;
/** A watch is checked by a read this often: what it should have brought by then and did not comes from the read. In milliseconds. */
const CHECK_MS = 1000;
/** Before a watch that broke is made again. In milliseconds. */
const REWATCH_MS = 100;
/** Checks in a row that find what the watch should have brought. */
const LATE_MAX = 3;
/** Tries to take a lease's key from an earlier incarnation. */
const CLAIMS_MAX = 5;

type Call = <T>(path: string, body: object) => Promise<T>;

interface Pointer {
  readonly position: number;
  readonly parts: number;
}

export class EtcdControl implements ControlLog {
  readonly #etcd: EtcdGateway;
  readonly #prefix: string;
  readonly #watches = new Set<Watch>();
  /** etcd's ids of the leases taken here. */
  readonly #leases = new Map<string, string>();
  /** etcd's own id, once it has answered: an empty one at the same address is not the one that has the log. */
  #etcdId: string | undefined;
  #closed = false;

  /** @param cluster part of every key: clusters may share an etcd */
  constructor(cluster: string, options: EtcdOptions) {
    this.#etcd = new EtcdGateway(options);
    this.#prefix = `/bellhop/${cluster}/v1/`;
  }

  async append(id: string, commands: readonly Command[]): Promise<void> {
    this.#refuseClosed();
    const key = encode(`${this.#prefix}log/${id}`);
    await this.#call<TxnAnswer>("/v3/kv/txn", {
      compare: [{ key, target: "CREATE", create_revision: "0", result: "EQUAL" }],
      success: [{ request_put: { key, value: encode(JSON.stringify(commands)) } }],
    });
  }

  watch(from: number, watcher: ControlWatcher): { close(): void } {
    this.#refuseClosed();
    const watch = new Watch(this.#etcd, this.#call, this.#prefix, from, watcher);
    this.#watches.add(watch);
    return {
      close: () => {
        watch.close();
        this.#watches.delete(watch);
      },
    };
  }

  async snapshot(): Promise<ControlSnapshot> {
    for (;;) {
      const pointer = pointerIn(await this.#range(`${this.#prefix}snapshot`));
      if (pointer === undefined) return { position: 0, state: new Uint8Array() };
      const parts = await Promise.all(Array.from({ length: pointer.parts }, (_, part) => this.#range(this.#part(pointer.position, part))));
      if (parts.every(({ kvs }) => kvs?.length === 1)) return { position: pointer.position, state: new Uint8Array(Buffer.concat(parts.map(({ kvs }) => bytes(kvs![0]!)))) };
      // A newer one took its place meanwhile: its pointer is there.
    }
  }

  async trim({ position, state }: ControlSnapshot): Promise<void> {
    const key = `${this.#prefix}snapshot`;
    const before = await this.#range(key);
    const old = pointerIn(before);
    if (old !== undefined && old.position >= position) return;
    const parts = await this.#putParts(position, state);
    const { succeeded } = await this.#call<TxnAnswer>("/v3/kv/txn", {
      compare: [{ key: encode(key), target: "MOD", mod_revision: before.kvs?.[0]?.mod_revision ?? "0", result: "EQUAL" }],
      success: [this.#pointTo({ position, parts })], // the pointer last (R10)
    });
    if (succeeded !== true) return; // another node stored one meanwhile
    if (old !== undefined) await this.#deleteRange(`${this.#prefix}snapshot/${old.position}/`);
    await this.#deleteLog(position);
  }

  /** No node has ever written to this cluster's log. */
  async isEmpty(): Promise<boolean> {
    const { succeeded } = await this.#call<TxnAnswer>("/v3/kv/txn", { compare: this.#untouched() });
    return succeeded === true;
  }

  /**
   * Begins the log with a table that was folded elsewhere (E5). Its position becomes etcd's revision of now: everything appended later is behind it.
   * @throws BellhopError `exists` where the cluster has a log
   */
  async begin(state: Uint8Array): Promise<void> {
    const { header } = await this.#range(`${this.#prefix}snapshot`);
    const position = Number(header.revision);
    const parts = await this.#putParts(position, state);
    const { succeeded } = await this.#call<TxnAnswer>("/v3/kv/txn", { compare: this.#untouched(), success: [this.#pointTo({ position, parts })] });
    if (succeeded === true) return;
    await this.#deleteRange(`${this.#prefix}snapshot/${position}/`);
    throw new BellhopError("exists", "The cluster has a control log in this etcd.");
  }

  async lease(node: string, incarnation: number, ttlMs: number): Promise<number> {
    this.#refuseClosed();
    const sentAt = performance.now();
    const name = `${node} ${incarnation}`;
    let id = this.#leases.get(name);
    let seconds = id === undefined ? 0 : await this.#renew(id);
    if (seconds === 0) {
      const granted = await this.#call<{ ID: string; TTL: string }>("/v3/lease/grant", { TTL: String(Math.ceil(ttlMs / 1000)) });
      ({ ID: id } = granted);
      seconds = Math.min(Number(granted.TTL), Math.ceil(ttlMs / 1000));
      this.#leases.set(name, id);
      await this.#claim(node, incarnation, id);
    }
    return seconds * 1000 - (performance.now() - sentAt); // fenced locally: counted from the sending
  }

  async alive(): Promise<readonly { readonly node: string; readonly incarnation: number }[]> {
    const prefix = `${this.#prefix}live/`;
    const { kvs = [] } = await this.#range(prefix, prefixEnd(prefix));
    return kvs.map((kv) => ({ node: text(kv.key).slice(prefix.length), incarnation: Number(bytes(kv).toString()) }));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    await this.#etcd.close();
  }

  #refuseClosed(): void {
    if (this.#closed) throw new BellhopError("stopping");
  }

  /** Seconds left, or 0 where the lease is gone. */
  async #renew(id: string): Promise<number> {
    const { result } = await this.#call<{ result?: { TTL?: string } }>("/v3/lease/keepalive", { ID: id });
    return Number(result?.TTL ?? 0);
  }

  /** Puts the node's key under the lease, unless a later incarnation has it. */
  async #claim(node: string, incarnation: number, lease: string): Promise<void> {
    const key = `${this.#prefix}live/${node}`;
    for (let tries = 0; tries < CLAIMS_MAX; tries += 1) {
      const held = (await this.#range(key)).kvs?.[0];
      if (held !== undefined && Number(bytes(held).toString()) > incarnation) return;
      const { succeeded } = await this.#call<TxnAnswer>("/v3/kv/txn", {
        compare: [{ key: encode(key), target: "MOD", mod_revision: held?.mod_revision ?? "0", result: "EQUAL" }],
        success: [{ request_put: { key: encode(key), value: encode(String(incarnation)), lease } }],
      });
      if (succeeded === true) return;
    }
    throw new BellhopError("deadline", `The lease of node ${node} is contended.`);
  }

  /** Guards of a transaction: neither a snapshot nor an entry is there. */
  #untouched(): object[] {
    const log = `${this.#prefix}log/`;
    const isAbsent = { target: "CREATE", create_revision: "0", result: "EQUAL" };
    return [{ key: encode(`${this.#prefix}snapshot`), ...isAbsent }, { key: encode(log), range_end: encode(prefixEnd(log)), ...isAbsent }];
  }

  async #putParts(position: number, state: Uint8Array): Promise<number> {
    const parts = Math.max(1, Math.ceil(state.length / PART_BYTES));
    for (let part = 0; part < parts; part += 1) {
      const value = Buffer.from(state.subarray(part * PART_BYTES, (part + 1) * PART_BYTES)).toString("base64");
      await this.#call("/v3/kv/put", { key: encode(this.#part(position, part)), value });
    }
    return parts;
  }

  #pointTo(pointer: Pointer): object {
    return { request_put: { key: encode(`${this.#prefix}snapshot`), value: encode(JSON.stringify(pointer)) } };
  }

  /** @throws BellhopError `deadline` where another etcd answers than before: it would take changes that no running node folds (E5) */
  readonly #call = async <T>(path: string, body: object): Promise<T> => {
    const answer = await this.#etcd.call<T & { readonly header?: { readonly cluster_id?: string } }>(path, body);
    const id = answer.header?.cluster_id;
    this.#etcdId ??= id;
    if (id !== undefined && id !== this.#etcdId) throw new BellhopError("deadline", "Another etcd answers at the address of the one that has the control log.");
    return answer;
  };

  async #deleteLog(position: number): Promise<void> {
    const prefix = `${this.#prefix}log/`;
    for (;;) {
      const { kvs = [] } = await this.#call<RangeAnswer>("/v3/kv/range", {
        key: encode(prefix), range_end: encode(prefixEnd(prefix)), max_create_revision: String(position), keys_only: true, limit: String(DELETES),
      });
      if (kvs.length === 0) return;
      await this.#call("/v3/kv/txn", { success: kvs.map(({ key }) => ({ request_delete_range: { key } })) });
    }
  }

  async #deleteRange(prefix: string): Promise<void> {
    await this.#call("/v3/kv/deleterange", { key: encode(prefix), range_end: encode(prefixEnd(prefix)) });
  }

  #range(key: string, end?: string): Promise<RangeAnswer> {
    return this.#call<RangeAnswer>("/v3/kv/range", { key: encode(key), ...(end === undefined ? {} : { range_end: encode(end) }) });
  }

  #part(position: number, part: number): string {
    return `${this.#prefix}snapshot/${position}/${part}`;
  }
}

/**
 * One watcher's entries. It reads what is there, then lets etcd tell what comes; and reads again every second, so that a watch that broke, hangs or
 * skips loses nothing: entries come in the order of their positions, and none at or below the last one is taken.
 */
class Watch {
  readonly #etcd: EtcdGateway;
  readonly #call: Call;
  readonly #prefix: string;
  readonly #watcher: ControlWatcher;
  readonly #abort = new AbortController();
  #last: number;

  constructor(etcd: EtcdGateway, call: Call, prefix: string, from: number, watcher: ControlWatcher) {
    this.#etcd = etcd;
    this.#call = call;
    this.#prefix = prefix;
    this.#watcher = watcher;
    this.#last = from;
    void this.#run();
  }

  close(): void {
    this.#abort.abort();
  }

  get #isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      try {
        const revision = await this.#read();
        if (revision !== undefined) await this.#follow(revision + 1);
      } catch {
        // etcd is away, or the watch broke: read again, from the last entry on. What waits shows as the age of the node's lease.
      }
      await sleep(REWATCH_MS, undefined, { signal: this.#abort.signal }).catch(() => undefined);
    }
  }

  /** Everything after the last entry, as of one revision, which is answered; undefined when the log is trimmed past it. */
  async #read(): Promise<number | undefined> {
    const prefix = `${this.#prefix}log/`;
    let revision: string | undefined;
    for (;;) {
      const page = await this.#call<TxnAnswer>("/v3/kv/txn", {
        success: [
          { request_range: { key: encode(`${this.#prefix}snapshot`), ...(revision === undefined ? {} : { revision }) } },
          {
            request_range: {
              key: encode(prefix), range_end: encode(prefixEnd(prefix)), min_create_revision: String(this.#last + 1),
              sort_order: "ASCEND", sort_target: "CREATE", limit: String(PAGE), ...(revision === undefined ? {} : { revision }),
            },
          },
        ],
      });
      revision ??= page.header.revision;
      const [snapshot, entries] = page.responses!.map(({ response_range: range }) => range!);
      const pointer = pointerIn(snapshot!);
      if (this.#isOver) return undefined;
      if (pointer !== undefined && pointer.position > this.#last) {
        this.close();
        this.#watcher.compacted();
        return undefined;
      }
      this.#take(entries!.kvs ?? []);
      if (entries!.more !== true) return Number(revision);
    }
  }

  /** Lets etcd tell from this revision on; ends when the watch breaks, or a read brings what it should have. */
  async #follow(revision: number): Promise<void> {
    const prefix = `${this.#prefix}log/`;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#abort.signal]);
    const watched = this.#etcd.watch({ key: encode(prefix), range_end: encode(prefixEnd(prefix)), start_revision: String(revision), filters: ["NODELETE"] }, ({ canceled, events = [] }) => {
      if (canceled === true) over.abort(); // compacted, or etcd's own reasons: a read tells
      else this.#take(events.map(({ kv }) => kv));
    }, signal);
    let late = 0;
    const broken = watched.then(() => over.abort(), () => over.abort());
    try {
      while (!signal.aborted) {
        await sleep(CHECK_MS, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) break;
        const before = this.#last;
        await this.#read();
        late = this.#last === before ? 0 : late + 1; // once may be a race with the watch
        if (late < LATE_MAX) continue;
        this.#etcd.moveOn(); // the watch does not bring what reads find
        break;
      }
    } finally {
      over.abort();
      await broken;
    }
  }

  #take(kvs: readonly KeyValue[]): void {
    const skip = `${this.#prefix}log/`.length;
    const entries: ControlEntry[] = [];
    for (const kv of kvs) {
      const position = Number(kv.create_revision);
      if (position <= this.#last) continue;
      this.#last = position;
      entries.push({ position, id: text(kv.key).slice(skip), commands: JSON.parse(bytes(kv).toString()) as Command[] });
    }
    if (entries.length > 0 && !this.#isOver) this.#watcher.entries(entries);
  }
}

function pointerIn({ kvs }: RangeAnswer): Pointer | undefined {
  return kvs?.[0] === undefined ? undefined : (JSON.parse(bytes(kvs[0]).toString()) as Pointer);
}

function encode(value: string): string {
  return Buffer.from(value).toString("base64");
}

function text(base64: string): string {
  return Buffer.from(base64, "base64").toString();
}

function bytes({ value }: KeyValue): Buffer {
  return Buffer.from(value ?? "", "base64");
}

/** The first key behind all that begin with the prefix, which ends in "/". */
function prefixEnd(prefix: string): string {
  return `${prefix.slice(0, -1)}0`;
}
