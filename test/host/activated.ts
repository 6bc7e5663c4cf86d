/** A process that serves the sockets it was handed: whoever connects is told the socket's name. */
import { createServer } from "node:net";
import { takeActivatedSockets } from "../../src/host/activation.js";

for (const { fd, name } of takeActivatedSockets(process.env)) {
  createServer((socket) => socket.end(name)).listen({ fd });
}
