// GET, PUT, PATCH /v1/devices/{device}/state: the documents `reported` and `desired`, each with a version, guarded by ETag and If-Match.

import { Type } from "@fastify/type-provider-typebox";
import type { FastifyReply } from "fastify";
import { DOCUMENT_BYTES } from "../../base/document.ts";
import { BellhopError } from "../../base/errors.ts";
import type { NodeApi, StateDocument, StatePair } from "../../node/api.ts";
import { sendJson, sendProblem } from "../answers.ts";
import { Arrival } from "../arrival.ts";
import { ask } from "../ask.ts";
import type { HttpContext } from "../context.ts";
import { entityTags, noneMatches } from "../headers.ts";
import { DeviceParams, Document, Position, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";
import { traceOf } from "../trace.ts";

type Which = "reported" | "desired";

const WhichQuery = Type.Object({
  document: Type.Optional(
    Type.Union([Type.Literal("reported"), Type.Literal("desired")], { description: "Which document is changed. Default `desired`." }),
  ),
});
const Conditions = Type.Object({
  "if-match": Type.Optional(
    Type.String({ description: "An ETag that was read; the change is made only if the document is still the same.", examples: ['"desired-3"'] }),
  ),
  "if-none-match": Type.Optional(Type.Literal("*", { description: "The change is made only if the document was never written." })),
});
const Changed = Type.Object({ device: Type.String(), document: Type.String(), version: Type.Integer(), offset: Position });
const EMPTY: StateDocument = { document: Buffer.from("{}"), version: 0, offset: 0 };

export function stateRoutes(server: Server, context: HttpContext): void {
  const { node, settings, handlerTimeout } = context;

  server.get(
    "/v1/devices/:device/state",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        operationId: "getState",
        summary: "Read a device's state",
        tags: ["state"],
        params: DeviceParams,
        querystring: Type.Object({
          at: Type.Optional(Type.String({ pattern: "^\\d{1,15}$", description: "Wait until this offset is applied." })),
        }),
        response: { 200: Type.Object({ device: Type.String(), reported: Document, desired: Document }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      if (request.query.at !== undefined) await applied(context, device, Number(request.query.at), request.signal);
      const { reported, desired } = await documents(node, device, Number(request.query.at ?? 0));
      const tag = `"reported-${reported.version}.desired-${desired.version}"`;
      void reply.header("etag", tag);
      if (noneMatches(request.headers["if-none-match"], tag)) return (reply as FastifyReply).code(304).send();
      const parts = [`"device":${JSON.stringify(device)}`, `"reported":${documentJson(reported)}`, `"desired":${documentJson(desired)}`];
      return sendJson(reply, `{${parts.join(",")}}`);
    },
  );

  for (const how of ["put", "patch"] as const) {
    server[how](
      "/v1/devices/:device/state",
      {
        config: { role: "publish" },
        handlerTimeout,
        bodyLimit: DOCUMENT_BYTES,
        schema: {
          operationId: how === "put" ? "replaceState" : "patchState",
          summary: how === "put" ? "Replace a state document" : "Change a state document by a merge patch (RFC 7396)",
          tags: ["state"],
          consumes: how === "put" ? ["application/json"] : ["application/merge-patch+json", "application/json"],
          params: DeviceParams,
          body: Type.Unknown({ description: "A JSON object: the document, or the patch.", examples: [{ pressure: 2, mode: "auto" }] }),
          querystring: WhichQuery,
          headers: Conditions,
          response: { 200: Changed, ...PROBLEMS },
        },
      },
      async (request, reply) => {
        const { device } = request.params;
        const which = request.query.document ?? "desired";
        const current = (await node.state(device))?.[which].version ?? 0;
        const ifVersion = request.headers["if-none-match"] === "*" ? 0 : wantedVersion(request.headers["if-match"], which, current);
        if (ifVersion === "none") return sendProblem(reply, "version_conflict", `If-Match names no version of ${which}.`);
        const document = objectOf(request.body);
        const answer = await ask(node, { type: "state", device, which, how, document, ifVersion, trace: traceOf(request) ?? "" }, settings.publishSeconds * 1000);
        if (answer.type !== "changed") throw new BellhopError("internal");
        const { version, offset } = answer;
        return reply.header("etag", `"${which}-${version}"`).send({ device, document: which, version, offset: String(offset) });
      },
    );
  }
}

async function documents(node: NodeApi, device: string, at: number): Promise<StatePair> {
  const state = await node.state(device, at);
  if (state !== undefined) return state;
  if ((await node.device(device)) === undefined) throw new BellhopError("unknown_device");
  return { reported: EMPTY, desired: EMPTY };
}

function documentJson(document: StateDocument): string {
  const text = Buffer.from(document.document.buffer, document.document.byteOffset, document.document.length).toString("utf8");
  return `{"version":${document.version},"offset":"${document.offset}","document":${text}}`;
}

/**
 * The version that If-Match wants of this document; undefined without a condition; `none` where it names no version of it.
 * Of several, the one to try is the one that the document has now.
 */
function wantedVersion(header: string | undefined, which: Which, current: number): number | undefined | "none" {
  if (header === undefined || header === "*") return undefined;
  const ours = new RegExp(`^"(?:reported-\\d+\\.)?${which}-(\\d{1,15})(?:\\.desired-\\d+)?"$`);
  const versions = entityTags(header).flatMap((tag) => ours.exec(tag)?.[1] ?? []).map(Number);
  return versions.includes(current) ? current : (versions[0] ?? "none");
}

/** The body, if it is a JSON object; its depth and size are checked where it is applied. */
function objectOf(body: unknown): Uint8Array {
  if (!Buffer.isBuffer(body)) throw new BellhopError("bad_document");
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new BellhopError("bad_document", (error as Error).message);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new BellhopError("bad_document");
  return body;
}

/** Waits until the device's stream has come so far. @throws BellhopError `deadline` */
async function applied({ node, followers, settings, stopping }: HttpContext, device: string, offset: number, signal: AbortSignal): Promise<void> {
  const end = async (): Promise<number> => (await node.device(device))?.end ?? 0;
  if ((await end()) >= offset) return;
  const deadline = performance.now() + settings.maxLongPollSeconds * 1000;
  const arrival = new Arrival(node, followers, device, undefined);
  try {
    while ((await end()) < offset) {
      const came = await arrival.past(offset - 1, Math.max(0, deadline - performance.now()), signal, stopping);
      if (!came) throw new BellhopError("deadline", `Offset ${offset} has not come.`);
    }
  } finally {
    arrival.close();
  }
}
