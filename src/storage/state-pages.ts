// What a transaction of the state store writes, at most, in pages of lmdb: each page that changes is written once, to another place.

import type { StateStoreWrite } from "./port.ts";

/** What lmdb tells of its file, as far as it is used here. */
export interface LmdbStats {
  readonly pageSize: number;
  readonly entryCount: number;
  readonly treeDepth: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
  readonly lastPageNumber: number;
  /** The list of free pages. */
  readonly free: Pick<LmdbStats, "treeDepth" | "treeBranchPageCount" | "treeLeafPageCount" | "overflowPages">;
}

/** lmdb's header of a node with the store's own prefix, and its header of a page, are no longer than this. */
const HEADER_BYTES = 24;

export function treePages({ treeBranchPageCount, treeLeafPageCount }: LmdbStats): number {
  return treeBranchPageCount + treeLeafPageCount;
}

/** Pages of the tree that so many writes to so many leaf pages change. */
export function mostCopied(writes: number, leaves: number, { treeDepth, treeBranchPageCount, treeLeafPageCount }: LmdbStats): number {
  const touched = Math.min(writes, leaves, treeLeafPageCount);
  const branches = Math.ceil((2 * leaves * treeBranchPageCount) / Math.max(treeLeafPageCount, 1)) + treeDepth;
  return touched + Math.min(touched * Math.max(treeDepth - 1, 0), branches, treeBranchPageCount);
}

/** Pages of values that are long and have pages of their own. */
export function ownPages(writes: readonly StateStoreWrite[], { pageSize }: LmdbStats): number {
  let pages = 0;
  for (const { value } of writes) {
    if (value !== undefined && value.length > pageSize / 4) pages += Math.ceil((value.length + HEADER_BYTES) / pageSize);
  }
  return pages;
}

/** Pages by which these writes make the tree grow: a full page becomes two that are half full. */
export function mostAdded(writes: readonly StateStoreWrite[], { pageSize }: LmdbStats): number {
  let bytes = 0;
  for (const { key, value } of writes) bytes += Math.min(HEADER_BYTES + Buffer.byteLength(key) + (value?.length ?? 0), pageSize / 2);
  const leaves = Math.ceil((2 * bytes) / (pageSize - HEADER_BYTES));
  return leaves + Math.ceil(leaves / 8) + 4;
}

/** Bytes of so many pages, of the list of free pages with a number of 8 bytes for each, and of the meta page. */
export function mostBytes(pages: number, { pageSize, free }: LmdbStats): number {
  const listed = free.treeBranchPageCount + free.treeLeafPageCount + free.overflowPages + free.treeDepth;
  return pageSize * (pages + listed + Math.ceil((2 * 8 * pages) / pageSize) + 2);
}
