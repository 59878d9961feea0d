// The command line's entry.

import { run } from "./cli/program.ts";

await run(process.argv);
