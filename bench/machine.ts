// What a table of figures begins and ends with: the machine, and how noisy it was meanwhile; and the processor time of a process on it.

import { readFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { version } from "../src/observe/version.ts";

/** Of /proc/PID/stat. */
const TICKS_PER_SECOND = 100;

interface Ticks {
  readonly stolen: number;
  readonly total: number;
}

export class Machine {
  readonly #before = ticks();

  described(): string {
    const what = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Linux ${release()}, Node ${process.version}, Bellhop ${version()}`;
    return `Machine: ${what}; load ${loadavg()[0]!.toFixed(2)} before the start.`;
  }

  noise(): string {
    const now = ticks();
    const total = now.total - this.#before.total;
    const share = total === 0 ? "an unknown share" : `${((100 * (now.stolen - this.#before.stolen)) / total).toFixed(1)} %`;
    return `Noise: load ${loadavg()[0]!.toFixed(2)} at the end; ${share} of the processors' time went to other guests of the host.`;
  }
}

/** The processors' ticks so far: all of them, and those that the host gave to other guests. */
function ticks(): Ticks {
  try {
    const [first = ""] = readFileSync("/proc/stat", "utf8").split("\n");
    const fields = first.trim().split(/\s+/).slice(1, 9).map(Number);
    return { stolen: fields[7]!, total: fields.reduce((sum, some) => sum + some, 0) };
  } catch {
    return { stolen: 0, total: 0 };
  }
}

/** Processor time of a process so far: of all its threads, in user and system mode. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the state is the third field of the file, and the first here
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** @throws where this process may not have so many files open. Node raises its limit to the hard one when it starts, and so do its children: only that one counts. */
export function needOpenFiles(count: number): void {
  const most = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Infinity);
  if (most < count) throw new Error(`This needs ${count} open files in one process, and the limit is ${most}: raise it (\`ulimit -Hn ${count}\` as root, or LimitNOFILE) and start again.`);
}
