// What a message costs the three nodes of a cluster together, from its line to its ACK, without disk and sockets: the cores, what goes over their links as bytes,
// the groups of their logs. `npx tsx bench/micro/replicated.ts [in flight]`. Processor time, the best of the runs, so that the machine's noise counts least.

import { limitsOf } from "../../src/broker.ts";
import { settingsWith } from "../../src/config.ts";
import type { DeviceLine, DeviceSocket, Welcome } from "../../src/core/gateway/types.ts";
import type { HopAnswer } from "../../src/core/hop.ts";
import { CoreNode, type NodeEffects } from "../../src/core/node.ts";
import { Reader, Writer } from "../../src/core/stream/bytes.ts";
import type { Command } from "../../src/core/table/commands.ts";
import { Table } from "../../src/core/table/table.ts";
import { BATCH_BYTES_MAX, BatchReader, frameBatch } from "../../src/peer/batch.ts";
import { PublishRun, readMessage, writeAnswer, writeHop, writePublish, writeReplica } from "../../src/peer/codec.ts";
import { Copies } from "../../src/storage/copies.ts";
import { Group } from "../../src/storage/group.ts";
import { RECORD_TYPE } from "../../src/storage/record.ts";
import { newSegment } from "../../src/storage/segment.ts";

const NODES = ["n1", "n2", "n3"];
const BUCKETS = 64;
const DEVICES = 100;
const RUNS = 5;
/** Room for what comes in a round. */
const GROUP_BYTES = 8 * 1024 * 1024;
/** Of one read from a socket, at most. */
const CHUNK_BYTES = 64 * 1024;
const BODY = new Uint8Array(128).fill(0x78);
const NOTHING = (): void => {};

let acked = 0;

class Device implements DeviceSocket {
  line: DeviceLine | undefined;
  series = 0;
  free = 0;
  readonly #window: number;
  #last = 0;

  constructor(window: number) {
    this.#window = window;
  }

  publishAll(): void {
    for (; this.free > 0; this.free -= 1) this.line!.publish((this.series += 1), 0, BODY, 0, BODY.length);
  }

  ack(series: number): void {
    this.free += series - this.#last;
    acked += series - this.#last;
    this.#last = series;
  }

  welcome({ last }: Welcome): void {
    this.series = this.#last = last;
    this.free = this.#window;
  }

  voided(): void {}
  refuse(): void {
    throw new Error("a publish was refused");
  }

  credit(): void {}
  broken(): void {
    throw new Error("broken");
  }
  close(): void {
    throw new Error("closed");
  }
}

class MicroNode {
  readonly core: CoreNode;
  readonly id: string;
  readonly devices: Device[] = [];
  readonly peers: MicroNode[];
  readonly copies = new Copies();
  readonly segment = newSegment(1, 1, 2 ** 31);
  readonly buffer = new Uint8Array(GROUP_BYTES);
  group = new Group(this.segment, 1, 512, this.buffer, GROUP_BYTES);
  ticket = 1;
  readonly out = new Map<string, { readonly writer: Writer; readonly run: PublishRun }>();
  readonly in = new Map<string, { readonly reader: BatchReader; waiting: Buffer[] }>();

  constructor(id: string, table: Table, peers: MicroNode[]) {
    this.id = id;
    this.peers = peers;
    const to = (node: string): { readonly writer: Writer; readonly run: PublishRun } => this.out.get(node)!;
    const effects: NodeEffects = {
      write: (bucket, entry) => {
        const copy = this.copies.ensure(bucket);
        this.copies.append(copy, this.segment, entry.index, entry.epoch, this.group.start + this.group.used);
        this.group.add(RECORD_TYPE.entry, bucket, entry.kind, entry.index, entry.epoch, entry.time, entry.payload);
        return this.ticket;
      },
      reset: () => this.ticket, fill: () => this.ticket, mark: () => this.ticket, floor: NOTHING, load: NOTHING, install: NOTHING, propose: NOTHING, wake: NOTHING, beat: NOTHING,
      send: (node, message) => writeReplica(to(node).writer, message),
      hop: (node, { bucket, epoch, request }) => {
        if (request.type === "publish") writePublish(to(node).writer, to(node).run, bucket, epoch, request);
        else writeHop(to(node).writer, bucket, epoch, request);
      },
      answer: (gateway, bucket, answer: HopAnswer) => writeAnswer(to(gateway.node).writer, gateway.incarnation, bucket, this.core.copy(bucket)!.replica.applied, answer),
    };
    this.core = new CoreNode({
      id, incarnation: table.nodes.get(id)!.incarnation, table, effects, limits: limitsOf(settingsWith({ bucketCount: BUCKETS })),
      copyAtStart: () => ({ floor: 1, base: 0, baseEpoch: 0, last: 0, epochs: [], incomplete: false, applied: 0, lastTime: 0 }),
      stateOf: () => ({ get: () => undefined, range: () => [] }),
    });
    for (const node of NODES) {
      if (node === id) continue;
      this.out.set(node, { writer: new Writer(), run: new PublishRun() });
      this.in.set(node, { reader: new BatchReader(BATCH_BYTES_MAX), waiting: [] });
    }
  }

