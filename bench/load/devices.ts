// Which device each message of a load is for.

export interface KnownDevices {
  /** So many devices, `known-0` on. */
  readonly known: number;
}

/** From the number of a message to its device: the run's own ones in turn, or known ones picked uniformly at random. */
export function chooser(run: string, devices: number | KnownDevices): (message: number) => string {
  if (typeof devices === "number") return (message) => `${run}-${message % devices}`;
  return () => `known-${Math.floor(Math.random() * devices.known)}`;
}
