// The leader's side of hops: what may enter the log, and who is answered what once it is applied (R25–R27, R29–R34).
// Its state is the applied state plus the log's tail: it begins empty when the replica opens and is dropped when it closes.

import type { ErrorCode } from "../../base/errors.ts";
import { Ring } from "../../base/ring.ts";
import { DEVICE_PUBLISHER, PUBLISH_KIND, type GatewayId, type HopAnswer, type HopRequest, type PublishKind } from "../hop.ts";
import type { Lead } from "../replica/types.ts";
import { ackOf, answerOf, duplicateOf, ended, failed, inDoubt, isDevice, isName, isSound, notHeld, plainCommand, publisherKey, refusalOf, revoked, toldKey, toldNumber, toldSeries, voidsOf } from "./answers.ts";
import { COMMAND, encodeCommand, encodePublish, voidCode, type Command, type Detached, type DetachReason } from "./commands.ts";
import { credentialOf, VOUCHED } from "./credentials.ts";
import { parseDocument } from "./document.ts";
import { newestOf, waitForOriginal, wasUntold, type Answered, type Asker, type Attachment, NumbersInTail, type KeyInTail, type LeaderLog, type Leaving, type Newest, type OpenInTail, type Question, type Request } from "./in-tail.ts";
import type { AdmissionLimits } from "./limits.ts";
import type { StreamMachine } from "./machine.ts";
import { older, type Applied, type Result } from "./results.ts";
import { Seats, sameGateway, takeCursor, type Admitted, type Seat } from "./seats.ts";
import { placeOf } from "./series.ts";
import { ServerSeries } from "./server-series.ts";
import { isOlder, sessionNumber, type Session } from "./session.ts";
import { Slab } from "./slab.ts";

/** Sessions told down by one entry, and cursors moved by one. */
const BATCH = 128;

export class Admission implements Lead, Applied {
  /** The driver's clock, told before a turn's first event: milliseconds since 1970. */
  wall = 0;
  /** The bucket's generation in the table (R9). */
  generation = 0;
  /** The disk has no room: nothing new is admitted; duplicates and questions are answered. */
  storageFull = false;
  readonly #machine: StreamMachine;
  readonly #limits: AdmissionLimits;
  readonly #answer: (to: GatewayId, answer: HopAnswer) => void;
  #log: LeaderLog | undefined;
  /** 0 while closed. */
  #epoch = 0;
  readonly #slab = new Slab();
  readonly #seats = new Seats();
  readonly #servers: ServerSeries;
  readonly #held = new Ring<{ readonly to: GatewayId; readonly request: HopRequest }>();
  /** Requests whose entry is in the tail, by its index. */
  readonly #inTail = new Map<number, Asker | KeyInTail>();
  readonly #numbersInTail = new NumbersInTail();
  readonly #keysInTail = new Map<string, KeyInTail>();
  readonly #opensInTail = new Map<string, OpenInTail>();
  /** Questions that wait for a round. */
  readonly #questions = new Ring<Asker<Question> & { readonly round: number }>();
  #confirmedTo = 0;
  /** Answers and sessions that go out when this batch of entries has been applied. */
  #ready: { readonly to: GatewayId; readonly answer: HopAnswer }[] = [];
  #moved: Admitted[] = [];
  /** Gateways known to be gone: node → greatest incarnation. */
  readonly #gone = new Map<string, number>();
  #detachDue: Leaving[] = [];
  /** Who is told when the detach in the tail has been applied. */
  #detachAskers: Asker[] = [];
  #detachIndex = 0;
  #cursorsDue: Seat[] = [];
  #cursorIndex = 0;

