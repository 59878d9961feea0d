// The control log on a real etcd: the port's conformance suite, then what an etcd does to its clients: cuts in mid-stream, compaction, a killed leader, a frozen member, lost answers.

import { createServer, connect, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { EtcdControl } from "../../src/control/etcd.ts";
import { Gathered, controlConformance } from "../conformance/control.ts";
import { startEtcd, type EtcdCluster } from "../../bench/etcd.ts";

let etcd: EtcdCluster;
let clusters = 0;
const open: EtcdControl[] = [];
const client = (name: string, endpoints: readonly string[] = etcd.endpoints): EtcdControl => {
  const control = new EtcdControl(name, { endpoints });
  open.push(control);
  return control;
};
beforeAll(async () => {
  etcd = await startEtcd();
}, 60_000);
afterAll(() => etcd.stop());
afterEach(async () => {
  for (const control of open.splice(0)) await control.close();
});

controlConformance("etcd", async () => {
  const name = `c${(clusters += 1)}`;
  return {
    connect: async () => client(name),
    crash: async () => {
      await etcd.servers[0]!.restart();
      return client(name);
    },
    destroy: async () => undefined,
  };
});

/** Everything etcd is asked goes through here, and can be cut. */
class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Bytes of answers that pass before the connection is cut. */
  cutAfter = Infinity;

  constructor(to: string) {
    const { hostname, port } = new URL(to);
    this.#server = createServer((socket) => {
      const upstream = connect(Number(port), hostname);
      for (const end of [socket, upstream]) {
        this.#sockets.add(end);
        end.on("error", () => undefined).on("close", () => {
          this.#sockets.delete(end);
          socket.destroy();
          upstream.destroy();
        });
      }
      socket.pipe(upstream);
      upstream.on("data", (chunk) => {
        const passes = chunk.subarray(0, Math.max(0, this.cutAfter));
        this.cutAfter -= chunk.length;
        socket.write(passes, () => this.cutAfter <= 0 && socket.destroy());
        if (this.cutAfter <= 0) this.cutAfter = Infinity;
      });
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, "close");
  }
}

describe("etcd under trouble", () => {
  test("cut anywhere in mid-stream, a watch loses nothing and doubles nothing", async () => {
    const name = `c${(clusters += 1)}`;
    const proxy = new Proxy(etcd.endpoints[0]!);
    const through = client(name, [await proxy.listen()]);
    const direct = client(name);
    const gathered = new Gathered();
    through.watch(0, gathered);
    for (let seq = 1; seq <= 120; seq += 1) {
      if (seq % 6 === 0) proxy.cutAfter = seq * 7;
      await direct.append(`a.1.${seq}`, []);
    }
    proxy.cutAfter = Infinity;
    await gathered.until(() => gathered.all.length >= 120);
    expect(gathered.ids).toEqual(Array.from({ length: 120 }, (_, index) => `a.1.${index + 1}`));
    await through.close();
    await proxy.close();
  });

  test("an append whose answer is lost is there once, however often it is sent again", async () => {
    const name = `c${(clusters += 1)}`;
    const proxy = new Proxy(etcd.endpoints[0]!);
    const through = client(name, [await proxy.listen()]);
    proxy.cutAfter = 0;
    await expect(through.append("a.1.1", [])).rejects.toMatchObject({ code: "deadline", retryable: true });
    await through.append("a.1.1", []);
    await through.append("a.1.2", []);
    const gathered = new Gathered();
    through.watch(0, gathered);
    await gathered.until(() => gathered.all.length >= 2);
    expect(gathered.ids).toEqual(["a.1.1", "a.1.2"]);
    await through.close();
    await proxy.close();
  });

  test("etcd's own compaction takes nothing of the log away", async () => {
    const name = `c${(clusters += 1)}`;
    const log = client(name);
    for (let seq = 1; seq <= 5; seq += 1) await log.append(`a.1.${seq}`, []);
    const revision = await compact(etcd.endpoints[0]!);
    expect(revision).toBeGreaterThan(0);
    await log.append("a.1.6", []);
    const gathered = new Gathered();
    log.watch(0, gathered);
    await gathered.until(() => gathered.all.length >= 6);
    expect(gathered.ids).toEqual([1, 2, 3, 4, 5, 6].map((seq) => `a.1.${seq}`));
  });
});

describe("an etcd of three", () => {
  let three: EtcdCluster;
  beforeAll(async () => {
    three = await startEtcd(3);
  }, 60_000);
  afterAll(() => three.stop());

  test.each(["SIGKILL", "SIGSTOP"] as const)("each member gets %s in turn: appends go on, the watch brings each once", { timeout: 120_000 }, async (signal) => {
    const log = client(`c${(clusters += 1)}`, three.endpoints);
    const gathered = new Gathered();
    log.watch(0, gathered);
    let seq = 0;
    const append = async (): Promise<void> => {
      const id = `a.1.${(seq += 1)}`;
      for (let tries = 0; ; tries += 1) {
        try {
          return await log.append(id, []);
        } catch (error) {
          expect(error).toMatchObject({ retryable: true });
          expect(tries).toBeLessThan(30);
        }
      }
    };
    for (const server of three.servers) {
      for (let i = 0; i < 5; i += 1) await append();
      if (signal === "SIGKILL") await server.kill();
      else process.kill(server.pid, "SIGSTOP");
      for (let i = 0; i < 5; i += 1) await append();
      if (signal === "SIGKILL") await server.restart();
      else process.kill(server.pid, "SIGCONT");
      await server.ready();
    }
    await gathered.until(() => gathered.all.length >= seq);
    expect(gathered.ids).toEqual(Array.from({ length: seq }, (_, index) => `a.1.${index + 1}`));
  });
});

/** Compacts at the present revision, which is answered. */
async function compact(endpoint: string): Promise<number> {
  const ask = async (path: string, body: unknown): Promise<{ header: { revision: string } }> =>
    (await (await fetch(`${endpoint}${path}`, { method: "POST", body: JSON.stringify(body) })).json()) as { header: { revision: string } };
  const { header } = await ask("/v3/kv/range", { key: Buffer.from("none").toString("base64") });
  await ask("/v3/kv/compaction", { revision: header.revision, physical: true });
  return Number(header.revision);
}
