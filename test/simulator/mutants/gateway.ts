// Mutants of the gateway and of the composition of a node: the backlog, re-attachment and rehop (replication.md R29, R30).

import type { Mutant } from "../bundle.ts";

const LINE = "src/core/gateway/line.ts";
const GATEWAY = "src/core/gateway/gateway.ts";
const NODE = "src/core/node.ts";

export const GATEWAY_MUTANTS: readonly Mutant[] = [
  {
    name: "a REFUSE is taken as an ACK", rule: "R29", file: GATEWAY,
    find: "} else line.giveBack(answer.expected, answer.code);",
    replace: "} else line.drop(line.taken);",
    budget: 400,
  },
  {
    name: "a gap is taken as an ACK of what is before it", rule: "R29", file: GATEWAY,
    find: 'if (answer.code === "gap" || ASK_AGAIN.has(answer.code)) {',
    replace: 'if (answer.code === "gap") line.drop(line.taken);\n    if (answer.code === "gap" || ASK_AGAIN.has(answer.code)) {',
    budget: 400,
  },
  {
    name: "a stale epoch's REFUSE is obeyed", rule: "R29", file: GATEWAY,
    find: "    if (answer.epoch < line.epoch) return; // R29: a refusal of an epoch below the attached one\n",
    replace: "",
    budget: 400,
  },
  {
    name: "any attachment's end closes the socket", rule: "R25", file: GATEWAY,
    find: "if (line !== undefined && line.attachment === attachment) line.end",
    replace: "if (line !== undefined) line.end",
    budget: 400,
  },
  {
    name: "a rehop sends the newest first", rule: "R29", file: LINE,
    find: "for (let frame = this.#oldest; frame !== undefined; frame = frame.next) {\n      this.sent += 1;\n      this.#keeper.forward(this, this.sent, frame);",
    replace:
      "const frames: Frame[] = [];\n    for (let frame = this.#oldest; frame !== undefined; frame = frame.next) frames.unshift(frame);\n" +
      "    this.sent = this.taken;\n    for (const [i, frame] of frames.entries()) {\n      this.#keeper.forward(this, this.taken - i, frame);",
    budget: 400,
  },
  {
    name: "a rehop sends what is not yet sent before what is sent again", rule: "R29", file: LINE,
    find: 'if (this.state === "attached" && this.sent === series - 1) {',
    replace: 'if (this.state !== "closed" && this.handle !== 0) {',
    budget: 400,
  },
  {
    name: "the backlog is let go with the first send", rule: "R29", file: LINE,
    find: "this.#push(frame);\n    // Frames not yet sent",
    replace: 'if (this.state !== "attached") this.#push(frame);\n    // Frames not yet sent',
    budget: 400,
  },
  {
    name: "a re-attachment goes on after what was sent", rule: "R29", file: LINE,
    find: "      this.drop(answer.last);\n",
    replace: "      this.drop(this.sent);\n",
    budget: 400,
  },
  {
    name: "the presence of a socket that closed before WELCOME stays up", rule: "R33", file: GATEWAY,
    find: "    else if (line.unsettled > 0) this.#detachUntold(line);\n",
    replace: "",
    budget: 800,
  },
  {
    name: "a closed socket's presence stays up", rule: "R33", file: GATEWAY,
    find: "    if (line.welcomed) this.#detach(line.bucket, device, nonce, line.session, line.attachment);\n    else if",
    replace: "    if",
    budget: 800,
  },
  {
    name: "an idle line is not asked again", rule: "R29", file: GATEWAY,
    find: "return this.#attach(line); // R29, F4:",
    replace: "return; //",
    budget: 800,
  },
  {
    name: "a lost gateway's presence stays up", rule: "R33", file: NODE,
    find: 'copy.admission.gatewayGone(id, node.state === "departed" ? node.incarnation : node.incarnation - 1);',
    replace: "",
    budget: 800,
  },
  {
    name: "a request is answered twice", rule: "R30", file: GATEWAY,
    find: "    this.#forgetHeld(held);\n    held.done?.(answer);",
    replace: "    held.done?.(answer);",
    budget: 400,
  },
  {
    name: "hops of another epoch are taken", rule: "C8", file: NODE,
    find: ' || copy.replica.epoch !== hop.epoch) {',
    replace: ") {",
    budget: 800,
  },
];
