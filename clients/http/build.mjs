// For any runtime with the web's standards.

import { buildClient } from "../build.mjs";

await buildClient(import.meta.url, { platform: "neutral", target: "es2022" });
