// The node's log: JSON lines with stable fields (time, level, node, msg), secrets redacted.

import { pino, type DestinationStream, type Logger } from "pino";

export type Log = Logger;

/** Never written, wherever they stand in a logged object. */
const SECRETS = ["authorization", "cookie", "token", "secret", "password", "key"];

/** @param level least severe level that is written, or `silent`. @param destination standard output unless given. */
export function createLog(level: string, node: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: { node },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: "[redacted]" },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
