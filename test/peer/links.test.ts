// Links over real sockets: who is let in, what a lost link tells, and that it comes back.

import { connect, createServer } from "node:net";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { Node } from "../../src/core/table/commands.ts";
import { Writer } from "../../src/core/stream/bytes.ts";
import { frameBatch } from "../../src/peer/batch.ts";
import { writeHello, type LinkMessage } from "../../src/peer/codec.ts";
import { Links, type LinksTls } from "../../src/peer/links.ts";
import { Authority } from "../doors/authority.ts";

class End {
  readonly links: Links;
  readonly id: string;
  readonly told: string[] = [];
  readonly messages: LinkMessage[] = [];
  #changed: () => void = () => undefined;

  private constructor(id: string, links: Links) {
    this.id = id;
    this.links = links;
  }

  static async open(id: string, tls?: LinksTls): Promise<End> {
    const said: string[] = [];
    const links = await Links.listen({ cluster: "c", node: id, tls, silentMs: 3000, listen: { host: "127.0.0.1", port: 0 }, log: (_node, what, isTrouble) => said.push(isTrouble ? `TROUBLE ${what}` : what) });
    const end = new End(id, links);
    end.said = said;
    open.push(end);
    return end;
  }

  said: string[] = [];
  signsOfLife = 0;

  begin(incarnation = 1): void {
    const note = (what: string): void => {
      this.told.push(what);
      this.#changed();
    };
    this.links.begin(incarnation, { signOfLife: () => (this.signsOfLife += 1), made: (node) => note(`made ${node}`), lost: (node) => note(`lost ${node}`), message: (_from, message) => (this.messages.push(message), this.#changed()) });
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => (this.#changed = resolve));
  }
}

const open: End[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ links }) => links.close()));
});

function node(id: string, port: number): Node {
  return { id, store: id, incarnation: 1, registration: "", registered: 0, address: { http: "", device: "", peer: `127.0.0.1:${port}` }, zone: "z", slot: 0, state: "live" };
}

async function pair(tls: (id: string) => LinksTls | undefined = () => undefined): Promise<[End, End]> {
  const [a, b] = [await End.open("a", tls("a")), await End.open("b", tls("b"))];
  for (const end of [a, b]) {
    end.links.nodes([node("a", a.links.port), node("b", b.links.port)]);
    end.begin();
  }
  await Promise.all([a.until(() => a.told.includes("made b")), b.until(() => b.told.includes("made a"))]);
  return [a, b];
}

const suspects = (end: End): unknown[] => end.messages.flatMap((message) => (message.type === "beat" ? [message.suspects] : []));

test("messages go both ways, in order", async () => {
  const [a, b] = await pair();
  for (let i = 0; i < 100; i += 1) a.links.beat("b", { from: { node: "a", incarnation: 1 }, suspects: [String(i)] });
  a.links.flush();
  b.links.beat("a", { from: { node: "b", incarnation: 1 }, suspects: [] });
  b.links.flush();
  await Promise.all([b.until(() => b.messages.length === 100), a.until(() => a.messages.length === 1)]);
  expect(suspects(b)).toEqual(Array.from({ length: 100 }, (_, i) => [String(i)]));
});

test("a link that breaks is told at both ends, and made again", async () => {
  const [a, b] = await pair();
  await b.links.close();
  await a.until(() => a.told.includes("lost b"));
  const again = await End.open("b");
  a.links.nodes([node("b", again.links.port)]);
  again.links.nodes([node("a", a.links.port)]);
  again.begin(2);
  await a.until(() => a.told.filter((what) => what === "made b").length === 2);
  expect(a.told).toEqual(["made b", "lost b", "made b"]);
});

test("an answer goes only to the incarnation that asked", async () => {
  const [a, b] = await pair();
  b.links.answer({ node: "a", incarnation: 2 }, 0, 0, { type: "done", request: 1 });
  b.links.answer({ node: "a", incarnation: 1 }, 0, 0, { type: "done", request: 2 });
  b.links.flush();
  await a.until(() => a.messages.length > 0);
  expect(a.messages).toMatchObject([{ type: "answer", answer: { request: 2 } }]);
});

test.each([
  ["of another cluster", { cluster: "other" }],
  ["that means another node", { to: "z" }],
  ["of a later protocol only", { versions: [2, 3] as const }],
])("a hello %s is refused", async (_what, change) => {
  const b = await End.open("b");
  b.links.nodes([node("a", 1)]);
  b.begin();
  const socket = connect(b.links.port, "127.0.0.1");
  await once(socket, "connect");
  const out = new Writer();
  writeHello(out, { versions: [1, 1], cluster: "c", node: "a", incarnation: 1, to: "b", ...change });
  socket.write(frameBatch(out.take()));
  await once(socket.resume(), "close");
  expect(b.told).toEqual([]);
});

