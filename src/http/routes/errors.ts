// GET /errors/{code}: the section of docs/errors.md about a code, which is what a problem's `type` points to.

import { readFileSync } from "node:fs";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError, ERRORS } from "../../base/errors.ts";
import { PROBLEMS, text } from "../schemas.ts";
import type { Server } from "../server.ts";

export function errorRoutes(server: Server): void {
  const sections = errorSections(readFileSync(pageFile(), "utf8"));

  server.get(
    "/errors/:code",
    {
      config: { role: "anyone" },
      schema: {
        operationId: "getErrorPage",
        summary: "What a problem's code means, why it comes and what to do",
        tags: ["operating"],
        params: Type.Object({ code: Type.String({ enum: Object.keys(ERRORS), examples: ["key_reused"] }) }),
        response: { 200: text("The section of docs/errors.md about it."), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const section = sections.get(request.params.code);
      if (section === undefined) throw new BellhopError("not_found", "There is no such code.");
      return reply.type("text/plain; charset=utf-8").send(section);
    },
  );
}

/** The page's sections `### code`, by their code. */
export function errorSections(page: string): ReadonlyMap<string, string> {
  const sections = page.split(/^### /m).slice(1);
  return new Map(sections.map((section) => [section.slice(0, section.indexOf("\n")), plain(section)]));
}

/** Without the marks of Markdown: it is shown as plain text. */
function plain(section: string): string {
  return section.replaceAll("**", "").replaceAll("`", "").replace(/\[([^\]]*)\]\(([^)]*)\)/g, "$1 (docs/$2)");
}

function pageFile(): URL {
  return new URL(import.meta.url.includes("/dist/") ? "../../../../docs/errors.md" : "../../../docs/errors.md", import.meta.url);
}
