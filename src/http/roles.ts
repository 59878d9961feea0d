// What a caller must be allowed to do for a route; each route says it in its `config`. One that does not say it is for administrators.

import type { Role } from "../core/table/keys.ts";

export type { Role };

declare module "fastify" {
  interface FastifyContextConfig {
    /** `anyone`: without a key, also where keys are required; such a route tells nothing of the users' data. */
    role?: Role | "anyone";
  }
}
