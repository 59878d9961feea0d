// What an application asks of a device and is told by it.

import type { ConnectionOptions } from "node:tls";
import { DEVICE_ID_RULE, isDeviceId, MAX_KEEP_ALIVE_SECONDS } from "../../../src/wire/device.ts";
import { kindOf, namesAreWrong } from "./check.ts";
import { DeviceError } from "./errors.ts";

export interface DeviceOptions {
  /** `host:port` of one or more brokers, or one as a string; `:port` may be left out, and is 4810 then. It is the brokers' port for devices, not the one for HTTP. */
  readonly brokers: string | readonly string[];
  /** 1 to 128 bytes of UTF-8 without control characters; not `.` or `..`. */
  readonly device: string;
  /** As it was made, or as it was read from a file: white space around it does not count. */
  readonly token?: string;
  /** TLS to the broker, as node:tls takes it: `ca` where its authority is not one the system knows, `cert` and `key` of the device where it shows a certificate instead of a token. */
  readonly tls?: true | Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername">;
  /** "memory" (lost with the process), or the path of a file that survives kill -9 and power loss. One process at a time may use a file. */
  readonly outbox?: string;
  /** Messages and bytes that the outbox holds at most; then `publish` rejects with `outbox_full`. 10,000 and 16 MiB if not said. */
  readonly outboxMessages?: number;
  readonly outboxBytes?: number;
  /** Messages in flight that it asks the broker for, 1 … 65,535; 256 if not said. */
  readonly window?: number;
  /** Messages received and not handled, at most, 0 … 65,535; 64 if not said. */
  readonly receiveWindow?: number;
  /**
   * Seconds of silence after which it sends a sign of life, 1 … 65,535; as the broker likes (60) if not said. The device counts as connected for one and a half times that
   * after its last sign of life: one that sleeps with its connection open names the time that it sleeps for.
   */
  readonly keepAlive?: number;
  /**
   * Seconds, at most, that it waits between two tries to connect or to send again, whatever the row of failures; 30 if not said. What the broker asks for comes on top.
   * In the first minute after a connection that had lasted, at most 5: a broker that is started again is back by then.
   */
  readonly maxBackoff?: number;
}

export interface PublishOptions {
  /** At most 64; a name has 1 to 128 bytes, a value at most 4,096. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A time after which the message is of no use, and skipped: a Date, or milliseconds since 1970. */
  readonly expires?: Date | number;
}

/** connecting → connected → waiting (for the next try) → connecting …; sleeping: until `wake`; stopped: for good, by the broker or the disk; closed: by `close`. */
export type ConnectionState = "connecting" | "connected" | "waiting" | "sleeping" | "stopped" | "closed";

export interface ConnectionChange {
  readonly state: ConnectionState;
  /** host:port */
  readonly broker: string;
  /** Why: set with `waiting` and `stopped`, where it is known. */
  readonly error: Error | undefined;
  /** With `waiting`. */
  readonly retryInMs: number;
}

/** The broker's series and the device's do not join on (A8). A new session is opened by itself; the application should send its state again. */
export interface Broken {
  readonly session: number;
  readonly generation: number;
  /** Series numbers that were acknowledged and that the broker lacks: missing … to; undefined when none is. */
  readonly missing: { readonly from: number; readonly to: number } | undefined;
  /** The outbox forgot numbers that the broker has: what is still in it is sent again, and may then be stored twice. */
  readonly doubled: boolean;
}

/** A message that a former process published was refused for good. (What this process publishes is told by its promise.) */
export interface Refused {
  readonly payload: Uint8Array;
  readonly error: DeviceError;
}

export interface DeviceEvents {
  connection: [ConnectionChange];
  broken: [Broken];
  refused: [Refused];
  /** The backends changed the `desired` document: see `state.desired`. */
  desired: [];
  /** Entries from … to of the stream can no longer be delivered; messages may be among them. */
  missed: [{ readonly from: number; readonly to: number; readonly code: string }];
  /** Everything published is settled. */
  empty: [];
}

