/**
 * A program for a test: serves descriptor 3, as systemd hands one over, says `ready`, and ends with its standard input.
 */
import { createLog } from "../../src/log.js";
import { EventHub } from "../../src/protocol/events.js";
import { startServer } from "../../src/protocol/server.js";
import { FakeServices } from "../support/fake-services.js";

const log = createLog("error", (line) => process.stderr.write(line));
const server = await startServer({
  listeners: [{ kind: "fd", fd: 3, scope: "read" }],
  services: new FakeServices(),
  events: new EventHub({ epoch: "epoch-1", log }),
  access: { allowedOrigins: [] },
  instanceId: "instance-1",
  version: "0.0.0",
  capabilities: { overlaps: [], links: [], codecs: [], sources: [] },
  log,
});
process.stdout.write("ready\n");
process.stdin.resume();
process.stdin.once("end", () => {
  server.close().catch((error: unknown) => log.error("close.failed", { error }));
});
