// The world of whole nodes: devices, gateways, leaders and the hops between them do what the scenario says.

import type { GatewayRequest } from "../../src/core/gateway/types.ts";
import { NodeCluster } from "../core/node/cluster.ts";
import { body } from "../core/stream/driver.ts";
import type { World } from "./world.ts";

export class NodeWorld implements World {
  #lines: string[] = [];
  readonly #cluster = new NodeCluster((line) => this.#lines.push(line));
  /** What backends asked and were not yet seen to be told, by key. */
  readonly #asked = new Map<string, readonly unknown[]>();

  run(command: string, words: readonly string[]): string {
    this.#lines = [];
    this.#act(command, words);
    return this.#lines.join("\n");
  }

  #act(command: string, words: readonly string[]): void {
    const cluster = this.#cluster;
    const [first = "", second = ""] = words;
    const device = cluster.device.bind(cluster);
    switch (command) {
      case "begin": // begin 2 n1 n2 n3: nodes with one bucket, led by n1, and minCopies 2
        return cluster.begin(words.slice(1), Number(first));
      case "dial": // dial d1 n3: a new socket of d1 at n3 opens a session, or resumes the one it has
        return cluster.enter(second, (core) => device(first).dial(core));
      case "publish": // publish d1 3: the next three messages
        return this.#at(first, () => device(first).publish(Number(second)));
      case "again": // again d1 2: what it holds from number 2 on
        return this.#at(first, () => device(first).again(Number(second)));
      case "hangup":
        return this.#at(first, () => device(first).hangUp());
      case "keyed": // keyed d1 k1 n3: a backend at n3
        return this.#keyed(first, second, words[2]!);
      case "answers":
        return this.#asked.forEach((answers, key) => this.#lines.push(`${key}: ${answers.map((answer) => JSON.stringify(answer)).join(" ")}`));
      case "hold": // hold n3>n1: hops and answers on these links wait
        return words.forEach((link) => cluster.hold(link));
      case "heal":
        return words.forEach((link) => cluster.heal(link));
      case "drop-hop": // what waits on these links is lost without a word
        return words.forEach((link) => cluster.drop(link).forEach((text) => this.#lines.push(`lost on ${link}: ${text}`)));
      case "cut": // cut n3 n1: the connection breaks, and both hear of it
        return cluster.cut(first, second);
      case "slow": // slow n1: its disk syncs nothing
        return words.forEach((id) => cluster.slow(id));
      case "fast":
        return words.forEach((id) => cluster.fast(id));
      case "full": // full n1: no room on its disk
        return words.forEach((id) => cluster.enter(id, (core) => (core.storageFull = true)));
      case "room":
        return words.forEach((id) => cluster.enter(id, (core) => (core.storageFull = false)));
      case "lead": // lead n2: it is handed the bucket
        return cluster.lead(0, first);
      case "crash":
        return words.forEach((id) => cluster.crash(id));
      case "start":
        return words.forEach((id) => cluster.start(id));
      case "depart": // depart n1 by n2
        return cluster.depart(first, words[2]!);
      case "blind": // sees no new table
        return words.forEach((id) => cluster.blind(id));
      case "see":
        return words.forEach((id) => cluster.see(id));
      case "settle":
        return cluster.settle();
      case "pass": // pass 300: milliseconds
        return cluster.pass(Number(first));
      case "show":
        return this.#show();
      default:
        throw new Error(`the node world does not know "${command}"`);
    }
  }

  /** The device's socket hands over what arrives at its node. */
  #at(id: string, act: () => void): void {
    const { socket } = this.#cluster.device(id);
    if (socket === undefined) throw new Error(`${id} is not connected`);
    this.#cluster.enter(socket.node, act);
  }

  #keyed(device: string, key: string, node: string): void {
    const request: GatewayRequest = { type: "keyed", device, key, fingerprint: "0".repeat(32), body: body(key), expires: 0 };
    this.#asked.set(key, this.#cluster.request(node, request));
  }

  #show(): void {
    const cluster = this.#cluster;
    const { epoch, leader } = cluster.table.bucket(0);
    this.#lines.push(`epoch ${epoch}, led by ${leader}`);
    for (const { id, acked, next, socket } of cluster.devices.values()) {
      const held = socket === undefined ? "not connected" : `at ${socket.node}, which holds ${socket.line.waiting.messages}`;
      this.#lines.push(`${id}: ${held}, gave ${next - 1}, acknowledged ${acked}; stream ${cluster.stream(id).join(" ")}`);
    }
  }
}
