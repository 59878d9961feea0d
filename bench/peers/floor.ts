// The floor of sockets: speaks device protocol 1 and stores nothing. It acknowledges what it has read, so its rate is what sockets and frames alone allow.
// A process of its own: listens on a free port and tells it to its parent.

import { createServer, type AddressInfo } from "node:net";

import { PROTOCOL, readFromDevice, writeAck, writeWelcome, type FromDevice } from "../../src/wire/device.ts";
import { Deframer } from "../../src/wire/frame.ts";
import { Writer } from "../../src/wire/msgpack.ts";

const MAX_FRAME = 65_536;

const server = createServer({ noDelay: true }, (socket) => {
  const deframer = new Deframer(MAX_FRAME);
  const writer = new Writer();
  let last = 0;
  let acked = 0;
  const ignore = (): void => undefined;
  const fromDevice: FromDevice = {
    hello({ window, keepAlive, receiveWindow }) {
      const zeros = { last: 0, leftAt: 0, generation: 0, wrap: 0, delivered: 0, handled: 0, end: 0, voids: [] };
      writeWelcome(writer, { protocol: PROTOCOL, session: 1, window, keepAlive, maxFrame: MAX_FRAME, receiveWindow, ...zeros });
    },
    publish: (series) => void (last = series),
    received: ignore,
    state: ignore,
    ping: ignore,
    goodbye: ignore,
  };
  const sink = {
    frame(bytes: Uint8Array, start: number, end: number): boolean {
      readFromDevice(bytes, start, end, fromDevice);
      return true;
    },
  };
  socket.on("data", (chunk) => {
    deframer.push(chunk, sink);
    if (last > acked) writeAck(writer, last);
    acked = last;
    if (writer.at === 0) return;
    socket.write(writer.written.slice());
    writer.clear();
  });
  socket.on("error", () => socket.destroy());
});

server.listen(0, "127.0.0.1", () => process.send!({ at: `127.0.0.1:${(server.address() as AddressInfo).port}` }));
process.once("disconnect", () => process.exit(0));
