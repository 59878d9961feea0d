// A control log of one process served to its children over Node's own channel: `bellhop dev` runs a cluster on one machine with it.

import type { ChildProcess } from "node:child_process";
import { ERRORS, BellhopError, type ErrorCode } from "../base/errors.ts";
import type { Command } from "../core/table/commands.ts";
import type { ControlEntry, ControlLog, ControlSnapshot, ControlWatcher } from "./port.ts";

/** A question that the parent does not answer in this time fails, retryably; in milliseconds. */
const ANSWER_MS = 10_000;

type Call =
  | { readonly name: "append"; readonly id: string; readonly commands: readonly Command[] }
  | { readonly name: "snapshot" }
  | { readonly name: "trim"; readonly snapshot: ControlSnapshot }
  | { readonly name: "lease"; readonly node: string; readonly incarnation: number; readonly ttlMs: number }
  | { readonly name: "alive" }
  | { readonly name: "watch"; readonly from: number }
  | { readonly name: "unwatch"; readonly watch: number };

interface Question {
  readonly bellhopControl: number;
  readonly call: Call;
}

type Answer =
  | { readonly bellhopControl: number; readonly value: unknown }
  | { readonly bellhopControl: number; readonly failed: { readonly code: ErrorCode; readonly detail: string } }
  | { readonly bellhopControl: number; readonly entries: readonly ControlEntry[] }
  | { readonly bellhopControl: number; readonly compacted: true };

/** Answers a child's questions until it ends. The child is forked with `serialization: "advanced"`, for snapshots are bytes. */
export function serveControl(control: ControlLog, child: ChildProcess): void {
  const watches = new Map<number, { close(): void }>();
  const answer = (message: Answer): void => void (child.connected && child.send(message));
  child.on("message", (message: Partial<Question>) => {
    const { bellhopControl: id, call } = message;
    if (id === undefined || call === undefined) return;
    answered(control, call, id, watches, answer).then(
      (value) => answer({ bellhopControl: id, value }),
      (error: unknown) => {
        const { code, detail } = error instanceof BellhopError ? error : new BellhopError("internal", String(error));
        answer({ bellhopControl: id, failed: { code, detail } });
      },
    );
  });
  child.once("exit", () => {
    for (const watch of watches.values()) watch.close();
  });
}

async function answered(control: ControlLog, call: Call, id: number, watches: Map<number, { close(): void }>, tell: (message: Answer) => void): Promise<unknown> {
  switch (call.name) {
    case "append":
      return control.append(call.id, call.commands);
    case "snapshot":
      return control.snapshot();
    case "trim":
      return control.trim(call.snapshot);
    case "lease":
      return control.lease(call.node, call.incarnation, call.ttlMs);
    case "alive":
      return control.alive();
    case "watch":
      watches.set(id, control.watch(call.from, {
        entries: (entries) => tell({ bellhopControl: id, entries }),
        compacted: () => tell({ bellhopControl: id, compacted: true }),
      }));
      return undefined;
    case "unwatch":
      watches.get(call.watch)?.close();
      watches.delete(call.watch);
      return undefined;
  }
}

/** The child's side. Where the parent is gone, every call fails with `deadline`, which is asked again. */
export class ServedControl implements ControlLog {
  readonly #waiting = new Map<number, { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void; readonly late: NodeJS.Timeout }>();
  readonly #watchers = new Map<number, ControlWatcher>();
  #id = 0;

  constructor() {
    process.on("message", this.#take);
  }

  async append(id: string, commands: readonly Command[]): Promise<void> {
    await this.#ask({ name: "append", id, commands });
  }

  watch(from: number, watcher: ControlWatcher): { close(): void } {
    const id = this.#id + 1;
    this.#watchers.set(id, watcher);
    this.#ask({ name: "watch", from }).catch(() => undefined); // the parent is gone: the node's lease ends, and it is told by that
    return {
      close: () => {
        this.#watchers.delete(id);
        this.#ask({ name: "unwatch", watch: id }).catch(() => undefined);
      },
    };
  }

  async snapshot(): Promise<ControlSnapshot> {
    return (await this.#ask({ name: "snapshot" })) as ControlSnapshot;
  }

  async trim(snapshot: ControlSnapshot): Promise<void> {
    await this.#ask({ name: "trim", snapshot });
  }

  async lease(node: string, incarnation: number, ttlMs: number): Promise<number> {
    const sentAt = performance.now();
    const left = (await this.#ask({ name: "lease", node, incarnation, ttlMs })) as number;
    return left - (performance.now() - sentAt);
  }

  async alive(): Promise<readonly { readonly node: string; readonly incarnation: number }[]> {
    return (await this.#ask({ name: "alive" })) as { node: string; incarnation: number }[];
  }

  async close(): Promise<void> {
    process.off("message", this.#take);
    for (const { reject, late } of this.#waiting.values()) {
      clearTimeout(late);
      reject(new BellhopError("stopping"));
    }
    this.#waiting.clear();
  }

  #ask(call: Call): Promise<unknown> {
    this.#id += 1;
    const id = this.#id;
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        this.#waiting.delete(id);
        reject(new BellhopError("deadline", why));
      };
      if (!process.connected) return fail("The process that serves the control log is gone.");
      const late = setTimeout(() => fail("The process that serves the control log does not answer."), ANSWER_MS);
      this.#waiting.set(id, { resolve, reject, late });
      process.send?.({ bellhopControl: id, call } satisfies Question);
    });
  }

  readonly #take = (message: Partial<Answer>): void => {
    const id = message.bellhopControl;
    if (id === undefined) return;
    if ("entries" in message && message.entries !== undefined) return this.#watchers.get(id)?.entries(message.entries);
    if ("compacted" in message) return this.#watchers.get(id)?.compacted();
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.late);
    if ("failed" in message && message.failed !== undefined) {
      const { code, detail } = message.failed;
      waiting.reject(new BellhopError(code in ERRORS ? code : "internal", detail));
    } else waiting.resolve((message as { value: unknown }).value);
  };
}
