// Every mutant.

import type { Mutant } from "../bundle.ts";
import { DISK_MUTANTS } from "./disk.ts";
import { GATEWAY_MUTANTS } from "./gateway.ts";
import { REGRESSIONS } from "./regressions.ts";
import { replicaMutants } from "./replica.ts";
import { streamMutants } from "./stream.ts";
import { TABLE_MUTANTS } from "./table.ts";

export const MUTANTS: readonly Mutant[] = [...TABLE_MUTANTS, ...replicaMutants, ...streamMutants, ...GATEWAY_MUTANTS, ...DISK_MUTANTS, ...REGRESSIONS];
