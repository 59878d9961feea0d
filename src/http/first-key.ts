// The first administrator's key of a data directory: where keys are required and there is none, one is made and left in a file that only this user can read.

import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { BellhopError } from "../base/errors.ts";
import { SECRET_BYTES, writeSecret } from "../base/secret.ts";
import type { Settings } from "../config.ts";
import type { ApiKeys } from "../node/api.ts";
import { sha256 } from "./auth.ts";

/** In the data directory. */
export const ADMIN_KEY_FILE = "admin.key";
const NAME = "admin";

/** The file's path where one was made now. */
export async function firstKey(keys: ApiKeys, settings: Settings): Promise<string | undefined> {
  if (settings.auth === "off" || settings.adminKey !== "" || keys.all.size > 0) return undefined;
  const file = join(settings.data, ADMIN_KEY_FILE);
  const secret = writeSecret("bhk", randomBytes(SECRET_BYTES));
  // The file first: a key that nobody has read is made anew after a crash, one that nobody can read would lock everyone out.
  await writePrivately(file, `${secret}\n`);
  try {
    await keys.put({ name: NAME, digest: sha256(secret), role: "admin", devices: "", created: Date.now(), expires: 0 });
  } catch (error) {
    if (!(error instanceof BellhopError) || error.code !== "exists") throw error;
    await rm(file); // another node of the cluster made the first one
    return undefined;
  }
  return file;
}

async function writePrivately(file: string, content: string): Promise<void> {
  const unfinished = `${file}.new`;
  await rm(unfinished, { force: true });
  const handle = await open(unfinished, "wx", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(unfinished, file);
}
