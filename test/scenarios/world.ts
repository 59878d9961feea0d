// What a scenario talks to: a world that takes commands and answers in words. A file names its world in its first line.

/** Runs one command; answers what happened, as lines. @throws on a command it does not know */
export interface World {
  run(command: string, words: readonly string[]): string;
}
