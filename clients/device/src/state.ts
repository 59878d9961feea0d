// The device's state at the broker: two JSON documents, `reported` by the device and `desired` by the backends.

import type { Document } from "../../../src/wire/device.ts";
import { patchIsTooLarge, patchIsWrong } from "./check.ts";
import { DeviceError } from "./errors.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

export interface Versioned {
  /** 0: never written. */
  readonly version: number;
  readonly document: JsonObject;
}

export interface StateAnswer {
  readonly desired: Versioned;
  readonly reported: Versioned;
}

/** What the state needs of its device. */
export interface StateLink {
  /** Sends the question if there is a connection; it is asked again on every new one. */
  ask(request: number): void;
  patch(json: string): Promise<void>;
}

/** Questions that may wait for an answer at once. */
const MOST_QUESTIONS = 64;

interface Question {
  readonly resolve: (answer: StateAnswer) => void;
  readonly reject: (error: DeviceError) => void;
}

export class DeviceState {
  /** The newest `desired` that the broker has told; version 0 before. */
  desired: Versioned = { version: 0, document: {} };
  readonly #link: StateLink;
  readonly #questions = new Map<number, Question>();
  #lastRequest = 0;

  constructor(link: StateLink) {
    this.#link = link;
  }

  /**
   * Both documents as the broker holds them. Waits for a connection.
   * @throws DeviceError `too_many_requests` when 64 questions wait already, or what ended the device.
   */
  get(): Promise<StateAnswer> {
    if (this.#questions.size >= MOST_QUESTIONS) return Promise.reject(new DeviceError("too_many_requests", true, `${MOST_QUESTIONS} questions wait.`));
    this.#lastRequest = (this.#lastRequest % 0xffff_ffff) + 1;
    const request = this.#lastRequest;
    return new Promise((resolve, reject) => {
      this.#questions.set(request, { resolve, reject });
      this.#link.ask(request);
    });
  }

  /**
   * Merges into `reported` (RFC 7396: null removes), in order with the messages; resolves once durable.
   * @throws DeviceError as `publish`, and `bad_document`: at once for what JSON does not have (NaN, undefined, a Date …) and for a patch over 65,536 bytes or deeper than 32;
   * by the broker's answer where the document would be over them.
   */
  patch(patch: JsonObject): Promise<void> {
    let wrong = patchIsWrong(patch);
    const json = wrong === "" ? JSON.stringify(patch) : "";
    wrong ||= patchIsTooLarge(json);
    if (wrong !== "") return Promise.reject(new DeviceError("bad_document", false, wrong).calledFrom(this.patch));
    return this.#link.patch(json);
  }

  /** Asks again what was not answered: a new connection. */
  connected(): void {
    for (const request of this.#questions.keys()) this.#link.ask(request);
  }

  /** The broker's answer, or a push. True: `desired` is newer than what was known. */
  told(request: number, desired: Document, reported: Document | undefined): boolean {
    const isNew = desired.version > this.desired.version;
    if (isNew) this.desired = parse(desired);
    const question = this.#questions.get(request);
    if (question !== undefined && reported !== undefined) {
      this.#questions.delete(request);
      question.resolve({ desired: parse(desired), reported: parse(reported) });
    }
    return isNew;
  }

  ended(error: DeviceError): void {
    for (const question of this.#questions.values()) question.reject(error);
    this.#questions.clear();
  }
}

function parse(document: Document): Versioned {
  return { version: document.version, document: JSON.parse(new TextDecoder().decode(document.json)) as JsonObject };
}
