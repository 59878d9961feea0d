// Hops between nodes as connections carry them: in order, until the connection breaks; then both ends are told, and what was under way is gone.
// Now and then one is lost without a word, as from a full queue.

import type { Cluster, Site } from "./cluster.ts";

interface Channel {
  readonly ends: readonly [Site, Site];
  /** What was sent under an earlier one is gone. */
  connection: number;
  isDown: boolean;
}

/** Microseconds until a broken connection is noticed, and between two tries to connect. */
const NOTICE_US = 3_000;
const CONNECT_US = 10_000;

export class Channels {
  readonly #cluster: Cluster;
  readonly #lost: (at: Site, other: Site) => void;
  readonly #channels = new Map<string, Channel>();

  constructor(cluster: Cluster, lost: (at: Site, other: Site) => void) {
    this.#cluster = cluster;
    this.#lost = lost;
  }

  send(from: Site, to: Site, kind: string, message: unknown, run: () => void): void {
    const channel = this.#between(from, to);
    if (channel.isDown) return;
    if (!this.#canReach(from, to)) return this.#break(channel);
    if (this.#cluster.network.loses()) return;
    const { connection } = channel;
    this.#cluster.network.sendInOrder(from.name, to, kind, message, () => {
      if (channel.connection === connection) run();
    });
  }

  /** A process ended: its connections do. */
  ended(site: Site): void {
    for (const channel of this.#channels.values()) if (channel.ends.includes(site)) this.#break(channel);
  }

  #break(channel: Channel): void {
    channel.connection += 1;
    if (channel.isDown) return;
    channel.isDown = true;
    this.#tell(channel);
    this.#reconnect(channel);
  }

  #reconnect(channel: Channel): void {
    const [a, b] = channel.ends;
    this.#cluster.world.after(CONNECT_US, undefined, "connect", `${a.name} ${b.name}`, () => {
      if (!a.alive || !b.alive || !this.#canReach(a, b)) return this.#reconnect(channel);
      channel.isDown = false;
      channel.connection += 1;
      this.#tell(channel); // what was sent while it was down is gone too
    });
  }

  #tell({ ends: [a, b] }: Channel): void {
    const { world } = this.#cluster;
    world.after(NOTICE_US, a, "link lost", b.name, () => this.#lost(a, b));
    world.after(NOTICE_US, b, "link lost", a.name, () => this.#lost(b, a));
  }

  #canReach(a: Site, b: Site): boolean {
    return b.alive && !this.#cluster.network.isCut(a.name, b.name) && !this.#cluster.network.isCut(b.name, a.name);
  }

  #between(from: Site, to: Site): Channel {
    const ends = from.index < to.index ? ([from, to] as const) : ([to, from] as const);
    const key = `${ends[0].name} ${ends[1].name}`;
    let channel = this.#channels.get(key);
    if (channel === undefined) this.#channels.set(key, (channel = { ends, connection: 0, isDown: false }));
    return channel;
  }
}