  /** One turn: what came on the links, what the disk has synced, what the devices send; then one flush. */
  turn(): void {
    this.core.clock(performance.now(), Date.now());
    for (const [from, link] of this.in) {
      const gateway = { node: from, incarnation: 1 };
      const waiting = link.waiting;
      link.waiting = [];
      for (const batch of waiting) {
        link.reader.push(batch, (messages) => {
          const reader = new Reader(messages);
          const run = new PublishRun();
          while (!reader.done) {
            const message = readMessage(reader, gateway, run);
            if (message.type === "replica") this.core.receive(message.message);
            else if (message.type === "answer") this.core.answered(from, message.bucket, message.answer);
            else if (message.type === "publish" || message.type === "hop") this.core.hopped({ from: gateway, bucket: message.bucket, epoch: message.epoch, request: message.request });
          }
        });
      }
    }
    for (const device of this.devices) device.publishAll();
    this.core.flush();
    this.#flushLinks();
  }

  /** The group goes to the disk; what it holds is durable. */
  sync(): void {
    this.core.clock(performance.now(), Date.now());
    if (this.group.records > 0) {
      this.group.finish(this.ticket - 1, 0);
      const ticket = this.ticket;
      this.ticket += 1;
      this.segment.end += 512;
      this.group = new Group(this.segment, this.ticket, 512, this.buffer, GROUP_BYTES);
      this.core.durable(ticket);
    }
    this.core.flush();
    this.#flushLinks();
  }

  #flushLinks(): void {
    for (const [node, { writer, run }] of this.out) {
      if (writer.length === 0) continue;
      const batch = frameBatch(writer.written);
      const { waiting } = this.peers.find(({ id }) => id === node)!.in.get(this.id)!;
      for (let at = 0; at < batch.length; at += CHUNK_BYTES) waiting.push(Buffer.from(batch.subarray(at, at + CHUNK_BYTES)));
      writer.clear();
      run.clear();
    }
  }
}

/** @param perTick messages in the time from one tick to the next */
function measure(inFlight: number, messages: number, perTick: number): void {
  const table = (): Table => {
    const made = new Table();
    const address = { http: "", device: "", peer: "" };
    made.apply(1, "n1.1.1", NODES.map((node): Command => ({ type: "register", node, store: `s-${node}`, seen: 0, clean: true, address, zone: `z-${node}` })));
    made.apply(2, "n1.1.2", [{ type: "begin", bucketCount: BUCKETS, copies: 3, minCopies: 2 }]);
    return made;
  };
  const nodes: MicroNode[] = [];
  for (const id of NODES) nodes.push(new MicroNode(id, table(), nodes));
  const round = (): void => {
    for (const node of nodes) node.turn();
    for (const node of nodes) node.sync();
  };
  for (const node of nodes) {
    node.core.clock(performance.now(), Date.now());
    node.core.start();
  }
  for (let i = 0; i < 10; i += 1) {
    round();
    for (const node of nodes) node.core.tick();
  }
  for (let i = 0; i < DEVICES; i += 1) {
    const device = new Device(inFlight);
    const node = nodes[i % nodes.length]!;
    node.devices.push(device);
    device.line = node.core.open(device, { device: `bench-${i}`, session: 0, nonce: BigInt(Date.now()) << 22n, leaves: 0, oldest: 1, next: 1, window: 1024 });
  }
  let best = Infinity;
  let batches = 0;
  for (let run = 0; run < RUNS; run += 1) {
    const before = process.cpuUsage();
    acked = 0;
    batches = 0;
    let ticked = 0;
    while (acked < messages) {
      round();
      batches += 1;
      if (acked < ticked + perTick) continue;
      ticked = acked;
      for (const node of nodes) node.core.tick();
    }
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / acked);
  }
  console.log(`128 bytes, ${DEVICES} devices × ${inFlight} in flight: ${best.toFixed(2)} µs a message on all three nodes, ${(acked / batches).toFixed(0)} messages a round`);
}

const only = process.argv[2];
if (only !== "1") measure(64, 100_000, 4000);
if (only === undefined || only === "1") measure(1, 20_000, 600);
