// What @bellhop/device offers.

export { connect, type Device } from "./device.ts";
export { type ClientCode, DeviceError } from "./errors.ts";
export type { Message } from "./message.ts";
export type { Broken, ConnectionChange, ConnectionState, DeviceEvents, DeviceOptions, PublishOptions, Refused } from "./options.ts";
export type { DeviceState, Json, JsonObject, StateAnswer, Versioned } from "./state.ts";
