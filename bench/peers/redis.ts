// Redis Streams as a peer of the load generator: pipelined XADD, one stream for each connection.

import { createConnection, type Socket } from "node:net";

import { hostAndPort } from "../../src/base/address.ts";
import type { Driver } from "../load/driver.ts";
import type { LoadPlan } from "../load/plan.ts";

const DOLLAR = 0x24;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const ZERO = 0x30;
const NINE = 0x39;

export function redisDriver(plan: LoadPlan): Driver {
  const open = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = createConnection({ ...hostAndPort(plan.at), noDelay: true });
      socket.once("error", reject);
      socket.once("connect", () => resolve(socket.off("error", reject)));
    });

  return {
    async connect(lane, events) {
      const socket = await open();
      // Every message of a lane is the same bytes, so a batch is a slice of one buffer that never changes.
      const command = resp("XADD", `${plan.run}-${lane}`, "*", "d", "x".repeat(plan.payloadBytes));
      const batch = Buffer.concat(Array.from({ length: plan.inFlight }, () => command));
      let closing = false;
      // Each answer is a bulk string: $15\r\n1526919030474-0\r\n. State is kept over chunks: the digits of the length, then bytes to skip.
      let length = 0;
      let skip = 0;
      socket.on("data", (chunk) => {
        let count = 0;
        for (let at = 0; at < chunk.length; ) {
          if (skip > 0) {
            const step = Math.min(skip, chunk.length - at);
            at += step;
            skip -= step;
            if (skip === 0) count += 1;
            continue;
          }
          const byte = chunk[at]!;
          at += 1;
          if (byte === DOLLAR) length = 0;
          else if (byte >= ZERO && byte <= NINE) length = length * 10 + byte - ZERO;
          else if (byte === NEWLINE) skip = length + 2;
          else if (byte !== RETURN) return events.failed(`Redis answered: ${chunk.toString("latin1", at - 1, at + 200).trim()}`);
        }
        if (count > 0) events.answered(count);
      });
      socket.on("error", (error) => events.failed(error.message));
      socket.on("close", () => closing || events.failed("Redis closed the connection."));
      return {
        publish: (count) => void socket.write(batch.subarray(0, count * command.length)),
        close() {
          closing = true;
          socket.destroy();
        },
      };
    },

    async stored(lane) {
      const socket = await open();
      socket.write(resp("XLEN", `${plan.run}-${lane}`));
      const answer = await new Promise<string>((resolve, reject) => {
        let text = "";
        socket.on("error", reject).on("data", (chunk) => {
          text += chunk.toString("latin1");
          if (text.endsWith("\r\n")) resolve(text.trim());
        });
      });
      socket.destroy();
      if (!/^:\d+$/.test(answer)) throw new Error(`Redis answered XLEN with ${answer}`);
      return Number(answer.slice(1));
    },
  };
}

/** A command in Redis' protocol. */
function resp(...words: readonly string[]): Buffer {
  return Buffer.from(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`);
}
