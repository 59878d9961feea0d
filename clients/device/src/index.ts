// What @bellhop/device offers.

export {
  type Broken, connect, type ConnectionChange, type ConnectionState, type Device, type DeviceEvents, type DeviceOptions, type PublishOptions, type Refused,
} from "./device.ts";
export { type ClientCode, DeviceError } from "./errors.ts";
export type { Message } from "./message.ts";
export type { DeviceState, Json, JsonObject, StateAnswer, Versioned } from "./state.ts";
