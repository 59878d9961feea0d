// What the check asks of a cluster's nodes over HTTP: who they are, streams by page, digests of buckets.

import type { ReadEntry } from "./history.ts";

const ASK_MS = 10_000;
const PAGE_ENTRIES = 1000;

/** One try of a call; resolves at the answer's headers. */
export type Ask = (
  at: string, request: { readonly method?: "GET" | "POST" | "DELETE"; readonly path: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }, timeout: AbortSignal,
) => Promise<Response>;

export interface CheckedNode {
  readonly node: string;
  /** HOST:PORT each, as it advertises them. */
  readonly http: string;
  readonly device: string;
}

export interface Placement {
  readonly bucket: number;
  readonly members: readonly string[];
}

export interface Digest {
  readonly applied: number;
  readonly digest: string;
}

interface Page {
  readonly entries: readonly ReadEntry[];
  readonly next: string;
}

export class AskFailed extends Error {
  override readonly name = "AskFailed";
}

/** The live nodes, as the one at `at` knows them. */
export async function nodesOf(ask: Ask, at: string): Promise<CheckedNode[]> {
  const { nodes } = (await get(ask, at, "/v1/cluster")) as { nodes: (CheckedNode & { state: string })[] };
  return nodes.filter(({ state }) => state !== "departed").map(({ node, http, device }) => ({ node, http, device }));
}

export async function placements(ask: Ask, at: string): Promise<Placement[]> {
  const all: Placement[] = [];
  for (let path = "/v1/buckets"; ; ) {
    const { buckets, next } = (await get(ask, at, path)) as { buckets: Placement[]; next: string | null };
    all.push(...buckets);
    if (next === null) return all;
    path = `/v1/buckets?after=${next}`;
  }
}

export async function digestOf(ask: Ask, at: string, bucket: number): Promise<Digest> {
  return (await get(ask, at, `/v1/buckets/${bucket}/digest`)) as Digest;
}

export async function page(ask: Ask, at: string, device: string, after: string): Promise<Page> {
  return (await get(ask, at, `/v1/devices/${encodeURIComponent(device)}/stream?after=${after}&limit=${PAGE_ENTRIES}`)) as Page;
}

/** @throws AskFailed where nobody answers, or with another status than 200 */
async function get(ask: Ask, at: string, path: string): Promise<unknown> {
  const response = await ask(at, { path }, AbortSignal.timeout(ASK_MS)).catch((error: Error) => {
    throw new AskFailed(`${at} does not answer: ${error.message}`);
  });
  if (response.status !== 200) throw new AskFailed(`${at} answered ${response.status} to GET ${path}: ${(await response.text()).slice(0, 300)}`);
  return response.json().catch((error: Error) => {
    throw new AskFailed(`${at} broke off its answer: ${error.message}`);
  });
}
