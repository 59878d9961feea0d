// /v1/cluster, /v1/buckets, /v1/control-log, /v1/nodes: who the nodes are, where each bucket is, every decision that led there (C9, E2), and what an operator changes.

import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import { membersOf } from "../body.ts";
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
  lease: Type.Boolean({ description: "Its process was heard of within the last seconds." }),
  leads: Type.Integer({ description: "Buckets it leads." }),
  copies: Type.Integer({ description: "Buckets of which it is a member." }),
  learns: Type.Integer({ description: "Buckets whose copy it is being brought." }),
});

const Plan = Type.Object({ kind: Type.String(), bucket: Type.Integer(), series: Type.Integer(), step: Type.Integer(), target: Type.Array(Type.String()), leader: Type.String() });

const Learner = Type.Object({
  bucket: Type.Integer(),
  node: Type.String(),
  whole: Type.Boolean({ description: "It has the state and the history, and follows." }),
  behind: Type.Integer({ description: "Entries that it lacks." }),
});

const Dark = Type.Object({ bucket: Type.Integer(), state: Type.String(), members: Type.Array(Type.String()), why: Type.String() });

const Link = Type.Object({ node: Type.String(), up: Type.Boolean(), waitingBytes: Type.Integer(), bytesIn: Type.Integer(), bytesOut: Type.Integer() });

const Cluster = Type.Object({
  self: Type.String({ description: "The node that tells this." }),
  controlSeconds: Type.Number({ description: "Since the control log last answered this node; while it does not, changes wait and writes go on." }),
  position: Type.String({ description: "Of the control log that this node has folded." }),
  copies: Type.Integer(),
  minCopies: Type.Integer(),
  buckets: Type.Integer(),
  incomplete: Type.Integer({ description: "Buckets with fewer live members than `copies`." }),
  nodes: Type.Array(Node),
  plans: Type.Array(Plan, { description: "What moves." }),
  learners: Type.Array(Learner, { description: "How far the learners are, of the buckets that this node leads." }),
  dark: Type.Object({ count: Type.Integer(), buckets: Type.Array(Dark) }, { description: "Buckets that nobody leads, and why; the first 100 of them." }),
  links: Type.Array(Link, { description: "Of this node to the others." }),
});

const Settings = Type.Object({ copies: Type.Integer(), minCopies: Type.Integer() });

