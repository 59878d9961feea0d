// Mutants of the replica: each takes away one rule of replication.md §2.

import type { Mutant } from "../bundle.ts";

const FOLLOWER = "src/core/replica/follower.ts";
const LEADER = "src/core/replica/leader.ts";
const LEARNER = "src/core/replica/learner.ts";
const LOG = "src/core/replica/log.ts";
const COPY = "src/core/replica/copy.ts";

export const replicaMutants: readonly Mutant[] = [
  { name: "skip the epoch fence", rule: "R13", file: FOLLOWER, find: "const isStale = message.epoch < copy.promised;", replace: "const isStale = false;", budget: 500 },
  {
    name: "accept a higher epoch without promising it",
    rule: "R13",
    file: FOLLOWER,
    find: "if (message.epoch > copy.promised) copy.promise(message.epoch);",
    replace: "",
    budget: 500,
  },
  { name: "accept an Append that does not join on", rule: "R13", file: FOLLOWER, find: "return log.epochAt(prev) === prevEpoch;", replace: "return prev <= log.last;", budget: 500 },
  {
    name: "ack the log's end instead of the match",
    rule: "R13",
    file: FOLLOWER,
    find: "return Math.min(this.#matched, this.#copy.log.durableTo);",
    replace: "return this.#copy.log.durableTo;",
    budget: 500,
  },
  { name: "ack before fsync", rule: "R13", file: FOLLOWER, find: "return Math.min(this.#matched, this.#copy.log.durableTo);", replace: "return this.#matched;", budget: 500 },
  { name: "what matched in another epoch still counts", rule: "R13", file: FOLLOWER, find: "this.#matched = 0;\n    this.#round = 0;", replace: "", budget: 1000 },
  { name: "leader's own fsync not counted", rule: "R14", file: LEADER, find: "let least = this.copy.log.durableTo;", replace: "let least = this.copy.log.last;", budget: 500 },
  { name: "commit without joining", rule: "R14", file: LEADER, find: "const counts = peer.isMember || peer.joining;", replace: "const counts = peer.isMember;", budget: 1000 },
  {
    name: "joining counted in minCopies",
    rule: "R14",
    file: LEADER,
    find: "if (this.#record.members.length < this.#view.minCopies) return 0;",
    replace: "if (this.#record.members.length + this.peers.filter((peer) => peer.joining).length < this.#view.minCopies) return 0;",
    budget: 1000,
  },
  { name: "ignore the incarnation on acks", rule: "R14", file: LEADER, find: "if (message.fromIncarnation !== peer.incarnation) return;", replace: "", budget: 2000 },
  { name: "ignore the attempt on acks", rule: "R14", file: LEADER, find: "if (message.attempt !== peer.attempt) return;", replace: "", budget: 2000 },
  { name: "a later group acked before an earlier", rule: "R14", file: LOG, find: "this.durableTo = write.index;", replace: "this.durableTo = this.last;", budget: 500 },
  { name: "a late fsync covers what took its place", rule: "R14", file: LOG, find: "write.index = Math.min(write.index, this.last);", replace: "", budget: 1000 },
  { name: "answer before Gov commits", rule: "R16", file: LEADER, find: "if (this.copy.applied < this.govIndex) return;", replace: "", budget: 500 },
  { name: "deliver above commit", rule: "R34", file: COPY, find: "    const to = Math.min(this.commit, this.log.durableTo);\n    while", replace: "    const to = this.log.durableTo;\n    while", budget: 500 },
  { name: "promote behind commit", rule: "R17", file: LEADER, find: "if (peer.match < commit) return false;", replace: "", budget: 1000 },
  { name: "promote by commit without govIndex", rule: "R17", file: LEADER, find: "if (peer.match < this.govIndex) return false;", replace: "", budget: 2000 },
  { name: "promote without whole history", rule: "R17", file: LEADER, find: "if (!peer.whole) return false;", replace: "", budget: 1000 },
  { name: "history left out of acclimation", rule: "R17", file: LEARNER, find: "this.#historyTo = floor - 1;", replace: "this.#historyTo = index;", budget: 1000 },
  {
    name: "mark taken away before the state is stored",
    rule: "R22",
    file: LEARNER,
    find: "if (!this.#stored || this.#historyTo < this.index",
    replace: "if (this.#historyTo < this.index",
    budget: 2000,
  },
  { name: "a snapshot leaves its copy whole", rule: "R22", file: COPY, find: "this.incomplete = true;\n    this.log.reset", replace: "this.log.reset", budget: 1000 },
  {
    name: "\"no\" from a deposed leader",
    rule: "R34",
    file: LEADER,
    find: "for (const peer of this.peers) if (peer.isMember) least = Math.min(least, peer.round);",
    replace: "",
    budget: 1000,
  },
  { name: "time falls with the leader's clock", rule: "R32", file: LEADER, find: "const time = Math.max(wall, log.lastTime);", replace: "const time = wall;", budget: 500 },
];
