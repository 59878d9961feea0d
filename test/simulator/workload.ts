// The work of a simulated cluster of whole nodes: devices that publish, backends that publish, ask and change state, and what they all were told.

import { ERRORS } from "../../src/base/errors.ts";
import { Prng } from "../../src/base/prng.ts";
import type { DeviceSocket, GatewayAnswer, GatewayRequest } from "../../src/core/gateway/types.ts";
import { bucketOf } from "../../src/core/hash.ts";
import { DEVICE_PUBLISHER } from "../../src/core/hop.ts";
import { BACKEND, indexesOf, view } from "../../src/core/stream/view.ts";
import { Channels } from "./channels.ts";
import type { Cluster, Site } from "./cluster.ts";
import { SimNode } from "./core-node.ts";
import { Device } from "./device.ts";
import type { SimRecovery } from "./disk.ts";
import { Publisher } from "./publisher.ts";
import type { Application } from "./run.ts";
import { StreamOracle, bodyOf, textOf } from "./stream-oracle.ts";
import { check } from "./world.ts";

/** A request of a backend: asked at node after node until it is answered for good. */
interface Call {
  readonly request: GatewayRequest;
  readonly settled: (answer: GatewayAnswer) => void;
  tries: number;
}

const TRIES_MAX = 40;
/** Milliseconds that a gateway may hold a request. */
const REQUEST_MS = 1500;

export class Workload implements Application {
  cluster!: Cluster;
  #channels!: Channels;
  #random = new Prng(0);
  readonly #devices: Device[] = [];
  /** In some cases there is a server with a series of its own to the first device. */
  #publisher: Publisher | undefined;
  readonly #streams = new Map<number, StreamOracle>();
  /** `device key` → the offset it was answered with. */
  readonly #offsets = new Map<string, number>();
  readonly #versions = new Set<string>();
  /** Sockets of HELLOs that came late: whatever came of them, they are told that they are over. */
  readonly #strangers: { readonly socket: Stranger; readonly node: SimNode }[] = [];
  #keys = 0;
  #calls = 0;
  #stopped = false;

