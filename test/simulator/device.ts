// A simulated device: its outbox, its session, its socket to whichever node it reaches (A6, R26).

import type { Prng } from "../../src/base/prng.ts";
import type { DeviceLine, DeviceSocket, Hello, Welcome } from "../../src/core/gateway/types.ts";
import { PUBLISH_KIND, type PublishKind } from "../../src/core/hop.ts";
import type { Cluster } from "./cluster.ts";
import type { SimNode } from "./core-node.ts";
import { bodyOf } from "./stream-oracle.ts";
import type { Workload } from "./workload.ts";
import { check, type Process } from "./world.ts";

/** Microseconds between a device and its gateway, one way; as it never changes, order holds as on a socket. */
const SOCKET_US = 400;
const OUTBOX_MAX = 40;

export class Device {
  readonly id: string;
  readonly #world: Workload;
  readonly #random: Prng;
  /** Messages not yet acknowledged: `series` counts within the session. */
  #outbox: { series: number; readonly kind: PublishKind; readonly text: string }[] = [];
  #given = 0;
  #session = 0;
  #leaves = 0;
  #nonce = 0n;
  /** That of the HELLO of its own that it said last. */
  #said = 0n;
  #next = 1;
  #sent = 0;
  #window = 0;
  #delivered = 0;
  #connection: Connection | undefined;
  isWelcome = false;
  /** It hung up and does not come back. */
  hasLeft = false;

  constructor(world: Workload, id: string, random: Prng) {
    this.#world = world;
    this.id = id;
    this.#random = random;
  }

  get waiting(): number {
    return this.#outbox.length;
  }

  get given(): number {
    return this.#given;
  }

