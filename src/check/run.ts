// One check of a cluster: load for a time, rest, then every stream is read through every node that holds it, and all copies are compared.

import { setTimeout as sleep } from "node:timers/promises";
import { bucketOf } from "../core/hash.ts";
import { History, type DeviceHistory } from "./history.ts";
import { StreamJudge } from "./judge.ts";
import { Load, type LoadOptions } from "./load.ts";
import { AskFailed, digestOf, nodesOf, page, placements, type CheckedNode, type Digest, type Placement } from "./nodes.ts";

/** Everything is answered, and all copies are level, in this time after the load; in milliseconds. */
const REST_MS = 90_000;
const LOOK_MS = 250;

export interface CheckOptions extends Omit<LoadOptions, "nodes"> {
  /** HTTP addresses of nodes; the others are found through them. */
  readonly at: readonly string[];
  readonly run: string;
  readonly devices: number;
  readonly publishers: number;
}

export interface CheckReport {
  readonly run: string;
  readonly nodes: readonly string[];
  readonly seconds: number;
  /** Answers to devices and to HTTP publishers. */
  readonly answered: { readonly devices: number; readonly publishers: number };
  readonly perSecond: number;
  /** Longest time without any answer, in milliseconds. */
  readonly longestPauseMs: number;
  readonly entries: number;
  /** Copies whose state was compared. */
  readonly copies: number;
  /** All of them, and the first with their words. */
  readonly violationCount: number;
  readonly violations: readonly string[];
}

export class Check {
  readonly history: History;
  readonly nodes: readonly CheckedNode[];
  readonly #options: CheckOptions;
  readonly #load: Load;
  readonly #startedAt = performance.now();

  private constructor(options: CheckOptions, nodes: readonly CheckedNode[]) {
    this.#options = options;
    this.nodes = nodes;
    this.history = new History(options.run, options.devices, options.publishers);
    this.#load = new Load(this.history, { ...options, nodes });
  }

  /** The load begins. @throws AskFailed when no node answers */
  static async start(options: CheckOptions): Promise<Check> {
    return new Check(options, await firstOf(options.at, (at) => nodesOf(options.ask, at)));
  }

  /** Ends the load and judges; whatever is found wrong is in the report. */
  async finish(): Promise<CheckReport> {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const { answers } = this.history;
    await this.#load.stop(REST_MS);
    const { history, nodes } = this;
    let copies = 0;
    try {
      const placed = await this.#level();
      copies = placed.reduce((sum, { members }) => sum + members.length, 0);
      for (const device of history.devices) await this.#judge(device, placed);
    } catch (error) {
      if (!(error instanceof AskFailed)) throw error;
      history.violated(`the streams could not be read: ${error.message}`);
    }
    return {
      run: history.run,
      nodes: nodes.map(({ node }) => node),
      seconds,
      answered: {
        devices: history.devices.reduce((sum, { answered }) => sum + answered, 0),
        publishers: history.publishers.reduce((sum, { offsets }) => sum + offsets.filter((offset) => offset > 0).length, 0),
      },
      perSecond: answers / seconds,
      longestPauseMs: history.longestPauseMs,
      entries: history.devices.reduce((sum, { fingerprints }) => sum + fingerprints.length, 0),
      copies,
      violationCount: history.violationCount,
      violations: history.violations,
    };
  }

  /** Takes the run's devices away again. */
  async clean(): Promise<void> {
    for (const { device } of this.history.devices) {
      await this.#any((at) => this.#options.ask(at, { method: "DELETE", path: `/v1/devices/${device}` }, AbortSignal.timeout(REST_MS)));
    }
  }

  /** Waits until all members of each bucket are applied to the same index; there they must have the same state (invariant 17). */
  async #level(): Promise<Placement[]> {
    const deadline = performance.now() + REST_MS;
    for (;;) {
      let trouble = "";
      const placed = await patiently(() => this.#any((at) => placements(this.#options.ask, at)));
      for (const placement of placed) {
        trouble ||= await this.#compare(placement).catch((error: unknown) => {
          if (error instanceof AskFailed) return error.message;
          throw error;
        });
      }
      if (trouble === "") return placed;
      if (performance.now() > deadline) {
        this.history.violated(`the copies are not level ${REST_MS / 1000} s after the load: ${trouble}`);
        return placed;
      }
      await sleep(LOOK_MS);
    }
  }

  /** "" where they are level. */
  async #compare({ bucket, members }: Placement): Promise<string> {
    const found = await Promise.all(members.map(async (node): Promise<[string, Digest]> => [node, await digestOf(this.#options.ask, this.#addressOf(node), bucket)]));
    if (found.length === 0) return `bucket ${bucket} has no members`;
    const [[first, reference]] = found as [[string, Digest]];
    for (const [node, { applied, digest }] of found.slice(1)) {
      if (applied !== reference.applied) return `bucket ${bucket} is applied to ${reference.applied} on ${first} and to ${applied} on ${node}`;
      if (digest !== reference.digest) this.history.violated(`bucket ${bucket} is applied to ${applied} on ${first} and on ${node}, with different states`);
    }
    return "";
  }

  /** Content through the first member; through the others it must be the same. */
  async #judge(device: DeviceHistory, placed: readonly Placement[]): Promise<void> {
    const { history } = this;
    const { members } = placed[bucketOf(device.device, placed.length)]!;
    for (const [place, node] of members.entries()) {
      const judge = place === 0 ? new StreamJudge(history, device) : undefined;
      let count = 0;
      for (let after = "0"; ; ) {
        const { entries, next } = await patiently(() => page(this.#options.ask, this.#addressOf(node), device.device, after));
        for (const entry of entries) {
          history.read(device, entry, node);
          judge?.entry(entry);
        }
        count += entries.length;
        if (next === after || entries.length === 0) break;
        after = next;
      }
      judge?.end();
      if (judge === undefined && count !== device.fingerprints.length) history.violated(`${device.device}: node ${node} has ${count} entries of ${device.fingerprints.length}`);
    }
  }

  #addressOf(node: string): string {
    const known = this.nodes.find((one) => one.node === node);
    if (known === undefined) throw new AskFailed(`node ${node} came while the check ran`);
    return known.http;
  }

  #any<T>(question: (at: string) => Promise<T>): Promise<T> {
    return firstOf(this.nodes.map(({ http }) => http), question);
  }
}

/** A node that others held to be lost begins anew, and what it was asked is cut off: asked again, for as long as the cluster may take to rest. */
async function patiently<T>(question: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + REST_MS;
  for (;;) {
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof AskFailed) || performance.now() > deadline) throw error;
      await sleep(LOOK_MS);
    }
  }
}

/** What the first node says that answers. */
async function firstOf<T>(nodes: readonly string[], question: (at: string) => Promise<T>): Promise<T> {
  let failure: unknown = new AskFailed("no node is named");
  for (const at of nodes) {
    try {
      return await question(at);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
