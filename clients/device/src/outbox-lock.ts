// One process at a time uses an outbox file: two would each give the same numbers to other messages. The lock beside the file names its process.

import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { DeviceError } from "./errors.ts";

/** Taking over a lock whose process is gone, at most so often: another may do the same. */
const TRIES = 3;

/** Answers what gives the lock back. @throws DeviceError `outbox_failed` while another process has it */
export function lockOutbox(path: string): () => void {
  const lock = `${path}.lock`;
  const mine = `${lock}.${process.pid}`;
  writeFileSync(mine, owner(process.pid));
  try {
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (tryLink(mine, lock)) return () => rmSync(lock, { force: true });
      const found = read(lock);
      if (found === undefined) continue;
      const pid = Number(found.split(" ")[0]);
      if (owner(pid) === found) throw new DeviceError("outbox_failed", false, `Process ${pid} uses ${path}. Stop it, or give this device an outbox of its own.`);
      rmSync(lock, { force: true });
    }
    throw new DeviceError("outbox_failed", false, `Other processes take ${path} at the same time.`);
  } finally {
    rmSync(mine, { force: true });
  }
}

/** A hard link appears with its content, or not at all. */
function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

/** A process id and when that process began, where the system tells it: ids are used again. "" for one that is gone, killed and not yet reaped included. */
function owner(pid: number): string {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return isRunning(pid) ? `${pid} ` : "";
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? "" : `${pid} ${fields[19] ?? ""}`;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
