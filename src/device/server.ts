// The device server: takes TCP connections, keeps their number and deadlines, and sends what they have to say once a turn.

import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { BrokenInvariant } from "../base/assert.ts";
import type { Settings } from "../config.ts";
import { Buckets } from "../doors/bucket.ts";
import type { Certificates } from "../doors/certificates.ts";
import type { NodeApi } from "../node/api.ts";
import { SeldomLog, type Log } from "../observe/log.ts";
import { Writer } from "../wire/msgpack.ts";
import { Admission } from "./admission.ts";
import { Connection, type ConnectionKeeper, type Refusal } from "./connection.ts";
import { DeviceCounts } from "./counts.ts";
import { Failures } from "./failures.ts";
import { Handshakes, type HandshakesKeeper } from "./handshakes.ts";
import { certificateOf, isCertified } from "./identity.ts";
import { type DeviceLimits, deviceLimits } from "./limits.ts";
import type { DevicePort } from "./port.ts";
import { Wheel } from "./wheel.ts";

export interface DeviceServer {
  /** Connections at present. */
  readonly connections: number;
  /** What it has counted. */
  readings(): ReturnType<DeviceCounts["readings"]>;
  /** Takes new limits and certificates: live connections stay, those whose certificate is revoked now end. */
  reload(settings: Settings, certificates: Certificates): void;
  /** Closes the port, and every connection with `stopping` and a slot to come back in. Resolves when all are gone. */
  close(): Promise<void>;
  /** The same, but leaves the port to the next incarnation. */
  leave(): Promise<void>;
}

const TICK_MS = 500;
/** Writers kept for reuse, and the size above which one is not. */
const SPARE_WRITERS = 64;
const SPARE_WRITER_BYTES = 65_536;
/** Share of `backlogBytes` below which those that wait for it are read again. */
const READ_AGAIN_BELOW = 0.75;

/** The socket's own place for its connection: no closure and no map entry per connection. */
interface DeviceTcp extends Socket {
  bellhop?: Connection;
}

/** @throws the system's error when it cannot listen there. */
export async function startDeviceServer(parts: {
  readonly node: NodeApi;
  readonly settings: Settings;
  readonly log: Log;
  readonly certificates: Certificates;
  readonly port: DevicePort;
}): Promise<DeviceServer> {
  const server = new TcpServer(parts.node, deviceLimits(parts.settings), parts.log, parts.port, parts.certificates);
  await server.open();
  return server;
}

export class TcpServer implements DeviceServer, ConnectionKeeper, HandshakesKeeper {
  readonly node: NodeApi;
  limits: DeviceLimits;
  readonly counts = new DeviceCounts();
  readonly tickMs = TICK_MS;
  readonly log: Log;
  readonly #failures: SeldomLog;
  readonly #refusals: SeldomLog;
  readonly #port: DevicePort;
  readonly #wheel = new Wheel<Connection>();
  readonly #wrongCredentials = new Failures();
  readonly #handshakes: Handshakes | undefined;
  readonly #held = new Set<Connection>();
  #certificates: Certificates;
  #admission: Admission;
  #hellosOf: Buckets;
  #backlogBytes = 0;
  /** Connections get numbers, for the log. */
  #named = 0;
  readonly #open = new Set<Connection>();
  readonly #perAddress = new Map<string, number>();
  readonly #flushAll = (): void => this.#flush();
  #timer: NodeJS.Timeout | undefined;
  #dirty: Connection[] = [];
  #writers: Writer[] = [];
  #allGone: (() => void) | undefined;

  /** @param certificates without one for devices it speaks plain text. */
  constructor(node: NodeApi, limits: DeviceLimits, log: Log, port: DevicePort, certificates: Certificates) {
    this.node = node;
    this.limits = limits;
    this.log = log;
    this.#failures = new SeldomLog(log);
    this.#refusals = new SeldomLog(log);
    this.#certificates = certificates;
    this.#handshakes = certificates.device === undefined ? undefined : new Handshakes(this, certificates);
    this.#admission = new Admission(limits.hellosPerSecond, limits.hellosAtOnce);
    this.#hellosOf = new Buckets(limits.hellosPerAddress);
    this.#port = port;
  }

  get connections(): number {
    return this.#open.size + (this.#handshakes?.size ?? 0);
  }

  reload(settings: Settings, certificates: Certificates): void {
    this.limits = deviceLimits(settings);
    this.#admission = new Admission(this.limits.hellosPerSecond, this.limits.hellosAtOnce);
    this.#hellosOf = new Buckets(this.limits.hellosPerAddress);
    this.#certificates = certificates;
    this.#handshakes?.use(certificates);
    for (const connection of this.#open) {
      connection.limitsChanged();
      const certificate = certificateOf(connection.socket);
      if (certificate !== undefined && certificates.isRevoked(certificate)) connection.refuseAndClose("unauthenticated", "The client certificate is revoked.");
    }
  }

