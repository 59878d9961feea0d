// Reads through this node of any device (R34): from its own copy where that is current and holds all that this node was answered, else from the bucket's leader, over the link.

import { setTimeout as sleep } from "node:timers/promises";
import { BellhopError } from "../base/errors.ts";
import { bucketOf } from "../core/hash.ts";
import type { GatewayId } from "../core/hop.ts";
import type { Links } from "../peer/links.ts";
import type { ReadMessage } from "../peer/reads.ts";
import type { CredentialView, DevicePage, DeviceView, Explanation, OffsetPlace, ReadOptions, StatePair, StreamPage } from "./api.ts";
import type { Host } from "./host.ts";
import type { BucketDevices, BucketExplanation, Streams } from "./streams.ts";

/** A read finds a leader that answers within this time, or is refused. */
const READ_MS = 5000;
/** A leader that is not open yet, or not linked, is tried again after a random part of this. */
const AGAIN_MS = 100;
/** Questions that may wait for other nodes, and that one other node may have waiting here. */
const QUESTIONS_MAX = 10_000;
/** Payload bytes of one answer: replication has the link too. The rest is read with the next page. */
const PAGE_BYTES = 512 * 1024;
/** Devices looked at for one page of their list; a prefix that few have takes more pages. */
const LISTED_MAX = 10_000;

/** What can be read of a bucket. */
type Read =
  | { readonly of: "page"; readonly device: string; readonly options: ReadOptions }
  | { readonly of: "device" | "credentials" | "state" | "explain"; readonly device: string }
  | { readonly of: "place"; readonly device: string; readonly offset: number }
  | { readonly of: "devices"; readonly after: string; readonly limit: number; readonly prefix: string; readonly most: number };

interface Question {
  readonly to: string;
  readonly deadline: number;
  readonly settle: (value: unknown, error: BellhopError | undefined) => void;
}

export class Reads {
  readonly #host: Host;
  readonly #streams: Streams;
  readonly #links: Links | undefined;
  readonly #questions = new Map<number, Question>();
  /** Questions of each other node that are being answered here. */
  readonly #answering = new Map<string, number>();
  #question = 0;
  #lookAt = 0;

  constructor(host: Host, streams: Streams, links: Links | undefined) {
    this.#host = host;
    this.#streams = streams;
    this.#links = links;
  }

  /** Questions that wait for other nodes. */
  get waiting(): number {
    return this.#questions.size;
  }

