// A process of HTTP publishers: each sends one message after another under a key, again with the same key until it is answered, and journals the answer.
// Arguments: broker's HTTP address, folder, publishers, devices.

import { Agent, request } from "undici";
import { Journal } from "./journal.ts";

const [, , broker, folder, publishers, devices] = process.argv;
const RETRY_MS = 20;

let stopping = false;
let unanswered = 0;
let running = Number(publishers);
const agent = new Agent({ connections: running, headersTimeout: 20_000 });

async function run(publisher: number): Promise<void> {
  const journal = new Journal(`${folder}/backend-${publisher}.journal`);
  for (let number = 1; !stopping; number += 1) {
    const device = `device-${(publisher + number) % Number(devices)}`;
    const key = `backend-${publisher}-${number}`;
    journal.add(`p ${device} ${key}`);
    journal.write();
    unanswered += 1;
    const { status, offset } = await publish(device, key);
    unanswered -= 1;
    journal.add(status === 200 || status === 201 ? `a ${device} ${key} ${offset}` : `r ${device} ${key} ${status}`);
    journal.write();
  }
  running -= 1;
  if (running === 0) {
    process.send!({ unanswered: 0 });
    process.exit(0);
  }
}

/** Until the broker has answered for good. */
async function publish(device: string, key: string): Promise<{ status: number; offset: string }> {
  for (;;) {
    try {
      const answer = await request(`http://${broker}/v1/devices/${device}/messages`, {
        method: "POST",
        headers: { "content-type": "text/plain", "idempotency-key": key },
        body: key,
        dispatcher: agent,
      });
      const body = (await answer.body.json()) as { offset?: string };
      if (answer.statusCode < 500 && answer.statusCode !== 429) return { status: answer.statusCode, offset: body.offset ?? "" };
    } catch {
      // The connection broke: whether it is stored only the same key can tell (A6).
    }
    await new Promise((resolve) => {
      setTimeout(resolve, RETRY_MS);
    });
  }
}

for (let publisher = 0; publisher < Number(publishers); publisher += 1) void run(publisher);

process.on("message", (message) => {
  if (message === "count") process.send!({ unanswered });
  if (message === "stop") stopping = true;
});
process.send!("ready");
