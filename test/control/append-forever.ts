// A process that appends to the embedded control log in the directory it is given until it is killed, printing each id once it is answered.

import { EmbeddedControl } from "../../src/control/embedded.ts";
import { Gathered } from "../conformance/control.ts";

const [, , data, round] = process.argv;
const IN_FLIGHT = 8;
const TRIM_EVERY = 40;

const log = await EmbeddedControl.open(data!);
const gathered = new Gathered();
log.watch((await log.snapshot()).position, gathered);
let seq = 0;

async function appendForever(): Promise<never> {
  for (;;) {
    seq += 1;
    const id = `a.${round}.${seq}`;
    await log.append(id, [{ type: "drain", node: id, incarnation: 1, on: true }]);
    process.stdout.write(`${id}\n`);
    if (seq % TRIM_EVERY === 0) await log.trim({ position: gathered.all.at(-1)?.position ?? 0, state: new Uint8Array(10_000) });
  }
}

await Promise.all(Array.from({ length: IN_FLIGHT }, appendForever));
