// Query parameters that a route does not know are refused: a misspelt one would otherwise silently do nothing.

import type { FastifyRequest } from "fastify";
import { nearest } from "../base/near.ts";
import { BellhopError } from "../base/errors.ts";

/** @throws BellhopError `bad_request`, naming the parameter and what was probably meant */
export function refuseUnknownParameters(request: FastifyRequest): void {
  if (!request.url.includes("?")) return;
  const schema = request.routeOptions.schema?.querystring as { readonly properties?: object } | undefined;
  const known = Object.keys(schema?.properties ?? {});
  for (const name of Object.keys(request.query as object)) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    const next = near !== undefined ? `Did you mean ${near}?` : known.length > 0 ? `There are ${known.join(", ")}.` : "This call has none.";
    throw new BellhopError("bad_request", `The query parameter ${JSON.stringify(name)} is not known here. ${next}`);
  }
}
