// What is done to the peers: three servers with three copies, of which the leader is killed or frozen.

import { setTimeout as sleep } from "node:timers/promises";
import { askNats, STREAM } from "../peers/nats.ts";
import { startNats, type NatsBinary } from "../peers/nats-servers.ts";
import { connectRabbit, quorumQueue } from "../peers/rabbitmq.ts";
import { startRabbit, type RabbitBinary } from "../peers/rabbitmq-servers.ts";
import { observeNats, observeRabbit } from "./observers.ts";
import type { Trial } from "./trial.ts";

export const LEADER_SIGNALS = { "leader-killed": "SIGKILL", "leader-frozen": "SIGSTOP" } as const;
export type LeaderSignal = (typeof LEADER_SIGNALS)[keyof typeof LEADER_SIGNALS];

const QUEUE = "observed";
const LEADER_MS = 20_000;

export async function startNatsTrial(binary: NatsBinary, directory: string, signal: LeaderSignal): Promise<Trial> {
  const servers = await startNats(binary.path, directory, undefined);
  try {
    const at = servers.at.split(",");
    const leader = Number((await natsLeader(at[0]!)).slice(1)); // named n0, n1, n2
    const other = at[(leader + 1) % at.length]!;
    return {
      observers: [await observeNats(other)],
      harm: async () => void process.kill(servers.pids[leader]!, signal),
      stored: async () => (await natsStream(other)).state.messages,
      stop: () => servers.stop(),
    };
  } catch (error) {
    await servers.stop();
    throw error;
  }
}

interface NatsStream {
  readonly cluster: { readonly leader?: string };
  readonly state: { readonly messages: number };
}

async function natsStream(at: string): Promise<NatsStream> {
  const info = await askNats(at, `$JS.API.STREAM.INFO.${STREAM}`, {});
  if (info["error"] !== undefined) throw new Error(`NATS answered ${JSON.stringify(info["error"])}`);
  return info as unknown as NatsStream;
}

async function natsLeader(at: string): Promise<string> {
  const deadline = performance.now() + LEADER_MS;
  for (;;) {
    const { leader = "" } = (await natsStream(at)).cluster;
    if (leader !== "") return leader;
    if (performance.now() > deadline) throw new Error("The stream has no leader.");
    await sleep(50);
  }
}

export async function startRabbitTrial(binary: RabbitBinary, directory: string, signal: LeaderSignal): Promise<Trial> {
  const servers = await startRabbit(binary, directory);
  try {
    const [leader, other] = servers.at.split(",") as [string, string];
    // A queue's leader is on the node that it was declared through.
    const connection = await connectRabbit(leader);
    await (await connection.createChannel()).assertQueue(QUEUE, quorumQueue("client-local"));
    await connection.close();
    return {
      observers: [await observeRabbit(other, QUEUE)],
      harm: async () => void process.kill(servers.pids[0]!, signal),
      stored: () => {
        if (signal === "SIGSTOP") process.kill(servers.pids[0]!, "SIGCONT"); // else the node that is asked waits for it and then says 0
        return rabbitMessages(other);
      },
      stop: () => servers.stop(),
    };
  } catch (error) {
    await servers.stop();
    throw error;
  }
}

async function rabbitMessages(at: string): Promise<number> {
  const connection = await connectRabbit(at);
  const { messageCount } = await (await connection.createChannel()).checkQueue(QUEUE);
  await connection.close();
  return messageCount;
}
