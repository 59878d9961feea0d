// Bugs that the simulator found in the core, put back in: each fix stays needed.

import type { Mutant } from "../bundle.ts";

export const REGRESSIONS: readonly Mutant[] = [
  {
    name: "the word of a copy before the newest snapshot counts", rule: "R17", file: "src/core/replica/leader.ts",
    find: "if (message.whole && message.match >= peer.wholeFrom) {", replace: "if (message.whole) {", budget: 1500,
  },
  {
    name: "what was given on an earlier socket is not acknowledged on this one", rule: "R29", file: "src/core/gateway/line.ts",
    find: "Math.max(answer.last, this.hello.session === 0 ? 0 : this.hello.next - 1);", replace: "answer.last;", budget: 1500,
  },
  {
    name: "a resume that does not join on takes over", rule: "R26", file: "src/core/stream/admission.ts",
    find: "return oldest - 1 <= last && last < next;",
    replace: "return true;", budget: 1500,
  },
];
