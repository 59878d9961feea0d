// Opens a node's data directory: lock, log, state store.

import { mkdirSync } from "node:fs";
import { lockDirectory } from "./lock.ts";
import { openLog } from "./open-log.ts";
import type { Log, LogEvents, Recovery, StateStore } from "./port.ts";
import { DEFAULT_LOG_SETTINGS } from "./settings.ts";
import type { LogSettings } from "./settings.ts";
import { openStateStore } from "./state-store.ts";
import { realVfs } from "./vfs.ts";

export interface Storage {
  readonly recovery: Recovery;
  readonly log: Log;
  readonly state: StateStore;
  /** Closes log and state store and gives the lock back. */
  close(): Promise<void>;
}

/** @throws StorageError (errors.ts): another process has the directory open, it belongs to another store, or its log was lost */
export async function openStorage(directory: string, settings: Partial<LogSettings>, events: LogEvents): Promise<Storage> {
  mkdirSync(directory, { recursive: true });
  const unlock = lockDirectory(directory);
  try {
    const { recovery, log } = await openLog(realVfs, directory, { ...DEFAULT_LOG_SETTINGS, ...settings }, events);
    const state = await openStateStore(directory);
    for (const { bucket } of recovery.copies) log.checkpointed(bucket, state.applied(bucket));
    return {
      recovery,
      log,
      state,
      async close() {
        await log.close();
        await state.close();
        unlock();
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}
