// The device server: takes TCP connections, keeps their number and deadlines, and sends what they have to say once a turn.

import { createServer, type Server, type Socket } from "node:net";
import { BrokenInvariant } from "../base/assert.ts";
import type { Settings } from "../config.ts";
import type { NodeApi } from "../node/api.ts";
import { SeldomLog, type Log } from "../observe/log.ts";
import { Writer } from "../wire/msgpack.ts";
import { Admission } from "./admission.ts";
import { Connection, type ConnectionKeeper } from "./connection.ts";
import { DeviceCounts } from "./counts.ts";
import { type DeviceLimits, deviceLimits } from "./limits.ts";
import { Wheel } from "./wheel.ts";

export interface DeviceServer {
  /** HOST:PORT where it listens. */
  readonly address: string;
  /** Connections at present. */
  readonly connections: number;
  /** What it has counted. */
  readings(): ReturnType<DeviceCounts["readings"]>;
  /** Stops listening, and closes every connection with `stopping` and a slot to come back in. Resolves when all are gone. */
  close(): Promise<void>;
}

const TICK_MS = 500;
/** Writers kept for reuse, and the size above which one is not. */
const SPARE_WRITERS = 64;
const SPARE_WRITER_BYTES = 65_536;
const BACKLOG = 4096;

/** The socket's own place for its connection: no closure and no map entry per connection. */
interface DeviceTcp extends Socket {
  bellhop?: Connection;
}

/** @throws the system's error when it cannot listen there. */
export async function startDeviceServer(parts: { readonly node: NodeApi; readonly settings: Settings; readonly log: Log }): Promise<DeviceServer> {
  const server = new TcpServer(parts.node, deviceLimits(parts.settings), parts.log);
  await server.listen(parts.settings.device);
  return server;
}

export class TcpServer implements DeviceServer, ConnectionKeeper {
  readonly node: NodeApi;
  readonly limits: DeviceLimits;
  readonly counts = new DeviceCounts();
  readonly tickMs = TICK_MS;
  readonly log: Log;
  readonly #failures: SeldomLog;
  readonly #server: Server;
  readonly #wheel = new Wheel<Connection>();
  readonly #admission: Admission;
  readonly #open = new Set<Connection>();
  readonly #perAddress = new Map<string, number>();
  readonly #flushAll = (): void => this.#flush();
  #timer: NodeJS.Timeout | undefined;
  #dirty: Connection[] = [];
  #writers: Writer[] = [];
  #address = "";
  #allGone: (() => void) | undefined;

  constructor(node: NodeApi, limits: DeviceLimits, log: Log) {
    this.node = node;
    this.limits = limits;
    this.log = log;
    this.#failures = new SeldomLog(log);
    this.#admission = new Admission(limits.hellosPerSecond, limits.hellosAtOnce);
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  get address(): string {
    return this.#address;
  }

  get connections(): number {
    return this.#open.size;
  }

  readings(): ReturnType<DeviceCounts["readings"]> {
    return this.counts.readings(this.connections);
  }

  async listen(address: string): Promise<void> {
    const colon = address.lastIndexOf(":");
    const host = address.slice(0, colon).replace(/^\[|\]$/g, "");
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port: Number(address.slice(colon + 1)), backlog: BACKLOG }, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) => this.log.error({ err: error }, "the device port"));
        resolve();
      });
    });
    const bound = this.#server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    this.#address = `${address.slice(0, colon)}:${port}`;
    this.#timer = setInterval(() => this.#wheel.tick(), TICK_MS);
  }

  async close(): Promise<void> {
    if (this.#timer === undefined) return;
    this.#server.close();
    const now = performance.now();
    for (const connection of this.#open) connection.refuseAndClose("stopping", "", this.#admission.slot(now, Math.random()));
    if (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        this.#allGone = resolve;
      });
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  // --- connections ---

  #accept(socket: DeviceTcp): void {
    // In the tick of the accept: an error without a listener would end the process.
    socket.on("error", onError);
    this.counts.taken += 1;
    const address = socket.remoteAddress ?? "";
    const fromThere = this.#perAddress.get(address) ?? 0;
    const connection = new Connection(this, socket, address, this.counts.taken);
    socket.bellhop = connection;
    const isFull = this.#open.size >= this.limits.connections || fromThere >= this.limits.connectionsPerAddress;
    this.#open.add(connection);
    this.#perAddress.set(address, fromThere + 1);
    this.#wheel.place(connection);
    socket.on("data", onData);
    socket.on("drain", onDrain);
    socket.on("close", onClose);
    if (isFull) connection.refuseAndClose("overloaded", "No more connections are taken.", this.#admission.slot(performance.now(), Math.random()));
  }

  // --- ConnectionKeeper ---

  gone(connection: Connection): void {
    const { address } = connection;
    this.#wheel.remove(connection);
    this.#open.delete(connection);
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
    if (this.#open.size === 0) this.#allGone?.();
  }

  get tick(): number {
    return this.#wheel.now;
  }

  admit(): number {
    return this.#admission.take(performance.now(), Math.random());
  }

  dirty(connection: Connection): void {
    if (this.#dirty.length === 0) queueMicrotask(this.#flushAll);
    this.#dirty.push(connection);
  }

  rearm(connection: Connection): void {
    if (this.#open.has(connection)) this.#wheel.place(connection);
  }

  takeWriter(): Writer {
    return this.#writers.pop() ?? new Writer(1024);
  }

  giveWriter(writer: Writer): void {
    writer.clear();
    if (this.#writers.length < SPARE_WRITERS && writer.bytes.length <= SPARE_WRITER_BYTES) this.#writers.push(writer);
  }

  failed(connection: Connection, error: unknown): void {
    if (error instanceof BrokenInvariant) return this.node.fail(error);
    this.#failures.write("error", { code: "internal", err: error, device: connection.device, connection: connection.number }, "a connection failed");
    connection.refuseAndClose("internal", "");
  }

  #flush(): void {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const connection of dirty) if (connection.isDirty) connection.flush();
  }
}

function onError(): void {
  // "close" follows, and settles everything.
}

function onData(this: DeviceTcp, chunk: Buffer): void {
  this.bellhop?.read(chunk);
}

function onDrain(this: DeviceTcp): void {
  this.bellhop?.drained();
}

function onClose(this: DeviceTcp): void {
  this.bellhop?.gone();
}
