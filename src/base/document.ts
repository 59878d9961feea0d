// Bounds of a state document, the same on every node and in the clients: a part of the replicated state's meaning.

/** Greatest size of a document or patch, bytes of JSON text. */
export const DOCUMENT_BYTES = 65_536;
/** Greatest nesting of objects and arrays. */
export const DOCUMENT_DEPTH = 32;
