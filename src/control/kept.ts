// Every node of a cluster keeps the newest fold of the control log on its disk: an etcd that was lost is restored from it (R10, E5).

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Table } from "../core/table/table.ts";
import { controlFolder, makeFolder, readState, writeState } from "./file.ts";

/** Between two writes, in milliseconds: what changes meanwhile goes into the next one. */
const REST_MS = 100;
const NAME = "kept";

export interface KeptLog {
  readonly cluster: string;
  /** The table's: it rises with every batch, and survives a move to another control log. */
  readonly version: number;
  readonly position: number;
  readonly state: Uint8Array;
}

/** undefined where the directory was in no cluster. @throws BellhopError on damage and on an unknown version */
export async function readKept(dataDirectory: string): Promise<KeptLog | undefined> {
  const found = await readState<Omit<KeptLog, "state">>(join(controlFolder(dataDirectory), NAME));
  if (found === undefined) return undefined;
  const { cluster, version, position } = found.head;
  return { cluster, version, position, state: found.state };
}

export async function writeKept(dataDirectory: string, { cluster, version, position, state }: KeptLog): Promise<void> {
  await writeState(await makeFolder(dataDirectory), NAME, { cluster, version, position }, state);
}

/** Writes the table whenever it has changed, one write after the other. */
export class Keeper {
  /** The greatest version that the disk has. */
  version: number;
  readonly #directory: string;
  readonly #cluster: string;
  readonly #stopped = new AbortController();
  #table: Table | undefined;
  #writing: Promise<void> | undefined;

  constructor(dataDirectory: string, cluster: string, version: number) {
    this.#directory = dataDirectory;
    this.#cluster = cluster;
    this.version = version;
  }

  /** While a start reads the log again from its beginning, the disk has more already. */
  changed(table: Table): void {
    if (table.version <= this.version) return;
    this.#table = table;
    this.#writing ??= this.#writeAll();
  }

  /** Writes what is not written yet. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let table = this.#table; table !== undefined; table = this.#table) {
      this.#table = undefined;
      const { version, position } = table;
      try {
        await writeKept(this.#directory, { cluster: this.#cluster, version, position, state: table.snapshot() });
        this.version = version;
      } catch {
        // A full or failed disk stops the node by its own log; what was kept before stays, and the next change is written again.
      }
      await sleep(REST_MS, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
    }
    this.#writing = undefined;
  }
}