  bucketOf(device: string): number {
    return bucketOf(device, this.#host.core.table.buckets.length);
  }

  /** The epoch of its government, as this node sees it. */
  epochOf(bucket: number): number {
    return this.#host.core.table.bucket(bucket).epoch;
  }

  /** Who is asked about the bucket just now: "" for this node itself, undefined for nobody. */
  placeOf(bucket: number): string | undefined {
    const { core } = this.#host;
    if (core.copy(bucket)?.replica.isCurrent === true) return "";
    const leader = core.table.leaderOf(bucket)?.id;
    return leader !== undefined && leader !== core.id && this.#links?.isFree(leader) === true ? leader : undefined;
  }

  // --- what is read; `least`: an offset that is known to be there, so that a copy without it is not read ---

  page(device: string, options: ReadOptions, least = 0): Promise<StreamPage> {
    return this.#read(this.bucketOf(device), { of: "page", device, options }, Math.max(options.after, least));
  }

  /** undefined: not without asking the disk or another node. */
  pageNow(device: string, options: ReadOptions, least = 0): StreamPage | undefined {
    const isEnough = this.#isEnough(this.bucketOf(device), { of: "page", device, options }, Math.max(options.after, least));
    return isEnough ? this.#streams.readNow(device, options) : undefined;
  }

  device(device: string): Promise<DeviceView | undefined> {
    return this.#read(this.bucketOf(device), { of: "device", device });
  }

  credentials(device: string): Promise<readonly CredentialView[] | undefined> {
    return this.#read(this.bucketOf(device), { of: "credentials", device });
  }

  state(device: string, least = 0): Promise<StatePair | undefined> {
    return this.#read(this.bucketOf(device), { of: "state", device }, least);
  }

  place(device: string, offset: number): Promise<OffsetPlace | undefined> {
    return this.#read(this.bucketOf(device), { of: "place", device, offset }, offset);
  }

  /** What waits is of this node's gateway, `followers` are those of this node. */
  async explain(device: string, followers: number): Promise<Explanation | undefined> {
    const { core } = this.#host;
    const told = await this.#read<BucketExplanation | undefined>(this.bucketOf(device), { of: "explain", device });
    if (told === undefined) return undefined;
    const line = core.gateway.lineOf(device);
    const why = core.storageFull ? "storage_full" : line?.state === "attached" ? "commit" : "bucket_paused";
    const waits = line === undefined || line.waiting.messages === 0 ? undefined : { ...line.waiting, why } as const;
    return { ...told, window: line?.window ?? 0, followers, waits };
  }

  /** By bucket, and within it in the order of the devices' places. */
  async devices(after: string, limit: number, prefix: string): Promise<DevicePage> {
    const views: DeviceView[] = [];
    const start = after === "" ? 0 : this.bucketOf(after);
    let left = LISTED_MAX;
    for (let bucket = start; bucket < this.#host.core.table.buckets.length; bucket += 1) {
      const behind = bucket === start ? after : "";
      const part = await this.#read<BucketDevices>(bucket, { of: "devices", after: behind, limit: limit - views.length, prefix, most: left });
      views.push(...part.devices);
      left -= part.looked;
      if (part.next !== undefined) return { devices: views, next: part.next };
    }
    return { devices: views, next: undefined };
  }

  // --- asking ---

  /** @throws BellhopError `bucket_dark`; `bucket_paused` where no leader answered in time; `overloaded`; and what the read itself throws */
  async #read<T>(bucket: number, read: Read, least = 0): Promise<T> {
    const deadline = performance.now() + READ_MS;
    for (;;) {
      if (this.#isEnough(bucket, read, least)) return (await this.#own(bucket, read)) as T;
      const { core } = this.#host;
      const leader = core.table.leaderOf(bucket);
      if (leader === undefined) throw new BellhopError("bucket_dark");
      try {
        if (leader.id !== core.id) return (await this.#ask(leader.id, bucket, read, deadline)) as T;
      } catch (error) {
        if (!(error instanceof BellhopError) || !ASK_AGAIN.has(error.code)) throw error;
      }
      if (performance.now() >= deadline) throw new BellhopError("bucket_paused", `Its leader ${leader.id} did not answer within ${READ_MS / 1000} s.`);
      await sleep(AGAIN_MS * Math.random());
    }
  }

  /** This node's copy may answer: it leads; or it lags by no more than the way of a message, and behind nothing that this node was answered or that is asked for. */
  #isEnough(bucket: number, read: Read, least: number): boolean {
    const { core } = this.#host;
    const replica = core.copy(bucket)?.replica;
    if (replica === undefined || !replica.isCurrent) return false;
    if (replica.isOpen) return true;
    if (replica.applied < this.#host.answered(bucket)) return false;
    return least === 0 || !("device" in read) || (this.#streams.device(read.device)?.end ?? 0) >= least;
  }

  #own(bucket: number, read: Read): unknown {
    const streams = this.#streams;
    switch (read.of) {
      case "page":
        return streams.read(read.device, read.options);
      case "device":
        return streams.device(read.device);
      case "credentials":
        return streams.credentials(read.device);
      case "state":
        return streams.state(read.device);
      case "explain":
        return streams.explain(read.device);
      case "place":
        return streams.place(read.device, read.offset);
      case "devices":
        return streams.devices(bucket, read.after, read.limit, read.prefix, read.most);
    }
  }

  #ask(to: string, bucket: number, read: Read, deadline: number): Promise<unknown> {
    if (this.#questions.size >= QUESTIONS_MAX) throw new BellhopError("overloaded", `${QUESTIONS_MAX} reads wait for other nodes.`);
    this.#question += 1;
    const question = this.#question;
    if (this.#links?.isFree(to) !== true) throw NOT_NOW;
    this.#host.wake();
    this.#links.read(to, { type: "ask", question, bucket, epoch: this.epochOf(bucket), read });
    return new Promise((resolve, reject) => {
      const settle: Question["settle"] = (value, error) => {
        this.#questions.delete(question);
        if (error === undefined) resolve(value);
        else reject(error);
      };
      this.#questions.set(question, { to, deadline, settle });
    });
  }

  /** Time passes: what nobody answers is given up. */
  tick(): void {
    const now = performance.now();
    if (now < this.#lookAt) return;
    this.#lookAt = now + AGAIN_MS;
    for (const { deadline, settle } of this.#questions.values()) if (now >= deadline) settle(undefined, NOT_NOW);
  }

  /** What was under way to and from that node is lost. */
  lost(node: string): void {
    for (const { to, settle } of this.#questions.values()) if (to === node) settle(undefined, NOT_NOW);
  }

  // --- answering ---

  take(from: GatewayId, message: Extract<ReadMessage, { type: "ask" | "told" | "refused" }>): void {
    if (message.type === "told") this.#questions.get(message.question)?.settle(message.value, undefined);
    else if (message.type === "refused") this.#questions.get(message.question)?.settle(undefined, new BellhopError(message.code, message.detail));
    else void this.#answer(from, message);
  }

  /** The leader answers, and nobody else: one whose table is older than the asker's does not know it yet, or is it no more (C8). */
  mayAnswer(bucket: number, epoch: number): boolean {
    const replica = this.#host.core.copy(bucket)?.replica;
    return replica !== undefined && replica.isOpen && replica.epoch >= epoch;
  }

  async #answer(from: GatewayId, { question, bucket, epoch, read }: Extract<ReadMessage, { type: "ask" }>): Promise<void> {
    const underWay = this.#answering.get(from.node) ?? 0;
    let answer: ReadMessage;
    if (underWay >= QUESTIONS_MAX) answer = { type: "refused", question, code: "overloaded", detail: `${QUESTIONS_MAX} reads of node ${from.node} wait here.` };
    else if (!this.mayAnswer(bucket, epoch)) answer = { type: "refused", question, code: "stale_table", detail: "" };
    else {
      this.#answering.set(from.node, underWay + 1);
      answer = await this.#answered(question, bucket, read as Read);
      this.#answering.set(from.node, this.#answering.get(from.node)! - 1);
    }
    this.#host.wake();
    const isFree = this.#links?.isFree(from.node) === true;
    this.#links?.read(from.node, isFree ? answer : { type: "refused", question, code: "overloaded", detail: "The link between the nodes is full." });
  }

  async #answered(question: number, bucket: number, read: Read): Promise<ReadMessage> {
    try {
      const bounded = read.of === "page" ? { ...read, options: { ...read.options, maxBytes: Math.min(read.options.maxBytes, PAGE_BYTES) } } : read;
      return { type: "told", question, value: await this.#own(bucket, bounded) };
    } catch (error) {
      if (error instanceof BellhopError) return { type: "refused", question, code: error.code, detail: error.detail };
      this.#host.fail(error as Error);
      return { type: "refused", question, code: "internal", detail: "" };
    }
  }
}

const NOT_NOW = new BellhopError("bucket_paused");
/** Answers that say "not here, not now". */
const ASK_AGAIN: ReadonlySet<string> = new Set(["stale_table", "bucket_paused"]);
