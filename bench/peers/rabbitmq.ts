// RabbitMQ quorum queues as a peer of the load generator: publisher confirms over amqplib, all connections together on a few queues.

import { connect, type ChannelModel, type Options } from "amqplib";

import { hostAndPort } from "../../src/base/address.ts";
import type { Driver } from "../load/driver.ts";
import type { LoadPlan } from "../load/plan.ts";

/** Each is a Raft group of its own: a few are its best shape, one for each connection is not. */
export const QUEUES = 8;

/** Three copies, where three nodes run. */
export function quorumQueue(leader: "balanced" | "client-local"): Options.AssertQueue {
  return { durable: true, arguments: { "x-queue-type": "quorum", "x-queue-leader-locator": leader } };
}

/** Its errors are told by the calls that fail and by its end. */
export async function connectRabbit(at: string): Promise<ChannelModel> {
  const { host, port } = hostAndPort(at);
  const connection = await connect({ protocol: "amqp", hostname: host, port, heartbeat: 0 }, { noDelay: true });
  return connection.on("error", () => undefined);
}

/** The queues, with their leaders spread over the nodes. @throws where a node does not know them: it has not joined */
export async function declareQueues(servers: readonly string[]): Promise<void> {
  for (const [place, at] of servers.entries()) {
    const connection = await connectRabbit(at);
    const channel = await connection.createChannel();
    channel.on("error", () => undefined); // told by the call that fails
    for (let queue = 0; queue < QUEUES; queue += 1) await (place === 0 ? channel.assertQueue(nameOf(queue), quorumQueue("balanced")) : channel.checkQueue(nameOf(queue)));
    await connection.close();
  }
}

export function rabbitDriver(plan: LoadPlan): Driver {
  const servers = plan.at.split(",");
  const payload = Buffer.alloc(plan.payloadBytes, "x");
  return {
    async connect(lane, events) {
      const connection = await connectRabbit(servers[lane % servers.length]!);
      const channel = await connection.createConfirmChannel();
      const queue = nameOf(lane % QUEUES);
      let closing = false;
      let count = 0;
      const failed = (why: string): void => void (closing || events.failed(why));
      connection.on("error", (error) => failed(error.message)).on("close", () => failed("RabbitMQ closed the connection."));
      channel.on("error", (error) => failed(error.message));
      const flush = (): void => {
        const answered = count;
        count = 0;
        events.answered(answered);
      };
      const confirmed = (error: Error | null): void => {
        if (error !== null) return failed(`RabbitMQ did not take a message: ${error.message}`);
        if (count === 0) setImmediate(flush); // behind all that this chunk confirms
        count += 1;
      };
      return {
        publish(more) {
          for (let i = 0; i < more; i += 1) channel.sendToQueue(queue, payload, { persistent: true }, confirmed);
        },
        close() {
          closing = true;
          connection.close().catch(() => undefined); // it is over either way
        },
      };
    },

    /** A queue holds what many lanes published: the first lanes stand for the queues, and only the sum says something. */
    async stored(lane) {
      if (lane >= QUEUES) return 0;
      const connection = await connectRabbit(servers[0]!);
      const { messageCount } = await (await connection.createChannel()).checkQueue(nameOf(lane));
      await connection.close();
      return messageCount;
    },
  };
}

function nameOf(queue: number): string {
  return `bench-${queue}`;
}
