// One bucket on one node: the replica, the streams as its state machine, and the admission of work while it leads.

import type { GatewayId, HopAnswer } from "./hop.ts";
import { Replica } from "./replica/replica.ts";
import type { CopyAtStart, ReplicaEffects, ReplicaLimits } from "./replica/types.ts";
import { Admission } from "./stream/admission.ts";
import type { AdmissionLimits } from "./stream/limits.ts";
import { StreamMachine, type StreamLimits } from "./stream/machine.ts";
import type { StateReads } from "./stream/overlay.ts";

export interface BucketLimits {
  readonly replica: ReplicaLimits;
  readonly stream: StreamLimits;
  readonly admission: AdmissionLimits;
}

export class BucketCopy {
  readonly bucket: number;
  readonly machine: StreamMachine;
  readonly admission: Admission;
  readonly replica: Replica;
  /** The last ticket it wrote under. */
  lastTicket = 0;

  constructor(options: {
    readonly bucket: number;
    readonly node: string;
    readonly incarnation: number;
    readonly copy: CopyAtStart;
    readonly state: StateReads;
    readonly effects: ReplicaEffects;
    readonly limits: BucketLimits;
    readonly answer: (to: GatewayId, answer: HopAnswer) => void;
  }) {
    const { bucket, node, incarnation, copy, state, effects, limits, answer } = options;
    this.bucket = bucket;
    this.machine = new StreamMachine(state, limits.stream);
    this.admission = new Admission(this.machine, limits.admission, answer);
    this.replica = new Replica({ bucket, node, incarnation, copy, machine: this.machine, lead: this.admission, effects, limits: limits.replica });
    this.admission.serve(this.replica);
  }
}
