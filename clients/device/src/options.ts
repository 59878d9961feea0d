// What an application asks of a device and is told by it.

import type { ConnectionOptions } from "node:tls";
import { DeviceError } from "./errors.ts";

export interface DeviceOptions {
  /** `host:port` of one or more brokers; a port alone may be left out (4810). */
  readonly brokers: string | readonly string[];
  /** 1 to 128 bytes of UTF-8 without control characters; not `.` or `..`. */
  readonly device: string;
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
  /** Seconds, at most, that it waits between two tries to connect or to send again, whatever the row of failures; 30 if not said. What the broker asks for comes on top. */
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

/** @throws DeviceError `bad_request` */
export function parseAddress(address: string): BrokerAddress {
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(address);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3] ?? DEFAULT_PORT);
  if (host === undefined || port < 1 || port > 65_535) throw new DeviceError("bad_request", false, `${address} is no host:port.`);
  return { name: `${address.includes("]") ? `[${host}]` : host}:${port}`, host, port };
}