  start = (cluster: Cluster, site: Site, recovery: SimRecovery): SimNode => new SimNode(cluster, site, recovery, this.#channels);

  work(cluster: Cluster): void {
    const { workload, seed } = cluster.case;
    this.cluster = cluster;
    this.#random = new Prng(seed + 2);
    this.#channels = new Channels(cluster, (at, other) => (at.host as SimNode | undefined)?.linkLost(other.name));
    cluster.onEnd = (site) => this.#channels.ended(site);
    cluster.checker.onCommit = (bucket, entry) => this.#streamsOf(bucket).committed(entry);
    for (let index = 0; index < workload.devices; index += 1) {
      const device = new Device(this, `d${index}`, this.#random.fork());
      this.#devices.push(device);
      cluster.world.after(60_000 + this.#random.below(100_000), undefined, "dial", device.id, () => device.connect());
    }
    for (let client = 0; client < workload.clients; client += 1) this.#next();
    const random = new Prng(seed + 3);
    if (random.chance(0.4)) cluster.world.after(80_000, undefined, "publisher", "d0", () => this.#startPublisher(random, workload.everyMs));
  }

  /** The last of several devices leaves for good, welcomed or not: its presence must go down. */
  stop(): void {
    this.#stopped = true;
    const last = this.#devices.at(-1)!;
    if (this.#devices.length > 1) last.leave();
  }

  #startPublisher(random: Prng, everyMs: number): void {
    const publisher = new Publisher(this, "d0", random);
    this.#publisher = publisher;
    const again = (): void => {
      if (this.#stopped) return;
      if (random.chance(0.05)) publisher.restart();
      else for (let burst = random.between(1, 4); burst > 0; burst -= 1) publisher.publish();
      this.cluster.world.after(random.between(1, everyMs * 8000), undefined, "publisher", "d0", again);
    };
    again();
  }

  unfinished(): string | undefined {
    if (this.#calls > 0) return `${this.#calls} requests of backends are not answered`;
    if (this.#strangers.some(({ socket, node }) => socket.isOpen && node.alive)) return "a socket whose HELLO came late is open"; // R25
    for (const device of this.#devices) {
      if (!device.hasLeft && !device.isWelcome) return `${device.id} is not connected`;
      if (!device.hasLeft && device.waiting > 0) return `${device.id} holds ${device.waiting} messages`;
      const own = this.#leaderNode(device.id)?.core?.copy(this.#bucket(device.id))?.machine.devices.find(device.id)?.own;
      const isUp = own !== undefined && own.attachment !== 0;
      if (isUp === device.hasLeft) return `${device.id} has ${isUp ? "left, and its presence is up" : "a socket, and its presence is down"}`; // invariant 21
    }
    if (this.#publisher !== undefined && this.#publisher.waiting > 0) return `the publisher to ${this.#publisher.device} holds ${this.#publisher.waiting} messages`;
    return undefined;
  }

  finish(): void {
    const publisher = this.#publisher;
    if (publisher !== undefined && !this.oracle(publisher.device).forced) {
      const stored = this.streams(publisher.device).count(publisher.device, publisher.name);
      check(stored === publisher.given, "5 (messages are missing)", () => `the publisher to ${publisher.device} gave ${publisher.given}, ${stored} are stored`);
    }
    for (const device of this.#devices) {
      if (this.oracle(device.id).forced || device.hasLeft) continue;
      const stored = this.streams(device.id).count(device.id, DEVICE_PUBLISHER);
      check(stored === device.given, "5 (messages are missing)", () => `${device.id} gave ${device.given}, ${stored} are stored`);
      this.#readStream(device.id);
    }
  }

  /** Reads a device's stream as a backend would: its messages in their order, each key once and where its answer said. */
  #readStream(id: string): void {
    const { machine } = this.#leaderNode(id)!.core!.copy(this.#bucket(id))!;
    const device = machine.devices.find(id)!;
    const { committed } = this.cluster.checker.oracle(this.#bucket(id));
    const { first, indexes } = indexesOf(machine, device, 1, device.end);
    const keys = new Set<string>();
    let message: number | undefined;
    indexes.forEach((index, place) => {
      const entry = view(committed[index]!, id, first + place);
      if (entry.type !== "uplink" && entry.publisher !== BACKEND) return;
      if (entry.type === "uplink") {
        const given = Number(textOf(entry.body).split(":")[1]);
        check(message === undefined || given === message + 1, "13 (a stream out of order)", () =>
          `${id}: message ${given} after ${message} at offset ${entry.offset}`);
        message = given;
      } else if (entry.type === "downlink") {
        const key = textOf(entry.body);
        const answered = this.#offsets.get(`${id} ${key}`);
        check(!keys.has(key), "11 (a key stored twice)", () => `${key} of ${id} again at ${entry.offset}`);
        check(answered === undefined || answered === entry.offset, "5 (answered with another offset)", () =>
          `${key} of ${id} at ${entry.offset}, answered ${answered}`);
        keys.add(key);
      }
    });
    for (const [name, offset] of this.#offsets) {
      const [of, key] = name.split(" ") as [string, string];
      if (of === id && offset >= first) check(keys.has(key), "5 (an answered key is gone)", () => `${key} of ${id} at ${offset}`);
    }
  }

  oracle(device: string): { readonly forced: boolean } {
    return this.cluster.checker.oracle(this.#bucket(device));
  }

  streams(device: string): StreamOracle {
    return this.#streamsOf(this.#bucket(device));
  }

  /** A node that takes sockets and requests. */
  someNode(random: Prng): SimNode | undefined {
    const nodes = this.cluster.sites.map((site) => site.host as SimNode | undefined).filter((node) => node?.isServing === true);
    return nodes.length === 0 ? undefined : random.pick(nodes);
  }

  #bucket(device: string): number {
    return bucketOf(device, this.cluster.case.buckets);
  }

  #leaderNode(device: string): SimNode | undefined {
    const leader = this.cluster.control.truth.buckets[this.#bucket(device)]?.leader;
    return this.cluster.byName.get(leader ?? "")?.host as SimNode | undefined;
  }

  #streamsOf(bucket: number): StreamOracle {
    let streams = this.#streams.get(bucket);
    if (streams === undefined) this.#streams.set(bucket, (streams = new StreamOracle(() => this.cluster.checker.oracle(bucket).forced)));
    return streams;
  }

  #next(): void {
    const { everyMs } = this.cluster.case.workload;
    this.cluster.world.after(this.#random.between(1, everyMs * 2000), undefined, "client", "", () => {
      if (this.#stopped) return;
      this.#act();
      this.#next();
    });
  }

  #act(): void {
    const device = this.#random.pick(this.#devices);
    const what = this.#random.below(20);
    if (what < 11) for (let burst = this.#random.between(1, 5); burst > 0; burst -= 1) device.publish();
    else if (what < 14) this.#publishKeyed(device.id);
    else if (what < 15) this.#changeState(device.id);
    else if (what < 17) this.#askKey();
    else if (what < 19) this.#askSeries(device);
    else if (this.#random.chance(0.5)) device.hangUp();
    else if (this.#random.chance(0.5)) this.#helloLate(device);
    else if (this.#random.chance(0.3)) this.#rival(device);
    else this.call({ type: this.#random.pick(["create", "remove"] as const), device: "other" }, () => undefined);
  }

  /** A HELLO of long ago arrives: its nonce is behind, so it takes nothing over (R25), but where a loss was accepted. */
  #helloLate(device: Device): void {
    const node = this.someNode(this.#random);
    if (!device.isWelcome || node === undefined) return;
    const socket = new Stranger(() => check(this.oracle(device.id).forced, "R25 (a lower nonce was welcomed)", () => device.id));
    this.#strangers.push({ socket, node });
    node.enter((core) => core.open(socket, device.late(this.#random.chance(0.5))));
  }

  /** Another process of the device opens a session, and is gone before it publishes (R25). */
  #rival(device: Device): void {
    const node = this.someNode(this.#random);
    if (!device.isWelcome || node === undefined) return;
    const socket = new Stranger(() => undefined);
    const line = node.enter((core) => core.open(socket, device.rival()));
    this.cluster.world.after(this.#random.below(20_000), node, "closed", device.id, () => {
      socket.isOpen = false;
      node.enter(() => line.closed());
    });
  }

  /** Every other new one without a key: only its gateway sends that one again. */
  #publishKeyed(device: string): void {
    this.#keys += 1;
    // Now and then a key is used again, as by a backend that had no answer.
    const key = `k${this.#random.chance(0.3) ? this.#random.between(1, this.#keys) : this.#keys}`;
    // Some have expired when they arrive, or by the time they commit; one of those is never stored under its key.
    const expires = this.#random.chance(0.1) ? this.cluster.wallMs(this.cluster.sites[0]!) + this.#random.between(-50, 20) : 0;
    if (key === `k${this.#keys}` && this.#keys % 2 === 0) return this.#publishUnkeyed(device, `u${this.#keys}`, expires);
    const request: GatewayRequest = { type: "keyed", device, key, fingerprint: "0".repeat(32), body: bodyOf(key), expires };
    this.call(request, (answer) => {
      if (answer.type !== "stored") return;
      this.cluster.checker.answers += 1;
      this.streams(device).keyIsStored(device, key);
      if (this.oracle(device).forced) return;
      const before = this.#offsets.get(`${device} ${key}`);
      check(before === undefined || before === answer.offset, "5 (a key stored twice)", () =>
        `${key} of ${device}: at ${before}, then at ${answer.offset}`);
      this.#offsets.set(`${device} ${key}`, answer.offset);
    });
  }

  /** Each is another message, so the stream shows each at most once, and where its answer said (R30). */
  #publishUnkeyed(device: string, text: string, expires: number): void {
    this.call({ type: "unkeyed", device, body: bodyOf(text), expires }, (answer) => {
      if (answer.type !== "stored") return;
      this.cluster.checker.answers += 1;
      check(!answer.duplicate, "R30 (a resend of the cluster's own is told)", () => `${text} of ${device}`);
      if (!this.oracle(device).forced) this.#offsets.set(`${device} ${text}`, answer.offset);
    });
  }

  #changeState(device: string): void {
    const document = new TextEncoder().encode(JSON.stringify({ n: this.#random.below(1000) }));
    const which = this.#random.pick(["reported", "desired"] as const);
    const how = this.#random.pick(["put", "patch"] as const);
    const ifVersion = this.#random.chance(0.3) ? this.#random.below(4) : undefined;
    this.call({ type: "state", device, which, how, document, ifVersion }, (answer) => {
      if (answer.type !== "changed" || this.oracle(device).forced) return;
      check(ifVersion === undefined || answer.version === ifVersion + 1, "5 (If-Match of another version)", () =>
        `${ifVersion}, then ${answer.version}`);
      const version = `${device} ${which} ${answer.version}`;
      check(!this.#versions.has(version), "5 (a version given twice)", () => version);
      this.#versions.add(version);
    });
  }

  #askKey(): void {
    const keys = [...this.#offsets].filter(([name]) => name.includes(" k"));
    if (keys.length === 0) return;
    const [name, offset] = this.#random.pick(keys);
    const [device, key] = name.split(" ") as [string, string];
    this.call({ type: "askKey", device, key }, (answer) => {
      if (answer.type !== "told" || this.oracle(device).forced) return;
      check(answer.is === "stored" && answer.offset === offset, "R34 (a wrong no)", () =>
        `${key} of ${device} is at ${offset}, and was told ${JSON.stringify(answer)}`);
    });
  }

  #askSeries(device: Device): void {
    const { session, series } = device.acked;
    if (session === 0 || series === 0 || !device.isWelcome) return;
    this.call({ type: "askSeries", device: device.id, session, series }, (answer) => {
      if (answer.type !== "told" || this.oracle(device.id).forced) return;
      check(answer.is !== "absent", "R34 (a wrong no)", () =>
        `${device.id} session ${session} series ${series} was acknowledged, and was told ${JSON.stringify(answer)}`);
    });
  }

  /** Asks at node after node until it is answered for good. */
  call(request: GatewayRequest, settled: (answer: GatewayAnswer) => void): void {
    this.#calls += 1;
    this.#try({ request, settled, tries: 0 });
  }

  /** One try at some node: its answer, or none when the node ends first. */
  #try(call: Call): void {
    const node = this.someNode(this.#random);
    const askedAt = this.cluster.world.now;
    call.tries += 1;
    let isOver = false;
    const over = (answer: GatewayAnswer | undefined): void => {
      if (isOver) return;
      isOver = true;
      const again = answer === undefined || (answer.type === "failed" && ERRORS[answer.code].retryable);
      if (again && call.tries < TRIES_MAX && call.request.type !== "state" && call.request.type !== "unkeyed") {
        this.cluster.world.after(this.#random.between(5_000, 60_000), undefined, "try again", call.request.type, () => this.#try(call));
        return;
      }
      this.#calls -= 1;
      call.settled(answer ?? { type: "failed", request: 0, code: "deadline", detail: "", version: 0 });
    };
    if (node === undefined) return over(undefined);
    let answers = 0;
    node.enter((core) => {
      core.request(call.request, REQUEST_MS, (answer) => {
        answers += 1;
        check(answers === 1, "13 (a request answered twice)", () => `${call.request.type} at ${node.name}`);
        // Judged after the event that answered, when the checker has seen what it applied.
        this.cluster.world.after(1, undefined, "answer", answer, () => over(answer));
      });
    });
    this.cluster.world.after((REQUEST_MS + 500) * 1000, undefined, "gone", call.request.type, () => {
      check(isOver || !node.alive || node.site.lastPausedUntil > askedAt, "19 (a request without an answer)", () =>
        `${call.request.type} at ${node.name}`);
      over(undefined);
    });
  }
}

/** A socket on which nothing is said after HELLO. */
class Stranger implements DeviceSocket {
  isOpen = true;
  readonly welcome: () => void;

  constructor(welcomed: () => void) {
    this.welcome = welcomed;
  }

  ack(): void {}
  voided(): void {}
  refuse(): void {}
  credit(): void {}

  broken(): void {
    this.isOpen = false;
  }

  close(): void {
    this.isOpen = false;
  }
}
