// Opens the write-ahead log of a data directory: store id, recovery, log.

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { StorageError } from "./errors.ts";
import type { LogEvents, Recovery } from "./port.ts";
import { recover } from "./recovery.ts";
import { openSegments } from "./scan.ts";
import type { SegmentHeader } from "./record.ts";
import { checkLogSettings } from "./settings.ts";
import type { LogSettings } from "./settings.ts";
import { readWhole, writeWhole } from "./vfs.ts";
import type { Vfs } from "./vfs.ts";
import { WriteAheadLog } from "./wal.ts";

export const LOG_DIRECTORY = "log";
const STORE_ID_FILE = "store-id";
const STORE_ID_LINE = /^bellhop store 1 ([0-9a-f]{32})\n$/;

export interface OpenedLog {
  readonly recovery: Recovery;
  readonly log: WriteAheadLog;
}

/** @throws StorageError where the directory is not this log's, of a later format, or has lost its log */
export async function openLog(vfs: Vfs, directory: string, settings: LogSettings, events: LogEvents): Promise<OpenedLog> {
  checkLogSettings(settings);
  const logDirectory = join(directory, LOG_DIRECTORY);
  await vfs.makeDirectory(logDirectory);
  await vfs.syncDirectory(directory);
  const written = await readStoreId(vfs, directory);
  const inSegments = await storeIdOfSegments(vfs, logDirectory);
  if (written !== undefined && inSegments === undefined) {
    throw new StorageError("damaged", `${directory} has a store id and no log. Restore the directory, or start with an empty one as a new node.`);
  }
  if (written !== undefined && written !== inSegments) {
    throw new StorageError("foreign", `The log in ${directory} belongs to store ${inSegments}, store-id says ${written}. Put back the file that belongs to it.`);
  }
  const storeId = inSegments ?? randomBytes(16).toString("hex");
  const recovered = await recover(vfs, logDirectory, storeId, settings);
  // After the first segment, so that a store id without a log always means that the log was lost.
  if (written === undefined) await writeWhole(vfs, directory, STORE_ID_FILE, Buffer.from(`bellhop store 1 ${storeId}\n`));
  for (const name of recovered.free.splice(settings.poolSegments)) await vfs.remove(join(logDirectory, name));
  const { clean, damage, recoveredCopies } = recovered;
  return {
    recovery: { storeId, clean, damage, copies: recoveredCopies },
    log: new WriteAheadLog(recovered, vfs, logDirectory, storeId, settings, events),
  };
}

async function readStoreId(vfs: Vfs, directory: string): Promise<string | undefined> {
  if (!(await vfs.list(directory)).includes(STORE_ID_FILE)) return undefined;
  const file = await vfs.open(join(directory, STORE_ID_FILE));
  try {
    // An unreadable one is written again: every segment's header has the id too.
    return STORE_ID_LINE.exec(Buffer.from(await readWhole(file)).toString("latin1"))?.[1];
  } finally {
    await file.close();
  }
}

/** The id in the headers of the segments; undefined where there is no segment. */
async function storeIdOfSegments(vfs: Vfs, logDirectory: string): Promise<string | undefined> {
  const files = await openSegments(vfs, logDirectory, await vfs.list(logDirectory));
  for (const { file } of files) await file.close();
  const ids = new Set(files.map(({ header }) => header).filter((header): header is SegmentHeader => typeof header !== "string").map((header) => header.storeId));
  if (ids.size > 1) throw new StorageError("foreign", `The log has segments of ${ids.size} stores: ${[...ids].join(", ")}.`);
  if (files.length > 0 && ids.size === 0) throw new StorageError("damaged", "No segment of the log has a readable header.");
  return [...ids][0];
}
