// NATS JetStream as a peer of the load generator: pipelined PUB, each with its own acknowledgement by the stream's leader, one subject for each connection.

import { createConnection, type Socket } from "node:net";

import { hostAndPort } from "../../src/base/address.ts";
import type { Driver } from "../load/driver.ts";
import type { LoadPlan } from "../load/plan.ts";

export const STREAM = "bench";
const CONNECT = Buffer.from('CONNECT {"verbose":false,"pedantic":false,"protocol":1,"headers":true,"no_responders":true}\r\n');
const PING = Buffer.from("PING\r\n");
const PONG = Buffer.from("PONG\r\n");
const ERROR = Buffer.from('"error"');
const NEWLINE = 0x0a;
/** The API says nothing while its cluster has no leader. */
const API_MS = 2000;

interface NatsEvents {
  /** A message of the subscription; its bytes are `chunk`'s from start to end. */
  message(chunk: Buffer, start: number, end: number): void;
  /** A message with headers and without a body: nobody takes what was published. */
  refused(why: string): void;
  failed(why: string): void;
}

/** Connects and subscribes to `inbox`; resolves once the server has answered a PING. */
export function connectNats(at: string, inbox: string, events: NatsEvents): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...hostAndPort(at), noDelay: true });
    const fail = (why: string): void => {
      reject(new Error(why));
      events.failed(why);
      socket.destroy();
    };
    let rest: Buffer = Buffer.alloc(0);
    socket.on("connect", () => socket.write(Buffer.concat([CONNECT, Buffer.from(`SUB ${inbox} 1\r\n`), PING])));
    socket.on("error", (error) => fail(error.message));
    socket.on("close", () => fail("NATS closed the connection."));
    socket.on("data", (chunk) => {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let at = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, at)) {
        // [H]MSG subject sid [header-bytes] bytes
        const isMessage = bytes[at] === 0x4d || bytes[at] === 0x48;
        if (isMessage) {
          const line = bytes.toString("latin1", at, end - 1);
          const start = end + 1;
          const stop = start + Number(line.slice(line.lastIndexOf(" ") + 1));
          if (stop + 2 > bytes.length) break;
          if (bytes[at] === 0x48) events.refused(`NATS answered: ${bytes.toString("latin1", start, stop).trim()}`);
          else events.message(bytes, start, stop);
          at = stop + 2;
          continue;
        }
        const line = bytes.toString("latin1", at, end - 1);
        if (line === "PING") socket.write(PONG);
        else if (line === "PONG") resolve(socket);
        else if (line.startsWith("-ERR")) return fail(`NATS answered: ${line}`);
        at = end + 1;
      }
      rest = bytes.subarray(at);
    });
  });
}

/** Asks the JetStream API once. */
export async function askNats(at: string, subject: string, body: unknown): Promise<Record<string, unknown>> {
  const inbox = `_INBOX.ask.${process.pid}.${Math.random().toString(36).slice(2)}`;
  let socket: Socket | undefined;
  let late: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Record<string, unknown>>((resolve, reject) => {
      late = setTimeout(() => reject(new Error(`NATS did not answer ${subject} within ${API_MS / 1000} s.`)), API_MS);
      const failed = (why: string): void => reject(new Error(why));
      const events: NatsEvents = { message: (chunk, start, end) => resolve(JSON.parse(chunk.toString("utf8", start, end)) as Record<string, unknown>), refused: failed, failed };
      connectNats(at, inbox, events).then((made) => {
        socket = made;
        const text = JSON.stringify(body);
        made.write(`PUB ${subject} ${inbox} ${Buffer.byteLength(text)}\r\n${text}\r\n`);
      }, reject);
    });
  } finally {
    clearTimeout(late);
    socket?.removeAllListeners("close").destroy();
  }
}

export function natsDriver(plan: LoadPlan): Driver {
  const servers = plan.at.split(",");
  const subject = (lane: number): string => `${STREAM}.${plan.run}-${lane}`;
  return {
    async connect(lane, events) {
      const inbox = `_INBOX.${plan.run}-${lane}`;
      // Every message of a lane is the same bytes, so a batch is a slice of one buffer that never changes.
      const command = Buffer.from(`PUB ${subject(lane)} ${inbox} ${plan.payloadBytes}\r\n${"x".repeat(plan.payloadBytes)}\r\n`);
      const batch = Buffer.concat(Array.from({ length: plan.inFlight }, () => command));
      let closing = false;
      let count = 0;
      const failed = (why: string): void => void (closing || events.failed(why));
      const socket = await connectNats(servers[lane % servers.length]!, inbox, {
        message(chunk, start, end) {
          if (chunk.subarray(start, end).includes(ERROR)) events.failed(`NATS answered: ${chunk.toString("latin1", start, end)}`);
          count += 1;
        },
        refused: failed,
        failed,
      });
      socket.on("data", () => { // after the listener that has counted what this chunk answers
        const answered = count;
        count = 0;
        if (answered > 0) events.answered(answered);
      });
      return {
        publish: (more) => void socket.write(batch.subarray(0, more * command.length)),
        close() {
          closing = true;
          socket.destroy();
        },
      };
    },

    async stored(lane) {
      const info = await askNats(servers[0]!, `$JS.API.STREAM.INFO.${STREAM}`, { subjects_filter: subject(lane) });
      const state = info["state"] as { readonly subjects?: Readonly<Record<string, number>> } | undefined;
      if (state === undefined) throw new Error(`NATS answered ${JSON.stringify(info)}`);
      return state.subjects?.[subject(lane)] ?? 0;
    },
  };
}
