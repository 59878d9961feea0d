// For Node.

import { buildClient } from "../build.mjs";

await buildClient(import.meta.url, { platform: "node", target: "node20" });
