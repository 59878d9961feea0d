// What a caller must be allowed to do for a route; each route says it in its `config`.

/** `publish` may read too, `admin` may do everything. */
export type Role = "read" | "publish" | "admin";

declare module "fastify" {
  interface FastifyContextConfig {
    role?: Role;
  }
}
