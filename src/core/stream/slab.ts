// Memory of the log's payloads and of bodies on their way there: cut one after the other from chunks that are never used twice, so a payload may be kept by the log, the links and the readers alike.

const CHUNK_BYTES = 256 * 1024;
/** A payload above this has memory of its own, so that no chunk is left half empty. */
const LARGE_BYTES = CHUNK_BYTES / 8;

export class Slab {
  bytes: Uint8Array = new Uint8Array(0);
  /** Where the last payload begins in `bytes`. */
  start = 0;
  #end = 0;

  /** Makes room for a payload: write it into `bytes` from `start` on, then take it. */
  reserve(length: number): void {
    if (length > LARGE_BYTES) {
      this.bytes = new Uint8Array(length);
      this.#end = 0;
    } else if (this.#end + length > this.bytes.length) {
      this.bytes = new Uint8Array(CHUNK_BYTES);
      this.#end = 0;
    }
    this.start = this.#end;
    this.#end += length;
  }

  take(): Uint8Array {
    return new Uint8Array(this.bytes.buffer, this.start, this.#end - this.start); // measured: `subarray` takes longer
  }

  /** A copy of these bytes. */
  copy(bytes: Uint8Array): Uint8Array {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.start);
    return this.take();
  }
}
