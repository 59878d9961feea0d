// Builds with a planted bug: a copy of dist/ with one text replaced. The checker must fail each; one that it passes shows that it does not look.

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../cli/command.ts";
import type { FaultName } from "./faults-list.ts";

export interface Planted {
  readonly name: string;
  /** In dist/, and there exactly once. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The faults under which it must be caught; the run ends with the first violation. */
  readonly faults: readonly FaultName[];
  /** What is found must be told in these words: another failure would prove nothing. */
  readonly told: RegExp;
}

const LOST = /is not in the stream|are missing before|was answered and is missing|the stream ends|stands at|which is not what was read|series is broken/;
const DOUBLED = /comes again or late/;
const twice = <T>(...items: readonly T[]): T[] => [...items, ...items];

export const PLANTED: readonly Planted[] = [
  {
    name: "a commit counts the leader's own disk only",
    file: "src/core/replica/leader.js",
    find: "const counts = peer.isMember || peer.joining;",
    replace: "const counts = false;",
    faults: twice("cutAndKill", "cutAndKill", "cutAndKill"),
    told: LOST,
  },
  {
    name: "a node says that a group is durable and writes it two seconds later",
    file: "src/storage/wal.js",
    find: "group.segment.file?.write(bytes, group.start).then(",
    // Not before the cluster has formed: copies that learn read the log's files.
    replace: "((copy) => performance.now() < 12_000 ? group.segment.file?.write(bytes, group.start) : (setTimeout(() => group.segment.file?.write(copy, group.start), 2000), Promise.resolve()))(bytes.slice()).then(",
    faults: ["delay", "delay", "delay", "delay", "all"],
    told: LOST,
  },
  {
    name: "a follower skips an entry",
    file: "src/core/stream/machine.js",
    find: "const session = this.applied?.publishing(number)",
    replace: "if (this.applied === undefined && index % 199 === 0) return;\n        const session = this.applied?.publishing(number)",
    faults: ["reset"],
    told: /with different states|which is not what was read|entries of|comes after/,
  },
  {
    name: "a gateway sends what is had already as something new",
    file: "src/core/gateway/line.js",
    find: "this.drop(answer.last);",
    replace: "const had = answer.last - this.acked; this.acked += had; this.taken += had; this.given = Math.max(this.given, this.taken);",
    faults: twice("kill", "kill"),
    told: DOUBLED,
  },
  {
    name: "keys are not recognised again",
    file: "src/core/stream/keys.js",
    find: "return record.since === device.since ? record : undefined;",
    replace: "return undefined;",
    faults: twice("freeze", "kill", "freeze"),
    told: DOUBLED,
  },
];

/** Answers its bin/bellhop.js, and what takes it away. */
export function build({ file, find, replace }: Planted): { readonly program: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "bellhop-planted-"));
  for (const name of ["dist", "bin", "package.json"]) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  for (const name of ["node_modules", "docs"]) symlinkSync(join(ROOT, name), join(folder, name));
  const path = join(folder, "dist", file);
  writeFileSync(path, readFileSync(path, "utf8").replace(find, () => replace));
  return { program: join(folder, "bin/bellhop.js"), remove: () => rmSync(folder, { recursive: true }) };
}

export function occurrences({ file, find }: Planted): number {
  return readFileSync(join(ROOT, "dist", file), "utf8").split(find).length - 1;
}