export interface BrokerAddress {
  /** host:port */
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

const DEFAULT_PORT = 4810;
const MOST_SECONDS = 86_400;

/** Least and greatest number of each option that is one. */
const NUMBERS = {
  outboxMessages: [1, Number.MAX_SAFE_INTEGER],
  outboxBytes: [1, Number.MAX_SAFE_INTEGER],
  window: [1, 65_535],
  receiveWindow: [0, 65_535],
  keepAlive: [1, MAX_KEEP_ALIVE_SECONDS],
  maxBackoff: [0, MOST_SECONDS], // the only one with a fraction
} as const satisfies Partial<Record<keyof DeviceOptions, readonly [number, number]>>;
const KNOWN = ["brokers", "device", "token", "tls", "outbox", ...Object.keys(NUMBERS)];
const KNOWN_OF_PUBLISH = ["headers", "expires"];

/** Options as they may come from JavaScript. @throws DeviceError `bad_request` that names the option */
export function checkOptions(options: DeviceOptions): void {
  const wrong = optionsAreWrong(options);
  if (wrong !== "") throw new DeviceError("bad_request", false, wrong);
}

function optionsAreWrong(options: unknown): string {
  if (typeof options !== "object" || options === null) return `\`connect\` takes an object with \`brokers\` and \`device\`, not ${kindOf(options)}.`;
  const unknown = namesAreWrong(options, KNOWN);
  if (unknown !== "") return unknown;
  const { brokers, device, token, tls, outbox } = options as Partial<Record<keyof DeviceOptions, unknown>>;
  if (brokers === undefined) return "`brokers` is missing: \"HOST:PORT\" of one or more.";
  if (typeof brokers !== "string" && !(Array.isArray(brokers) && brokers.every((one) => typeof one === "string"))) return `\`brokers\` is a string or an array of strings, not ${kindOf(brokers)}.`;
  if (brokers.length === 0) return "No broker is named in `brokers`.";
  if (typeof device !== "string" || !isDeviceId(device)) return `\`device\` is its id, and has ${DEVICE_ID_RULE}.`;
  if (token !== undefined && typeof token !== "string") return `\`token\` is a string, not ${kindOf(token)}.`;
  if (tls !== undefined && tls !== true && (typeof tls !== "object" || tls === null)) return `\`tls\` is true or an object, not ${kindOf(tls)}.`;
  if (outbox !== undefined && (typeof outbox !== "string" || outbox === "")) return `\`outbox\` is "memory" or the path of a file, not ${outbox === "" ? "an empty string" : kindOf(outbox)}.`;
  for (const [name, [least, most]] of Object.entries(NUMBERS)) {
    const value = (options as Readonly<Record<string, unknown>>)[name];
    const isNumber = typeof value === "number" && (name === "maxBackoff" || Number.isInteger(value)) && value >= least && value <= most;
    if (value !== undefined && !isNumber) return `\`${name}\` is a number from ${least} to ${most}, not ${typeof value === "number" ? value : kindOf(value)}.`;
  }
  return "";
}

/** "" or what is wrong with them, in words. */
export function publishOptionsAreWrong(options: PublishOptions): string {
  const given: unknown = options;
  if (typeof given !== "object" || given === null) return `The options of \`publish\` are an object, not ${kindOf(given)}.`;
  return namesAreWrong(given, KNOWN_OF_PUBLISH);
}

/** @throws DeviceError `bad_request` */
export function parseAddress(address: string): BrokerAddress {
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(address);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3] ?? DEFAULT_PORT);
  if (host === undefined || port < 1 || port > 65_535) throw new DeviceError("bad_request", false, `${address} is no host:port.`);
  return { name: `${address.includes("]") ? `[${host}]` : host}:${port}`, host, port };
}
