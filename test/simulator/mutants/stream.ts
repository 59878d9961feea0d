// The streams' rules, each broken once (replication.md §7).

import type { Mutant } from "../bundle.ts";

const STREAM = "src/core/stream";

export const streamMutants: Mutant[] = [
  {
    name: "a duplicate is answered before its original commits",
    rule: "R27",
    file: `${STREAM}/admission.ts`,
    find: `if (place === "had" && series > session.applied) return;`,
    replace: `if (place === "had" && series > session.applied) return this.#answer(seat.gateway, { ...this.#duplicate(session), series });`,
    budget: 200,
  },
  {
    name: "a gap is accepted",
    rule: "R27",
    file: `${STREAM}/series.ts`,
    find: "return series === last + 1; // R27",
    replace: "return series > last;",
    budget: 2000,
  },
  {
    name: "sessions are left out of the snapshot",
    rule: "R17",
    file: `${STREAM}/device.ts`,
    find: "out.integer(device.sessions.length);\n  for (const session of device.sessions) writeSession(out, session);",
    replace: "out.integer(0);",
    budget: 200,
  },
  {
    name: "RESUME is answered from the tail",
    rule: "R26",
    file: `${STREAM}/admission.ts`,
    find: "answer: this.#attached(to, request, session, last, attachment)",
    replace: "answer: this.#attached(to, request, session, this.#seats.session(session.number)?.tail ?? last, attachment)",
    budget: 400,
  },
  {
    name: "a lower nonce is accepted",
    rule: "R25",
    file: `${STREAM}/session.ts`,
    find: "return nonce < than.nonce; // R25",
    replace: "return false;",
    budget: 2000,
  },
  {
    name: "an older session's numbers are accepted",
    rule: "R25",
    file: `${STREAM}/devices.ts`,
    find: "if (former !== undefined) this.#sessions.delete(former.number);",
    replace: "",
    budget: 2000,
  },
  {
    name: "a deposed leader says no",
    rule: "R34",
    file: `${STREAM}/admission.ts`,
    find: "else this.#questions.push({ to, request, round });",
    replace: "else this.#tellNow({ to, request });",
    budget: 400,
  },
  {
    name: "the down of an old attachment counts",
    rule: "R33",
    file: `${STREAM}/machine.ts`,
    find: "session.number !== gone.session || session.attachment !== gone.attachment) continue;",
    replace: "session.attachment === 0) continue;",
    budget: 400,
  },
  {
    name: "a lost gateway's sessions stay up",
    rule: "R33",
    file: `${STREAM}/admission.ts`,
    find: "const sessions = this.#machine.presence.of(node, incarnation, BATCH); // R33",
    replace: "const sessions = this.#machine.presence.of(node, incarnation, 0);",
    budget: 2000,
  },
  {
    name: "a key is dropped early",
    rule: "R31",
    file: `${STREAM}/keys.ts`,
    find: "return time - queued.time > retention;",
    replace: "return true;",
    budget: 200,
  },
  {
    name: "entries are applied with the local clock",
    rule: "R32",
    file: `${STREAM}/machine.ts`,
    find: "this.#time = entry.time; // R32",
    replace: "this.#time = Math.floor(performance.now() * 1000);",
    budget: 50,
  },
  {
    name: "what was had is forgotten at usurp",
    rule: "R27",
    file: `${STREAM}/seats.ts`,
    find: "tail: last, applied: last",
    replace: "tail: 0, applied: 0",
    budget: 200,
  },
];
