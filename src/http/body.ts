// A request's body as a JSON object, where a route wants one: bodies arrive as their bytes.

import { BellhopError } from "../base/errors.ts";
import { nearest } from "../base/near.ts";

/** The members of the object, all of them known. @throws BellhopError `bad_request` */
export function membersOf(body: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.isBuffer(body) ? body.toString("utf8") : "");
  } catch {
    throw new BellhopError("bad_request", `The body must be a JSON object with ${known.join(", ")}.`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new BellhopError("bad_request", `The body must be a JSON object with ${known.join(", ")}.`);
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    throw new BellhopError("bad_request", `${JSON.stringify(name)} is not known here. ${near === undefined ? `There are ${known.join(", ")}.` : `Did you mean ${near}?`}`);
  }
  return value as Readonly<Record<string, unknown>>;
}
