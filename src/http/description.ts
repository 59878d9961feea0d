// The head of /openapi.json, what it says of every operation alike, and how its page at /docs looks.

import { STATUS_CODES } from "node:http";
import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import type { FastifySwaggerUiOptions } from "@fastify/swagger-ui";
import type { Settings } from "../config.ts";

const ABOUT = "One stream per device, on disk before it is answered, once, in order.";

export function described({ auth }: Settings, version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Bellhop", version, description: ABOUT, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
      servers: [{ url: "/", description: "The broker that this description comes from." }],
      security: auth === "off" ? [{}, { key: [] }] : [{ key: [] }],
      components: { securitySchemes: { key: { type: "http", scheme: "bearer", description: "An API key, where `auth` is `required`." } } },
    },
    transform: ({ schema, url, route }) => {
      const { response = {}, ...rest } = (schema ?? {}) as { readonly response?: Readonly<Record<string, { readonly description?: string }>> };
      const answers = Object.entries(response).map(([status, answer]) => [status, { description: STATUS_CODES[status] ?? "", ...answer }]);
      const isForAnyone = route.config?.role === "anyone";
      return { url, schema: { ...rest, response: Object.fromEntries(answers) as object, ...(isForAnyone ? { security: [] } : {}) } };
    },
  };
}

export function page({ auth }: Settings): FastifySwaggerUiOptions {
  const hidden = auth === "off" ? ".topbar, .auth-wrapper" : ".topbar"; // no key is asked for: nothing is to be entered
  return { routePrefix: "/docs", theme: { title: "Bellhop", css: [{ filename: "bellhop.css", content: `${hidden} { display: none }` }] } };
}
