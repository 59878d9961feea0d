// GET /v1/cluster, /v1/buckets, /v1/control-log: who the nodes are, where each bucket is, and every decision that led there (C9, E2).

import { Type } from "@fastify/type-provider-typebox";
import type { HttpContext } from "../context.ts";
import { LIMIT, limitOf } from "../paging.ts";
import { PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";

const Node = Type.Object({
  node: Type.String({ examples: ["n1"] }),
  state: Type.String({ description: "live, draining or departed." }),
  incarnation: Type.Integer({ description: "Rises with every start." }),
  zone: Type.String(),
  slot: Type.Integer({ description: "Arrival order: followers are the leader's neighbours." }),
  http: Type.String(),
  device: Type.String(),
  peer: Type.String(),
  leads: Type.Integer({ description: "Buckets it leads." }),
  copies: Type.Integer({ description: "Buckets of which it is a member." }),
});

const Plan = Type.Object({ kind: Type.String(), bucket: Type.Integer(), series: Type.Integer(), step: Type.Integer(), target: Type.Array(Type.String()) });

const Cluster = Type.Object({
  position: Type.String({ description: "Of the control log that this node has folded." }),
  copies: Type.Integer(),
  minCopies: Type.Integer(),
  buckets: Type.Integer(),
  nodes: Type.Array(Node),
  plans: Type.Array(Plan, { description: "What moves." }),
});

const Bucket = Type.Object({
  bucket: Type.Integer(),
  state: Type.String(),
  leader: Type.String(),
  epoch: Type.Integer(),
  generation: Type.Integer(),
  members: Type.Array(Type.String()),
  learners: Type.Array(Type.String()),
});

const ControlEntry = Type.Object({
  position: Type.String(),
  id: Type.String({ description: "node.incarnation.sequence of who appended it." }),
  commands: Type.Array(Type.Object({ type: Type.String() }, { additionalProperties: true })),
});

export function operateRoutes(server: Server, { node, settings, handlerTimeout }: HttpContext): void {
  server.get(
    "/v1/cluster",
    { config: { role: "read" }, handlerTimeout, schema: { summary: "The nodes, and what moves", tags: ["operating"], response: { 200: Cluster, ...PROBLEMS } } },
    async (_request, reply) => {
      const { table } = node;
      const { buckets } = table;
      return reply.send({
        position: String(table.position),
        copies: table.settings.copies,
        minCopies: table.settings.minCopies,
        buckets: buckets.length,
        nodes: [...table.nodes.values()].map(({ id, state, incarnation, zone, slot, address }) => ({
          node: id, state, incarnation, zone, slot, ...address,
          leads: buckets.filter(({ leader }) => leader === id).length,
          copies: buckets.filter(({ members }) => members.some((member) => member.node === id)).length,
        })),
        plans: [...table.plans.values()].map(({ kind, bucket, series, step, target }) => ({ kind, bucket, series, step, target: [...target] })),
      });
    },
  );

  server.get(
    "/v1/buckets",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        summary: "Where each bucket is, by page",
        tags: ["operating"],
        querystring: Type.Object({
          after: Type.Optional(Type.String({ pattern: "^\\d{1,5}$", description: "Buckets behind this one." })),
          limit: LIMIT,
        }),
        response: { 200: Type.Object({ buckets: Type.Array(Bucket), next: Type.Union([Type.String(), Type.Null()]) }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const first = request.query.after === undefined ? 0 : Number(request.query.after) + 1;
      const end = first + limitOf(request.query.limit, settings);
      const all = node.table.buckets;
      const buckets = all.slice(first, end).map(({ id, state, leader, epoch, generation, members, learners }) => ({
        bucket: id, state, leader, epoch, generation, members: members.map((member) => member.node), learners: learners.map((member) => member.node),
      }));
      return reply.send({ buckets, next: end < all.length ? String(end - 1) : null });
    },
  );

  server.get(
    "/v1/control-log",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        summary: "The decisions behind the table, by page",
        description: "What is below `earliest` is in the node's archives: `bellhop inspect control`.",
        tags: ["operating"],
        querystring: Type.Object({
          after: Type.Optional(Type.String({ pattern: "^\\d{1,15}$", description: "Entries behind this position. Default 0." })),
          limit: LIMIT,
        }),
        response: { 200: Type.Object({ entries: Type.Array(ControlEntry), next: Type.String(), earliest: Type.String() }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const after = Number(request.query.after ?? 0);
      const { entries, earliest } = await node.controlLog(after, limitOf(request.query.limit, settings));
      const shown = entries.map(({ position, id, commands }) => ({ position: String(position), id, commands: commands.map((command) => ({ ...command })) }));
      return reply.send({ entries: shown, next: shown.at(-1)?.position ?? String(after), earliest: String(earliest) });
    },
  );
}