const NodeName = Type.Object({ node: Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,62}$" }) });

const Bucket = Type.Object({
  bucket: Type.Integer(),
  state: Type.String(),
  leader: Type.String(),
  epoch: Type.Integer(),
  generation: Type.Integer(),
  members: Type.Array(Type.String()),
  learners: Type.Array(Type.String()),
});

const BucketDigest = Type.Object({
  bucket: Type.Integer(),
  node: Type.String(),
  applied: Type.Integer({ description: "Log index that the state is of." }),
  commit: Type.Integer(),
  digest: Type.String({ description: "SHA-256 of the state, hex." }),
});

const ControlEntry = Type.Object({
  position: Type.String(),
  id: Type.String({ description: "node.incarnation.sequence of who appended it." }),
  commands: Type.Array(Type.Object({ type: Type.String() }, { additionalProperties: true })),
});

export function operateRoutes(server: Server, { node, settings, log, handlerTimeout }: HttpContext): void {
  server.get(
    "/v1/cluster",
    { config: { role: "read" }, handlerTimeout, schema: { operationId: "getCluster", summary: "The nodes, and what moves", tags: ["operating"], response: { 200: Cluster, ...PROBLEMS } } },
    async (_request, reply) => {
      const { position, nodes, plans, learners, links, ...view } = node.cluster();
      return reply.send({ ...view, position: String(position), nodes: [...nodes], plans: [...plans], learners: [...learners], dark: { ...view.dark, buckets: [...view.dark.buckets] }, links: [...links] });
    },
  );

  server.get(
    "/v1/buckets",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        operationId: "listBuckets",
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
    "/v1/buckets/:bucket/digest",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "getBucketDigest",
        summary: "A digest of this node's copy of a bucket",
        description: "Copies that are applied to the same index have the same digest. It reads the bucket's whole state while nothing else runs: for checks, not for monitoring.",
        tags: ["operating"],
        params: Type.Object({ bucket: Type.String({ pattern: "^\\d{1,5}$" }) }),
        response: { 200: BucketDigest, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const bucket = Number(request.params.bucket);
      const digest = node.digest(bucket);
      if (digest === undefined) throw new BellhopError("not_found", `This node has no copy of bucket ${bucket}.`);
      return reply.send({ bucket, node: node.status().node, ...digest });
    },
  );

  server.get(
    "/v1/control-log",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "readControlLog",
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

  server.patch(
    "/v1/cluster",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "setCluster",
        summary: "Change the cluster's settings",
        description: "`copies`: 1, 3 or 5 of each bucket; more are made, or some dropped, one bucket at a time. `minCopies`: below so many a bucket takes no writes. Either may be left out.",
        tags: ["operating"],
        body: Type.Unknown({ description: "`{\"copies\": 3, \"minCopies\": 2}`", examples: [{ copies: 3, minCopies: 2 }] }),
        response: { 200: Settings, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const settings = await node.operator.set(settingsIn(request.body));
      log.info({ code: "cluster_set", ...settings, by: request.access.name }, "the cluster's settings were changed");
      return reply.send(settings);
    },
  );

  server.post(
    "/v1/nodes/:node/drain",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "drainNode",
        summary: "Move a node's buckets to others",
        description: "Answered when it is decided; `GET /v1/cluster` shows the node's `copies` fall to 0. Its process goes on as a gateway. A restart ends it, and so does `?cancel=true`.",
        tags: ["operating"],
        params: NodeName,
        querystring: Type.Object({ cancel: Type.Optional(Type.Boolean()) }),
        response: { 200: Type.Object({ node: Type.String(), state: Type.String() }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const id = request.params.node;
      const on = request.query.cancel !== true;
      await node.operator.drain(id, on);
      log.info({ code: "drain", of: id, on, by: request.access.name }, on ? "the node is drained" : "the node's drain was cancelled");
      return reply.send({ node: id, state: on ? "draining" : "live" });
    },
  );

  server.delete(
    "/v1/nodes/:node",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "removeNode",
        summary: "Depart a node whose process has ended",
        description: "Refused while it runs, and while a bucket would have fewer than `copies` copies without it. It may come back: it then registers anew.",
        tags: ["operating"],
        params: NodeName,
        response: { 204: Type.Null({ description: "It is departed." }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      await node.operator.remove(request.params.node);
      log.info({ code: "node_removed", of: request.params.node, by: request.access.name }, "the node was removed");
      return reply.code(204).send(null);
    },
  );

  server.post(
    "/v1/buckets/:bucket/recover",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "recoverBucket",
        summary: "Let a dark bucket go on without what was lost",
        description: "Only where no whole copy is left. What the chosen node's copy lacks is lost for good; devices are told BROKEN and synchronise their state. Body: `{\"acceptLoss\": true, \"node\": \"n2\"}`; without `node` its last member.",
        tags: ["operating"],
        params: Type.Object({ bucket: Type.Integer({ minimum: 0, maximum: 65_535 }) }),
        body: Type.Unknown({ description: "`acceptLoss`: true; `node`: whose copy is kept.", examples: [{ acceptLoss: true, node: "n2" }] }),
        response: { 200: Type.Object({ bucket: Type.Integer(), node: Type.String(), epoch: Type.Integer(), generation: Type.Integer() }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const recovered = await node.operator.acceptLoss(request.params.bucket, chosenIn(request.body));
      log.warn({ code: "loss_accepted", ...recovered, by: request.access.name }, "a loss was accepted: the bucket goes on with what one copy holds");
      return reply.send(recovered);
    },
  );
}

function settingsIn(body: unknown): { copies?: 1 | 3 | 5; minCopies?: number } {
  const { copies, minCopies } = membersOf(body, ["copies", "minCopies"]);
  const given: { copies?: 1 | 3 | 5; minCopies?: number } = {};
  if (copies !== undefined) {
    if (copies !== 1 && copies !== 3 && copies !== 5) throw new BellhopError("bad_request", "copies is 1, 3 or 5.");
    given.copies = copies;
  }
  if (minCopies !== undefined) {
    if (typeof minCopies !== "number") throw new BellhopError("bad_request", "minCopies is a number.");
    given.minCopies = minCopies;
  }
  return given;
}

function chosenIn(body: unknown): string | undefined {
  const { acceptLoss, node } = membersOf(body, ["acceptLoss", "node"]);
  if (acceptLoss !== true) throw new BellhopError("bad_request", "acceptLoss must be true: what the chosen copy lacks is lost for good.");
  if (node !== undefined && typeof node !== "string") throw new BellhopError("bad_request", "node is the id of a node.");
  return node;
}
