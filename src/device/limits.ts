// The device server's limits, each with its unit: what a connection and all of them together may hold.

import type { Settings } from "../config.ts";
import { MAX_KEEP_ALIVE_SECONDS } from "../wire/device.ts";

export interface DeviceLimits {
  /** A HELLO needs a token, where no certificate says who the device is (F2). */
  readonly needsCredential: boolean;
  readonly connections: number;
  /** 0: no limit of its own; as in every rate below. */
  readonly connectionsPerAddress: number;
  /** Bytes of a frame, without its length. */
  readonly frameBytes: number;
  /** Milliseconds from the accept to HELLO, the TLS handshake included. */
  readonly helloMs: number;
  /** Milliseconds that a HELLO may wait for its session; the gateway gives up before. */
  readonly welcomeMs: number;
  /** Seconds: of a device that asks for no other, and the greatest one. */
  readonly keepAliveSeconds: number;
  readonly mostKeepAliveSeconds: number;
  /** Bytes unacknowledged in a line from which its socket is not read until they are fewer. */
  readonly pauseReadingBytes: number;
  /** Bytes unacknowledged in all lines from which none with some is read until they are fewer. */
  readonly backlogBytes: number;
  /** Bytes in a socket's buffer from which nothing more is read from or delivered to it; and from which it is closed. */
  readonly pauseWritingBytes: number;
  readonly mostWaitingBytes: number;
  /** Milliseconds that a device may leave its full buffer unread. */
  readonly unreadMs: number;
  /** Milliseconds for the last bytes of a connection that is being closed. */
  readonly lingerMs: number;
  /** Messages delivered and not handled, whatever the device asks. */
  readonly receiveWindow: number;
  /** HELLOs admitted per second, and how many at once after a quiet time. */
  readonly hellosPerSecond: number;
  readonly hellosAtOnce: number;
  /** HELLOs from one address per second. */
  readonly hellosPerAddress: number;
  /** TLS handshakes at once; the others wait. */
  readonly handshakesAtOnce: number;
  /** Messages and bytes per second. */
  readonly messagesPerDevice: number;
  readonly bytesPerDevice: number;
}

export function deviceLimits(settings: Settings): DeviceLimits {
  return {
    needsCredential: settings.auth === "required",
    connections: settings.maxConnections,
    connectionsPerAddress: settings.connectionsPerAddress,
    frameBytes: settings.maxFrameBytes,
    helloMs: settings.helloTimeoutSeconds * 1000,
    welcomeMs: 90_000,
    keepAliveSeconds: settings.keepAliveSeconds,
    mostKeepAliveSeconds: MAX_KEEP_ALIVE_SECONDS, // a device may sleep with its connection open
    pauseReadingBytes: settings.windowBytes / 2,
    backlogBytes: settings.backlogBytes,
    pauseWritingBytes: 64 * 1024,
    mostWaitingBytes: 4 * 1024 * 1024,
    unreadMs: 30_000,
    lingerMs: 5000,
    receiveWindow: 1024,
    hellosPerSecond: settings.hellosPerSecond,
    hellosAtOnce: 2 * settings.hellosPerSecond,
    hellosPerAddress: settings.hellosPerAddress,
    handshakesAtOnce: settings.handshakesAtOnce,
    messagesPerDevice: settings.messagesPerDevice,
    bytesPerDevice: settings.bytesPerDevice,
  };
}
