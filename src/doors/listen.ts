// How a door's port is opened, and where it is then.

import type { ListenOptions, Server } from "node:net";
import { withPort } from "../base/address.ts";

/** Resolves when it listens; rejects where the address is taken. */
export async function listening(server: Server, options: ListenOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** HOST:PORT where it listens; the real port where `wanted` asks for 0. */
export function addressOf(server: Server, wanted: string): string {
  const bound = server.address();
  return typeof bound === "object" && bound !== null ? withPort(wanted, bound.port) : wanted;
}