  constructor(machine: StreamMachine, limits: AdmissionLimits, answer: (to: GatewayId, answer: HopAnswer) => void) {
    this.#machine = machine;
    this.#limits = limits;
    this.#answer = answer;
    this.#servers = new ServerSeries(machine, this.#seats, {
      full: () => this.#full,
      admit: (session, series, kind, code, body) => this.#enterPublish(session, series, kind, code, body, 0, body.length),
      answer: (to, given) => this.#ready.push({ to, answer: given }),
      fail: (to, request, code) => this.#ready.push({ to, answer: failed(request, code) }),
    });
  }

  serve(log: LeaderLog): void {
    this.#log = log;
  }

  /** What waits here (E4). */
  get waiting(): { readonly held: number; readonly inTail: number; readonly questions: number; readonly seats: number } {
    return { held: this.#held.size, inTail: this.#inTail.size + this.#servers.waiting, questions: this.#questions.size, seats: this.#seats.size };
  }

  // --- the replica (Lead) ---

  opened(epoch: number): void {
    this.#epoch = epoch;
    this.#machine.applied = this;
    for (let held = this.#held.shift(); held !== undefined; held = this.#held.shift()) this.request(held.to, held.request);
    for (const detached of this.#machine.presence.before(sessionNumber(this.generation, 0))) this.#detachDue.push({ detached, asker: undefined }); // R9
    this.#detachNext();
  }

  closed(): void {
    this.#epoch = 0;
    this.#machine.applied = undefined;
    this.#answerReady();
    for (let held = this.#held.shift(); held !== undefined; held = this.#held.shift()) this.#fail(held.to, held.request, "stale_table");
    for (const { to, request } of this.#inTail.values()) this.#fail(to, request, inDoubt(request));
    for (const { asker } of this.#detachDue) if (asker !== undefined) this.#fail(asker.to, asker.request, "stale_table");
    for (const { to, request } of this.#detachAskers) this.#fail(to, request, "stale_table");
    for (const { also } of this.#keysInTail.values()) for (const { to, request } of also) this.#fail(to, request, "stale_table");
    for (let asked = this.#questions.shift(); asked !== undefined; asked = this.#questions.shift()) this.#fail(asked.to, asked.request, "stale_table");
    this.#servers.closed();
    this.#answerReady();
    this.#inTail.clear();
    this.#keysInTail.clear();
    this.#numbersInTail.clear();
    this.#opensInTail.clear();
    this.#seats.clear();
    this.#moved = [];
    this.#confirmedTo = 0; // rounds are the epoch's own
    this.#detachDue = [];
    this.#detachAskers = [];
    this.#detachIndex = 0;
    this.#cursorsDue = [];
    this.#cursorIndex = 0;
  }

  appliedTo(index: number): void {
    if (this.#epoch === 0) return;
    this.#answerReady();
    const moved = this.#moved;
    this.#moved = [];
    for (const session of moved) this.#acknowledge(session);
    if (this.#detachIndex === 0 ? this.#detachDue.length > 0 : index >= this.#detachIndex) this.#detachNext();
    if (this.#cursorIndex !== 0 && index >= this.#cursorIndex) this.#cursorsNext();
  }

  confirmed(round: number): void {
    this.#confirmedTo = round;
    for (let asked = this.#questions.first(); asked !== undefined && asked.round <= round; asked = this.#questions.first()) {
      this.#questions.shift();
      this.#tellNow(asked);
    }
  }

  // --- the hot path ---

  /** A frame of an attached session. A handle that is not known is dropped: its gateway was told, or attaches anew (R29). */
  publish(handle: number, series: number, kind: PublishKind, bytes: Uint8Array, start: number, end: number, code?: ErrorCode): void {
    const seat = this.#seats.get(handle);
    if (seat === undefined) return;
    const { session } = seat;
    const place = placeOf(series, session.tail, session.window);
    if (place !== "next") this.#notNext(seat, series, place);
    else if (this.storageFull) this.#answer(seat.gateway, refusalOf(this.#epoch, session, "storage_full"));
    else this.#enterPublish(session, series, kind, code, bytes, start, end);
  }

  #enterPublish(session: Admitted, series: number, kind: PublishKind, code: ErrorCode | undefined, bytes: Uint8Array, start: number, end: number): void {
    if (kind === PUBLISH_KIND.void) this.#admit(session, series, kind, voidCode(code), bytes, end, end);
    else if (end - start > this.#limits.bodyBytes) this.#admit(session, series, PUBLISH_KIND.void, voidCode("too_large"), bytes, end, end);
    else this.#admit(session, series, kind, 0, bytes, start, end);
  }

  #admit(session: Admitted, series: number, kind: PublishKind, code: number, bytes: Uint8Array, start: number, end: number): void {
    this.#seats.admit(session, series);
    this.#log!.propose(encodePublish(this.#slab, kind, code, session.number, series, session.names, bytes, start, end), this.wall);
  }

  #notNext(seat: Seat, series: number, place: "had" | "gap"): void {
    const { session } = seat;
    if (place === "had" && series > session.applied) return; // R27: a duplicate waits until the original has committed; the cumulative ACK covers it
    if (place === "had") this.#answer(seat.gateway, duplicateOf(this.#machine, session));
    else this.#answer(seat.gateway, refusalOf(this.#epoch, session, "gap")); // R27
  }

  // --- requests ---

  request(from: GatewayId, request: HopRequest): void {
    if (this.#isGone(from)) return; // nobody hears the answer (B9)
    if (this.#epoch === 0) return this.#hold(from, request);
    if (!isSound(request)) return this.#fail(from, request, "bad_request");
    switch (request.type) {
      case "open":
        return this.#open(from, request);
      case "resume":
        return this.#resume(from, request);
      case "reattach":
        return this.#reattach(from, request);
      case "detach":
        return this.#detach(from, request);
      case "keyed":
        return this.#keyed(from, request);
      case "unkeyed":
        return this.#unkeyed(from, request);
      case "numbered":
        return this.#numbered(from, request);
      case "state":
        return this.#state(from, request);
      case "received":
        return this.#received(request);
      case "askSeries":
      case "askKey":
        return this.#ask(from, request);
      case "create":
      case "remove":
      case "putCredential":
      case "removeCredential": {
        const command = plainCommand(request);
        if (command === undefined) this.#fail(from, request, "bad_request");
        else this.#propose(from, request, command);
      }
    }
  }

  #hold(from: GatewayId, request: HopRequest): void {
    if (request.type === "received") return; // its handle is of an epoch that is over
    if (this.#held.size < this.#limits.held) this.#held.push({ to: from, request });
    else this.#fail(from, request, "bucket_paused");
  }

  #open(from: GatewayId, request: Request<"open">): void {
    const { device, publisher, nonce, window, leaves, attach } = request;
    if (!isDevice(device) || (publisher !== DEVICE_PUBLISHER && (attach || !isName(publisher)))) return this.#fail(from, request, "bad_request");
    const credential = this.#credentialOf(request);
    if (credential === undefined) return this.#ask(from, request);
    const full = attach && this.#seats.size >= this.#limits.seats ? "too_many_requests" : this.#full;
    if (full !== undefined) return this.#fail(from, request, full);
    const applied = this.#session(device, publisher);
    if (applied !== undefined && isOlder(nonce, applied)) return this.#answer(from, { ...older(applied, applied.number), request: request.request }); // R25
    const newest = this.#newest(device, publisher);
    const gateway = attach ? from : undefined;
    // One that is behind the newest in the tail will be refused when it is applied: it takes nothing over.
    if (attach && (newest === undefined || nonce >= newest.nonce)) this.#displace(device);
    if (newest?.nonce === nonce) return this.#join(from, request, newest.session, { oldest: 1, next: Number.MAX_SAFE_INTEGER }, attach); // R25: the same number
    const index = this.#propose(from, request, {
      command: COMMAND.open, device, publisher, nonce, window: Math.max(1, Math.min(window, this.#limits.window)), leaves,
      generation: this.generation, most: this.#limits.sessionsPerDevice, gateway, credential,
    });
    if (index !== 0 && (newest === undefined || nonce > newest.nonce)) {
      this.#opensInTail.set(publisherKey(request), { nonce, session: sessionNumber(this.generation, index), attachment: attach ? index : 0, gateway, index });
    }
  }

  #resume(from: GatewayId, request: Request<"resume">): void {
    const { device, publisher, session, attach } = request;
    if (attach && publisher !== DEVICE_PUBLISHER) return this.#fail(from, request, "bad_request");
    if (this.#credentialOf(request) === undefined) return this.#ask(from, request);
    const full = this.#seats.size >= this.#limits.seats ? "too_many_requests" : this.#full;
    if (full !== undefined) return this.#fail(from, request, full);
    const applied = this.#session(device, publisher);
    if (applied !== undefined && isOlder(request.nonce, applied)) return this.#answer(from, { ...older(applied, session), request: request.request }); // R25
    const takesOver = attach && this.#joins(request, applied);
    if (takesOver) this.#displace(device);
    this.#join(from, request, session, request, takesOver);
  }

  /** Whether this resume will join on when its entry is applied, after the tail (R26): a delayed one takes nothing over. */
  #joins({ device, publisher, session, nonce, oldest, next }: Request<"resume">, applied: Session | undefined): boolean {
    const newest = this.#newest(device, publisher);
    if (newest?.session !== session || nonce < newest.nonce) return false;
    if (applied?.number === session && applied.generation !== this.generation) return false; // R9: it will be told BROKEN
    const last = this.#seats.session(session)?.tail ?? (applied?.number === session ? applied.last : 0);
    return oldest - 1 <= last && last < next;
  }

  /** An attach entry: its answer is `last` as applied when it is applied (R26). Only one that takes over, after what it displaced, is the newest in the tail. */
  #join(
    from: GatewayId, request: Request<"open" | "resume">, session: number, { oldest, next }: { readonly oldest: number; readonly next: number }, takesOver: boolean,
  ): void {
    const { device, publisher, nonce, attach } = request;
    const gateway = attach ? from : undefined;
    const credential = this.#credentialOf(request)!;
    const index = this.#propose(from, request, {
      command: COMMAND.attach, device, publisher, session, nonce, oldest, next, generation: this.generation, gateway, credential,
    });
    if (index !== 0 && takesOver) this.#opensInTail.set(publisherKey(request), { nonce, session, attachment: index, gateway, index });
  }

  /** Before the device's presence goes up anew, the stream is told that the one it had was taken over (R33, D4). */
  #displace(device: string): void {
    const own = this.#newest(device, DEVICE_PUBLISHER);
    if (own === undefined || own.attachment === 0) return;
    this.#enter({ command: COMMAND.detach, reason: "taken_over", sessions: [{ device, session: own.session, attachment: own.attachment }] });
  }

  #newest(device: string, publisher: string): Newest | undefined {
    return this.#opensInTail.get(publisherKey({ device, publisher })) ?? newestOf(this.#session(device, publisher));
  }

  /** Volatile: no entry. Only "no" has to be sure (R34). */
  #reattach(from: GatewayId, request: Request<"reattach">): void {
    const session = this.#session(request.device, request.publisher);
    if (session !== undefined && this.#holds(session, request) && this.#credentialOf(request) !== undefined) this.#tellReattached(from, request, session);
    else this.#ask(from, request);
  }

  #holds(session: Session, { session: number, attachment }: Request<"reattach">): boolean {
    return session.number === number && session.generation === this.generation && (attachment === 0 || session.attachment === attachment);
  }

  #detach(from: GatewayId, request: Request<"detach">): void {
    const newest = this.#newest(request.device, DEVICE_PUBLISHER);
    const { session, attachment } = request.attachment !== 0 || newest === undefined || !wasUntold(newest, from, request.nonce) ? request : newest;
    for (const seat of this.#seats.session(session)?.seats ?? []) {
      if (sameGateway(seat.gateway, from) && seat.attachment === attachment) this.#seats.drop(seat);
    }
    // A gateway that no longer knows whose attachment it was leaves the device open.
    const device = request.device === "" ? this.#machine.presence.deviceOf(from.node, session) : request.device;
    if (attachment === 0 || device === undefined) return this.#answer(from, { type: "done", request: request.request });
    if (this.#detachDue.length >= this.#limits.waiting) return this.#fail(from, request, "overloaded");
    this.#detachDue.push({ detached: { device, session, attachment }, asker: { to: from, request } });
    if (this.#detachIndex === 0) this.#detachNext();
  }

  #keyed(from: GatewayId, request: Request<"keyed">): void {
    const { device, key, fingerprint, body, expires } = request;
    if (!isDevice(device) || !isName(key)) return this.#fail(from, request, "bad_request");
    if (body.length > this.#limits.bodyBytes) return this.#fail(from, request, "too_large");
    const known = this.#machine.devices.find(device);
    const name = this.#machine.keys.nameOf(known, device, key);
    const inTail = this.#keysInTail.get(name);
    if (inTail !== undefined) return this.#waitForKey(inTail, from, request);
    const stored = known === undefined ? undefined : this.#machine.keys.find(known, name);
    if (stored !== undefined && stored.fingerprint !== fingerprint) return this.#fail(from, request, "key_reused");
    if (stored !== undefined) return this.#answer(from, { type: "stored", request: request.request, offset: stored.offset, duplicate: true });
    const { keyRetentionMs: retention, keySpaceBytes: space } = this.#limits;
    if (!this.#machine.keys.hasRoom(device, key, this.wall, retention, space)) return this.#fail(from, request, "no_key_space");
    const original: KeyInTail = { to: from, request, name, also: [] };
    const index = this.#proposeFor(original, { command: COMMAND.keyed, device, key, fingerprint, expires, retention, space, body });
    if (index !== 0) this.#keysInTail.set(name, original);
  }

  #waitForKey(original: KeyInTail, to: GatewayId, request: Request<"keyed">): void {
    if (original.request.fingerprint !== request.fingerprint) this.#fail(to, request, "key_reused"); // R31: another body, 422
    else if (!waitForOriginal(original, { to, request })) this.#fail(to, request, "overloaded");
  }

  #unkeyed(from: GatewayId, request: Request<"unkeyed">): void {
    const { device, number, least, body, expires } = request;
    if (!isDevice(device) || number < 1 || least > number) return this.#fail(from, request, "bad_request");
    if (body.length > this.#limits.bodyBytes) return this.#fail(from, request, "too_large");
    const indexes = this.#numbersInTail.of(from);
    const inTail = indexes.get(number);
    if (inTail !== undefined) return void this.#inTail.set(inTail, { to: from, request }); // R30: asked again, and answered under the newer question
    const told = toldNumber(this.#machine, from, request);
    if (told !== undefined) return this.#answer(from, told);
    const index = this.#propose(from, request, { command: COMMAND.unkeyed, device, gateway: from, number, least, expires, body });
    if (index !== 0) indexes.set(number, index);
  }

  #numbered(from: GatewayId, request: Request<"numbered">): void {
    if (request.series < 1) return this.#fail(from, request, "bad_request");
    const session = this.#servers.session(request, this.generation);
    if (session === undefined) return this.#ask(from, request); // R34: only a round makes sure that there is none
    this.#servers.publish(from, request, session);
    this.#answerReady();
  }

  #state(from: GatewayId, request: Request<"state">): void {
    const { device, which, how, document, ifVersion, trace = "" } = request;
    if (!isDevice(device)) return this.#fail(from, request, "bad_request");
    if (parseDocument(document) === undefined) return this.#fail(from, request, "bad_document");
    this.#propose(from, request, { command: COMMAND.state, device, which, how, document, ifVersion, trace });
  }

  /** Id of the credential by which a socket comes; undefined: the device holds none such (F2). */
  #credentialOf({ device, credential }: Attachment): number | undefined {
    return credential === undefined ? VOUCHED : credentialOf(credential, this.#machine.devices.find(device)?.credentials ?? []);
  }

  /** Why no further request may enter the log now. */
  get #full(): ErrorCode | undefined {
    if (this.storageFull) return "storage_full";
    return this.#inTail.size + this.#servers.waiting >= this.#limits.waiting ? "overloaded" : undefined;
  }

  /** The entry's index; 0 when the request was refused and told so. */
  #propose(to: GatewayId, request: Answered, command: Command): number {
    return this.#proposeFor({ to, request }, command);
  }

  #proposeFor(asker: Asker, command: Command): number {
    const full = this.#full;
    if (full !== undefined) {
      this.#fail(asker.to, asker.request, full);
      return 0;
    }
    const index = this.#enter(command);
    this.#inTail.set(index, asker);
    return index;
  }

  #enter(command: Command): number {
    return this.#log!.propose(encodeCommand(command, this.#slab), this.wall);
  }

  // --- questions that a round answers (R34) ---

  #ask(to: GatewayId, request: Question): void {
    if (this.#questions.size >= this.#limits.waiting) return this.#fail(to, request, "overloaded");
    const round = this.#log!.confirm();
    if (round <= this.#confirmedTo) this.#tellNow({ to, request });
    else this.#questions.push({ to, request, round }); // R34: answered only after a round begun after the question
  }

  #tellNow({ to, request }: Asker<Question>): void {
    if (request.type === "askKey") this.#answer(to, toldKey(this.#machine, request));
    else if (request.type === "askSeries") this.#answer(to, toldSeries(this.#machine, request));
    else if (request.type === "numbered") this.#tellNumbered(to, request);
    else if (this.#credentialOf(request) === undefined) this.#fail(to, request, "unauthenticated"); // a deposed leader may lack a new one
    else if (request.type === "reattach") this.#tellReattach(to, request);
    else this.request(to, request); // the credential came meanwhile
  }

  #tellNumbered(to: GatewayId, request: Request<"numbered">): void {
    if (this.#servers.session(request, this.generation) !== undefined) this.#numbered(to, request); // it was opened since the question
    else this.#fail(to, request, this.#servers.missing(request));
  }

  #tellReattach(to: GatewayId, request: Request<"reattach">): void {
    const session = this.#session(request.device, request.publisher);
    if (session !== undefined && this.#holds(session, request)) this.#tellReattached(to, request, session);
    else this.#answer(to, notHeld(request, session, this.generation));
  }

  #tellReattached(to: GatewayId, request: Request<"reattach">, session: Session): void {
    const answer = this.#attached(to, request, session, session.last, request.attachment);
    this.#tellVoids(to, session); // before `last` acknowledges them (R27)
    this.#ready.push({ to, answer });
    this.#answerReady();
  }

  // --- what was applied (Applied) ---

  publishing(number: number): Session | undefined {
    return this.#seats.publishing(number, this.#machine.devices);
  }

  published(session: Session, series: number, code: number): void {
    const admitted = this.#seats.applying!;
    admitted.applied = series;
    this.#servers.applied(session.number, series, code, session.device.end);
    if (code !== 0) admitted.voids.push(series, code);
    if (admitted.moved) return;
    admitted.moved = true;
    this.#moved.push(admitted);
  }

  lost(session: number): void {
    const admitted = this.#seats.session(session);
    if (admitted === undefined) return;
    admitted.tail = admitted.applied;
    this.#servers.askAgain(session);
    for (const seat of admitted.seats) this.#ready.push({ to: seat.gateway, answer: refusalOf(this.#epoch, admitted, "gap") });
    this.#seats.forget(admitted);
  }

  ended(session: number, why?: "removed"): void {
    const admitted = this.#seats.session(session);
    if (admitted === undefined) return;
    for (const seat of admitted.seats) {
      if (admitted.moved) this.#ready.push({ to: seat.gateway, answer: ackOf(admitted) });
      this.#ready.push({ to: seat.gateway, answer: ended(seat, why) }); // R25: an older session is told
    }
    this.#servers.askAgain(session);
    this.#seats.end(admitted);
    admitted.seats = [];
  }

  revoked(session: number, credential: number): void {
    const admitted = this.#seats.session(session);
    for (const seat of [...(admitted?.seats ?? [])]) {
      if (seat.credential !== credential) continue;
      if (seat.session.moved) this.#ready.push({ to: seat.gateway, answer: ackOf(seat.session) });
      this.#ready.push({ to: seat.gateway, answer: revoked(seat) }); // F4
      this.#seats.drop(seat);
    }
  }

  result(index: number, result: Result): void {
    const asker = this.#inTail.get(index);
    if (asker === undefined) return;
    this.#inTail.delete(index);
    const { to, request } = asker;
    if ((request.type === "open" || request.type === "resume") && this.#opensInTail.get(publisherKey(request))?.index === index) {
      this.#opensInTail.delete(publisherKey(request));
    }
    if (result.type === "attached") this.#joined(to, request as Attachment, result);
    else {
      this.#ready.push({ to, answer: answerOf(request.request, result) });
      if ("also" in asker) this.#keyedResult(asker, result);
      else if (request.type === "unkeyed") this.#numbersInTail.of(to).delete(request.number);
    }
  }

  #joined(to: GatewayId, request: Attachment, { session, last, attachment }: Extract<Result, { type: "attached" }>): void {
    if (this.#isGone(to)) {
      this.#detachDue.push({ detached: { device: session.device.id, session: session.number, attachment }, asker: undefined }); // R33: it was in the tail when its gateway went
      return;
    }
    this.#ready.push({ to, answer: this.#attached(to, request, session, last, attachment) });
  }

  /** Those who sent the same key meanwhile are answered with the original's offset. */
  #keyedResult({ name, also }: KeyInTail, result: Exclude<Result, { type: "attached" }>): void {
    this.#keysInTail.delete(name);
    const other = result.type === "stored" ? { ...result, duplicate: true } : result;
    for (const { to, request } of also) this.#ready.push({ to, answer: answerOf(request.request, other) });
  }

  // --- answers ---

  #answerReady(): void {
    const ready = this.#ready;
    this.#ready = [];
    for (const { to, answer } of ready) this.#answer(to, answer);
  }

  #attached(to: GatewayId, asked: Attachment, session: Session, last: number, attachment: number): HopAnswer {
    const { request } = asked;
    const by = { gateway: to, attachment, credential: this.#credentialOf(asked)! };
    const leaves = (gone: Seat): void => void this.#ready.push({ to: gone.gateway, answer: ended(gone) });
    const handle = attachment === 0 ? 0 : this.#seats.take(session, by, leaves).handle; // a server needs no seat: its publishes name their session
    const { delivered, handled, end } = session.device;
    const { number, leftAt, window, generation } = session;
    const voids = asked.type === "resume" ? voidsOf(session.voids).filter(({ series }) => series >= asked.oldest && series <= last) : [];
    const told = voids.length === 0 ? {} : { voids }; // an ACK before may have been lost with its socket (R27)
    return { type: "attached", request, epoch: this.#epoch, session: number, last, leftAt, window, attachment, handle, generation, delivered, handled, end, ...told };
  }

  /** Numbers that applying made void, where their publisher may not have heard of it. */
  #tellVoids(to: GatewayId, session: Session): void {
    const admitted = this.#seats.session(session.number);
    if (admitted !== undefined && session.voids.length > 0) this.#ready.push({ to, answer: duplicateOf(this.#machine, admitted) });
  }

  #acknowledge(session: Admitted): void {
    session.moved = false;
    if (session.seats.length > 0) {
      const answer = ackOf(session);
      for (const seat of session.seats) this.#answer(seat.gateway, answer);
    }
    session.voids = session.voids.length === 0 ? session.voids : [];
    this.#seats.forget(session);
  }

  #fail(to: GatewayId, request: HopRequest, code: ErrorCode): void {
    if ("request" in request) this.#answer(to, failed(request, code));
  }

  #session(device: string, publisher: string): Session | undefined {
    return this.#machine.devices.find(device)?.session(publisher);
  }

  // --- presence of lost gateways, and receive cursors: one entry of each in the tail at a time ---

  /** The table shows this node's gateways of this incarnation and earlier ones gone (R33). Called for every node at every change of it. */
  gatewayGone(node: string, incarnation: number): void {
    if (incarnation <= (this.#gone.get(node) ?? -1)) return;
    this.#gone.set(node, incarnation);
    for (const seat of [...this.#seats.of(node, incarnation)]) this.#seats.drop(seat);
    if (this.#epoch !== 0 && this.#detachIndex === 0) this.#detachNext();
  }

  #isGone({ node, incarnation }: GatewayId): boolean {
    return incarnation <= (this.#gone.get(node) ?? -1);
  }

  /** The next batch of sessions that go down: closed sockets first, then those of lost gateways, until none is left. */
  #detachNext(): void {
    this.#detachIndex = 0;
    for (const { to, request } of this.#detachAskers) this.#answer(to, { type: "done", request: request.request });
    this.#detachAskers = [];
    if (this.#detachDue.length > 0) {
      const leaving = this.#detachDue.splice(0, BATCH);
      this.#detachAskers = leaving.flatMap(({ asker }) => asker ?? []);
      this.#enterDetach("closed", leaving.map(({ detached }) => detached));
      return;
    }
    for (const [node, incarnation] of this.#gone) {
      const sessions = this.#machine.presence.of(node, incarnation, BATCH); // R33
      if (sessions.length > 0) return this.#enterDetach("gateway_lost", sessions);
      if (!this.#machine.resends.knows(node, incarnation) && !this.#numbersInTail.knows(node, incarnation)) continue;
      this.#detachIndex = this.#enter({ command: COMMAND.forgetGateway, gateway: { node, incarnation } }); // R30: behind what is in the tail
      return;
    }
  }

  #enterDetach(reason: DetachReason, sessions: Detached[]): void {
    this.#detachIndex = this.#enter({ command: COMMAND.detach, reason, sessions });
  }

  #received({ handle, delivered, handled }: Request<"received">): void {
    const seat = this.#seats.get(handle);
    if (seat === undefined || seat.attachment === 0) return;
    seat.delivered = Math.max(seat.delivered, delivered);
    seat.handled = Math.max(seat.handled, handled);
    if (!seat.cursorDue) this.#cursorsDue.push(seat);
    seat.cursorDue = true;
    if (this.#cursorIndex === 0) this.#cursorsNext();
  }

  #cursorsNext(): void {
    this.#cursorIndex = 0;
    if (this.#cursorsDue.length === 0) return;
    this.#cursorIndex = this.#enter({ command: COMMAND.received, cursors: this.#cursorsDue.splice(0, BATCH).map(takeCursor) });
  }
}
