// The demo's processes end with the one that started them, however it ended: a terminal that was closed, kill -9.

/** The channel to the parent breaks when the parent is gone. What this process leaves is what kill -9 would leave: a clean stop for a broker (R21). */
export function endWithParent(): void {
  process.once("disconnect", () => process.exit(0));
  if (!process.connected) process.exit(0); // It broke before anybody listened.
}
