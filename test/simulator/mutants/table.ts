// Mutants of the table's fold: each guard that the rules name, taken out (replication.md §1).

import type { Mutant } from "../bundle.ts";

const file = "src/core/table/table.ts";

function guard(name: string, rule: string, find: string, replace: string, budget = 400): Mutant {
  return { name, rule, file, find, replace, budget };
}

const COORDINATOR = "src/core/table/coordinator.ts";
const SUSPICION = "src/core/table/suspicion.ts";

export const TABLE_MUTANTS: readonly Mutant[] = [
  {
    name: "a member that is slow on and on stays", rule: "R6", file: COORDINATOR, budget: 1, directed: "a slow disk",
    find: "!accused.has(id) && !isSlow) continue;", replace: "!accused.has(id)) continue;",
  },
  {
    name: "a slow member departs below minCopies", rule: "R6", file: COORDINATOR, budget: 1, directed: "a slow disk that is needed",
    find: " && isSpared(table, id, alive);", replace: ";",
  },
  {
    name: "the fewer accuse the others", rule: "R6", file: SUSPICION, budget: 1, directed: "the fewer come back cut off",
    find: "if (2 * (heard.length + own) < holders.length + own) return false;", replace: "",
  },
  {
    name: "who comes later departs whom it never heard", rule: "R6", file: SUSPICION, budget: 1, directed: "one comes back cut off from one other",
    find: "if (!peer.isKnown && peer.isElder) return false;", replace: "",
  },
  guard("a batch is taken twice", "R1", "if (had !== undefined && incarnation === had.incarnation && seq <= had.seq) return false;", ""),
  guard("Register whatever the incarnation seen", "R4", "if (command.seen !== (known?.incarnation ?? 0)) return;", ""),
  guard(
    "a restarted leader keeps its epoch", "R4",
    "const epoch = leads ? bucket.epoch + 1 : bucket.epoch; // R4: a restarted",
    "const epoch = bucket.epoch; // R4: a restarted",
  ),
  guard(
    "clean by its own word", "R21",
    "const clean = command.clean && sameStore && !incomplete.has(bucket.id);",
    "const clean = sameStore && !incomplete.has(bucket.id);",
  ),
  guard(
    "another store is as good", "R21",
    "const clean = command.clean && sameStore && !incomplete.has(bucket.id);",
    "const clean = command.clean && !incomplete.has(bucket.id);",
  ),
  guard(
    "unclean forgotten at the second restart", "R22",
    "const clean = command.clean && sameStore && !incomplete.has(bucket.id);",
    "const clean = command.clean && sameStore;",
  ),
  guard(
    "a heir of an unclean leader keeps its epoch", "R4",
    "const epoch = led ? bucket.epoch + 1 : bucket.epoch; // R4: where it led",
    "const epoch = bucket.epoch; // R4: where it led",
  ),
  guard(
    "Depart without its witness", "R5",
    "member.node !== id && alive.has(member.node) && this.isLive(member.node)",
    "member.node !== id",
    800,
  ),
  guard(
    "Depart with a witness that is departed", "R5",
    "alive.has(member.node) && this.isLive(member.node)",
    "alive.has(member.node)",
    800,
  ),
  guard(
    "Depart without incarnation", "R5",
    "if (node === undefined || node.incarnation !== command.incarnation) return; // R5",
    "if (node === undefined) return; // R5",
    800,
  ),
  guard(
    "Depart by a departed node", "R5",
    'if (by === undefined || by.state === "departed") return; // R5',
    "if (by === undefined) return; // R5",
    800,
  ),
  guard(
    "Depart by an earlier incarnation", "R5",
    "if (by.incarnation !== command.byIncarnation) return; // R5: at its incarnation",
    "",
    800,
  ),
  guard("a departed leader's epoch goes on", "R5", "epoch += 1; // R5: where the node led", "// R5: where the node led"),
  guard(
    "the last good member departed", "R5",
    "if (members.length - 1 >= this.#leastMembers()) members =",
    "if (members.length > 1) members =",
  ),
  guard("Promote ignores the epoch", "R7", "if (bucket.epoch !== command.epoch) return; // R7: same epoch", "", 800),
  guard("Promote ignores the attempt", "R7", "if (learner.attempt !== command.attempt) return; // R7: same attempt", "", 800),
  guard(
    "a departed learner stays", "R5",
    "const learners = bucket.learners.filter((learner) => learner.node !== id);\n    let",
    "const learners = bucket.learners;\n    let",
    800,
  ),
  guard(
    "Handover keeps the epoch", "R8",
    "this.#put(bucket, { epoch: bucket.epoch + 1, leader: command.to });",
    "this.#put(bucket, { leader: command.to });",
  ),
  guard(
    "Handover to a departed member", "R8",
    "if (!isMember(bucket, command.to) || !this.isLive(command.to)) return;",
    "if (!isMember(bucket, command.to)) return;",
    1500,
  ),
  guard(
    "Retire before the barrier", "R8",
    "if (bucket.epoch !== command.epoch) return; // R8: same epoch, so its leader has passed the barrier",
    "",
    1500,
  ),
  guard("Retire below minCopies", "R8", "if (members.length < this.#leastMembers()) return; // R8: never below minCopies", "", 1500),
];
