// What a data directory's control log holds, read without changing it: the archives, then the log.

import { join } from "node:path";

import { archives, controlFolder, readLog } from "./file.ts";
import type { ControlEntry } from "./port.ts";

/** Every entry after `after`, in order. @throws BellhopError on damage and on an unknown version */
export async function* inspectControl(dataDirectory: string, after = 0): AsyncGenerator<ControlEntry> {
  const folder = controlFolder(dataDirectory);
  let last = after;
  for (const path of [...(await archives(folder)), join(folder, "log")]) {
    for (const entry of (await readLog(path))?.entries ?? []) {
      if (entry.position <= last) continue;
      last = entry.position;
      yield entry;
    }
  }
}
