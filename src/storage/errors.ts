// Why a data directory cannot be opened or read; each says what to do.

export class StorageError extends Error {
  override readonly name: string = "StorageError";
  readonly code: "locked" | "foreign" | "format" | "damaged" | "closed" | "failed";

  constructor(code: StorageError["code"], message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.code = code;
  }
}
