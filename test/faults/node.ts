// One real node as a process of its own, on a data directory of the test: started, asked over HTTP, ended by its id.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../bench/processes.ts";
import { collect, type Ended, ROOT } from "../cli/command.ts";
import { call, type Call, type Reply } from "../http/broker.ts";

export interface NodeOptions {
  /** Further words of `bellhop start`. */
  readonly flags?: readonly string[];
  /** What the node is started through: nsenter, strace. It must leave the process id to the node. */
  readonly through?: readonly string[];
  /** Takes the addresses of one that has ended, so that its devices find it. */
  readonly inPlaceOf?: NodeProcess;
}

/** The data directory and ports of a node, and its process while it runs. */
export class NodeProcess {
  readonly data: string;
  readonly http: string;
  readonly device: string;
  readonly child: ChildProcess;
  readonly #output: { stdout(): string; stderr(): string };

  private constructor(data: string, http: string, device: string, child: ChildProcess) {
    this.data = data;
    this.http = http;
    this.device = device;
    this.child = child;
    this.#output = collect(child);
  }

  /** Resolves when the process is there; `ready` and `ended` tell how it goes on. */
  static async launch(data: string, { flags = [], through = [], inPlaceOf }: NodeOptions = {}): Promise<NodeProcess> {
    const http = inPlaceOf?.http ?? `127.0.0.1:${await freePort()}`;
    const device = inPlaceOf?.device ?? `127.0.0.1:${await freePort()}`;
    const words = ["start", "--data", data, "--http", http, "--device", device, "--log-level", "error", "--bucket-count", "4", ...flags];
    const [command = "", ...rest] = [...through, process.execPath, join(ROOT, "bin/bellhop.js"), ...words];
    return new NodeProcess(data, http, device, spawn(command, rest, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] }));
  }

  static async start(data: string, options: NodeOptions = {}): Promise<NodeProcess> {
    const node = await NodeProcess.launch(data, options);
    await node.ready();
    return node;
  }

  get said(): string {
    return this.#output.stdout() + this.#output.stderr();
  }

  get #isOver(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async ready(): Promise<void> {
    while (!this.said.includes("is ready")) {
      await Promise.race([once(this.child.stderr!, "data"), once(this.child, "close")]);
      if (this.#isOver) throw new Error(`The node ended before it was ready: ${this.said}`);
    }
  }

  /** How it ended, with all that it said. */
  async ended(): Promise<Ended> {
    if (!this.#isOver || !this.child.stdout!.readableEnded || !this.child.stderr!.readableEnded) await once(this.child, "close");
    return { code: this.child.exitCode, stdout: this.#output.stdout(), stderr: this.#output.stderr() };
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    this.child.kill(signal);
    return this.ended();
  }

  call(method: string, path: string, options: Call = {}): Promise<Reply> {
    return call(this.http, method, path, options);
  }

  async publish(device: string, body: string, key?: string): Promise<Reply> {
    const headers = { "content-type": "text/plain", ...(key === undefined ? {} : { "idempotency-key": key }) };
    return this.call("POST", `/v1/devices/${device}/messages`, { body, headers });
  }

  /** The whole stream of a device. */
  async stream(device: string): Promise<readonly { readonly offset: string; readonly type: string; readonly payload: unknown }[]> {
    const all = [];
    for (let after = "0"; ; ) {
      const { json } = await this.call("GET", `/v1/devices/${device}/stream?after=${after}&limit=1000`);
      if (json.entries.length === 0) return all;
      all.push(...json.entries);
      after = json.next;
    }
  }

  /** A number of /metrics, without its prefix. */
  async metric(name: string): Promise<number> {
    const { text } = await this.call("GET", "/metrics");
    return Number(new RegExp(`^bellhop_${name} (\\S+)$`, "m").exec(text)?.[1] ?? "NaN");
  }

  /** Bytes of memory that the process has. */
  get residentBytes(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.child.pid}/status`, "latin1"))![1]) * 1024;
  }
}

/** A folder for the tests of a file, and the end of it. */
export function testFolder(name: string): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), `bellhop-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Ends what a failed test left behind. */
export function end(node: NodeProcess | undefined): void {
  if (node !== undefined && node.child.exitCode === null && node.child.signalCode === null) node.child.kill("SIGKILL");
}