test("a stranger with a great batch is cut before it is held", async () => {
  const b = await End.open("b");
  b.begin();
  const socket = connect(b.links.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(frameBatch(new Uint8Array(5000)));
  await once(socket.resume(), "close");
  expect(b.messages).toEqual([]);
});

test("a dialled address that is another node's is told in words at both ends", async () => {
  const a = await End.open("a");
  const other = await End.open("x");
  other.begin();
  a.links.nodes([node("b", other.links.port)]);
  a.begin();
  await until(() => a.said.length > 0);
  expect(a.said[0]).toMatch(/^no link to 127\.0\.0\.1:\d+: it refuses this node: it means node b, this is x: is the peer address that one advertises right\?$/);
});

test("an address where nobody listens is dialled again until somebody does", async () => {
  const placeholder = createServer().listen(0, "127.0.0.1");
  await once(placeholder, "listening");
  const { port } = placeholder.address() as { port: number };
  placeholder.close();
  await once(placeholder, "close");
  const a = await End.open("a");
  a.links.nodes([node("b", port)]);
  a.begin();
  await until(() => a.said.length > 0);
  expect(a.said[0]).toContain("ECONNREFUSED");
});

describe("with TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "bellhop-links-"));
  const certificates = (authority: Authority) => (id: string): LinksTls => {
    const { cert, key } = authority.issue({ cn: id });
    return { ca: authority.caText, cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  };
  const authority = certificates(new Authority(folder, "cluster"));
  const stranger = certificates(new Authority(folder, "other"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("both ends show the cluster's certificates, and messages pass", async () => {
    const [a, b] = await pair(authority);
    a.links.beat("b", { from: { node: "a", incarnation: 1 }, suspects: ["x"] });
    a.links.flush();
    await b.until(() => b.messages.length === 1);
    expect(suspects(b)).toEqual([["x"]]);
  });

  test.each([
    ["another authority's certificate", () => stranger("a")],
    ["another node's certificate", () => authority("c")],
    ["no certificate", () => undefined],
  ])("a node with %s is not let in", async (_what, tls) => {
    const a = await End.open("a", tls());
    const b = await End.open("b", authority("b"));
    for (const end of [a, b]) {
      end.links.nodes([node("a", a.links.port), node("b", b.links.port)]);
      end.begin();
    }
    await until(() => a.said.length > 1);
    expect(a.said.concat(b.said).filter((line) => line.includes("link lost") || line === "linked")).toEqual([]);
    expect([...a.told.filter((what) => what === "made b"), ...b.told]).toEqual([]);
    expect(b.messages).toEqual([]);
  });
});

describe("with TLS, why a node is not let in", () => {
  const folder = mkdtempSync(join(tmpdir(), "bellhop-links-why-"));
  const authority = new Authority(folder, "cluster");
  const tls = (cn: string, days = 30): LinksTls => {
    const { cert, key } = authority.issue({ cn, days });
    return { ca: authority.caText, cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  };
  afterAll(() => rmSync(folder, { recursive: true }));

  // The node of the lesser id dials: "a" towards "b", and "b" towards "c".
  test.each([
    ["a", "another node's certificate", tls("n3"), /refuses this node: its certificate is for "n3", and it says that it is node a$/],
    ["c", "another node's certificate", tls("n3"), /refuses this node: its certificate is for "n3", and it says that it is node c$/],
    ["a", "an expired certificate", tls("a", -1), /refuses this node: its certificate is not trusted \(CERT_HAS_EXPIRED\)$/],
    ["c", "an expired certificate", tls("c", -1), /refuses this node: its certificate is not trusted \(CERT_HAS_EXPIRED\)$/],
  ])("the bad one, %s, with %s, tells it in its own log, and so does the good one", async (id, _what, certificate, why) => {
    const bad = await End.open(id, certificate);
    const good = await End.open("b", tls("b"));
    for (const end of [bad, good]) {
      end.links.nodes([node(id, bad.links.port), node("b", good.links.port)]);
      end.begin();
    }
    await until(() => bad.said.some((line) => why.test(line)) && good.said.some((line) => line.includes("certificate")));
    expect([...bad.told, ...good.told]).toEqual([]);
    await until(() => bad.said.concat(good.said).some((line) => line.startsWith("TROUBLE ")));
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
