// The storage port's suite on both implementations.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStorage } from "../../src/storage/open.ts";
import { MemoryDisk, openMemoryStorage } from "../../src/storage/memory.ts";
import { storageConformance } from "../conformance/storage.ts";

storageConformance("files", async () => {
  const directory = await mkdtemp(join(tmpdir(), "bellhop-storage-"));
  return {
    open: (events) => openStorage(directory, { segmentBytes: 2 * 1024 * 1024, groupBytes: 16 * 1024 }, events),
    remove: () => rm(directory, { recursive: true }),
  };
});

storageConformance("memory", async () => {
  const disk = new MemoryDisk();
  return {
    open: async (events) => openMemoryStorage(disk, events),
    remove: async () => undefined,
  };
});
