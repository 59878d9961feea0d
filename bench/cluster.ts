// A cluster of real processes over a real etcd on this machine: started, asked, killed, frozen and started again, each by its id. For fault runs and for measuring fail-over.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startEtcd, type EtcdCluster, type EtcdServer } from "./etcd.ts";
import { freePort } from "./processes.ts";

const START_MS = 60_000;
const LOOK_MS = 100;
const ASK_MS = 2000;
/** Of what a node says, the end is kept. */
const SAID_CHARACTERS = 20_000;

export interface ClusterOptions {
  readonly nodes: number;
  readonly etcds: number;
  readonly buckets: number;
  /** The command line that is run: bin/bellhop.js of a build. */
  readonly program: string;
  /** Where the others are told to dial a node, given its id and where it listens: a proxy's address, or the same. */
  readonly advertise?: (node: string, listens: string) => Promise<string>;
  /** Environment of a node beside this process's own. */
  readonly environment?: (node: string) => Readonly<Record<string, string>>;
}

export class ClusterNode {
  readonly id: string;
  readonly data: string;
  readonly http: string;
  readonly device: string;
  readonly #words: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  #child: ChildProcess | undefined;
  said = "";
  isFrozen = false;

  constructor(options: { id: string; data: string; http: string; device: string; words: readonly string[]; environment: Readonly<Record<string, string>> }) {
    this.id = options.id;
    this.data = options.data;
    this.http = options.http;
    this.device = options.device;
    this.#words = options.words;
    this.#environment = options.environment;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get exitCode(): number | null | undefined {
    return this.#child?.exitCode;
  }

  /** Resolves when the process is there, not when the node is ready. */
  start(): void {
    const child = spawn(process.execPath, this.#words, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...this.#environment } });
    const hear = (text: string): void => {
      this.said = (this.said + text).slice(-SAID_CHARACTERS);
    };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", hear);
    this.#child = child;
    this.isFrozen = false;
  }

  /** Resolves at the process's end. A frozen one is thawed by SIGKILL only. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (!this.isRunning) return;
    const ended = once(this.#child!, "exit");
    this.#child!.kill(signal);
    await ended;
  }

  freeze(): void {
    this.isFrozen = this.#child!.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child!.kill("SIGCONT");
    this.isFrozen = false;
  }

  /** The JSON that GET answers; undefined when nothing, or another status than 200, comes in time. */
  async get(path: string): Promise<unknown> {
    try {
      const response = await fetch(`http://${this.http}${path}`, { signal: AbortSignal.timeout(ASK_MS) });
      return response.ok ? await response.json() : void (await response.body?.cancel());
    } catch {
      return undefined;
    }
  }
}

export class Cluster {
  readonly etcd: EtcdCluster;
  readonly nodes: readonly ClusterNode[];
  readonly #directory: string;

  private constructor(etcd: EtcdCluster, nodes: readonly ClusterNode[], directory: string) {
    this.etcd = etcd;
    this.nodes = nodes;
    this.#directory = directory;
  }

  /** Resolves when every bucket has its copies. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const etcd = await startEtcd(options.etcds);
    const directory = mkdtempSync(join(tmpdir(), "bellhop-cluster-"));
    const nodes: ClusterNode[] = [];
    for (let place = 1; place <= options.nodes; place += 1) {
      const id = `n${place}`;
      const [http, device, peer] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
      const data = join(directory, id);
      const advertised = options.advertise === undefined ? peer : await options.advertise(id, peer);
      const words = [
        options.program, "start", "--node", id, "--zone", `zone-${place}`, "--data", data, "--http", http, "--device", device, "--peer", peer, "--advertise-peer", advertised,
        "--cluster", "cluster", "--etcd", etcd.endpoints.join(","), "--bucket-count", String(options.buckets), "--log-level", "warn",
      ];
      nodes.push(new ClusterNode({ id, data, http, device, words, environment: options.environment?.(id) ?? {} }));
    }
    const cluster = new Cluster(etcd, nodes, directory);
    try {
      for (const node of nodes) node.start();
      await cluster.whole(START_MS);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Resolves when all nodes are members of every bucket and each is ready. @throws Error that says what is not, after `withinMs` */
  async whole(withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const trouble = await this.#trouble();
      if (trouble === "") return;
      const isHopeless = this.nodes.some(({ isRunning }) => !isRunning);
      if (isHopeless || performance.now() > deadline) throw new Error(`The cluster is not whole: ${trouble}`);
      await sleep(LOOK_MS);
    }
  }

  async #trouble(): Promise<string> {
    const ended = this.nodes.find(({ isRunning }) => !isRunning);
    if (ended !== undefined) return `${ended.id} has ended (${ended.exitCode}): ${ended.said.slice(-2000)}`;
    for (const node of this.nodes) {
      const status = (await node.get("/v1/status")) as { ready: boolean; why: string[] } | undefined;
      if (status === undefined) return `${node.id} does not answer`;
      if (!status.ready) return `${node.id} is not ready: ${status.why.join("; ")}`;
      const page = (await node.get("/v1/buckets?limit=1000")) as { buckets: { bucket: number; members: string[] }[] } | undefined;
      const short = page?.buckets.find(({ members }) => members.length < this.nodes.length);
      if (page === undefined || short !== undefined) return `${node.id} sees bucket ${short?.bucket} on ${short?.members.join(", ")} alone`;
    }
    return "";
  }

  /** The member of etcd that leads; undefined while none does. */
  async etcdLeader(): Promise<EtcdServer | undefined> {
    for (const server of this.etcd.servers) {
      try {
        const response = await fetch(`${server.url}/v3/maintenance/status`, { method: "POST", body: "{}", signal: AbortSignal.timeout(ASK_MS) });
        const { header, leader } = (await response.json()) as { header: { member_id: string }; leader?: string };
        if (header.member_id === leader) return server;
      } catch {
        // it is down
      }
    }
    return undefined;
  }

  /** Ends every process and removes the data. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await this.etcd.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