  /** Its session, and the greatest number that was acknowledged in it. */
  get acked(): { readonly session: number; readonly series: number } {
    return { session: this.#session, series: (this.#outbox[0]?.series ?? this.#next) - 1 };
  }

  publish(): void {
    if (this.#outbox.length >= OUTBOX_MAX) return;
    const what = this.#random.below(20);
    if (what === 0) this.#put(PUBLISH_KIND.void, "");
    else if (what === 1) this.#put(PUBLISH_KIND.statePatch, this.#random.pick(['{"on":true}', '{"on":null,"n":{"m":1}}', "no document"]));
    else {
      this.#given += 1;
      this.#put(PUBLISH_KIND.message, `${this.id}:${this.#given}`);
    }
    this.#sendMore();
  }

  /** The HELLO of another process of this device, which opens a session and gives this one's up. */
  rival(): Hello {
    this.#nonce += 1n;
    return { device: this.id, session: 0, nonce: this.#nonce, leaves: this.#session, oldest: 1, next: 1, window: 1 };
  }

  /** A HELLO that it said long ago, late on its way. */
  late(resumes: boolean): Hello {
    return { device: this.id, session: resumes ? this.#session : 0, nonce: resumes ? this.#said - 1n : 0n, leaves: 0, oldest: 1, next: Number.MAX_SAFE_INTEGER, window: 1 };
  }

  hangUp(): void {
    this.#connection?.hangUp();
    this.lost(this.#connection, 5);
  }

  leave(): void {
    this.hasLeft = true;
    this.hangUp();
  }

  connect(): void {
    if (this.#connection !== undefined || this.hasLeft) return;
    const node = this.#world.someNode(this.#random);
    if (node === undefined) return this.#connectIn(30);
    this.#sent = 0;
    this.isWelcome = false;
    this.#nonce += BigInt(this.#random.between(1, 1000)); // with every HELLO (R25)
    this.#said = this.#nonce;
    this.#connection = new Connection(this.#world.cluster, node, this);
    const oldest = this.#outbox[0]?.series ?? this.#next;
    const hello = { device: this.id, session: this.#session, nonce: this.#nonce, leaves: this.#leaves, oldest, next: this.#next, window: 16 };
    this.#connection.toNode((core, connection) => {
      connection.line = core.core!.open(connection, hello);
    });
  }

  /** The socket is gone, or never was. */
  lost(connection: Connection | undefined, retryMs: number): void {
    if (connection !== this.#connection) return;
    this.#connection = undefined;
    this.isWelcome = false;
    this.#connectIn(retryMs + this.#random.below(30));
  }

  welcome({ session, last, leftAt, window, delivered, end }: Welcome): void {
    const opened = this.#session !== session;
    if (opened) {
      // What the session left behind had stored is stored; the rest is counted anew.
      this.#drop(this.#leaves, leftAt);
      this.#session = session;
      this.#next = 1;
      for (const message of this.#outbox) {
        message.series = this.#next;
        this.#next += 1;
      }
    }
    this.#drop(session, last);
    this.#leaves = 0;
    this.#sent = last;
    this.#window = window;
    this.isWelcome = true;
    if (!this.#world.oracle(this.id).forced) {
      check(delivered >= this.#delivered && delivered <= end, "15 (a cursor falls)", () =>
        `${this.id}: ${delivered} after ${this.#delivered}, end ${end}`);
    }
    this.#delivered = delivered;
    if (end > delivered) this.#connection!.toNode((_, { line }) => line!.received(end, delivered));
    this.#sendMore();
  }

  ack(series: number): void {
    this.#drop(this.#session, series);
    this.#sendMore();
  }

  refuse(expected: number): void {
    this.#sent = Math.min(this.#sent, expected - 1);
    this.#world.cluster.world.after(3000, undefined, "again", this.id, () => this.#sendMore());
  }

  credit(window: number): void {
    this.#window = window;
    this.#sendMore();
  }

  /** What it held goes out again under a new session. */
  broken(nonce: bigint | undefined): void {
    if (nonce !== undefined) this.#nonce = nonce; // the next HELLO is above it
    else {
      if (this.#session !== 0) this.#leaves = this.#session;
      this.#session = 0;
    }
    this.hangUp();
  }

  #put(kind: PublishKind, text: string): void {
    this.#outbox.push({ series: this.#next, kind, text });
    this.#next += 1;
  }

  /** Forgets what is stored. */
  #drop(session: number, series: number): void {
    while (this.#outbox.length > 0 && this.#outbox[0]!.series <= series) {
      const message = this.#outbox.shift()!;
      this.#world.streams(this.id).acknowledged(this.id, session, message.series, message.text);
      this.#world.cluster.checker.answers += 1;
    }
  }

  #sendMore(): void {
    if (!this.isWelcome) return;
    const acked = (this.#outbox[0]?.series ?? this.#next) - 1;
    for (const { series, kind, text } of this.#outbox) {
      if (series <= this.#sent) continue;
      if (series - acked > this.#window) return;
      this.#sent = series;
      const bytes = kind === PUBLISH_KIND.void ? new Uint8Array() : bodyOf(text);
      this.#connection!.toNode((_, { line }) => line!.publish(series, kind, bytes, 0, bytes.length));
    }
  }

  #connectIn(ms: number): void {
    this.#world.cluster.world.after(ms * 1000, undefined, "dial", this.id, () => this.connect());
  }
}

/** One socket between a device and the node it happened to reach. */
class Connection implements DeviceSocket {
  line: DeviceLine | undefined;
  readonly #cluster: Cluster;
  readonly #node: SimNode;
  readonly #device: Device;
  #open = true;

  constructor(cluster: Cluster, node: SimNode, device: Device) {
    this.#cluster = cluster;
    this.#node = node;
    this.#device = device;
    this.#watch();
  }

  /** Something arrives at the node, in the socket's order. */
  toNode(run: (node: SimNode, connection: Connection) => void): void {
    this.#cluster.world.after(SOCKET_US, this.#node, "frame", this.#device.id, () => {
      if (this.#open) this.#node.enter(() => run(this.#node, this));
    });
  }

  /** The device closes. */
  hangUp(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#cluster.world.after(SOCKET_US, this.#node, "closed", this.#device.id, () => this.#node.enter(() => this.line?.closed()));
  }

  welcome(welcome: Welcome): void {
    this.#toDevice("WELCOME", welcome, () => this.#device.welcome(welcome));
  }

  ack(series: number): void {
    this.#toDevice("ACK", series, () => this.#device.ack(series));
  }

  voided(): void {}

  refuse(expected: number, code: string): void {
    this.#toDevice("REFUSE", { expected, code }, () => this.#device.refuse(expected));
  }

  credit(window: number): void {
    this.#toDevice("CREDIT", window, () => this.#device.credit(window));
  }

  broken(generation: number, last: number, nonce?: bigint): void {
    this.#toDevice("BROKEN", { generation, last, nonce }, () => this.#device.broken(nonce));
  }

  /** The node closes, and has forgotten the line. */
  close(code: string, _detail: string, retryAfterMs: number): void {
    this.#toDevice("CLOSE", code, () => {
      this.#open = false;
      this.#device.lost(this, retryAfterMs);
    });
  }

  #toDevice(kind: string, detail: unknown, run: () => void): void {
    this.#cluster.world.after(SOCKET_US, DEVICES, kind, detail, () => {
      if (this.#open) run();
    });
  }

  /** The device notices after a while that its node has ended. */
  #watch(): void {
    this.#cluster.world.after(20_000, undefined, "keep-alive", this.#device.id, () => {
      if (!this.#open) return;
      if (this.#node.alive) return this.#watch();
      this.#open = false;
      this.#device.lost(this, 0);
    });
  }
}

const DEVICES: Process = { name: "dev", alive: true, pausedUntil: 0 };
