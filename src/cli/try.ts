// What `start` tells to try in another terminal: lines that work there as they stand.

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

import { SETTINGS, type Settings } from "../config.ts";

/** @param http where it listens, @param device and for devices: HOST:PORT */
export function whatToTry(settings: Settings, http: string, device: string): string {
  const { advertiseHttp, advertiseDevice, auth, tlsCert, deviceTlsCert, data } = settings;
  const at = option(advertiseHttp || http, SETTINGS.http.default);
  const deviceAt = option(advertiseDevice || device, SETTINGS.device.default);
  const trustHttp = tlsCert === "" ? "" : `BELLHOP_CA=${authority()} `;
  const trustDevice = tlsCert === "" && deviceTlsCert === "" ? "" : `BELLHOP_CA=${authority()} `;
  if (auth === "off") {
    return lines("Try in another terminal:", [`${trustDevice}bellhop simulate lamp-1${deviceAt}`, `${trustHttp}bellhop follow lamp-1${at}`, `${trustHttp}bellhop publish lamp-1 hello${at}`], trustDevice);
  }
  const asAdmin = `${trustHttp}${adminKey(data)}`;
  return lines(
    "Keys and tokens are required. Try in another terminal:",
    [`${asAdmin}bellhop device add lamp-1${at} > lamp-1.token`, `${trustDevice}BELLHOP_TOKEN_FILE=lamp-1.token bellhop simulate lamp-1${deviceAt}`, `${asAdmin}bellhop key add backend --role publish${at}`],
    `${trustDevice}${asAdmin}`,
  );
}

const CA_FILE = "CA_FILE";
const KEY_FILE = "KEY_FILE";

/** The broker knows its certificate and not who signed it; whoever started it may have said so. */
function authority(): string {
  const file = process.env["BELLHOP_CA"] ?? "";
  return file === "" ? CA_FILE : resolve(file);
}

/** The node that was started first has the first key's file; the others know the key's digest only. */
function adminKey(data: string): string {
  if (!existsSync(join(data, "admin.key"))) return `BELLHOP_KEY_FILE=${KEY_FILE} `;
  return data === SETTINGS.data.default ? "" : `BELLHOP_DATA=${data} `;
}

function option(address: string, known: string): string {
  return address === known ? "" : ` --at ${address}`;
}

function lines(head: string, commands: readonly string[], environment: string): string {
  const told = commands.map((command) => `  ${command}`);
  if (environment.includes(CA_FILE)) told.push(`  ${CA_FILE}: the authority that signed the broker's certificate, PEM`);
  if (environment.includes(KEY_FILE)) told.push(`  ${KEY_FILE}: an administrator's key; the first one is in admin.key of the data directory of the node that was started first`);
  return [head, ...told].join("\n");
}
