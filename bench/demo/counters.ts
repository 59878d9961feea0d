// This machine's own counters, as a device would measure them: read from /proc, rates since the reading before.

import { readFileSync } from "node:fs";

export const REPORTS = ["cpu", "mem", "net", "load"] as const;
export type Report = (typeof REPORTS)[number];

/** What was measured, under names with their units. */
export type Reading = Readonly<Record<string, number | string>>;

export function isReport(name: string): name is Report {
  return (REPORTS as readonly string[]).includes(name);
}

export class Counters {
  #busy = 0;
  #total = 0;
  #received = 0;
  #sent = 0;
  #netAt = 0;

  read(report: Report): Reading {
    try {
      return { report, ...this.#read(report) };
    } catch (error) {
      return { report, unavailable: (error as Error).message };
    }
  }

  #read(report: Report): Reading {
    switch (report) {
      case "cpu":
        return this.#cpu();
      case "mem":
        return memory();
      case "net":
        return this.#net();
      case "load": {
        const [one, five, fifteen] = readFileSync("/proc/loadavg", "utf8").split(" ").map(Number);
        return { oneMinute: one!, fiveMinutes: five!, fifteenMinutes: fifteen! };
      }
    }
  }

  /** First line of /proc/stat: ticks as user, nice, system, idle, iowait, … */
  #cpu(): Reading {
    const text = readFileSync("/proc/stat", "utf8");
    const ticks = text.slice(0, text.indexOf("\n")).trim().split(/\s+/).slice(1).map(Number);
    const total = ticks.reduce((sum, some) => sum + some, 0);
    const busy = total - ticks[3]! - ticks[4]!;
    const percent = total === this.#total ? 0 : (100 * (busy - this.#busy)) / (total - this.#total);
    this.#busy = busy;
    this.#total = total;
    return { busyPercent: Math.round(percent * 10) / 10, contextSwitches: Number(/^ctxt (\d+)/m.exec(text)?.[1]) };
  }

  /** /proc/net/dev: `name: received bytes … (8 columns) sent bytes …`. Loopback counts: here the broker's own traffic is on it. */
  #net(): Reading {
    let received = 0;
    let sent = 0;
    for (const line of readFileSync("/proc/net/dev", "utf8").split("\n").slice(2)) {
      const columns = line.slice(line.indexOf(":") + 1).trim().split(/\s+/).map(Number);
      received += columns[0] ?? 0;
      sent += columns[8] ?? 0;
    }
    const now = performance.now();
    const seconds = (now - this.#netAt) / 1000;
    const reading = { receivedBytesPerSecond: Math.round((received - this.#received) / seconds), sentBytesPerSecond: Math.round((sent - this.#sent) / seconds) };
    const first = this.#netAt === 0;
    this.#netAt = now;
    this.#received = received;
    this.#sent = sent;
    return first ? { receivedBytesPerSecond: 0, sentBytesPerSecond: 0 } : reading;
  }
}

function memory(): Reading {
  const text = readFileSync("/proc/meminfo", "utf8");
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]);
  return { totalMiB: Math.round(kib("MemTotal") / 1024), availableMiB: Math.round(kib("MemAvailable") / 1024) };
}