  readings(): ReturnType<DeviceCounts["readings"]> {
    return this.counts.readings(this.connections);
  }

  /** Takes the port's sockets; rejects where it cannot listen. */
  async open(): Promise<void> {
    await this.#port.open((socket) => this.#accept(socket), (error) => this.log.error({ err: error }, "the device port"));
    this.#timer = setInterval(() => {
      this.#wheel.tick();
      this.#handshakes?.expire();
    }, TICK_MS);
  }

  async close(): Promise<void> {
    this.#port.close();
    await this.leave();
  }

  async leave(): Promise<void> {
    if (this.#timer === undefined) return;
    this.#port.leave();
    this.#handshakes?.closeAll();
    const now = performance.now();
    for (const connection of this.#open) connection.refuseAndClose("stopping", "", this.#admission.slot(now, Math.random()));
    if (this.connections > 0) {
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
    const address = socket.remoteAddress;
    if (address === undefined) return void socket.destroy(); // gone before it was taken
    this.counts.taken += 1;
    const { connections, connectionsPerAddress } = this.limits;
    const fromThere = this.#perAddress.get(address) ?? 0;
    const isFull = this.connections >= connections || (connectionsPerAddress > 0 && fromThere >= connectionsPerAddress);
    // Without a handshake nothing can be said over TLS, and a handshake is what costs.
    if (isFull && this.#handshakes !== undefined) return void socket.destroy();
    this.#perAddress.set(address, fromThere + 1);
    if (this.#handshakes !== undefined) return this.#handshakes.begin(socket, address);
    const connection = this.#connected(socket, address, this.tick);
    if (isFull) connection.refuseAndClose("overloaded", "No more connections are taken.", this.#admission.slot(performance.now(), Math.random()));
  }

  #connected(socket: DeviceTcp, address: string, since: number): Connection {
    this.#named += 1;
    const connection = new Connection(this, socket, address, this.#named, since);
    socket.bellhop = connection;
    this.#open.add(connection);
    this.#wheel.place(connection);
    socket.on("data", onData);
    socket.on("drain", onDrain);
    socket.on("close", onClose);
    return connection;
  }

  // --- HandshakesKeeper ---

  secured(socket: TLSSocket, since: number): void {
    socket.on("error", onError);
    this.#connected(socket, socket.remoteAddress ?? "", since);
  }

  dropped(address: string): void {
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
    if (this.connections === 0) this.#allGone?.();
  }

  // --- ConnectionKeeper ---

  gone(connection: Connection): void {
    this.#wheel.remove(connection);
    this.#open.delete(connection);
    this.#held.delete(connection);
    this.dropped(connection.address);
  }

  get tick(): number {
    return this.#wheel.now;
  }

  admit(address: string, device: string): Refusal | undefined {
    const now = performance.now();
    const afterFailures = this.#wrongCredentials.wait(address, device, now);
    if (afterFailures > 0) return { code: "too_many_requests", detail: "The credential that this device showed last was wrong: the next one is looked at after a while.", waitMs: afterFailures };
    if (this.limits.hellosPerAddress > 0) {
      const left = this.#hellosOf.take(address, now);
      if (left < 0) return { code: "too_many_requests", detail: "Too many devices connect from this address.", waitMs: this.#admission.slot(now, Math.random()) - left };
    }
    const waitMs = this.#admission.take(now, Math.random());
    return waitMs === 0 ? undefined : { code: "overloaded", detail: "Too many devices connect at once.", waitMs };
  }

  isCertified(connection: Connection, device: string): boolean {
    const certificates = this.#certificates;
    return certificates.asksDevices && isCertified(connection.socket, device, (certificate) => certificates.isRevoked(certificate));
  }

  refusedCredential({ address, device, number }: Connection, why: string): void {
    this.#wrongCredentials.failed(address, device, performance.now());
    this.#refusals.write("warn", { code: "unauthenticated", device, address, connection: number }, `a device was refused: ${why} \`bellhop device token ${JSON.stringify(device)}\` makes a token`);
  }

  welcomed({ address, device }: Connection): void {
    this.#wrongCredentials.succeeded(address, device);
  }

  moved(bytes: number): void {
    this.#backlogBytes += bytes;
    if (bytes > 0 || this.#held.size === 0 || this.#backlogBytes > this.limits.backlogBytes * READ_AGAIN_BELOW) return;
    const held = [...this.#held];
    this.#held.clear();
    for (const connection of held) connection.placeAgain();
  }

  get isFull(): boolean {
    return this.#backlogBytes >= this.limits.backlogBytes;
  }

  held(connection: Connection): void {
    this.#held.add(connection);
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
